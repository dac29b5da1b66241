use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

fn at(text: &str) -> Timestamp {
    format!("{text}Z").parse().unwrap()
}

fn noon(day: u32) -> Timestamp {
    at(&format!("2026-11-{day:02}T12:00:00"))
}

/// A folder with an own log in it.
struct Scene {
    folder: TempDir,
    when: When,
    backup_count: u32,
}

impl Scene {
    fn new(when: When, backup_count: u32) -> Scene {
        Scene { folder: tempfile::tempdir().unwrap(), when, backup_count }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, now: Timestamp) -> LogFile {
        let path = self.path("loghogd.log");
        LogFile::open(&path, self.when, self.backup_count, TimeZone::UTC, now).unwrap()
    }

    /// All files: the ends of their names behind `loghogd`, and their content.
    fn files(&self) -> BTreeMap<String, String> {
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                (name.trim_start_matches("loghogd").to_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    fn put(&self, name: &str, content: &str, modified: Timestamp) {
        fs::write(self.path(name), content).unwrap();
        let file = OpenOptions::new().append(true).open(self.path(name)).unwrap();
        file.set_modified(modified.into()).unwrap();
    }
}

fn write(log: &mut LogFile, line: &str, now: Timestamp) {
    log.turn_if_due(now).unwrap();
    log.write(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn the_file_turns_with_the_first_line_after_midnight() {
    let scene = Scene::new(When::Midnight, 14);
    let mut log = scene.open(noon(20));
    write(&mut log, "one", noon(20));
    write(&mut log, "two", at("2026-11-20T23:59:59.9"));
    assert_eq!(scene.names(), [".log"]);
    write(&mut log, "three", at("2026-11-21T00:00:00"));
    // Nothing was logged on the 22nd.
    write(&mut log, "four", noon(23));
    let files = scene.files();
    assert_eq!(files[".log.2026-11-20"], "one\ntwo\n");
    assert_eq!(files[".log.2026-11-21"], "three\n");
    assert_eq!(files[".log"], "four\n");
    assert_eq!(files.len(), 3);
}

#[test]
fn a_turn_that_was_missed_while_the_daemon_was_down_comes_with_the_first_line() {
    let scene = Scene::new(When::Midnight, 14);
    scene.put("loghogd.log", "old\n", noon(10));
    let mut log = scene.open(noon(20));
    assert_eq!(scene.names(), [".log"]);
    write(&mut log, "new", noon(20));
    assert_eq!(scene.files()[".log.2026-11-10"], "old\n");
    assert_eq!(scene.files()[".log"], "new\n");
    // A restart on the same day changes nothing.
    scene.put("loghogd.log", "new\n", noon(20));
    write(&mut scene.open(noon(20)), "newer", noon(20));
    assert_eq!(scene.files()[".log"], "new\nnewer\n");
}

#[test]
fn an_empty_file_does_not_turn() {
    let scene = Scene::new(When::EverySecond, 14);
    let mut log = scene.open(noon(20));
    write(&mut log, "one", noon(21));
    assert_eq!(scene.names(), [".log"]);
}

#[test]
fn only_the_oldest_files_with_exact_names_are_deleted() {
    let scene = Scene::new(When::Midnight, 2);
    let others = [
        "loghogd.log.2026-11-01.gz",
        "loghogd.log.2026-11-01_12",
        "loghogd.log.2026-02-30",
        "loghogd.log.1",
        "loghogd.log.old",
        "loghogd.log2026-11-01",
        "other.log.2026-11-01",
        "2026-11-01",
    ];
    for name in others {
        scene.put(name, "kept\n", noon(1));
    }
    fs::create_dir(scene.path("loghogd.log.2026-10-01")).unwrap();
    std::os::unix::fs::symlink("/nowhere", scene.path("loghogd.log.2026-10-02")).unwrap();
    for day in 11..=15 {
        scene.put(&format!("loghogd.log.2026-11-{day}"), "old\n", noon(day));
    }
    scene.put("loghogd.log", "last\n", noon(19));
    write(&mut scene.open(noon(20)), "new", noon(20));
    let files = scene.files();
    assert_eq!(files.values().filter(|content| *content == "kept\n").count(), others.len());
    assert_eq!(files[".log.2026-11-19"], "last\n");
    assert_eq!(files[".log.2026-11-15"], "old\n");
    assert_eq!(files.len(), others.len() + 3, "{files:#?}");
    assert!(scene.path("loghogd.log.2026-10-01").is_dir());
    assert!(scene.path("loghogd.log.2026-10-02").is_symlink());
}

#[test]
fn a_count_of_zero_keeps_all() {
    let scene = Scene::new(When::EveryMinute, 0);
    let mut log = scene.open(noon(20));
    for minute in 0..30 {
        write(&mut log, "x", at(&format!("2026-11-20T12:{minute:02}:00")));
    }
    assert_eq!(scene.names().len(), 30);
}

#[test]
fn a_time_that_comes_twice_waits_for_the_next_turn_instead_of_overwriting() {
    let scene = Scene::new(When::EveryHour, 14);
    scene.put("loghogd.log.2026-11-20_12", "first\n", noon(20));
    let mut log = scene.open(noon(20));
    write(&mut log, "second", noon(20));
    write(&mut log, "third", at("2026-11-20T13:00:00"));
    assert_eq!(scene.files()[".log"], "second\nthird\n");
    write(&mut log, "fourth", at("2026-11-20T14:00:00"));
    let files = scene.files();
    assert_eq!(files[".log.2026-11-20_12"], "first\n");
    assert_eq!(files[".log.2026-11-20_13"], "second\nthird\n");
    assert_eq!(files[".log"], "fourth\n");
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_and_not_turned() {
    let scene = Scene::new(When::Midnight, 14);
    let mut log = scene.open(noon(20));
    write(&mut log, "one", noon(20));
    fs::rename(scene.path("loghogd.log"), scene.path("moved")).unwrap();
    write(&mut log, "two", noon(20));
    scene.put("loghogd.log", "somebody else's\n", noon(20));
    write(&mut log, "three", noon(21));
    let files = scene.files();
    assert_eq!(files["moved"], "one\ntwo\n");
    assert_eq!(files[".log"], "somebody else's\nthree\n");
    // SIGHUP: it is still the same file, whenever that was changed last.
    log.reopen(noon(21)).unwrap();
    write(&mut log, "four", noon(21));
    assert_eq!(scene.files()[".log"], "somebody else's\nthree\nfour\n");
    fs::remove_file(scene.path("loghogd.log")).unwrap();
    log.reopen(noon(21)).unwrap();
    write(&mut log, "five", noon(21));
    assert_eq!(scene.files()[".log"], "five\n");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_turns() {
    let scene = Scene::new(When::EveryHour, 14);
    let mut log = scene.open(at("2040-01-01T00:00:00"));
    write(&mut log, "far away", at("2040-01-01T00:00:00"));
    write(&mut log, "back", noon(20));
    write(&mut log, "later", at("2026-11-20T13:00:00"));
    assert_eq!(scene.files()[".log.2026-11-20_12"], "far away\nback\n");
    assert_eq!(scene.files()[".log"], "later\n");
}

#[test]
fn what_is_no_regular_file_never_turns() {
    let scene = Scene::new(When::EverySecond, 14);
    let path = Path::new("/dev/null");
    let mut log = LogFile::open(path, scene.when, 1, TimeZone::UTC, noon(20)).unwrap();
    write(&mut log, "one", noon(20));
    write(&mut log, "two", noon(21));
    assert!(path.exists());
}

#[test]
fn a_folder_that_refuses_costs_no_line_and_is_tried_again_later() {
    let scene = Scene::new(When::EverySecond, 14);
    let mut log = scene.open(noon(20));
    write(&mut log, "one", noon(20));
    // Root may write anywhere: a folder in the place of the new name refuses
    // everybody, because its name is longer than names can be.
    let long = scene.path(&"x".repeat(250));
    let mut long = LogFile { path: long, ..log };
    fs::rename(scene.path("loghogd.log"), &long.path).unwrap();
    let error = long.turn_if_due(noon(21)).unwrap_err();
    assert!(error.to_string().contains("cannot turn the own log"), "{error}");
    long.write(b"two\n").unwrap();
    let soon = noon(21).checked_add(SignedDuration::from_secs(59)).unwrap();
    long.turn_if_due(soon).unwrap();
    assert!(long.turn_if_due(noon(22)).is_err());
    assert_eq!(fs::read_to_string(&long.path).unwrap(), "one\ntwo\n");
}

#[test]
fn a_turned_file_that_cannot_be_deleted_is_told() {
    let scene = Scene::new(When::Midnight, 1);
    scene.put("loghogd.log", "last\n", noon(19));
    for day in [17, 18] {
        scene.put(&format!("loghogd.log.2026-11-{day}"), "old\n", noon(day));
    }
    let mut log = scene.open(noon(20));
    let permissions = |mode| {
        fs::set_permissions(scene.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    };
    permissions(0o500);
    let refused = log.turn_if_due(noon(20));
    permissions(0o700);
    if nix::unistd::geteuid().is_root() {
        assert!(refused.is_ok());
    } else {
        assert!(refused.unwrap_err().to_string().contains("cannot turn"));
        assert_eq!(scene.names().len(), 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Whatever the times are, also when the clock goes back: every line is in
    // exactly one file, and in its order.
    #[test]
    fn no_line_is_lost_and_none_is_doubled(
        steps in prop::collection::vec((-90_000..90_000_i64, any::<bool>()), 1..40),
        when in prop::sample::select(&[
            When::EverySecond, When::EveryMinute, When::EveryHour, When::EveryDay, When::Midnight,
            When::Weekly { weekday: 3 },
        ][..]),
    ) {
        let scene = Scene::new(when, 0);
        let mut now = noon(20);
        let mut log = scene.open(now);
        for (number, (seconds, restart)) in steps.iter().enumerate() {
            now += SignedDuration::from_secs(*seconds);
            if *restart {
                log = scene.open(now);
            }
            write(&mut log, &number.to_string(), now);
        }
        let mut lines = Vec::new();
        for content in scene.files().values() {
            let of_file: Vec<usize> = content.lines().map(|line| line.parse().unwrap()).collect();
            prop_assert!(of_file.is_sorted());
            lines.extend(of_file);
        }
        lines.sort_unstable();
        prop_assert_eq!(lines, (0..steps.len()).collect::<Vec<_>>());
    }
}
