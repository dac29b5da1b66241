//! Speaks to the server.
//! What to put or to get -> it is there, or trouble in words.
//! Invariant: nobody waits much longer than the daemon runs; every refusal is kept as the server said it.
//! Leaves out: which objects there are (`s3`, `index`).

use std::fmt;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, S3ConditionalPut,
};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{
    Attribute, BackoffConfig, ClientOptions, GetOptions, GetResult, HeaderValue, ObjectStore,
    RetryConfig, StaticCredentialProvider,
};
use reqwest::Certificate;

use super::answer::{Answer, Place, root_cause};
use super::limits::{
    CONNECT_TIME_MAX, CREDENTIALS_TIME_MAX, ENDED_LOOK, ERROR_BYTES_MAX, QUICK_RETRIES,
    QUICK_RETRY_TIME_MAX,
};
use crate::config::ship::s3::{Credentials, S3};
use crate::pipeline::ship::{Surroundings, Trouble};

/// Under which name of metadata an object's checksum stands.
pub(super) const CHECKSUM: &str = "sha256";

/// A bucket.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) s3: AmazonS3,
    pub(super) place: Place,
    /// The server can put only if there is nothing, or what we know.
    pub(super) conditional: bool,
    heard: Heard,
    surroundings: Surroundings,
}

/// What the server has refused last.
type Heard = Arc<Mutex<Option<Answer>>>;

tokio::task_local! {
    /// The same where several things are asked for at once: each hears its own.
    static HEARD: Heard;
}

/// What is at a key.
pub(super) enum There {
    /// Nothing.
    Nothing,
    /// An object of so many bytes, and the checksum that it was given.
    Object { bytes: u64, checksum: Option<String> },
}

impl Store {
    /// As configured. Does not connect, but reads the files that are named. `proven`: what
    /// is said there was right before.
    ///
    /// # Errors
    /// What can be told without it.
    pub(super) fn new(
        name: &str,
        options: &S3,
        surroundings: Surroundings,
        proven: bool,
    ) -> Result<Store, Trouble> {
        // There is one for the whole process; somebody else may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = options.region.as_deref().map(str::to_owned);
        let region =
            region.or_else(|| variable("AWS_REGION")).unwrap_or_else(|| "us-east-1".into());
        let endpoint = match &options.endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let place = Place {
            section: format!("[ship:{name}]"),
            endpoint: endpoint.clone(),
            bucket: options.bucket.to_string(),
            cacert: options.cacert.as_ref().map(|path| path.display().to_string()),
            timeout: options.timeout,
            credentials: match &options.credentials {
                Credentials::Surroundings => "the environment",
                Credentials::Key { .. } => "the section",
                Credentials::File { .. } => "credentials_file",
            },
            renewed: !matches!(options.credentials, Credentials::Key { .. }),
            proven,
        };
        let heard = Heard::default();
        let client = client(options, &place)?;
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: QUICK_RETRIES,
            retry_timeout: QUICK_RETRY_TIME_MAX,
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&*options.bucket)
            .with_region(region)
            .with_allow_http(true)
            .with_virtual_hosted_style_request(!options.path_style)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_http_connector(Wire {
                client,
                heard: Arc::clone(&heard),
                conditional: options.conditional_writes,
                host: endpoint.split_once("://").map_or("", |(_, host)| host).to_owned(),
            });
        if options.endpoint.is_some() {
            // With the bucket in the host's name the library wants to be told the whole.
            builder = builder.with_endpoint(match endpoint.split_once("://") {
                Some((scheme, host)) if !options.path_style => {
                    format!("{scheme}://{}.{host}", options.bucket)
                }
                _ => endpoint,
            });
        }
        if let Some(encryption) = &options.encryption {
            let key = encryption.kms_key_id.as_deref().unwrap_or_default();
            let set = |builder: AmazonS3Builder, name: &str, value: &str| {
                let key: Result<AmazonS3ConfigKey, _> = name.parse();
                key.map(|key| builder.with_config(key, value))
            };
            let not_known =
                |error: object_store::Error| Trouble::stop(error.to_string(), "leave sse out");
            builder =
                set(builder, "aws_server_side_encryption", &encryption.kind).map_err(not_known)?;
            if !key.is_empty() {
                builder = set(builder, "aws_sse_kms_key_id", key).map_err(not_known)?;
            }
        }
        builder = credentials(builder, options, &place)?;
        let s3 = builder.build().map_err(|error| {
            Trouble::stop(
                format!("{} cannot be used: {error}", place.section),
                "put its options right".to_owned(),
            )
        })?;
        Ok(Store { s3, place, conditional: options.conditional_writes, heard, surroundings })
    }

    /// Is it time to stop?
    pub(super) fn has_ended(&self) -> bool {
        self.surroundings.has_ended()
    }

    /// Several of these may be under way at once; what is refused to one is not taken for
    /// an answer to another.
    pub(super) async fn apart<T>(asked: impl Future<Output = T>) -> T {
        HEARD.scope(Heard::default(), asked).await
    }

    /// Waits for what was asked for: not much longer than the daemon runs.
    ///
    /// # Errors
    /// It is over.
    pub(super) fn wait<T>(
        &self,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let ended = async {
            while !self.surroundings.has_ended() {
                tokio::time::sleep(ENDED_LOOK).await;
            }
        };
        self.surroundings.runtime.block_on(async {
            tokio::select! {
                answer = asked => answer,
                () = ended => Err(Trouble::Ended),
            }
        })
    }

    /// What an error means when this was asked for.
    pub(super) fn trouble(&self, error: &object_store::Error, what: &str) -> Trouble {
        match heard(&self.heard, Option::take) {
            Some(answer) => answer.trouble(what, &self.place),
            // It broke in the middle of an answer that had begun well.
            None if is_http(error) => Answer::Broken(root_cause(error)).trouble(what, &self.place),
            None => Trouble::later(format!(
                "{} has given an answer to {what} that is none of S3: {}",
                self.place.endpoint,
                root_cause(error)
            )),
        }
    }

    /// The code of what was refused last, such as `NoSuchBucket`.
    pub(super) fn code(&self) -> String {
        let code =
            |heard: &mut Option<Answer>| heard.as_ref().map(|answer| answer.code().to_owned());
        heard(&self.heard, code).unwrap_or_default()
    }

    /// What was refused until now is of no interest any more.
    pub(super) fn forget(&self) {
        heard(&self.heard, |heard| *heard = None);
    }

    /// Reads an object; none when it is not there.
    pub(super) async fn get(
        &self,
        key: &Path,
        options: GetOptions,
        what: &str,
    ) -> Result<Option<GetResult>, Trouble> {
        self.forget();
        match self.s3.get_opts(key, options).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) if self.code() != "NoSuchBucket" => Ok(None),
            Err(error) => Err(self.trouble(&error, what)),
        }
    }

    /// What is at a key.
    pub(super) async fn look(&self, key: &Path) -> Result<There, Trouble> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let what = format!("the object {key}");
        Ok(match self.get(key, options, &what).await? {
            None => There::Nothing,
            Some(found) => There::Object {
                bytes: found.meta.size,
                checksum: found
                    .attributes
                    .get(&Attribute::Metadata(CHECKSUM.into()))
                    .map(|value| value.to_string()),
            },
        })
    }
}

