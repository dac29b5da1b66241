//! The spool by itself: bounds, locks, what one program leaves to the next.

mod attack;
mod crash;

use std::fs;
use std::path::Path;

use super::*;

const BOUNDS: SpoolBounds = SpoolBounds { bytes: 1 << 20, file_bytes: 200 };

fn open(dir: &Path) -> Spool {
    open_or(dir).unwrap()
}

fn open_or(dir: &Path) -> Result<Spool, SpoolError> {
    Spool::open(dir, "app", BOUNDS, &mut |error| panic!("a folder cannot be used: {error}"))
}

fn adopt(dir: &Path) -> Option<Spool> {
    Spool::adopt(dir, "app", BOUNDS, &[]).unwrap()
}

fn frames(texts: &[String]) -> Frames {
    let mut frames = Frames::default();
    texts.iter().for_each(|text| frames.push(text.as_bytes()));
    frames
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

fn fill(spool: &mut Spool, texts: &[String]) {
    let (kept, error) = spool.append(spool.next_number(), &frames(texts));
    assert!(error.is_none());
    assert_eq!(kept, texts.len());
}

/// All that is in a spool, with its numbers.
fn held(spool: &mut Spool) -> Vec<(u64, String)> {
    let (mut all, mut after) = (Vec::new(), 0);
    while let Some(run) = spool.read(after, 100).unwrap() {
        for (number, record) in (run.first..).zip(run.records.iter()) {
            all.push((number, String::from_utf8(record.to_vec()).unwrap()));
            after = number;
        }
    }
    all
}

fn only_folder(dir: &Path) -> PathBuf {
    fs::read_dir(dir.join("app")).unwrap().next().unwrap().unwrap().path()
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(only_folder(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

#[test]
fn what_a_killed_program_left_is_there_under_its_id_and_new_numbers_are_far_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let id = spool.id();
    fill(&mut spool, &texts(50));
    drop(spool);
    assert!(log_files(dir.path()).len() > 3);
    let mut again = open(dir.path());
    assert_eq!(again.id(), id);
    let held = held(&mut again);
    assert_eq!(held.len(), 50);
    assert_eq!(held[49], (50, "message 49".to_owned()));
    assert!(again.next_number() > NUMBERS_SKIPPED);
}

#[test]
fn acknowledged_files_go_and_acknowledged_records_are_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let (files, bytes) = (log_files(dir.path()).len(), spool.bytes());
    spool.acknowledge(30);
    assert!(log_files(dir.path()).len() < files && spool.bytes() < bytes);
    assert_eq!(held(&mut spool)[0], (31, "message 30".to_owned()));
    spool.sync().unwrap();
    drop(spool);
    let mut again = open(dir.path());
    assert_eq!(held(&mut again)[0], (31, "message 30".to_owned()));
    again.acknowledge(50);
    assert!(again.is_empty() && log_files(dir.path()).is_empty());
}

#[test]
fn a_file_goes_with_its_last_record_and_no_sooner() {
    for is_retired in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        fill(&mut spool, &texts(50));
        if is_retired {
            spool.retire();
        }
        let firsts: Vec<u64> = spool.files.iter().map(|file| file.first).collect();
        assert!(firsts.len() > 5);
        for number in 1..=50 {
            spool.acknowledge(number);
            let numbers: Vec<u64> =
                held(&mut spool).into_iter().map(|(number, _)| number).collect();
            assert_eq!(numbers, (number + 1..=50).collect::<Vec<_>>());
            assert_eq!(spool.is_empty(), number == 50, "{number} of 50 acknowledged");
            // The end of a file is the beginning of the next.
            let ended = firsts.iter().skip(1).filter(|first| **first <= number + 1).count();
            let ended = ended + usize::from(is_retired && number == 50);
            assert_eq!(log_files(dir.path()).len(), firsts.len() - ended);
        }
    }
}

#[test]
fn what_cannot_be_synced_is_not_taken_for_safe_and_is_tried_again() {
    // Nothing can be synced there (EINVAL).
    let nowhere = || fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    for is_retired in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        fill(&mut spool, &texts(1));
        let good = spool.tail.replace(nowhere());
        if is_retired {
            spool.retire();
            // The file that comes next has no fault.
            fill(&mut spool, &texts(1));
        }
        for _ in 0..2 {
            let error = spool.sync().unwrap_err().to_string();
            assert!(error.contains("cannot write into the spool"), "{error}");
            assert!(spool.needs_sync());
        }
        match is_retired {
            true => spool.retired = good.into_iter().map(|file| (1, file)).collect(),
            false => spool.tail = good,
        }
        let (path, elsewhere) = (spool.folder.path.clone(), dir.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        assert!(spool.sync().is_err() && spool.needs_sync(), "their names are not synced");
        fs::rename(&elsewhere, &path).unwrap();
        spool.sync().unwrap();
        assert!(!spool.needs_sync() && spool.retired.is_empty());
    }
}

#[test]
fn reading_goes_on_while_files_are_acknowledged_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut after = 0;
    for round in 0..50_u64 {
        fill(&mut spool, &texts(7));
        while let Some(run) = spool.read(after, 64).unwrap() {
            assert_eq!(run.first, after + 1);
            after = run.end() - 1;
            spool.acknowledge(after);
        }
        assert_eq!(after, (round + 1) * 7);
    }
    assert_eq!(log_files(dir.path()).len(), spool.files.len());
    assert!(spool.files.len() <= 2);
    spool.close().unwrap();
    assert!(log_files(dir.path()).is_empty());
}

