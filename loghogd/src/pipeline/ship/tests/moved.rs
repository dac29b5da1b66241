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

    fn run_mut(&mut self, what: impl FnOnce(&mut Run)) {
        what(self.run.as_mut().unwrap());
    }

    fn status(&self) -> Status {
        self.run.as_ref().unwrap().board.status()
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