/// What whoever asks here has heard; `of_all` where only one thing is asked for at once.
fn heard<T>(of_all: &Heard, look: impl FnOnce(&mut Option<Answer>) -> T) -> T {
    let heard = HEARD.try_with(Arc::clone).unwrap_or_else(|_| Arc::clone(of_all));
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    look(&mut heard)
}

/// Is it about the connection?
fn is_http(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(here) = cause {
        if here.is::<HttpError>() {
            return true;
        }
        cause = here.source();
    }
    false
}

fn client(options: &S3, place: &Place) -> Result<reqwest::Client, Trouble> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("loghogd/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIME_MAX.min(options.timeout))
        .timeout(options.timeout)
        .http1_only();
    if let Some(path) = &options.cacert {
        let remedy = format!("put cacert of {} right", place.section);
        let refused =
            |why: String| Trouble::stop(format!("{} {why}", path.display()), remedy.clone());
        let pem = fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
        let authorities = Certificate::from_pem_bundle(&pem)
            .ok()
            .filter(|all| !all.is_empty())
            .ok_or_else(|| refused("holds no certificates in PEM".to_owned()))?;
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(|error| {
        let what = format!("HTTP cannot be spoken to {}: {}", place.endpoint, root_cause(&error));
        Trouble::stop(what, format!("put cacert of {} right", place.section))
    })
}

/// What the library reads of the environment; anything else of it is none of ours.
const VARIABLES: [(&str, AmazonS3ConfigKey); 10] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

fn credentials(
    mut builder: AmazonS3Builder,
    options: &S3,
    place: &Place,
) -> Result<AmazonS3Builder, Trouble> {
    let text = |secret: &[u8]| String::from_utf8_lossy(secret).into_owned();
    let fixed = match &options.credentials {
        Credentials::Surroundings => {
            for (name, key) in VARIABLES {
                if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
                    builder = builder.with_config(key, value);
                }
            }
            if let Some(endpoint) = &options.metadata_endpoint {
                builder = builder.with_metadata_endpoint(&**endpoint);
            }
            return Ok(builder);
        }
        Credentials::Key { id, secret, token } => AwsCredential {
            key_id: id.to_string(),
            secret_key: text(secret.bytes()),
            token: token.as_ref().map(|token| text(token.bytes())),
        },
        Credentials::File { path, profile } => {
            let shown = path.display();
            // Whoever renews it may be in the middle of that.
            let trouble = |what: String, remedy: String| match place.proven {
                true => Trouble::later(format!("{what}; {remedy}")),
                false => Trouble::stop(what, remedy),
            };
            let read = fs::read_to_string(path).map_err(|error| {
                trouble(
                    format!("{shown} cannot be read: {error}"),
                    format!("put credentials_file of {} right", place.section),
                )
            })?;
            from_file(&read, profile).ok_or_else(|| {
                trouble(
                    format!(
                        "{shown} has no section [{profile}] with aws_access_key_id and \
                         aws_secret_access_key"
                    ),
                    format!("put it, or profile of {}, right", place.section),
                )
            })?
        }
    };
    Ok(builder.with_credentials(Arc::new(StaticCredentialProvider::new(fixed))))
}

