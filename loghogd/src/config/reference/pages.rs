//! The manual pages of both files, and docs/configuration.md.
//! The tables, and what they do not say -> pages.
//! Invariant: what is shipped is what is written here.
//! Leaves out: explaining at length; that is what the guide is for.

use super::{Entry, FACILITY, INFLUXDB, KAFKA, S3, SECTIONS, Section, TARGET, Unset};
use crate::config::limits::{FILE_BYTES_MAX, SECTIONS_MAX};
use manual::{Page, bold, italic, must_be, roman};
use std::fmt::Write;

const ABOUT: &str = "The file says how loghogd(8) runs, and where messages come from. Who may log, and into \
     which files, stands in facilities.conf(5). An empty file is right: what is not written has \
     its default.";

const ABOUT_FACILITIES: [&str; 3] = [
    "The file says who may log to loghogd(8), and into which files. Each section is a facility: a \
     log file, or with `file_per_host` one for each host that sends.",
    "`[my-app]` is the root facility of the application my-app, which it has to have. It takes every \
     message that no other one of the application takes; its file is my-app/root.log below the \
     `logdir` of loghogd.conf(5). `[my-app:web]` takes the messages of the logger web and of all below \
     it, such as web.requests, unless one of them has a section of its own; its file is \
     my-app/web.log. Messages of applications that are not listed are refused.",
    "What a module does not say it takes from the root facility of its application, except for \
     `rotate` and `backup_count`, which every section has to have. A size, an age or a count holds \
     for each of them by itself.",
];

/// The dialect of both files: what it is about, and how it is.
const DIALECT: [(&str, &str); 6] = [
    (
        "Sections and options",
        "`[section]` on a line of its own, then `option = value` or \
      `option: value`. Names of options may be in any case. Nothing may stand twice. A section \
      `[DEFAULT]` holds what others do not say themselves.",
    ),
    ("Comments", "Lines that begin with `#` or `;`, and what follows a `;` after a blank."),
    (
        "Values",
        "They stay as they are: quotes are a part of them. A line that is indented deeper than \
      its option goes on with that one's value.",
    ),
    (
        "Sizes",
        "A number of bytes, or one with a unit: 500000, 10M, 16 MiB, 1 GiB. `k`, `M`, `G`, `T` and \
      `KiB`, `MiB`, ... count in 1024, `kB`, `MB`, ... in 1000.",
    ),
    (
        "Ages",
        "A number of days, or one with a unit: 30, 30d, 2w, 12h, 90m (minutes), 600s; at most \
      36500 days.",
    ),
    ("Yes and no", "`yes`, `true`, `on`, `1`, and `no`, `false`, `off`, `0`."),
];

const PATHS: &str = "Relative paths start at the folder of the file.";

const CHECK: &str = "`loghogd check-config` lists every problem of both files with its line and what \
     would be right; a start and a reload use the same check. What is not right as a whole changes \
     nothing: the running daemon keeps what it has, and says so in its own log.";

const KINDS: [(&str, &Section); 3] = [("kafka", &KAFKA), ("s3", &S3), ("influxdb", &INFLUXDB)];

fn size_of_files() -> String {
    format!("A file has at most {} MiB and {SECTIONS_MAX} sections.", FILE_BYTES_MAX >> 20)
}

fn entry(page: &mut Page, entry: &Entry, tells_reload: bool) {
    let tag = vec![bold(entry.name), roman(" = "), italic(entry.values.replace('`', ""))];
    let mut text = entry.help.to_owned();
    match entry.unset {
        Unset::Required => text.push_str(" Required."),
        Unset::As("") => text.push_str(" Default: empty."),
        Unset::As(value) => write!(text, " Default: `{value}`.").expect("a string"),
        Unset::Told(words) => write!(text, " Default: {words}.").expect("a string"),
    }
    if tells_reload && entry.on_reload {
        text.push_str(" A reload takes it over.");
    }
    page.tagged(tag, &text);
}

fn dialect(page: &mut Page) {
    page.section("FORMAT");
    for (about, text) in DIALECT {
        page.tagged([roman(about)], text);
    }
    page.paragraphs([&*size_of_files()]);
}

