//! Shows what a target of the type s3 does at real servers: moto and s3s-fs.
//!
//! Segments of a log folder go there one by one, by the target alone, without a daemon;
//! boto3 looks at what has come of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use loghog_tests::certs::Authority;
use loghog_tests::fake_http::{Answer, FakeHttp};
use loghog_tests::services::s3::{Kind, Object, S3};
use loghogd::config::facility::Facility;
use loghogd::config::ship::Kind as TargetKind;
use loghogd::config::{Overrides, read_config, read_facilities};
use loghogd::disk::LogDir;
use loghogd::pipeline::rotate::name::{Name, Segment};
use loghogd::pipeline::ship::s3::archive::{Archive, Fetched, Wanted, places};
use loghogd::pipeline::ship::s3::{Day, S3Target};
use loghogd::pipeline::ship::{Arrived, Scope, Segments, Stream, Surroundings, Trouble, Whole};
use loghogd::pipeline::tally::Counting;
use loghogd::pipeline::tally::kept::{Kept, Tallies};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BOTH: [Kind; 2] = [Kind::Moto, Kind::S3sFs];

/// A log folder, and what a target needs beside.
struct Site {
    folder: TempDir,
    disk: LogDir,
    /// What is kept of segments, in a folder of its own.
    kept: TempDir,
    tallies: Tallies,
    runtime: Runtime,
    facility: Arc<Facility>,
    instance: String,
}

impl Site {
    fn new() -> Site {
        Site::of("0123456789abcdef", "")
    }

    fn of(instance: &str, options: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("my-app")).unwrap();
        let section = format!("rotate = daily\nbackup_count = 3\n{options}");
        let text = format!("[my-app]\n{section}[my-app:web]\n{section}");
        let table = read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap();
        let (disk, kept) = (LogDir::open(folder.path()).unwrap(), tempfile::tempdir().unwrap());
        let tallies = Tallies::open(Arc::new(LogDir::open(kept.path()).unwrap()), &disk).unwrap();
        Site {
            disk,
            folder,
            kept,
            tallies,
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap(),
            facility: Arc::clone(table.find("my-app", "web").unwrap()),
            instance: instance.to_owned(),
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings::new(self.runtime.handle().clone(), &self.instance, TimeZone::UTC)
    }

    fn target(&self, section: &str) -> S3Target {
        S3Target::new("s", &options(section), self.surroundings()).unwrap()
    }

    fn archive(&self, section: &str) -> Archive {
        Archive::new("s", &options(section), self.surroundings()).unwrap()
    }

    /// Puts a sealed segment there; returns its bytes.
    fn seal(&self, name: &str, text: &[u8]) -> Vec<u8> {
        let program = match name.rsplit_once('.').unwrap().1 {
            "xz" => "xz",
            "gz" => "gzip",
            other => panic!("{other}"),
        };
        let sealed = piped(Command::new(program).args(["-1", "-c"]), text);
        fs::write(self.folder.path().join("my-app").join(name), &sealed).unwrap();
        sealed
    }

    /// Leaves what whoever seals a segment leaves.
    fn keep(&self, name: &str, kept: &Kept) {
        self.tallies.put("my-app", &segment(name), kept).unwrap();
    }

    fn whole(&self, name: &str) -> Whole<'_> {
        let segment = segment(name);
        Whole {
            stream: Arc::new(Stream { app: "my-app".into(), live: segment.live.clone() }),
            facility: Arc::clone(&self.facility),
            segment,
            disk: &self.disk,
            tallies: &self.tallies,
        }
    }
}

fn segment(name: &str) -> Segment {
    let Name::Segment(segment) = Name::read(name) else { panic!("{name}") };
    segment
}

fn options(section: &str) -> loghogd::config::ship::s3::S3 {
    let text = format!("[server]\nlisten_ipv4 = 127.0.0.1:0\n[ship:s]\n{section}");
    let path = Path::new("/etc/loghogd/loghogd.conf");
    let (config, _) = read_config(text.as_bytes(), path, &Overrides::default()).unwrap();
    match config.ship.into_iter().next().unwrap().kind {
        TargetKind::S3(options) => options,
        other => panic!("{other:?}"),
    }
}

