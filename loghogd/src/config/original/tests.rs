//! Differences of configurations that have them, and of one that has hardly any.

use super::*;
use crate::config::{Overrides, survey};
use std::fs;

struct Asked {
    loaded: Loaded,
    folder: tempfile::TempDir,
}

impl Asked {
    fn new(config: &str, facilities: &str) -> Asked {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("loghogd.conf"), config).unwrap();
        fs::write(folder.path().join("facilities.conf"), facilities).unwrap();
        let path = folder.path().join("loghogd.conf");
        let (loaded, _) = survey(&path, &Overrides::default()).unwrap();
        Asked { loaded, folder }
    }

    fn differences(&self, folders: &[Folder], certificates: &[Old]) -> Vec<Difference> {
        differences(
            &self.loaded,
            &Surroundings {
                file: &self.folder.path().join("loghogd.conf"),
                now: "2026-11-29T12:00:00Z".parse().unwrap(),
                zone: &TimeZone::get("Europe/Paris").unwrap(),
                folders,
                certificates,
            },
        )
    }

    /// Lines and kinds.
    fn found(&self) -> Vec<(Option<u32>, Kind)> {
        self.differences(&[], &[]).iter().map(|found| (found.line, found.kind)).collect()
    }
}

fn of(found: &[Difference], kind: Kind) -> Vec<&Difference> {
    found.iter().filter(|difference| difference.kind == kind).collect()
}

#[test]
fn a_plain_configuration_meets_what_everybody_meets() {
    let plain = Asked::new("[server]\n", "[a]\nrotate = daily\nbackup_count = 5\n");
    let everybody = [(Some(1), Kind::MaxFrame), (None, Kind::OnTime), (None, Kind::Lines)];
    assert_eq!(plain.found(), everybody);
    let own = Asked::new("[server]\nmax_frame = 8 KiB\n", "");
    assert_eq!(own.found(), []);
}

#[test]
fn every_option_that_meant_something_else_is_told_once_with_its_line() {
    let asked = Asked::new(
        "[scheduler]\ndb_filename = schedules\n[compressor]\nlevel = 9\ncompress_on_write = yes\n",
        "[DEFAULT]\nsecret = hush\n[a]\nrotate = size\nmax_size = 5\nbackup_count = 1\n\
         file_per_host = yes\n[a:web]\nrotate = 0 0 */10 * *\nbackup_count = 1\n\
         [b]\nrotate = 30 2 * * *\nbackup_count = 1\nsecret =\n",
    );
    let expected = [
        (Some(2), Kind::Scheduler),
        (Some(5), Kind::Compressor),
        (None, Kind::MaxFrame),
        (Some(2), Kind::Signature),
        (Some(4), Kind::Size),
        (Some(7), Kind::HostNames),
        (Some(9), Kind::Schedule),
        (Some(12), Kind::ClockChange),
        (None, Kind::OnTime),
        (None, Kind::Lines),
    ];
    let found: Vec<_> = asked.found();
    let without_level: Vec<_> =
        found.iter().copied().filter(|one| *one != (Some(4), Kind::Compressor)).collect();
    assert_eq!(without_level, expected);
    assert_eq!(found.len(), expected.len() + 1, "and the level of xz");

    let said = asked.differences(&[], &[]);
    let text = |kind| of(&said, kind)[0].to_string();
    for part in [
        "rotate = 0 0 */10 * *",
        "was: the same as `0 0 10,20,30 * *`; only so it is due at 2026-11-30 00:00 +01:00",
        "now: as crontab(5) has it; only so it is due at 2026-12-01 00:00 +01:00",
        "to keep it: rotate = 0 0 10,20,30 * *",
    ] {
        assert!(text(Kind::Schedule).contains(part), "{part} is not in {}", text(Kind::Schedule));
    }
    for part in ["2027-03-28 03:00 +02:00, when", "2027-10-31 02:30 +02:00, and not again"] {
        assert!(text(Kind::ClockChange).contains(part), "{}", text(Kind::ClockChange));
    }
    assert!(said.iter().all(|difference| !difference.to_string().contains("hush")));
}

