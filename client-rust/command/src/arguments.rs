//! What the command line says.
//! Arguments -> `Arguments`, or a refusal that clap words.
//! Invariant: no secret is ever an argument; others could see it in the list of processes.
//! Leaves out: files, and whether the names in it exist.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wire::v2::limits::FIELDS_MAX;

use crate::limits::{FIELDS_BYTES_MAX, MODULE_BYTES_MAX, TIMEOUT_SECONDS_MAX};

/// Commands as they are typed.
pub(crate) const EXAMPLES: &str = "\
  loghog send my-app backup finished
  loghog send my-app:jobs.backup --level ERROR --field host=db1 -- backup failed
  dmesg | loghog send kernel --server logs.example.org
  my-program 2>&1 | loghog pipe my-app --spool /var/spool/my-app --tee";

/// Where the secret is.
pub(crate) const SECRET: &str = "\
The secret, where the application has one, is read from --secret-file, or else
from the environment variable LOGHOG_SECRET.";

/// What the command ends with.
pub(crate) const EXIT_CODES: [(u8, &str); 4] = [
    (
        0,
        "every message is safe: acknowledged by the server as synced, or in the spool (with \
         --protocol 1, which has no acknowledgements: handed over)",
    ),
    (64, "the command was called wrongly"),
    (75, "messages may be lost; what happened and what to do stands on stderr"),
    (78, "a file that was named cannot be used"),
];

fn after_help() -> String {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("  {code:2}  {meaning}")).join("\n");
    format!("Examples:\n{EXAMPLES}\n\n{SECRET}\n\nExit codes:\n{codes}")
}

/// Sends messages to a LogHog server.
#[derive(Debug, Parser)]
#[command(name = "loghog", version, about, after_help = after_help())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends one message, or each line of standard input or of a file
    #[command(after_help = after_help())]
    Send {
        /// The application, as the server's facilities.conf lists it, and the
        /// logger's name
        #[arg(value_name = "APP[:MODULE]")]
        target: Target,
        /// The message, joined by blanks; without it each line of standard
        /// input is one. Put -- before a text that begins with -
        #[arg(value_name = "TEXT")]
        text: Vec<OsString>,
        /// Sends each line of this file
        #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
        file: Option<PathBuf>,
        /// Writes the messages to standard error as well
        #[arg(short, long)]
        stderr: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Sends what another program writes, a line a message, until it ends
    ///
    /// Nothing is dropped: when the server is away and there is no spool, or it
    /// is full, some megabytes are kept in memory and then no more is read, so
    /// the program has to wait. SIGTERM, SIGINT and SIGHUP end the reading; what
    /// has been written by then is sent first, for which there is as much time as
    /// --timeout says. A second signal ends the sending as well. One that was
    /// ignored when the command began stays so, as with nohup(1).
    #[command(after_help = after_help())]
    Pipe {
        /// The application, as the server's facilities.conf lists it, and the
        /// logger's name
        #[arg(value_name = "APP[:MODULE]")]
        target: Target,
        /// Copies standard input to standard output
        #[arg(long)]
        tee: bool,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server, localhost unless told otherwise; several are tried in this
    /// order
    #[arg(short = 'n', long = "server", value_name = "HOST[:PORT]")]
    pub(crate) servers: Vec<String>,
    /// Encrypts, with certificates on both sides
    #[arg(long, requires = "pem", requires = "ca")]
    pub(crate) tls: bool,
    /// Our key and certificate, as loghog-client-cert writes them
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) pem: Option<PathBuf>,
    /// The certificate of the authority (loghog-ca.cert)
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) ca: Option<PathBuf>,
    /// The name in the server's certificate, unless it is the one that
    /// --server gives
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) server_name: Option<String>,
    /// A file that holds the secret; a line end behind it does not count
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL or a number up to 255; the
    /// names of syslog, such as err and emerg, are known too
    #[arg(short = 'p', long, value_parser = level)]
    pub(crate) level: Option<u8>,
    /// Something else that is known of each message; may be repeated
    #[arg(long = "field", value_name = "KEY=VALUE", value_parser = field)]
    pub(crate) fields: Vec<(String, String)>,
    /// Sends a process id with each message: this command's, or the one that is
    /// given, such as --id=$$
    #[arg(short, long, value_name = "ID", num_args = 0..=1, require_equals = true)]
    pub(crate) id: Option<Option<u32>>,
    /// Keeps messages in this folder until the server has them; what is left
    /// there is sent by the next loghog for the same application and folder
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// How much this command may keep there, 1G unless told otherwise; beyond,
    /// no more is read
    #[arg(long, value_name = "BYTES[K|M|G]", requires = "spool", value_parser = bytes)]
    pub(crate) spool_bytes: Option<u64>,
    /// 2 knows acknowledgements; auto takes 1 where the server knows no other.
    /// 1 carries neither level nor fields
    #[arg(long, value_name = "auto|1|2", default_value = "2", hide_possible_values = true)]
    pub(crate) protocol: Protocol,
    /// How long to wait for the server at the end; 0 with a spool leaves the
    /// sending to the next loghog
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// The host name that the messages carry, unless it is this machine's
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Joins lines that begin with white space to the message before
    #[arg(long)]
    pub(crate) multiline: bool,
    /// Passes over empty lines
    #[arg(short = 'e', long)]
    pub(crate) skip_empty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Auto,
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

