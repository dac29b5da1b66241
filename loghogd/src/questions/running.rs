//! Finds the running daemon and asks it.
//! A configuration -> its run folder; a question -> the answer, or an exit code.
//! Invariant: whoever cannot ask is told why, and what to look at.
//! Leaves out: the way there (`control`).

use std::io;
use std::path::{Path, PathBuf};

use super::{complain, tell_error};
use crate::cli::{EX_CONFIG, EX_UNAVAILABLE};
use crate::config::{self, Overrides};
use crate::control::{self, Answer, Question};

/// The run folder that this configuration names.
pub(super) fn rundir(config: &Path, overrides: &Overrides) -> Result<PathBuf, u8> {
    match config::load(config, overrides) {
        Ok(loaded) => Ok(loaded.config.main.rundir),
        Err(problems) => {
            complain(&problems);
            Err(EX_CONFIG)
        }
    }
}

/// Asks the daemon that has this run folder.
pub(super) fn ask(rundir: &Path, question: &Question) -> Result<Answer, u8> {
    control::ask(rundir, question).map_err(|error| nobody(rundir, &error))
}

/// Nobody answers.
pub(super) fn nobody(rundir: &Path, error: &io::Error) -> u8 {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "only root and the daemon's user may ask it: try sudo",
        _ => "is loghogd running, with this configuration?",
    };
    let path = control::path(rundir);
    tell_error(&format!("loghogd: nobody answers at {}: {error}; {remedy}", path.display()));
    EX_UNAVAILABLE
}

/// The answer is none to this question.
pub(super) fn not_understood() -> u8 {
    tell_error("loghogd: the daemon's answer is not understood; is it of another version?");
    EX_UNAVAILABLE
}
