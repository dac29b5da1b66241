//! What the disk still has of what is in memory, and when there is room for more.

use std::path::Path;

use super::*;
use crate::queue::Bounds;
use crate::spool::SpoolBounds;

const BOUNDS: Bounds =
    Bounds { bytes: 1 << 20, messages: 1_000, outage_messages: 1_000, frame_bytes: 1_000 };
/// More than a spool or a window takes.
const WIDE: Bounds =
    Bounds { bytes: 1 << 20, messages: 1 << 20, outage_messages: 1 << 20, frame_bytes: 1 << 20 };
/// A few records a file.
const SPOOL_BOUNDS: SpoolBounds = SpoolBounds { bytes: 1 << 20, file_bytes: 100 };

/// Nobody has to be started who would send it.
fn log(queue: &Queue, text: &str) {
    let _ = queue.push(text.as_bytes());
}

fn spool_in(dir: &Path) -> Spool {
    Spool::open(dir, "app", SPOOL_BOUNDS, &mut |error| panic!("{error}")).unwrap()
}

/// The numbers of what the next program finds.
fn left_behind(dir: &Path) -> Vec<u64> {
    let mut spool = spool_in(dir);
    let (mut numbers, mut after) = (Vec::new(), 0);
    while let Some(run) = spool.read(after, 100).unwrap() {
        numbers.extend(run.first..run.end());
        after = run.end() - 1;
    }
    numbers
}

#[test]
fn what_is_not_acknowledged_outlasts_the_program_though_memory_has_it_too() {
    for settled in 0..=20 {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::new(BOUNDS);
        for number in 1..=20 {
            log(&queue, &format!("message {number}"));
        }
        let place = SpoolPlace { dir: dir.path().to_owned(), bounds: SPOOL_BOUNDS };
        let mut store = Store::open(Some((place, "app".to_owned())), 1 << 20, &queue).unwrap();
        assert!(store.keep(&queue, true));
        store.load(&queue);
        assert_eq!((store.loaded, store.next), (20, 21), "all are in memory");
        assert_eq!(store.settle(settled), (settled, 0));
        store.sync(&queue);
        drop(store);
        let expected: Vec<u64> = (settled + 1..=20).collect();
        assert_eq!(left_behind(dir.path()), expected, "{settled} were acknowledged");
    }
}

#[test]
fn what_only_memory_has_is_not_taken_for_safe() {
    let dir = tempfile::tempdir().unwrap();
    let obstacle = dir.path().join("app");
    std::fs::write(&obstacle, "a file").unwrap();
    let queue = Queue::new(BOUNDS);
    log(&queue, "one");
    let place = SpoolPlace { dir: dir.path().to_owned(), bounds: SPOOL_BOUNDS };
    let mut store = Store::open(Some((place, "app".to_owned())), 1 << 20, &queue).unwrap();
    assert!(store.keep(&queue, true) && !store.is_safe());
    // The disk is well again, but does not get what memory has.
    std::fs::remove_file(&obstacle).unwrap();
    store.retry_at = None;
    log(&queue, "two");
    assert!(store.keep(&queue, true) && store.spool().is_some());
    assert!(!store.is_safe());
    store.settle(1);
    assert!(store.is_safe());
    drop(store);
    assert_eq!(left_behind(dir.path()), [2]);

    let mut store = Store::of(spool_in(dir.path()), 1 << 20);
    assert!(store.is_safe());
    store.rest.push(b"three");
    assert!(!store.is_safe(), "it has no number yet");
}

fn queue_of(messages: usize) -> Queue {
    let queue = Queue::new(WIDE);
    for _ in 0..messages {
        let _ = queue.push(&[7; 100]);
    }
    queue
}

#[test]
fn a_spool_with_room_for_no_more_message_is_not_asked_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = SpoolBounds { bytes: 1000, file_bytes: 300 };
    let place = SpoolPlace { dir: dir.path().to_owned(), bounds };
    let queue = queue_of(20);
    let mut store = Store::open(Some((place, "app".into())), 1 << 20, &queue).unwrap();
    assert!(store.has_room(false) && store.keep(&queue, false));
    assert!(queue.waiting() > 0 && store.spool_room() > 0);
    assert!(!store.has_room(false));
    store.settle(store.next_number() - 1);
    assert!(store.has_room(false) && store.keep(&queue, false));
}

#[test]
fn a_window_with_room_for_no_more_message_is_not_asked_again_and_again() {
    let queue = queue_of(4000);
    let mut store = Store::open(None, 300_050, &queue).unwrap();
    assert!(store.has_room(true) && store.keep(&queue, true));
    assert!(queue.waiting() > 0 && store.window_room() > 0);
    assert!(!store.has_room(true));
    store.settle(2);
    assert!(store.has_room(true) && store.keep(&queue, true));
}
