use super::state::began;
use super::*;
use crate::disk::simulated::{Cut, Fault, Operation, Restart, Simulated};
use crate::pipeline::ship::Mark;
use crate::pipeline::ship::limits::ASIDES_MAX;
use nix::errno::Errno;
use tempfile::TempDir;

fn opened(folder: &TempDir) -> Receipts {
    Receipts::open(Arc::new(LogDir::open(folder.path()).unwrap())).unwrap()
}

fn web() -> Stream {
    Stream { app: "my-app".into(), live: "web.log".into() }
}

fn state() -> State {
    State {
        mark: Mark { number: 12, offset: 4096, records: 17, last_ns: -5, head: 0x1234 },
        asides: [7, 8].map(aside).into(),
        from_ns: -6,
        done: [(began("2026-11-20-00-00-00-000000").unwrap(), 5)].into(),
        again: [(began("2026-11-19-00-00-00-000000").unwrap(), -7)].into(),
    }
}

fn aside(head: u64) -> Aside {
    let mark = Mark { number: 0, offset: 3, records: 2, last_ns: -9, head };
    Aside { mark, from_ns: -8 }
}

fn numbered(number: u64) -> State {
    let mut state = state();
    state.mark.number = number;
    state
}

fn names(folder: &TempDir) -> Vec<String> {
    let names = std::fs::read_dir(folder.path().join("kafka:my-app")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_state_that_was_put_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let receipts = opened(&folder);
    for number in 1..=12 {
        receipts.put("kafka", &web(), numbered(number)).unwrap();
    }
    let id = receipts.instance(|| 0xabc).unwrap();
    assert_eq!(id, "0000000000000abc");
    drop(receipts);
    std::fs::write(folder.path().join("kafka:my-app/web.log.13.part"), "x").unwrap();
    let receipts = opened(&folder);
    assert_eq!(receipts.state("kafka", &web()), Ok(state()));
    assert_eq!(receipts.state("s3", &web()), Ok(State::default()));
    assert_eq!(receipts.instance(|| 7).unwrap(), id);
    assert_eq!(names(&folder), ["web.log.12"]);
}

#[test]
fn no_folder_is_made_before_something_is_to_be_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(".loghogd/ship");
    let receipts = Receipts::open_at(path.clone()).unwrap();
    assert_eq!(receipts.state("kafka", &web()), Ok(State::default()));
    assert!(!folder.path().join(".loghogd").exists());
    receipts.clone().put("kafka", &web(), state()).unwrap();
    let id = receipts.instance(|| 7).unwrap();
    drop(receipts);
    let receipts = Receipts::open_at(path).unwrap();
    assert_eq!(receipts.state("kafka", &web()), Ok(state()));
    assert_eq!(receipts.instance(|| 8).unwrap(), id);
}

#[test]
fn only_the_newest_revision_is_read_and_what_a_kill_left_behind_goes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kafka:my-app");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("web.log.9"), "damaged").unwrap();
    std::fs::write(path.join("web.log.10"), numbered(10).text()).unwrap();
    std::fs::write(path.join("web.log.8"), numbered(8).text()).unwrap();
    std::fs::write(path.join("web.log.11.part"), "half").unwrap();
    let receipts = opened(&folder);
    assert_eq!(receipts.state("kafka", &web()), Ok(numbered(10)));
    assert_eq!(names(&folder), ["web.log.10"]);
    receipts.put("kafka", &web(), numbered(11)).unwrap();
    assert_eq!(names(&folder), ["web.log.11"]);
}

