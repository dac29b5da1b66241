//! A real Python program and a real Rust program log over plain TCP, signed
//! UDP and mutual TLS, and the lines are in the right files.

use std::path::Path;
use std::process::{Command, Output};

use loghog_tests::binaries::{example, python};
use loghog_tests::certs::Authority;
use loghog_tests::{Daemon, Scenario, golden};

const SECRET: &str = "between-you-and-me";

const FACILITIES: &str = "\
[hello]
rotate = daily
backup_count = 14

[hello-signed]
rotate = daily
backup_count = 14
secret = between-you-and-me

[hello-tls]
rotate = daily
backup_count = 14

[hello-tls:encrypted.below]
rotate = hourly
backup_count = 24
";

#[test]
fn a_python_program_logs_over_tcp_signed_udp_and_mutual_tls() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().facilities(FACILITIES).tls(&authority).start();
    let output = Command::new(python())
        .arg(golden::repository().join("tests/programs/hello.py"))
        .args([daemon.tcp().port().to_string(), daemon.tls().port().to_string()])
        .arg(SECRET)
        .args([client.pem(), &authority.certificate()])
        .output()
        .expect("Python can be executed");
    assert_quiet(&output);

    assert_ends(&daemon, "hello/root.log", 1, " - INFO - hello over TCP, world");
    let signed = " - WARNING - hello over signed UDP, in Ελληνικά too";
    assert_ends(&daemon, "hello-signed/root.log", 1, signed);
    assert_ends(&daemon, "hello-tls/encrypted.below.log", 1, " - ERROR - hello over TLS");
    let traceback = &daemon.wait_for_records("hello-tls/root.log", 1)[0];
    assert!(
        traceback.contains(" - ERROR - a traceback stays readable\n\tTraceback"),
        "{traceback}"
    );
    assert!(traceback.ends_with("\n\tKeyError: 'missing'"), "{traceback}");
    assert_nothing_refused(daemon, 4);
}

#[test]
fn a_rust_program_logs_over_tcp_signed_udp_and_mutual_tls() {
    let authority = Authority::new();
    let client = authority.client("web-1");
    let daemon = Scenario::new().facilities(FACILITIES).tls(&authority).start();
    let (pemfile, cacert) = (text(client.pem()), text(&authority.certificate()));
    let plain = format!("localhost:{}", daemon.tcp().port());
    let tls = format!("localhost:{}", daemon.tls().port());
    let runs: [&[&str]; 3] = [
        &["--app", "hello", "--address", &plain],
        &["--app", "hello-signed", "--address", &plain, "--transport", "udp", "--secret", SECRET],
        &[
            "--app",
            "hello-tls",
            "--address",
            &tls,
            "--transport",
            "tls",
            "--compression",
            "--pemfile",
            &pemfile,
            "--cacert",
            &cacert,
        ],
    ];
    for arguments in runs {
        let mut command = Command::new(example("hello"));
        command.args(arguments).args(["--count", "3", "--message", "from Rust"]);
        let output = command.args(["--hostname", "web-1"]).output().expect("it can be executed");
        assert!(output.status.success(), "{output:?}");
    }
    for file in ["hello/root.log", "hello-signed/root.log", "hello-tls/root.log"] {
        assert_ends(&daemon, file, 3, "from Rust 3");
    }
    assert_nothing_refused(daemon, 9);
}

/// The last of so many records ends like this.
#[track_caller]
fn assert_ends(daemon: &Daemon, file: &str, count: usize, end: &str) {
    let records = daemon.wait_for_records(file, count);
    assert_eq!(records.len(), count, "{records:?}");
    assert!(records[count - 1].ends_with(end), "{records:?}");
}

#[track_caller]
fn assert_nothing_refused(daemon: Daemon, records: u64) {
    let stats = daemon.stop().stats();
    assert_eq!((stats["records"], stats["frames"], stats["lines"]), (records, records, records));
    assert_eq!(stats["certificate_refused"] + stats["tls_protocol"] + stats["connection_cut"], 0);
}

#[track_caller]
fn assert_quiet(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
