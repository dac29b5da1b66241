//! `loghog-server-cert`, run as a user runs it.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use common::{Workshop, fail, succeed};

const FILES: [&str; 5] =
    ["loghog-ca.cert", "loghog-ca.crl", "loghog-ca.index", "loghog-ca.key", "loghog-server.pem"];

#[test]
fn a_ca_and_a_server_certificate_appear_under_the_originals_names() {
    let workshop = Workshop::with_ca();
    assert_eq!(workshop.files(), FILES);
    workshop.assert_verifies("sslserver", "loghog", "loghog-server.pem");
    assert!(!workshop.verify("sslclient", "loghog", "loghog-server.pem").status.success());

    let pem = workshop.read("loghog-server.pem");
    assert_eq!(pem.matches("BEGIN PRIVATE KEY").count(), 1);
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 1);
}

#[test]
fn private_files_are_private_whatever_the_umask() {
    let workshop = Workshop::new();
    let program = env!("CARGO_BIN_EXE_loghog-server-cert");
    succeed(workshop.command("sh").args(["-c", "umask 000 && exec \"$0\"", program]));
    for name in ["loghog-ca.key", "loghog-ca.index", "loghog-server.pem"] {
        assert_eq!(workshop.mode(name), 0o600, "{name}");
    }
    for name in ["loghog-ca.cert", "loghog-ca.crl"] {
        assert_eq!(workshop.mode(name), 0o644, "{name}");
    }
}

#[test]
fn without_a_domain_the_server_is_found_from_its_own_host() {
    let workshop = Workshop::with_ca();
    let names =
        workshop.openssl(&["x509", "-in", "loghog-server.pem", "-noout", "-ext", "subjectAltName"]);
    for name in
        ["DNS:loghog", "DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"]
    {
        assert!(names.contains(name), "{name} is not in {names}");
    }
}

#[test]
fn a_domain_stands_in_the_certificates_and_chooses_no_file() {
    let workshop = Workshop::new();
    let told = workshop.server_cert(&["logs.example.com", "--san", "logs", "--san", "192.0.2.7"]);
    assert_eq!(workshop.files(), FILES);
    assert!(told.ends_with("loghog-client-cert NAME\n"), "{told}");
    assert_eq!(
        workshop.names("loghog-server.pem"),
        "CN = logs.example.com: DNS:logs.example.com, DNS:localhost, IP Address:127.0.0.1, \
         IP Address:0:0:0:0:0:0:0:1, DNS:logs, IP Address:192.0.2.7"
    );
    let ca = workshop.openssl(&["x509", "-in", "loghog-ca.cert", "-noout", "-subject"]);
    assert!(ca.contains("CN = ca.logs.example.com"), "{ca}");

    workshop.client_cert(&["web-1"]);
    workshop.assert_verifies("sslclient", "loghog", "web-1.pem");
}

#[test]
fn a_ca_name_begins_the_file_names_and_stands_in_no_certificate() {
    let workshop = Workshop::with_ca();
    let told = workshop.server_cert(&["logs.example.com", "--ca-name", "second one"]);
    assert!(told.ends_with("loghog-client-cert NAME . 'second one'\n"), "{told}");
    let mut files = FILES.map(|name| name.replace("loghog", "second one")).to_vec();
    files.splice(0..0, FILES.map(str::to_owned));
    assert_eq!(workshop.files(), files);
    assert!(
        workshop.names("second one-server.pem").starts_with("CN = logs.example.com: DNS:logs.")
    );

    workshop.client_cert(&["web-1", ".", "second one"]);
    workshop.assert_verifies("sslclient", "second one", "web-1.pem");
    assert!(!workshop.verify("sslclient", "loghog", "web-1.pem").status.success());
    workshop.server_cert(&["--renew", "--ca-name", "second one"]);
    workshop.assert_verifies("sslserver", "second one", "second one-server.pem");
}