fn config_page() -> Page {
    let mut page = Page::new("loghogd.conf", 5, "configuration of the LogHog daemon");
    page.section("SYNOPSIS");
    page.synopsis("/etc/loghogd/loghogd.conf", "");
    page.section("DESCRIPTION");
    page.paragraphs([ABOUT, PATHS, CHECK]);
    page.paragraphs([
        "A change counts from the next start on, or, where that is said, from the next reload on \
         (`SIGHUP`, `systemctl reload loghogd`). A reload that finds something else changed says so.",
    ]);
    page.section("OPTIONS");
    for section in &SECTIONS {
        page.part(&format!("[{}]", section.name));
        page.paragraphs([section.about]);
        section.options.iter().for_each(|option| entry(&mut page, option, true));
    }
    page.part("[ship:NAME]");
    page.paragraphs([TARGET.about, "A reload takes all options of targets over."]);
    TARGET.options.iter().for_each(|option| entry(&mut page, option, false));
    for (kind, section) in KINDS {
        page.part(&format!("[ship:NAME] with type = {kind}"));
        page.paragraphs([section.about]);
        section.options.iter().for_each(|option| entry(&mut page, option, false));
    }
    page.part("[scheduler]");
    page.paragraphs(["Of old files; it is passed over with a warning."]);
    dialect(&mut page);
    page.section("EXAMPLES");
    page.verbatim(CONFIG_EXAMPLE);
    page.see_also(&[("facilities.conf", 5), ("loghogd", 8), ("loghog-server-cert", 8)]);
    page
}

fn facilities_page() -> Page {
    let mut page = Page::new("facilities.conf", 5, "who may log to LogHog, and into which files");
    page.section("SYNOPSIS");
    page.synopsis("/etc/loghogd/facilities.conf", "");
    page.section("DESCRIPTION");
    page.paragraphs(ABOUT_FACILITIES);
    page.paragraphs([RELOADED, CHECK]);
    page.section("OPTIONS");
    FACILITY.options.iter().for_each(|option| entry(&mut page, option, false));
    page.section("NAMES");
    page.paragraphs([NAMES]);
    dialect(&mut page);
    page.section("EXAMPLES");
    page.verbatim(FACILITIES_EXAMPLE);
    page.see_also(&[("crontab", 5), ("loghogd.conf", 5), ("loghogd", 8)]);
    page
}

const RELOADED: &str = "A reload takes every change over (`SIGHUP`, `systemctl reload loghogd`), from \
     the next message on, and drops neither a connection nor a message.";

const NAMES: &str = "The name of an application becomes that of a folder, the name of a module that of a \
     file: neither may be empty, begin with a dot, or have a slash or a control character. `root` is \
     the root facility itself. Where two modules of an application could write to one file, such as \
     `b-web` and `web` with `file_per_host`, the file is refused.";

const CONFIG_EXAMPLE: &str = "\
[main]
user = loghog
min_free = 5%

[server]
listen_ipv4 = 127.0.0.1
listen_ipv4_ssl = 0.0.0.0
pemfile = certs/loghog-server.pem
cacert = certs/loghog-ca.cert
crl = certs/loghog-ca.crl
";

const FACILITIES_EXAMPLE: &str = "\
[my-app]
rotate = daily
backup_count = 14
max_size = 100 MiB
secret = change-me

[my-app:web]
rotate = 30 4 * * 1-5
backup_count = 30
file_per_host = yes
";

fn markdown(entry: &Entry, tells_reload: bool) -> String {
    let unset = match entry.unset {
        Unset::Required => "(required)".to_owned(),
        Unset::As("") => "empty".to_owned(),
        Unset::As(value) => format!("`{value}`"),
        Unset::Told(words) => words.to_owned(),
    };
    let (name, values, help) = (entry.name, entry.values, entry.help);
    let counts = match (tells_reload, entry.on_reload) {
        (false, _) => "",
        (true, true) => " reload |",
        (true, false) => " start |",
    };
    let row = format!("| `{name}` | {values} | {unset} |{counts} {help} |\n");
    // Of a manual page a reader knows where to find it.
    row.replace("facilities.conf(5)", "[facilities.conf](#facilitiesconf)")
        .replace("loghogd.conf(5)", "[loghogd.conf](#loghogdconf)")
        .replace("docs/ship", "ship")
}

fn table(section: &Section, names: &[&str], tells_reload: bool) -> String {
    let (head, line) = match tells_reload {
        true => (
            "| option | takes | default | counts from the next | |\n",
            "| --- | --- | --- | --- | --- |\n",
        ),
        false => ("| option | takes | default | |\n", "| --- | --- | --- | --- |\n"),
    };
    let is_wanted = |entry: &&Entry| names.is_empty() || names.contains(&entry.name);
    let rows = section.options.iter().filter(is_wanted).map(|entry| markdown(entry, tells_reload));
    format!("{head}{line}{}", rows.collect::<String>())
}

