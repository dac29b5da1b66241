//! `loghog`: sends messages to LogHog from shells, scripts and pipes.
//! Arguments or standard input -> a server or a spool -> an exit code.
//! Invariant: it ends with 0 only when all that it read is safe.
//! Leaves out: protocols, spools and connections; they are the library's.
//!
//! ```text
//! arguments  the command line
//! setup      a client of it, with secret, certificates and spool
//! pump       reads standard input while there is room
//! input      bytes become messages
//! delivery   messages go to the client, which is never given too many
//! signals    a request to end, as something to look at
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod delivery;
mod input;
mod limits;
mod pump;
mod setup;
mod signals;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
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
        Command::Send { target, text, options } if text.is_empty() => {
            (target, options, Source::Input)
        }
        Command::Send { target, text, options } => (target, options, Source::Text(text)),
        Command::Pipe { target, tee, options } => (target, options, Source::Pipe { tee: *tee }),
    };
    run(target, options, &source).into()
}

/// Where the messages are.
enum Source<'a> {
    Text(&'a [OsString]),
    /// A file or a short command: who calls waits for the end.
    Input,
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
    let client = match setup::client(target, options) {
        Ok(client) => client,
        Err(error @ SetupError::Usage(_)) => return complain(&error.to_string(), EXIT_USAGE),
        Err(error) => return complain(&error.to_string(), EXIT_CONFIG),
    };
    let mut delivery = Delivery::new(client, target, options);
    let is_whole = match source {
        Source::Text(text) => send_text(text, &mut delivery),
        Source::Input => pump(&mut delivery, &signals, options, Tee::Nowhere, false),
        Source::Pipe { tee: false } => pump(&mut delivery, &signals, options, Tee::Nowhere, true),
        Source::Pipe { tee: true } => {
            pump(&mut delivery, &signals, options, Tee::StandardOutput, true)
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

/// Sends standard input; whether all of it was read and sent.
fn pump(
    delivery: &mut Delivery<'_>,
    signals: &Signals,
    options: &Options,
    tee: Tee,
    is_patient: bool,
) -> bool {
    let room_limit = (!is_patient).then_some(options.timeout);
    let mut pump = Pump { delivery, signals, room_limit, tee };
    match pump.run(Input::new(options.multiline)) {
        Ok(End::Input) => true,
        Ok(End::Signal) if is_patient => true,
        Ok(End::Signal) => {
            complain("a signal came before standard input ended; the rest was not read", 0);
            false
        }
        Ok(End::NoRoom(messages)) => {
            complain(&format!("{messages} messages were read and not sent: no room came"), 0);
            false
        }
        Ok(End::Broken(error)) | Err(error) => {
            complain(&format!("cannot read standard input: {error}"), 0);
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
