//! People cut live files, put segments back, move them away and back, restore a folder, and
//! ask for what was sent already: each file goes on where it was.

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
