use super::check::DEPTH_MAX;
use super::*;
use crate::pipeline::rotate::name::Began;
use jiff::tz::{TimeZone, offset};
use proptest::prelude::*;
use serde_json::{Value as Parsed, json};

const PLAIN: Entry<'static> = Entry {
    host: "web01",
    app: "my-app",
    logger: "web.requests",
    body: "hello",
    sent_ns: 1_358_363_502_120_430_000,
    level: None,
    thread: None,
    process: None,
    exception_at: None,
    fields: std::iter::empty(),
};

type Field<'a> = (&'a str, Value<'a>);

fn with_fields<'a>(
    entry: Entry<'a>,
    fields: &'a [Field<'a>],
) -> Entry<'a, impl Fields<'a> + use<'a>> {
    let Entry { host, app, logger, body, sent_ns, level, thread, process, exception_at, .. } =
        entry;
    let fields = fields.iter().copied();
    Entry { host, app, logger, body, sent_ns, level, thread, process, exception_at, fields }
}

fn stamp() -> Stamp {
    let zone = TimeZone::fixed(offset(1));
    Stamp::new("2026-11-20T11:00:00.123456789Z".parse().unwrap(), &zone)
}

fn line<'a>(entry: &Entry<'a, impl Fields<'a>>) -> String {
    let mut out = b"before".to_vec();
    write_json(&stamp(), entry, &mut out);
    String::from_utf8(out.split_off(b"before".len())).unwrap()
}

fn parsed<'a>(entry: &Entry<'a, impl Fields<'a>>) -> Parsed {
    let line = line(entry);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// What a reader gets for the one field.
fn field(value: Value<'_>) -> Parsed {
    parsed(&with_fields(PLAIN, &[("f", value)]))["fields"]["f"].clone()
}

#[test]
fn what_a_v1_message_can_say_is_all_there() {
    assert_eq!(
        line(&PLAIN),
        "{\"received\":\"2026-11-20T12:00:00.123456+01:00\",\
         \"sent\":\"2013-01-16T19:11:42.120430000Z\",\"host\":\"web01\",\"app\":\"my-app\",\
         \"logger\":\"web.requests\",\"message\":\"hello\"}\n"
    );
}

#[test]
fn what_a_v2_message_can_say_is_all_there() {
    let entry = Entry {
        body: "boom\nTraceback",
        level: Some(40),
        thread: Some("main"),
        process: Some(4711),
        exception_at: Some(5),
        ..PLAIN
    };
    let fields = [
        ("null", Value::Null),
        ("yes", Value::Bool(true)),
        ("int", Value::Int(-7)),
        ("float", Value::Float(1e300)),
        ("text", Value::Text("a\"b")),
        ("json", Value::Json("{ \"a\" : [1,\n2] }")),
    ];
    let shown = line(&with_fields(entry, &fields));
    let behind = shown.split_once("\"web.requests\"").unwrap().1;
    assert_eq!(
        behind,
        ",\"level\":40,\"level_name\":\"ERROR\",\"thread\":\"main\",\"process\":4711,\
         \"message\":\"boom\",\"exception\":\"Traceback\",\"fields\":{\"null\":null,\"yes\":true,\
         \"int\":-7,\"float\":1e300,\"text\":\"a\\\"b\",\"json\":{ \"a\" : [1,2] }}}\n"
    );
}

#[test]
fn only_pythons_levels_have_names() {
    let named = |level| parsed(&Entry { level: Some(level), ..PLAIN }).get("level_name").cloned();
    assert_eq!(named(30), Some(json!("WARNING")));
    assert_eq!(named(35), None);
}

#[test]
fn a_file_is_named_by_the_first_line_as_by_one_of_text() {
    let line = line(&PLAIN);
    let text = Began::from_stamp(stamp().as_bytes());
    assert_eq!(Began::from_stamp(line.as_bytes()), text);
    assert_eq!(
        Began::from_stamp(&line.as_bytes()[..crate::pipeline::rotate::name::HEAD_BYTES_MAX]),
        text
    );
    assert!(text.is_some());
}

#[test]
fn a_time_that_is_none_is_null() {
    for sent_ns in [i128::MAX, i128::MIN, -70_000_000_000_000_000_000] {
        assert_eq!(parsed(&Entry { sent_ns, ..PLAIN })["sent"], Parsed::Null, "{sent_ns}");
    }
    let first = -62_167_219_200_000_000_000;
    assert_eq!(
        parsed(&Entry { sent_ns: first, ..PLAIN })["sent"],
        "0000-01-01T00:00:00.000000000Z"
    );
}