fn piped(command: &mut Command, text: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&text));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

const NAME: &str = "web.log.2026-11-20-12-00-00-000001.xz";

/// Lines of some hosts, a second apart, from 12:00 on.
fn lines(count: u64) -> Vec<u8> {
    let line = |number: u64| {
        let (minute, second) = (number / 60 % 60, number % 60);
        format!(
            "2026-11-20 12:{minute:02}:{second:02}.000001 - web{} - line {number}\n",
            number % 3
        )
    };
    (0..count).flat_map(|number| line(number).into_bytes()).collect()
}

/// Lines that no program makes much shorter.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = Vec::with_capacity(bytes + 200);
    while text.len() < bytes {
        text.extend_from_slice(b"2026-11-20 12:00:00.000001 - web0 - ");
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.extend_from_slice(format!("{state:016x}").as_bytes());
        }
        text.push(b'\n');
    }
    text
}

fn sha256(bytes: &[u8]) -> String {
    let shown = piped(&mut Command::new("sha256sum"), bytes);
    String::from_utf8(shown).unwrap()[..64].to_owned()
}

/// The days of the index.
fn index(objects: &BTreeMap<String, Object>) -> Vec<Day> {
    let days = objects.iter().filter(|(key, _)| key.starts_with("index/"));
    days.map(|(_, day)| serde_json::from_slice(&day.bytes).unwrap()).collect()
}

