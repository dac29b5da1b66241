//! `loghog`: sends messages to LogHog from shells, scripts and pipes.
//! Arguments or standard input -> a server or a spool -> an exit code.
//! Invariant: it ends with 0 only when all that it read is safe.
//! Leaves out: protocols, spools and connections; they are the library's.
//!
//! ```text
//! arguments  the command line
//! setup      a client of it, with secret, certificates and spool
//! pump       reads the input while there is room
//! input      bytes become messages
//! delivery   messages go to the client, which is never given too many
//! signals    a request to end, as something to look at
//! manual     the page man/loghog.1, of the command line; only in tests
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod arguments;
mod delivery;
mod input;
mod limits;
#[cfg(test)]
mod manual;
mod pump;
mod setup;
mod signals;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command, Options, Target};
use crate::delivery::{Delivery, Outcome};
use crate::input::Input;
use crate::pump::{End, Pump, Tee};
use crate::setup::SetupError;
use crate::signals::Signals;

/// Called in a way that it does not understand: `EX_USAGE` of sysexits(3).
const EXIT_USAGE: u8 = 64;
/// Messages may be lost; another try may do better: `EX_TEMPFAIL`.
const EXIT_UNSAFE: u8 = 75;
/// A file that was named cannot be used: `EX_CONFIG`.
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => {
            // `--help` and `--version` come this way too.
            let _ = refusal.print();
            return if refusal.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let (target, options, source) = match &arguments.command {
        Command::Send { target, text, file, stderr, options } => {
            let echoes = *stderr;
            let source = match text.is_empty() {
                true => Source::Input { file: file.as_deref(), echoes },
                false => Source::Text { text, echoes },
            };
            (target, options, source)
        }
        Command::Pipe { target, tee, options } => (target, options, Source::Pipe { tee: *tee }),
    };
    run(target, options, &source).into()
}

/// Where the messages are.
enum Source<'a> {
    Text {
        text: &'a [OsString],
        echoes: bool,
    },
    /// A file or a short command: who calls waits for the end.
    Input {
        file: Option<&'a Path>,
        echoes: bool,
    },
    /// A program that runs for long.
    Pipe {
        tee: bool,
    },
}

/// Does it all; returns the exit code.
fn run(target: &Target, options: &Options, source: &Source<'_>) -> u8 {
    if let Err(refusal) = options.check() {
        return complain(&refusal, EXIT_USAGE);
    }
    let signals = match Signals::hold() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("cannot wait for signals: {error}"), EXIT_UNSAFE),
    };
    let input = match source {
        Source::Input { file: Some(path), .. } => match File::open(path) {
            Ok(file) => Ok(file),
            Err(error) => {
                return complain(&format!("cannot read {}: {error}", path.display()), EXIT_CONFIG);
            }
        },
        _ => io::stdin().as_fd().try_clone_to_owned().map(File::from),
    };
    let client = match setup::client(target, options) {
        Ok(client) => client,
        Err(error @ SetupError::Usage(_)) => return complain(&error.to_string(), EXIT_USAGE),
        Err(error) => return complain(&error.to_string(), EXIT_CONFIG),
    };
    let mut delivery = Delivery::new(client, target, options);
    let is_whole = match source {
        Source::Text { text, echoes } => {
            delivery.echo(*echoes);
            send_text(text, &mut delivery)
        }
        Source::Input { echoes, .. } => {
            delivery.echo(*echoes);
            let room_limit = Some(options.timeout);
            let tee = Tee::Nowhere;
            let delivery = &mut delivery;
            pump(
                Pump { delivery, signals: &signals, room_limit, tee, is_ending: false },
                input,
                options,
            )
        }
        Source::Pipe { tee } => {
            let tee = if *tee { Tee::StandardOutput } else { Tee::Nowhere };
            let delivery = &mut delivery;
            let pump_all =
                Pump { delivery, signals: &signals, room_limit: None, tee, is_ending: false };
            pump(pump_all, input, options)
        }
    };
    match (delivery.finish(|| signals.came()), is_whole) {
        (Outcome::Safe, true) => 0,
        _ => EXIT_UNSAFE,
    }
}

/// Sends the arguments as one message.
fn send_text(text: &[OsString], delivery: &mut Delivery<'_>) -> bool {
    let words: Vec<_> = text.iter().map(|word| word.to_string_lossy()).collect();
    let text = words.join(" ");
    if text.len() > limits::MESSAGE_BYTES_MAX {
        let limit = limits::MESSAGE_BYTES_MAX;
        complain(&format!("the text is longer than {limit} bytes; it is cut into several"), 0);
    }
    let mut rest = text.as_str();
    loop {
        let longest = rest.len().min(limits::MESSAGE_BYTES_MAX);
        let end = (0..=longest).rev().find(|end| rest.is_char_boundary(*end));
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if !delivery.has_room() {
            complain("the text is too long to be sent at once; use standard input", 0);
            return false;
        }
        delivery.send(part);
        rest = behind;
        if rest.is_empty() {
            return true;
        }
    }
}

/// Sends what can be read; whether all of it was read and sent.
fn pump(mut pump: Pump<'_, '_>, source: io::Result<File>, options: &Options) -> bool {
    let is_patient = pump.room_limit.is_none();
    let input = Input::new(options.multiline, options.skip_empty);
    let end = source.map_or_else(End::Broken, |mut source| pump.run(&mut source, input));
    match end {
        End::Input => true,
        End::Signal if is_patient => true,
        End::Signal => {
            complain("a signal came before the input ended; the rest was not read", 0);
            false
        }
        End::NoRoom(messages) => {
            complain(&format!("{messages} messages were read and not sent: no room came"), 0);
            false
        }
        End::Broken(error) => {
            complain(&format!("cannot read the input: {error}"), 0);
            false
        }
    }
}

fn complain(what: &str, code: u8) -> u8 {
    say(format_args!("{what}"));
    code
}

/// Says it on standard error, if anybody listens there.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "loghog: {what}");
}
