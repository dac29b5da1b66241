//! Finds the binaries of this build.
//! A name -> the path beside the test that is running.
//! Invariant: a test never runs a binary of another build or of the system.
//! Leaves out: building them (`cargo build --workspace --all-targets`, `make wheel`).

use std::path::{Path, PathBuf};

use crate::golden;

/// The binary `name` of this build.
pub fn binary(name: &str) -> PathBuf {
    built(name)
}

/// The example `name` of this build.
pub fn example(name: &str) -> PathBuf {
    built(&format!("examples/{name}"))
}

/// A Python that has the wheel.
///
/// # Panics
/// When there is none.
pub fn python() -> PathBuf {
    let python = std::env::var_os("LOGHOG_PYTHON")
        .map_or_else(|| golden::repository().join("target/python/bin/python"), PathBuf::from);
    assert!(python.is_file(), "{} is missing: run `make wheel` first", python.display());
    python
}

fn built(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --all-targets` first",
        path.display()
    );
    path
}

/// `target/PROFILE`, two steps above `deps/this-test`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in deps/");
    folder.to_owned()
}