#[track_caller]
fn later(delivered: Result<Arrived, Trouble>) -> String {
    match delivered {
        Err(Trouble::Later { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn stopped(delivered: Result<Arrived, Trouble>) -> String {
    match delivered {
        Err(stop @ Trouble::Stop { .. }) => stop.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_becomes_an_object_and_an_entry_and_a_repeat_changes_nothing() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        s3.make_bucket("logs");
        let site = Site::new();
        let sealed = site.seal(NAME, &lines(100));
        let mut target = site.target(&s3.section("logs"));
        target.connect().unwrap();
        let arrived = target.deliver(&site.whole(NAME)).unwrap();
        assert_eq!(arrived.records, Some(100), "{kind:?}");
        assert!(arrived.bytes > sealed.len() as u64);

        let checksum = sha256(&sealed);
        let key = format!(
            "my-app/web/2026/11/20/all-2026-11-20-12-00-00-000001-{}.log.xz",
            &checksum[..8]
        );
        let objects = s3.objects("logs");
        let expected = ["index/my-app/web/2026-11-20.json", &key];
        assert_eq!(objects.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{kind:?}");
        assert_eq!(objects[&key].bytes, sealed);
        assert_eq!(objects[&key].metadata["sha256"], checksum);
        let [day] = &index(&objects)[..] else { panic!("{objects:?}") };
        let [entry] = &day.segments[..] else { panic!("{day:?}") };
        assert_eq!((&*day.app, &*day.module, &*day.day), ("my-app", "web", "2026-11-20"));
        assert_eq!((entry.lines, entry.bytes), (100, lines(100).len() as u64));
        assert_eq!(entry.hosts, ["web0", "web1", "web2"]);
        assert_eq!(entry.begin, "2026-11-20T12:00:00.000001Z");
        assert_eq!(entry.end, "2026-11-20T12:01:39.000001Z");
        assert_eq!((&entry.sha256, &entry.key), (&checksum, &key));
        assert_eq!((&*entry.file, entry.object_bytes), (NAME, sealed.len() as u64));

        // By the same target, and by one that remembers nothing.
        assert_eq!(target.deliver(&site.whole(NAME)).unwrap().bytes, 0);
        let mut other = site.target(&s3.section("logs"));
        other.connect().unwrap();
        assert_eq!(other.deliver(&site.whole(NAME)).unwrap().bytes, 0, "{kind:?}");
        assert_eq!(s3.objects("logs"), objects, "{kind:?}");
    }
}

#[test]
fn another_object_of_the_same_key_is_left_alone_and_stops_the_stream() {
    for (kind, conditions) in
        [(Kind::Moto, ""), (Kind::S3sFs, ""), (Kind::Moto, "conditional_writes = no\n")]
    {
        let s3 = S3::start(kind);
        s3.make_bucket("logs");
        let site = Site::new();
        let sealed = site.seal(NAME, &lines(100));
        let key = format!("k/{}", sha256(&sealed));
        s3.put("logs", &key, "somebody else's");
        let section = format!("{}key = k/{{sha256}}\n{conditions}", s3.section("logs"));
        let said = stopped(site.target(&section).deliver(&site.whole(NAME)));
        assert!(
            said.starts_with(&format!(
                "another object has the key {key}: 15 bytes, checksum none, where ours is {}; see \
                 which of the two is right",
                sha256(&sealed)
            )),
            "{kind:?}: {said}"
        );
        assert_eq!(s3.objects("logs")[&key].bytes, b"somebody else's", "{kind:?}");
    }
}

#[test]
fn a_large_segment_goes_in_parts_and_is_not_replaced_either() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        s3.make_bucket("logs");
        let site = Site::new();
        let sealed = site.seal(NAME, &noise(40 << 20));
        assert!(sealed.len() > 17 << 20, "{}", sealed.len());
        let section = format!("{}key = k/{{sha256}}\n", s3.section("logs"));
        let mut target = site.target(&section);
        target.connect().unwrap();
        let arrived = target.deliver(&site.whole(NAME)).unwrap();
        assert!(arrived.bytes >= sealed.len() as u64, "{kind:?}");
        let key = format!("k/{}", sha256(&sealed));
        assert_eq!(s3.objects("logs")[&key].bytes, sealed, "{kind:?}");
        assert_eq!(s3.objects("logs")[&key].metadata["sha256"], sha256(&sealed), "{kind:?}");
        assert_eq!(target.deliver(&site.whole(NAME)).unwrap().bytes, 0, "{kind:?}");
        if kind == Kind::Moto {
            assert_eq!(s3.unfinished("logs"), 0);
        }
        s3.put("logs", &key, "other");
        let said = stopped(target.deliver(&site.whole(NAME)));
        assert!(said.contains("another object has the key"), "{kind:?}: {said}");
    }
}

/// What is kept of a segment with this text.
fn kept(text: &[u8], sealed: &[u8]) -> Kept {
    let mut counting = Counting::new(TimeZone::UTC);
    counting.add(text);
    let sealed_bytes = sealed.len() as u64;
    Kept { sealed_bytes, sealed_sha256: sha256(sealed), tally: counting.finish() }
}

/// Segments that go in one request, and in parts.
fn small_and_large() -> [(&'static str, Vec<u8>); 2] {
    [(NAME, lines(100)), ("web.log.2026-11-20-12-00-00-000002.gz", noise(40 << 20))]
}

#[test]
fn what_was_counted_when_it_was_sealed_gives_the_same_object_and_index_as_reading_all() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        for bucket in ["read", "kept", "shown"] {
            s3.make_bucket(bucket);
        }
        for (name, text) in small_and_large() {
            let site = Site::new();
            let sealed = site.seal(name, &text);
            let deliver = |bucket: &str| {
                let mut target = site.target(&s3.section(bucket));
                let arrived = target.deliver(&site.whole(name)).unwrap();
                // It is there, and stays as it is.
                assert_eq!(target.deliver(&site.whole(name)).unwrap().bytes, 0, "{kind:?} {name}");
                arrived
            };
            let read = deliver("read");
            let mut kept = kept(&text, &sealed);
            site.keep(name, &kept);
            assert_eq!(deliver("kept"), read, "{kind:?} {name}");
            // Nothing else would say so.
            kept.tally.lines = 7;
            site.keep(name, &kept);
            assert_eq!(deliver("shown").records, Some(7), "{kind:?} {name}");
        }
        let there = |bucket: &str| {
            let objects = s3.objects(bucket).into_iter();
            objects
                .map(|(key, object)| (key, (object.bytes, object.metadata)))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(there("read") == there("kept"), "{kind:?}");
        assert_eq!(there("kept").len(), 3, "{kind:?}");
        if kind == Kind::Moto {
            assert_eq!(s3.unfinished("kept"), 0);
        }
    }
}

#[test]
fn what_is_kept_of_another_file_puts_no_false_checksum_into_key_or_index() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        for (name, text) in small_and_large() {
            let site = Site::new();
            let sealed = site.seal(name, &text);
            let right = kept(&text, &sealed);
            let other = Kept { sealed_sha256: sha256(b"another"), ..kept(b"x\n", &sealed) };
            let longer = Kept { sealed_bytes: right.sealed_bytes + 1, ..kept(b"x\n", &sealed) };
            for (bucket, wrong) in [("other", other), ("longer", longer)] {
                if name == NAME {
                    s3.make_bucket(bucket);
                }
                site.keep(name, &wrong);
                let mut target = site.target(&s3.section(bucket));
                let arrived = target.deliver(&site.whole(name)).unwrap();
                assert_eq!(arrived.records, Some(right.tally.lines), "{kind:?} {bucket} {name}");
                let days = index(&s3.objects(bucket));
                let entries = days.iter().flat_map(|day| &day.segments);
                let entry = entries.clone().find(|entry| entry.file == name).unwrap();
                assert_eq!(entry.sha256, right.sealed_sha256, "{kind:?} {bucket}");
                assert_eq!(s3.objects(bucket)[&entry.key].bytes, sealed, "{kind:?} {bucket}");
                // Nobody is misled by it once more.
                let left = fs::read_dir(site.kept.path().join("my-app")).unwrap().count();
                assert_eq!(left, 0, "{kind:?} {bucket}");
                if kind == Kind::Moto {
                    assert_eq!(s3.unfinished(bucket), 0);
                }
            }
        }
        let objects = s3.objects("other");
        assert_eq!(objects.len(), 3, "{kind:?}: {:?}", objects.keys());
    }
}

#[test]
fn several_daemons_write_the_index_of_one_day_and_no_entry_is_lost() {
    // s3s-fs does not keep what If-Match promises: it is no server for several daemons.
    let s3 = S3::start(Kind::Moto);
    s3.make_bucket("logs");
    let section = s3.section("logs");
    thread::scope(|scope| {
        for daemon in 0..3 {
            let section = &section;
            scope.spawn(move || {
                let site = Site::of(&format!("daemon{daemon}"), "");
                let mut target = site.target(section);
                for number in 0..8 {
                    let name = format!("web.log.2026-11-20-12-00-{number:02}-000001.xz");
                    site.seal(&name, format!("{daemon} {number}\n").as_bytes());
                    let mut tries = 0;
                    while let Err(trouble) = target.deliver(&site.whole(&name)) {
                        tries += 1;
                        assert!(tries < 20, "{trouble}");
                    }
                }
            });
        }
    });
    let objects = s3.objects("logs");
    let [day] = &index(&objects)[..] else { panic!("{objects:?}") };
    assert_eq!(day.segments.len(), 24);
    assert_eq!(objects.len(), 25);
}

#[test]
fn an_index_that_cannot_be_read_stops_its_stream_alone() {
    let s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(3));
    let key = "index/my-app/web/2026-11-20.json";
    s3.put("logs", key, "somebody else's");
    let mut target = site.target(&s3.section("logs"));
    match target.deliver(&site.whole(NAME)) {
        Err(Trouble::Stop { scope: Scope::Stream(stream), what, remedy }) => {
            assert_eq!(&*stream.live, "web.log");
            let begin = format!("the index {key} cannot be read: it is none that loghogd");
            assert!(what.starts_with(&begin), "{what}");
            assert_eq!(remedy, "move it away");
        }
        other => panic!("{other:?}"),
    }
    s3.delete("logs", key);
    target.deliver(&site.whole(NAME)).unwrap();
    assert_eq!(index(&s3.objects("logs")).len(), 1);
}

