//! Trimming on a shelf in memory, and on a real folder where its kinds of
//! files matter.

mod properties;
mod shelf;

use self::shelf::Shelf;
use super::*;
use crate::config::read_facilities;
use crate::disk::LogDir;
use crate::pipeline::rotate::name::{Name, Segment};
use crate::pipeline::ship::Receipts;
use crate::pipeline::tally::kept::Tallies;
use std::fs;
use std::path::Path;

/// Noon of a day in November; tests are at the end of the month.
fn noon(day: u32) -> Timestamp {
    format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
}

fn now() -> Timestamp {
    noon(30)
}

/// The name of a segment that began on a day in November.
fn of(day: u32) -> String {
    format!("root.log.2026-11-{day:02}-00-00-00-000000")
}

fn table(text: &str) -> Table {
    read_facilities(text.as_bytes(), Path::new("facilities.conf")).unwrap()
}

/// The application `a` with these options, and nothing else.
fn rules(options: &str) -> Table {
    table(&format!("[a]\nrotate = daily\nbackup_count = 1000\n{options}\n"))
}

fn trimmer(min_free: Option<MinFree>) -> Trimmer {
    Trimmer::new(min_free, TimeZone::UTC, Arc::new(Stats::new()), Receipts::none(), Tallies::none())
}

fn segment(name: &str) -> Segment {
    let Name::Segment(segment) = Name::read(name) else { panic!("{name}") };
    segment
}

/// Trims everything once under `table`.
fn trim(shelf: &Shelf, table: &Table) -> Trimmed {
    trimmer(None).trim(shelf, table, &Claims::new(), now(), None)
}

/// A live file and a segment of 1,000 bytes for each of these days.
fn shelf(days: impl IntoIterator<Item = u32>) -> Shelf {
    let shelf = Shelf::new();
    shelf.put("a", "root.log", 1_000, now());
    for day in days {
        shelf.put("a", &of(day), 1_000, noon(day));
    }
    shelf
}

#[test]
fn the_oldest_segments_beyond_the_count_go() {
    let shelf = shelf(1..=5);
    let mut table = table("[a]\nrotate = daily\nbackup_count = 2\n");
    let trimmed = trim(&shelf, &table);
    assert_eq!((trimmed.deleted, trimmed.deleted_bytes), (3, 3_000));
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(4), of(5)]);
    assert_eq!(shelf.synced(), ["a"]);
    table = rules("");
    assert_eq!(trim(&shelf, &table), Trimmed { space: trimmed.space, ..Trimmed::default() });
}

#[test]
fn plain_and_sealed_of_one_beginning_count_and_go_as_one() {
    let shelf = shelf([1, 2, 3]);
    for day in 1..=3 {
        shelf.put("a", &format!("{}.xz", of(day)), 100, noon(day));
    }
    let trimmed = trim(&shelf, &table("[a]\nrotate = daily\nbackup_count = 2\n"));
    assert_eq!((trimmed.deleted, trimmed.deleted_bytes), (1, 1_100));
    assert!(!shelf.has("a", &of(1)) && !shelf.has("a", &format!("{}.xz", of(1))));
    assert!(shelf.has("a", &of(2)) && shelf.has("a", &format!("{}.xz", of(2))));
}

#[test]
fn each_file_of_a_facility_is_counted_alone() {
    let shelf = Shelf::new();
    for host in ["h1", "h2"] {
        for day in 1..=3 {
            shelf.put("a", &format!("{host}-{}", of(day)), 1, noon(day));
        }
    }
    let table = table("[a]\nrotate = daily\nbackup_count = 2\nfile_per_host = yes\n");
    assert_eq!(trim(&shelf, &table).deleted, 2);
    assert_eq!(shelf.names_in("a").len(), 4);
}

