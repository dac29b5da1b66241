//! People cut live files, put segments back, move them away and back, restore a folder, and
//! ask for what was sent already: each file goes on where it was.

use std::os::unix::fs::symlink;
use std::thread;

use super::*;

impl World {
    /// Cuts a live file, as somebody may do; the writer notices.
    fn cut(&self, host: &str, bytes: u64) {
        let live = self.stream(host).live;
        let file = fs::OpenOptions::new().write(true).open(self.path(&live)).unwrap();
        file.set_len(bytes).unwrap();
        self.bell.notices.left("app", &live);
    }

    /// What has arrived of a host.
    fn bodies(&self, host: &str) -> Vec<String> {
        self.far.lock().unwrap().bodies.get(&self.stream(host)).cloned().unwrap_or_default()
    }

    fn write_all(&mut self, bodies: &[&str]) {
        bodies.iter().for_each(|body| self.write("h", body, 1));
    }

    /// Ends behind the next batch, and begins anew.
    fn end_behind_a_batch(&mut self) {
        self.far.lock().unwrap().mishaps = vec![Mishap::Ended];
        self.step();
    }

    /// Sends again what stands in the segment of this number.
    fn replay(&mut self, number: usize) {
        let segment = self.closed("h-root.log").remove(number);
        let from = segment.began.to_timestamp(&TimeZone::UTC).unwrap();
        let to = from + jiff::SignedDuration::from_micros(1);
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        assert!(self.bell.notices.replay("far", Replay { from, to, answer }));
        self.run_mut(Run::hear);
        assert_eq!(answered.recv().unwrap().unwrap(), 1);
    }

    fn run_mut(&mut self, what: impl FnOnce(&mut Run)) {
        what(self.run.as_mut().unwrap());
    }

    /// Runs in a thread of its own while `meanwhile` looks on; ends then.
    fn run_aside(&mut self, meanwhile: impl FnOnce(&mut World)) {
        let (mut run, mut way) = (self.run.take().unwrap(), self.way.take().unwrap());
        let surroundings = run.surroundings.clone();
        let running = thread::spawn(move || run.step(&mut way));
        meanwhile(self);
        surroundings.end();
        assert!(!running.join().unwrap(), "it had not ended");
    }

    fn status(&self) -> Status {
        self.run.as_ref().unwrap().board.status()
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_live_file_that_is_emptied_is_followed_at_once_with_what_is_new_in_it() {
    // The second is longer than all that was there before.
    for (new, length) in [("4", 1), ("4 and much more than there was", 6)] {
        for how in [How::Marks, How::Points] {
            let mut world = World::new(how, true);
            world.write_all(&["1", "2", "3"]);
            world.step();
            world.cut("h", 0);
            for _ in 0..length {
                world.write("h", new, 1);
            }
            world.step();
            world.check(&["h"]);
            world.write("h", "last", 1);
            world.turn("h");
            world.step();
            world.check(&["h"]);
        }
    }
}

#[test]
fn of_a_file_that_was_cut_nothing_leaves_before_the_writer_has_noticed() {
    let mut world = World::new(How::Marks, true);
    world.write_all(&["1", "2", "3"]);
    world.step();
    let lines = "2026-11-20 12:00:01.000000 - h - not safe\n".repeat(2);
    fs::write(world.path("h-root.log"), lines).unwrap();
    world.run_mut(|run| run.courses.values_mut().for_each(|course| course.rewind()));
    world.bell.notices.changed(&["app".into()].into(), false);
    world.step();
    world.check(&["h"]);
    world.cut("h", 0);
    world.write_all(&["4"]);
    world.step();
    world.check(&["h"]);
}

#[test]
fn what_was_appended_to_a_file_that_is_shorter_than_it_was_arrives() {
    for what in ["live", "plain", "sealed"] {
        for how in [How::Marks, How::Points] {
            let mut world = World::new(how, true);
            world.write_all(&["1"]);
            let first = fs::metadata(world.path("h-root.log")).unwrap().len();
            world.write_all(&["2", "3"]);
            world.step();
            world.cut("h", first);
            world.write("h", "4", 1);
            if what != "live" {
                world.turn("h");
            }
            if what == "sealed" {
                world.seal("h");
            }
            world.step();
            match how {
                How::Marks => assert_eq!(world.bodies("h"), ["1", "2", "3", "1", "4"], "{what}"),
                // What was left in it replaces itself.
                _ => world.check(&["h"]),
            }
            assert_eq!(world.status().backlog_bytes, 0);
        }
    }
}

#[test]
fn what_stands_in_the_place_of_a_segment_lets_its_stream_rest_and_others_go_on() {
    let mut world = World::new(How::Whole, false);
    for (host, body) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")] {
        world.write(host, body, 1);
        world.turn(host);
        world.seal(host);
    }
    world.run_mut(Run::hear);
    // Somebody has moved two to another place, and has left links.
    let bad = [world.closed("a-root.log").remove(1), world.closed("b-root.log").remove(0)];
    let bad = bad.map(|segment| world.path(&segment.to_string()));
    for path in &bad {
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
    }
    let surroundings = world.run.as_ref().unwrap().surroundings.clone();
    let (done, watched) = std::sync::mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let ended = watched.recv_timeout(Duration::from_secs(20)).is_err();
        ended.then(|| surroundings.end());
        ended
    });
    world.run_mut(|run| run.pauses = Pauses::default());
    world.step();
    done.send(()).unwrap();
    assert!(!watchdog.join().unwrap(), "it goes round and round");
    let hosts = |world: &World| {
        let far = world.far.lock().unwrap();
        far.segments.iter().map(|name| name[..1].to_owned()).collect::<String>()
    };
    assert_eq!(hosts(&world), "ac");
    let status = world.status();
    assert_eq!((status.state, status.backlog_segments), (Doing::Retrying, 2));
    let what = status.last_error.unwrap().what;
    assert!(what.contains(" cannot be read: ") && what.contains("move away"), "{what}");
    // Nothing that is heard shortens their rests, which become longer.
    for _ in 0..20 {
        world.bell.notices.changed(&["app".into()].into(), false);
        world.step();
    }
    assert!(world.status().retries < 20, "{}", world.status().retries);
    for path in &bad {
        fs::rename(path.with_extension("elsewhere"), path).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.far.lock().unwrap().segments.len() < 4 {
        assert!(Instant::now() < deadline, "what rests is forgotten");
        thread::sleep(Duration::from_millis(5));
        world.step();
    }
    assert_eq!((world.status().state, world.status().backlog_segments), (Doing::Idle, 0));
}

