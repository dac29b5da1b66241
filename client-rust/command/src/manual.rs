//! The manual page of the command.
//! The command line as clap knows it, and what it does not say -> man/loghog.1.
//! Invariant: the page that is shipped is the one that is written here.
//! Leaves out: installing it.

use clap::{Arg, Command, CommandFactory};
use roff::{Inline, Roff, bold, italic, roman};

use crate::arguments::{Arguments, EXAMPLES, EXIT_CODES, SECRET};

/// Set, the page is written instead of compared.
const WRITE: &str = "LOGHOG_WRITE_MANUAL";

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

fn page() -> String {
    let command = Arguments::command();
    let mut page = Roff::new();
    page.control("TH", ["LOGHOG", "1", "", "LogHog", "User Commands"]);
    section(&mut page, "NAME");
    page.text([roman(r"loghog - send messages to a LogHog server")]);
    section(&mut page, "SYNOPSIS");
    for (name, rest) in [("send", "APP[:MODULE] [TEXT]..."), ("pipe", "APP[:MODULE]")] {
        page.control("PP", []);
        page.text([bold(format!("loghog {name}")), roman(" ["), italic("OPTION"), roman("]... ")]);
        page.text([italic(rest)]);
    }
    section(&mut page, "DESCRIPTION");
    paragraphs(&mut page, DESCRIPTION);
    let (send, pipe) = (subcommand(&command, "send"), subcommand(&command, "pipe"));
    section(&mut page, "OPTIONS");
    let is_common = |arg: &&Arg| pipe.get_arguments().any(|other| other.get_id() == arg.get_id());
    send.get_arguments().filter(is_common).for_each(|arg| option(&mut page, arg));
    for (command, title) in [(&send, "loghog send"), (&pipe, "loghog pipe")] {
        let other = if command.get_name() == "send" { &pipe } else { &send };
        page.control("SS", [title]);
        if let Some(about) = command.get_long_about() {
            let text = about.to_string();
            paragraphs(&mut page, text.split("\n\n").skip(1));
        }
        let is_own = |arg: &&Arg| !other.get_arguments().any(|arg_| arg_.get_id() == arg.get_id());
        command.get_arguments().filter(is_own).for_each(|arg| option(&mut page, arg));
    }
    section(&mut page, "EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        tagged(&mut page, [bold(code.to_string())], meaning);
    }
    section(&mut page, "ENVIRONMENT");
    tagged(&mut page, [bold("LOGHOG_SECRET")], SECRET);
    section(&mut page, "FILES");
    for (file, meaning) in FILES {
        tagged(&mut page, [italic(file)], meaning);
    }
    section(&mut page, "EXAMPLES");
    page.control("nf", []);
    EXAMPLES.lines().for_each(|line| {
        page.text([roman(line.trim_start())]);
    });
    page.control("fi", []);
    section(&mut page, "SEE ALSO");
    page.text([bold("logger"), roman("(1), "), bold("nohup"), roman("(1)")]);
    page.render()
}

fn subcommand(command: &Command, name: &str) -> Command {
    let found = command.find_subcommand(name).expect("there is such a command");
    // Its arguments get their defaults and names only when it is built.
    let mut found = found.clone();
    found.build();
    found
}

fn section(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}

fn paragraphs<'a>(page: &mut Roff, texts: impl IntoIterator<Item = &'a str>) {
    for text in texts {
        page.control("PP", []);
        page.text([roman(one_line(text))]);
    }
}

fn tagged(page: &mut Roff, tag: impl Into<Vec<Inline>>, text: &str) {
    page.control("TP", []);
    page.text(tag);
    page.text([roman(one_line(text))]);
}

fn option(page: &mut Roff, arg: &Arg) {
    if arg.get_id() == "help" {
        return;
    }
    let values = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let value = values.map(|names| names.iter().map(ToString::to_string).collect::<String>());
    let mut tag = Vec::new();
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => tag.push(bold(format!("-{short}, --{long}"))),
        (None, Some(long)) => tag.push(bold(format!("--{long}"))),
        _ => {}
    }
    if let Some(value) = value {
        let is_optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
        match (tag.is_empty(), is_optional && !arg.is_positional()) {
            (true, _) => {}
            (false, true) => tag.push(roman("[=")),
            (false, false) => tag.push(roman(" ")),
        }
        tag.push(italic(value));
        if is_optional && !arg.is_positional() {
            tag.push(roman("]"));
        }
    }
    let help = arg.get_long_help().or(arg.get_help()).expect("every option is explained");
    let mut text = one_line(&help.to_string()) + ".";
    for default in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
        text.push_str(&format!(" Unless told otherwise: {}.", default.to_string_lossy()));
    }
    tagged(page, tag, &text);
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_that_is_shipped_says_what_the_command_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/loghog.1");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    let remedy = format!("run this test with {WRITE}=1 to write the page anew");
    assert!(shipped == page(), "man/loghog.1 is not what the command line says; {remedy}");
}
