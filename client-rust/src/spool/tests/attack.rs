//! Folders that are not as we left them: links, other owners, newer versions,
//! files that went or were damaged.

use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::{Uid, chown, mkfifo};

use super::super::folder::check_folder;
use super::*;
use crate::limits::SPOOL_READ_TRIES;

/// A spool of fifty records that was left behind; its folder.
fn left_behind(dir: &Path) -> PathBuf {
    let mut spool = open(dir);
    fill(&mut spool, &texts(50));
    spool.folder.path.clone()
}

/// Opens, and gives what was said of folders that cannot be used.
fn open_and_hear(dir: &Path) -> (Spool, Vec<String>) {
    let mut heard = Vec::new();
    let spool = Spool::open(dir, "app", BOUNDS, &mut |error| heard.push(error.to_string()));
    (spool.unwrap(), heard)
}

#[test]
fn a_link_in_place_of_a_file_is_never_followed() {
    for name in ["00000000000000000001.log", "state", "state.new", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = left_behind(dir.path()).join(name);
        let _ = fs::remove_file(&path);
        symlink(&precious, &path).unwrap();
        let mut spool = open(dir.path());
        fill(&mut spool, &texts(1));
        spool.sync().unwrap();
        drop(spool);
        if let Some(spool) = adopt(dir.path()) {
            spool.remove();
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{name}");
    }
}

#[test]
fn what_a_link_leads_to_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    // It would hide all messages.
    let lie = dir.path().join("lie");
    fs::write(&lie, State { acknowledged: 50, ..State::default() }.to_text()).unwrap();
    fs::remove_file(path.join("state")).unwrap();
    symlink(&lie, path.join("state")).unwrap();
    let mut spool = open(dir.path());
    assert_eq!(held(&mut spool).len(), 50);
    drop(spool);
    // Somebody else's lock may be held by somebody else.
    fs::rename(path.join("lock"), &lie).unwrap();
    symlink(&lie, path.join("lock")).unwrap();
    assert_ne!(open(dir.path()).folder.path, path);
}

#[test]
fn a_link_in_place_of_a_folder_is_no_folder_of_ours() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = left_behind(elsewhere.path());
    let id = path.file_name().unwrap();
    fs::create_dir(dir.path().join("app")).unwrap();
    symlink(&path, dir.path().join("app").join(id)).unwrap();
    assert!(adopt(dir.path()).is_none());
    assert!(open(dir.path()).is_empty());
    // Nor is one in place of the application's.
    let dir = tempfile::tempdir().unwrap();
    symlink(elsewhere.path().join("app"), dir.path().join("app")).unwrap();
    let error = open_or(dir.path()).unwrap_err().to_string();
    assert!(error.contains("it is not a folder"), "{error}");
    assert_eq!(held(&mut open(elsewhere.path())).len(), 50);
}

#[test]
fn a_folder_of_another_user_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = match Uid::effective().is_root() {
        true => {
            chown(dir.path(), Some(Uid::from_raw(12_345)), None).unwrap();
            dir.path()
        }
        false => Path::new("/"),
    };
    let error = check_folder(foreign).unwrap_err();
    assert!(error.to_string().contains("another user"), "{error}");
}

#[test]
fn what_is_no_file_is_neither_read_nor_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    mkfifo(&path.join("00000000000000000099.log"), Mode::S_IRWXU).unwrap();
    fs::create_dir(path.join("00000000000000000098.log")).unwrap();
    let mut spool = open(dir.path());
    assert_eq!(held(&mut spool).len(), 50);
    drop(spool);
    // A lock that is none locks nobody in.
    fs::remove_file(path.join("lock")).unwrap();
    mkfifo(&path.join("lock"), Mode::S_IRWXU).unwrap();
    assert_ne!(open(dir.path()).folder.path, path);
}

#[test]
fn a_spool_of_a_newer_version_is_told_of_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    let text = state::with_crc("loghog-spool 2\nnew things\n");
    fs::write(path.join("state"), text).unwrap();
    let last = log_files(dir.path()).pop().unwrap();
    fs::write(&last, "entries of another kind").unwrap();
    let (other, heard) = open_and_hear(dir.path());
    assert_ne!(other.folder.path, path);
    assert!(heard.len() == 1 && heard[0].contains("layout 2"), "{heard:?}");
    assert!(adopt(dir.path()).is_none());
    assert_eq!(fs::read(&last).unwrap(), b"entries of another kind");
}

#[test]
fn a_state_that_is_damaged_or_gone_costs_nothing_but_sending_again() {
    for damage in [Some("begun 7\nacknowledged 40\n"), Some("\0\0\0"), None] {
        let dir = tempfile::tempdir().unwrap();
        let path = left_behind(dir.path());
        match damage {
            Some(text) => fs::write(path.join("state"), text).unwrap(),
            None => fs::remove_file(path.join("state")).unwrap(),
        }
        let mut spool = open(dir.path());
        assert_eq!(held(&mut spool).len(), 50);
        assert!(spool.next_number() > NUMBERS_SKIPPED);
    }
}

