//! Reads arbitrary bytes as either configuration file.
//! Bytes -> a configuration, or problems.
//! Invariant: whatever was accepted keeps its promises; whatever was refused
//! says where and why; neither takes more than a moment.
//! Leaves out: reading files, and whether what they name exists.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loghogd::config::facility::{Facility, Rotate};
use loghogd::config::{self, Overrides, Problem};
use loghogd::pipeline::persist::path::live_file;
use loghogd::pipeline::rotate::schedule::Schedule;
use std::path::{Component, Path};

fuzz_target!(|bytes: &[u8]| {
    match config::read_facilities(bytes, Path::new("/etc/loghogd/facilities.conf")) {
        Ok(table) => {
            for facility in table.iter() {
                keeps_its_promises(facility);
                let found = table.find(&facility.app, &facility.module);
                assert!(found.is_some_and(|found| std::sync::Arc::ptr_eq(found, facility)));
                let owner = table.owner(&facility.app, &stem_of_two_dots(facility));
                assert!(owner.is_some_and(|owner| std::sync::Arc::ptr_eq(owner, facility)));
            }
        }
        Err(problems) => say_where_and_why(&problems),
    }
    let file = Path::new("/etc/loghogd/loghogd.conf");
    match config::read_config(bytes, file, &Overrides::default()) {
        Ok((config, _)) => {
            assert!(!config.server.listen.is_empty());
            assert!(config.main.logdir.is_absolute() && config.main.workdir.is_absolute());
            assert_eq!(
                config.server.tls.is_some(),
                config.server.listen.iter().any(|address| address.tls)
            );
        }
        Err(problems) => say_where_and_why(&problems),
    }
});

/// Its file is two plain components below the log folder, and its schedule can
/// be told in words that mean the same.
fn keeps_its_promises(facility: &Facility) {
    assert!(facility.backup_count > 0 && facility.flush_every > 0);
    let mut path = String::new();
    live_file(facility, "..", &mut path).expect("two dots are encoded");
    let components: Vec<Component<'_>> = Path::new(&path).components().collect();
    assert!(matches!(components[..], [Component::Normal(_), Component::Normal(_)]), "{path:?}");
    assert!(path.split('/').all(|name| name.len() <= 255 && !name.starts_with('.')), "{path:?}");
    match &facility.rotate {
        Rotate::Schedule(schedule) => {
            assert_eq!(Schedule::parse(schedule.fields()).as_ref(), Ok(schedule));
        }
        Rotate::Size => assert!(facility.turns_at_bytes().is_some()),
    }
}

/// The stem of the file of a host that is called `..`.
fn stem_of_two_dots(facility: &Facility) -> String {
    let mut path = String::new();
    live_file(facility, "..", &mut path).expect("two dots are encoded");
    let (_, name) = path.split_once('/').expect("a folder and a name");
    name.strip_suffix(".log").expect("the end of a live file").to_owned()
}

fn say_where_and_why(problems: &[Problem]) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty());
        // A problem repeats names and values cut short, never a whole line.
        assert!(problem.to_string().len() < 8192, "{problem}");
        assert!(!problem.message.chars().any(char::is_control), "{problem:?}");
    }
}