#[test]
fn a_segment_stands_in_each_day_that_it_covers() {
    let s3 = S3::start(Kind::Moto);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, b"2026-11-20 12:00:00.000001 - h - a\n2026-11-22 00:00:00.000001 - h - b\n");
    let section = s3.section("logs");
    site.target(&section).deliver(&site.whole(NAME)).unwrap();
    let days: Vec<String> = index(&s3.objects("logs")).into_iter().map(|day| day.day).collect();
    assert_eq!(days, ["2026-11-20", "2026-11-21", "2026-11-22"]);
    // It is found by any of them, and once.
    let archive = site.archive(&section);
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    for (from, to, count) in [
        (None, None, 1),
        (at("2026-11-21T05:00:00Z"), at("2026-11-21T06:00:00Z"), 1),
        (at("2026-11-22T00:00:01Z"), None, 0),
        (None, at("2026-11-20T11:59:59Z"), 0),
    ] {
        let found = archive.list(&Wanted { from, to, ..Wanted::default() }).unwrap();
        assert_eq!(found.len(), count, "{from:?} {to:?}");
    }
}

#[test]
fn what_was_shipped_is_found_and_brought_back_as_it_was() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        s3.make_bucket("logs");
        let site = Site::of("0123456789abcdef", "file_per_host = yes\n");
        let section = s3.section("logs");
        let mut target = site.target(&section);
        for host in ["a%2Fb", "web01"] {
            let name = format!("{host}-{NAME}");
            site.seal(&name, format!("2026-11-20 12:00:00.000001 - {host} - x\n").as_bytes());
            target.deliver(&site.whole(&name)).unwrap();
        }
        let archive = site.archive(&section);
        let wanted = Wanted {
            app: Some("my-app".to_owned()),
            module: Some("web".to_owned()),
            ..Wanted::default()
        };
        let found = archive.list(&wanted).unwrap();
        let keys: Vec<&str> = found.iter().map(|found| &*found.entry.key).collect();
        assert!(keys[0].starts_with("my-app/web/2026/11/20/a%2Fb-2026-"), "{kind:?} {keys:?}");
        let wanted = Wanted { host: Some("web01".to_owned()), ..Wanted::default() };
        assert_eq!(archive.list(&wanted).unwrap().len(), 1);
        let none = Wanted { app: Some("my".to_owned()), ..Wanted::default() };
        assert_eq!(archive.list(&none).unwrap(), []);

        let folder = tempfile::tempdir().unwrap();
        for (found, path) in found.iter().zip(places(&found, folder.path()).unwrap()) {
            assert_eq!(archive.fetch(found, &path).unwrap(), Fetched::New, "{kind:?}");
            assert_eq!(archive.fetch(found, &path).unwrap(), Fetched::There);
            let text = Command::new("xzcat").arg(&path).output().unwrap();
            assert!(text.status.success());
            assert!(text.stdout.starts_with(b"2026-11-20 12:00:00.000001 - "));
            fs::write(&path, "mine").unwrap();
            let said = archive.fetch(found, &path).unwrap_err().to_string();
            assert!(said.contains("is there already, and is something else"), "{said}");
            assert_eq!(fs::read(&path).unwrap(), b"mine");
        }
    }
}