#[test]
fn numbers_that_nobody_gives_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    for number in [0, NUMBER_MAX + 1, u64::MAX] {
        let mut bytes = Vec::new();
        entry::put(&mut bytes, number, b"x");
        fs::write(path.join("00000000000000000051.log"), &bytes).unwrap();
        fs::write(path.join(format!("{number:020}.log")), &bytes).unwrap();
        let mut spool = open(dir.path());
        assert_eq!(held(&mut spool).len(), 50, "{number}");
        assert!(spool.next_number() < NUMBER_MAX);
        assert_eq!(spool.take_damaged(), 1);
        // Else it would begin behind that name.
        drop(spool);
        fs::remove_file(path.join("00000000000000000051.log")).unwrap();
    }
}

#[test]
fn leftovers_of_folders_that_were_made_or_removed_go_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    let app = dir.path().join("app");
    let unfinished = |digit: &str| app.join(format!("unfinished-{}", digit.repeat(32)));
    // Killed behind any step.
    fs::rename(&path, unfinished("1")).unwrap();
    fs::create_dir(unfinished("2")).unwrap();
    fs::create_dir(unfinished("3")).unwrap();
    fs::write(unfinished("3").join("lock"), "").unwrap();
    fs::create_dir(unfinished("4")).unwrap();
    fs::write(unfinished("4").join("lock"), "").unwrap();
    fs::write(unfinished("4").join("somebody's"), "file").unwrap();
    fs::create_dir(app.join("unfinished-business")).unwrap();
    let spool = open(dir.path());
    assert!(["1", "2", "3"].iter().all(|digit| !unfinished(digit).exists()));
    assert_eq!(fs::read(unfinished("4").join("somebody's")).unwrap(), b"file");
    assert!(app.join("unfinished-business").exists() && spool.folder.path.exists());
}

#[test]
fn a_folder_that_cannot_be_used_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = left_behind(dir.path());
    let broken = path.with_file_name("0".repeat(32));
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("lock"), "").unwrap();
    fs::write(broken.join("state"), state::with_crc("loghog-spool 9\n")).unwrap();
    let adopted = adopt(dir.path()).unwrap();
    assert_eq!(adopted.folder.path, path);
    drop(adopted);
    let (mut spool, heard) = open_and_hear(dir.path());
    assert_eq!((held(&mut spool).len(), heard.len()), (50, 1));
}

#[test]
fn a_folder_with_messages_is_preferred_to_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let spools: Vec<_> = (0..8).map(|_| open(dir.path())).collect();
    let full = spools.iter().map(Spool::id).max().unwrap();
    for mut spool in spools {
        if spool.id() == full {
            fill(&mut spool, &texts(3));
        }
    }
    assert_eq!(open(dir.path()).id(), full);
}

#[test]
fn a_file_that_is_gone_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let second = spool.files[1];
    let lost = spool.files[2].first - second.first;
    fs::remove_file(spool.folder.file(second.first)).unwrap();
    let held = held(&mut spool);
    assert_eq!((held.len() as u64, held.last().unwrap().0), (50 - lost, 50));
    assert_eq!(spool.take_damaged(), lost);
    assert_eq!(
        spool.bytes(),
        log_files(dir.path()).iter().map(|f| f.metadata().unwrap().len()).sum()
    );
}

#[test]
fn a_file_that_refuses_to_be_read_is_tried_again_and_passed_over_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let (second, third) = (spool.files[1].first, spool.files[2].first);
    // A folder of that name can be opened, but not read.
    fs::remove_file(spool.folder.file(second)).unwrap();
    fs::create_dir(spool.folder.file(second)).unwrap();
    let after = second - 1;
    for _ in 1..SPOOL_READ_TRIES {
        let error = spool.read(after, 100).unwrap_err().to_string();
        assert!(error.contains("cannot read from the spool"), "{error}");
    }
    assert_eq!(spool.read(after, 100).unwrap().unwrap().first, third);
    assert_eq!(spool.take_damaged(), third - second);
}

#[test]
fn another_id_keeps_records_numbers_and_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(50));
    let (before, old) = (held(&mut spool), spool.folder.path.clone());
    spool.rename([7; 16]).unwrap();
    assert!(!old.exists() && spool.exists() && spool.id() == [7; 16]);
    fill(&mut spool, &texts(1));
    assert!(adopt(dir.path()).is_none());
    spool.sync().unwrap();
    drop(spool);
    let mut again = open(dir.path());
    assert_eq!((again.id(), &held(&mut again)[..50]), ([7; 16], &before[..]));
}

#[test]
fn what_no_server_was_told_of_outlasts_the_program_even_without_messages() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.set_unreported([0, 7, 0, 0, 0, 1]);
    assert!(spool.needs_sync() && !spool.is_empty());
    spool.close().unwrap();
    let mut adopted = adopt(dir.path()).unwrap();
    assert_eq!(adopted.unreported(), [0, 7, 0, 0, 0, 1]);
    adopted.set_unreported([0; REASONS]);
    assert!(adopted.is_empty());
    adopted.sync().unwrap();
    drop(adopted);
    assert!(adopt(dir.path()).is_none());
}
