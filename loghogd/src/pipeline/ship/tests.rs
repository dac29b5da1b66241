//! Ships files that are written, turned, sealed and deleted meanwhile, to targets that
//! fail before and after they have taken something, by threads that are killed.

mod moved;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::destination::Destination;
use super::pace::Pauses;
use super::run::{Errand, Run, Way};
use super::status::{Doing, Status};
use super::target::{Arrived, Surroundings};
use super::*;
use crate::clock::Stamp;
use crate::config::read_facilities;
use crate::disk::{Disk, LogDir};
use crate::pipeline::claims::Claims;
use crate::pipeline::cold::Bell;
use crate::pipeline::rotate::name::{Name, Segment as Closed};
use crate::pipeline::tally::kept::Tallies;
use crate::stats::{Counter, Stats};

const FACILITIES: &str = "[app]\nrotate = daily\nbackup_count = 2\nship = far\nfile_per_host = yes\n\
                          [other]\nrotate = daily\nbackup_count = 2\n";

/// What is at the target, which outlasts everything.
#[derive(Debug, Default)]
struct Far {
    /// Bodies by stream, in the order of their arrival.
    bodies: BTreeMap<Stream, Vec<String>>,
    /// By stream and unique time, as a database has it that overwrites what is the same.
    points: BTreeMap<(Stream, i64), String>,
    marks: HashMap<Stream, Mark>,
    segments: Vec<String>,
    /// What happens to the next deliveries: nothing, lost before it arrives or when it
    /// is to be committed, or the answer lost behind it.
    mishaps: Vec<Mishap>,
    refuse: Option<&'static str>,
    stop: Option<Scope>,
    /// It stops when it is to commit.
    stops_late: bool,
    deliveries: u64,
    /// Whose messages came, one after another.
    order: Vec<Stream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    Before,
    Uncommitted,
    Behind,
    /// The target asks for a pause.
    Asked,
    Ended,
}

#[derive(Debug)]
struct Wire {
    far: Arc<Mutex<Far>>,
    keeps_marks: bool,
    limits: Limits,
}

impl Wire {
    fn mishap(far: &mut Far) -> Mishap {
        far.deliveries += 1;
        far.mishaps.pop().unwrap_or(Mishap::None)
    }
}

