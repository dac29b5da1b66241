use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::config::facility::Facility;
use crate::config::read_facilities;
use crate::config::ship::influxdb::{Match, Way};
use crate::pipeline::ship::RecordReader;

fn facility(app: &str, module: &str) -> Arc<Facility> {
    let text = format!(
        "[{app}]\nrotate = daily\nbackup_count = 3\n[{app}:{module}]\nrotate = daily\nbackup_count = 3\n"
    );
    let table = read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap();
    Arc::clone(table.find(app, module).unwrap())
}

fn options() -> InfluxDb {
    InfluxDb {
        url: "http://localhost:8086".into(),
        way: Way::One { database: "logs".into(), retention_policy: None, login: None },
        measurement: template("{app}"),
        errors_measurement: None,
        matches: Vec::new(),
        tags: Vec::new(),
        batch_points: 5_000,
        gzip: false,
        multiline: true,
        timeout: std::time::Duration::from_secs(30),
        cacert: None,
    }
}

fn template(text: &str) -> Template {
    Template::read(text, &crate::config::ship::influxdb::PLACES).unwrap()
}

fn lines_of(options: &InfluxDb, live: &str, message: &[u8]) -> String {
    let facility = facility("my-app", "web");
    let times = RecordReader::new(TimeZone::UTC, 0).times(message);
    let record = Record::read(message, &facility, times);
    let mut out = Vec::new();
    let points = Shape::new(options).unwrap().write(&record, live, &mut out);
    assert_eq!(parse(&out).len(), points);
    String::from_utf8(out).unwrap()
}

const TEXT: &[u8] =
    b"2026-11-20 12:00:00.123456 - web01 - ERROR - user \"x\\y\" failed\n\tTraceback\n";

#[test]
fn a_line_of_text_becomes_a_point() {
    assert_eq!(
        lines_of(&options(), "web.log", TEXT),
        "my-app,app=my-app,host=web01,level=ERROR,module=web \
         body=\"ERROR - user \\\"x\\\\y\\\" failed\nTraceback\" 1795176000123456000\n"
    );
}

#[test]
fn a_line_of_json_brings_numbers_and_leaves_out_what_is_none() {
    let json = br#"{"received":"2026-11-20T12:00:00.123456+00:00","sent":null,"host":"","app":"my-app","logger":"web.x","level":35,"message":"m","exception":"E","fields":{"user":7,"took":0.25,"big":1e300,"ok":true,"name":"x","none":null,"list":[1],"in":{"a":1},"time":3,"_x":4,"body":5,"host":6,"user":8,"a b":9,"":1,"too":1e999}}"#;
    assert_eq!(
        lines_of(&options(), "web.log", json),
        "my-app,app=my-app,level=35,module=web body=\"m\",logger=\"web.x\",exception=\"E\",\
         user=7.0,took=0.25,big=1e300,ok=1.0,field_time=3.0,field__x=4.0,field_body=5.0,\
         field_host=6.0,a\\ b=9.0 1795176000123456000\n"
    );
}

#[test]
fn errors_and_matches_become_further_points_each_once() {
    let mut options = options();
    options.errors_measurement = Some(template("errors"));
    options.matches = [("auth", "(?i)USER"), ("no", "nothing"), ("errors", "x")]
        .map(|(name, pattern)| Match { measurement: name.into(), pattern: pattern.into() })
        .to_vec();
    let lines = lines_of(&options, "web.log", TEXT);
    let points = parse(lines.as_bytes());
    let names: Vec<&str> = points.iter().map(|point| &*point.measurement).collect();
    assert_eq!(names, ["my-app", "errors", "auth"]);
    assert!(points.iter().all(|point| point.tags == points[0].tags));
    assert!(points.iter().all(|point| point.fields == points[0].fields));
    let fine = b"2026-11-20 12:00:00.123456 - web01 - WARNING - fine\n";
    assert_eq!(parse(lines_of(&options, "web.log", fine).as_bytes()).len(), 1);
}

#[test]
fn configured_tags_stand_in_their_places() {
    let mut options = options();
    options.tags = vec![("zone".into(), "a b".into()), ("city".into(), "x,y=z".into())];
    let lines = lines_of(&options, "web.log", TEXT);
    let tags = "my-app,app=my-app,city=x\\,y\\=z,host=web01,level=ERROR,module=web,zone=a\\ b ";
    assert!(lines.starts_with(tags), "{lines}");
}

