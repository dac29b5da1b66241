//! The queue by itself: bounds, order, waits, counters.

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 100, messages: 5, outage_messages: 2, frame_bytes: 50 };
const LONG: Duration = Duration::from_secs(60);

fn queue_of(frames: &[&str]) -> Queue {
    let queue = Queue::new(BOUNDS);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(queue.push(frame.as_bytes()), number == 0, "who starts the sender");
    }
    queue
}

fn taken(queue: &Queue) -> Frames {
    let mut batch = Frames::default();
    queue.take(&mut batch);
    batch
}

fn balance(queue: &Queue) -> Stats {
    let stats = queue.stats();
    assert_eq!(stats.enqueued, stats.written + stats.dropped.total() + stats.queued);
    stats
}

#[test]
fn the_oldest_make_room_for_the_newest_and_are_counted() {
    let queue = queue_of(&["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(taken(&queue).as_slice(), b"34567");
    assert_eq!(balance(&queue).dropped.queue_full, 2);
}

#[test]
fn bytes_are_bounded_as_well_as_messages() {
    let forty = "x".repeat(40);
    let queue = queue_of(&[&forty, &forty, &forty]);
    assert_eq!(taken(&queue).len(), 2);
    assert_eq!(balance(&queue).dropped.queue_full, 1);
}

#[test]
fn a_frame_that_never_fits_pushes_nobody_out() {
    let queue = queue_of(&["1"]);
    assert!(!queue.push(&[0; 51]));
    assert_eq!(taken(&queue).as_slice(), b"1");
    assert_eq!(balance(&queue).dropped.too_large, 1);
    assert_eq!(queue.take_failures().len(), 1);
}

#[test]
fn an_outage_has_a_bound_of_its_own() {
    let queue = queue_of(&["1", "2", "3", "4"]);
    queue.failed("refused".into(), false);
    assert_eq!(queue.stats().queued, 4);
    queue.failed("refused".into(), true);
    assert_eq!(queue.stats().queued, 2);
    assert!(!queue.push(b"5"));
    queue.connected(false);
    assert!(!queue.push(b"6"));
    assert_eq!(taken(&queue).as_slice(), b"456");
    assert_eq!(balance(&queue).dropped.queue_full, 3);
}

#[test]
fn what_was_not_written_stands_first_again() {
    let queue = queue_of(&["1", "2", "3"]);
    let mut batch = taken(&queue);
    assert!(!queue.push(b"4"));
    let (messages, bytes) = batch.consume(1);
    queue.settle(&mut batch, Tally { messages, bytes, too_large: 0 });
    assert_eq!(taken(&queue).as_slice(), b"234");
    assert_eq!(balance(&queue).written, 1);
}

#[test]
fn flush_waits_for_the_batch_under_way_too() {
    let queue = queue_of(&["1", "2"]);
    let mut batch = taken(&queue);
    let flush = queue.flush(LONG, LONG);
    assert!(!queue.push(b"later"));
    assert_eq!(flush.wait(Duration::ZERO), None);
    batch.clear();
    queue.settle(&mut batch, Tally { messages: 2, bytes: 2, too_large: 0 });
    assert_eq!(flush.wait(Duration::ZERO), Some(true), "a later message does not count");
}

#[test]
fn flush_says_when_a_message_was_dropped_meanwhile() {
    let queue = queue_of(&["1"]);
    let flush = queue.flush(LONG, LONG);
    for _ in 0..5 {
        assert!(!queue.push(b"x"));
    }
    assert_eq!(flush.wait(Duration::ZERO), Some(false));
}

#[test]
fn flush_gives_an_unreachable_server_less_time() {
    let queue = queue_of(&["1"]);
    let flush = queue.flush(LONG, Duration::ZERO);
    assert_eq!(flush.wait(Duration::ZERO), None);
    queue.failed("refused".into(), true);
    assert_eq!(flush.wait(LONG), Some(false));
}

#[test]
fn an_empty_queue_is_flushed_at_once() {
    assert!(Queue::new(BOUNDS).flush(LONG, LONG).wait_all());
}

#[test]
fn closing_counts_what_is_left_and_what_comes_late() {
    let queue = queue_of(&["1", "2"]);
    queue.close(Duration::ZERO);
    assert_eq!(queue.next_order(), Order::Stop);
    queue.ended();
    assert!(!queue.push(b"3"));
    assert!(queue.wait_for_end(Duration::ZERO));
    assert_eq!(balance(&queue).dropped.closed, 3);
}

#[test]
fn a_closed_queue_is_still_emptied_within_its_limit() {
    let queue = queue_of(&["1"]);
    queue.close(LONG);
    assert_eq!(queue.next_order(), Order::Write);
    let mut batch = taken(&queue);
    batch.clear();
    queue.settle(&mut batch, Tally { messages: 1, bytes: 1, too_large: 0 });
    assert_eq!(queue.next_order(), Order::Stop);
}

#[test]
fn a_pause_ends_when_somebody_begins_to_wait() {
    let queue = queue_of(&["1"]);
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| {
            let started = Instant::now();
            queue.pause(LONG);
            started.elapsed()
        });
        // Whether the pause began before or after, it is short.
        let _flush = queue.flush(LONG, LONG);
        assert!(pausing.join().unwrap() < LONG / 10);
    });
}