#[test]
fn a_folder_in_use_is_left_alone_and_one_left_behind_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    let mut second = open(dir.path());
    assert_ne!(first.id(), second.id());
    fill(&mut first, &texts(1));
    fill(&mut second, &texts(2));
    assert!(adopt(dir.path()).is_none());
    let id = second.id();
    drop(second);
    let mut adopted = adopt(dir.path()).unwrap();
    assert_eq!(adopted.id(), id);
    assert_eq!(held(&mut adopted).len(), 2);
    let path = adopted.folder.path.clone();
    adopted.remove();
    assert!(!path.exists());
    assert!(open(dir.path()).id() != first.id());
}

#[test]
fn numbers_are_not_given_again_though_all_files_were_deleted_and_nothing_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    spool.retire();
    spool.acknowledge(50);
    assert!(log_files(dir.path()).is_empty());
    drop(spool);
    let mut again = open(dir.path());
    let second = again.next_number();
    assert!(second > 50);
    fill(&mut again, &texts(50));
    again.retire();
    again.acknowledge(again.last());
    let last = again.last();
    drop(again);
    assert!(open(dir.path()).next_number() > last);
}

#[test]
fn many_who_open_and_adopt_at_once_never_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut spool = open(dir.path());
                    fill(&mut spool, &texts(3));
                    if let Some(other) = adopt(dir.path()) {
                        assert_ne!(other.id(), spool.id());
                        other.remove();
                    }
                    assert!(spool.folder.path.join("lock").exists());
                    let last = spool.last();
                    assert_eq!(held(&mut spool).last().unwrap().0, last);
                    spool.acknowledge(last);
                }
            });
        }
    });
}

#[test]
fn an_empty_folder_left_behind_is_removed_by_who_adopts() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = only_folder(dir.path());
    assert!(adopt(dir.path()).is_none());
    assert!(!path.exists());
}

#[test]
fn a_folder_that_holds_only_damage_is_told_of_by_who_adopts() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(1));
    drop(spool);
    fs::write(&log_files(dir.path())[0], "not an entry").unwrap();
    let mut adopted = adopt(dir.path()).unwrap();
    assert_eq!((held(&mut adopted), adopted.take_damaged()), (vec![], 1));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app"), "a file").unwrap();
    let error = open_or(dir.path()).unwrap_err().to_string();
    assert!(error.contains("app") && error.contains("memory"), "{error}");
}

#[test]
fn a_disk_that_refuses_leaves_what_was_there_and_later_records_follow() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(2));
    // The kernel refuses writes to a file that was opened for reading.
    let path = spool.folder.file(1);
    let good = spool.tail.replace(File::open(&path).unwrap());
    let (kept, error) = spool.append(3, &frames(&texts(2)));
    assert_eq!(kept, 0);
    assert!(error.unwrap().to_string().contains("memory"));
    drop(good);
    let (kept, error) = spool.append(5, &frames(&texts(2)));
    assert!(error.is_none() && kept == 2);
    let numbers: Vec<_> = held(&mut spool).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [1, 2, 5, 6]);
}

#[test]
fn a_damaged_file_costs_its_rest_and_says_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let second = log_files(dir.path()).remove(1);
    let mut bytes = fs::read(&second).unwrap();
    bytes[entry::HEADER_BYTES] ^= 1;
    fs::write(&second, bytes).unwrap();
    let held = held(&mut spool);
    let lost = 50 - held.len() as u64;
    assert!(lost > 0 && lost < 20);
    assert_eq!(spool.take_damaged(), lost);
    assert_eq!(held.last().unwrap().0, 50);
}

#[test]
fn a_file_that_somebody_has_cut_is_read_to_its_end_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let second = log_files(dir.path()).remove(1);
    let file = File::options().write(true).open(&second).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    let held = held(&mut spool);
    assert_eq!((held.len(), held.last().unwrap().0), (49, 50));
    assert_eq!(spool.take_damaged(), 1);
}

#[test]
fn damage_in_the_file_that_is_written_is_counted_and_what_follows_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(5));
    let only = log_files(dir.path()).remove(0);
    let mut bytes = fs::read(&only).unwrap();
    let third = 2 * (entry::HEADER_BYTES + "message 0".len());
    bytes[third + entry::HEADER_BYTES] ^= 1;
    fs::write(&only, bytes).unwrap();
    assert_eq!(held(&mut spool).len(), 2);
    assert_eq!(spool.take_damaged(), 3);
    fill(&mut spool, &texts(2));
    let numbers: Vec<_> = held(&mut spool).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [6, 7]);
    assert_eq!(spool.take_damaged(), 0);
}

#[test]
fn a_disk_that_refuses_every_sync_does_not_take_all_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..SPOOL_RETIRED_FILES_MAX {
        fill(&mut spool, &texts(20));
        for (_, file) in &mut spool.retired {
            // The kernel syncs no such file.
            *file = File::open("/dev/null").unwrap();
        }
        assert!(spool.retired.len() <= SPOOL_RETIRED_FILES_MAX + 1);
    }
    assert!(spool.sync().is_err());
    spool.acknowledge(spool.last());
    // What is not needed any more need not be synced.
    assert!(spool.retired.is_empty());
    spool.sync().unwrap();
}

#[test]
fn a_new_file_whose_first_write_fails_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(1));
    spool.retire();
    let made = spool.folder.make(2).unwrap();
    spool.files.push_back(Segment { first: 2, bytes: 0 });
    drop(made);
    // The kernel refuses writes to a file that was opened for reading.
    spool.tail = Some(File::open(spool.folder.file(2)).unwrap());
    assert!(spool.append(2, &frames(&texts(2))).1.is_some());
    let (kept, error) = spool.append(2, &frames(&texts(2)));
    assert!(error.is_none(), "{error:?}");
    assert_eq!((kept, held(&mut spool).len()), (2, 3));
}
