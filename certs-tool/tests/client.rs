//! `loghog-client-cert`, run as a user runs it.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Workshop, fail, text};

#[test]
fn a_client_certificate_is_for_clients_only() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1", "--san", "web-1.example.com", "--san", "192.0.2.9"]);
    workshop.assert_verifies("sslclient", "loghog", "web-1.pem");
    assert!(!workshop.verify("sslserver", "loghog", "web-1.pem").status.success());
    assert_eq!(workshop.mode("web-1.pem"), 0o600);

    let said = workshop.openssl(&["x509", "-in", "web-1.pem", "-noout", "-text"]);
    for part in [
        "Version: 3",
        "CN = web-1",
        "prime256v1",
        "DNS:web-1, DNS:web-1.example.com, IP Address:192.0.2.9",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_name_that_is_no_host_still_gets_a_certificate() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["billing (night job)"]);
    workshop.assert_verifies("sslclient", "loghog", "billing (night job).pem");
}

#[test]
fn the_ca_is_found_in_another_folder() {
    let ca = Workshop::with_ca();
    let here = Workshop::new();
    here.client_cert(&["web-1", ca.folder().to_str().unwrap()]);
    assert_eq!(here.files(), ["web-1.pem"]);
    assert!(ca.client_cert(&["--list"]).contains("web-1"));
}

#[test]
fn a_missing_ca_is_named_file_by_file() {
    let here = Workshop::new();
    let complaint = fail(&mut here.client(&["web-1", "/nowhere", "mine"]), 1);
    assert!(complaint.contains("/nowhere/mine-ca.key, /nowhere/mine-ca.cert"), "{complaint}");
    assert!(complaint.contains("loghog-server-cert"), "{complaint}");
}

#[test]
fn names_that_are_paths_or_the_servers_own_are_refused() {
    let workshop = Workshop::with_ca();
    let before = workshop.files();
    for name in ["../web-1", "/tmp/web-1", ".hidden", "", "a\nb", "loghog-server", &"a".repeat(65)]
    {
        fail(&mut workshop.client(&["--", name]), 64);
    }
    for args in [
        &[][..],
        &["a", ".", "loghog", "b"],
        &["a", "--days", "0"],
        &["--list", ".", "loghog", "b"],
    ] {
        fail(&mut workshop.client(args), 64);
    }
    fail(&mut workshop.client(&["a", ".", "../x"]), 64);
    assert_eq!(workshop.files(), before);
}

#[test]
fn an_existing_certificate_is_not_overwritten_without_force() {
    let workshop = Workshop::with_ca();
    fs::write(workshop.path("web-1.pem"), "mine").unwrap();
    let complaint = fail(&mut workshop.client(&["web-1"]), 1);
    assert!(
        complaint.contains("web-1.pem exists already") && complaint.contains("--force"),
        "{complaint}"
    );
    assert_eq!(workshop.read("web-1.pem"), "mine");
    assert!(
        !workshop.client_cert(&["--list"]).contains("web-1"),
        "nobody got it, so it is not listed"
    );

    workshop.client_cert(&["web-1", "--force"]);
    workshop.assert_verifies("sslclient", "loghog", "web-1.pem");
}

#[test]
fn revoking_shuts_out_every_certificate_of_that_name_and_no_other() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    fs::rename(workshop.path("web-1.pem"), workshop.path("first.pem")).unwrap();
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["web-2"]);
    let told = workshop.client_cert(&["--revoke", "web-1"]);
    assert!(told.contains("shuts out 2 certificate") && told.contains("`crl`"), "{told}");

    for pem in ["first.pem", "web-1.pem"] {
        let said = workshop.verify("sslclient", "loghog", pem);
        assert!(text(&said).contains("certificate revoked"), "{}", text(&said));
    }
    workshop.assert_verifies("sslclient", "loghog", "web-2.pem");

    let list = workshop.client_cert(&["--list"]);
    assert_eq!(list.matches("revoked 20").count(), 2, "{list}");
    let again = workshop.client_cert(&["--revoke", "web-1"]);
    assert!(again.contains("revoked already"), "{again}");
}

#[test]
fn a_file_revokes_that_one_certificate() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    fs::rename(workshop.path("web-1.pem"), workshop.path("first.pem")).unwrap();
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["--revoke", "first.pem"]);
    assert!(!workshop.verify("sslclient", "loghog", "first.pem").status.success());
    workshop.assert_verifies("sslclient", "loghog", "web-1.pem");
}

