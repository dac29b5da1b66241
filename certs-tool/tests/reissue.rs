//! `loghog-server-cert --reissue`: a folder of the original's certificates becomes one
//! that TLS libraries of today take.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::OnceLock;

use common::{Workshop, fail};

/// What the original's scripts left: a CA, its server and two clients. Made once: keys
/// of RSA take a while.
fn originals_folder() -> Workshop {
    static MADE: OnceLock<Workshop> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let workshop = Workshop::new();
        workshop.make_original_ca("2048", true);
        workshop.make_original_leaf("server.loghog", "loghog-server.pem");
        workshop.make_original_leaf("web-1", "web-1.pem");
        workshop.make_original_leaf("10.0.0.7", "10.0.0.7.pem");
        workshop
    });
    let workshop = Workshop::new();
    for name in made.files() {
        fs::copy(made.path(&name), workshop.path(&name)).unwrap();
    }
    workshop
}

fn text_of(workshop: &Workshop, pem: &str) -> String {
    workshop.openssl(&["x509", "-in", pem, "-noout", "-text"])
}

/// OpenSSL takes it, as LogHog does. The CA keeps it from passing the strictest rules.
#[track_caller]
fn assert_passes(workshop: &Workshop, purpose: &str, prefix: &str, pem: &str) {
    let [ca, crl] = ["cert", "crl"].map(|end| format!("{prefix}-ca.{end}"));
    let args = ["verify", "-purpose", purpose, "-CAfile", &ca, "-crl_check", "-CRLfile", &crl, pem];
    assert!(workshop.openssl(&args).contains("OK"));
}

fn public_key(workshop: &Workshop, pem: &str) -> String {
    workshop.openssl(&["x509", "-in", pem, "-noout", "-pubkey"])
}

#[test]
fn one_command_replaces_all_that_the_originals_scripts_made() {
    let workshop = originals_folder();
    let ca = workshop.read("loghog-ca.cert");
    let (before, key) = (workshop.read("web-1.pem"), public_key(&workshop, "web-1.pem"));
    let told = workshop.server_cert(&["--reissue", "logs.example.org"]);

    assert_eq!(workshop.read("loghog-ca.cert"), ca, "the authority stays");
    assert_eq!(
        workshop.names("loghog-server.pem"),
        "CN = logs.example.org: DNS:logs.example.org, DNS:localhost, IP Address:127.0.0.1, \
         IP Address:0:0:0:0:0:0:0:1, DNS:server.loghog"
    );
    assert_passes(&workshop, "sslserver", "loghog", "loghog-server.pem");
    for (name, san) in [("web-1", "DNS:web-1"), ("10.0.0.7", "IP Address:10.0.0.7")] {
        let pem = format!("{name}.pem");
        assert_passes(&workshop, "sslclient", "loghog", &pem);
        assert_eq!(workshop.names(&pem), format!("CN = {name}: {san}"));
        assert!(text_of(&workshop, &pem).contains("Version: 3"));
        let said = format!("made {pem}, key and certificate of {name}, until ");
        assert!(told.contains(&said), "{told}");
    }
    assert_eq!(public_key(&workshop, "web-1.pem"), key, "a good key is kept");
    let kept = workshop.openssl(&["pkey", "-in", "web-1.pem", "-pubout"]);
    assert_eq!(kept, key, "and is in the file");
    for part in ["with the key that it had", "(X.509 v1) is in web-1.pem.old", "pemfile = "] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(workshop.read("web-1.pem.old"), before);
    assert!(workshop.path("loghog-server.pem.old").exists());
    for secret in ["web-1.pem", "web-1.pem.old", "loghog-server.pem", "loghog-server.pem.old"] {
        assert_eq!(workshop.mode(secret), 0o600, "{secret}");
    }

    // They are in the books, so that they can be revoked.
    let list = workshop.client_cert(&["--list"]);
    assert_eq!(list.matches("valid").count(), 3, "{list}");
    workshop.client_cert(&["--revoke", "web-1"]);
    assert!(!workshop.verify("sslclient", "loghog", "web-1.pem").status.success());
}