#[test]
fn a_segment_that_is_put_back_does_not_make_the_live_file_go_again() {
    for how in [How::Marks, How::Points] {
        let mut world = World::new(how, true);
        world.write_all(&["old", "old too"]);
        world.turn("h");
        world.seal("h");
        world.write_all(&["1", "2"]);
        world.step();
        let name = world.closed("h-root.log").remove(0).to_string();
        let kept = fs::read(world.path(&name)).unwrap();
        world.trim("h");
        world.bell.notices.changed(&["app".into()].into(), false);
        world.write_all(&["3"]);
        world.step();
        world.run_mut(Run::note_now);
        fs::write(world.path(&name), kept).unwrap();
        world.start();
        // It ends where the mark of the live file is known here only.
        world.end_behind_a_batch();
        world.write_all(&["4"]);
        world.step();
        world.step();
        match how {
            How::Marks => {
                assert_eq!(
                    world.bodies("h"),
                    ["old", "old too", "1", "2", "3", "old", "old too", "4"]
                );
            }
            _ => world.check(&["h"]),
        }
        assert_eq!(world.status().backlog_segments, 0);
    }
}

#[test]
fn what_arrived_of_a_live_file_is_known_when_another_file_is_begun_before_it() {
    let mut world = World::new(How::Marks, true);
    world.write_all(&["old 1", "old 2", "old 3", "old 4"]);
    world.turn("h");
    world.write_all(&["1"]);
    world.step();
    let name = world.closed("h-root.log").remove(0).to_string();
    let kept = fs::read(world.path(&name)).unwrap();
    world.trim("h");
    world.bell.notices.changed(&["app".into()].into(), false);
    world.step();
    world.run_mut(Run::note_now);
    // Of this only the target knows.
    world.write_all(&["2"]);
    world.step();
    fs::write(world.path(&name), kept).unwrap();
    world.start();
    world.end_behind_a_batch();
    world.step();
    world.step();
    let old = ["old 1", "old 2", "old 3", "old 4"];
    assert_eq!(world.bodies("h"), [&old[..], &["1", "2"], &old].concat());
}

#[test]
fn a_segment_that_was_away_goes_on_where_it_was() {
    let mut world = World::new(How::Marks, false);
    world.write_all(&["1", "2", "3", "4", "5"]);
    world.turn("h");
    world.seal("h");
    world.end_behind_a_batch();
    let path = world.path(&world.closed("h-root.log").remove(0).to_string());
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    world.write_all(&["6"]);
    world.turn("h");
    world.seal("h");
    world.step();
    fs::rename(&elsewhere, &path).unwrap();
    world.bell.notices.changed(&["app".into()].into(), false);
    world.step();
    assert_eq!(world.bodies("h"), ["1", "2", "3", "6", "4", "5"]);
}

