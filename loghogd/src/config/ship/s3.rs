//! The options of a target that is Amazon S3.
//! A section as written -> typed options, or every problem.
//! Invariant: what is right here can be tried; a secret never prints itself.
//! Leaves out: connecting.

use std::path::PathBuf;
use std::time::Duration;

use super::Options;
use crate::config::facility::Secret;
use crate::config::problem::shown;
use crate::config::value::{self, Refused};
use crate::pipeline::ship::Template;

/// The places of the key's template.
pub const PLACES: [&str; 11] =
    ["app", "module", "host", "begin", "yyyy", "mm", "dd", "HH", "sha256", "ext", "instance"];

/// The key of an object, where nothing else is configured.
pub const KEY_DEFAULT: &str = "{app}/{module}/{yyyy}/{mm}/{dd}/{host}-{begin}-{sha256:8}.log.{ext}";

/// Where the index is, where nothing else is configured.
const INDEX_DEFAULT: &str = "index";

/// How long an answer is waited for.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// The options of `type = s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: Box<str>,
    /// The region; none for that of the environment, or us-east-1.
    pub region: Option<Box<str>>,
    /// Who speaks S3 there; none for Amazon.
    pub endpoint: Option<Box<str>>,
    /// The bucket stands in the path, not in the host's name.
    pub path_style: bool,
    /// Who we are.
    pub credentials: Credentials,
    /// Where an instance asks for its role; none for the usual address.
    pub metadata_endpoint: Option<Box<str>>,
    /// The authorities that are trusted, in PEM; none for those of the system.
    pub cacert: Option<PathBuf>,
    /// How objects are called.
    pub key: Template,
    /// What the keys of the index begin with.
    pub index: Box<str>,
    /// What is in an object.
    pub body: Body,
    /// Of segments; the index is always kept ready to be read.
    pub storage_class: Option<Box<str>>,
    /// How the server encrypts what it keeps.
    pub encryption: Option<Encryption>,
    /// The server can put an object only if there is none, or only over the one we know.
    pub conditional_writes: bool,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// As Amazon's environment variables say; else the role of the instance.
    Surroundings,
    /// A key that stands in the section.
    Key {
        /// `access_key_id`
        id: Box<str>,
        /// `secret_access_key`
        secret: Secret,
        /// `session_token`
        token: Option<Secret>,
    },
    /// A file as Amazon's tools keep it, read at each connecting.
    File {
        /// Where it is.
        path: PathBuf,
        /// Which section of it.
        profile: Box<str>,
    },
}

/// What is in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The sealed segment as it is on the disk.
    File,
    /// A line of JSON for each message, compressed by xz.
    JsonXz,
    /// Comma-separated values with a line of names, compressed by xz.
    CsvXz,
}

/// How the server encrypts what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// As S3 has it: `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub kind: Box<str>,
    /// Which key; none for the account's own.
    pub kms_key_id: Option<Box<str>>,
}

/// Reads them.
pub(super) fn read(options: &mut Options<'_>) -> S3 {
    let bucket = options.required("bucket", "bucket = my-logs").unwrap_or_default();
    if bucket.contains(['/', ':']) {
        let message = format!("{} is no name of a bucket", shown(&bucket));
        options.refuse("bucket", Refused::new(message, "write its name alone, such as my-logs"));
    }
    let endpoint = options.text("endpoint");
    if let Some(url) = &endpoint
        && !is_origin(url)
    {
        let message = format!("{} is no address of a server", shown(url));
        let remedy = "write it as https://HOST:PORT, without the bucket";
        options.refuse("endpoint", Refused::new(message, remedy));
    }
    let key = options.template("key", KEY_DEFAULT, &PLACES);
    // Of an empty one it was said already.
    if !key.to_string().is_empty() && !key.has("sha256") {
        let message = "the key has no {sha256}, by which a repeat is told from another object";
        options.refuse("key", Refused::new(message, format!("write for example {KEY_DEFAULT}")));
    }
    let index = options.text("index").unwrap_or_else(|| INDEX_DEFAULT.to_owned());
    for (option, text) in [("index", &index), ("key", &key.to_string())] {
        let named = text.split('/').all(|name| !matches!(name, "" | "." | ".."));
        if !named && !text.is_empty() {
            let message = format!("{} has an empty part, or one of dots alone", shown(text));
            let remedy = "write names parted by single slashes, none before the first";
            options.refuse(option, Refused::new(message, remedy));
        }
    }
    let path_style = options.yes_or_no("path_style", endpoint.is_some());
    S3 {
        bucket: bucket.into(),
        region: options.text("region").map(Into::into),
        endpoint: endpoint.map(|url| url.trim_end_matches('/').into()),
        path_style,
        credentials: credentials(options),
        metadata_endpoint: options.text("metadata_endpoint").map(Into::into),
        cacert: options.path("cacert"),
        key,
        index: index.into(),
        body: options.value("body", Body::File, body),
        storage_class: options.value("storage_class", None, |text| upper(text).map(Some)),
        encryption: encryption(options),
        conditional_writes: options.yes_or_no("conditional_writes", true),
        timeout: options.value("timeout", TIMEOUT_DEFAULT, timeout),
    }
}