#[test]
fn too_many_names_are_refused_before_a_ca_is_made() {
    let workshop = Workshop::new();
    let names: Vec<String> = (0..101).map(|number| format!("--san=web-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(fail(&mut workshop.server(&names), 1).contains("at most 100"));
    assert!(workshop.files().is_empty());
}

#[test]
fn nothing_that_is_there_is_overwritten_without_force() {
    for name in FILES {
        let workshop = Workshop::new();
        fs::write(workshop.path(name), "mine").unwrap();
        let complaint = fail(&mut workshop.server(&[]), 1);
        assert!(complaint.contains(name) && complaint.contains("--renew"), "{complaint}");
        assert_eq!(workshop.read(name), "mine");
        assert_eq!(workshop.files(), [name]);
    }
}

#[test]
fn force_makes_a_new_ca_with_empty_books() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["--revoke", "web-1"]);
    let subject = |workshop: &Workshop| {
        workshop.openssl(&["x509", "-in", "loghog-ca.cert", "-noout", "-subject"])
    };
    let (before, old_subject) = (workshop.read("loghog-ca.key"), subject(&workshop));
    assert!(old_subject.contains("CN = ca.loghog"), "{old_subject}");
    workshop.server_cert(&["--force"]);
    assert_ne!(workshop.read("loghog-ca.key"), before);
    assert_ne!(subject(&workshop), old_subject, "they can be told apart by name");
    workshop.assert_verifies("sslserver", "loghog", "loghog-server.pem");
    assert!(!workshop.verify("sslclient", "loghog", "web-1.pem").status.success());
    assert!(!workshop.client_cert(&["--list"]).contains("web-1"));
}

#[test]
fn renewing_keeps_the_ca_the_names_and_the_revocations() {
    let workshop = Workshop::new();
    workshop.server_cert(&["--san", "logs.example.com"]);
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["web-2"]);
    workshop.client_cert(&["--revoke", "web-1"]);
    let (ca, server) = (workshop.read("loghog-ca.cert"), workshop.read("loghog-server.pem"));

    workshop.server_cert(&["--renew", "--san", "logs2.example.com"]);
    assert_eq!(workshop.read("loghog-ca.cert"), ca);
    assert_ne!(workshop.read("loghog-server.pem"), server);
    let names =
        workshop.openssl(&["x509", "-in", "loghog-server.pem", "-noout", "-ext", "subjectAltName"]);
    assert!(
        names.contains("DNS:logs.example.com") && names.contains("DNS:logs2.example.com"),
        "{names}"
    );
    workshop.assert_verifies("sslserver", "loghog", "loghog-server.pem");
    workshop.assert_verifies("sslclient", "loghog", "web-2.pem");
    assert!(!workshop.verify("sslclient", "loghog", "web-1.pem").status.success());
}

#[test]
fn renewing_keeps_the_domain_unless_another_is_given() {
    let workshop = Workshop::new();
    workshop.server_cert(&["logs.example.com"]);
    let before = workshop.names("loghog-server.pem");
    workshop.server_cert(&["--renew"]);
    assert_eq!(workshop.names("loghog-server.pem"), before);

    workshop.server_cert(&["--renew", "new.example.com"]);
    let after = workshop.names("loghog-server.pem");
    assert!(after.starts_with("CN = new.example.com: DNS:new.example.com, "), "{after}");
    assert!(after.contains("DNS:logs.example.com"), "clients may use the old one still: {after}");
}

#[test]
fn renewing_names_another_ca_only_where_it_is_the_only_one() {
    let workshop = Workshop::new();
    workshop.server_cert(&["--ca-name", "first"]);
    fs::write(workshop.path("half-ca.cert"), "").unwrap();
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    assert!(complaint.contains("`loghog-server-cert --renew --ca-name first`"), "{complaint}");

    workshop.server_cert(&["--ca-name", "second"]);
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    assert!(complaint.contains("--ca-name CA-NAME"), "{complaint}");
}