impl Records for Wire {
    fn connect(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn marks(&mut self) -> Result<Option<HashMap<Stream, Mark>>, Trouble> {
        Ok(self.keeps_marks.then(|| self.far.lock().unwrap().marks.clone()))
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn deliver(&mut self, batch: &Batch, bury: Bury<'_>) -> Result<(), Trouble> {
        let mut far = self.far.lock().unwrap();
        let stop = far.stop.clone().map(|scope| {
            let (what, remedy) = ("no such topic".to_owned(), "make it".to_owned());
            Trouble::Stop { scope, what, remedy }
        });
        if let Some(stop) = stop.clone().filter(|_| !far.stops_late) {
            return Err(stop);
        }
        let mishap = Wire::mishap(&mut far);
        if mishap == Mishap::Before {
            return Err(Trouble::later("the wire is cut"));
        }
        if mishap == Mishap::Asked {
            let pause = Some(Duration::from_secs(300));
            return Err(Trouble::Later { what: "too much".to_owned(), pause });
        }
        let (mut refused, mut arrived) = (Vec::new(), Vec::new());
        for (number, part) in batch.parts.iter().enumerate() {
            let stream = (*part.stream).clone();
            assert_eq!(part.end.records - part.begin.records, part.messages.len() as u64);
            assert_eq!(part.end.offset - part.begin.offset, part.bytes.len() as u64);
            for (place, record) in part.records().enumerate() {
                if far.refuse.is_some_and(|body| record.body.starts_with(body)) {
                    let reason = "too bad".to_owned();
                    refused.push(Refused { part: number, message: place, reason });
                    continue;
                }
                let body = record.body.into_owned();
                arrived.push((stream.clone(), record.times.unique_ns, body));
            }
        }
        if !refused.is_empty() {
            bury(&refused)?;
        }
        if mishap == Mishap::Uncommitted {
            return Err(Trouble::later("the commit has failed"));
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        for (stream, unique_ns, body) in arrived {
            far.order.push(stream.clone());
            far.points.insert((stream.clone(), unique_ns), body.clone());
            far.bodies.entry(stream).or_default().push(body);
        }
        for part in &batch.parts {
            far.marks.insert((*part.stream).clone(), part.end);
        }
        match mishap {
            Mishap::Behind => Err(Trouble::later("the answer is lost")),
            Mishap::Ended => Err(Trouble::Ended),
            _ => Ok(()),
        }
    }
}

impl Segments for Wire {
    fn connect(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn deliver(&mut self, whole: &Whole<'_>) -> Result<Arrived, Trouble> {
        let mut far = self.far.lock().unwrap();
        let mishap = Wire::mishap(&mut far);
        if mishap == Mishap::Before {
            return Err(Trouble::later("the wire is cut"));
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut whole.open().unwrap(), &mut bytes).unwrap();
        far.segments.push(whole.segment.to_string());
        match mishap {
            Mishap::Behind => Err(Trouble::later("the answer is lost")),
            Mishap::Ended => Err(Trouble::Ended),
            _ => Ok(Arrived { records: None, bytes: bytes.len() as u64 }),
        }
    }
}

/// How a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It keeps marks, as Kafka does.
    Marks,
    /// It overwrites what is the same, as InfluxDB does.
    Points,
    /// It takes whole segments, as S3 does.
    Whole,
}

/// A log folder, and a target.
struct World {
    folder: TempDir,
    table: Arc<ArcSwap<crate::config::Table>>,
    far: Arc<Mutex<Far>>,
    stats: Arc<Stats>,
    bell: Arc<Bell>,
    runtime: Runtime,
    how: How,
    follows: bool,
    limits: Limits,
    rate_bytes: Option<NonZeroU64>,
    place: Destination,
    claims: Claims,
    /// What was written, by stream.
    written: BTreeMap<Stream, Vec<String>>,
    at: Timestamp,
    run: Option<Run>,
    way: Option<Way>,
}

impl World {
    fn new(how: How, follows: bool) -> World {
        let table = read_facilities(FACILITIES.as_bytes(), Path::new("facilities.conf")).unwrap();
        let mut world = World {
            folder: tempfile::tempdir().unwrap(),
            table: Arc::new(ArcSwap::from_pointee(table)),
            far: Arc::default(),
            stats: Arc::new(Stats::new()),
            bell: Arc::default(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            how,
            follows,
            limits: Limits { records: 3, bytes: 200 },
            rate_bytes: None,
            place: Destination::read("type test\nat here\n").unwrap(),
            claims: Claims::new(),
            written: BTreeMap::new(),
            at: "2026-11-20T12:00:00Z".parse().unwrap(),
            run: None,
            way: None,
        };
        fs::create_dir(world.folder.path().join("app")).unwrap();
        world.start();
        world
    }

    /// Starts anew, with nothing but what is on the disk and at the target.
    fn start(&mut self) {
        self.run = None;
        self.bell = Arc::default();
        let state = self.folder.path().join(".loghogd/ship");
        fs::create_dir_all(&state).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(LogDir::open(self.folder.path()).unwrap());
        let receipts = Receipts::open(Arc::new(LogDir::open(&state).unwrap())).unwrap();
        let wire = Wire {
            far: Arc::clone(&self.far),
            keeps_marks: self.how == How::Marks,
            limits: self.limits,
        };
        self.way = Some(match self.how {
            How::Whole => Way::Segments(Box::new(wire)),
            _ => Way::Records(Box::new(wire)),
        });
        let shared = Shared {
            disk,
            receipts,
            table: Arc::clone(&self.table),
            claims: self.claims.clone(),
            tallies: Tallies::none(),
            bell: Arc::clone(&self.bell),
            stats: Arc::clone(&self.stats),
            zone: TimeZone::UTC,
            runtime: self.runtime.handle().clone(),
        };
        let surroundings = Surroundings::new(shared.runtime.clone(), "0", TimeZone::UTC);
        let errand = Errand {
            name: "far",
            kind: "test",
            follows: self.follows,
            rate_bytes: self.rate_bytes,
            destination: &self.place,
        };
        let mut run = Run::new(&shared, errand, surroundings);
        run.pauses = Pauses::none();
        self.run = Some(run);
        self.bell.notices.changed(&Default::default(), true);
    }

    fn stream(&self, host: &str) -> Stream {
        Stream { app: "app".into(), live: format!("{host}-root.log").into() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("app").join(name)
    }

    /// Writes a message, as the writer does; `later_us` behind the one before.
    fn write(&mut self, host: &str, body: &str, later_us: i64) {
        self.at += jiff::SignedDuration::from_micros(later_us);
        let stream = self.stream(host);
        let stamp = Stamp::new(self.at, &TimeZone::UTC);
        let line = format!("{} - {host} - {}\n", stamp.as_str(), body.replace('\n', "\n\t"));
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(self.path(&stream.live)).unwrap();
        let found = file.metadata().unwrap();
        let id = (found.dev(), found.ino());
        let notices = &self.bell.notices;
        notices.opened("app", &stream.live, Tail { id, safe_bytes: found.len() });
        file.write_all(line.as_bytes()).unwrap();
        let safe_bytes = found.len() + line.len() as u64;
        notices.synced(&["far".into()], "app", &stream.live, Tail { id, safe_bytes });
        self.written.entry(stream).or_default().push(body.to_owned());
    }

    /// Turns a live file, as the writer does.
    fn turn(&mut self, host: &str) {
        let live = self.stream(host).live;
        if !self.path(&live).exists() {
            return;
        }
        self.at += jiff::SignedDuration::from_micros(1);
        let stamp = Stamp::new(self.at, &TimeZone::UTC).as_str().replace([' ', ':', '.'], "-");
        fs::rename(self.path(&live), self.path(&format!("{live}.{stamp}"))).unwrap();
        self.bell.notices.left("app", &live);
        self.bell.notices.changed(&["app".into()].into(), false);
    }

    /// Seals the oldest plain segment of a host, as the sealer does.
    fn seal(&mut self, host: &str) {
        let live = self.stream(host).live;
        let oldest = self.closed(&live).into_iter().find(|segment| segment.format.is_none());
        let Some(segment) = oldest else { return };
        let plain = fs::read(self.path(&segment.to_string())).unwrap();
        let sealed = segment.sealed(crate::config::checked::Format::Gzip);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        fs::write(self.path(&sealed.to_string()), gzip.finish().unwrap()).unwrap();
        fs::remove_file(self.path(&segment.to_string())).unwrap();
        self.bell.notices.changed(&["app".into()].into(), false);
    }

    /// Deletes what has arrived, as the trimmer does.
    fn trim(&mut self, host: &str) {
        let table = self.table.load();
        let live = self.stream(host).live;
        for segment in self.closed(&live) {
            let stem = live.strip_suffix(".log").unwrap();
            let facility = table.owner("app", stem).unwrap();
            let run = self.run.as_ref().unwrap();
            if !run.receipts.owes(facility, &live, segment.began) {
                fs::remove_file(self.path(&segment.to_string())).unwrap();
            }
        }
    }

    fn closed(&self, live: &str) -> Vec<Closed> {
        let names = fs::read_dir(self.path("")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut closed: Vec<Closed> = names
            .filter_map(|name| match Name::read(&name) {
                Name::Segment(segment) if &*segment.live == live => Some(segment),
                _ => None,
            })
            .collect();
        closed.sort();
        closed
    }

    fn step(&mut self) {
        if !self.run.as_mut().unwrap().step(self.way.as_mut().unwrap()) {
            self.start();
        }
    }

    /// The lines of all dead letters.
    fn letters(&self) -> Vec<String> {
        let path = self.folder.path().join(".loghogd/ship/far/dead-letter.log");
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = |letter| {
            let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
            letter["line"].as_str().unwrap().to_owned()
        };
        text.lines().map(line).collect()
    }

    /// Everything is there that should be, once, and in order; what was refused is among
    /// the dead letters.
    fn check(&self, hosts: &[&str]) {
        let far = self.far.lock().unwrap();
        let letters = self.letters();
        for host in hosts {
            let stream = self.stream(host);
            let empty = Vec::new();
            let written = self.written.get(&stream).unwrap_or(&empty);
            let is_refused = |body: &&String| far.refuse.is_some_and(|bad| body.starts_with(bad));
            let (refused, written): (Vec<&String>, Vec<&String>) =
                written.iter().partition(is_refused);
            match self.how {
                How::Marks => {
                    let bodies = far.bodies.get(&stream).unwrap_or(&empty);
                    assert_eq!(bodies.iter().collect::<Vec<_>>(), written, "{host}");
                }
                How::Points => {
                    let points = far.points.iter().filter(|((of, _), _)| *of == stream);
                    let bodies: Vec<&String> = points.map(|(_, body)| body).collect();
                    assert_eq!(bodies, written, "{host}");
                }
                How::Whole => continue,
            }
            for body in refused {
                let end = format!(" - {host} - {body}");
                assert!(letters.iter().any(|line| line.ends_with(&end)), "{body} of {host}");
            }
        }
    }
}

#[test]
fn a_live_file_is_followed_through_its_turns() {
    let mut world = World::new(How::Marks, true);
    for number in 0..10 {
        world.write("h", &format!("{number}\nmore"), 1);
        if number % 3 == 2 {
            world.turn("h");
        }
        world.step();
    }
    world.check(&["h"]);
    let status = world.run.as_ref().unwrap().board.status();
    assert_eq!((status.records, status.backlog_bytes, status.state), (10, 0, Doing::Idle));
    assert_eq!(world.stats.get(Counter::ShippedSegments), 3);
}

#[test]
fn sealed_segments_are_shipped_and_plain_ones_are_not_yet() {
    for how in [How::Marks, How::Whole] {
        let mut world = World::new(how, false);
        world.write("h", "1", 1);
        world.step();
        world.turn("h");
        world.step();
        assert_eq!(world.far.lock().unwrap().deliveries, 0);
        world.trim("h");
        assert_eq!(world.run.as_ref().unwrap().board.status().backlog_segments, 1);
        world.seal("h");
        world.step();
        assert_eq!(world.far.lock().unwrap().deliveries, 1);
        world.check(&["h"]);
        world.trim("h");
        assert!(world.closed("h-root.log").is_empty());
        world.start();
        world.step();
        assert_eq!(world.far.lock().unwrap().deliveries, 1, "nothing goes twice");
    }
}

#[test]
fn what_stands_still_does_not_hold_up_others_and_goes_on_after_a_reload() {
    let mut world = World::new(How::Marks, true);
    world.far.lock().unwrap().stop = Some(Scope::Stream(Arc::new(world.stream("a"))));
    world.write("a", "1", 1);
    world.step();
    let status = world.run.as_ref().unwrap().board.status();
    assert_eq!(status.stopped[0].stream, "app/a-root");
    assert!(status.stopped[0].what.contains("no such topic; make it, then reload loghogd"));
    world.far.lock().unwrap().stop = None;
    world.write("b", "1", 1);
    world.write("a", "2", 1);
    world.step();
    world.check(&["b"]);
    assert!(!world.far.lock().unwrap().bodies.contains_key(&world.stream("a")));
    world.bell.notices.reloaded();
    world.step();
    world.check(&["a", "b"]);
}

#[test]
fn what_a_target_never_takes_is_kept_beside_and_the_rest_goes_on() {
    let mut world = World::new(How::Marks, true);
    world.far.lock().unwrap().refuse = Some("bad");
    for body in ["1", "bad", "2"] {
        world.write("h", body, 1);
    }
    world.step();
    let bodies = world.far.lock().unwrap().bodies[&world.stream("h")].clone();
    assert_eq!(bodies, ["1", "2"]);
    let dead = world.folder.path().join(".loghogd/ship/far/dead-letter.log");
    let dead: serde_json::Value = serde_json::from_slice(&fs::read(dead).unwrap()).unwrap();
    assert_eq!((&dead["app"], &dead["reason"]), (&"app".into(), &"too bad".into()));
    assert!(dead["line"].as_str().unwrap().ends_with(" - h - bad"));
    assert_eq!(world.run.as_ref().unwrap().board.status().dead, 1);
}

#[test]
fn what_was_refused_is_kept_whatever_happens_right_behind_it() {
    for mishap in [Mishap::Uncommitted, Mishap::Behind, Mishap::Ended] {
        let mut world = World::new(How::Marks, true);
        world.far.lock().unwrap().refuse = Some("bad");
        world.far.lock().unwrap().mishaps = vec![mishap];
        for body in ["1", "bad", "2"] {
            world.write("h", body, 1);
        }
        world.step();
        world.step();
        world.check(&["h"]);
        assert_eq!(world.letters().len(), 1, "{mishap:?}");
    }
}

#[test]
fn a_dead_letter_comes_twice_only_after_a_kill() {
    let mut world = World::new(How::Marks, true);
    world.far.lock().unwrap().refuse = Some("bad");
    world.far.lock().unwrap().mishaps = vec![Mishap::Uncommitted; 9];
    for body in ["1", "bad", "2"] {
        world.write("h", body, 1);
    }
    world.step();
    world.check(&["h"]);
    assert_eq!((world.letters().len(), world.stats.get(Counter::ShipDeadLetters)), (1, 1));

    // It ends before anything is committed, and begins again.
    world.far.lock().unwrap().stop = Some(Scope::Target);
    world.far.lock().unwrap().stops_late = true;
    world.write("h", "bad too", 1);
    world.step();
    assert_eq!(world.letters().len(), 2);
    world.far.lock().unwrap().stop = None;
    world.start();
    world.step();
    world.check(&["h"]);
    assert_eq!(world.letters().len(), 3);
}

#[test]
fn what_is_asked_for_is_sent_again_and_a_live_file_goes_on_where_it_was() {
    let mut world = World::new(How::Marks, true);
    world.write("h", "1", 1);
    let between = world.at;
    world.turn("h");
    world.write("h", "2", 1_000_000);
    world.turn("h");
    world.write("h", "3", 1_000_000);
    world.step();
    world.check(&["h"]);
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let to = between + jiff::SignedDuration::from_millis(500);
    let replay = Replay { from: Timestamp::MIN, to, answer };
    assert!(world.bell.notices.replay("far", replay));
    world.step();
    assert_eq!(answered.recv().unwrap().unwrap(), 1);
    world.write("h", "4", 1);
    world.start();
    world.step();
    let bodies = world.far.lock().unwrap().bodies[&world.stream("h")].clone();
    assert_eq!(bodies, ["1", "2", "3", "1", "4"]);
}

#[test]
fn a_file_that_somebody_removed_in_the_middle_is_not_mixed_up_with_the_next_one() {
    let mut world = World::new(How::Marks, true);
    world.write("h", "first", 1);
    world.write("h", "second", 1);
    world.step();
    fs::remove_file(world.path("h-root.log")).unwrap();
    world.bell.notices.left("app", "h-root.log");
    world.write("h", "third", 1);
    world.write("h", "fourth and long enough to be longer than both", 1);
    world.step();
    world.check(&["h"]);
    world.start();
    world.step();
    world.check(&["h"]);
}

#[test]
fn a_live_file_that_somebody_moved_away_is_waited_for_without_going_round() {
    let mut world = World::new(How::Marks, true);
    world.write("h", "first", 1);
    world.step();
    fs::rename(world.path("h-root.log"), world.path("elsewhere")).unwrap();
    world.run.as_mut().unwrap().courses.values_mut().for_each(|course| course.rewind());
    world.bell.notices.changed(&["app".into()].into(), false);
    world.step();
    world.bell.notices.left("app", "h-root.log");
    world.write("h", "second", 1);
    world.step();
    world.check(&["h"]);
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other_stream() {
    let mut world = World::new(How::Marks, true);
    let hosts = ["a", "b", "c", "d"];
    hosts.iter().for_each(|host| world.write(host, "1", 1));
    // Somebody has put folders in their places.
    let moved = ["b", "d"].map(|host| (world.path(&world.stream(host).live), world.path(host)));
    for (path, elsewhere) in &moved {
        fs::rename(path, elsewhere).unwrap();
        fs::create_dir(path).unwrap();
    }
    world.step();
    world.check(&["a", "c"]);
    world.write("a", "2", 1);
    world.step();
    world.check(&["a", "c"]);
    let status = world.run.as_ref().unwrap().board.status();
    let what = status.last_error.unwrap().what;
    assert!(what.contains("-root.log cannot be read: "), "{what}");
    assert_eq!((status.state, status.stopped.len()), (Doing::Retrying, 0));
    for (path, elsewhere) in &moved {
        fs::remove_dir(path).unwrap();
        fs::rename(elsewhere, path).unwrap();
    }
    // It is tried again, without being asked to.
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.far.lock().unwrap().bodies.len() < hosts.len() {
        assert!(Instant::now() < deadline, "what rests is forgotten");
        std::thread::sleep(Duration::from_millis(5));
        world.step();
    }
    world.check(&hosts);
    assert_eq!(world.run.as_ref().unwrap().board.status().state, Doing::Idle);
}

#[test]
fn a_segment_that_is_not_taken_lets_those_of_other_streams_pass() {
    let mut world = World::new(How::Whole, false);
    for host in ["a", "b"] {
        world.write(host, "1", 1);
        world.turn(host);
        world.seal(host);
    }
    world.far.lock().unwrap().mishaps = vec![Mishap::Before];
    world.step();
    let far = world.far.lock().unwrap();
    let order: Vec<&str> = far.segments.iter().map(|name| &name[..1]).collect();
    assert_eq!(order, ["b", "a"]);
}

#[test]
fn whoever_is_woken_to_delete_what_has_arrived_finds_it_free() {
    let mut world = World::new(How::Whole, false);
    // It pauses for long behind each segment.
    world.rate_bytes = NonZeroU64::new(1);
    world.start();
    world.write("h", "1", 1);
    world.turn("h");
    world.seal("h");
    let segment = world.closed(&world.stream("h").live).remove(0);
    let (bell, claims) = (Arc::clone(&world.bell), world.claims.clone());
    let surroundings = world.run.as_ref().unwrap().surroundings.clone();
    let trimmer = std::thread::spawn(move || {
        let until = Some(Instant::now() + Duration::from_secs(60));
        let call = bell.wait(until).unwrap();
        let is_free = claims.unless_held("app", &segment.live, segment.began, || ()).is_some();
        surroundings.end();
        (call.folders.contains("app"), is_free)
    });
    let goes_on = world.run.as_mut().unwrap().step(world.way.as_mut().unwrap());
    assert_eq!((goes_on, trimmer.join().unwrap()), (false, (true, true)));
}

#[test]
fn a_damaged_state_stops_its_stream_alone_and_what_it_was_about_is_kept_until_it_is_mended() {
    let mut world = World::new(How::Marks, true);
    for host in ["a", "b"] {
        world.write(host, "1", 1);
        world.turn(host);
        world.seal(host);
    }
    world.step();
    world.check(&["a", "b"]);
    let state = world.folder.path().join(".loghogd/ship/far:app/a-root.log.1");
    let good = fs::read(&state).unwrap();
    fs::write(&state, "damaged").unwrap();
    world.start();
    for host in ["a", "b"] {
        world.write(host, "2", 1);
    }
    world.step();
    world.check(&["b"]);
    assert_eq!(world.far.lock().unwrap().bodies[&world.stream("a")], ["1"], "it stands still");
    let status = world.run.as_ref().unwrap().board.status();
    assert_eq!((&*status.stopped[0].stream, status.stopped.len()), ("app/a-root", 1));
    assert!(status.stopped[0].what.contains("far:app/a-root.log.1 cannot be read"));
    assert_eq!(status.backlog_segments, 1, "it may owe all that is there");
    world.trim("a");
    world.trim("b");
    assert_eq!(world.closed("a-root.log").len(), 1);
    assert!(world.closed("b-root.log").is_empty());
    world.bell.notices.reloaded();
    world.step();
    assert_eq!(world.run.as_ref().unwrap().board.status().stopped.len(), 1);
    fs::write(&state, good).unwrap();
    world.bell.notices.reloaded();
    world.step();
    world.check(&["a", "b"]);
    assert!(world.run.as_ref().unwrap().board.status().stopped.is_empty());
    world.trim("a");
    assert!(world.closed("a-root.log").is_empty());
}

#[test]
fn few_sealed_segments_are_open_at_once_however_many_there_are() {
    let mut world = World::new(How::Marks, false);
    let hosts: Vec<String> = (0..12).map(|host| format!("h{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for host in &hosts {
        for body in 0..10 {
            world.write(host, &format!("{body}"), 1);
        }
        world.turn(host);
        world.seal(host);
    }
    world.step();
    world.check(&hosts);
    let far = world.far.lock().unwrap();
    let mut arrived: BTreeMap<&Stream, u64> = BTreeMap::new();
    for stream in &far.order {
        *arrived.entry(stream).or_default() += 1;
        let begun = arrived.values().filter(|&&number| number < 10).count();
        assert!(begun <= limits::DECODERS_MAX + 1, "{begun} are open");
    }
}

#[test]
fn another_place_is_told_once_with_the_way_to_fill_it_and_nothing_goes_there_unasked() {
    let mut world = World::new(How::Points, true);
    for body in ["1", "2"] {
        world.write("h", body, 1_000_000);
        world.turn("h");
    }
    world.step();
    let told = |world: &World| world.run.as_ref().unwrap().board.status().last_error;
    assert_eq!(told(&world), None);
    world.far.lock().unwrap().points.clear();
    world.place = Destination::read("type test\nat there\n").unwrap();
    world.start();
    world.step();
    let what = told(&world).unwrap().what;
    assert!(what.contains("(at there, type test; before: at here, type test)"), "{what}");
    let part = "2 segments that are still here went to the place before and are not sent again by \
                themselves; if they are to be here too: loghogd ship replay far --from \
                2026-11-20T12:00:01Z --to ";
    assert!(what.contains(part), "{what}");
    assert!(world.far.lock().unwrap().points.is_empty(), "nothing is sent again");
    world.start();
    world.step();
    assert_eq!(told(&world), None, "it was said");
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let from = "2026-11-20T12:00:01Z".parse().unwrap();
    assert!(world.bell.notices.replay("far", Replay { from, to: Timestamp::MAX, answer }));
    world.step();
    assert_eq!(answered.recv().unwrap().unwrap(), 2);
    assert_eq!(world.far.lock().unwrap().points.len(), 2);
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        4 => Just(Mishap::None),
        2 => Just(Mishap::Before),
        2 => Just(Mishap::Uncommitted),
        2 => Just(Mishap::Behind),
        1 => Just(Mishap::Ended),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_message_arrives_once_and_in_order_whatever_happens(
        steps in prop::collection::vec((0..8u8, 0..2usize, 0..3i64), 1..60),
        mishaps in prop::collection::vec(mishap(), 0..40),
        marks: bool,
        follows: bool,
    ) {
        let how = if marks { How::Marks } else { How::Points };
        let mut world = World::new(how, follows);
        world.far.lock().unwrap().mishaps = mishaps;
        world.far.lock().unwrap().refuse = Some("bad");
        let hosts = ["a", "b"];
        for (place, (what, host, later_us)) in steps.into_iter().enumerate() {
            let host = hosts[host];
            match what {
                0..=1 => world.write(host, &format!("{place}"), later_us),
                2 => world.write(host, &format!("bad {place}"), later_us),
                3 => world.turn(host),
                4 => world.seal(host),
                5 => world.trim(host),
                6 => world.start(),
                _ => world.step(),
            }
        }
        world.far.lock().unwrap().mishaps.clear();
        for host in hosts {
            world.turn(host);
            while world.closed(&world.stream(host).live).iter().any(|closed| closed.format.is_none()) {
                world.seal(host);
            }
        }
        world.step();
        world.step();
        world.check(&hosts);
        for host in hosts {
            world.trim(host);
            prop_assert!(world.closed(&world.stream(host).live).is_empty(), "nothing is owed");
        }
    }
}