/// Reads a file as Amazon's tools keep it.
fn from_file(text: &str, profile: &str) -> Option<AwsCredential> {
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let name = name.trim();
            inside = name.strip_prefix("profile ").map_or(name, str::trim) == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: id?, secret_key: secret?, token })
}

/// Carries requests, and remembers what was refused.
#[derive(Clone)]
struct Wire {
    client: reqwest::Client,
    heard: Heard,
    conditional: bool,
    /// Host and port of the server; who else is asked gives credentials.
    host: String,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Wire {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self.carry(request))
    }
}

impl Wire {
    async fn carry(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let completes = request.method().as_str() == "POST"
            && request.uri().query().is_some_and(|query| query.contains("uploadId="));
        if completes && self.conditional {
            // The library says it for whole objects only.
            request.headers_mut().insert("if-none-match", HeaderValue::from_static("*"));
        }
        let asked = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if !asked.ends_with(&self.host) {
            return self.carry_elsewhere(request, &asked).await;
        }
        let response = match HttpService::call(&self.client, request).await {
            Ok(response) => response,
            Err(error) => {
                self.note(Answer::Broken(root_cause(&error)));
                return Err(error);
            }
        };
        let status = response.status().as_u16();
        if status < 300 {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let mut text = Vec::new();
        let mut pieces = body.bytes_stream();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => {
                    let room = ERROR_BYTES_MAX.saturating_sub(text.len());
                    text.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
                    if room == 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        self.note(Answer::read(status, &String::from_utf8_lossy(&text), retry_after));
        Ok(HttpResponse::from_parts(parts, text.into()))
    }

    /// Credentials are given by somebody near, or there is nobody.
    async fn carry_elsewhere(
        &self,
        request: HttpRequest,
        asked: &str,
    ) -> Result<HttpResponse, HttpError> {
        let call = HttpService::call(&self.client, request);
        let answer = tokio::time::timeout(CREDENTIALS_TIME_MAX, call)
            .await
            .unwrap_or_else(|late| Err(HttpError::new(HttpErrorKind::Timeout, late)));
        match &answer {
            Ok(response) if response.status().as_u16() < 300 => {}
            Ok(response) => {
                let why = format!("{asked} answers with the status {}", response.status().as_u16());
                self.note(Answer::NoCredentials(why));
            }
            Err(error) => {
                self.note(Answer::NoCredentials(format!("{asked}: {}", root_cause(error))));
            }
        }
        answer
    }

    fn note(&self, answer: Answer) {
        heard(&self.heard, |heard| *heard = Some(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_a_file_is_found() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=s=\n\n[profile other]\n\
                    aws_access_key_id=B\naws_secret_access_key=t\naws_session_token = u\n[half]\n\
                    aws_access_key_id = C\n";
        let default = from_file(text, "default").unwrap();
        assert_eq!((default.key_id.as_str(), default.secret_key.as_str()), ("A", "s="));
        let other = from_file(text, "other").unwrap();
        assert_eq!((other.key_id.as_str(), other.token.as_deref()), ("B", Some("u")));
        assert!(from_file(text, "half").is_none());
        assert!(from_file(text, "none").is_none());
    }
}
