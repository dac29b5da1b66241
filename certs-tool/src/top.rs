//! What both commands share at the top: their exit codes and their last words.
//! Arguments -> exit code; text to stdout, complaints to stderr.
//! Invariant: 0 means that everything was done, 64 that nothing was tried.
//! Leaves out: what the commands do.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// The command was called in a way that it does not understand: `EX_USAGE` of sysexits(3).
pub const EXIT_USAGE: u8 = 64;
/// The command was understood and could not do what it should.
pub const EXIT_FAILURE: u8 = 1;

/// Parses the process's arguments, runs `command` on them and says how it went.
/// `command` returns the text to print.
pub fn run<Args: Parser>(command: impl FnOnce(&Args) -> anyhow::Result<String>) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refusal) => return refuse(&refusal),
    };
    match command(&args) {
        Ok(text) => say(&text),
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(refusal) => refuse(refusal),
            None => {
                let _ = writeln!(io::stderr(), "{}: {error}", Args::command().get_name());
                ExitCode::from(EXIT_FAILURE)
            }
        },
    }
}

/// `--help` and `--version` come this way too.
fn refuse(refusal: &clap::Error) -> ExitCode {
    // Nothing is left to do if even that cannot be printed.
    let _ = refusal.print();
    match refusal.use_stderr() {
        true => ExitCode::from(EXIT_USAGE),
        false => ExitCode::SUCCESS,
    }
}

/// A reader that has gone, as in `... --list | head`, is no failure.
fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_FAILURE),
        _ => ExitCode::SUCCESS,
    }
}