#[test]
fn a_segment_goes_when_its_last_line_is_too_old_and_not_before() {
    let shelf = shelf([10, 20, 25]);
    // The one of the 10th ended at noon of the 20th at the latest.
    let table = rules("max_age = 10d");
    let trimmed = trim(&shelf, &table);
    assert_eq!(trimmed.deleted, 2);
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(25)]);
    assert_eq!(trimmed.next_due, Some("2026-12-05T12:00:00Z".parse().unwrap()));
    let mut trimmer = trimmer(None);
    let due = trimmed.next_due.unwrap();
    let before = due - jiff::SignedDuration::from_secs(1);
    assert_eq!(trimmer.trim(&shelf, &table, &Claims::new(), before, None).deleted, 0);
    let trimmed = trimmer.trim(&shelf, &table, &Claims::new(), due, None);
    assert_eq!((trimmed.deleted, trimmed.next_due), (1, None));
}

#[test]
fn the_next_due_of_folders_that_were_left_out_is_remembered() {
    let shelf = Shelf::new();
    shelf.put("a", &of(25), 1, noon(25));
    shelf.put("b", &of(24), 1, noon(24));
    let section = "rotate = daily\nbackup_count = 9\nmax_age = 10d\n";
    let both = table(&format!("[a]\n{section}[b]\n{section}"));
    let mut trimmer = trimmer(None);
    let mut due = |table: &Table, folders| {
        let folders: Option<&[&str]> = folders;
        let folders =
            folders.map(|folders| folders.iter().map(|folder| (*folder).into()).collect());
        trimmer.trim(&shelf, table, &Claims::new(), now(), folders.as_ref()).next_due
    };
    let at = |day| Some(format!("2026-12-{day:02}T12:00:00Z").parse().unwrap());
    assert_eq!(due(&both, Some(&["a"])), at(5));
    assert_eq!(due(&both, None), at(4));
    assert_eq!(due(&both, Some(&["a"])), at(4));
    // The application is gone after a reload.
    assert_eq!(due(&table(&format!("[a]\n{section}")), Some(&[])), at(5));
}

#[test]
fn live_files_count_to_the_total_but_never_go() {
    let shelf = shelf(1..=5);
    assert_eq!(trim(&shelf, &rules("max_total_size = 3500")).deleted, 3);
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(4), of(5)]);
    assert_eq!(trim(&shelf, &rules("max_total_size = 500")).deleted, 2);
    assert_eq!(shelf.names_in("a"), ["root.log"]);
}

#[test]
fn the_total_is_that_of_all_hosts_and_the_oldest_of_them_go() {
    let shelf = Shelf::new();
    for (host, day) in [("h1", 5), ("h2", 1), ("h1", 2), ("h2", 4), ("h3", 3)] {
        shelf.put("a", &format!("{host}-{}", of(day)), 1_000, noon(day));
    }
    let hosts = rules("file_per_host = yes\nmax_total_size = 2000");
    assert_eq!(trim(&shelf, &hosts).deleted, 3);
    assert_eq!(shelf.names_in("a"), [format!("h1-{}", of(5)), format!("h2-{}", of(4))]);
}

#[test]
fn the_total_of_one_facility_does_not_touch_another() {
    let shelf = shelf(1..=3);
    shelf.put("a", "web.log.2026-11-01-00-00-00-000000", 9_000, noon(1));
    let section = "rotate = daily\nbackup_count = 9\n";
    let table = table(&format!("[a]\n{section}max_total_size = 9999\n[a:web]\n{section}"));
    assert_eq!(trim(&shelf, &table).deleted, 0);
}

#[test]
fn room_is_made_from_the_oldest_segments_of_all_facilities() {
    let shelf = shelf([2, 4, 6]);
    for day in [1, 3, 5] {
        shelf.put("b", &of(day), 1_000, noon(day));
    }
    shelf.set_space(100_000, 1_000);
    let section = "rotate = daily\nbackup_count = 9\n";
    let table = table(&format!("[a]\n{section}[b]\n{section}"));
    let mut trimmer = trimmer(Some(MinFree::Percent { tenths: 50 }));
    // Room is made everywhere, whatever has changed.
    let trimmed = trimmer.trim(&shelf, &table, &Claims::new(), now(), Some(&BTreeSet::new()));
    assert_eq!((trimmed.deleted, trimmed.short_of_room), (4, false));
    assert_eq!(trimmed.space.unwrap().free_bytes, 5_000);
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(6)]);
    assert_eq!(shelf.names_in("b"), [of(5)]);
    assert_eq!(trimmer.trim(&shelf, &table, &Claims::new(), now(), None).deleted, 0);
}

