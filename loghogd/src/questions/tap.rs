//! Answers `loghogd tap`: messages as they reach the running daemon.
//! Lines of JSON -> the same as a file of text would have them, or as they are.
//! Invariant: what a peer chose cannot steer a terminal; what was missed is said.
//! Leaves out: choosing messages (`pipeline::tap`).

use std::io::{self, Write};

use serde_json::Value;

use super::running::{nobody, rundir};
use super::table::tame;
use super::tell_error;
use crate::cli::{EX_OK, EX_USAGE, TapArgs};
use crate::control::{self, Passing};

/// Shows messages until interrupted, or until nobody reads.
pub fn tap(args: &TapArgs) -> u8 {
    let rundir = match rundir(&args.config, &args.overrides) {
        Ok(rundir) => rundir,
        Err(code) => return code,
    };
    let passing = match control::look(&rundir, &args.wanted) {
        Ok(passing) => passing,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            tell_error(&format!("loghogd: {error}"));
            return EX_USAGE;
        }
        Err(error) => return nobody(&rundir, &error),
    };
    for passed in passing {
        let shown = match passed {
            Ok(Passing::Message(line)) if args.json => put(&line),
            Ok(Passing::Message(line)) => put(&in_words(&line)),
            Ok(Passing::Missed(messages)) => {
                tell_error(&format!(
                    "loghogd: {messages} messages came too fast to be shown; narrow it down with \
                     APP:MODULE, --host or --grep"
                ));
                Ok(())
            }
            Err(error) => return nobody(&rundir, &error),
        };
        // A reader who has gone away, as `head` does, has seen enough.
        if shown.is_err() {
            return EX_OK;
        }
    }
    tell_error("loghogd: the daemon has gone");
    crate::cli::EX_UNAVAILABLE
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// As a file of text has it, with the application and the module, which its path names.
fn in_words(line: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(line) else { return tame(line) };
    let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
    let logger = text("logger");
    let from = match logger {
        "" => tame(text("app")),
        logger => format!("{}:{}", tame(text("app")), tame(logger)),
    };
    let mut body = text("message").to_owned();
    if let Some(exception) = message.get("exception").and_then(Value::as_str) {
        body.push('\n');
        body.push_str(exception);
    }
    let body: Vec<String> = body.lines().map(|line| tame(&line.replace('\t', "    "))).collect();
    let level = match (text("level_name"), message.get("level")) {
        ("", Some(Value::Number(level))) => format!(" {level}"),
        ("", _) => String::new(),
        (name, _) => format!(" {}", tame(name)),
    };
    let fields = match message.get("fields").and_then(Value::as_object) {
        Some(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(key, value)| format!("{}={value}", tame(key)));
            format!("  {}", tame(&fields.collect::<Vec<_>>().join(" ")))
        }
        _ => String::new(),
    };
    let (received, host) = (tame(text("received")), tame(text("host")));
    format!("{received} {host} {from}{level} - {}{fields}", body.join("\n\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_with_all_that_it_says_and_cannot_steer_the_terminal() {
        let line = r#"{"received":"2026-11-20T12:00:00.123456+00:00","host":"h","app":"a","logger":"web","level":40,"level_name":"ERROR","message":"one\u001b]0;x\u0007\ntwo","exception":"Oops","fields":{"took":1.5,"\u001b":"x"}}"#;
        assert_eq!(
            in_words(line),
            "2026-11-20T12:00:00.123456+00:00 h a:web ERROR - one\u{FFFD}]0;x\u{FFFD}\n\ttwo\n\tOops  \
             \u{FFFD}=\"x\" took=1.5"
        );
        let bare = r#"{"received":"r","host":"","app":"a","logger":"","message":"m"}"#;
        assert_eq!(in_words(bare), "r - a - m");
    }
}