#[test]
fn failures_are_kept_as_text_but_not_for_ever() {
    let queue = Queue::new(BOUNDS);
    for number in 0..1_000 {
        queue.failed(format!("failure {number}"), false);
    }
    let failures = queue.take_failures();
    assert_eq!(failures.len(), FAILURES_KEPT);
    assert_eq!(failures.last().map(String::as_str), Some("failure 999"));
    assert_eq!(queue.stats().failures, 1_000);
    assert!(queue.take_failures().is_empty());
    assert_eq!(queue.last_failure().as_deref(), Some("failure 999"));
}

#[test]
fn debug_shows_no_message_and_takes_no_lock() {
    let queue = queue_of(&["top secret"]);
    let _held = queue.lock();
    let shown = format!("{queue:?}");
    assert!(shown.contains("frame_bytes: 50"), "{shown}");
    assert!(!shown.contains("waiting") && !shown.contains("locked"), "{shown}");
}

#[test]
fn a_datagram_that_the_kernel_refuses_for_its_size_is_told_of() {
    let queue = queue_of(&["1"]);
    let mut batch = taken(&queue);
    batch.clear();
    queue.settle(&mut batch, Tally { too_large: 1, ..Tally::default() });
    assert_eq!(balance(&queue).dropped.too_large, 1);
    assert_eq!(queue.take_failures().len(), 1);
}

#[test]
fn what_is_kept_one_after_the_other_takes_no_memory_for_each() {
    let queue = Queue::new(BOUNDS);
    let keep = |frame: &str| {
        let _ = queue.push(frame.as_bytes());
        let mut kept = Frames::default();
        queue.keep(&mut kept, 5, 100, 0);
        assert_eq!(kept.len(), 1);
    };
    (0..1000).for_each(|_| keep("x"));
    assert_eq!(queue.lock().kept.len(), 1);
    assert_eq!(balance(&queue).queued, 1000);
    // A message that was dropped in between is no part of it.
    for frame in ["1", "2", "3", "4", "5", "6"] {
        let _ = queue.push(frame.as_bytes());
    }
    let mut kept = Frames::default();
    queue.keep(&mut kept, 5, 100, 0);
    assert_eq!(queue.lock().kept.len(), 2);
    queue.settled(1004);
    assert_eq!(queue.lock().oldest(), 1005);
    assert_eq!(balance(&queue).queued, 1);
}

#[test]
fn a_flush_during_which_the_spool_was_found_damaged_does_not_say_that_all_is_safe() {
    let queue = queue_of(&["1", "2"]);
    let mut kept = Frames::default();
    queue.keep(&mut kept, 10, 100, 0);
    let flush = queue.flush(LONG, LONG);
    queue.count(|stats| stats.damaged += 1);
    queue.settled(2);
    assert_eq!(flush.wait(LONG), Some(false));
}