#[test]
fn what_other_rules_delete_counts_as_room() {
    let shelf = shelf(1..=5);
    shelf.set_space(100_000, 1_000);
    let mut trimmer = trimmer(Some(MinFree::Bytes(3_000)));
    let table = table("[a]\nrotate = daily\nbackup_count = 3\n");
    assert_eq!(trimmer.trim(&shelf, &table, &Claims::new(), now(), None).deleted, 2);
}

#[test]
fn a_disk_that_others_have_filled_is_told_and_live_files_stay() {
    let shelf = shelf([1]);
    shelf.set_space(100_000, 0);
    let mut trimmer = trimmer(Some(MinFree::Bytes(50_000)));
    let trimmed = trimmer.trim(&shelf, &rules(""), &Claims::new(), now(), None);
    assert_eq!((trimmed.deleted, trimmed.short_of_room), (1, true));
    assert_eq!(shelf.names_in("a"), ["root.log"]);
}

#[test]
fn more_room_than_there_is_deletes_nothing() {
    let shelf = shelf(1..=3);
    shelf.set_space(10_000, 0);
    let mut trimmer = trimmer(Some(MinFree::Bytes(10_000)));
    let trimmed = trimmer.trim(&shelf, &rules(""), &Claims::new(), now(), None);
    assert_eq!((trimmed.deleted, trimmed.next_due), (0, None));
    assert_eq!(trimmer.said.len(), 1);
}

/// btrfs and others give room back some time after a file was deleted.
#[test]
fn room_that_does_not_show_at_once_is_waited_for() {
    let shelf = shelf(1..=9);
    shelf.set_space(100_000, 1_000);
    shelf.keep_room_back();
    let (table, claims) = (rules(""), Claims::new());
    let mut trimmer = trimmer(Some(MinFree::Bytes(3_000)));
    let trimmed = trimmer.trim(&shelf, &table, &claims, now(), None);
    assert_eq!((trimmed.deleted, trimmed.short_of_room), (2, false));
    for seconds in 1..30 {
        let later = now() + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(trimmer.trim(&shelf, &table, &claims, later, None).deleted, 0);
    }
    // It never came: more has to go.
    let much_later = now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, much_later, None).deleted, 2);
}

#[test]
fn claimed_segments_stay_until_they_are_released() {
    let shelf = shelf(1..=4);
    let claims = Claims::new();
    let claim = claims.claim("a", &segment(&format!("{}.xz", of(1))));
    let table = table("[a]\nrotate = daily\nbackup_count = 2\nmax_age = 5d\n");
    let mut trimmer = trimmer(None);
    let trimmed = trimmer.trim(&shelf, &table, &claims, noon(5), None);
    assert_eq!(trimmed.deleted, 1);
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(1), of(3), of(4)]);
    // What is claimed and overdue does not make anybody come again at once.
    let trimmed = trimmer.trim(&shelf, &table, &claims, noon(7), None);
    assert_eq!((trimmed.deleted, trimmed.next_due), (0, Some(noon(8))));
    drop(claim);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, noon(7), None).deleted, 1);
}

/// Guards against a claimed segment that counts as gone while it is surplus, and no
/// longer once others have gone: another one went in its place the next time.
#[test]
fn a_second_trim_deletes_nothing_though_a_claimed_segment_is_no_longer_surplus() {
    let shelf = Shelf::new();
    // The segment of day 2 was touched late: it ages with the one behind it.
    for (host, day, changed) in [("h1", 2, 6), ("h1", 3, 3), ("h2", 4, 4), ("h1", 6, 6)] {
        shelf.put("a", &format!("{host}-{}", of(day)), 1_000, noon(changed));
    }
    let table = table(
        "[a]\nrotate = daily\nbackup_count = 2\nfile_per_host = yes\nmax_total_size = 2500\n",
    );
    let claims = Claims::new();
    let claim = claims.claim("a", &segment(&format!("h1-{}", of(2))));
    let mut trimmer = trimmer(None);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 1);
    let left = [format!("h1-{}", of(2)), format!("h1-{}", of(6)), format!("h2-{}", of(4))];
    assert_eq!(shelf.names_in("a"), left);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 0);
    // It counts again.
    drop(claim);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 1);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 0);
}