#[test]
fn a_state_that_cannot_be_read_is_unknown_until_it_can_and_others_are_known() {
    let too_large = vec![b'x'; usize::try_from(STATE_BYTES_MAX).unwrap() + 1];
    for damage in ["hello".as_bytes(), &[0xff, 0xfe], &too_large, b""] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("kafka:my-app");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("web.log.3"), damage).unwrap();
        std::fs::write(path.join("other.log.1"), state().text()).unwrap();
        let receipts = opened(&folder);
        let why = receipts.state("kafka", &web()).unwrap_err();
        assert!(why.contains("kafka:my-app/web.log.3 cannot be read: "), "{why}");
        assert!(why.contains("move it away, then reload"), "{why}");
        let other = Stream { live: "other.log".into(), ..web() };
        assert_eq!(receipts.state("kafka", &other), Ok(state()));
        // Nothing is written over what somebody may still want to mend.
        let refused = receipts.put("kafka", &web(), state()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert_eq!(names(&folder), ["other.log.1", "web.log.3"]);
        std::fs::write(path.join("web.log.3"), numbered(3).text()).unwrap();
        assert_eq!(receipts.state("kafka", &web()), Ok(numbered(3)));
        receipts.put("kafka", &web(), numbered(4)).unwrap();
        assert_eq!(names(&folder), ["other.log.1", "web.log.4"]);
        std::fs::write(path.join("web.log.5"), damage).unwrap();
        drop(receipts);
        let receipts = opened(&folder);
        receipts.state("kafka", &web()).unwrap_err();
        std::fs::remove_file(path.join("web.log.5")).unwrap();
        assert_eq!(receipts.state("kafka", &web()), Ok(numbered(4)), "the one before counts");
    }
}

#[test]
fn more_than_can_be_read_again_is_not_put() {
    let folder = TempDir::new().unwrap();
    let receipts = opened(&folder);
    receipts.put("kafka", &web(), state()).unwrap();
    let began = |number: u32| {
        let (rest, minute) = (number / 60, number % 60);
        let (day, hour) = (rest / 24, rest % 24);
        let date = format!("2026-{:02}-{:02}", 1 + day / 28 % 12, 1 + day % 28);
        began(&format!("{date}-{hour:02}-{minute:02}-{:02}-000000", day / 336)).unwrap()
    };
    let mut much = state();
    much.done = (0..90_000).map(|number| (began(number), 1_795_431_500_000_000_000)).collect();
    assert_eq!(much.done.len(), 90_000);
    let refused = receipts.put("kafka", &web(), much).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    assert!(refused.to_string().contains("segments"), "{refused}");
    assert_eq!(receipts.state("kafka", &web()), Ok(state()));
    drop(receipts);
    assert_eq!(opened(&folder).state("kafka", &web()), Ok(state()));
}

const RESTARTS: [Restart; 6] = [
    Restart::Killed,
    Restart::PowerLost(0),
    Restart::PowerLost(1),
    Restart::PowerLost(2),
    Restart::PowerLost(3),
    Restart::PowerLost(u64::MAX),
];

#[test]
fn a_call_that_fails_costs_that_attempt_and_nothing_else() {
    let mut refused = 0;
    for (after, times) in (0..60).flat_map(|after| [1, 2, 7].map(|times| (after, times))) {
        let disk = Simulated::new();
        let receipts = Receipts::open(Arc::new(disk.clone())).unwrap();
        receipts.put("kafka", &web(), numbered(1)).unwrap();
        disk.fail(Fault::new(Errno::EIO).after(after).times(times));
        for number in 2..=4 {
            let mut attempts = 0;
            while receipts.put("kafka", &web(), numbered(number)).is_err() {
                assert_eq!(receipts.state("kafka", &web()), Ok(numbered(number - 1)));
                attempts += 1;
                assert!(attempts <= times, "{after}, {times}: {disk:?}");
            }
            refused += attempts;
        }
        for restart in RESTARTS {
            let next = disk.restart(restart);
            let receipts = Receipts::open(Arc::new(next.clone())).unwrap();
            assert_eq!(receipts.state("kafka", &web()), Ok(numbered(4)), "{after}: {next:?}");
            assert_eq!(next.tree().len(), 1, "{next:?}");
            receipts.put("kafka", &web(), numbered(5)).unwrap();
            assert_eq!(next.tree().len(), 1, "{next:?}");
        }
    }
    assert!(refused > 60, "{refused}");
}

