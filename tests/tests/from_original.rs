//! `loghogd check-config --from-original` tells whoever comes from the original what will
//! be different: all of it, for his own files, and nothing that he will not meet.

use std::path::Path;
use std::process::{Command, Output};

use loghog_tests::binaries::binary;
use loghog_tests::certs::Authority;
use loghog_tests::golden::{self, repository, text};
use serde_json::{Value, json};

/// A folder with a configuration of the original, its certificates and its log files.
fn folder_of_the_original(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["loghogd.conf", "facilities.conf"] {
        std::fs::copy(golden_file(name), at(name)).unwrap();
    }
    std::fs::create_dir(at("certs")).unwrap();
    for name in ["loghog-server.pem", "loghog-ca.cert"] {
        std::fs::copy(authority.folder().join(name), at("certs").join(name)).unwrap();
    }
    std::fs::create_dir_all(at("log/plain")).unwrap();
    for name in [
        "root.log",
        "root.log.2016-05-01-00-00-00-000001.xz",
        "root.log.2016-05-02-00-00-00-000001.xz",
        "root.log.2016-05-03-00-00-00-000001",
        "root.log.2016-05-03.gz",
    ] {
        std::fs::write(at("log/plain").join(name), "a line of the original\n").unwrap();
    }
    folder
}

fn golden_file(name: &str) -> std::path::PathBuf {
    repository().join("tests/golden/from_original").join(name)
}

fn ask(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("loghogd"));
    command.arg("check-config").args(arguments).arg("--config").arg(folder.join("loghogd.conf"));
    // A zone whose clocks change twice a year.
    command.env("TZ", "Europe/Paris").output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// File, line, kind, and whether a start fails.
fn outline(answer: &Value) -> Value {
    let differences = answer["differences"].as_array().unwrap().iter().map(|difference| {
        let file = Path::new(text(difference, "file")).file_name().unwrap().to_str().unwrap();
        json!([file, difference["line"], difference["kind"], difference["stops_start"]])
    });
    differences.collect()
}

#[test]
fn every_difference_that_a_configuration_meets_is_told_with_its_line() {
    let authority = Authority::of_the_original();
    let folder = folder_of_the_original(&authority);
    let output = ask(folder.path(), &["--from-original", "--json"]);
    assert_eq!(output.status.code(), Some(78), "X.509 v1 stops a start: {output:?}");
    let told = answer(&output);
    let expected = std::fs::read_to_string(golden_file("expected.json")).unwrap();
    assert_eq!(outline(&told), serde_json::from_str::<Value>(&expected).unwrap());
    assert_eq!((&told["ok"], &told["problems"]), (&json!(false), &json!([])));

    // The same for people: where, what was, what is, what to do.
    let output = ask(folder.path(), &["--from-original"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let count = told["differences"].as_array().unwrap().len();
    for (part, times) in [("\n    was: ", count), ("\n    now: ", count), ("a start fails", 1)] {
        assert_eq!(said.matches(part).count(), times, "{part:?} in {said}");
    }
    for part in [
        "facilities.conf:24: rotate = 0 0 */10 * *",
        "to keep it: rotate = 0 0 10,20,30 * *",
        "3 segments: \"root.log.2016-05-01-00-00-00-000001.xz\"",
        "beyond backup_count = 2, and so deleted at the first start: 1",
        "1 file: \"root.log.2016-05-03.gz\"",
        "loghog-server-cert --reissue",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("my-big-secret"), "{said}");
}

#[test]
fn with_new_certificates_it_is_ready_to_start() {
    let authority = Authority::of_the_original();
    authority.reissue();
    let folder = folder_of_the_original(&authority);
    let output = ask(folder.path(), &["--from-original", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let kinds = outline(&answer(&output)).to_string();
    assert!(!kinds.contains("\"certificate\""), "{kinds}");
    // Asked without it, nobody hears of the original.
    let output = ask(folder.path(), &["--json"]);
    assert_eq!(answer(&output).get("differences"), None);
}

#[test]
fn asking_changes_nothing() {
    let folder = folder_of_the_original(&Authority::of_the_original());
    let list = || {
        let output = Command::new("ls").arg("-lRi").arg("--full-time").arg(folder.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let before = list();
    ask(folder.path(), &["--from-original"]);
    assert_eq!(list(), before);
}

#[test]
fn every_golden_configuration_has_the_same_problems_with_and_without() {
    golden::check_each(&golden::cases("facilities.json"), |case| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("loghogd.conf"), "[main]\nlogdir = log\n").unwrap();
        let facilities = folder.path().join("facilities.conf");
        std::fs::write(facilities, text(case, "config_text")).unwrap();
        let plain = ask(folder.path(), &["--json"]);
        let told = ask(folder.path(), &["--json", "--from-original"]);
        assert_eq!(plain.status.code(), told.status.code(), "{case}");
        assert_eq!(answer(&plain)["problems"], answer(&told)["problems"], "{case}");
        assert!(!answer(&told)["differences"].as_array().unwrap().is_empty());
    });
}
