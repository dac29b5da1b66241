//! The options of a target that is InfluxDB.
//! A section as written -> typed options, or every problem.
//! Invariant: what is right here can be tried; a secret never prints itself.
//! Leaves out: connecting.

use std::path::PathBuf;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use reqwest::Url;

use super::Options;
use crate::config::facility::Secret;
use crate::config::problem::shown;
use crate::config::value::{self, Refused};
use crate::pipeline::ship::Template;
use crate::pipeline::ship::influxdb::limits::{
    BATCH_POINTS, BATCH_POINTS_RANGE, MATCHES_MAX, NAME_BYTES_MAX, PATTERN_BYTES_MAX, TAGS_MAX,
    TIMEOUT, TIMEOUT_RANGE,
};

/// What measurements may be made of.
pub const PLACES: [&str; 3] = ["app", "module", "host"];

/// The tags that every point has or may have.
pub const OWN_TAGS: [&str; 5] = ["app", "file", "host", "level", "module"];

/// The options of `type = influxdb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfluxDb {
    /// Where it answers, without what the protocol puts behind it.
    pub url: Box<str>,
    /// How it is spoken to, and who we are.
    pub way: Way,
    /// The measurement of a message.
    pub measurement: Template,
    /// A further one for errors and worse.
    pub errors_measurement: Option<Template>,
    /// Further ones for messages that match.
    pub matches: Vec<Match>,
    /// Tags that all points get: names and values.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Most points of one request.
    pub batch_points: usize,
    /// Requests are compressed.
    pub gzip: bool,
    /// Texts have line feeds as they are; else `\n` stands for them.
    pub multiline: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// Who signs its certificate; none for those whom the system trusts.
    pub cacert: Option<PathBuf>,
}

/// The protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/write`.
    One {
        /// The database.
        database: Box<str>,
        /// Another than the database's default.
        retention_policy: Option<Box<str>>,
        /// User and password.
        login: Option<(Box<str>, Secret)>,
    },
    /// `/api/v2/write`.
    Two {
        /// The organisation; InfluxDB 3 has none.
        org: Option<Box<str>>,
        /// The bucket; a database of InfluxDB 3.
        bucket: Box<str>,
        /// The token.
        token: Option<Secret>,
    },
}

/// A further measurement for messages that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The measurement.
    pub measurement: Box<str>,
    /// What the body of a message has to have somewhere; [`pattern`] reads it.
    pub pattern: Box<str>,
}

/// Reads a pattern.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(text: &str) -> Result<Regex, Refused> {
    let read = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    read.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Refused::new(
            format!("the pattern takes more than {PATTERN_BYTES_MAX} bytes of memory"),
            "write a shorter one, with smaller counts in braces",
        ),
        error => {
            // It shows the pattern on lines of their own, and says why on the last one.
            let shown = error.to_string();
            let why = shown.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Refused::new(
                format!("this is no regular expression: {why}"),
                "write one in the syntax of Rust's regex, such as (?i)login (failed|refused)",
            )
        }
    })
}

/// Reads them.
pub(super) fn read(options: &mut Options<'_>) -> InfluxDb {
    let url = options.required("url", "url = http://localhost:8086");
    let url = url.map(|text| read_url(&text)).transpose().unwrap_or_else(|refused| {
        options.refuse("url", refused);
        None
    });
    let version = options.value("version", 1, |text| value::count(text, 1..=3));
    let way = match version {
        1 => way_one(options),
        _ => way_two(options, version),
    };
    let errors_measurement = options.text("errors_measurement").is_some();
    InfluxDb {
        url: url.unwrap_or_default(),
        way,
        measurement: options.template("measurement", "{app}", &PLACES),
        errors_measurement: errors_measurement
            .then(|| options.template("errors_measurement", "errors", &PLACES)),
        matches: matches(options),
        tags: tags(options),
        batch_points: options
            .value("batch_points", BATCH_POINTS, |text| value::count(text, BATCH_POINTS_RANGE))
            as usize,
        gzip: options.yes_or_no("gzip", true),
        multiline: options.yes_or_no("multiline", true),
        timeout: options.value("timeout", TIMEOUT, timeout),
        cacert: options.path("cacert"),
    }
}

fn way_one(options: &mut Options<'_>) -> Way {
    for other in ["org", "bucket", "token", "token_file"] {
        of_another_version(options, other, "versions 2 and 3", "version = 2");
    }
    let database = options.required("database", "database = logs").unwrap_or_default();
    let retention_policy = options.text("retention_policy");
    let user = options.text("user");
    let password = options.secret("password");
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user.into(), password)),
        (None, None) => None,
        (Some(_), None) => {
            let message = "there is a user, but no password";
            options.refuse("user", Refused::new(message, "add password or password_file"));
            None
        }
        (None, Some(_)) => {
            let inline = is_there(options, "password");
            let option = if inline { "password" } else { "password_file" };
            let message = "there is a password, but no user";
            options.refuse(option, Refused::new(message, "add user"));
            None
        }
    };
    Way::One {
        database: database.into(),
        retention_policy: retention_policy.map(Into::into),
        login,
    }
}