#[test]
fn files_of_one_module_are_told_apart() {
    let one = lines_of(&options(), "web.log", TEXT);
    let other = lines_of(&options(), "web01-web.log", TEXT);
    assert!(!one.contains("file="), "{one}");
    assert!(other.starts_with("my-app,app=my-app,file=web01-web,host=web01,"), "{other}");
}

#[test]
fn line_feeds_are_shown_where_servers_cannot_have_them() {
    let mut options = options();
    options.multiline = false;
    let lines = lines_of(&options, "web.log", TEXT);
    assert!(lines.contains("failed\\\\nTraceback\" "), "{lines}");
    assert_eq!(lines.matches('\n').count(), 1);
}

#[test]
fn a_measurement_is_never_empty_nor_a_comment() {
    let mut options = options();
    for (text, begin) in
        [("{host}", "-,app="), ("#{app}", "%23my-app,app="), (" x,{module}", "\\ x\\,web,app=")]
    {
        options.measurement = template(text);
        let lines = lines_of(&options, "web.log", b"from elsewhere");
        assert!(lines.starts_with(begin), "{lines}");
    }
}

#[test]
fn a_point_has_no_more_fields_than_the_limit() {
    let fields: Vec<String> = (0..200).map(|n| format!("\"f{n}\":{n}")).collect();
    let json = format!(
        "{{\"received\":\"2026-11-20T12:00:00.123456+00:00\",\"host\":\"h\",\"message\":\"m\",\"fields\":{{{}}}}}",
        fields.join(",")
    );
    let points = parse(lines_of(&options(), "web.log", json.as_bytes()).as_bytes());
    assert_eq!(points[0].fields.len(), 1 + FIELDS_MAX);
}

/// A point as a server reads it.
#[derive(Debug, PartialEq)]
struct Point {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, Field)>,
    time: i64,
}

#[derive(Debug, PartialEq)]
enum Field {
    Text(String),
    Number(f64),
}

/// Reads line protocol, as InfluxDB's manual describes it.
fn parse(bytes: &[u8]) -> Vec<Point> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut rest = text;
    let mut points = Vec::new();
    while !rest.is_empty() {
        assert!(!rest.starts_with('#'), "a comment");
        let measurement = until(&mut rest, &[',', ' '], &[',', ' ']);
        assert!(!measurement.is_empty());
        let mut point = Point { measurement, tags: Vec::new(), fields: Vec::new(), time: 0 };
        while take(&mut rest, ',') {
            let name = until(&mut rest, &['='], &[',', '=', ' ']);
            assert!(take(&mut rest, '='));
            let value = until(&mut rest, &[',', ' '], &[',', '=', ' ']);
            assert!(!name.is_empty() && !value.is_empty(), "an empty tag");
            point.tags.push((name, value));
        }
        assert!(take(&mut rest, ' '));
        loop {
            let name = until(&mut rest, &['='], &[',', '=', ' ']);
            assert!(!name.is_empty() && take(&mut rest, '='));
            let value = if take(&mut rest, '"') {
                let text = until(&mut rest, &['"'], &['"', '\\']);
                assert!(take(&mut rest, '"'));
                Field::Text(text)
            } else {
                Field::Number(until(&mut rest, &[',', ' '], &[]).parse().unwrap())
            };
            point.fields.push((name, value));
            if !take(&mut rest, ',') {
                break;
            }
        }
        assert!(take(&mut rest, ' '));
        point.time = until(&mut rest, &['\n'], &[]).parse().unwrap();
        assert!(take(&mut rest, '\n'));
        points.push(point);
    }
    points
}

fn take(rest: &mut &str, expected: char) -> bool {
    match rest.strip_prefix(expected) {
        Some(behind) => {
            *rest = behind;
            true
        }
        None => false,
    }
}

/// Takes everything before one of `ends`, of which those of `escapes` that stand
/// behind a backslash are none.
fn until(rest: &mut &str, ends: &[char], escapes: &[char]) -> String {
    let mut taken = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, character)) = chars.next() {
        match chars.peek() {
            Some((_, next)) if character == '\\' && escapes.contains(next) => {
                taken.push(*next);
                chars.next();
            }
            _ if ends.contains(&character) => {
                *rest = &rest[at..];
                return taken;
            }
            _ => taken.push(character),
        }
    }
    panic!("{rest:?} does not end");
}

