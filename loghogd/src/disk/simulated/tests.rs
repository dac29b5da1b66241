//! Does the simulated disk behave as a real one, and as a test tells it to?
//! Sequences of calls -> the same answers as from `LogDir`.
//! Invariant: what a restart finds could have been left by a real crash.
//! Leaves out: what the daemon makes of it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::disk::LogDir;

const T0: Timestamp = Timestamp::UNIX_EPOCH;

/// One call, of an open file by the number of its descriptor.
#[derive(Clone, Debug)]
enum Call {
    Folders,
    Names(&'static str),
    Facts(&'static str, &'static str),
    OpenLive(&'static str, &'static str),
    Open(&'static str, &'static str),
    Create(&'static str, &'static str),
    Rename(&'static str, &'static str, &'static str),
    Remove(&'static str, &'static str),
    SyncFolder(&'static str),
    FileFacts(usize),
    Read(usize, usize),
    ReadAt(usize, usize, u64),
    Write(usize, usize),
    WriteTwo(usize, usize),
    SetLen(usize, u64),
    SetModified(usize, i64),
    Sync(usize),
    Close(usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let folder = || prop_oneof![9 => select(&["a", "b"][..]), 1 => select(&["..", "", "a/b"][..])];
    let name = || {
        let odd = select(&[".", "..", "", "x/y", ".hidden", "folder"][..]);
        prop_oneof![9 => select(&["x", "y", "z"][..]), 1 => odd]
    };
    let file = || 0..4_usize;
    let place = || (folder(), name());
    let call = prop_oneof![
        1 => Just(Call::Folders),
        2 => folder().prop_map(Call::Names),
        2 => place().prop_map(|(folder, name)| Call::Facts(folder, name)),
        6 => place().prop_map(|(folder, name)| Call::OpenLive(folder, name)),
        3 => place().prop_map(|(folder, name)| Call::Open(folder, name)),
        3 => place().prop_map(|(folder, name)| Call::Create(folder, name)),
        5 => (place(), name()).prop_map(|((folder, from), to)| Call::Rename(folder, from, to)),
        3 => place().prop_map(|(folder, name)| Call::Remove(folder, name)),
        1 => folder().prop_map(Call::SyncFolder),
        2 => file().prop_map(Call::FileFacts),
        3 => (file(), 0..9_usize).prop_map(|(file, bytes)| Call::Read(file, bytes)),
        3 => (file(), 0..9_usize, 0..20_u64).prop_map(|(file, bytes, at)| Call::ReadAt(file, bytes, at)),
        6 => (file(), 0..9_usize).prop_map(|(file, bytes)| Call::Write(file, bytes)),
        2 => (file(), 0..9_usize).prop_map(|(file, bytes)| Call::WriteTwo(file, bytes)),
        2 => (file(), 0..20_u64).prop_map(|(file, bytes)| Call::SetLen(file, bytes)),
        2 => (file(), 0..1000_i64).prop_map(|(file, second)| Call::SetModified(file, second)),
        1 => file().prop_map(Call::Sync),
        1 => file().prop_map(Call::Close),
    ];
    vec(call, 1..60)
}

/// A disk, and what was opened on it.
struct Desk<'a> {
    disk: &'a dyn Disk,
    files: BTreeMap<usize, Box<dyn DiskFile>>,
    opened: usize,
}

impl Desk<'_> {
    fn new(disk: &dyn Disk) -> Desk<'_> {
        Desk { disk, files: BTreeMap::new(), opened: 0 }
    }

    /// Does one call, and says what came of it.
    fn answer(&mut self, call: &Call) -> String {
        match self.call(call) {
            Ok(answer) => answer,
            Err(error) => format!("{:?}", error.raw_os_error().map(Errno::from_raw)),
        }
    }

    fn call(&mut self, call: &Call) -> io::Result<String> {
        let disk = self.disk;
        let sorted = |mut names: Vec<String>| {
            names.sort();
            format!("{names:?}")
        };
        let said = match *call {
            Call::Folders => sorted(disk.folders()?),
            Call::Names(folder) => sorted(disk.names(folder)?),
            Call::Facts(folder, name) => match disk.facts(folder, name)? {
                None => "nothing".into(),
                Some(facts) => self.shown(facts),
            },
            Call::OpenLive(folder, name) => {
                let live = disk.open_live(folder, name)?;
                self.keep(live.file);
                format!("new: {}", live.is_new)
            }
            Call::Open(folder, name) => {
                let file = disk.open(folder, name)?;
                self.keep(file)
            }
            Call::Create(folder, name) => {
                let file = disk.create(folder, name)?;
                self.keep(file)
            }
            Call::Rename(folder, from, to) => format!("{:?}", disk.rename(folder, from, to)?),
            Call::Remove(folder, name) => format!("{:?}", disk.remove(folder, name)?),
            Call::SyncFolder(folder) => format!("{:?}", disk.sync_folder(folder)?),
            Call::FileFacts(file)
            | Call::Read(file, _)
            | Call::ReadAt(file, ..)
            | Call::Write(file, _)
            | Call::WriteTwo(file, _)
            | Call::SetLen(file, _)
            | Call::SetModified(file, _)
            | Call::Sync(file) => match self.files.remove(&file) {
                None => "not open".into(),
                Some(mut open) => {
                    let said = self.file_call(call, &mut *open);
                    self.files.insert(file, open);
                    said?
                }
            },
            Call::Close(file) => format!("was open: {}", self.files.remove(&file).is_some()),
        };
        Ok(said)
    }

    fn file_call(&self, call: &Call, file: &mut dyn DiskFile) -> io::Result<String> {
        let read = |bytes: usize, read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>| {
            let mut buffer = vec![0; bytes];
            let filled = read(&mut buffer)?;
            Ok::<_, io::Error>(format!("{:?}", &buffer[..filled]))
        };
        Ok(match *call {
            Call::FileFacts(_) => self.shown(file.facts()?),
            Call::Read(_, bytes) => read(bytes, &mut |buffer| file.read(buffer))?,
            Call::ReadAt(_, bytes, at) => read(bytes, &mut |buffer| file.read_at(buffer, at))?,
            Call::Write(_, bytes) => format!("{}", file.write(&b"abcdefghi"[..bytes])?),
            Call::WriteTwo(_, bytes) => {
                let slices = [IoSlice::new(b"-"), IoSlice::new(&b"abcdefghi"[..bytes])];
                format!("{}", file.write_vectored(&slices)?)
            }
            Call::SetLen(_, bytes) => format!("{:?}", file.set_len(bytes)?),
            Call::SetModified(_, second) => {
                format!("{:?}", file.set_modified(Timestamp::constant(second, 5))?)
            }
            _ => format!("{:?}", file.sync()?),
        })
    }

    fn keep(&mut self, file: Box<dyn DiskFile>) -> String {
        self.files.insert(self.opened % 4, file);
        self.opened += 1;
        "opened".into()
    }

    /// Which of the open files it is, its length, and its time where one was set.
    fn shown(&self, facts: Facts) -> String {
        let ids = self.files.values().map(|file| file.facts().unwrap().id);
        let open = ids.filter(|&id| id == facts.id).count();
        let set = Some(facts.modified).filter(|modified| modified.as_second() < 1000);
        format!("{open} descriptors, {} bytes, set to {set:?}", facts.bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_answers_as_the_real_one_does(calls in calls()) {
        // In memory where there is such a place: it syncs often.
        let real_folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let real = LogDir::open(real_folder.path()).unwrap();
        let simulated = Simulated::new();
        for folder in ["a", "b"] {
            simulated.put_obstacle(folder, "folder");
            std::fs::create_dir_all(real_folder.path().join(folder).join("folder")).unwrap();
        }
        let (mut one, mut other) = (Desk::new(&real), Desk::new(&simulated));
        for call in &calls {
            prop_assert_eq!(one.answer(call), other.answer(call), "{:?}\n{:?}", call, &simulated);
        }
        for folder in ["a", "b"] {
            for name in ["x", "y", "z", ".hidden"] {
                let there = std::fs::read(real_folder.path().join(folder).join(name)).ok();
                prop_assert_eq!(there, simulated.content(folder, name));
            }
        }
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_up_to_some_point(
        lines in vec(1..50_usize, 1..20), synced in 0..20_usize, seed in any::<u64>(),
    ) {
        let disk = Simulated::new();
        let mut file = disk.open_live("app", "root.log").unwrap().file;
        disk.sync_folder("app").unwrap();
        let (mut all, mut safe) = (Vec::new(), 0);
        for (number, &bytes) in lines.iter().enumerate() {
            let line = vec![b'a' + u8::try_from(number).unwrap(); bytes];
            file.write_all(&line).unwrap();
            all.extend(line);
            if number == synced {
                file.sync().unwrap();
                safe = all.len();
            }
        }
        prop_assert_eq!(disk.restart(Restart::Killed).content("app", "root.log").unwrap(), &all[..]);
        let after = disk.restart(Restart::PowerLost(seed)).content("app", "root.log").unwrap();
        prop_assert!(all.starts_with(&after) && after.len() >= safe, "{:?}", &disk);
    }

    #[test]
    fn names_survive_in_the_order_in_which_they_were_given(
        renames in 1..10_usize, synced in 0..10_usize, seed in any::<u64>(),
    ) {
        let disk = Simulated::new();
        disk.put("app", "0", b"kept", T0);
        for number in 0..renames {
            disk.rename("app", &number.to_string(), &(number + 1).to_string()).unwrap();
            if number == synced {
                disk.sync_folder("app").unwrap();
            }
        }
        let after = disk.restart(Restart::PowerLost(seed));
        let names = after.names("app").unwrap();
        prop_assert_eq!(names.len(), 1, "a rename is done or not");
        let reached: usize = names[0].parse().unwrap();
        let safe = if synced < renames { synced + 1 } else { 0 };
        prop_assert!((safe..=renames).contains(&reached));
        prop_assert_eq!(after.content("app", &names[0]).unwrap(), b"kept");
    }
}

fn is_stopped<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Stopped>()))
}

#[test]
fn a_process_dies_before_amid_or_after_a_step() {
    let run = |cut| {
        let disk = Simulated::new();
        disk.put("app", "root.log", b"", T0);
        let mut file = disk.open_live("app", "root.log").unwrap().file;
        disk.stop_at(1, cut);
        file.write_all(b"one").unwrap();
        assert!(!disk.has_stopped() && disk.steps() == 1);
        assert!(is_stopped(file.write(b"twoo")) && disk.has_stopped());
        assert!(is_stopped(file.facts()) && is_stopped(disk.names("app")), "it stays dead");
        assert!(is_stopped(disk.remove("app", "root.log")));
        disk.restart(Restart::Killed).content("app", "root.log").unwrap()
    };
    assert_eq!(run(Cut::Before), b"one");
    assert_eq!(run(Cut::Amid(2)), b"onetw");
    assert_eq!(run(Cut::Amid(6)), b"onetw");
    assert_eq!(run(Cut::After), b"onetwoo");
}

#[test]
fn a_rename_is_done_or_not_when_the_process_dies_at_it() {
    for (cut, name) in [(Cut::Before, "old"), (Cut::Amid(7), "old"), (Cut::After, "new")] {
        let disk = Simulated::new();
        disk.put("app", "old", b"", T0);
        disk.stop_at(0, cut);
        assert!(is_stopped(disk.rename("app", "old", "new")));
        assert_eq!(disk.restart(Restart::Killed).tree(), [format!("app/{name}")]);
    }
}

#[test]
fn a_restart_goes_on_with_the_same_disk_and_no_trouble() {
    let disk = Simulated::new();
    disk.fail(Fault::new(Errno::EIO));
    disk.stop_at(0, Cut::Before);
    assert_eq!(disk.names("app").unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
    let after = disk.restart(Restart::Killed);
    assert!(is_stopped(disk.names("app")), "the process before is dead");
    after.open_live("app", "root.log").unwrap();
    after.sync_folder("app").unwrap();
    after.open_live("app", "web.log").unwrap().file.write_all(b"x").unwrap();
    after.open_live("other", "root.log").unwrap().file.write_all(b"x").unwrap();
    let after = after.restart(Restart::PowerLost(0));
    assert_eq!(after.tree(), ["app/root.log"], "nothing else was synced");
    assert_eq!(after.folders().unwrap(), ["app"]);
    after.remove("app", "root.log").unwrap();
    assert!(after.create("app", "root.log").is_ok());
}

#[test]
fn an_unsynced_removal_may_be_undone_with_all_the_data() {
    let disk = Simulated::new();
    disk.put("app", "kept", b"content", T0);
    disk.remove("app", "kept").unwrap();
    let disk = disk.restart(Restart::PowerLost(0));
    assert_eq!(disk.content("app", "kept").unwrap(), b"content");
    disk.remove("app", "kept").unwrap();
    disk.sync_folder("app").unwrap();
    assert_eq!(disk.restart(Restart::PowerLost(0)).content("app", "kept"), None);
}

#[test]
fn a_time_that_was_set_is_safe_with_the_data_that_is_synced_behind_it() {
    let second = |second| Timestamp::constant(second, 0);
    let time = |disk: &Simulated| disk.facts("app", "x").unwrap().unwrap().modified;
    let disk = Simulated::new();
    disk.set_now(second(7));
    let mut file = disk.open_live("app", "x").unwrap().file;
    disk.sync_folder("app").unwrap();
    file.write_all(b"data").unwrap();
    file.sync().unwrap();
    file.set_modified(second(3)).unwrap();
    file.sync().unwrap();
    assert_eq!(time(&disk.restart(Restart::Killed)), second(3));
    assert_eq!(time(&disk.restart(Restart::PowerLost(0))), second(7));
    let disk = disk.restart(Restart::Killed);
    let mut file = disk.open_live("app", "x").unwrap().file;
    file.write_all(b"more").unwrap();
    file.set_modified(second(3)).unwrap();
    file.sync().unwrap();
    assert_eq!(time(&disk.restart(Restart::PowerLost(0))), second(3));
}

#[test]
fn a_fault_strikes_where_and_as_often_as_it_is_meant() {
    let disk = Simulated::new();
    disk.put("app", "one", b"", T0);
    disk.put("app", "two", b"", T0);
    let is_one = |folder: &str, name: &str| (folder, name) == ("app", "one");
    disk.fail(Fault::new(Errno::EMFILE).on(&[Operation::OpenLive]).at(is_one).times(2));
    for _ in 0..2 {
        assert!(disk.open_live("app", "two").is_ok() && disk.open("app", "one").is_ok());
        let refused = disk.open_live("app", "one").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EMFILE as i32));
    }
    assert!(disk.open_live("app", "one").is_ok());
    disk.fail(Fault::new(Errno::EIO).on(&[Operation::Open]).after(1).times(1));
    let opened = [1, 2, 3].map(|_| disk.open("app", "one").is_ok());
    assert_eq!(opened, [true, false, true]);
    disk.fail(Fault::new(Errno::EROFS));
    assert!(disk.create("app", "three").is_err() && disk.create("app", "three").is_err());
    disk.heal();
    assert!(disk.create("app", "three").is_ok());
}

