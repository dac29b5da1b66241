//! A start finds everything that a crash, the original daemon, or somebody
//! else may have left in the log folder: what is ours is finished or taken
//! over, what is damaged is set aside and reported, and what is foreign is not
//! touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loghog_tests::files::tree;
use loghog_tests::segments;
use loghog_tests::{DEADLINE, Scenario, Site, wait_until};

const FACILITIES: &str = "[plain]\nrotate = daily\nbackup_count = 1000\n\
                          [plain:web]\nrotate = daily\nbackup_count = 1000\n\
                          [hosts]\nrotate = daily\nbackup_count = 1000\nfile_per_host = yes\n";

/// A line that says where it stands.
fn line(number: usize) -> String {
    format!("2020-01-{number:02} 12:00:00.000000 - h - line of the {number}.\n")
}

/// The name of the segment of a day.
fn segment(stem: &str, day: usize) -> String {
    format!("{stem}.log.2020-01-{day:02}-12-00-00-000000")
}

/// A folder as somebody has left it.
struct Left {
    folder: PathBuf,
}

impl Left {
    fn new(site: &Site, app: &str) -> Left {
        let folder = site.log_dir().join(app);
        fs::create_dir(&folder).unwrap();
        Left { folder }
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.join(name), content).unwrap();
    }

    /// Puts a file there as `program` makes it.
    fn put_sealed(&self, name: &str, content: &str, program: &str) {
        self.put("being-made", content);
        let path = self.folder.join("being-made");
        let output = Command::new(program).arg("-c").arg(&path).output().unwrap();
        assert!(output.status.success(), "{program}");
        fs::remove_file(path).unwrap();
        self.put(name, output.stdout);
    }

    /// The same, cut short as by a power failure.
    fn put_torn(&self, name: &str, content: &str, program: &str) {
        self.put_sealed(name, content, program);
        let whole = fs::read(self.folder.join(name)).unwrap();
        self.put(name, &whole[..whole.len() - 11]);
    }
}

/// Waits until there is exactly this in a folder.
#[track_caller]
fn wait_for_tree(folder: &Path, expected: &[String]) {
    let mut expected = expected.to_vec();
    expected.sort();
    let mut last = Vec::new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(DEADLINE / 3, "the folder is in order", || {
            last = tree(folder);
            (last == expected).then_some(())
        });
    }));
    assert!(outcome.is_ok(), "is {last:#?}\nshould be {expected:#?}");
}

#[test]
fn what_a_crash_has_left_is_finished() {
    let site = Scenario::new().facilities(FACILITIES).site();
    let left = Left::new(&site, "plain");
    let name = |day| segment("root", day);
    // Not sealed yet; being sealed; sealed, and the plain one not removed yet.
    left.put(&name(1), line(1));
    left.put(&name(2), line(2));
    left.put(&format!("{}.xz.part", name(2)), "half a seal");
    left.put(&name(3), line(3));
    left.put_sealed(&format!("{}.xz", name(3)), &line(3), "xz");
    let third = fs::read(left.folder.join(format!("{}.xz", name(3)))).unwrap();
    // A seal whose data did not survive, beside the plain one, which did.
    left.put(&name(4), line(4));
    left.put_torn(&format!("{}.xz", name(4)), &line(4), "xz");
    // Leftovers without a segment, in other formats.
    left.put(&format!("{}.gz.part", name(5)), "half a seal");
    left.put(&format!("{}.zst.part", segment("web", 5)), "");
    // A segment that lost its end with the power.
    left.put(&name(6), line(6) + "2020-01-06 12:00:00.0000");
    let daemon = site.start();
    let mut expected: Vec<String> = [1, 2, 3, 4, 6].map(|day| format!("{}.xz", name(day))).to_vec();
    expected.push(format!("{}.xz.damaged", name(4)));
    wait_for_tree(&left.folder, &expected);
    let said = daemon.wait_until_it_said(&format!("{}.xz", name(4)));
    assert!(said.contains("ERROR") && said.contains(".damaged"), "{said}");
    for day in [1, 2, 3, 4, 6] {
        assert_eq!(segments::read(&left.folder.join(format!("{}.xz", name(day)))), line(day));
    }
    assert_eq!(fs::read(left.folder.join(format!("{}.xz", name(3)))).unwrap(), third, "it stays");
    let stopped = daemon.stop();
    let stats = stopped.stats();
    assert_eq!((stats["segments_damaged"], stats["segments_sealed"]), (1, 4));
    // A second start finds nothing to do.
    let daemon = stopped.site.start();
    wait_for_tree(&left.folder, &expected);
    assert_eq!(daemon.stop().stats()["segments_damaged"], 0);
}

#[test]
fn the_originals_segments_are_taken_over_and_counted() {
    let facilities = FACILITIES.replace("1000", "5");
    let site = Scenario::new().facilities(&facilities).site();
    let left = Left::new(&site, "plain");
    let name = |day| segment("root", day);
    // Its lines: no digits below the second where those were zero.
    let old = |day: usize| format!("2020-01-{day:02} 12:00:00 - h - as the original wrote it\n");
    for day in [1, 2, 3] {
        left.put_sealed(&format!("{}.bz2", name(day)), &old(day), "bzip2");
        left.put_sealed(&format!("{}.gz", name(day + 3)), &old(day), "gzip");
        left.put_sealed(&format!("{}.xz", name(day + 6)), &old(day), "xz");
    }
    left.put(&name(10), old(10));
    let daemon = site.start();
    // Of ten the newest five are kept, whatever they are.
    let expected = [
        format!("{}.gz", name(6)),
        format!("{}.xz", name(7)),
        format!("{}.xz", name(8)),
        format!("{}.xz", name(9)),
        format!("{}.xz", name(10)),
    ];
    wait_for_tree(&left.folder, &expected);
    assert_eq!(segments::read(&left.folder.join(format!("{}.xz", name(10)))), old(10));
    assert_eq!(daemon.stop().stats()["segments_damaged"], 0);
}

