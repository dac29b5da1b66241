//! Answers `loghogd check-config`.
//! The configuration files and what they name -> "ok", or every problem.
//! Invariant: "ok" means that a start gets past its configuration.
//! Leaves out: whether addresses are free and folders can be written.

use super::surroundings::{exposed, missing};
use super::{complain, original, tell, tell_json};
use crate::cli::{CheckArgs, EX_CONFIG, EX_OK};
use crate::config::original::Difference;
use crate::config::problem::Problems;
use crate::config::ship::PREFIX;
use crate::config::{self, Kind, Loaded, Problem};
use crate::pipeline::ship;
use std::path::Path;

/// The answer in JSON.
#[derive(Debug, serde::Serialize)]
struct Answer<'a> {
    ok: bool,
    problems: &'a [Problem],
    warnings: &'a [Problem],
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<&'a [Difference]>,
}

/// What was found.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// From the original; none when nobody asked.
    differences: Option<Vec<Difference>>,
    summary: String,
}

/// Lists what is wrong with the configuration.
pub fn check_config(args: &CheckArgs) -> u8 {
    let Found { problems, mut warnings, differences, summary } = find(args);
    let stops = differences.iter().flatten().any(|difference| difference.stops_start);
    let ok = problems.is_empty() && !stops;
    if differences.is_some() {
        // Told among the differences.
        warnings.retain(|warning| warning.kind != Kind::Obsolete);
    }
    if args.json {
        let differences = differences.as_deref();
        let answer = Answer { ok, problems: &problems, warnings: &warnings, differences };
        tell_json(&answer, false);
    } else {
        if !warnings.is_empty() || !problems.is_empty() {
            let warnings = warnings.into_iter().map(|warning| Problem {
                message: format!("warning: {}", warning.message),
                ..warning
            });
            complain(&problems.into_iter().chain(warnings).collect::<Vec<_>>());
        }
        for difference in differences.iter().flatten() {
            tell(&difference.to_string());
        }
        if ok {
            tell(&format!("ok: {}: {summary}", args.config.display()));
        }
    }
    if ok { EX_OK } else { EX_CONFIG }
}

fn find(args: &CheckArgs) -> Found {
    let (loaded, mut problems) = match config::survey(&args.config, &args.overrides) {
        Ok(surveyed) => surveyed,
        Err(problems) => return Found { problems, ..Found::default() },
    };
    if !problems.is_empty() && !args.from_original {
        return Found { problems, ..Found::default() };
    }
    if problems.is_empty() {
        problems = missing(&loaded, &args.config);
        if args.connect && problems.is_empty() {
            problems = try_targets(&loaded, &args.config);
        }
    }
    let differences =
        args.from_original.then(|| original::differences(&loaded, &args.config, &mut problems));
    let summary = summary(&loaded);
    let exposed = exposed(&loaded);
    let warnings = loaded.warnings.into_iter().chain(exposed).collect();
    Found { problems, warnings, differences, summary }
}

/// Connects to each target, and delivers nothing.
fn try_targets(loaded: &Loaded, file: &Path) -> Vec<Problem> {
    let mut problems = Problems::of(file);
    for target in &loaded.config.ship {
        if let Err(error) = ship::try_out(target) {
            let line = loaded.raw.line_of_section(&format!("{}{}", PREFIX, target.name));
            let message = format!("{}: {error}", target.name);
            let remedy = "correct the section, or what it names, and try again";
            problems.add(line, Kind::Surroundings, message, remedy);
        }
    }
    problems.into_vec()
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
    let targets: Vec<&str> = loaded.config.ship.iter().map(|target| &*target.name).collect();
    let shipping = match targets.as_slice() {
        [] => String::new(),
        targets => format!("; shipping to {}", targets.join(", ")),
    };
    format!("{facilities}; listening on {}{shipping}", addresses.join(", "))
}