#[test]
fn a_full_disk_cuts_a_write_short_and_refuses_the_next_until_there_is_room() {
    let disk = Simulated::new();
    disk.set_total_bytes(10);
    disk.put("app", "old", b"1234", T0);
    let mut file = disk.open_live("app", "root.log").unwrap().file;
    assert_eq!(disk.space().unwrap(), Space { total_bytes: 10, free_bytes: 6, shows_late: false });
    assert_eq!(file.write(b"1234567").unwrap(), 6);
    assert_eq!(file.write(b"7").unwrap_err().kind(), io::ErrorKind::StorageFull);
    let old = disk.open("app", "old").unwrap();
    disk.remove("app", "old").unwrap();
    assert!(file.write(b"7").is_err(), "an open file keeps its room");
    drop(old);
    assert_eq!(disk.space().unwrap().free_bytes, 4);
    assert_eq!(file.write(b"7").unwrap(), 1);
}

#[test]
fn a_folder_that_somebody_removed_takes_its_names_but_not_open_files() {
    let disk = Simulated::new();
    let mut file = disk.open_live("app", "root.log").unwrap().file;
    disk.take_away("app", None);
    file.write_all(b"into nowhere").unwrap();
    assert_eq!(disk.facts("app", "root.log").unwrap(), None);
    assert_eq!(disk.sync_folder("app").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(disk.open_live("app", "root.log").unwrap().is_new);
    disk.take_away("app", Some("root.log"));
    assert_eq!(disk.tree(), Vec::<String>::new());
}

#[test]
fn a_failing_test_sees_what_was_done() {
    let disk = Simulated::new();
    disk.open_live("app", "root.log").unwrap().file.write_all(b"one\n").unwrap();
    disk.rename("app", "root.log", "closed").unwrap();
    let shown = format!("{disk:?}");
    for part in
        ["Create app/root.log", "Write app/root.log: 4 bytes", "-> closed", "closed: 4 bytes"]
    {
        assert!(shown.contains(part), "{shown}");
    }
}
