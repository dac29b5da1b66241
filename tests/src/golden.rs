//! The golden cases.
//! A file in `tests/golden/` -> its cases.
//! Invariant: a case that is not understood fails, it is never passed over.
//! Leaves out: what the cases mean, see `tests/golden/README.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// The facilities that every wire and stream case assumes.
pub fn facilities() -> String {
    read("facilities.conf")
}

/// The cases of a golden file.
pub fn cases(file: &str) -> Vec<Value> {
    serde_json::from_str(&read(file)).expect("golden files are arrays of cases")
}

/// Checks every case, some at a time, and tells about all that fail.
///
/// # Panics
/// When a case fails; the cases' own messages stand above.
#[track_caller]
pub fn check_each(cases: &[Value], check: impl Fn(&Value) + Sync) {
    const AT_A_TIME: usize = 4;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| check(case))).is_err() {
                let name = case["name"].as_str().map_or(case.to_string(), str::to_owned);
                failed.lock().expect("nobody panics while holding it").push(name);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("nobody panics while holding it");
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), cases.len());
}

/// Fails when a case has a field that is not among `known`.
#[track_caller]
pub fn assert_understood(case: &Value, known: &[&str]) {
    for name in case.as_object().expect("a case is an object").keys() {
        assert!(known.contains(&name.as_str()), "nobody looks at {name} of {case}");
    }
}

/// A string of a case.
#[track_caller]
pub fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} is no string in {case}"))
}

/// Bytes of a case, which stand there in hex.
#[track_caller]
pub fn bytes(hex: &str) -> Vec<u8> {
    let digit = |index: usize| u8::from_str_radix(&hex[index..index + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// The repository's folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in it").to_owned()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
