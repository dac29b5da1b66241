//! Answers `loghogd check-config`.
//! The configuration files and what they name -> "ok", or every problem.
//! Invariant: "ok" means that a start gets past its configuration.
//! Leaves out: whether addresses are free and folders can be written.

use super::surroundings::{exposed, missing};
use super::{complain, tell, tell_json};
use crate::cli::{CheckArgs, EX_CONFIG, EX_OK};
use crate::config::{self, Loaded, Problem};

/// The answer in JSON.
#[derive(Debug, serde::Serialize)]
struct Answer<'a> {
    ok: bool,
    problems: &'a [Problem],
    warnings: &'a [Problem],
}

/// Lists what is wrong with the configuration.
pub fn check_config(args: &CheckArgs) -> u8 {
    let (problems, warnings, summary) = match config::load(&args.config, &args.overrides) {
        Ok(loaded) => {
            let problems = missing(&loaded, &args.config);
            let summary = summary(&loaded);
            let exposed = exposed(&loaded);
            (problems, loaded.warnings.into_iter().chain(exposed).collect(), summary)
        }
        Err(problems) => (problems, Vec::new(), String::new()),
    };
    let ok = problems.is_empty();
    if args.json {
        tell_json(&Answer { ok, problems: &problems, warnings: &warnings }, false);
    } else {
        if !warnings.is_empty() || !ok {
            let warnings = warnings.into_iter().map(|warning| Problem {
                message: format!("warning: {}", warning.message),
                ..warning
            });
            complain(&problems.into_iter().chain(warnings).collect::<Vec<_>>());
        }
        if ok {
            tell(&format!("ok: {}: {summary}", args.config.display()));
        }
    }
    if ok { EX_OK } else { EX_CONFIG }
}

fn summary(loaded: &Loaded) -> String {
    let listen = &loaded.config.server.listen;
    let addresses: Vec<String> = listen
        .iter()
        .map(|address| format!("{address}{}", if address.tls { " (TLS)" } else { "" }))
        .collect();
    let facilities = match loaded.table.len() {
        0 => "no facility, every message would be refused".to_owned(),
        1 => "1 facility".to_owned(),
        count => format!("{count} facilities"),
    };
    format!("{facilities}; listening on {}", addresses.join(", "))
}
