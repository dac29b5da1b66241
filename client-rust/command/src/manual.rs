//! The manual page of the command.
//! The command line as clap knows it, and what it does not say -> man/loghog.1.
//! Invariant: the page that is shipped is the one that is written here.
//! Leaves out: installing it.

use clap::{Arg, CommandFactory};
use manual::{Page, bold, italic, subcommand};

use crate::arguments::{Arguments, EXAMPLES, EXIT_CODES, SECRET};

const DESCRIPTION: [&str; 4] = [
    "loghog sends messages to loghogd, the daemon of LogHog, from shells, scripts and pipes. \
     A message is a line of text; the application to which it belongs must be one that the \
     daemon's facilities.conf lists, and MODULE, a dotted name, chooses among its files.",
    "loghog send sends its arguments as one message, or else each line of a file or of standard \
     input, and ends. loghog pipe sends what another program writes for as long as that runs.",
    "It ends with 0 only when every message is safe: acknowledged by the server after it was \
     synced, or in the spool. What went wrong is said on standard error.",
    "It sends as logger(1) does, and knows its options -e, -f, -i, --id, -n, -p and -s. The \
     application takes the place of the tag (-t) and of a syslog facility.",
];

const FILES: [(&str, &str); 3] = [
    (
        "DIR/APP/",
        "with --spool DIR: messages that the server has not acknowledged yet, in a folder for \
         each command that runs. The next loghog for the same application and DIR sends what it \
         finds there, as does any other program that uses LogHog's client with them. Only the \
         user who made them uses these folders.",
    ),
    ("loghog-ca.cert", "the certificate for --ca; loghog-server-cert writes it."),
    ("NAME.pem", "key and certificate for --pem; loghog-client-cert NAME writes it."),
];

fn page() -> Page {
    let command = Arguments::command();
    let mut page = Page::new("loghog", 1, "send messages to a LogHog server");
    page.section("SYNOPSIS");
    page.synopsis("loghog send", "[OPTION]... APP[:MODULE] [TEXT]...");
    page.synopsis("loghog pipe", "[OPTION]... APP[:MODULE]");
    page.section("DESCRIPTION");
    page.paragraphs(DESCRIPTION);
    let (send, pipe) = (subcommand(&command, "send"), subcommand(&command, "pipe"));
    page.section("OPTIONS");
    let is_common = |arg: &&Arg| pipe.get_arguments().any(|other| other.get_id() == arg.get_id());
    page.options(send.get_arguments().filter(is_common));
    for (command, title) in [(&send, "loghog send"), (&pipe, "loghog pipe")] {
        let other = if command.get_name() == "send" { &pipe } else { &send };
        page.part(title);
        if let Some(about) = command.get_long_about() {
            let text = about.to_string();
            page.paragraphs(text.split("\n\n").skip(1));
        }
        let is_own = |arg: &&Arg| !other.get_arguments().any(|arg_| arg_.get_id() == arg.get_id());
        page.options(command.get_arguments().filter(is_own));
    }
    page.section("EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        page.tagged([bold(code.to_string())], meaning);
    }
    page.section("ENVIRONMENT");
    page.tagged([bold("LOGHOG_SECRET")], SECRET);
    page.section("FILES");
    for (file, meaning) in FILES {
        page.tagged([italic(file)], meaning);
    }
    page.section("EXAMPLES");
    page.verbatim(&EXAMPLES.lines().map(str::trim_start).collect::<Vec<_>>().join("\n"));
    page.see_also(&[("logger", 1), ("nohup", 1), ("loghog-client-cert", 8), ("loghogd", 8)]);
    page
}

#[test]
fn the_page_that_is_shipped_says_what_the_command_does() {
    page().must_be("loghog.1");
}
