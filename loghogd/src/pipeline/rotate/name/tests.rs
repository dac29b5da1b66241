use super::*;
use crate::clock::Stamp;
use crate::pipeline::persist::path::{COMPONENT_BYTES_MAX, STEM_BYTES_MAX};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const STAMP: &str = "2026-11-20-12-00-00-123456";

fn began(stamp: &str) -> Began {
    Began::from_name(stamp).unwrap()
}

fn segment(name: &str) -> Segment {
    match Name::read(name) {
        Name::Segment(segment) => segment,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_name_says_what_the_file_is() {
    let live = |stem: &str, gzip| Name::Live { stem: stem.into(), gzip };
    let web = Segment { live: "web.log".into(), began: began(STAMP), format: None };
    let xz = web.sealed(Format::Xz);
    let second = Damaged::new(xz.clone()).next().unwrap();
    for (name, what) in [
        ("web.log", live("web", false)),
        ("web.log.gz", live("web", true)),
        ("web.log.log", live("web.log", false)),
        ("h%2F1-web.requests.log", live("h%2F1-web.requests", false)),
        ("web.log.2026-11-20-12-00-00-123456", Name::Segment(web.clone())),
        ("web.log.2026-11-20-12-00-00-123456.xz", Name::Segment(xz.clone())),
        ("web.log.2026-11-20-12-00-00-123456.gz", Name::Segment(web.sealed(Format::Gzip))),
        ("web.log.2026-11-20-12-00-00-123456.bz2", Name::Segment(web.sealed(Format::Bzip2))),
        ("web.log.2026-11-20-12-00-00-123456.zst", Name::Segment(web.sealed(Format::Zstd))),
        ("web.log.2026-11-20-12-00-00-123456.xz.part", Name::Unfinished(xz.clone())),
        ("web.log.2026-11-20-12-00-00-123456.damaged", Name::Damaged(Damaged::new(web))),
        ("web.log.2026-11-20-12-00-00-123456.xz.damaged", Name::Damaged(Damaged::new(xz))),
        ("web.log.2026-11-20-12-00-00-123456.xz.damaged.2", Name::Damaged(second)),
        // A module of such a name is possible.
        (
            "web.log.2026-11-20-12-00-00-123456.log",
            live("web.log.2026-11-20-12-00-00-123456", false),
        ),
    ] {
        assert_eq!(Name::read(name), what, "{name}");
    }
}

#[test]
fn what_is_not_exactly_one_of_our_names_is_foreign() {
    for name in [
        "",
        "web",
        ".log",
        ".web.log",
        ".log.2026-11-20-12-00-00-123456",
        "a/web.log",
        "web\n.log",
        "web.LOG",
        "web.log.xz",
        "web.log.1",
        "web.log~",
        "web.log.gz.part",
        "web.log.part",
        "web.log.2026-11-20",
        "web.log.2026-11-20-12-00-00",
        "web.log.2026-11-20-12-00-00-12345",
        "web.log.2026-11-20-12-00-00-1234567",
        "web.log.12026-11-20-12-00-00-123456",
        "web.log.2026-13-20-12-00-00-123456",
        "web.log.2026-00-20-12-00-00-123456",
        "web.log.2026-02-29-12-00-00-123456",
        "web.log.2026-11-20-24-00-00-123456",
        "web.log.2026-11-20-12-60-00-123456",
        "web.log.2026-11-20-12-00-60-123456",
        "web.log.2026-11-20-12-00-00.123456",
        "web.log.2026-11-20 12-00-00-123456",
        "web.log.+026-11-20-12-00-00-123456",
        "web.log.2026-11-20-12-00-00-12345\u{664}",
        "web.log-2026-11-20-12-00-00-123456",
        "web2026-11-20-12-00-00-123456",
        "web.2026-11-20-12-00-00-123456",
        "web.log.2026-11-20-12-00-00-123456.",
        "web.log.2026-11-20-12-00-00-123456.XZ",
        "web.log.2026-11-20-12-00-00-123456.xz.gz",
        "web.log.2026-11-20-12-00-00-123456.lz4",
        "web.log.2026-11-20-12-00-00-123456xz",
        "web.log.2026-11-20-12-00-00-123456.bak",
        "web.log.2026-11-20-12-00-00-123456.part",
        "web.log.2026-11-20-12-00-00-123456.xz.part.part",
        "web.log.2026-11-20-12-00-00-123456.xz.damaged.part",
        "web.log.2026-11-20-12-00-00-123456.damaged.damaged",
        "web.log.2026-11-20-12-00-00-123456.damaged.",
        "web.log.2026-11-20-12-00-00-123456.damaged.0",
        "web.log.2026-11-20-12-00-00-123456.damaged.1",
        "web.log.2026-11-20-12-00-00-123456.damaged.02",
        "web.log.2026-11-20-12-00-00-123456.damaged.+2",
        "web.log.2026-11-20-12-00-00-123456.damaged.10000000",
    ] {
        assert_eq!(Name::read(name), Name::Foreign, "{name:?}");
    }
}

#[test]
fn the_longest_names_fit_into_a_folder() {
    let live = format!("{}{LIVE_SUFFIX}", "x".repeat(STEM_BYTES_MAX));
    for format in Format::ALL {
        let plain = Segment { live: live.as_str().into(), began: began(STAMP), format: None };
        let segment = plain.sealed(format);
        let damaged = Damaged { segment: segment.clone(), number: DAMAGED_NUMBER_MAX };
        for name in [segment.to_string(), segment.unfinished(), damaged.to_string()] {
            assert!(name.len() <= COMPONENT_BYTES_MAX, "{} bytes: {name}", name.len());
        }
        assert_eq!(damaged.next(), None);
    }
}

#[test]
fn a_segment_knows_its_forms() {
    let plain = segment("h-web.log.2026-11-20-12-00-00-123456");
    assert_eq!(plain.stem(), "h-web");
    let sealed = plain.sealed(Format::Xz);
    assert_eq!(sealed.to_string(), "h-web.log.2026-11-20-12-00-00-123456.xz");
    assert_eq!(sealed.unfinished(), "h-web.log.2026-11-20-12-00-00-123456.xz.part");
    assert_eq!(sealed.plain(), plain);
}

#[test]
fn set_aside_segments_are_numbered_from_2() {
    let mut damaged = Damaged::new(segment("a.log.2026-11-20-12-00-00-123456"));
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(damaged.to_string().rsplit_once("123456").unwrap().1.to_owned());
        damaged = damaged.next().unwrap();
    }
    assert_eq!(ends, [".damaged", ".damaged.2", ".damaged.3"]);
}

#[test]
fn a_line_says_when_a_segment_began() {
    for (line, stamp) in [
        (&b"2026-11-20 12:00:00.123456 - h - b\n"[..], STAMP),
        (b"2026-11-20 12:00:00.123456", STAMP),
        // Python leaves out a fraction of zero.
        (b"2026-11-20 12:00:00 - h - b\n", "2026-11-20-12-00-00-000000"),
        (b"2026-11-20 12:00:00", "2026-11-20-12-00-00-000000"),
        (b"0000-01-01 00:00:00.000000 - ", "0000-01-01-00-00-00-000000"),
    ] {
        assert_eq!(Began::from_stamp(line), Some(began(stamp)));
    }
    for line in [
        &b""[..],
        b"2026-11-20",
        b"2026-11-20 12:00:0",
        b"2026-11-20 12:00:00.12345",
        b"2026-11-20 12:00:00.12345 - h - b",
        b"2026-11-20 12:00:00,123456 - h - b",
        b"2026-11-20T12:00:00.123456 - h - b",
        b"2026-02-30 12:00:00.123456 - h - b",
        b"\ta continuation line, longer than a stamp",
        b"\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(Began::from_stamp(line), None, "{:?}", String::from_utf8_lossy(line));
    }
}

#[test]
fn the_next_name_is_a_microsecond_later_up_to_the_last_one() {
    assert_eq!(
        began("2026-12-31-23-59-59-999999").next(),
        Some(began("2027-01-01-00-00-00-000000"))
    );
    assert_eq!(began("9999-12-31-23-59-59-999999").next(), None);
    let last = Began::from_datetime(DateTime::MAX);
    assert_eq!((last.to_string().as_str(), last.next()), ("9999-12-31-23-59-59-999999", None));
    assert_eq!(Began::from_datetime(DateTime::MIN).to_string(), "0000-01-01-00-00-00-000000");
}

#[test]
fn a_repeated_hour_counts_as_the_second_one_and_a_skipped_one_as_what_came() {
    let paris = TimeZone::get("Europe/Paris").unwrap();
    for (stamp, at) in [
        ("2026-07-01-12-00-00-000000", "2026-07-01T12:00:00+02:00"),
        ("2026-10-25-02-30-00-000000", "2026-10-25T02:30:00+01:00"),
        ("2026-03-29-02-30-00-000000", "2026-03-29T03:30:00+02:00"),
    ] {
        assert_eq!(began(stamp).to_timestamp(&paris), Some(at.parse::<Timestamp>().unwrap()));
    }
    for extreme in ["0000-01-01-00-00-00-000000", "9999-12-31-23-59-59-999999"] {
        let _ = began(extreme).to_timestamp(&paris);
    }
}

fn moments() -> impl Strategy<Value = DateTime> {
    // All nanoseconds of the years 0000 to 9999.
    let days = -719_528_i64..=2_932_896;
    (days, 0..86_400_i64, 0..1_000_000_000_i64).prop_map(|(days, seconds, nanos)| {
        DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
            .saturating_add(SignedDuration::from_hours(24 * days))
            .saturating_add(SignedDuration::from_secs(seconds))
            .saturating_add(SignedDuration::from_nanos(nanos))
    })
}

fn stems() -> impl Strategy<Value = String> {
    "[a-z0-9._%-]{1,12}|[a-z]{1,3}\\.log(\\.gz|\\.2026-11-20-12-00-00-123456)?|\\PC{1,6}"
        .prop_filter("a stem that the configuration lets in", |stem| can_be_stem(stem))
}

proptest! {
    #[test]
    fn every_name_we_make_reads_as_what_it_is(
        stem in stems(), moment in moments(), format in prop::sample::select(&Format::ALL[..]),
        gzip in any::<bool>(), more in 0..20,
    ) {
        let began = Began::from_datetime(moment);
        prop_assert_eq!(Began::from_name(&began.to_string()), Some(began));
        let live = if gzip { format!("{stem}{LIVE_GZIP_SUFFIX}") } else { format!("{stem}{LIVE_SUFFIX}") };
        prop_assert_eq!(Name::read(&live), Name::Live { stem: stem.as_str().into(), gzip });
        let plain = Segment { live: format!("{stem}.log").into(), began, format: None };
        let sealed = plain.sealed(format);
        prop_assert_eq!(plain.stem(), stem);
        prop_assert_eq!(Name::read(&sealed.unfinished()), Name::Unfinished(sealed.clone()));
        for segment in [plain, sealed] {
            prop_assert_eq!(Name::read(&segment.to_string()), Name::Segment(segment.clone()));
            let mut damaged = Damaged::new(segment);
            for _ in 0..more {
                damaged = damaged.next().unwrap();
            }
            prop_assert_eq!(Name::read(&damaged.to_string()), Name::Damaged(damaged));
        }
    }

    // Whatever is read as ours is written again as it was: no two names are
    // one file to us, and nothing is guessed.
    #[test]
    fn a_name_that_is_read_is_written_the_same(
        name in "([a-z.%-]{0,6})(\\.log)?\\.2026-[01][0-9]-[0-3][0-9]-1[0-9]-[0-6]0-[0-6]0-[0-9]{5,7}\
                 (\\.xz|\\.gz|\\.bz2|\\.zst|\\.XZ)?(\\.part|\\.damaged|\\.damaged\\.[0-9]{1,2}|\\.log)?|.{0,40}",
    ) {
        let again = match Name::read(&name) {
            Name::Live { stem, gzip: false } => format!("{stem}{LIVE_SUFFIX}"),
            Name::Live { stem, gzip: true } => format!("{stem}{LIVE_GZIP_SUFFIX}"),
            Name::Segment(segment) => segment.to_string(),
            Name::Unfinished(segment) => segment.unfinished(),
            Name::Damaged(damaged) => damaged.to_string(),
            Name::Foreign => return Ok(()),
        };
        prop_assert_eq!(again, name);
    }

    #[test]
    fn names_sort_as_their_times(one in moments(), other in moments()) {
        let (one, other) = (Began::from_datetime(one), Began::from_datetime(other));
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        if let Some(next) = one.next() {
            prop_assert!(next > one && next.to_string() > one.to_string());
            prop_assert!(other <= one || other >= next);
        }
    }

    #[test]
    fn the_stamp_of_a_line_is_the_stamp_of_its_segment(micros in 0_i64..4_000_000_000_000_000) {
        let at = Timestamp::from_microsecond(micros).unwrap();
        let stamp = Stamp::new(at, &TimeZone::UTC);
        let read = Began::from_stamp(stamp.as_bytes());
        prop_assert_eq!(read, Some(Began::from_datetime(TimeZone::UTC.to_datetime(at))));
        prop_assert_eq!(read.unwrap().to_timestamp(&TimeZone::UTC), Some(at));
    }

    #[test]
    fn no_line_is_too_odd_to_be_read(line in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(began) = Began::from_stamp(&line) {
            prop_assert_eq!(Began::from_name(&began.to_string()), Some(began));
        }
    }
}