#[test]
fn a_folder_that_is_restored_goes_on_where_it_was_though_the_target_was_further() {
    let mut world = World::new(How::Marks, true);
    world.write_all(&["1", "2"]);
    world.step();
    world.run_mut(Run::note_now);
    let state = world.folder.path().join(".loghogd/ship/far:app");
    let snapshot = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let saved = [snapshot(&world.path("")), snapshot(&state)].concat();
    world.write_all(&["3"]);
    world.turn("h");
    world.write_all(&["4"]);
    world.step();
    for folder in [world.path(""), state] {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(folder).unwrap();
    }
    saved.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    world.start();
    world.write_all(&["5"]);
    world.step();
    world.check(&["h"]);
    world.start();
    world.turn("h");
    world.step();
    world.check(&["h"]);
}

#[test]
fn whoever_asks_twice_does_not_make_the_live_file_go_again() {
    let mut world = World::new(How::Marks, true);
    for bodies in [&["a"][..], &["b1", "b2", "b3", "b4", "b5"], &["c1", "c2"]] {
        world.write_all(bodies);
        if bodies != ["c1", "c2"] {
            world.turn("h");
        }
    }
    world.step();
    world.replay(1);
    world.end_behind_a_batch();
    // It connects, and hears how far it is.
    world.far.lock().unwrap().stop = Some(Scope::Target);
    world.step();
    world.replay(0);
    world.far.lock().unwrap().stop = None;
    world.bell.notices.reloaded();
    world.write_all(&["c3"]);
    world.step();
    let all = ["a", "b1", "b2", "b3", "b4", "b5", "c1", "c2"];
    let again = ["b1", "b2", "b3", "a", "b1", "b2", "b3", "b4", "b5", "c3"];
    assert_eq!(world.bodies("h"), [&all[..], &again].concat());
}

#[test]
fn whoever_asks_before_the_target_has_said_how_far_it_is_has_nothing_else_twice() {
    let mut world = World::new(How::Marks, true);
    world.write_all(&["a"]);
    world.turn("h");
    world.write_all(&["b"]);
    world.step();
    world.run_mut(Run::note_now);
    // Of this only the target knows.
    world.write_all(&["c"]);
    world.step();
    world.start();
    world.run_mut(Run::hear);
    world.replay(0);
    world.write_all(&["d"]);
    world.step();
    assert_eq!(world.bodies("h"), ["a", "b", "c", "a", "d"]);
}

#[test]
fn what_went_on_after_others_were_sent_again_can_be_sent_again_as_a_whole() {
    let mut world = World::new(How::Marks, true);
    world.write_all(&["a"]);
    world.turn("h");
    world.write_all(&["b", "c"]);
    world.step();
    world.replay(0);
    world.step();
    world.write_all(&["d"]);
    // It is told by the target how far it is.
    world.end_behind_a_batch();
    world.write_all(&["e"]);
    world.turn("h");
    world.step();
    assert_eq!(world.bodies("h"), ["a", "b", "c", "a", "d", "e"]);
    world.replay(1);
    world.step();
    assert_eq!(world.bodies("h")[6..], ["b", "c", "d", "e"]);
}

#[test]
fn progress_is_noted_while_a_target_is_busy() {
    let mut world = World::new(How::Points, true);
    // It pauses for long behind each batch.
    world.rate_bytes = NonZeroU64::new(1);
    world.start();
    world.write_all(&["1", "2"]);
    let receipts = world.run.as_ref().unwrap().receipts.clone();
    world.run_aside(|world| {
        let stream = world.stream("h");
        wait_until("nothing is noted", || receipts.state("far", &stream).unwrap().mark.records > 0);
    });
}

#[test]
fn what_there_is_to_ship_is_shown_while_a_target_is_busy_or_away() {
    for (mishap, state) in [(Mishap::None, Doing::Shipping), (Mishap::Asked, Doing::Retrying)] {
        let mut world = World::new(How::Marks, true);
        world.rate_bytes = NonZeroU64::new(1);
        world.start();
        world.far.lock().unwrap().mishaps = vec![mishap];
        world.write_all(&["1"]);
        let board = world.run.as_ref().unwrap().board.clone();
        let far = Arc::clone(&world.far);
        world.run_aside(|world| {
            wait_until("nothing was delivered", || far.lock().unwrap().deliveries > 0);
            let before = board.status().backlog_bytes;
            world.write_all(&["2", "3", "4"]);
            wait_until("what came meanwhile is not shown", || {
                board.status().backlog_bytes > before + 50
            });
            world.turn("h");
            wait_until("the turn is not shown", || board.status().backlog_segments == 1);
            assert_eq!(board.status().state, state);
        });
    }
}