#[test]
fn a_second_run_changes_nothing() {
    let workshop = originals_folder();
    let typed = ["--reissue", "logs.example.org", "--san", "192.0.2.7"];
    workshop.server_cert(&typed);
    let all = |workshop: &Workshop| {
        let pems = workshop.files().into_iter().filter(|name| name.contains(".pem"));
        pems.map(|name| (workshop.read(&name), name)).collect::<Vec<_>>()
    };
    let (before, index) = (all(&workshop), workshop.read("loghog-ca.index"));
    let told = workshop.server_cert(&typed);
    assert_eq!(all(&workshop), before);
    assert_eq!(workshop.read("loghog-ca.index"), index);
    for file in ["loghog-server.pem", "web-1.pem", "10.0.0.7.pem"] {
        assert!(told.contains(&format!("left {file}: its certificate is in order")), "{told}");
    }
    // Unless the server is to have another name.
    let told = workshop.server_cert(&["--reissue", "--san", "other.example.org"]);
    assert!(
        told.contains("made loghog-server.pem") && told.contains("other.example.org"),
        "{told}"
    );
}

#[test]
fn a_short_key_is_replaced_with_its_certificate() {
    let workshop = originals_folder();
    workshop.make_leaf("web-2", "web-2.pem", "1024", &[]);
    fs::write(workshop.path("leaf.ext"), "subjectAltName=DNS:web-3,DNS:www.example.org").unwrap();
    workshop.make_leaf("web-3", "web-3.pem", "1024", &["-extfile", "leaf.ext"]);
    let told = workshop.server_cert(&["--reissue"]);
    for pem in ["web-2.pem", "web-3.pem"] {
        assert_passes(&workshop, "sslclient", "loghog", pem);
        assert!(text_of(&workshop, pem).contains("id-ecPublicKey"), "{pem}");
    }
    assert_eq!(workshop.names("web-3.pem"), "CN = web-3: DNS:web-3, DNS:www.example.org");
    assert!(
        told.contains("with a new key; what was there (X.509 v1) is in web-2.pem.old"),
        "{told}"
    );
    assert!(told.contains("(an RSA key of 1024 bits) is in web-3.pem.old"), "{told}");
}

#[test]
fn certificates_signed_with_sha1_are_known_as_the_authoritys_own() {
    let workshop = originals_folder();
    workshop.make_leaf("web-2", "web-2.pem", "2048", &["-sha1"]);
    workshop.server_cert(&["--reissue"]);
    assert_passes(&workshop, "sslclient", "loghog", "web-2.pem");
}

#[test]
fn nobody_gets_a_certificate_who_had_none_or_was_shut_out() {
    let workshop = originals_folder();
    let other = Workshop::new();
    other.make_original_ca("2048", true);
    other.make_original_leaf("stranger", "stranger.pem");
    fs::copy(other.path("stranger.pem"), workshop.path("stranger.pem")).unwrap();
    workshop.make_original_leaf("lost", "lost.pem");
    workshop.client_cert(&["--revoke", "lost"]);
    workshop.make_leaf("../odd", "odd.pem", "2048", &[]);
    workshop.make_original_leaf("example.org", "example.org-server.pem");
    fs::write(workshop.path("notes.pem"), "no certificate").unwrap();
    fs::copy(workshop.path("loghog-ca.cert"), workshop.path("ca.pem")).unwrap();
    fs::create_dir(workshop.path("folder.pem")).unwrap();
    let pems =
        ["stranger.pem", "lost.pem", "odd.pem", "example.org-server.pem", "notes.pem", "ca.pem"];
    let before = pems.map(|pem| workshop.read(pem));
    let told = workshop.server_cert(&["--reissue"]);
    assert_eq!(pems.map(|pem| workshop.read(pem)), before);
    for said in [
        "left stranger.pem: its certificate is not from this CA",
        "left lost.pem: its certificate is revoked",
        "left odd.pem: its name `../odd`: a name may not begin with",
        "left example.org-server.pem: by its name it is a server's of another CA",
        "left notes.pem: no certificate in it",
        "left ca.pem: the certificate of a CA",
        "left folder.pem: ",
    ] {
        assert!(told.contains(said), "{said} is not in {told}");
    }
    assert_eq!(told.matches("made ").count(), 3, "{told}");
}

#[test]
fn one_that_has_ended_stays_ended() {
    let workshop = originals_folder();
    workshop.make_leaf("gone", "gone.pem", "2048", &["-days", "-1"]);
    let told = workshop.server_cert(&["--reissue"]);
    let said = "if its owner may log again: `loghog-client-cert gone --force`";
    assert!(
        told.contains("left gone.pem: its certificate ended on") && told.contains(said),
        "{told}"
    );
    assert!(!workshop.path("gone.pem.old").exists());
}