/// What is being sealed is there for a moment only, and often far longer than sealed.
#[test]
fn what_is_claimed_has_nothing_else_deleted_for_the_total() {
    let shelf = shelf(1..=3);
    let claims = Claims::new();
    let claim = claims.claim("a", &segment(&of(3)));
    let (table, mut trimmer) = (rules("max_total_size = 3500"), trimmer(None));
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 0);
    drop(claim);
    assert_eq!(trimmer.trim(&shelf, &table, &claims, now(), None).deleted, 1);
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(2), of(3)]);
}

#[test]
fn one_trouble_stops_nothing_else_and_is_tried_again() {
    let shelf = shelf(1..=3);
    shelf.put("b", &of(1), 1, noon(1));
    shelf.refuse_names("b");
    shelf.refuse_removal("a", &of(1));
    let section = "rotate = daily\nbackup_count = 1\n";
    let table = table(&format!("[b]\n{section}max_age = 1\n[a]\n{section}"));
    let mut trimmer = trimmer(None);
    for _ in 0..2 {
        let trimmed = trimmer.trim(&shelf, &table, &Claims::new(), now(), None);
        assert_eq!(trimmed.next_due, now().checked_add(TRIM_RETRY).ok());
        assert_eq!(trimmer.said.len(), 2);
    }
    assert_eq!(shelf.names_in("a"), ["root.log".to_owned(), of(1), of(3)]);
    assert_eq!(trimmer.stats.get(Counter::TrimFailures), 4);
    assert_eq!(trimmer.stats.get(Counter::SegmentsTrimmed), 1);
    assert_eq!(trimmer.stats.get(Counter::TrimmedBytes), 1_000);
}

/// A daemon is asked about everything in its folder, and touches its own.
#[test]
fn what_is_not_exactly_a_segment_of_a_facility_is_never_touched() {
    let shelf = shelf(1..=3);
    let foreign = [
        ("a", "root.web.log.2026-11-01-00-00-00-000000"),
        ("a", "root-old.log.2026-11-01-00-00-00-000000"),
        ("a", "web.log.2026-11-01-00-00-00-000000"),
        ("a", "h-root.log.2026-11-01-00-00-00-000000"),
        ("a", "root.log.2026-11-01-00-00-00-000000.xz.part"),
        ("a", "root.log.2026-11-01-00-00-00-000000.damaged"),
        ("a", "root.log.2026-11-01-00-00-00-000000.XZ"),
        ("a", "root.log.2026-13-01-00-00-00-000000"),
        ("a", "root.log.gz"),
        ("a", "root.log.1"),
        ("other", "root.log.2026-11-01-00-00-00-000000"),
    ];
    for (folder, name) in foreign {
        shelf.put(folder, name, 1 << 30, noon(1));
    }
    shelf.set_space(1 << 40, 0);
    let table = table("[a]\nrotate = daily\nbackup_count = 1\nmax_age = 1s\nmax_total_size = 1\n");
    let mut trimmer = trimmer(Some(MinFree::Percent { tenths: 500 }));
    let trimmed = trimmer.trim(&shelf, &table, &Claims::new(), now(), None);
    assert_eq!(trimmed.deleted, 3);
    for (folder, name) in foreign {
        assert!(shelf.has(folder, name), "{name}");
    }
}

#[test]
fn links_and_folders_with_the_name_of_a_segment_stay() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let app = folder.path().join("a");
    fs::create_dir(&app).unwrap();
    fs::write(outside.path().join("kept"), "kept").unwrap();
    std::os::unix::fs::symlink(outside.path().join("kept"), app.join(of(1))).unwrap();
    fs::create_dir(app.join(of(2))).unwrap();
    for day in 3..=6 {
        fs::write(app.join(of(day)), "line\n").unwrap();
    }
    std::os::unix::fs::symlink(outside.path(), folder.path().join("linked")).unwrap();
    fs::write(outside.path().join(of(1)), "kept").unwrap();
    let log_dir = LogDir::open(folder.path()).unwrap();
    let section = "rotate = daily\nbackup_count = 1\nmax_total_size = 1\n";
    let table = table(&format!("[a]\n{section}[linked]\n{section}"));
    let trimmed = trimmer(None).trim(&log_dir, &table, &Claims::new(), now(), None);
    assert_eq!(trimmed.deleted, 4);
    assert!(app.join(of(1)).is_symlink() && app.join(of(2)).is_dir());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
}

