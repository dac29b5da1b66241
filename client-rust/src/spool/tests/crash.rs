//! A program or a machine that stops at any moment.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Set for the process that is killed: its folder.
const CHILD: &str = "LOGHOG_SPOOL_CHILD";

/// Where syncing costs nothing, if there is such a place.
fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[test]
fn any_file_cut_at_any_byte_costs_its_rest_alone() {
    let dir = fast_folder();
    let mut spool = open(dir.path());
    fill(&mut spool, &texts(30));
    let all = held(&mut spool);
    let firsts: Vec<_> = spool.files.iter().map(|file| file.first).collect();
    drop(spool);
    let files: Vec<_> =
        log_files(dir.path()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(files.len() > 3);
    for (place, (bytes, path)) in files.iter().enumerate() {
        let end = firsts.get(place + 1).copied().unwrap_or(31);
        for cut in 0..bytes.len() {
            fs::write(path, &bytes[..cut]).unwrap();
            let mut again = open(dir.path());
            let left = held(&mut again);
            let expected = all.iter().filter(|(number, _)| {
                let is_before_the_cut = |number: u64| {
                    let skipped = usize::try_from(number + 1 - firsts[place]).unwrap();
                    let sizes = all.iter().skip_while(|(number, _)| *number < firsts[place]);
                    let sizes = sizes.map(|(_, text)| entry::HEADER_BYTES + text.len());
                    sizes.take(skipped).sum::<usize>() <= cut
                };
                *number < firsts[place] || *number >= end || is_before_the_cut(*number)
            });
            assert_eq!(
                left,
                expected.cloned().collect::<Vec<_>>(),
                "{} cut at {cut}",
                path.display()
            );
            // Of the end of all nobody knows how much there was.
            if end <= 30 {
                assert_eq!(again.take_damaged(), 30 - left.len() as u64);
            }
            drop(again);
            fs::write(path, bytes).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Acknowledge(prop::sample::Index),
    Sync,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_usize..12).prop_map(Step::Append),
        1 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        1 => Just(Step::Sync),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What the test knows of a spool.
#[derive(Default)]
struct Model {
    /// All records ever appended.
    appended: BTreeMap<u64, String>,
    acknowledged: u64,
    /// Up to which all were synced.
    synced: u64,
    /// The files as they were at the last sync.
    on_disk: HashMap<PathBuf, Vec<u8>>,
}

impl Model {
    fn apply(&mut self, step: &Step, spool: Spool, dir: &Path) -> Spool {
        let mut spool = spool;
        match step {
            Step::Append(count) => {
                let first = spool.next_number();
                let texts: Vec<_> = (first..).take(*count).map(|n| format!("number {n}")).collect();
                fill(&mut spool, &texts);
                assert!(self.appended.keys().all(|number| *number < first), "given twice");
                self.appended.extend((first..).zip(texts));
            }
            Step::Acknowledge(index) if !self.appended.is_empty() => {
                let number = *index.get(&self.appended.keys().copied().collect::<Vec<_>>());
                self.acknowledged = self.acknowledged.max(number);
                spool.acknowledge(number);
            }
            Step::Acknowledge(_) => {}
            Step::Sync => {
                spool.sync().unwrap();
                self.synced = self.appended.keys().last().copied().unwrap_or(0);
                let files = log_files(dir).into_iter();
                self.on_disk = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
            }
            Step::Restart => {
                drop(spool);
                spool = open(dir);
            }
        }
        spool
    }

    /// Leaves of each file what was synced and some beginning of the rest, which
    /// may be zeros; files that were made or deleted since may be there or not.
    fn lose_power(&self, dir: &Path, chances: &mut dyn FnMut(usize) -> usize) {
        for path in log_files(dir) {
            let now = fs::read(&path).unwrap();
            let kept = self.on_disk.get(&path).map_or(0, Vec::len);
            if kept == 0 && chances(3) == 0 {
                fs::remove_file(&path).unwrap();
                continue;
            }
            let mut left = now[..kept + chances(now.len() - kept + 1)].to_vec();
            if chances(2) == 0 {
                left.resize(now.len(), 0);
            }
            fs::write(&path, left).unwrap();
        }
        for (path, bytes) in &self.on_disk {
            if !path.exists() && chances(2) == 0 {
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_power_failure_takes_nothing_that_was_synced_and_gives_no_number_twice(
        steps in steps(),
        seed in 1..u64::MAX,
    ) {
        let dir = fast_folder();
        let mut model = Model::default();
        let mut spool = open(dir.path());
        for step in &steps {
            spool = model.apply(step, spool, dir.path());
        }
        drop(spool);
        let mut state = seed;
        model.lose_power(dir.path(), &mut |count| {
            // Xorshift (Marsaglia, 2003): shrinking needs no more.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % count as u64).unwrap()
        });

        let mut again = open(dir.path());
        prop_assert!(model.appended.keys().all(|number| *number < again.next_number()));
        let left: BTreeMap<_, _> = held(&mut again).into_iter().collect();
        for (number, text) in &left {
            prop_assert_eq!(model.appended.get(number), Some(text), "never written: {}", number);
        }
        let is_due = |number: &&u64| (model.acknowledged + 1..=model.synced).contains(*number);
        for number in model.appended.keys().filter(is_due) {
            prop_assert!(left.contains_key(number), "{} was synced and is gone", number);
        }
        // It goes on behind all that, as if nothing had been.
        let next = again.next_number();
        fill(&mut again, &texts(3));
        drop(again);
        let numbers: Vec<_> = held(&mut open(dir.path())).into_iter().map(|(n, _)| n).collect();
        let expected: Vec<_> = left.into_keys().chain(next..next + 3).collect();
        prop_assert_eq!(numbers, expected);
    }
}

#[test]
fn a_program_killed_at_any_moment_leaves_all_that_it_had_appended() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&dir));
    }
    const ROUNDS: u64 = 40;
    let dir = fast_folder();
    let (mut given, mut records) = (0, 0);
    for round in 0..ROUNDS {
        let told = run_and_kill(dir.path(), Duration::from_millis(round % 10 * 2));
        let mut spool = open(dir.path());
        let left = held(&mut spool);
        for (number, text) in &left {
            assert_eq!(*text, format!("number {number}"));
        }
        let numbers: Vec<_> = left.iter().map(|(number, _)| *number).collect();
        let lost = told
            .kept
            .iter()
            .find(|number| **number > told.acknowledged && numbers.binary_search(number).is_err());
        assert_eq!(lost, None, "round {round}: appended, and gone");
        assert!(told.first == 0 || told.first > given, "round {round}: {} again", told.first);
        given = given.max(told.given);
        assert!(spool.next_number() > given, "round {round}");
        given = given.max(spool.next_number());
        records += told.kept.len();
        // The next one has room.
        spool.acknowledge(spool.last());
        spool.sync().unwrap();
    }
    assert!(records > 1_000, "only {records} records were written");
}

/// What a program had told when it was killed.
#[derive(Default)]
struct Told {
    /// The first number that it gave, 0: none.
    first: u64,
    /// The last that it may have given.
    given: u64,
    kept: Vec<u64>,
    acknowledged: u64,
}

fn run_and_kill(dir: &Path, after: Duration) -> Told {
    let (module, _) = module_path!().split_once("::").map(|(_, path)| (path, ())).unwrap();
    let name = format!("{module}::a_program_killed_at_any_moment_leaves_all_that_it_had_appended");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // From its first word on.
    let first = lines.by_ref().map_while(Result::ok).find(|line| line == "begins");
    assert!(first.is_some(), "the child has not begun");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut told = Told::default();
    for line in lines.map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["gives", first, last] => {
                let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
                told.first = if told.first == 0 { first } else { told.first };
                told.given = last;
            }
            ["kept", first, last] => {
                told.kept.extend(first.parse::<u64>().unwrap()..=last.parse().unwrap());
            }
            ["acknowledges", number] => told.acknowledged = number.parse().unwrap(),
            _ => {}
        }
    }
    told
}

/// Says what it will do before, and what it has done behind.
fn write_until_killed(dir: &Path) {
    println!("\nbegins");
    loop {
        let mut spool = open(dir);
        for round in 1_u64..20 {
            let (first, count) = (spool.next_number(), 1 + round * 7 % 13);
            let last = first + count - 1;
            println!("gives {first} {last}");
            let texts: Vec<_> = (first..=last).map(|number| format!("number {number}")).collect();
            fill(&mut spool, &texts);
            println!("kept {first} {last}");
            if round % 5 == 0 {
                println!("acknowledges {}", last - 20);
                spool.acknowledge(last - 20);
            }
            if round % 7 == 0 {
                spool.sync().unwrap();
            }
        }
        spool.close().unwrap();
    }
}