#[test]
fn what_is_right_is_told_of_beside_problems() {
    let asked = Asked::new(
        "[scheduler]\ndb_filename = x\n[nonsense]\n",
        "[a]\nrotate = 0 0 30 2 *\nbackup_count = 1\n[b]\nrotate = size\nmax_size = 1\nbackup_count = 1\n",
    );
    let found = asked.found();
    assert!(found.contains(&(Some(2), Kind::Scheduler)), "{found:?}");
    assert!(found.contains(&(Some(5), Kind::Size)), "{found:?}");
}

#[test]
fn files_are_sorted_as_those_who_keep_them_do() {
    let asked = Asked::new(
        "",
        "[DEFAULT]\nbackup_count = 2\n[a]\nrotate = daily\n[a:web]\nrotate = daily\nfile_per_host = yes\n",
    );
    let segment = |stem: &str, day: u32| format!("{stem}.log.2016-05-{day:02}-00-00-00-000000");
    let names = vec![
        "root.log".to_owned(),
        segment("root", 1) + ".xz",
        segment("root", 2) + ".gz",
        segment("root", 3),
        segment("root", 4),
        segment("h1-web", 1),
        segment("h2-web", 1),
        segment("h\u{f6}st-web", 1),
        "root.log.2016-05-01.gz".to_owned(),
        "gone.log".to_owned(),
        "notes".to_owned(),
    ];
    let folders = [
        Folder { app: "a".to_owned(), names },
        Folder { app: "old-app".to_owned(), names: vec!["root.log".to_owned()] },
    ];
    let found = asked.differences(&folders, &[]);
    let taken = of(&found, Kind::TakenOver);
    assert_eq!(taken.len(), 2, "{taken:#?}");
    let root = taken.iter().find(|taken| taken.what.contains("\"root\"")).unwrap();
    assert!(
        root.what.starts_with("4 segments: \"root.log.2016-05-01-00-00-00-000000.xz\""),
        "{root}"
    );
    assert!(
        root.now.contains("beyond backup_count = 2, and so deleted at the first start: 2"),
        "{root}"
    );
    assert!(root.now.contains("plain, and so sealed as .xz: 2"), "{root}");
    let web = taken.iter().find(|taken| taken.what.contains("of \"web\"")).unwrap();
    assert!(web.what.starts_with("2 segments"), "{web}");
    assert!(!web.now.contains("backup_count"), "one of each host: {web}");
    let left = of(&found, Kind::LeftAlone);
    assert_eq!(left.len(), 2, "{left:#?}");
    assert!(left[0].what.starts_with("4 files: ") && left[0].what.contains(", ..."), "{}", left[0]);
    assert!(left[1].what.contains("\"old-app\"") && left[1].now.contains("no facility"));
}

#[test]
fn certificates_are_told_with_what_stops_a_start() {
    let asked =
        Asked::new("[server]\nlisten_ipv4_ssl = 127.0.0.1\npemfile = s.pem\ncacert = c.cert\n", "");
    let old = |role, is_v1, short_bits, is_refused| {
        let name = "\"ca.loghog\"".to_owned();
        Old { role, name, is_v1, short_bits, is_refused }
    };
    let certificates = [
        old(Role::Pemfile, true, Some(1024), true),
        old(Role::Cacert, true, None, false),
        old(Role::Cacert, false, Some(1024), true),
    ];
    let found = asked.differences(&[], &certificates);
    let told = of(&found, Kind::Certificate);
    let stops: Vec<_> = told.iter().map(|told| (told.line, told.stops_start)).collect();
    assert_eq!(stops, [(Some(3), true), (Some(4), false), (Some(4), true)]);
    for (told, part) in told.iter().zip(["--reissue", "where those connect", "a new authority"]) {
        assert!(told.remedy.contains(part), "{told}");
    }
    assert!(told[0].to_string().contains("(a start fails)"), "{}", told[0]);
    assert_eq!(of(&found, Kind::ClientCertificates).len(), 1);
}

#[test]
fn the_guide_tells_of_every_kind() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migration.md");
    let page = fs::read_to_string(path).unwrap();
    for kind in Kind::ALL {
        let name = serde_json::to_value(kind).unwrap();
        let name = format!("`{}`", name.as_str().unwrap());
        assert!(page.contains(&name), "docs/migration.md does not tell of {name}");
    }
}
