use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::config::checked::Format;
use crate::config::read_facilities;
use crate::disk::simulated::{Restart, Simulated};
use crate::pipeline::rotate::name::Name;

const LINES: &str = "2026-11-20 12:00:00.000000 - h - one\n2026-11-20 12:00:00.000001 - h - two\n";

fn course() -> Course {
    let text = b"[app]\nrotate = daily\nbackup_count = 2\n";
    let table = read_facilities(text, Path::new("facilities.conf")).unwrap();
    let facility = Arc::clone(table.iter().next().unwrap());
    let stream = Stream { app: "app".into(), live: "root.log".into() };
    Course::new(stream, facility, Ok(State::default()))
}

fn ground(disk: &Simulated) -> Ground {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Ground {
        disk: Arc::new(disk.clone()),
        claims: Claims::new(),
        notices: Notices::default(),
        tallies: Tallies::none(),
        zone: TimeZone::UTC,
        follows: true,
        surroundings: Surroundings::new(runtime.handle().clone(), "0", TimeZone::UTC),
    }
}

fn segment(format: Option<Format>) -> Owed {
    let Name::Segment(segment) = Name::read("root.log.2026-11-20-13-00-00-000000") else {
        panic!("it is the name of a segment");
    };
    Owed { segment: Segment { format, ..segment }, bytes: 1 }
}

fn seal(disk: &Simulated, text: &str) -> Owed {
    let sealed = segment(Some(Format::Gzip));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let name = sealed.segment.to_string();
    disk.put("app", &name, &gzip.finish().unwrap(), "2026-11-20T13:00:00Z".parse().unwrap());
    sealed
}

fn fill(course: &mut Course, ground: &Ground, records: usize) -> (Filled, usize) {
    let mut batch = Batch::default();
    let filled = course.fill(ground, &mut batch, Limits { records, bytes: 1 << 20 }).unwrap();
    (filled, batch.records())
}

#[test]
fn the_name_of_a_file_is_safe_before_its_messages_leave() {
    for turns in [false, true] {
        let disk = Simulated::new();
        let (mut course, ground) = (course(), ground(&disk));
        let mut file = disk.open_live("app", "root.log").unwrap().file;
        file.write_all(LINES.as_bytes()).unwrap();
        let mut owed = VecDeque::new();
        let mut name = "root.log".to_owned();
        if turns {
            let turned = segment(None);
            name = turned.segment.to_string();
            disk.rename("app", "root.log", &name).unwrap();
            owed.push_back(turned);
        }
        course.looked(owed.clone());
        if !turns {
            assert_eq!(fill(&mut course, &ground, 1), (Filled::Look, 0));
            course.looked(owed);
        }
        assert_eq!(fill(&mut course, &ground, 1), (Filled::Part(None), 1));
        let next = disk.restart(Restart::PowerLost(0));
        assert_eq!(next.content("app", &name).as_deref(), Some(LINES.as_bytes()), "{next:?}");
    }
}

#[test]
fn what_is_read_to_its_end_holds_no_decoder() {
    let disk = Simulated::new();
    let (mut course, ground) = (course(), ground(&disk));
    let sealed = seal(&disk, LINES);
    let began = sealed.segment.began;
    course.looked([sealed].into());
    assert_eq!(fill(&mut course, &ground, 1), (Filled::Part(None), 1));
    assert!(course.holds_decoder());
    assert_eq!(fill(&mut course, &ground, 5), (Filled::Part(Some(began)), 1));
    assert!(!course.holds_decoder() && course.is_open());
    assert_eq!(fill(&mut course, &ground, 5), (Filled::Through(began), 0));
}

#[test]
fn who_has_to_end_does_not_first_decode_up_to_where_he_was() {
    let disk = Simulated::new();
    let (mut course, ground) = (course(), ground(&disk));
    course.looked([seal(&disk, &LINES.repeat(20))].into());
    assert_eq!(fill(&mut course, &ground, 30), (Filled::Part(None), 30));
    course.state.mark = course.reading.as_ref().unwrap().mark;
    course.rewind();
    ground.surroundings.end();
    let mut batch = Batch::default();
    let limits = Limits { records: 1, bytes: 1 << 20 };
    let error = course.fill(&ground, &mut batch, limits).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}