#[test]
fn what_is_damaged_is_set_aside_and_nothing_waits_for_it() {
    let site = Scenario::new().facilities(FACILITIES).site();
    let left = Left::new(&site, "plain");
    let name = |day| segment("root", day);
    left.put(&format!("{}.xz", name(1)), "this is no xz file");
    left.put(&format!("{}.gz", name(2)), "nor is this one of gzip");
    left.put_torn(&format!("{}.xz", name(3)), &line(3).repeat(1000), "xz");
    left.put(&format!("{}.xz", name(4)), "");
    left.put(&name(5), line(5));
    let daemon = site.start();
    let mut expected: Vec<String> = [(1, "xz"), (2, "gz"), (3, "xz"), (4, "xz")]
        .map(|(day, ending)| format!("{}.{ending}.damaged", name(day)))
        .to_vec();
    expected.push(format!("{}.xz", name(5)));
    wait_for_tree(&left.folder, &expected);
    for day in 1..=4 {
        let said = daemon.wait_until_it_said(&name(day));
        assert!(said.contains("ERROR") && said.contains(".damaged"), "{said}");
    }
    assert_eq!(daemon.stop().stats()["segments_damaged"], 4);
}

#[test]
fn what_is_not_exactly_ours_is_not_touched() {
    let facilities = FACILITIES.replace("1000", "1");
    let site = Scenario::new().facilities(&facilities).site();
    let left = Left::new(&site, "plain");
    let foreign = [
        "root-old.log.2020-01-01-12-00-00-000000",
        "root-old.log.2020-01-02-12-00-00-000000.xz.part",
        "root.web.log.2020-01-01-12-00-00-000000",
        "root.web.log.2020-01-01-12-00-00-000000.xz",
        "roots.log.2020-01-01-12-00-00-000000.gz",
        "web-root.log.2020-01-01-12-00-00-000000",
        "root.log.2020-01-01",
        "root.log.2020-01-01-12-00-00",
        "root.log.2020-13-32-12-00-00-000000",
        "root.log.2020-01-01-12-00-00-000000.xz.orig",
        "root.log.2020-01-01-12-00-00-000000.7z",
        "root.log.2020-01-01-12-00-00-000000~",
        "root.log.1",
        "root.log.1.gz",
        "root.log.old",
        "root.log.part",
        "notes.txt",
        ".root.log.2020-01-01-12-00-00-000000.swp",
    ];
    for name in foreign {
        left.put(name, format!("foreign {name}"));
    }
    fs::create_dir(left.folder.join("root.log.2020-01-05-12-00-00-000000")).unwrap();
    let stranger = Left::new(&site, "stranger");
    for day in 1..4 {
        stranger.put(&segment("root", day), line(day));
        left.put(&segment("root", day), line(day));
    }
    stranger.put(&format!("{}.xz.part", segment("root", 4)), "not ours");
    let before: BTreeMap<String, Vec<u8>> = contents(&site.log_dir());
    let daemon = site.start();
    // Of ours one is kept; then everything has been looked at.
    wait_until(DEADLINE, "ours are trimmed and sealed", || {
        let names = segments::segments(&left.folder, "root");
        let is_ours = |name: &&String| name.starts_with("root.log.2020-01-03");
        let ours: Vec<_> = names.iter().filter(is_ours).collect();
        let others = names.iter().any(|name| name.contains("-01-01-") || name.contains("-01-02-"));
        (!others && ours.len() == 1 && segments::is_sealed(ours[0])).then_some(())
    });
    let stopped = daemon.stop();
    let after = contents(&stopped.site.log_dir());
    for (path, content) in &before {
        if !path.starts_with("plain/root.log.2020-01-0") || path.contains(".xz.orig") {
            assert_eq!(after.get(path), Some(content), "{path} was touched");
        }
    }
    for name in foreign {
        assert!(after.contains_key(&format!("plain/{name}")), "{name} is gone");
    }
    assert!(left.folder.join("root.log.2020-01-05-12-00-00-000000").is_dir());
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = tree(folder).into_iter().filter(|path| !path.ends_with('/'));
    files.map(|path| (path.clone(), fs::read(folder.join(path)).unwrap())).collect()
}

#[test]
fn a_disk_of_a_changed_clock_goes_on_behind_what_is_there() {
    // A segment of tomorrow, made by a clock that was wrong.
    let site = Scenario::new()
        .facilities("[plain]\nrotate = size\nmax_size = 100\nbackup_count = 1000\n")
        .site();
    let left = Left::new(&site, "plain");
    let future = "root.log.2099-12-31-23-59-59-999998";
    left.put(future, "2099-12-31 23:59:59.999998 - h - of the future\n");
    let daemon = site.start();
    let mut socket = std::net::TcpStream::connect(daemon.tcp()).unwrap();
    for number in 0..5 {
        use std::io::Write as _;
        let body = format!("number {number} {}", "x".repeat(60));
        socket.write_all(&loghog_tests::frames::frame("plain", "", "h", &body)).unwrap();
    }
    daemon.wait_for_count("lines", 5);
    daemon.wait_for_count("files_turned", 4);
    segments::wait_until_sealed(&left.folder, "root", 5);
    let bodies: Vec<String> = segments::records(&left.folder, "root")
        .iter()
        .map(|record| record.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(daemon.stop().status.success());
    assert_eq!(bodies, ["of the", "number 0", "number 1", "number 2", "number 3", "number 4"]);
}
