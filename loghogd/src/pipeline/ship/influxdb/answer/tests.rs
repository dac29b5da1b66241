use super::*;

fn asked() -> Asked {
    Asked {
        place: "InfluxDB at http://h".to_owned(),
        room: "the database \"logs\"".to_owned(),
        make: "create it".to_owned(),
        login: "user and password",
        permit: "GRANT WRITE".to_owned(),
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, retry_after: None, location: None, body: body.as_bytes().to_vec() }
}

#[track_caller]
fn trouble(answer: &Answer) -> String {
    match answer.meaning(&asked()) {
        Meaning::Trouble(trouble) => trouble.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_204_means_that_it_is_there() {
    assert_eq!(answer(204, "").meaning(&asked()), Meaning::Taken);
    assert_eq!(
        trouble(&answer(200, "<html>welcome</html>")),
        "InfluxDB at http://h has answered 200 where InfluxDB says 204; write into url where \
         InfluxDB answers, then reload loghogd (SIGHUP)"
    );
}

#[test]
fn refused_lines_come_with_the_reason_of_each_version() {
    for (status, body, reason, dropped) in [
        (
            400,
            r#"{"error":"partial write: conflict dropped=3"}"#,
            "partial write: conflict dropped=3",
            Some(3),
        ),
        (
            400,
            r#"{"error":"partial write: unable to parse 'x' dropped=0"}"#,
            "partial write: unable to parse 'x' dropped=0",
            None,
        ),
        (
            422,
            r#"{"code":"unprocessable entity","message":"beyond retention"}"#,
            "beyond retention",
            None,
        ),
        (
            400,
            r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"x","line_number":1,"error_message":"bad field"}]}"#,
            "bad field",
            None,
        ),
        (400, r#"{"error":"parsing failed","data":{"x":1}}"#, "parsing failed", None),
    ] {
        let expected = Meaning::Refused { reason: reason.to_owned(), dropped };
        assert_eq!(answer(status, body).meaning(&asked()), expected, "{body}");
    }
}

#[test]
fn what_somebody_has_to_put_right_stops_the_target() {
    for (status, body, expected) in [
        (
            401,
            r#"{"error":"authorization failed"}"#,
            "InfluxDB at http://h does not know who we are: authorization failed; put user and password right",
        ),
        (
            403,
            r#"{"error":"no"}"#,
            "InfluxDB at http://h does not let us write into the database \"logs\": no; GRANT WRITE",
        ),
        (
            404,
            r#"{"error":"database not found"}"#,
            "InfluxDB at http://h has no database \"logs\": database not found; create it",
        ),
        (
            500,
            r#"{"error":"retention policy not found: x"}"#,
            "InfluxDB at http://h has no such retention policy: retention policy not found: x; create it, or put retention_policy right",
        ),
        (
            400,
            r#"{"error":"partial write: max-series-per-database limit exceeded: (30) dropped=4"}"#,
            "InfluxDB at http://h takes no further series: partial write: max-series-per-database limit exceeded: (30) dropped=4; raise max-series-per-database in its configuration, or remove old series",
        ),
        (
            400,
            "no\nJSON",
            "InfluxDB at http://h has answered 400: no JSON; write into url where InfluxDB answers, and its version into version",
        ),
        (
            405,
            "",
            "InfluxDB at http://h has answered 405; write into url where InfluxDB answers, and its version into version",
        ),
    ] {
        let said = trouble(&answer(status, body));
        assert_eq!(said.strip_suffix(", then reload loghogd (SIGHUP)"), Some(expected));
    }
    let moved = Answer { location: Some("https://other/".to_owned()), ..answer(308, "") };
    assert!(
        trouble(&moved)
            .starts_with("InfluxDB at http://h sends us elsewhere (308): https://other/; ")
    );
}

#[test]
fn what_may_heal_is_tried_again_when_the_server_says() {
    for (status, retry_after, what, seconds) in [
        (429, Some("7"), "InfluxDB at http://h wants less at a time (429): busy", Some(7)),
        (503, Some("86400"), "InfluxDB at http://h has a fault of its own (503): busy", Some(600)),
        (500, None, "InfluxDB at http://h has a fault of its own (500): busy", None),
        (408, Some("soon"), "InfluxDB at http://h has a fault of its own (408): busy", None),
    ] {
        let retry_after = retry_after.map(str::to_owned);
        let answer = Answer { retry_after, ..answer(status, r#"{"message":"busy"}"#) };
        let pause = seconds.map(Duration::from_secs);
        let expected = Meaning::Trouble(Trouble::Later { what: what.to_owned(), pause });
        assert_eq!(answer.meaning(&asked()), expected);
    }
}

#[test]
fn too_much_at_once_can_be_cut() {
    assert_eq!(answer(413, "").meaning(&asked()), Meaning::TooLarge);
}

#[test]
fn a_long_reason_is_cut() {
    let long = format!("{{\"error\":\"{}\"}}", "x".repeat(5_000));
    let Meaning::Refused { reason, .. } = answer(400, &long).meaning(&asked()) else {
        panic!("refused");
    };
    assert_eq!(reason.len(), REASON_CHARS_MAX + "...".len());
}

#[test]
fn what_stands_in_a_line_is_not_taken_for_what_the_server_means() {
    let name = format!("x dropped=99999 {}", "n".repeat(REASON_CHARS_MAX));
    for (reason, dropped) in [
        (
            format!("partial write: field type conflict: input field {name} is a float dropped=1"),
            Some(1),
        ),
        (format!("partial write: conflict of {name}"), None),
        ("unable to parse 'm dropped=99999': no partial write: at all".to_owned(), None),
        ("unable to parse 'm x=1 dropped=99999".to_owned(), None),
        (
            "partial write: input field max-series-per-database is a float dropped=2".to_owned(),
            Some(2),
        ),
        (format!("failure writing points: partial write: {name} dropped=7"), Some(7)),
    ] {
        let body = format!("{{\"error\":\"{reason}\"}}");
        match answer(400, &body).meaning(&asked()) {
            Meaning::Refused { dropped: found, .. } => assert_eq!(found, dropped, "{reason}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}
