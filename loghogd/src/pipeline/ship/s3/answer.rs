//! What a server has said, and what that means.
//! A status, a code and a message, or no answer at all -> trouble in words, with a remedy.
//! Invariant: no secret is repeated; what may heal by itself is never a stop.
//! Leaves out: asking (`store`).

use std::error::Error;
use std::io;
use std::time::Duration;

use super::limits::MESSAGE_CHARS_MAX;
use crate::pipeline::ship::Trouble;
use crate::pipeline::ship::limits::ASKED_PAUSE_MAX;

/// An answer that is no success, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server has refused.
    Refused {
        /// Of HTTP.
        status: u16,
        /// Of S3, such as `NoSuchBucket`; empty when it has sent none.
        code: String,
        /// In its words.
        message: String,
        /// It asks for so long a pause.
        pause: Option<Duration>,
    },
    /// There was no answer, or half of one.
    Broken(String),
    /// Nobody has told us who we are.
    NoCredentials(String),
}

/// Who was asked, for messages.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) section: String,
    pub(super) endpoint: String,
    pub(super) bucket: String,
    pub(super) cacert: Option<String>,
    pub(super) timeout: Duration,
    /// Where the credentials come from.
    pub(super) credentials: &'static str,
    /// Somebody renews them there, and they are read again at each connecting.
    pub(super) renewed: bool,
    /// They were good before.
    pub(super) proven: bool,
}

impl Answer {
    /// From what came with a status that is no success.
    pub(super) fn read(status: u16, body: &str, retry_after: Option<&str>) -> Answer {
        let pause = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Answer::Refused {
            status,
            code: element(body, "Code").unwrap_or_default(),
            message: element(body, "Message").unwrap_or_default(),
            pause: pause.map(|pause| pause.min(ASKED_PAUSE_MAX)),
        }
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Answer::Refused { code, .. } => code,
            Answer::Broken(_) | Answer::NoCredentials(_) => "",
        }
    }

    /// What it means when this was asked for: `what`, such as "the object KEY".
    pub(super) fn trouble(&self, what: &str, place: &Place) -> Trouble {
        match self {
            Answer::Refused { status, code, message, pause } => {
                refused(*status, code, message, *pause, what, place)
            }
            Answer::Broken(why) => Trouble::later(broken(why, place)),
            Answer::NoCredentials(why) => Trouble::later(format!(
                "there are no credentials for {}: {why}; give {} access_key_id and \
                 secret_access_key_file, or credentials_file, or this machine a role",
                place.endpoint, place.section
            )),
        }
    }
}

fn refused(
    status: u16,
    code: &str,
    message: &str,
    pause: Option<Duration>,
    what: &str,
    place: &Place,
) -> Trouble {
    let Place { section, endpoint, bucket, .. } = place;
    let said = match (code, message) {
        ("", "") => format!("status {status}"),
        ("", message) => format!("status {status}: {message}"),
        (code, "") => format!("{code}, status {status}"),
        (code, message) => format!("{code}: {message}"),
    };
    let stop = |what: String, remedy: String| Trouble::stop(what, remedy);
    let heals = match code {
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => place.renewed,
        // The key before was taken away, and the new one is not there yet.
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => {
            place.renewed && place.proven
        }
        _ => false,
    };
    match code {
        _ if heals => Trouble::later(format!(
            "{endpoint} does not take the credentials from {} any more ({said}); they are read \
             again; see to it that they are renewed",
            place.credentials
        )),
        "NoSuchBucket" => stop(
            format!("there is no bucket {bucket} at {endpoint}"),
            format!("make it, or put bucket of {section} right"),
        ),
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired" => stop(
            format!("{endpoint} does not take the credentials from {} ({said})", place.credentials),
            format!("put the credentials of {section} right"),
        ),
        "RequestTimeTooSkewed" => Trouble::later(format!(
            "the clocks of {endpoint} and of this machine differ too much ({said}); set the clock"
        )),
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => stop(
            format!("the bucket {bucket} is in another region ({said})"),
            format!("put region of {section} right"),
        ),
        "InvalidStorageClass" => stop(
            format!("{endpoint} has no such storage class ({said})"),
            format!("put storage_class of {section} right"),
        ),
        "QuotaExceeded" | "InsufficientCapacity" | "XMinioStorageFull" | "StorageFull" => {
            full(endpoint, &said)
        }
        _ if code.starts_with("KMS") => stop(
            format!("{endpoint} cannot encrypt ({said})"),
            format!("put sse_kms_key_id of {section} right, or let us use that key"),
        ),
        "SlowDown" | "TooManyRequests" | "RequestLimitExceeded" => busy(endpoint, &said, pause),
        _ => match status {
            429 | 503 => busy(endpoint, &said, pause),
            507 => full(endpoint, &said),
            501 => stop(
                format!("{endpoint} cannot do what was asked for {what} ({said})"),
                format!("set conditional_writes = no in {section}"),
            ),
            401 | 403 => stop(
                format!("{endpoint} does not allow {what} ({said})"),
                format!(
                    "allow these credentials s3:GetObject, s3:PutObject, s3:ListBucket and \
                     s3:AbortMultipartUpload for the bucket {bucket}"
                ),
            ),
            300..=399 => stop(
                format!("{endpoint} sends us elsewhere for {what} ({said})"),
                format!("put endpoint and region of {section} right"),
            ),
            404 | 408 | 409 | 412 | 500.. => {
                Trouble::Later { what: format!("{endpoint} has failed at {what} ({said})"), pause }
            }
            _ => stop(
                format!("{endpoint} refuses {what} ({said})"),
                format!("see what it says and put {section} right"),
            ),
        },
    }
}