#[test]
fn a_folder_that_cannot_be_synced_for_long_is_not_filled_with_attempts() {
    let disk = Simulated::new();
    let receipts = Receipts::open(Arc::new(disk.clone())).unwrap();
    receipts.put("kafka", &web(), numbered(1)).unwrap();
    disk.fail(Fault::new(Errno::EIO).on(&[Operation::SyncFolder]));
    for _ in 0..20 {
        receipts.put("kafka", &web(), numbered(2)).unwrap_err();
        assert!(disk.tree().len() <= 2, "{disk:?}");
    }
    disk.heal();
    receipts.put("kafka", &web(), numbered(2)).unwrap();
    assert_eq!(disk.tree().len(), 1, "{disk:?}");
}

#[test]
fn a_stop_at_any_step_leaves_what_was_told_or_what_was_on_its_way() {
    let put_three = |disk: &Simulated| {
        let receipts = Receipts::open(Arc::new(disk.clone())).unwrap();
        let told = (1..=3).take_while(|&number| {
            let state = numbered(number);
            receipts.put("kafka", &web(), state).is_ok()
        });
        told.last().unwrap_or(0)
    };
    let whole = Simulated::new();
    assert_eq!(put_three(&whole), 3);
    for step in 0..whole.steps() {
        for (cut, restart) in [Cut::Before, Cut::Amid(3), Cut::After]
            .into_iter()
            .flat_map(|cut| RESTARTS.map(|restart| (cut, restart)))
        {
            let disk = Simulated::new();
            disk.stop_at(step, cut);
            let told = put_three(&disk);
            assert!(disk.has_stopped());
            let next = disk.restart(restart);
            let number = |disk: &Simulated| {
                let receipts = Receipts::open(Arc::new(disk.clone())).unwrap();
                receipts.state("kafka", &web()).unwrap().mark.number
            };
            let found = number(&next);
            assert!(found == told || found == told + 1, "{step} {cut:?} {restart:?}: {disk:?}");
            // What was read was acted upon: it may not be undone by the next stop.
            for restart in RESTARTS {
                assert_eq!(number(&next.restart(restart)), found, "{step} {cut:?}: {next:?}");
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_read_for_a_while_leaves_its_streams_unknown_so_long() {
    let disk = Simulated::new();
    let receipts = Receipts::open(Arc::new(disk.clone())).unwrap();
    receipts.put("kafka", &web(), numbered(1)).unwrap();
    for operation in [Operation::Names, Operation::SyncFolder, Operation::Open, Operation::Read] {
        let next = disk.restart(Restart::Killed);
        next.fail(Fault::new(Errno::EIO).on(&[operation]));
        let receipts = Receipts::open(Arc::new(next.clone())).unwrap();
        let why = receipts.state("kafka", &web()).unwrap_err();
        assert!(why.contains("kafka:my-app"), "{why}");
        receipts.put("kafka", &web(), numbered(2)).unwrap_err();
        next.heal();
        assert_eq!(receipts.state("kafka", &web()), Ok(numbered(1)));
        receipts.put("kafka", &web(), numbered(2)).unwrap();
    }
}

#[test]
fn each_file_is_put_aside_once_and_the_oldest_goes_when_there_are_too_many() {
    let mut state = State::default();
    state.put_aside();
    assert_eq!(state.asides, [], "nothing of it has arrived");
    let heads =
        |state: &State| state.asides.iter().map(|aside| aside.mark.head).collect::<Vec<_>>();
    let all: Vec<u64> = (1..=ASIDES_MAX as u64 + 1).collect();
    for head in &all {
        state.mark = Mark { number: 9, offset: 1, head: *head, ..Mark::default() };
        state.put_aside();
    }
    assert_eq!(heads(&state), all[1..]);
    state.mark = Mark { offset: 5, head: all[1], ..Mark::default() };
    state.put_aside();
    assert_eq!(heads(&state), [&all[2..], &all[1..2]].concat());
    assert_eq!(state.asides.last().unwrap().mark.offset, 5);
    state.forget_aside(all[1]);
    assert_eq!(heads(&state), all[2..]);
}