fn way_two(options: &mut Options<'_>, version: u64) -> Way {
    for other in ["user", "password", "password_file", "retention_policy"] {
        of_another_version(options, other, "version 1", "version = 1");
    }
    let (org, bucket) = if version == 2 {
        of_another_version(options, "database", "versions 1 and 3", "version = 1 or 3");
        (options.required("org", "org = my-org"), options.required("bucket", "bucket = logs"))
    } else {
        of_another_version(options, "org", "version 2", "version = 2");
        of_another_version(options, "bucket", "version 2", "version = 2");
        (None, options.required("database", "database = logs"))
    };
    Way::Two {
        org: org.map(Into::into),
        bucket: bucket.unwrap_or_default().into(),
        token: options.secret("token"),
    }
}

/// Refuses an option that has no meaning in the version that was chosen.
fn of_another_version(options: &mut Options<'_>, option: &str, whose: &str, version: &str) {
    if is_there(options, option) {
        let message = format!("this is an option of {whose} of InfluxDB");
        options.refuse(option, Refused::new(message, format!("leave it out, or write {version}")));
    }
}

/// Without a look at the value, which may be a secret.
fn is_there(options: &mut Options<'_>, option: &str) -> bool {
    options.value(option, false, |_| Ok(true))
}

fn read_url(text: &str) -> Result<Box<str>, Refused> {
    let example = "write for example http://localhost:8086";
    let refused = |why: &str| Refused::new(format!("{} {why}", shown(text)), example);
    // What cannot be read is not repeated either: a password may stand in it.
    let Ok(url) = Url::parse(text) else {
        return Err(Refused::new("this is no URL", example));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let message = "a user or a password stands in the URL";
        return Err(Refused::new(message, "leave them out; write user, and password or token"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(refused("is no URL of a server that speaks HTTP"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Refused::new("behind the path there is a ? or a #", example));
    }
    let base = url.as_str().trim_end_matches('/');
    if let Some(ending) = ["/api/v2/write", "/write"].iter().find(|end| base.ends_with(**end)) {
        let message = format!("{ending} at its end is appended by loghogd");
        return Err(Refused::new(message, "leave it out"));
    }
    Ok(base.into())
}

fn matches(options: &mut Options<'_>) -> Vec<Match> {
    let found = options.prefixed("match.");
    if found.len() > MATCHES_MAX {
        let message = format!("there are more than {MATCHES_MAX} options match.NAME");
        options.refuse("match.", Refused::new(message, "join some by |"));
    }
    let mut matches = Vec::new();
    for (measurement, text) in found {
        let refused = name("a measurement", &measurement).err().or_else(|| pattern(&text).err());
        match refused {
            Some(refused) => options.refuse(&format!("match.{measurement}"), refused),
            None => matches.push(Match { measurement: measurement.into(), pattern: text.into() }),
        }
    }
    matches
}

fn tags(options: &mut Options<'_>) -> Vec<(Box<str>, Box<str>)> {
    let found = options.prefixed("tag.");
    if found.len() > TAGS_MAX {
        let message = format!("there are more than {TAGS_MAX} options tag.NAME");
        options.refuse("tag.", Refused::new(message, "leave some out"));
    }
    let mut tags = Vec::new();
    for (tag, value) in found {
        match tag_refused(&tag, &value) {
            Some(refused) => options.refuse(&format!("tag.{tag}"), refused),
            None => tags.push((tag.into(), value.into())),
        }
    }
    tags
}

fn tag_refused(tag: &str, value: &str) -> Option<Refused> {
    if let Err(refused) = name("a tag", tag) {
        return Some(refused);
    }
    if OWN_TAGS.contains(&tag) {
        let message = format!("points get the tag {tag} from their messages");
        return Some(Refused::new(message, "choose another name"));
    }
    if matches!(tag, "time" | "body" | "logger" | "exception") || tag.starts_with('_') {
        let message = format!("{} cannot be the name of a tag", shown(tag));
        return Some(Refused::new(message, "choose another name"));
    }
    if value.is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
        let message = format!("the value is no text of 1 to {NAME_BYTES_MAX} bytes on one line");
        return Some(Refused::new(message, format!("write for example tag.{tag:.40} = north")));
    }
    None
}

fn name(what: &str, name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("{} cannot be the name of {what}", shown(name));
        let remedy = format!("write a name of 1 to {NAME_BYTES_MAX} bytes behind the dot");
        return Err(Refused::new(message, remedy));
    }
    Ok(())
}

fn timeout(text: &str) -> Result<Duration, Refused> {
    let unit = text.trim().ends_with(['s', 'm']);
    match value::age(text) {
        Ok(age) if unit && TIMEOUT_RANGE.contains(&age) => Ok(age),
        _ => Err(Refused::new(
            format!("{} is no time from 1s to 10m", shown(text)),
            "write a number with the unit s or m, such as 30s",
        )),
    }
}

#[cfg(test)]
mod tests;