/// `https://HOST:PORT` and nothing behind it.
fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.strip_suffix('/').unwrap_or(rest);
        !host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])
    })
}

fn credentials(options: &mut Options<'_>) -> Credentials {
    let id = options.text("access_key_id");
    let secret = options.secret("secret_access_key");
    let token = options.secret("session_token");
    let path = options.path("credentials_file");
    let profile = options.text("profile");
    if profile.is_some() && path.is_none() {
        let message = "there is no credentials_file that it could be a section of";
        options.refuse("profile", Refused::new(message, "add credentials_file = PATH"));
    }
    match (id, secret, path) {
        (Some(id), Some(secret), None) => Credentials::Key { id: id.into(), secret, token },
        (None, None, Some(path)) => {
            let profile = profile.unwrap_or_else(|| "default".to_owned()).into();
            Credentials::File { path, profile }
        }
        (None, None, None) => Credentials::Surroundings,
        (_, _, Some(_)) => {
            let message = "access_key_id or secret_access_key says it already";
            options.refuse("credentials_file", Refused::new(message, "keep one of the two"));
            Credentials::Surroundings
        }
        (Some(_), None, None) => {
            let message = "there is no secret_access_key for it";
            let remedy =
                "add secret_access_key_file = PATH, a file with the secret in its first line";
            options.refuse("access_key_id", Refused::new(message, remedy));
            Credentials::Surroundings
        }
        (None, Some(_), None) => {
            let message = "there is no access_key_id for it";
            options.refuse("secret_access_key", Refused::new(message, "add access_key_id = ..."));
            Credentials::Surroundings
        }
    }
}

fn encryption(options: &mut Options<'_>) -> Option<Encryption> {
    let kind = options.value("sse", None, |text| match text.trim() {
        kind @ ("AES256" | "aws:kms" | "aws:kms:dsse") => Ok(Some(kind.to_owned())),
        other => Err(Refused::new(
            format!("{} is no way in which S3 encrypts", shown(other)),
            "write AES256, aws:kms or aws:kms:dsse, or leave sse out",
        )),
    });
    let kms_key_id = options.text("sse_kms_key_id");
    if kms_key_id.is_some() && kind.as_deref().is_none_or(|kind| kind == "AES256") {
        let message = "a key is of use with sse = aws:kms or aws:kms:dsse only";
        options.refuse("sse_kms_key_id", Refused::new(message, "add sse = aws:kms"));
    }
    Some(Encryption { kind: kind?.into(), kms_key_id: kms_key_id.map(Into::into) })
}

fn body(text: &str) -> Result<Body, Refused> {
    match text.trim() {
        "file" => Ok(Body::File),
        "json.xz" => Ok(Body::JsonXz),
        "csv.xz" => Ok(Body::CsvXz),
        other => Err(Refused::new(
            format!("{} cannot be in an object", shown(other)),
            "write file (as it is on the disk), json.xz or csv.xz",
        )),
    }
}

fn upper(text: &str) -> Result<Box<str>, Refused> {
    let text = text.trim();
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(Refused::new(
            format!("{} is no storage class", shown(text)),
            "write one as S3 has it: STANDARD_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE, ...",
        ));
    }
    Ok(text.into())
}

