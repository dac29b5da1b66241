//! Segments go to a bucket, each once, while the daemon is killed again and again and the
//! server is killed, frozen and started anew; `loghogd archive` finds them there.
//!
//! `LOGHOG_CRASH_ROUNDS` sets how often the daemon is killed, `LOGHOG_SEED` repeats what
//! is drawn.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use loghog_tests::binaries::binary;
use loghog_tests::load::Load;
use loghog_tests::random::Random;
use loghog_tests::services::s3::{ACCESS_KEY, Kind, S3, SECRET_KEY};
use loghog_tests::{Scenario, Site, rounds, wait_until};
use serde_json::Value;

const FACILITIES: &str = "[plain]\nrotate = size\nmax_size = 1500000\nbackup_count = 100000\n\
                          ship = archive\n";

/// Much may be waiting at the end: who seals runs only when nobody else wants to.
const LONG: Duration = Duration::from_secs(180);
/// And more so behind many rounds.
const LONGER_A_ROUND: Duration = Duration::from_secs(5);

fn scenario(s3: &S3) -> Scenario {
    Scenario::new().fast_disk().facilities(FACILITIES).option("compressor", "level", "0").target(
        "archive",
        &[
            ("type", "s3"),
            ("bucket", "logs"),
            ("endpoint", &s3.url()),
            ("access_key_id", ACCESS_KEY),
            ("secret_access_key", SECRET_KEY),
            ("timeout", "5s"),
        ],
    )
}