/// Undoes `%5C`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let (digits, behind) = behind.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            rest = behind;
        } else {
            bytes.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Characters that mean something to somebody, and others.
fn odd() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        ',', ' ', '=', '\\', '"', '\n', '\r', '\t', '%', '#', '\0', 'a', 'n', '5', 'C', 'ä',
        '\u{85}',
    ]);
    prop::collection::vec(prop_oneof![4 => special, 1 => any::<char>()], 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

/// A record of these parts; it is what matters, not how it was read.
fn record<'a>(
    [app, module, host, body]: [&'a str; 4],
    logger: Option<&'a str>,
    level: Option<u8>,
    unique_ns: i64,
    fields: Option<&'a RawValue>,
) -> Record<'a> {
    Record {
        times: crate::pipeline::ship::RecordTimes { received_ns: unique_ns, unique_ns },
        app,
        module,
        host: host.into(),
        logger: logger.map(Into::into),
        level,
        sent: None,
        thread: None,
        process: None,
        body: body.into(),
        exception: None,
        fields,
        line: b"",
    }
}

proptest! {
    #[test]
    fn whatever_is_in_a_record_is_read_back(
        app in odd(), module in odd(), host in odd(), body in odd(), logger in odd(),
        live in odd(), level: Option<u8>, unique_ns: i64, name in odd(), number: f64,
    ) {
        prop_assume!(!app.is_empty() && !module.is_empty() && !live.is_empty());
        prop_assume!(number.is_finite());
        let json = serde_json::json!({ name.as_str(): number, "n": 1, "t": "x" }).to_string();
        let raw: &RawValue = serde_json::from_str(&json).unwrap();
        let record = record([&app, &module, &host, &body], Some(&logger), level, unique_ns, Some(raw));
        let mut options = options();
        options.measurement = template("m.{app} {host}");
        let mut shape = Shape::new(&options).unwrap();
        let (mut out, mut again) = (Vec::new(), Vec::new());
        prop_assert_eq!(shape.write(&record, &format!("{live}.log"), &mut out), 1);
        shape.write(&record, &format!("{live}.log"), &mut again);
        prop_assert_eq!(&out, &again);

        let points = parse(&out);
        prop_assert_eq!(points.len(), 1);
        let point = &points[0];
        let shown_host = if host.is_empty() { "-" } else { host.as_str() };
        prop_assert_eq!(decode(&point.measurement), format!("m.{app} {shown_host}"));
        prop_assert_eq!(point.time, unique_ns);
        let tag = |name: &str| {
            point.tags.iter().find(|(of, _)| of == name).map(|(_, value)| decode(value))
        };
        prop_assert!(point.tags.is_sorted());
        prop_assert_eq!(tag("app"), Some(app));
        prop_assert_eq!(tag("file"), Some(live).filter(|live| *live != module));
        prop_assert_eq!(tag("module"), Some(module));
        prop_assert_eq!(tag("host"), Some(host).filter(|host| !host.is_empty()));
        prop_assert_eq!(tag("level").is_some(), level.is_some());
        let field = |name: &str| {
            point.fields.iter().find(|(of, _)| decode(of) == name).map(|(_, value)| value)
        };
        prop_assert_eq!(field("body"), Some(&Field::Text(body)));
        prop_assert_eq!(field("logger"), Some(&Field::Text(logger)));
        if !name.is_empty() && name != "n" && name != "t" {
            // InfluxDB keeps names with an underscore at their beginning for itself.
            let shown = if name.starts_with('_') { format!("field_{name}") } else { name };
            prop_assert_eq!(field(&shown), Some(&Field::Number(number)));
        }
    }

    #[test]
    fn two_streams_never_share_a_series(
        one in (odd(), odd(), odd()), other in (odd(), odd(), odd()), host in odd(),
    ) {
        let whole = |(app, module, live): &(String, String, String)| {
            !app.is_empty() && !module.is_empty() && !live.is_empty()
        };
        prop_assume!(whole(&one) && whole(&other) && one != other);
        let mut shape = Shape::new(&options()).unwrap();
        let mut series = |(app, module, live): &(String, String, String)| {
            let record = record([app, module, &host, ""], None, None, 0, None);
            let mut out = Vec::new();
            shape.write(&record, &format!("{live}.log"), &mut out);
            parse(&out).remove(0).tags
        };
        prop_assert_ne!(series(&one), series(&other));
    }

    #[test]
    fn any_bytes_give_whole_lines(bytes: Vec<u8>, json: bool) {
        let mut line = if json {
            b"{\"received\":\"2026-11-20T12:00:00.123456+00:00\",\"host\":\"h\",\"message\":\"m\",\"fields\":".to_vec()
        } else {
            Vec::new()
        };
        line.extend(bytes);
        lines_of(&options(), "web.log", &line);
    }
}