#[test]
fn an_exception_that_begins_nowhere_is_part_of_the_message() {
    let at = |body, at| {
        let parsed = parsed(&Entry { body, exception_at: Some(at), ..PLAIN });
        (parsed["message"].as_str().unwrap().to_owned(), parsed.get("exception").is_some())
    };
    assert_eq!(at("é", 1), ("é".to_owned(), false));
    assert_eq!(at("abc", 4), ("abc".to_owned(), false));
    assert_eq!(at("abc", 0), (String::new(), true));
}

#[test]
fn numbers_that_json_has_no_word_for_are_text() {
    assert_eq!(field(Value::Float(f64::NAN)), "NaN");
    assert_eq!(field(Value::Float(f64::INFINITY)), "Infinity");
    assert_eq!(field(Value::Float(f64::NEG_INFINITY)), "-Infinity");
}

#[test]
fn what_is_no_json_is_text() {
    let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let too_deep = deep(DEPTH_MAX + 1);
    for text in [
        "",
        " ",
        "nul",
        "{",
        "[1,]",
        "1 2",
        "\"\n\"",
        "\"\\ud800\"",
        "1e999",
        "NaN",
        "{a:1}",
        "\"\\\u{7f}\"",
        "{\"a\":1}}",
        &too_deep,
    ] {
        assert_eq!(field(Value::Json(text)), text, "{text:?}");
    }
    assert!(field(Value::Json(&deep(DEPTH_MAX))).is_array());
    let odd = "\"\u{7f}\u{85}\u{a0}\u{2028}\\\\\"";
    assert_eq!(field(Value::Json(odd)), "\u{7f}\u{85}\u{a0}\u{2028}\\");
}

#[test]
fn a_line_made_to_be_too_long_is_cut_and_says_so() {
    let hostile = "\u{1}".repeat(wire::limits::FRAME_BYTES_MAX as usize);
    let field = (&*hostile, Value::Text(&hostile));
    let wide = ("short", Value::Text(&hostile));
    let number = ("number", Value::Int(7));
    for (logger, body, fields) in [
        ("", &*hostile, &[number][..]),
        (&hostile, &hostile, &[number, field]),
        ("", "", &[field, number]),
        ("", "", &[wide, number]),
        ("", "", &[number; 256]),
    ] {
        let entry = Entry { logger, body, ..PLAIN };
        let entry = with_fields(entry, fields);
        let shown = line(&entry);
        assert!(shown.len() <= LINE_BYTES_MAX, "{} bytes", shown.len());
        let parsed: Parsed = serde_json::from_str(&shown).unwrap();
        assert_eq!(parsed.get("cut").is_some(), fields != [number; 256]);
    }
}

#[test]
fn the_longest_v1_message_is_never_cut() {
    // What takes most room in a line for what it takes on the wire.
    let body = "\u{9b}".repeat(wire::limits::FRAME_BYTES_MAX as usize / 2);
    let entry = Entry { body: &body, ..PLAIN };
    assert_eq!(parsed(&entry)["message"], *body);
    assert_eq!(parsed(&entry).get("cut"), None);
}

/// A field's value, with what a reader is to get for it.
fn values() -> impl Strategy<Value = (Kept, Parsed)> {
    prop_oneof![
        Just((Kept::Null, Parsed::Null)),
        any::<bool>().prop_map(|yes| (Kept::Bool(yes), json!(yes))),
        any::<i64>().prop_map(|number| (Kept::Int(number), json!(number))),
        any::<f64>().prop_map(|number| {
            let expected = match number {
                _ if number.is_nan() => json!("NaN"),
                f64::INFINITY => json!("Infinity"),
                f64::NEG_INFINITY => json!("-Infinity"),
                _ => json!(number),
            };
            (Kept::Float(number), expected)
        }),
        "(?s).{0,20}".prop_map(|text| (Kept::Text(text.clone()), json!(text))),
        // Mostly no JSON, and then text.
        "(?s)[\\[\\]{}:,\"\\\\0-9a-f\n\u{7f}\u{85} -]{0,12}".prop_map(|text| {
            let expected = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
            (Kept::Json(text), expected)
        }),
        ("(?s).{0,10}", any::<u32>(), any::<bool>()).prop_map(|(key, number, pretty)| {
            let value = json!({ &*key: [number, key, null, { "x": {} }] });
            let text = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            (Kept::Json(text), value)
        }),
    ]
}