#[test]
fn many_deletions_are_told_in_few_lines() {
    let shelf = Shelf::new();
    for day in 1..=28 {
        for hour in 0..24 {
            let name = format!("root.log.2026-11-{day:02}-{hour:02}-00-00-000000");
            shelf.put("a", &name, 10, noon(day));
        }
    }
    let table = table("[a]\nrotate = hourly\nbackup_count = 100\n");
    let holdings = {
        let (mut trouble, claims, receipts) = (None, Claims::new(), Receipts::none());
        let needs = list::Needs { claims: &claims, receipts: &receipts };
        list::list(&shelf, &table, "a", needs, &TimeZone::UTC, &mut trouble).unwrap()
    };
    let choice = choose(&holdings, now(), 0);
    let mut done = Done::default();
    choice.deletions.iter().for_each(|deletion| done.add(*deletion));
    assert_eq!((done.deleted, done.deleted_bytes), (28 * 24 - 100, 5_720));
    assert_eq!(done.lines().len(), 1);
}

/// Runs the room in a thread of its own, and answers when `until` holds.
fn while_it_runs(
    mut trimmer: Trimmer,
    shelf: &Shelf,
    table: Table,
    steps: impl FnOnce(&Bell, &Clock),
) {
    let (bell, table) = (Bell::default(), ArcSwap::from_pointee(table));
    let clock = Clock::standing(now(), TimeZone::UTC);
    std::thread::scope(|scope| {
        scope.spawn(|| trimmer.run(shelf, &table, &Claims::new(), &clock, &bell));
        steps(&bell, &clock);
        bell.end();
    });
}

fn wait_until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_start_a_new_segment_and_a_time_that_comes_are_each_looked_at() {
    let shelf = shelf([1, 28]);
    let table = table("[a]\nrotate = daily\nbackup_count = 2\nmax_age = 5d\n");
    while_it_runs(trimmer(None), &shelf, table, |bell, clock| {
        wait_until(|| !shelf.has("a", &of(1)));
        for day in [29, 30] {
            shelf.put("a", &of(day), 1, noon(30));
        }
        bell.ring_for("a");
        wait_until(|| !shelf.has("a", &of(28)));
        // The clock is set: whoever rings next, the time has come.
        clock.set("2026-12-06T12:00:00Z".parse().unwrap());
        bell.ring_for("other");
        wait_until(|| shelf.names_in("a") == ["root.log"]);
    });
}

#[test]
fn a_segment_that_becomes_too_old_goes_without_anybody_ringing() {
    let shelf = Shelf::new();
    let second = Timestamp::now();
    shelf.put("a", &of(1), 1, second);
    let table = ArcSwap::from_pointee(rules("max_age = 1s"));
    let (bell, clock) = (Bell::default(), Clock::system());
    std::thread::scope(|scope| {
        scope.spawn(|| trimmer(None).run(&shelf, &table, &Claims::new(), &clock, &bell));
        wait_until(|| shelf.names_in("a").is_empty());
        bell.end();
    });
    assert!(Timestamp::now().duration_since(second).as_secs() >= 1);
}

#[test]
fn calls_for_room_that_nobody_can_make_are_answered_seldom() {
    let shelf = shelf([]);
    shelf.set_space(100_000, 0);
    let trimmer = trimmer(Some(MinFree::Bytes(50_000)));
    while_it_runs(trimmer, &shelf, rules(""), |bell, _| {
        for _ in 0..200 {
            bell.ring_for_room();
            std::thread::yield_now();
        }
        // Heard after all the others.
        shelf.set_space(100_000, 60_000);
        shelf.put("a", &of(1), 1, noon(1));
        bell.ring_for("a");
    });
    assert!(shelf.listed() <= 4, "listed {} times", shelf.listed());
}