fn timeout(text: &str) -> Result<Duration, Refused> {
    let range = Duration::from_secs(1)..=Duration::from_secs(3_600);
    // Without a unit an age is in days, which nobody means here.
    let age = value::age(text).ok().filter(|_| !text.trim().ends_with(|c: char| c.is_numeric()));
    age.filter(|age| range.contains(age)).ok_or_else(|| {
        Refused::new(
            format!("{} is no time from 1s to 1h", shown(text.trim())),
            "write a number with a unit, such as 120s",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ship::{Kind, Target};
    use crate::config::{self, Overrides};
    use std::path::Path;

    fn read(section: &str) -> Result<S3, Vec<String>> {
        let text = format!("[server]\nlisten_ipv4 = 127.0.0.1:0\n[ship:s]\ntype = s3\n{section}");
        let path = Path::new("/etc/loghogd/loghogd.conf");
        match config::read_config(text.as_bytes(), path, &Overrides::default()) {
            Ok((config, _)) => match config.ship.into_iter().next() {
                Some(Target { kind: Kind::S3(s3), .. }) => Ok(s3),
                other => panic!("{other:?}"),
            },
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_bucket_is_enough() {
        let s3 = read("bucket = my-logs\n").unwrap();
        assert_eq!(&*s3.bucket, "my-logs");
        assert_eq!(s3.key.to_string(), KEY_DEFAULT);
        assert_eq!(s3.credentials, Credentials::Surroundings);
        assert_eq!((s3.path_style, s3.conditional_writes), (false, true));
        assert_eq!((s3.body, &*s3.index), (Body::File, "index"));
    }

    #[test]
    fn all_options_are_taken() {
        let s3 = read(
            "bucket = b\nendpoint = http://127.0.0.1:9000/\nregion = eu-west-3\n\
             access_key_id = AK\nsecret_access_key = hush\nsession_token = t\ncacert = ca.pem\n\
             key = a/{sha256}\nindex = a/index\nbody = csv.xz\nstorage_class = GLACIER_IR\n\
             sse = aws:kms\nsse_kms_key_id = k\nconditional_writes = no\ntimeout = 5s\n",
        )
        .unwrap();
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(s3.path_style && !s3.conditional_writes);
        assert_eq!(s3.timeout, Duration::from_secs(5));
        assert_eq!(s3.cacert.as_deref(), Some(Path::new("/etc/loghogd/ca.pem")));
        assert!(matches!(&s3.credentials, Credentials::Key { id, .. } if &**id == "AK"));
        assert!(!format!("{s3:?}").contains("hush"));
    }

    #[test]
    fn what_is_wrong_is_refused_with_what_would_be_right() {
        for (section, message) in [
            ("", "[ship:s] has no bucket"),
            ("bucket = a/b", "bucket: \"a/b\" is no name of a bucket"),
            (
                "bucket = b\nendpoint = localhost",
                "endpoint: \"localhost\" is no address of a server",
            ),
            ("bucket = b\nendpoint = http://h/b", "endpoint: \"http://h/b\" is no address"),
            ("bucket = b\nkey = {app}", "key: the key has no {sha256}"),
            ("bucket = b\nkey = /{sha256}", "key: \"/{sha256}\" has an empty part"),
            ("bucket = b\nkey = {bucket}/{sha256}", "key: there is no place {bucket}"),
            ("bucket = b\naccess_key_id = A", "access_key_id: there is no secret_access_key"),
            ("bucket = b\nsecret_access_key = A", "secret_access_key: there is no access_key_id"),
            ("bucket = b\nprofile = p", "profile: there is no credentials_file"),
            ("bucket = b\nsse = rot13", "sse: \"rot13\" is no way in which S3 encrypts"),
            ("bucket = b\nsse_kms_key_id = k", "sse_kms_key_id: a key is of use with"),
            ("bucket = b\nbody = zip", "body: \"zip\" cannot be in an object"),
            ("bucket = b\nstorage_class = cold", "storage_class: \"cold\" is no storage class"),
            ("bucket = b\ntimeout = 30", "timeout: \"30\" is no time from 1s to 1h"),
            ("bucket = b\nwhen = live", "when: S3 takes whole segments"),
            ("bucket = b\nbuckets = c", "a target of the type s3 has no option \"buckets\""),
        ] {
            let problems = read(&format!("{section}\n")).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(message)), "{problems:#?}");
        }
    }
}
