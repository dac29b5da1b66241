//! Shows that the tables say what the readers do.
//! Every value that stands in them -> read -> what comes of it.
//! Invariant: an entry that no reader knows, and a reader's option without one, fail.
//! Leaves out: whether sentences are true.

use super::*;
use crate::config::{self, Config, Facility, Overrides, Problem};
use crate::daemon::needs_restart;
use std::collections::BTreeSet;
use std::path::Path;

const FILE: &str = "/etc/loghogd/loghogd.conf";

fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let read = config::read_config(text.as_bytes(), Path::new(FILE), &Overrides::default());
    read.map(|(config, _)| config)
}

#[track_caller]
fn must_read(text: &str) -> Config {
    read(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// With addresses for TLS, without which nobody looks at certificates.
fn with_tls(section: &str, line: &str) -> String {
    let mut options = vec!["listen_ipv4_ssl = 127.0.0.2", "pemfile = a", "cacert = b"];
    let name = line.split_once(" = ").map_or("", |(name, _)| name);
    options.retain(|option| section != "server" || !option.starts_with(&format!("{name} ")));
    match section {
        "server" => format!("[server]\n{line}\n{}\n", options.join("\n")),
        _ => format!("[{section}]\n{line}\n[server]\n{}\n", options.join("\n")),
    }
}

fn entries() -> impl Iterator<Item = (&'static str, &'static Entry)> {
    SECTIONS.iter().flat_map(|section| section.options.iter().map(|entry| (section.name, entry)))
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let empty = must_read("");
    let mut all = String::new();
    for section in &SECTIONS {
        all.push_str(&format!("[{}]\n", section.name));
        for entry in section.options {
            if let Unset::As(value) = entry.unset {
                let line = format!("{} = {value}\n", entry.name);
                assert_eq!(must_read(&format!("[{}]\n{line}", section.name)), empty, "{line}");
                all.push_str(&line);
            }
        }
    }
    assert_eq!(must_read(&all), empty);
}

#[test]
fn an_example_that_is_written_changes_something() {
    let base = must_read(&with_tls("main", ""));
    for (section, entry) in entries() {
        let text = with_tls(section, &format!("{} = {}", entry.name, entry.example));
        assert_ne!(must_read(&text), base, "{text}");
    }
}

#[test]
fn what_a_reload_takes_over_is_what_the_table_says() {
    let base = must_read(&with_tls("main", ""));
    for (section, entry) in entries() {
        let text = with_tls(section, &format!("{} = {}", entry.name, entry.example));
        assert_eq!(!needs_restart(&must_read(&text), &base), entry.on_reload, "{text}");
    }
    let ships = must_read(&format!("{}[ship:a]\ntype = s3\nbucket = b\n", with_tls("main", "")));
    assert!(!needs_restart(&ships, &base));
}

/// What is known of a facility, but for the lines it stands in.
fn facility(options: &str) -> String {
    let text = format!("[my-app]\n{options}\n");
    let read = config::read_facilities(text.as_bytes(), Path::new("/etc/facilities.conf"));
    let table = read.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    let found = table.find("my-app", "").expect("it was read");
    let again = config::read_facilities(b"[a]\nrotate=daily\nbackup_count=1", Path::new("f"));
    let origins = again.expect("it is right").find("a", "").expect("it was read").origins;
    format!("{:?}", Facility { origins, ..Facility::clone(found) })
}

#[test]
fn the_options_of_a_facility_do_what_the_table_says() {
    let required = |entry: &&Entry| matches!(entry.unset, Unset::Required);
    let base = "rotate = daily\nbackup_count = 14\n";
    assert_eq!(
        FACILITY.options.iter().filter(required).map(|entry| entry.name).collect::<Vec<_>>(),
        ["rotate", "backup_count"]
    );
    for entry in FACILITY.options {
        let others: String = base
            .lines()
            .filter(|line| !line.starts_with(entry.name))
            .map(|line| format!("{line}\n"))
            .collect();
        let example = facility(&format!("{others}{} = {}", entry.name, entry.example));
        assert_ne!(example, facility(base), "{}", entry.name);
        match entry.unset {
            Unset::As(value) => {
                // 0 switches an inherited limit off, and is kept as such.
                let written = facility(&format!("{base}{} = {value}", entry.name));
                let written = written.replace("Some(0)", "None").replace("Some(0ns)", "None");
                assert_eq!(written, facility(base), "{}", entry.name);
            }
            Unset::Required => {
                let text = format!("[my-app]\n{others}");
                let read = config::read_facilities(text.as_bytes(), Path::new("f"));
                assert!(read.is_err(), "{text}");
            }
            Unset::Told(words) => panic!("{}: {words} can be a value", entry.name),
        }
        assert!(entry.on_reload, "a reload reads all facilities");
    }
}

/// A section of each kind, with what it has to have.
const TARGETS: [(&Section, &str); 5] = [
    (&KAFKA, "type = kafka\nbrokers = k\n"),
    (&S3, "type = s3\nbucket = b\n"),
    (&INFLUXDB, "type = influxdb\nurl = http://i\ndatabase = d\n"),
    (&INFLUXDB, "type = influxdb\nurl = http://i\nversion = 2\norg = o\nbucket = b\n"),
    (&INFLUXDB, "type = influxdb\nurl = http://i\nversion = 3\ndatabase = d\n"),
];

#[test]
fn the_options_of_a_target_are_those_that_its_reader_asks_for() {
    for (kind, section) in TARGETS {
        let problems = read(&format!("[ship:a]\n{section}nobody_knows_this = 1\n")).unwrap_err();
        let remedy = &problems.first().expect("one").remedy;
        let asked: BTreeSet<&str> =
            remedy.trim_start_matches("the options are ").split(", ").collect();
        let told = kind.names().chain(TARGET.names()).filter(|name| !name.ends_with(".NAME"));
        assert_eq!(asked, told.collect(), "{section}");
    }
}

#[test]
fn the_defaults_of_a_target_are_those_that_the_table_says() {
    for (kind, section) in TARGETS {
        let base = must_read(&format!("[ship:a]\n{section}"));
        let is_there = |entry: &&Entry| section.contains(&format!("{} = ", entry.name));
        let all = kind.options.iter().chain(TARGET.options);
        for entry in all.filter(|entry| !is_there(entry)) {
            match entry.unset {
                Unset::As(value) => {
                    let text = format!("[ship:a]\n{section}{} = {value}\n", entry.name);
                    assert_eq!(must_read(&text), base, "{text}");
                }
                Unset::Required => panic!("{} is not required: {section}", entry.name),
                Unset::Told(_) => {}
            }
            assert!(entry.on_reload, "a reload takes targets over");
        }
    }
}

#[test]
fn the_examples_of_targets_are_taken() {
    // Alone, or with what belongs to it.
    let companions = |name: &str| match name {
        "acks" => "transactional = no\n",
        "partitions" | "replication_factor" => "create_topics = yes\n",
        "cacert" | "pemfile" => "tls = yes\n",
        "sasl_mechanism" => "sasl_user = a\nsasl_password = b\n",
        "sasl_user" => "sasl_mechanism = PLAIN\nsasl_password = b\n",
        "sasl_password" => "sasl_mechanism = PLAIN\nsasl_user = a\n",
        "access_key_id" => "secret_access_key = b\n",
        "secret_access_key" => "access_key_id = a\n",
        "profile" => "credentials_file = a\n",
        "sse_kms_key_id" => "sse = aws:kms\n",
        "user" => "password = a\n",
        "password" => "user = a\n",
        _ => "",
    };
    for (kind, section) in TARGETS {
        let base = must_read(&format!("[ship:a]\n{section}"));
        for entry in kind.options.iter().chain(TARGET.options) {
            let is_there = section.contains(&format!("{} = ", entry.name));
            // Files with secrets are read at once, and these are not there.
            let is_elsewhere = entry.name.ends_with("_file") && entry.name != "credentials_file"
                || entry.name == "when" && section.contains("s3")
                || ["database", "user", "password", "retention_policy"].contains(&entry.name)
                    && section.contains("version")
                || ["org", "bucket", "token"].contains(&entry.name) && section.contains("database");
            if is_there || is_elsewhere {
                continue;
            }
            let name = entry.name.replace("kafka.NAME", "kafka.linger.ms").replace("NAME", "name");
            let companions = match section.contains("kafka") || !entry.name.contains("cacert") {
                true => companions(entry.name),
                false => "",
            };
            let text = format!("[ship:a]\n{section}{companions}{name} = {}\n", entry.example);
            // A token without a key says nothing.
            let is_silent = ["session_token"].contains(&entry.name);
            assert_eq!(must_read(&text) == base, is_silent, "{text}");
        }
    }
}

#[test]
fn names_are_told_once_and_sentences_end() {
    let kinds = [&TARGET, &KAFKA, &S3, &INFLUXDB, &FACILITY];
    for section in SECTIONS.iter().chain(kinds) {
        let names: BTreeSet<&str> = section.names().collect();
        assert_eq!(names.len(), section.options.len(), "{}", section.name);
        assert!(section.about.ends_with('.'), "{}", section.about);
        for entry in section.options {
            assert!(entry.help.ends_with('.'), "{}", entry.help);
            assert!(entry.help.matches('`').count() % 2 == 0, "{}", entry.help);
            assert!(!entry.values.is_empty() && !entry.example.is_empty(), "{}", entry.name);
        }
    }
}

#[test]
fn the_files_that_are_shipped_show_every_option() {
    let config = include_str!("../../../../etc/loghogd/loghogd.conf");
    let facilities = include_str!("../../../../etc/loghogd/facilities.conf");
    let shows = |text: &str, name: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches([';', '#', ' ']);
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '=']))
        })
    };
    for (section, entry) in entries() {
        assert!(shows(config, entry.name), "[{section}] {}", entry.name);
    }
    for name in FACILITY.names() {
        assert!(shows(facilities, name), "{name}");
    }
}
