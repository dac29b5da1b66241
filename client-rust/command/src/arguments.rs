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

const EXAMPLES: &str = "\
Examples:
  loghog send my-app backup finished
  loghog send my-app:jobs.backup --level ERROR --field host=db1 -- backup failed
  dmesg | loghog send kernel --server logs.example.org
  my-program 2>&1 | loghog pipe my-app --spool /var/spool/my-app --tee

The secret, where the application has one, is read from --secret-file, or else
from the environment variable LOGHOG_SECRET.

Exit codes:
   0  every message is safe: acknowledged by the server as synced, or in the
      spool (with --protocol 1, which has no acknowledgements: handed over)
  64  the command was called wrongly
  75  messages may be lost; what happened and what to do stands on stderr
  78  a file that was named cannot be used";

/// Sends messages to a LogHog server.
#[derive(Debug, Parser)]
#[command(name = "loghog", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends one message, or each line of standard input
    #[command(after_help = EXAMPLES)]
    Send {
        /// The application, as the server's facilities.conf lists it, and the
        /// logger's name
        #[arg(value_name = "APP[:MODULE]")]
        target: Target,
        /// The message, joined by blanks; without it each line of standard
        /// input is one. Put -- before a text that begins with -
        #[arg(value_name = "TEXT")]
        text: Vec<OsString>,
        #[command(flatten)]
        options: Options,
    },
    /// Sends what another program writes, a line a message, until it ends
    ///
    /// Nothing is dropped: when the server is away and there is no spool, or it
    /// is full, some megabytes are kept in memory and then no more is read, so
    /// the program has to wait. SIGTERM and SIGINT end the reading; what was
    /// read is sent first. A second one ends the sending as well.
    #[command(after_help = EXAMPLES)]
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
    #[arg(long = "server", value_name = "HOST[:PORT]")]
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
    /// A file that holds the secret; a line end behind it does not count
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// DEBUG, INFO, WARNING, ERROR, CRITICAL or a number up to 255
    #[arg(long, value_parser = level)]
    pub(crate) level: Option<u8>,
    /// Something else that is known of each message; may be repeated
    #[arg(long = "field", value_name = "KEY=VALUE", value_parser = field)]
    pub(crate) fields: Vec<(String, String)>,
    /// Keeps messages in this folder until the server has them; what is left
    /// there is sent by the next loghog for the same application and folder
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// 2 knows acknowledgements; auto takes 1 where the server knows no other.
    /// 1 carries neither level nor fields
    #[arg(long, value_name = "auto|1|2", default_value = "2", hide_possible_values = true)]
    pub(crate) protocol: Protocol,
    /// How long to wait for the server at the end
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// The host name that the messages carry, unless it is this machine's
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Joins lines that begin with white space to the message before
    #[arg(long)]
    pub(crate) multiline: bool,
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

    pub(crate) fn fields_bytes(&self) -> usize {
        self.fields.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Levels as Python counts them, with the usual other names.
fn level(text: &str) -> Result<u8, String> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "DEBUG" => 10,
        "INFO" => 20,
        "WARNING" | "WARN" => 30,
        "ERROR" => 40,
        "CRITICAL" | "FATAL" => 50,
        number => number
            .parse()
            .map_err(|_| "give DEBUG, INFO, WARNING, ERROR, CRITICAL or a number up to 255")?,
    })
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds")?;
    if !(number > 0.0 && number <= TIMEOUT_SECONDS_MAX) {
        return Err(format!("give more than 0 and at most {TIMEOUT_SECONDS_MAX} seconds"));
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
        assert!(level("loud").is_err() && level("256").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "loghog send app --tls hello",
            "loghog send app --pem x hello",
            "loghog send app --field =x hello",
            "loghog send app --field x hello",
            "loghog send app --timeout 0 hello",
            "loghog send app --timeout NaN hello",
            "loghog send app --secret x hello",
            "loghog pipe",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "loghog send app --spool x --protocol 1 hello",
            "loghog send app --field a=1 --field a=2 hello",
        ] {
            let Command::Send { options, .. } = parse(line).unwrap().command else { panic!() };
            assert!(options.check().is_err(), "{line}");
        }
    }
}
