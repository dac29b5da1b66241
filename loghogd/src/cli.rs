//! The command line.
//! Arguments -> an `Invocation`; an `Invocation` -> an exit code.
//! Invariant: the options of the original mean what they meant.
//! Leaves out: the daemon's work and the answers to questions.

#[cfg(test)]
mod manual;

use crate::config::{self, Overrides};
use crate::daemon::{self, Outcome};
use crate::pipeline::ship::s3::archive::Wanted;
use crate::pipeline::tap;
use crate::questions;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Exit code: all went well.
pub const EX_OK: u8 = 0;
/// Exit code: no facility takes such messages.
pub const EX_NO_MATCH: u8 = 1;
/// Exit code: the command line is wrong (EX_USAGE of sysexits.h).
pub const EX_USAGE: u8 = 64;
/// Exit code: a service that is needed does not do what was asked (EX_UNAVAILABLE).
pub const EX_UNAVAILABLE: u8 = 69;
/// Exit code: something failed that should not (EX_SOFTWARE).
pub const EX_INTERNAL: u8 = 70;
/// Exit code: the configuration is wrong (EX_CONFIG).
pub const EX_CONFIG: u8 = 78;

/// Where the configuration is looked for.
pub const CONFIG_DEFAULT: &str = "/etc/loghogd/loghogd.conf";

/// Most times that `schedule` answers with; more would only be waited for.
pub const COUNT_MAX: u64 = 10_000;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Be the daemon.
    Run(RunArgs),
    /// Say what is wrong with the configuration.
    CheckConfig(CheckArgs),
    /// Say which facility takes a message.
    Explain(ExplainArgs),
    /// Say when a schedule is due.
    Schedule(ScheduleArgs),
    /// Say how the targets of a running daemon are doing.
    Ship(ShipArgs),
    /// Send something to a target again.
    Replay(ReplayArgs),
    /// Say what was shipped to S3, or bring it back.
    Archive(ArchiveArgs),
    /// Say how a running daemon is doing.
    Status(StatusArgs),
    /// Show again and again who sends how much to it.
    Top(TopArgs),
    /// Show messages as they reach it.
    Tap(TapArgs),
}

/// For the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// Started by a loghogd that goes into the background.
    pub daemon_child: bool,
}

/// For `check-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// Answer in JSON.
    pub json: bool,
    /// Try each target as well.
    pub connect: bool,
    /// Say what the original made of it, where that was something else.
    pub from_original: bool,
}

/// For `ship`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// Show bars, and go on.
    pub watch: bool,
    /// Answer in JSON.
    pub json: bool,
}

/// For `ship replay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// The target.
    pub target: String,
    /// What was received from this instant on.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// Answer in JSON.
    pub json: bool,
}

/// For `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// The accounts of clients instead.
    pub loss: bool,
    /// Answer in JSON.
    pub json: bool,
}

/// For `top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// So often it is asked.
    pub every: Duration,
    /// So many times it is shown; none for ever.
    pub count: Option<u64>,
    /// Answer in JSON.
    pub json: bool,
}

/// For `tap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// Which messages.
    pub wanted: tap::Wanted,
    /// Show them as they are, in JSON.
    pub json: bool,
}

/// For `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainArgs {
    /// `loghogd.conf`; none when only the file with the facilities was named.
    pub config: Option<PathBuf>,
    /// What beats the file.
    pub overrides: Overrides,
    /// The application.
    pub app: String,
    /// The module as a message names it.
    pub module: String,
    /// The host that sends.
    pub host: Option<String>,
    /// Answer in JSON.
    pub json: bool,
}

/// For `schedule`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleArgs {
    /// The expression, unchecked.
    pub expression: String,
    /// The time zone; none for the system's.
    pub zone: Option<TimeZone>,
    /// The instant after which to begin; none for now.
    pub after: Option<Timestamp>,
    /// How many times to answer with.
    pub count: usize,
    /// Answer on one line.
    pub json: bool,
}

