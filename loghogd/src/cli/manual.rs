//! The manual page of the daemon.
//! The command line as clap knows it, and what it does not say -> man/loghogd.8.
//! Invariant: the page that is shipped is the one that is written here.
//! Leaves out: the configuration (`config::reference`).

use super::{EX_CONFIG, EX_INTERNAL, EX_NO_MATCH, EX_OK, EX_UNAVAILABLE, EX_USAGE, command, parse};
use ::manual::{Page, bold, italic, usage};

const DESCRIPTION: [&str; 3] = [
    "loghogd receives log messages from programs on this and other machines, over TCP, UDP and TLS, \
     checks who sent them, and writes them to plain files, one for each application and module. It \
     turns these files, compresses and ships them, and deletes what is older or larger than is wanted.",
    "Without a question it is the daemon, and stays in the foreground unless told otherwise. It needs \
     no root: only the folders that its configuration names. Options of the command line beat those \
     of loghogd.conf(5).",
    "With a question it answers that and ends. A question changes nothing, except for `ship replay`, \
     and may be asked while the daemon runs.",
];

const SIGNALS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "Stops. What was received is written and synced first, for which there are some seconds.",
    ),
    (
        "SIGHUP",
        "Reads both files and all certificates again, opens every file anew, and takes over what a \
         reload can: facilities, certificates, the revocation list, targets, and the log level. No \
         connection and no message is dropped. What is wrong is said in the own log, and then \
         nothing changes.",
    ),
    ("SIGUSR1", "Writes all counters to the own log."),
];

const EXIT_CODES: [(u8, &str); 6] = [
    (EX_OK, "All went well."),
    (
        EX_NO_MATCH,
        "`explain`: no facility takes such messages. `archive` and `ship replay`: there is no such \
         segment. `status`: messages are not taken, or not safe.",
    ),
    (EX_USAGE, "The command line is wrong."),
    (
        EX_UNAVAILABLE,
        "What was asked does not answer: the running daemon, or a target (`check-config --connect`).",
    ),
    (
        EX_INTERNAL,
        "Something failed that should not; of the daemon: messages that it had received are lost, \
         and its own log says which.",
    ),
    (
        EX_CONFIG,
        "The configuration is wrong, or what it names is not there: a port, a folder, a certificate, \
         a user. What and where, and what to do, is said on standard error.",
    ),
];

const FILES: [(&str, &str); 6] = [
    ("/etc/loghogd/loghogd.conf", "The configuration; see loghogd.conf(5)."),
    ("/etc/loghogd/facilities.conf", "Who may log, and into which files; see facilities.conf(5)."),
    (
        "/var/log/loghogd/APP/MODULE.log",
        "A live file: what was written since it turned last. root.log for the root facility, \
         HOST-MODULE.log with `file_per_host`. Follow it by its name: `tail -F`.",
    ),
    (
        "/var/log/loghogd/APP/MODULE.log.YYYY-MM-DD-HH-MM-SS-ffffff",
        "A segment: a file that has turned, named by the time of its first line. With .xz, .gz, .bz2 \
         or .zst it is sealed. The order of names is the order of lines.",
    ),
    (
        "/var/log/loghogd/.loghogd/",
        "What the daemon has to remember of clients and targets. It belongs to the files beside it: \
         save and restore them together.",
    ),
    ("/var/log/loghogd/loghogd.log", "What the daemon says of itself."),
];

const ENVIRONMENT: [(&str, &str); 2] = [
    ("TZ", "The time zone of lines, names and schedules, instead of /etc/localtime."),
    (
        "TMPDIR",
        "Where what goes to S3 with `body = json.xz` or `csv.xz` is made, instead of /var/tmp.",
    ),
];

const EXAMPLES: &str = "\
loghogd check-config
loghogd explain my-app web.requests --host web01
loghogd schedule '30 4 * * 1-5' --tz Europe/Paris
kill -HUP $(cat /var/run/loghogd/loghogd.pid)
";

fn page() -> Page {
    let mut command = command();
    command.build();
    let mut page = Page::new("loghogd", 8, "the daemon of LogHog, central logging to plain files");
    page.section("SYNOPSIS");
    page.synopsis("loghogd", "[OPTION]...");
    for question in command.get_subcommands().filter(|question| !question.is_hide_set()) {
        // Of one that is several, the parts are told below.
        let below = question.get_subcommands().map(|below| below.get_name().to_owned());
        let below = below.collect::<Vec<_>>().join("|");
        let rest = match question.is_subcommand_required_set() {
            true => format!("{below} [OPTION]..."),
            false => usage(question),
        };
        page.synopsis(&format!("loghogd {}", question.get_name()), &rest);
    }
    page.section("DESCRIPTION");
    page.paragraphs(DESCRIPTION);
    page.section("OPTIONS");
    page.options(command.get_arguments());
    page.section("QUESTIONS");
    page.commands(&command, "loghogd");
    page.section("SIGNALS");
    for (signal, meaning) in SIGNALS {
        page.tagged([bold(signal)], meaning);
    }
    page.section("EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        page.tagged([bold(code.to_string())], meaning);
    }
    page.section("ENVIRONMENT");
    for (variable, meaning) in ENVIRONMENT {
        page.tagged([bold(variable)], meaning);
    }
    page.section("FILES");
    for (file, meaning) in FILES {
        page.tagged([italic(file)], meaning);
    }
    page.section("EXAMPLES");
    page.verbatim(EXAMPLES);
    page.see_also(&[
        ("loghog", 1),
        ("facilities.conf", 5),
        ("loghogd.conf", 5),
        ("loghog-client-cert", 8),
        ("loghog-server-cert", 8),
    ]);
    page
}

#[test]
fn the_page_that_is_shipped_says_what_the_command_does() {
    page().must_be("loghogd.8");
}

#[test]
fn the_examples_of_the_page_are_understood() {
    for line in EXAMPLES.lines().filter(|line| line.starts_with("loghogd")) {
        let words = line.replace('\'', "\"");
        let mut arguments = Vec::new();
        for (number, part) in words.split('"').enumerate() {
            match number % 2 {
                1 => arguments.push(part.to_owned()),
                _ => arguments.extend(part.split_whitespace().map(str::to_owned)),
            }
        }
        assert!(parse(arguments).is_ok(), "{line}");
    }
}
