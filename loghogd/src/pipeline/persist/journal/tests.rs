//! How long clients are remembered.

use std::fs::{File, FileTimes};
use std::path::Path;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::disk::LogDir;
use crate::pipeline::persist::clients::{CLIENT_ID_BYTES, Key};

fn key(id: u8) -> Key {
    Key { app: "app".into(), id: [id; CLIENT_ID_BYTES] }
}

fn day(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
}

fn open(folder: &TempDir, now: Timestamp) -> (Journal, Arc<Clients>) {
    let disk: Arc<dyn Disk> = Arc::new(LogDir::open(folder.path()).unwrap());
    Journal::open(disk, 10, now).unwrap()
}

/// The daemon ends, and has written there on this day for the last time.
fn end((mut journal, clients): (Journal, Arc<Clients>), folder: &TempDir, now: Timestamp) {
    journal.snapshot(now);
    drop((journal, clients));
    for entry in std::fs::read_dir(folder.path().join(FOLDER)).unwrap() {
        set_modified(&entry.unwrap().path(), now);
    }
}

fn set_modified(path: &Path, at: Timestamp) {
    let times = FileTimes::new().set_modified(SystemTime::from(at));
    File::options().append(true).open(path).unwrap().set_times(times).unwrap();
}

/// Whether it is known that all up to 7 of this client are safe.
async fn is_remembered(clients: &Clients, id: u8, now: Timestamp) -> bool {
    clients.begin(key(id), 1, now).await.unwrap().durable() == 7
}

async fn meet(clients: &Clients, id: u8, now: Timestamp) {
    drop(clients.begin(key(id), 8, now).await.unwrap());
}

#[tokio::test]
async fn who_was_not_seen_for_thirty_days_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, clients) = open(&folder, day(0));
    meet(&clients, 1, day(0)).await;
    journal.snapshot(day(0));
    meet(&clients, 2, day(20)).await;
    journal.snapshot(day(20));
    end((journal, clients), &folder, day(31));
    let (_journal, clients) = open(&folder, day(31));
    assert!(!is_remembered(&clients, 1, day(31)).await);
    assert!(is_remembered(&clients, 2, day(31)).await);
}

#[tokio::test]
async fn time_without_a_daemon_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, clients) = open(&folder, day(0));
    meet(&clients, 1, day(0)).await;
    meet(&clients, 2, day(0)).await;
    journal.snapshot(day(0));
    end((journal, clients), &folder, day(20));
    let (mut journal, clients) = open(&folder, day(200));
    assert!(is_remembered(&clients, 1, day(200)).await);
    // The other has not come for twenty days before and eleven days since.
    journal.snapshot(day(211));
    assert!(!is_remembered(&clients, 2, day(211)).await);
}

#[tokio::test]
async fn who_is_connected_for_long_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, clients) = open(&folder, day(0));
    let session = clients.begin(key(1), 8, day(0)).await.unwrap();
    end((journal, clients), &folder, day(90));
    drop(session);
    let (_journal, clients) = open(&folder, day(90));
    assert!(is_remembered(&clients, 1, day(90)).await);
}