/// For `archive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveArgs {
    /// `loghogd.conf`.
    pub config: PathBuf,
    /// What beats the file.
    pub overrides: Overrides,
    /// Which target; none for the only one.
    pub target: Option<String>,
    /// Which segments.
    pub wanted: Wanted,
    /// Where to put their files; none to list them.
    pub to_folder: Option<PathBuf>,
    /// Answer in JSON.
    pub json: bool,
}

/// Receives log messages, checks who sent them, and writes plain files.
#[derive(Debug, Parser)]
#[command(name = "loghogd", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 fine, 64 usage, 69 nobody answers, 70 internal, 78 configuration; \
    explain: 1 when no facility takes such messages; archive, ship replay: 1 when there is no such segment; status: 1 when messages are not taken or not safe.\n\
    Signals: HUP reloads facilities, certificates, targets and log level, USR1 writes counters to the own log."
)]
struct Line {
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Files")]
    #[arg(help = format!("Configuration file [default: {CONFIG_DEFAULT}]"))]
    config: Option<PathBuf>,
    /// File with the facilities; beats facilities_config of [main]
    #[arg(short = 'F', long, global = true, value_name = "FILE", help_heading = "Files")]
    facilities_config: Option<PathBuf>,
    /// Folder for the log files; beats logdir of [main]
    #[arg(short = 'L', long, global = true, value_name = "FOLDER", help_heading = "Files")]
    log_dir: Option<PathBuf>,
    /// Own log file; beats filename of [log]
    #[arg(short, long, value_name = "FILE", help_heading = "Files")]
    log: Option<PathBuf>,
    /// File for the process id; beats pidfile of [main]; a relative one is below the run folder
    #[arg(short, long, value_name = "FILE", help_heading = "Files")]
    pid: Option<PathBuf>,
    /// Folder for run-time files; beats rundir of [main]
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    run_dir: Option<PathBuf>,
    /// Folder for lasting state; beats workdir of [main]
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    work_dir: Option<PathBuf>,
    /// User to become when started as root; beats user of [main]
    #[arg(long)]
    user: Option<String>,
    /// Go into the background
    #[arg(short, long)]
    daemon: bool,
    /// Check the configuration and exit, as the question check-config does
    #[arg(long)]
    check_config: bool,
    /// Answer questions in JSON
    #[arg(long, global = true)]
    json: bool,
    #[arg(long, hide = true)]
    daemon_child: bool,
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Questions", subcommand_value_name = "QUESTION")]
enum Question {
    /// List every problem of the configuration, with file, line and remedy
    CheckConfig(CheckLine),
    /// Say which facility takes a message, into which file, under which options
    Explain(ExplainLine),
    /// Say when a rotation schedule is due, as a JSON array of RFC 3339 times
    Schedule(ScheduleLine),
    /// Say how the targets of the running daemon are doing, or send something again
    Ship(ShipLine),
    /// List or fetch what was shipped to S3
    #[command(subcommand, subcommand_value_name = "WHAT")]
    Archive(ArchiveLine),
    /// Say how the running daemon is doing, or what came from each of its clients
    Status(StatusLine),
    /// Show who sends how much to the running daemon, again and again
    Top(TopLine),
    /// Show messages as they reach the running daemon
    Tap(TapLine),
}

#[derive(Debug, Args)]
struct CheckLine {
    /// Try each target of [ship:NAME] as well, with its credentials
    #[arg(long)]
    connect: bool,
    /// List as well what will be noticed by who comes from the original LogHog: what was, what
    /// is now, and how to keep or see it
    #[arg(long)]
    from_original: bool,
}

#[derive(Debug, Args)]
struct ShipLine {
    /// On a terminal: show a bar for each target, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(subcommand)]
    order: Option<ShipOrder>,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "ORDER")]
enum ShipOrder {
    /// Send again to a target what is still here and was received between two instants
    Replay {
        /// The target, as its section [ship:NAME] calls it
        name: String,
        /// From this instant on, such as 2026-11-20T12:00:00Z
        #[arg(long, value_name = "RFC3339", value_parser = instant)]
        from: Timestamp,
        /// Before this instant
        #[arg(long, value_name = "RFC3339", value_parser = instant)]
        to: Timestamp,
    },
}