#[test]
fn an_object_that_was_altered_or_deleted_is_told_when_it_is_fetched() {
    let s3 = S3::start(Kind::Moto);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let section = s3.section("logs");
    site.target(&section).deliver(&site.whole(NAME)).unwrap();
    let archive = site.archive(&section);
    let [found] = &archive.list(&Wanted::default()).unwrap()[..] else { panic!() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    s3.put("logs", &found.entry.key, "altered");
    let said = archive.fetch(found, &path).unwrap_err().to_string();
    assert!(said.contains("is not what was shipped: its checksum is "), "{said}");
    s3.delete("logs", &found.entry.key);
    let said = archive.fetch(found, &path).unwrap_err().to_string();
    assert!(said.contains("is not there, though the index names it"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn records_are_written_anew_as_json_or_csv_and_the_same_each_time() {
    for (body, first, lines_more) in [
        ("json.xz", r#"{"time":"2026-11-20T12:00:00.000001Z","host":"web0","app":"my-app","#, 0),
        (
            "csv.xz",
            "time,sent,host,app,module,logger,level,thread,process,body,exception,fields",
            1,
        ),
    ] {
        let s3 = S3::start(Kind::Moto);
        s3.make_bucket("logs");
        let site = Site::new();
        let name = "web.log.2026-11-20-12-00-00-000001.gz";
        site.seal(name, &lines(1_000));
        let section = format!("{}body = {body}\n", s3.section("logs"));
        assert_eq!(site.target(&section).deliver(&site.whole(name)).unwrap().records, Some(1_000));
        assert_eq!(site.target(&section).deliver(&site.whole(name)).unwrap().bytes, 0);
        let objects = s3.objects("logs");
        let key = objects.keys().find(|key| key.ends_with(&format!(".log.{body}"))).unwrap();
        let text = piped(&mut Command::new("xzcat"), &objects[key].bytes);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 1_000 + lines_more);
        assert!(text.starts_with(first), "{text:.200}");
        if body == "json.xz" {
            for line in text.lines() {
                serde_json::from_str::<Value>(line).unwrap();
            }
        }
        let entry = &index(&objects)[0].segments[0];
        assert_eq!(entry.file, format!("web.log.2026-11-20-12-00-00-000001.{body}"));
        assert_eq!(entry.lines, 1_000);
    }
}

#[test]
fn class_and_encryption_are_asked_for_and_cold_storage_is_told_with_its_remedy() {
    let s3 = S3::start(Kind::Moto);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let section = format!("{}storage_class = GLACIER\nsse = AES256\n", s3.section("logs"));
    site.target(&section).deliver(&site.whole(NAME)).unwrap();
    assert_eq!(site.target(&section).deliver(&site.whole(NAME)).unwrap().bytes, 0);
    let objects = s3.objects("logs");
    for (key, object) in &objects {
        let class = if key.starts_with("index/") { "STANDARD" } else { "GLACIER" };
        assert_eq!((&*object.storage_class, &*object.encryption), (class, "AES256"), "{key}");
    }
    let archive = site.archive(&section);
    let [found] = &archive.list(&Wanted::default()).unwrap()[..] else { panic!() };
    let folder = tempfile::tempdir().unwrap();
    let said = archive.fetch(found, &folder.path().join("x")).unwrap_err().to_string();
    assert!(
        said.contains("rests in cold storage; ask for it by `aws s3api restore-object"),
        "{said}"
    );
}

#[test]
fn a_wrong_secret_and_a_missing_bucket_stop_the_target_and_say_what_to_do() {
    let s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    let wrong = s3.section("logs").replace("loghog-test-secret", "wrong-secret");
    let said = site.target(&wrong).connect().unwrap_err().to_string();
    let start = format!("{} does not take the credentials from the section (", s3.url());
    assert!(said.starts_with(&start), "{said}");
    assert!(said.contains("put the credentials of [ship:s] right"), "{said}");
    assert!(!said.contains("wrong-secret"), "{said}");
    for kind in BOTH {
        let s3 = S3::start(kind);
        let said = site.target(&s3.section("nowhere")).connect().unwrap_err().to_string();
        let expected = format!(
            "there is no bucket nowhere at {}; make it, or put bucket of [ship:s] right, then \
             reload loghogd (SIGHUP)",
            s3.url()
        );
        assert_eq!(said, expected, "{kind:?}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_told_with_its_remedy() {
    let (authority, other) = (Authority::new(), Authority::new());
    let s3 = S3::start_tls(&authority.folder().join("loghog-server.pem"));
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let section = |authority: &Authority| {
        format!("{}cacert = {}\n", s3.section("logs"), authority.certificate().display())
    };
    let said = later(site.target(&section(&other)).deliver(&site.whole(NAME)));
    assert!(said.contains("shows a certificate that"), "{said}");
    assert!(
        said.contains("put the certificate of its authority into cacert of [ship:s]"),
        "{said}"
    );
    site.target(&section(&authority)).deliver(&site.whole(NAME)).unwrap();
}

#[test]
fn whatever_a_server_answers_is_told_and_nothing_is_lost() {
    fn code(status: u16, code: &str) -> Answer {
        let body = format!("<Error><Code>{code}</Code><Message>as it is</Message></Error>");
        Answer::Status(status, "", body)
    }
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let said = |answer: Answer| {
        let fake = FakeHttp::start(move |_, _| answer.clone());
        let section = format!(
            "type = s3\nbucket = logs\nendpoint = {}\naccess_key_id = A\n\
             secret_access_key = hush\ntimeout = 2s\n",
            fake.url()
        );
        let delivered = site.target(&section).deliver(&site.whole(NAME));
        assert!(fake.requests() > 0);
        match delivered.unwrap_err() {
            Trouble::Later { what, pause } => (what.replace(&fake.url(), "URL"), Some(pause)),
            other => (other.to_string().replace(&fake.url(), "URL"), None),
        }
    };
    let again = Some(None);
    let reading = "listing the bucket logs";
    let pause = Some(Some(Duration::from_secs(7)));
    for (answer, expected, pause) in [
        (
            Answer::Status(429, "retry-after: 7\r\n", String::new()),
            "URL is too busy (status 429)",
            pause,
        ),
        (code(503, "SlowDown"), "URL is too busy (SlowDown: as it is)", again),
        (
            code(500, "InternalError"),
            &format!("URL has failed at {reading} (InternalError: as it is)"),
            again,
        ),
        (
            code(403, "QuotaExceeded"),
            "URL has no room left (QuotaExceeded: as it is); make room there",
            again,
        ),
        (
            code(507, "XMinioStorageFull"),
            "URL has no room left (XMinioStorageFull: as it is); make room there",
            again,
        ),
        (
            code(403, "AccessDenied"),
            &format!(
                "URL does not allow {reading} (AccessDenied: as it is); allow these credentials s3:GetObject, s3:PutObject, s3:ListBucket and s3:AbortMultipartUpload for the bucket logs, then reload loghogd (SIGHUP)"
            ),
            None,
        ),
        (Answer::Silence, "URL has not answered within 2 s", again),
        (
            Answer::Gone,
            "the connection to URL broke: connection closed before message completed",
            again,
        ),
        (Answer::Half, "the connection to URL broke: ", again),
    ] {
        let (what, asked) = said(answer.clone());
        assert!(what.starts_with(expected), "{answer:?}: {what}");
        assert_eq!(asked, pause, "{answer:?}: {what}");
        assert!(!what.contains("hush"));
    }
}

#[test]
fn no_server_is_told_and_one_that_came_back_is_used() {
    let mut s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let mut target = site.target(&s3.section("logs"));
    target.connect().unwrap();
    s3.kill();
    let said = later(target.deliver(&site.whole(NAME)));
    let start = format!("cannot reach {}: ", s3.url());
    assert!(said.starts_with(&start) && said.contains("see whether it runs"), "{said}");
    s3.restart();
    target.deliver(&site.whole(NAME)).unwrap();
    assert_eq!(s3.objects("logs").len(), 2);
}

#[test]
fn a_server_that_stands_still_holds_nobody_who_has_to_end() {
    let s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    site.seal(NAME, &lines(10));
    let surroundings = site.surroundings();
    let mut target =
        S3Target::new("s", &options(&s3.section("logs")), surroundings.clone()).unwrap();
    target.connect().unwrap();
    s3.freeze();
    thread::scope(|scope| {
        let delivering = scope.spawn(|| target.deliver(&site.whole(NAME)));
        surroundings.end();
        let asked = Instant::now();
        assert_eq!(delivering.join().unwrap(), Err(Trouble::Ended));
        assert!(asked.elapsed() < Duration::from_secs(2));
    });
    s3.thaw();
    site.target(&s3.section("logs")).deliver(&site.whole(NAME)).unwrap();
}

#[test]
fn a_file_of_credentials_is_read_when_it_connects() {
    let s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    let file = site.folder.path().join("credentials");
    let section = format!(
        "type = s3\nbucket = logs\nendpoint = {}\ncredentials_file = {}\nprofile = logs\n",
        s3.url(),
        file.display()
    );
    let mut target = site.target(&section);
    let said = target.connect().unwrap_err().to_string();
    assert!(said.contains("credentials cannot be read: No such file"), "{said}");
    fs::write(&file, "[default]\n").unwrap();
    let said = target.connect().unwrap_err().to_string();
    assert!(said.contains("has no section [logs] with aws_access_key_id"), "{said}");
    let text =
        "[logs]\naws_access_key_id = LOGHOGTEST\naws_secret_access_key = loghog-test-secret\n";
    fs::write(&file, text).unwrap();
    target.connect().unwrap();
}

/// What an instance with a role answers at its metadata endpoint.
fn instance_with_a_role(token: &'static str) -> FakeHttp {
    FakeHttp::start(move |method, path| {
        let role = "/latest/meta-data/iam/security-credentials/";
        let body = match (method, path.strip_prefix(role)) {
            ("PUT", _) => "a-token".to_owned(),
            (_, Some("")) => "the-role".to_owned(),
            _ => format!(
                r#"{{"AccessKeyId":"LOGHOGTEST","SecretAccessKey":"loghog-test-secret","Token":"{token}","Code":"Success","Expiration":"2099-01-01T00:00:00Z"}}"#
            ),
        };
        Answer::Status(200, "", body)
    })
}

#[test]
fn segments_arrive_by_the_role_of_the_instance() {
    let s3 = S3::start(Kind::Moto);
    s3.make_bucket("logs");
    let site = Site::new();
    let sealed = site.seal(NAME, &lines(10));
    let instance = instance_with_a_role("a-session");
    let section = format!(
        "type = s3\nbucket = logs\nendpoint = {}\nmetadata_endpoint = {}\n",
        s3.url(),
        instance.url()
    );
    let mut target = site.target(&section);
    target.connect().unwrap();
    target.deliver(&site.whole(NAME)).unwrap();
    assert!(s3.objects("logs").values().any(|object| object.bytes == sealed));
    let asked = instance.asked();
    assert!(asked.iter().any(|asked| asked.contains("a-token")), "{asked:?}");
}

#[test]
fn credentials_that_have_expired_are_read_anew_until_they_are_renewed() {
    let expired = Arc::new(AtomicBool::new(false));
    let has_expired = Arc::clone(&expired);
    let server = FakeHttp::start(move |_, _| match has_expired.load(Ordering::Relaxed) {
        true => Answer::Status(400, "", "<Error><Code>ExpiredToken</Code></Error>".to_owned()),
        false => Answer::Status(
            200,
            "",
            "<ListBucketResult><Name>logs</Name></ListBucketResult>".to_owned(),
        ),
    });
    let site = Site::new();
    site.seal(NAME, &lines(3));
    let file = site.folder.path().join("credentials");
    let text =
        "[default]\naws_access_key_id = A\naws_secret_access_key = s\naws_session_token = t\n";
    fs::write(&file, text).unwrap();
    let section = format!(
        "type = s3\nbucket = logs\nendpoint = {}\ncredentials_file = {}\n",
        server.url(),
        file.display()
    );
    let mut target = site.target(&section);
    target.connect().unwrap();
    expired.store(true, Ordering::Relaxed);
    let said = later(target.deliver(&site.whole(NAME)));
    assert!(said.contains("from credentials_file any more (ExpiredToken"), "{said}");
    // It is being written anew at this moment.
    fs::write(&file, "").unwrap();
    let said = later(target.connect().map(|()| Arrived::default()));
    assert!(said.contains("has no section [default]"), "{said}");
    fs::write(&file, text).unwrap();
    expired.store(false, Ordering::Relaxed);
    target.connect().unwrap();
}

#[test]
fn a_role_of_the_instance_is_asked_for_its_credentials() {
    let s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let site = Site::new();
    let instance = instance_with_a_role("");
    let section = format!(
        "type = s3\nbucket = logs\nendpoint = {}\nmetadata_endpoint = {}\n",
        s3.url(),
        instance.url()
    );
    let connected = site.target(&section).connect();
    assert!(instance.requests() >= 3);
    // s3s-fs refuses any token of a session, also an empty one: that we were believed to
    // have a key is what can be seen.
    if let Err(trouble) = connected {
        let said = trouble.to_string();
        assert!(!said.contains("InvalidAccessKeyId"), "{said}");
    }
}

#[test]
fn a_machine_without_a_role_is_told_how_to_have_credentials() {
    let site = Site::new();
    let instance = FakeHttp::start(|_, _| Answer::Status(404, "", String::new()));
    let section = format!("type = s3\nbucket = logs\nmetadata_endpoint = {}\n", instance.url());
    let said = site.target(&section).connect().unwrap_err().to_string();
    let start = "there are no credentials for https://s3.us-east-1.amazonaws.com: 127.0.0.1:";
    assert!(said.starts_with(start), "{said}");
    assert!(said.contains("; give [ship:s] access_key_id and secret_access_key_file"), "{said}");
}