/// An application and a logger in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) app: String,
    pub(crate) module: String,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let (app, module) = text.split_once(':').unwrap_or((text, ""));
        if app.is_empty() {
            return Err("the application has no name".into());
        }
        for (what, name) in [("application", app), ("module", module)] {
            if name.len() > MODULE_BYTES_MAX {
                return Err(format!("the {what} is longer than {MODULE_BYTES_MAX} bytes"));
            }
        }
        Ok(Target { app: app.to_owned(), module: module.to_owned() })
    }
}

impl Options {
    /// What clap cannot check by itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.spool.is_some() && self.protocol == Protocol::V1 {
            return Err("a spool needs acknowledgements; leave out --protocol 1 or --spool".into());
        }
        if self.spool.is_none() && self.timeout.is_zero() {
            return Err(
                "without --spool nothing is safe in no time; give a longer --timeout".into()
            );
        }
        if self.fields.len() > FIELDS_MAX {
            return Err(format!("there are more than {FIELDS_MAX} fields"));
        }
        if self.fields_bytes() > FIELDS_BYTES_MAX {
            return Err(format!("the fields are longer than {FIELDS_BYTES_MAX} bytes together"));
        }
        let mut keys: Vec<_> = self.fields.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(format!("the field {:?} is there twice", pair.first())),
            None => Ok(()),
        }
    }

    /// The process id that messages carry; 0: none.
    pub(crate) fn process_id(&self) -> u32 {
        self.id.map_or(0, |given| given.unwrap_or_else(std::process::id))
    }

    pub(crate) fn fields_bytes(&self) -> usize {
        self.fields.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Levels as Python counts them, with the usual other names.
fn level(text: &str) -> Result<u8, String> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "DEBUG" => 10,
        "INFO" => 20,
        "NOTICE" => 25,
        "WARNING" | "WARN" => 30,
        "ERROR" | "ERR" => 40,
        "CRITICAL" | "CRIT" | "FATAL" | "ALERT" | "EMERG" | "PANIC" => 50,
        with_facility if with_facility.contains('.') => {
            return Err(
                "give the level alone; instead of a syslog facility there is the APP".into()
            );
        }
        number => number.parse().map_err(
            |_| "give DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL or a number up to 255",
        )?,
    })
}

/// A number of bytes, or of what a letter behind it stands for.
fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_suffix("IB").unwrap_or(&upper);
    let (digits, shift) = match short.split_at_checked(short.len().saturating_sub(1)) {
        Some((digits, "K")) => (digits, 10),
        Some((digits, "M")) => (digits, 20),
        Some((digits, "G")) => (digits, 30),
        _ => (upper.as_str(), 0),
    };
    let number = digits.trim_end().parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "give a number of bytes, or one with K, M or G".into())
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds")?;
    if !(0.0..=TIMEOUT_SECONDS_MAX).contains(&number) {
        return Err(format!("give 0 to {TIMEOUT_SECONDS_MAX} seconds"));
    }
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_application_may_have_a_module_and_needs_a_name() {
        let target: Target = "app:a.b:c".parse().unwrap();
        assert_eq!((target.app.as_str(), target.module.as_str()), ("app", "a.b:c"));
        assert!(":a".parse::<Target>().is_err() && "".parse::<Target>().is_err());
    }

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!((level("error"), level("25")), (Ok(40), Ok(25)));
        assert_eq!((level("notice"), level("emerg")), (Ok(25), Ok(50)));
        assert!(level("loud").is_err() && level("256").is_err());
        assert!(level("local0.err").unwrap_err().contains("APP"));
    }

    #[test]
    fn bytes_may_have_a_letter() {
        for (text, number) in [("5000000", 5_000_000), ("4M", 4 << 20), ("4 mib", 4 << 20)] {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for text in ["", "M", "4X", "-1", "1.5G", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_is_the_one_given_or_our_own() {
        for (line, id) in [
            ("loghog send app hello", 0),
            ("loghog send app -i hello", std::process::id()),
            ("loghog send app --id=77 hello", 77),
        ] {
            let Command::Send { options, text, .. } = parse(line).unwrap().command else {
                panic!()
            };
            assert_eq!((options.process_id(), text.len()), (id, 1), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "loghog send app --tls hello",
            "loghog send app --pem x hello",
            "loghog send app --field =x hello",
            "loghog send app --field x hello",
            "loghog send app --timeout -1 hello",
            "loghog send app --file x hello",
            "loghog send app --spool-bytes 4M hello",
            "loghog send app --server-name x hello",
            "loghog send app --timeout NaN hello",
            "loghog send app --secret x hello",
            "loghog pipe",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "loghog send app --spool x --protocol 1 hello",
            "loghog send app --field a=1 --field a=2 hello",
            "loghog send app --timeout 0 hello",
        ] {
            let Command::Send { options, .. } = parse(line).unwrap().command else { panic!() };
            assert!(options.check().is_err(), "{line}");
        }
    }
}