#[derive(Debug, Subcommand)]
enum ArchiveLine {
    /// List the segments that the index names
    List(WantedLine),
    /// Fetch their files, and check them
    Fetch {
        #[command(flatten)]
        wanted: WantedLine,
        /// Folder for the files: APP/FILE below it
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        to_folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct WantedLine {
    /// Target of loghogd.conf [default: the only one of type s3]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Application
    #[arg(long)]
    app: Option<String>,
    /// Module of the facility; root for the root facility
    #[arg(long, requires = "app")]
    module: Option<String>,
    /// Host that messages came from
    #[arg(long)]
    host: Option<String>,
    /// Messages from then on: 2026-11-20T12:00:00Z, or a day such as 2026-11-20
    #[arg(long, value_name = "TIME", value_parser = day_begin)]
    from: Option<Timestamp>,
    /// Messages until then, or until the end of that day
    #[arg(long, value_name = "TIME", value_parser = day_end)]
    to: Option<Timestamp>,
}

#[derive(Debug, Args)]
struct StatusLine {
    /// What came from each client, was refused, or is missing
    #[arg(long)]
    loss: bool,
}

#[derive(Debug, Args)]
struct TopLine {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// How many times to show it [default: until interrupted]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Debug, Args)]
struct TapLine {
    /// Application, or * for all; with a module: that one and those below it
    #[arg(value_name = "APP[:MODULE]")]
    of: String,
    /// Host that they come from
    #[arg(long)]
    host: Option<String>,
    /// Regular expression that is found in the message
    #[arg(long, value_name = "PATTERN")]
    grep: Option<String>,
}

#[derive(Debug, Args)]
struct ExplainLine {
    /// Application
    app: String,
    /// Module (the name of the logger)
    #[arg(default_value = "")]
    module: String,
    /// Host that sends the message
    #[arg(long)]
    host: Option<String>,
}

#[derive(Debug, Args)]
struct ScheduleLine {
    /// hourly, daily, ... or five cron fields such as "30 4 * * 1-5"
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: String,
    /// Time zone such as Europe/Paris [default: the system's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    tz: Option<TimeZone>,
    /// Instant after which to begin, such as 2026-11-20T12:00:00Z [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    after: Option<Timestamp>,
    /// How many times to answer with
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
}

/// Does what the command line of this process says. For `lower_priority` see
/// [`daemon::run`].
pub fn main(lower_priority: fn()) -> u8 {
    match parse(std::env::args_os()) {
        Ok(invocation) => run(&invocation, lower_priority),
        Err(error) => {
            // Nobody is left to tell when even stderr is gone.
            let _ = error.print();
            if error.use_stderr() { EX_USAGE } else { EX_OK }
        }
    }
}

/// Reads a command line; the first argument is the program's name.
///
/// # Errors
/// Whatever is wrong with it; also the answer to `--help` and `--version`.
pub fn parse<A>(arguments: impl IntoIterator<Item = A>) -> Result<Invocation, clap::Error>
where
    A: Into<OsString> + Clone,
{
    let line = Line::try_parse_from(arguments)?;
    let overrides = Overrides {
        daemon: line.daemon,
        facilities_config: line.facilities_config,
        log: line.log,
        logdir: line.log_dir,
        pidfile: line.pid,
        rundir: line.run_dir,
        workdir: line.work_dir,
        user: line.user,
    };
    let named = line.config;
    let config = named.clone().unwrap_or_else(|| CONFIG_DEFAULT.into());
    let json = line.json;
    let conflict = |message| Err(command().error(ErrorKind::ArgumentConflict, message));
    match line.question {
        Some(Question::CheckConfig(CheckLine { connect, from_original })) => {
            let args = CheckArgs { config, overrides, json, connect, from_original };
            Ok(Invocation::CheckConfig(args))
        }
        Some(_) if line.check_config => {
            conflict("--check-config and another question cannot be asked at once")
        }
        Some(Question::Explain(ExplainLine { app, module, host })) => {
            let config = named.or(overrides.facilities_config.is_none().then_some(config));
            Ok(Invocation::Explain(ExplainArgs { config, overrides, app, module, host, json }))
        }
        Some(Question::Schedule(ScheduleLine { expression, .. }))
            if expression.starts_with('-') && !expression.contains(' ') =>
        {
            let message = format!("there is no option {expression}");
            Err(command().error(ErrorKind::UnknownArgument, message))
        }
        Some(Question::Schedule(ScheduleLine { expression, tz, after, count })) => {
            let count = usize::try_from(count).unwrap_or_default();
            Ok(Invocation::Schedule(ScheduleArgs { expression, zone: tz, after, count, json }))
        }
        Some(Question::Archive(what)) => {
            let (wanted, to_folder) = match what {
                ArchiveLine::List(wanted) => (wanted, None),
                ArchiveLine::Fetch { wanted, to_folder } => (wanted, Some(to_folder)),
            };
            let WantedLine { target, app, module, host, from, to } = wanted;
            let wanted = Wanted { app, module, host, from, to };
            Ok(Invocation::Archive(ArchiveArgs {
                config,
                overrides,
                target,
                wanted,
                to_folder,
                json,
            }))
        }
        Some(Question::Ship(ShipLine { watch, order: None })) => {
            Ok(Invocation::Ship(ShipArgs { config, overrides, watch, json }))
        }
        Some(Question::Ship(ShipLine { order: Some(order), .. })) => {
            let ShipOrder::Replay { name: target, from, to } = order;
            if from >= to {
                return Err(
                    command().error(ErrorKind::ValueValidation, "--from is not before --to")
                );
            }
            Ok(Invocation::Replay(ReplayArgs { config, overrides, target, from, to, json }))
        }
        Some(Question::Status(StatusLine { loss })) => {
            Ok(Invocation::Status(StatusArgs { config, overrides, loss, json }))
        }
        Some(Question::Top(TopLine { every, count })) => {
            let every = Duration::from_secs(every);
            Ok(Invocation::Top(TopArgs { config, overrides, every, count, json }))
        }
        Some(Question::Tap(TapLine { of, host, grep })) => {
            let (app, module) = match of.split_once(':') {
                Some((app, module)) => (app.to_owned(), Some(module.to_owned())),
                None => (of, None),
            };
            let wanted = tap::Wanted { app, module, host, grep };
            Ok(Invocation::Tap(TapArgs { config, overrides, wanted, json }))
        }
        None if line.check_config => {
            let (connect, from_original) = (false, false);
            let args = CheckArgs { config, overrides, json, connect, from_original };
            Ok(Invocation::CheckConfig(args))
        }
        None if json => conflict("--json needs a question, such as status or check-config"),
        None => {
            let daemon_child = line.daemon_child;
            Ok(Invocation::Run(RunArgs { config, overrides, daemon_child }))
        }
    }
}

/// The command line as clap sees it, for manual pages and completions.
pub fn command() -> clap::Command {
    Line::command()
}

/// Does what was asked for, and says how it went.
pub fn run(invocation: &Invocation, lower_priority: fn()) -> u8 {
    match invocation {
        Invocation::Run(args) => start(args, lower_priority),
        Invocation::CheckConfig(args) => questions::check_config(args),
        Invocation::Explain(args) => questions::explain(args),
        Invocation::Schedule(args) => questions::schedule(args),
        Invocation::Ship(args) => questions::ship(args),
        Invocation::Replay(args) => questions::replay(args),
        Invocation::Archive(args) => questions::archive(args),
        Invocation::Status(args) => questions::status(args),
        Invocation::Top(args) => questions::top(args),
        Invocation::Tap(args) => questions::tap(args),
    }
}

fn start(args: &RunArgs, lower_priority: fn()) -> u8 {
    let loaded = match config::load(&args.config, &args.overrides) {
        Ok(loaded) => loaded,
        Err(problems) => {
            questions::complain(&problems);
            return EX_CONFIG;
        }
    };
    match daemon::run(loaded, args, lower_priority) {
        Ok(Outcome::Clean) => EX_OK,
        Ok(Outcome::MessagesLost) => EX_INTERNAL,
        // What keeps a daemon from starting can be put right by whoever
        // configured it: a port, a folder, a certificate, a user.
        Err(error) => {
            questions::tell_error(&format!("loghogd: {error:#}"));
            EX_CONFIG
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

fn day_begin(text: &str) -> Result<Timestamp, String> {
    let begin = |day: Date| day.to_zoned(TimeZone::system());
    instant(text).or_else(|error| match text.parse::<Date>().map(begin) {
        Ok(Ok(begin)) => Ok(begin.timestamp()),
        _ => Err(error),
    })
}

fn day_end(text: &str) -> Result<Timestamp, String> {
    let end = |day: Date| day.tomorrow().and_then(|next| next.to_zoned(TimeZone::system()));
    instant(text).or_else(|error| match text.parse::<Date>().map(end) {
        Ok(Ok(end)) => Ok(end.timestamp() - SignedDuration::from_nanos(1)),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Invocation {
        parse(line.split(' ')).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_options_of_the_original_are_taken_short_and_long() {
        let short = parsed("loghogd -c c -F f -d -l l -L d -p p --run-dir r --work-dir w --user u");
        let long = parsed(
            "loghogd --config=c --facilities-config=f --daemon --log=l --log-dir=d --pid=p \
             --run-dir=r --work-dir=w --user=u",
        );
        assert_eq!(short, long);
        let Invocation::Run(args) = short else { panic!("{short:?}") };
        assert_eq!(args.config, PathBuf::from("c"));
        let overrides = Overrides {
            daemon: true,
            facilities_config: Some("f".into()),
            log: Some("l".into()),
            logdir: Some("d".into()),
            pidfile: Some("p".into()),
            rundir: Some("r".into()),
            workdir: Some("w".into()),
            user: Some("u".to_owned()),
        };
        assert_eq!(args.overrides, overrides);
    }

    #[test]
    fn options_for_files_stand_before_or_after_the_question() {
        for question in ["check-config", "explain a b"] {
            let before = parsed(&format!("loghogd -c c -F f -L l --json {question}"));
            let after = parsed(&format!("loghogd {question} -c c -F f -L l --json"));
            assert_eq!(before, after);
        }
        assert_eq!(parsed("loghogd --check-config -c c"), parsed("loghogd check-config -c c"));
    }

    #[test]
    fn an_archive_is_asked_by_instants_or_by_days() {
        let line = "loghogd archive fetch --app a --module m --from 2026-11-20T12:00:00Z \
                    --to 2026-11-20 --to-folder f --json -c c";
        let Invocation::Archive(args) = parsed(line) else { panic!() };
        assert_eq!(args.config, PathBuf::from("c"));
        assert_eq!(args.to_folder, Some("f".into()));
        assert_eq!(args.wanted.from, Some("2026-11-20T12:00:00Z".parse().unwrap()));
        let to = args.wanted.to.unwrap().to_zoned(TimeZone::system());
        assert_eq!(to.to_string().get(..19), Some("2026-11-20T23:59:59"));
        let Invocation::Archive(args) = parsed("loghogd archive list") else { panic!() };
        assert_eq!((args.wanted, args.to_folder, args.json), (Wanted::default(), None, false));
        for wrong in ["archive", "archive list --module m", "archive list --from yesterday"] {
            assert!(parse(format!("loghogd {wrong}").split(' ')).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_arguments_the_daemon_runs_with_the_usual_file() {
        let Invocation::Run(args) = parsed("loghogd") else { panic!() };
        assert_eq!(args.config, PathBuf::from(CONFIG_DEFAULT));
        assert_eq!((args.overrides, args.daemon_child), (Overrides::default(), false));
    }
}