fn busy(endpoint: &str, said: &str, pause: Option<Duration>) -> Trouble {
    Trouble::Later { what: format!("{endpoint} is too busy ({said})"), pause }
}

fn full(endpoint: &str, said: &str) -> Trouble {
    Trouble::later(format!("{endpoint} has no room left ({said}); make room there"))
}

fn broken(why: &str, place: &Place) -> String {
    let Place { section, endpoint, .. } = place;
    let lower = why.to_ascii_lowercase();
    if lower.contains("certificate") || lower.contains("unknownissuer") {
        let trusted = place.cacert.as_deref().unwrap_or("the system's authorities");
        return format!(
            "{endpoint} shows a certificate that {trusted} cannot vouch for: {why}; put the \
             certificate of its authority into cacert of {section}"
        );
    }
    if lower.contains("timed out") || lower.contains("timeout") {
        return format!("{endpoint} has not answered within {} s", place.timeout.as_secs());
    }
    if lower.contains("connection refused")
        || lower.contains("dns")
        || lower.contains("unreachable")
    {
        return format!(
            "cannot reach {endpoint}: {why}; see whether it runs, and whether endpoint of {section} \
             is right"
        );
    }
    format!("the connection to {endpoint} broke: {why}")
}

/// The deepest cause of an error, which says what has happened; or that it took too long.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        let timed_out = cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if timed_out
            || cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
        {
            return "timed out".to_owned();
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return cause.to_string(),
        }
    }
}

/// The text of the first element of that name, on one line and not too long.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    let shown = plain.chars().map(|shown| if shown.is_control() { ' ' } else { shown });
    Some(shown.take(MESSAGE_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            section: "[ship:s]".to_owned(),
            endpoint: "https://s3.example".to_owned(),
            bucket: "logs".to_owned(),
            cacert: None,
            timeout: Duration::from_secs(9),
            credentials: "the section",
            renewed: false,
            proven: false,
        }
    }

    fn said(status: u16, code: &str) -> String {
        let body = format!("<Error><Code>{code}</Code><Message>so &amp; so</Message></Error>");
        Answer::read(status, &body, None).trouble("the object k", &place()).to_string()
    }

    #[test]
    fn what_somebody_has_to_mend_is_a_stop_with_a_remedy() {
        assert_eq!(
            said(404, "NoSuchBucket"),
            "there is no bucket logs at https://s3.example; make it, or put bucket of [ship:s] \
             right, then reload loghogd (SIGHUP)"
        );
        assert_eq!(
            said(403, "SignatureDoesNotMatch"),
            "https://s3.example does not take the credentials from the section \
             (SignatureDoesNotMatch: so & so); put the credentials of [ship:s] right, then reload \
             loghogd (SIGHUP)"
        );
        for (status, code, part) in [
            (403, "AccessDenied", "does not allow the object k"),
            (301, "PermanentRedirect", "is in another region"),
            (400, "InvalidStorageClass", "put storage_class of [ship:s] right"),
            (501, "NotImplemented", "set conditional_writes = no in [ship:s]"),
            (400, "KMS.NotFoundException", "put sse_kms_key_id of [ship:s] right"),
            (400, "InvalidArgument", "refuses the object k"),
        ] {
            let said = said(status, code);
            assert!(said.contains(part) && said.contains("reload"), "{said}");
        }
    }

    #[test]
    fn what_may_heal_is_tried_again_after_the_pause_that_was_asked_for() {
        let busy = Answer::read(429, "", Some("7")).trouble("the object k", &place());
        let what = "https://s3.example is too busy (status 429)".to_owned();
        assert_eq!(busy, Trouble::Later { what, pause: Some(Duration::from_secs(7)) });
        for (status, code, part) in [
            (503, "SlowDown", "is too busy"),
            (500, "InternalError", "has failed at the object k"),
            (507, "", "has no room left"),
            (403, "QuotaExceeded", "make room there"),
            (403, "RequestTimeTooSkewed", "set the clock"),
        ] {
            let said = said(status, code);
            assert!(said.contains(part) && !said.contains("reload"), "{said}");
        }
    }

    #[test]
    fn credentials_that_somebody_renews_are_waited_for() {
        let said = |code: &str, renewed, proven| {
            let body = format!("<Error><Code>{code}</Code></Error>");
            let place = Place { credentials: "credentials_file", renewed, proven, ..place() };
            Answer::read(400, &body, None).trouble("the object k", &place)
        };
        for code in ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"] {
            let trouble = said(code, true, false);
            assert!(matches!(trouble, Trouble::Later { .. }), "{trouble}");
            assert!(trouble.to_string().contains("from credentials_file any more"), "{trouble}");
            assert!(
                matches!(said(code, false, true), Trouble::Stop { .. }),
                "a key of the section"
            );
        }
        for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"] {
            assert!(matches!(said(code, true, true), Trouble::Later { .. }));
            assert!(matches!(said(code, true, false), Trouble::Stop { .. }), "never right");
            assert!(matches!(said(code, false, true), Trouble::Stop { .. }));
        }
    }

    #[test]
    fn no_answer_is_told_by_its_cause() {
        for (why, part) in [
            ("Connection refused (os error 111)", "see whether it runs"),
            ("timed out", "has not answered within 9 s"),
            ("invalid peer certificate: UnknownIssuer", "cacert of [ship:s]"),
            ("connection closed before message completed", "broke"),
        ] {
            let said = Answer::Broken(why.to_owned()).trouble("x", &place()).to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
