use std::path::Path;

use super::*;
use crate::config::ship::{Kind, Target};
use crate::config::{Overrides, read_config};

const LEAST: &str = "url = http://localhost:8086\ndatabase = logs\n";

fn read_with(options: &str) -> Result<Target, Vec<(u32, String, String)>> {
    let text = format!("[ship:metrics]\ntype = influxdb\n{options}");
    match read_config(
        text.as_bytes(),
        Path::new("/etc/loghogd/loghogd.conf"),
        &Overrides::default(),
    ) {
        Ok((mut config, _)) => Ok(config.ship.remove(0)),
        Err(problems) => Err(problems
            .into_iter()
            .map(|problem| (problem.line.unwrap_or(0), problem.message, problem.remedy))
            .collect()),
    }
}

#[track_caller]
fn right(options: &str) -> InfluxDb {
    match read_with(options).map(|target| target.kind) {
        Ok(Kind::InfluxDb(read)) => *read,
        other => panic!("{other:?}"),
    }
}

/// The only problem: its message and its remedy.
#[track_caller]
fn wrong(options: &str) -> (String, String) {
    match read_with(options) {
        Err(mut problems) if problems.len() == 1 => {
            let (_, message, remedy) = problems.remove(0);
            (message, remedy)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_and_a_database_are_enough() {
    let read = right(LEAST);
    assert_eq!(&*read.url, "http://localhost:8086");
    let way = Way::One { database: "logs".into(), retention_policy: None, login: None };
    assert_eq!(read.way, way);
    assert_eq!(read.measurement.to_string(), "{app}");
    assert_eq!((read.errors_measurement, read.matches.len(), read.tags.len()), (None, 0, 0));
    assert_eq!((read.batch_points, read.gzip, read.multiline), (5_000, true, true));
    assert_eq!((read.timeout, read.cacert), (Duration::from_secs(30), None));
}

#[test]
fn everything_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "my-token\nnot this\n").unwrap();
    let read = right(&format!(
        "url = https://db.example.org/influx/\nversion = 2\norg = o\nbucket = b\n\
         token_file = {}\nmeasurement = logs.{{app}}\nerrors_measurement = bad.{{app}}\n\
         match.auth = (?i)login (failed|refused)\ntag.site = north\nbatch_points = 10\n\
         gzip = no\nmultiline = no\ntimeout = 2m\ncacert = ca.pem\n",
        file.display()
    ));
    assert_eq!(&*read.url, "https://db.example.org/influx");
    let token = Some(Secret::new(b"my-token"));
    assert_eq!(read.way, Way::Two { org: Some("o".into()), bucket: "b".into(), token });
    assert_eq!(read.errors_measurement.unwrap().to_string(), "bad.{app}");
    assert_eq!(&*read.matches[0].measurement, "auth");
    assert!(pattern(&read.matches[0].pattern).unwrap().is_match("xx LOGIN failed"));
    assert_eq!(read.tags, [("site".into(), "north".into())]);
    assert_eq!((read.batch_points, read.gzip, read.multiline), (10, false, false));
    assert_eq!(read.timeout, Duration::from_secs(120));
    assert_eq!(read.cacert.unwrap(), Path::new("/etc/loghogd/ca.pem"));
    let one =
        right(&format!("{LEAST}user = u\npassword = my-password\nretention_policy = month\n"));
    assert!(!format!("{one:?}").contains("my-password"));
    let three = right("url = http://h\nversion = 3\ndatabase = logs\ntoken = my-token\n");
    let token = Some(Secret::new(b"my-token"));
    assert_eq!(three.way, Way::Two { org: None, bucket: "logs".into(), token });
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    let problems = read_with("").unwrap_err();
    let shown: Vec<String> =
        problems.iter().map(|(line, what, remedy)| format!("{line}: {what}; {remedy}")).collect();
    assert_eq!(
        shown,
        [
            "1: [ship:metrics] has no url; add for example: url = http://localhost:8086",
            "1: [ship:metrics] has no database; add for example: database = logs",
        ]
    );
    assert_eq!(
        wrong("url = http://h\nversion = 2\nbucket = b\n"),
        ("[ship:metrics] has no org".into(), "add for example: org = my-org".into())
    );
}

#[test]
fn options_of_another_version_say_which() {
    for (options, message, remedy) in [
        (
            "bucket = b\n",
            "bucket: this is an option of versions 2 and 3 of InfluxDB",
            "leave it out, or write version = 2",
        ),
        (
            "version = 3\nuser = u\n",
            "user: this is an option of version 1 of InfluxDB",
            "leave it out, or write version = 1",
        ),
        (
            "version = 3\norg = u\n",
            "org: this is an option of version 2 of InfluxDB",
            "leave it out, or write version = 2",
        ),
    ] {
        assert_eq!(wrong(&format!("{LEAST}{options}")), (message.into(), remedy.into()));
    }
}

#[test]
fn urls_that_cannot_be_are_refused_without_their_passwords() {
    for (url, message) in [
        ("localhost:8086", "url: \"localhost:8086\" is no URL of a server that speaks HTTP"),
        ("http://", "url: this is no URL"),
        ("http://u:my-password@h", "url: a user or a password stands in the URL"),
        ("http://h/write", "url: /write at its end is appended by loghogd"),
        ("http://h/x/api/v2/write/", "url: /api/v2/write at its end is appended by loghogd"),
        ("http://h?db=x", "url: behind the path there is a ? or a #"),
    ] {
        let (found, remedy) = wrong(&format!("url = {url}\ndatabase = logs\n"));
        assert_eq!(found, message);
        assert!(!remedy.contains("my-password") && !remedy.is_empty());
    }
}

#[test]
fn a_user_has_a_password_and_a_password_a_user() {
    for (options, message) in [
        ("user = u\n", "user: there is a user, but no password"),
        ("password = my-password\n", "password: there is a password, but no user"),
    ] {
        assert_eq!(wrong(&format!("{LEAST}{options}")).0, message);
    }
}

#[test]
fn patterns_are_tried_when_the_configuration_is_read() {
    for (pattern, message) in [
        ("(", "match.auth: this is no regular expression: unclosed group"),
        ("(\\w{500}){500}", "match.auth: the pattern takes more than 1048576 bytes of memory"),
    ] {
        assert_eq!(wrong(&format!("{LEAST}match.auth = {pattern}\n")).0, message);
    }
    let many: String = (0..17).map(|n| format!("match.m{n} = x\n")).collect();
    assert_eq!(
        wrong(&format!("{LEAST}{many}")).0,
        "match.: there are more than 16 options match.NAME"
    );
}

#[test]
fn tags_do_not_take_the_names_of_others() {
    for (tag, message) in [
        ("tag.host = x", "tag.host: points get the tag host from their messages"),
        ("tag.time = x", "tag.time: \"time\" cannot be the name of a tag"),
        ("tag._x = x", "tag._x: \"_x\" cannot be the name of a tag"),
        ("tag.x =", "tag.x: the value is no text of 1 to 128 bytes on one line"),
        ("tag. = x", "tag.: \"\" cannot be the name of a tag"),
    ] {
        assert_eq!(wrong(&format!("{LEAST}{tag}\n")).0, message);
    }
}

#[test]
fn times_and_templates_are_checked() {
    for (option, message) in [
        ("timeout = 30", "timeout: \"30\" is no time from 1s to 10m"),
        ("timeout = 11m", "timeout: \"11m\" is no time from 1s to 10m"),
        (
            "measurement = {ap}",
            "measurement: there is no place {ap}; the places are {app} {module} {host}",
        ),
        ("version = 4", "version: \"4\" is no whole number from 1 to 3"),
        ("batch_points = 0", "batch_points: \"0\" is no whole number from 1 to 100000"),
    ] {
        assert_eq!(wrong(&format!("{LEAST}{option}\n")).0, message);
    }
    let (message, remedy) = wrong(&format!("{LEAST}retries = 3\n"));
    assert_eq!(message, "a target of the type influxdb has no option \"retries\"");
    assert!(remedy.starts_with("the options are batch_points, bucket, cacert, database, "));
}