#[test]
fn without_an_index_the_certificate_at_hand_is_revoked() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    workshop.client_cert(&["web-2"]);
    fs::remove_file(workshop.path("loghog-ca.index")).unwrap();
    workshop.client_cert(&["--revoke", "web-1"]);
    assert!(!workshop.verify("sslclient", "loghog", "web-1.pem").status.success());
    workshop.assert_verifies("sslclient", "loghog", "web-2.pem");

    // Under the name of another, it is not taken for his.
    fs::rename(workshop.path("web-2.pem"), workshop.path("web-3.pem")).unwrap();
    let complaint = fail(&mut workshop.client(&["--revoke", "web-3"]), 1);
    assert!(complaint.contains("no certificate of web-3"), "{complaint}");
}

#[test]
fn losing_either_book_lets_nobody_in_again() {
    for lost in ["loghog-ca.crl", "loghog-ca.index"] {
        let workshop = Workshop::with_ca();
        workshop.client_cert(&["web-1"]);
        workshop.client_cert(&["web-2"]);
        workshop.client_cert(&["--revoke", "web-1"]);
        fs::remove_file(workshop.path(lost)).unwrap();
        workshop.client_cert(&["--revoke", "web-2"]);
        for pem in ["web-1.pem", "web-2.pem"] {
            assert!(!workshop.verify("sslclient", "loghog", pem).status.success(), "{lost}: {pem}");
        }
        assert_eq!(workshop.client_cert(&["--list"]).matches("revoked 20").count(), 2);
    }
}

#[test]
fn a_stranger_cannot_be_revoked_here() {
    let workshop = Workshop::with_ca();
    let other = Workshop::with_ca();
    other.client_cert(&["web-1"]);
    fs::copy(other.path("web-1.pem"), workshop.path("web-1.pem")).unwrap();
    let complaint = fail(&mut workshop.client(&["--revoke", "web-1.pem"]), 1);
    assert!(complaint.contains("not issued by this CA"), "{complaint}");
    fail(&mut workshop.client(&["--revoke", "web-1"]), 1);
}

#[test]
fn a_list_of_another_ca_is_not_gone_on_with() {
    let workshop = Workshop::with_ca();
    let other = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    fs::copy(other.path("loghog-ca.crl"), workshop.path("loghog-ca.crl")).unwrap();
    let complaint = fail(&mut workshop.client(&["--revoke", "web-1"]), 1);
    assert!(complaint.contains("loghog-ca.crl was not signed by this CA"), "{complaint}");
    fs::write(workshop.path("loghog-ca.crl"), "nonsense").unwrap();
    let complaint = fail(&mut workshop.client(&["--revoke", "web-1"]), 1);
    assert!(complaint.contains("is no revocation list"), "{complaint}");
}

#[test]
fn many_runs_at_once_are_all_in_the_index() {
    let workshop = Workshop::with_ca();
    let names: Vec<String> = (0..8).map(|number| format!("web-{number}")).collect();
    let runs: Vec<_> = names
        .iter()
        .map(|name| {
            workshop.client(&[name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    let list = workshop.client_cert(&["--list"]);
    for name in &names {
        assert!(list.contains(name), "{name} is not in {list}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let workshop = Workshop::with_ca();
    let mut command = workshop.command("sh");
    let program = env!("CARGO_BIN_EXE_loghog-client-cert");
    // bash's pipefail would be easier; this is any sh.
    command.args(["-c", "{ \"$0\" --list; echo $? >code; } | true; cat code", program]);
    assert_eq!(common::succeed(&mut command).trim(), "0");
}

#[test]
fn an_encrypted_ca_key_says_how_to_decrypt_it() {
    let workshop = Workshop::with_ca();
    workshop.openssl(&[
        "pkcs8",
        "-topk8",
        "-in",
        "loghog-ca.key",
        "-out",
        "e.key",
        "-passout",
        "pass:x",
    ]);
    fs::rename(workshop.path("e.key"), workshop.path("loghog-ca.key")).unwrap();
    let complaint = fail(&mut workshop.client(&["web-1"]), 1);
    assert!(complaint.contains("openssl pkey -in loghog-ca.key"), "{complaint}");
}

#[test]
fn a_leaf_in_the_place_of_the_ca_is_noticed() {
    let workshop = Workshop::with_ca();
    workshop.client_cert(&["web-1"]);
    fs::copy(workshop.path("web-1.pem"), workshop.path("loghog-ca.cert")).unwrap();
    let complaint = fail(&mut workshop.client(&["web-2"]), 1);
    assert!(complaint.contains("not the certificate of a CA"), "{complaint}");
}