#[test]
fn kills_of_the_daemon_and_of_the_server_leave_each_segment_once_in_bucket_and_index() {
    let rounds = rounds(4);
    let mut random = Random::from_environment();
    let mut s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    let mut site = scenario(&s3).site();
    for round in 0..rounds {
        let daemon = site.start();
        let load = Load::start(daemon.tcp(), "plain", "");
        match round % 4 {
            1 => s3.freeze(),
            2 => s3.kill(),
            _ => {}
        }
        daemon.wait_for_count("lines", 2_000 + random.below(20_000));
        std::thread::sleep(Duration::from_micros(random.below(300_000)));
        site = daemon.kill();
        load.wait();
        match round % 4 {
            1 => s3.thaw(),
            2 => s3.restart(),
            3 => {
                s3.kill();
                s3.restart();
            }
            _ => {}
        }
    }
    let daemon = site.start();
    let folder = daemon.log_dir().join("plain");
    let long = LONG + LONGER_A_ROUND * u32::try_from(rounds).expect("a number of rounds");
    wait_until(long, "all segments are sealed and in the index", || {
        std::thread::sleep(Duration::from_millis(300));
        let segments = segments(&folder)?;
        (!segments.is_empty() && indexed(&s3).len() == segments.len()).then_some(())
    });
    let site = daemon.stop().site;
    let segments = segments(&folder).expect("all are sealed");
    println!("{} segments, {rounds} kills", segments.len());
    let objects = s3.objects("logs");
    let bodies: BTreeMap<&[u8], &str> = objects
        .iter()
        .filter(|(key, _)| key.starts_with("plain/root/"))
        .map(|(key, object)| (&*object.bytes, &**key))
        .collect();
    let count = objects.keys().filter(|key| !key.starts_with("index/")).count();
    assert_eq!(count, segments.len(), "an object for each segment");
    let indexed = indexed(&s3);
    for (name, bytes) in &segments {
        let key = bodies.get(&**bytes).unwrap_or_else(|| panic!("{name} is not in the bucket"));
        assert_eq!(indexed.get(name).map(String::as_str), Some(*key), "{name}");
    }

    // It is found there by the index alone, and comes back as it was.
    let archive = |arguments: &[&str]| archive(&site, arguments);
    let listed: Value = serde_json::from_str(&archive(&["list", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(segments.len()));
    let back = tempfile::tempdir().expect("a folder");
    let to = back.path().display().to_string();
    archive(&["fetch", "--app", "plain", "--module", "root", "--to-folder", &to]);
    for (name, bytes) in &segments {
        assert_eq!(
            &std::fs::read(back.path().join("plain").join(name)).expect("it is there"),
            bytes
        );
    }
}

#[test]
fn what_is_in_segments_is_counted_when_they_are_sealed_and_forgotten_when_they_have_arrived() {
    let mut s3 = S3::start(Kind::S3sFs);
    s3.make_bucket("logs");
    s3.kill();
    let daemon = scenario(&s3).start();
    let load = Load::start(daemon.tcp(), "plain", "");
    daemon.wait_for_count("lines", 20_000);
    let folder = daemon.log_dir().join("plain");
    let site = daemon.kill();
    load.wait();
    let daemon = site.start();
    let sealed = wait_until(LONG, "all segments are sealed", || {
        std::thread::sleep(Duration::from_millis(100));
        segments(&folder).filter(|segments| segments.len() > 2)
    });
    let tallies = || names(&daemon.log_dir().join(".loghogd/tally/plain"));
    let plain = |name: &String| name.strip_suffix(".xz").expect("xz").to_owned();
    assert_eq!(tallies(), sealed.keys().map(plain).collect::<Vec<_>>());
    // One is lost, and another is torn: these segments are read once more.
    let path = |place: usize| daemon.log_dir().join(".loghogd/tally/plain").join(&tallies()[place]);
    let torn = path(1);
    std::fs::write(&torn, &std::fs::read(&torn).expect("it is there")[..99]).expect("writable");
    std::fs::remove_file(path(0)).expect("it is there");
    s3.restart();
    wait_until(LONG, "all segments are in the index", || {
        std::thread::sleep(Duration::from_millis(100));
        (indexed(&s3).len() == sealed.len()).then_some(())
    });
    wait_until(LONG, "nothing is kept any more", || tallies().is_empty().then_some(()));
    for (key, object) in s3.objects("logs").iter().filter(|(key, _)| key.starts_with("index/")) {
        let day: Value = serde_json::from_slice(&object.bytes).expect("JSON");
        for entry in day["segments"].as_array().expect("segments") {
            let file = folder.join(entry["file"].as_str().expect("a name"));
            let text = Command::new("xzcat").arg(file).output().expect("xzcat").stdout;
            let lines = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            assert_eq!(
                (entry["lines"].as_u64(), entry["bytes"].as_u64()),
                (Some(lines), Some(text.len() as u64)),
                "{key}"
            );
        }
    }
}

/// The names in a folder, in order; none when it is not there.
fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |file: std::io::Result<std::fs::DirEntry>| {
        file.expect("a readable folder").file_name().into_string().expect("a name in UTF-8")
    };
    let mut names: Vec<String> = files.map(name).collect();
    names.sort();
    names
}

/// Of a folder all sealed segments; none while one is not sealed.
fn segments(folder: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for file in std::fs::read_dir(folder).ok()? {
        let file = file.ok()?;
        let name = file.file_name().into_string().expect("a name in UTF-8");
        if name.ends_with(".xz") {
            all.insert(name, std::fs::read(file.path()).ok()?);
        } else if name != "root.log" {
            return None;
        }
    }
    Some(all)
}

/// The files of the index and the keys of their objects. Each is there once a day.
fn indexed(s3: &S3) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, object) in s3.objects("logs") {
        if !key.starts_with("index/") {
            continue;
        }
        let day: Value = serde_json::from_slice(&object.bytes).expect("JSON");
        let mut names = Vec::new();
        for entry in day["segments"].as_array().expect("segments") {
            let text = |name: &str| entry[name].as_str().expect("a text").to_owned();
            names.push(text("file"));
            all.insert(text("file"), text("key"));
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{key} names a segment twice");
    }
    all
}

#[track_caller]
fn archive(site: &Site, arguments: &[&str]) -> String {
    let output = Command::new(binary("loghogd"))
        .arg("-c")
        .arg(site.config_file())
        .arg("archive")
        .args(arguments)
        .output()
        .expect("loghogd has been built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