#[test]
fn a_key_that_everybody_could_read_is_told_of() {
    let workshop = originals_folder();
    for (name, mode) in [("web-1.pem", 0o644), ("10.0.0.7.pem", 0o640)] {
        fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let told = workshop.server_cert(&["--reissue"]);
    assert!(told.contains("`loghog-client-cert web-1 --force`"), "{told}");
    assert_eq!(told.matches("could read its key").count(), 1, "{told}");
    assert_eq!((workshop.mode("web-1.pem"), workshop.mode("10.0.0.7.pem")), (0o600, 0o640));
}

#[test]
fn a_weak_authority_is_told_with_the_remedy() {
    let workshop = Workshop::new();
    workshop.make_original_ca("1024", true);
    workshop.make_original_leaf("web-1", "web-1.pem");
    let before = workshop.files();
    let complaint = fail(&mut workshop.server(&["--reissue"]), 1);
    for part in ["1024", "`loghog-server-cert [DOMAIN] --force`"] {
        assert!(complaint.contains(part), "{part} is not in {complaint}");
    }
    assert_eq!(workshop.files(), before, "nothing has changed");

    // Those that do for LogHog, but not for everybody.
    for (make_ca, said) in [
        (
            Workshop::make_v1_ca as fn(&Workshop),
            "note: loghog-ca.cert is X.509 v1: LogHog takes it",
        ),
        (
            |workshop| workshop.make_original_ca("2048", true),
            "note: loghog-ca.cert does not say what its key is for: LogHog takes it",
        ),
    ] {
        let workshop = Workshop::new();
        make_ca(&workshop);
        workshop.make_original_leaf("web-1", "web-1.pem");
        let told = workshop.server_cert(&["--reissue"]);
        assert!(told.contains(said), "{told}");
        assert!(told.contains("`loghog-server-cert [DOMAIN] --force`"), "{told}");
        assert_passes(&workshop, "sslclient", "loghog", "web-1.pem");
        let strict = workshop.verify("sslclient", "loghog", "web-1.pem");
        assert!(!strict.status.success(), "as it says");
    }
}

#[test]
fn the_authority_of_another_domain_is_named_in_the_command() {
    let workshop = originals_folder();
    for rest in ["ca.key", "ca.cert", "server.pem"] {
        let name = |prefix: &str| workshop.path(&format!("{prefix}-{rest}"));
        fs::rename(name("loghog"), name("example.org")).unwrap();
    }
    let complaint = fail(&mut workshop.server(&["--reissue"]), 1);
    assert!(
        complaint.contains("`loghog-server-cert --reissue --ca-name example.org`"),
        "{complaint}"
    );
    workshop.server_cert(&["--reissue", "--ca-name", "example.org"]);
    assert_passes(&workshop, "sslserver", "example.org", "example.org-server.pem");
    assert_passes(&workshop, "sslclient", "example.org", "web-1.pem");
    for with in ["--renew", "--force"] {
        fail(&mut workshop.server(&["--reissue", with]), 64);
    }
}

#[test]
fn a_run_that_is_killed_leaves_whole_files_and_the_next_one_does_the_rest() {
    let workshop = originals_folder();
    for number in 0..12 {
        let pem = format!("host-{number}.pem");
        fs::copy(workshop.path("web-1.pem"), workshop.path(&pem)).unwrap();
    }
    let old = workshop.read("web-1.pem");
    for reached in ["host-0", "host-2", "host-7"] {
        let mut run = workshop.server(&["--reissue"]).stdout(Stdio::null()).spawn().unwrap();
        let kept = workshop.path(&format!("{reached}.pem.old"));
        while !kept.exists() && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = run.kill();
        run.wait().unwrap();
        assert!(kept.exists(), "it came that far");
        for name in workshop.files().iter().filter(|name| name.starts_with("host-")) {
            let text = workshop.read(name);
            let is_old = text == old;
            assert!(!name.ends_with(".old") || is_old, "{name} is not what was there");
            assert!(
                is_old || workshop.path(&format!("{}.old", name.trim_end_matches(".old"))).exists()
            );
            assert!(text.contains("BEGIN CERTIFICATE") && text.contains("PRIVATE KEY"), "{name}");
        }
    }
    workshop.server_cert(&["--reissue"]);
    for number in 0..12 {
        let pem = format!("host-{number}.pem");
        assert_passes(&workshop, "sslclient", "loghog", &pem);
        assert_eq!(workshop.read(&format!("{pem}.old")), old);
        assert!(!workshop.path(&format!("{pem}.old.2")).exists(), "kept once");
    }
}