#[derive(Clone, Debug)]
enum Kept {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Json(String),
}

impl Kept {
    fn lent(&self) -> Value<'_> {
        match self {
            Kept::Null => Value::Null,
            Kept::Bool(yes) => Value::Bool(*yes),
            Kept::Int(number) => Value::Int(*number),
            Kept::Float(number) => Value::Float(*number),
            Kept::Text(text) => Value::Text(text),
            Kept::Json(text) => Value::Json(text),
        }
    }
}

/// Equal, but for the last digit, which serde_json does not always keep.
fn alike(one: &Parsed, other: &Parsed) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) if one.is_f64() || other.is_f64() => {
            // serde_json is off by a bit in the last place here and there.
            let least = f64::MIN_POSITIVE * f64::EPSILON;
            (a - b).abs() <= (a.abs() * 2.0 * f64::EPSILON).max(least) || a == b
        }
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn a_line_is_one_line_and_is_read_as_what_was_sent(
        host in "(?s).{0,8}", app in ".{0,8}", logger in "(?s).{0,8}", body in "(?s).{0,80}",
        sent_ns in -60_000_000_000_000_000_000_i128..250_000_000_000_000_000_000,
        level in proptest::option::of(any::<u8>()), thread in proptest::option::of("(?s).{0,8}"),
        process in proptest::option::of(any::<u64>()), at in proptest::option::of(0..90_usize),
        fields in proptest::collection::btree_map("(?s).{0,8}", values(), 0..6),
    ) {
        let lent: Vec<Field<'_>> =
            fields.iter().map(|(key, (value, _))| (&**key, value.lent())).collect();
        let entry = with_fields(
            Entry {
                host: &host, app: &app, logger: &logger, body: &body, sent_ns, level,
                thread: thread.as_deref(), process, exception_at: at, ..PLAIN
            },
            &lent,
        );
        let shown = line(&entry);
        let one_line = shown.strip_suffix('\n').unwrap();
        prop_assert!(!one_line.chars().any(char::is_control), "{one_line:?}");
        let parsed: Parsed = serde_json::from_str(one_line).unwrap();

        let mut expected = json!({
            "received": "2026-11-20T12:00:00.123456+01:00",
            "host": host, "app": app, "logger": logger,
        });
        let (message, exception) = entry.message_and_exception();
        let said = [
            ("message", Some(json!(message))),
            ("exception", exception.map(|exception| json!(exception))),
            ("level", level.map(|level| json!(level))),
            ("level_name", level.and_then(level_name).map(|name| json!(name))),
            ("thread", thread.as_ref().map(|thread| json!(thread))),
            ("process", process.map(|process| json!(process))),
        ];
        for (name, value) in said {
            value.into_iter().for_each(|value| expected[name] = value);
        }
        let mut rest = parsed.clone();
        let members = rest.as_object_mut().unwrap();
        let sent: Timestamp = members.remove("sent").unwrap().as_str().unwrap().parse().unwrap();
        prop_assert_eq!(sent.as_nanosecond(), sent_ns);
        let read = members.remove("fields").unwrap_or_else(|| json!({}));
        prop_assert_eq!(rest, expected);
        prop_assert_eq!(read.as_object().unwrap().len(), fields.len());
        for (key, (_, value)) in &fields {
            prop_assert!(alike(&read[key], value), "{key:?}: {} and {value}", read[key]);
        }
    }

    #[test]
    fn a_string_fits_into_what_is_left(text in "(?s).{0,60}", room in 0..80_usize) {
        let mut out = Vec::new();
        let mut line = Line { out: &mut out, end: room, cut: false };
        let fitting = line.fitting(&text);
        let whole = fitting.len() == text.len();
        prop_assert_eq!(line.cut, !whole);
        let bytes = fitting.chars().map(escaped_bytes).sum::<usize>();
        prop_assert!(bytes <= room && text.starts_with(fitting));
        if let Some(next) = text[fitting.len()..].chars().next() {
            prop_assert!(bytes + escaped_bytes(next) > room);
        }
    }
}