#[test]
fn renewing_without_a_ca_says_what_is_missing() {
    let workshop = Workshop::new();
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    assert!(
        complaint.contains("loghog-ca.key") && complaint.contains("loghog-ca.cert"),
        "{complaint}"
    );

    workshop.server_cert(&[]);
    fs::remove_file(workshop.path("loghog-ca.cert")).unwrap();
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    assert!(complaint.contains("loghog-ca.cert is missing beside loghog-ca.key"), "{complaint}");
}

#[test]
fn a_key_of_another_ca_is_noticed() {
    let workshop = Workshop::with_ca();
    let other = Workshop::with_ca();
    fs::copy(other.path("loghog-ca.key"), workshop.path("loghog-ca.key")).unwrap();
    let complaint = fail(&mut workshop.server(&["--renew"]), 1);
    assert!(complaint.contains("loghog-ca.key is not the key of loghog-ca.cert"), "{complaint}");
}

#[test]
fn days_are_kept_but_never_past_the_ca() {
    let workshop = Workshop::new();
    workshop.server_cert(&["--days", "30"]);
    let check = |seconds: &str| {
        let args = ["x509", "-in", "loghog-server.pem", "-noout", "-checkend", seconds];
        workshop.command("openssl").args(args).output().unwrap().status.success()
    };
    assert!(check("2588400") && !check("2595600"), "about thirty days");

    let told = workshop.server_cert(&["--renew", "--days", "36500"]);
    assert!(told.contains("it ends with its CA"), "{told}");
    let end = |file: &str| workshop.openssl(&["x509", "-in", file, "-noout", "-enddate"]);
    assert_eq!(end("loghog-server.pem"), end("loghog-ca.cert"));
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let workshop = Workshop::new();
    for args in [
        &["a", "b"][..],
        &["../x"],
        &[""],
        &["*.example.com"],
        &["--days", "0"],
        &["--days", "1000000"],
        &["--san", "a b"],
        &["--renew", "--force"],
        &["--ca-name", "../x"],
        &["--ca-name", ".hidden"],
        &["--ca-name", ""],
    ] {
        fail(&mut workshop.server(args), 64);
    }
    assert!(workshop.files().is_empty());
    assert!(workshop.server_cert(&["--help"]).contains("Examples:"));
    assert!(workshop.server_cert(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

/// Only root can give files away; others show that nothing goes wrong.
#[test]
fn under_sudo_new_files_belong_to_the_caller_and_old_ones_to_whom_they_did() {
    let workshop = Workshop::new();
    let as_sudo = |command: &mut Command| {
        command.env("SUDO_UID", "12345").env("SUDO_GID", "54321");
        succeed(command);
    };
    let owner = |name: &str| {
        let metadata = fs::metadata(workshop.path(name)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    as_sudo(&mut workshop.server(&[]));
    as_sudo(&mut workshop.client(&["web-1"]));
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for name in workshop.files() {
        assert_eq!(owner(&name), (12345, 54321), "{name}");
    }
    std::os::unix::fs::chown(workshop.path("loghog-server.pem"), Some(77), Some(78)).unwrap();
    as_sudo(&mut workshop.server(&["--renew"]));
    assert_eq!(owner("loghog-server.pem"), (77, 78), "the daemon can still read it");

    let by_name = Workshop::new();
    succeed(by_name.server(&[]).env("SUDO_USER", "nobody"));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let metadata = fs::metadata(by_name.path("loghog-server.pem")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (nobody.uid.as_raw(), nobody.gid.as_raw()));
}

#[test]
fn of_two_runs_at_once_one_makes_the_ca() {
    let workshop = Workshop::new();
    let runs = [(); 4].map(|()| {
        workshop.server(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    let made = runs.into_iter().filter_map(|mut run| run.wait().ok()).filter(|end| end.success());
    assert_eq!(made.count(), 1);
    assert_eq!(workshop.files(), FILES);
    workshop.assert_verifies("sslserver", "loghog", "loghog-server.pem");
}
