use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::config::{Overrides, read_config, read_facilities};
use crate::control;
use crate::disk::LogDir;
use crate::pipeline::ship::Heard;

/// A log folder, and those who ship from it.
pub(crate) struct Port {
    pub(crate) folder: TempDir,
    pub(crate) shippers: Arc<Mutex<Shippers>>,
    pub(crate) bell: Arc<Bell>,
    _runtime: Runtime,
}

impl Port {
    pub(crate) fn new() -> Port {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".loghogd/ship");
        fs::create_dir_all(&state).unwrap();
        let facilities = b"[app]\nrotate = daily\nbackup_count = 2\n";
        let table = read_facilities(facilities, Path::new("facilities.conf")).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let bell = Arc::<Bell>::default();
        let shippers = Shippers::new(Shared {
            disk: Arc::new(LogDir::open(folder.path()).unwrap()),
            receipts: Receipts::open(Arc::new(LogDir::open(&state).unwrap())).unwrap(),
            table: Arc::new(ArcSwap::from_pointee(table)),
            claims: Claims::new(),
            tallies: Tallies::none(),
            bell: Arc::clone(&bell),
            stats: Arc::new(Stats::new()),
            zone: TimeZone::UTC,
            runtime: runtime.handle().clone(),
        });
        Port { folder, shippers: Arc::new(Mutex::new(shippers)), bell, _runtime: runtime }
    }

    fn ship_to(&self, options: &str) {
        let text = format!("[ship:metrics]\ntype = influxdb\n{options}\n");
        let read = read_config(text.as_bytes(), "loghogd.conf".as_ref(), &Overrides::default());
        let targets = read.unwrap().0.ship;
        self.shippers.lock().unwrap().ship_to(&targets, Duration::from_secs(10));
    }

    fn status(&self) -> Status {
        self.shippers.lock().unwrap().statuses().remove(0)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A test that fails while it holds the lock fails for its own reason.
        let mut shippers = self.shippers.lock().unwrap_or_else(PoisonError::into_inner);
        shippers.stop(Instant::now() + Duration::from_secs(10));
    }
}

const NOBODY: &str = "url = http://127.0.0.1:9\ndatabase = logs";

#[test]
fn a_target_that_cannot_begin_is_shown_with_its_reason_and_tried_again() {
    let port = Port::new();
    let id = port.folder.path().join(".loghogd/ship/instance/id.1");
    fs::create_dir(id.parent().unwrap()).unwrap();
    fs::write(&id, "damaged").unwrap();
    port.ship_to(NOBODY);
    let status = port.status();
    assert_eq!((&*status.name, status.state), ("metrics", Doing::Stopped));
    let what = status.last_error.unwrap().what;
    assert!(what.contains("instance/id.1 is not 16 hex digits"), "{what}");
    assert!(what.contains("tried again after a reload"), "{what}");
    assert!(
        port.shippers.lock().unwrap().replay("metrics", Timestamp::MIN, Timestamp::MAX).is_none()
    );
    fs::write(&id, "0123456789abcdef").unwrap();
    port.ship_to(NOBODY);
    assert_eq!(port.status().last_error, None);
    assert!(port.shippers.lock().unwrap().at_work.contains_key("metrics"));
}

#[test]
fn a_cacert_that_cannot_be_read_does_not_keep_a_target_from_being_there() {
    let port = Port::new();
    port.ship_to(&format!("{NOBODY}\ncacert = /nowhere/ca.pem").replace("http:", "https:"));
    assert!(port.shippers.lock().unwrap().at_work.contains_key("metrics"));
}

#[test]
fn who_is_begun_anew_waits_for_the_one_before() {
    let port = Port::new();
    let (end, ended) = mpsc::channel::<()>();
    let hung = thread::spawn(move || _ = ended.recv());
    port.shippers.lock().unwrap().leaving.push(("metrics".into(), Arc::new(hung)));
    port.ship_to(NOBODY);
    // It has been begun, it says what it waits for, and it ends when it is told to.
    let until = Instant::now() + Duration::from_secs(10);
    while port.status().last_error.is_none() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    let what = port.status().last_error.unwrap().what;
    assert!(what.contains("has not come to its end yet"), "{what}");
    port.ship_to(&NOBODY.replace("logs", "others"));
    let shippers = port.shippers.lock().unwrap();
    assert_eq!(shippers.leaving.len(), 1, "the second one has ended, the first one has not");
    assert_eq!(shippers.before("metrics").len(), 1);
    assert!(shippers.before("other").is_empty());
    let board = Board::new("metrics", "test");
    let surroundings = Surroundings::new(shippers.shared.runtime.clone(), "0", TimeZone::UTC);
    end.send(()).unwrap();
    assert!(have_ended(&shippers.before("metrics"), &board, &surroundings));
}

#[test]
fn nobody_waits_for_the_lock_while_a_replay_is_waited_for() {
    let port = Port::new();
    let busy = port.bell.notices.listen("busy");
    let shippers = Arc::clone(&port.shippers);
    let asking = thread::spawn(move || {
        let (from, to) = ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
        control::replay(&shippers, "busy", from, to)
    });
    let Heard { mut replays, .. } = busy.wait(None);
    // It is being waited for, for longer than this, and a reload goes on.
    let until = Instant::now() + Duration::from_secs(5);
    while port.shippers.try_lock().is_err() {
        assert!(Instant::now() < until, "the lock is held");
        thread::sleep(Duration::from_millis(5));
    }
    replays.remove(0).answer.send(Ok(7)).unwrap();
    assert_eq!(asking.join().unwrap(), control::Answer::Segments(7));
}