/// Lines of at most so many characters.
fn wrapped(text: &str) -> String {
    let (mut wrapped, mut width) = (String::new(), 0);
    for word in text.split_whitespace() {
        if width > 0 && width + word.len() >= 88 {
            wrapped.push('\n');
            width = 0;
        } else if width > 0 {
            wrapped.push(' ');
        }
        wrapped.push_str(word);
        width += word.len() + 1;
    }
    wrapped.push('\n');
    wrapped.replace("(5)", "").replace("(8)", "")
}

fn guide_page() -> String {
    let mut page = String::from(
        "<!-- Written by a test from loghogd/src/config/reference/; CONTRIBUTING.md tells how. -->\n\
         # Every option\n\nThe same as `man loghogd.conf` and `man facilities.conf`. Both files as they \
         are shipped,\nwith comments, lie in [etc/loghogd/](../etc/loghogd/).\n\n",
    );
    page.push_str(&wrapped(CHECK));
    page.push_str("\n## How the files are written\n\n");
    for (about, text) in DIALECT {
        let text = wrapped(&format!("- **{about}:** {text}"));
        page.push_str(&text.trim_end().replace('\n', "\n  "));
        page.push('\n');
    }
    page.push_str(&format!("\n{PATHS} {}\n\n## loghogd.conf\n\n", size_of_files()));
    page.push_str(&wrapped(ABOUT));
    page.push_str(
        "\nA change counts from the next reload on (`kill -HUP`, `systemctl reload loghogd`), or only\n\
         from the next start on; a reload that finds such a one says so.\n",
    );
    for section in &SECTIONS {
        let about = wrapped(section.about);
        write!(page, "\n### [{}]\n\n{about}\n", section.name).expect("a string");
        page.push_str(&table(section, &[], true));
    }
    write!(page, "\n### [ship:NAME]\n\n{}\n", wrapped(TARGET.about)).expect("a string");
    page.push_str(&table(&TARGET, &[], false));
    page.push_str("\nWhat it promises, and how it is used: [ship.md](ship.md). A reload takes over all options\nof targets.\n");
    for (kind, section) in KINDS {
        let about = wrapped(&format!("{} More: [ship-{kind}.md](ship-{kind}.md).", section.about));
        write!(page, "\n### [ship:NAME] with type = {kind}\n\n{about}\n").expect("a string");
        page.push_str(&table(section, &[], false));
    }
    page.push_str("\n## facilities.conf\n\n");
    let texts = ABOUT_FACILITIES.into_iter().chain([RELOADED, NAMES]);
    page.push_str(&texts.map(wrapped).collect::<Vec<_>>().join("\n"));
    page.push('\n');
    page.push_str(&table(&FACILITY, &[], false));
    page
}

/// Puts a table between two comments of a page that is written by hand.
fn put_table(file: &str, name: &str, table: &str) {
    let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the page is there");
    let begin = format!("<!-- {name}: written by a test -->\n");
    let (before, rest) = text.split_once(&begin).expect("the page has a place for its table");
    let (_, behind) = rest.split_once("<!-- end -->").expect("its end is marked");
    let table = table.replace("](#", "](configuration.md#");
    must_be(&format!("{before}{begin}{table}<!-- end -->{behind}"), file);
}

#[test]
fn the_manual_pages_that_are_shipped_say_what_the_tables_say() {
    config_page().must_be("loghogd.conf.5");
    facilities_page().must_be("facilities.conf.5");
}

#[test]
fn the_guide_that_is_shipped_says_what_the_tables_say() {
    must_be(&guide_page(), "docs/configuration.md");
    put_table("docs/ship.md", "options of targets", &table(&TARGET, &[], false));
    let names = ["ship", "keep_until_shipped"];
    put_table("docs/ship.md", "options of facilities", &table(&FACILITY, &names, false));
    for (kind, section) in KINDS {
        put_table(&format!("docs/ship-{kind}.md"), "options", &table(section, &[], false));
    }
}

#[test]
fn the_examples_of_the_manual_pages_are_right() {
    use crate::config::{Overrides, read_config, read_facilities};
    use std::path::Path;
    let path = Path::new("/etc/loghogd/loghogd.conf");
    read_config(CONFIG_EXAMPLE.as_bytes(), path, &Overrides::default()).expect("it is right");
    read_facilities(FACILITIES_EXAMPLE.as_bytes(), path).expect("it is right");
}
