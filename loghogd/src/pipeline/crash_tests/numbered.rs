//! Clients that number their messages, and send again what they were not told
//! is safe: after any stops, each message is in a file once, in order, however
//! the disk behaved.

use super::*;
use crate::disk::simulated::{Fault, Operation};
use crate::pipeline::persist::clients::Session;
use nix::errno::Errno;

const NUMBERED: &str = "[num]\nrotate = hourly\nbackup_count = 1000\nflush_every = 50\n\
                        [num:sized]\nrotate = size\nmax_size = 300\nbackup_count = 1000\n";

/// What happens to the writer of numbered messages.
#[derive(Clone, Debug)]
enum Step {
    /// The client logs so many more.
    Log(u8),
    /// Another sender, who numbers nothing, logs so many.
    Others(u8),
    Round,
    /// The connection breaks; what is on its way goes on.
    Reconnect,
    Wait {
        minutes: i16,
    },
    /// One segment is sealed.
    Seal,
    Reload,
    /// The disk refuses some calls.
    Refuse {
        errno: Errno,
        operations: &'static [Operation],
        after: usize,
        times: usize,
    },
    /// It does not any more.
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    let refuse = (0..5_usize, 0..20_usize, 1..5_usize).prop_map(|(kind, after, times)| {
        let (errno, operations) = match kind {
            0 => (Errno::ENOSPC, &[Operation::Write, Operation::Create][..]),
            1 => (Errno::EIO, &[Operation::Sync, Operation::SyncFolder][..]),
            2 => (Errno::EACCES, &[][..]),
            3 => (Errno::EIO, &[Operation::Write, Operation::SetLen][..]),
            _ => (Errno::EROFS, &[Operation::Rename, Operation::OpenLive][..]),
        };
        Step::Refuse { errno, operations, after, times }
    });
    prop_oneof![
        5 => (1..9_u8).prop_map(Step::Log),
        2 => (1..4_u8).prop_map(Step::Others),
        5 => Just(Step::Round),
        1 => Just(Step::Reconnect),
        2 => prop_oneof![5 => 1..200_i16, 1 => -400..0_i16].prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Seal),
        1 => Just(Step::Reload),
        1 => refuse,
        1 => Just(Step::Heal),
    ]
}

/// A client: it has logged so many, and was told that so many are safe.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    logged: u64,
    acknowledged: u64,
}

/// The daemon, and the client's connection to it.
struct Daemon {
    process: Process,
    session: Session,
}

fn key() -> crate::pipeline::persist::clients::Key {
    crate::pipeline::persist::clients::Key { app: "num".into(), id: [7; 16] }
}

fn module(number: u64) -> &'static str {
    if number.is_multiple_of(3) { "sized" } else { "" }
}

fn start(disk: &Simulated, clock: &Clock, form: Form, client: &Client) -> Daemon {
    let table = config::read_facilities(NUMBERED.as_bytes(), Path::new("facilities.conf")).unwrap();
    let process = Process::start_with(table, disk.clone(), clock.clone(), form);
    let session = process.writer.begin(key(), client.acknowledged + 1);
    Daemon { process, session }
}

impl Daemon {
    /// The client sends what it has not sent in this process.
    fn send(&mut self, client: &Client) {
        let (first, last) = (self.session.taken() + 1, client.logged);
        let settled = self.session.settled();
        let new = (first..=last).filter(|&number| !settled.contains(number));
        for number in new.collect::<Vec<_>>() {
            let Process { writer, table, .. } = &mut self.process;
            let body = format!("n{number}\nof two lines");
            let body = if number % 5 == 4 { body.as_str() } else { body.lines().next().unwrap() };
            writer.send_numbered(table, &self.session, module(number), body, number);
        }
    }

    fn act(&mut self, step: &Step, client: &mut Client) {
        let Process { disk, writer, table, now, .. } = &mut self.process;
        match step {
            Step::Log(count) => {
                client.logged += u64::from(*count);
                self.send(client);
            }
            Step::Others(count) => {
                for _ in 0..*count {
                    writer.send(table, "num", "h", &["other"]);
                }
            }
            Step::Round => {
                for _ in 0..20 {
                    writer.rounds.round(*now, false);
                    if disk.has_stopped() || !writer.rounds.has_more(*now, false) {
                        break;
                    }
                }
                // What is told after a stop nobody hears.
                if !disk.has_stopped() {
                    client.acknowledged = client.acknowledged.max(self.session.durable());
                }
            }
            Step::Reconnect => {
                self.session = self.process.writer.begin(key(), client.acknowledged + 1);
                self.send(client);
            }
            Step::Wait { minutes } => {
                let at = writer.clock.now() + jiff::SignedDuration::from_mins((*minutes).into());
                writer.clock.set(at);
                disk.set_now(at);
                *now += Duration::from_millis(700);
            }
            Step::Seal => {
                let (call, now) = (Call { all: true, ..Call::default() }, *now);
                let Process { sealer, queue, .. } = &mut self.process;
                sealer.look(&call, queue);
                let _ = sealer.seal_next(queue, now, &|| true);
            }
            Step::Reload => writer.rounds.reload(&table.clone(), *now),
            Step::Refuse { errno, operations, after, times } => {
                disk.fail(Fault::new(*errno).on(operations).after(*after).times(*times));
            }
            Step::Heal => disk.heal(),
        }
    }
}

/// The numbers in a file and its segments, and how many lines of others.
fn found(disk: &Simulated, live: &str) -> (Vec<u64>, usize) {
    let mut files = BTreeMap::new();
    for name in disk.names("num").unwrap() {
        let (place, gzip) = match Name::read(&name) {
            Name::Segment(segment) if &*segment.live == live => {
                (Some(segment.began), segment.format.is_some())
            }
            Name::Live { ref stem, gzip } if format!("{stem}.log") == live => (None, gzip),
            Name::Segment(_) | Name::Live { .. } => continue,
            stray => panic!("{name} is a stray file: {stray:?}"),
        };
        let bytes = disk.content("num", &name).unwrap();
        let mut text = String::new();
        match gzip {
            false => text = String::from_utf8(bytes).unwrap(),
            true if bytes.is_empty() => {}
            true => {
                MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
            }
        }
        files.insert((place.is_none(), place), text);
    }
    let text: String = files.into_values().collect();
    let bodies: Vec<String> = messages(&text)
        .iter()
        .map(|message| message.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned())
        .collect();
    let numbers = bodies.iter().filter_map(|body| body.strip_prefix('n')?.parse().ok());
    (numbers.collect(), bodies.iter().filter(|body| *body == "other").count())
}

fn arrives_once(
    plan: &[Vec<Step>],
    stops: &[(usize, Cut)],
    how: Restart,
    form: Form,
) -> Result<(), TestCaseError> {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let clock = Clock::standing("2026-10-25T00:10:00Z".parse().unwrap(), zone);
    let mut disk = Simulated::new();
    disk.set_now(clock.now());
    let mut client = Client::default();
    for (steps, &(at, cut)) in plan.iter().zip(stops) {
        disk.stop_at(at, cut);
        // A start that fails is tried again by whoever supervises the daemon.
        let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            start(&disk, &clock, form, &client)
        }));
        if let Ok(mut daemon) = started {
            daemon.send(&client);
            for step in steps {
                if disk.has_stopped() {
                    break;
                }
                daemon.act(step, &mut client);
            }
        }
        disk.heal();
        disk = disk.restart(how);
        disk.set_now(clock.now());
    }
    let mut daemon = start(&disk, &clock, form, &client);
    daemon.act(&Step::Log(3), &mut client);
    for _ in 0..6 {
        daemon.process.now += Duration::from_secs(3600);
        daemon.act(&Step::Round, &mut client);
    }
    daemon.act(&Step::Seal, &mut client);
    prop_assert_eq!(client.acknowledged, client.logged, "some are never acknowledged");
    let mut all = Vec::new();
    for live in ["root.log", "sized.log"] {
        let (numbers, _) = found(&disk, live);
        prop_assert!(numbers.is_sorted(), "{}: {:?}", live, numbers);
        all.extend(numbers);
    }
    all.sort_unstable();
    let expected: Vec<u64> = (1..=client.logged).collect();
    prop_assert_eq!(all, expected);
    Ok(())
}

fn plan() -> impl Strategy<Value = Vec<Vec<Step>>> {
    proptest::collection::vec(proptest::collection::vec(step(), 1..16), 1..4)
}

fn stops_of_all() -> impl Strategy<Value = Vec<(usize, Cut)>> {
    proptest::collection::vec((0..160_usize, cut()), 3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn a_numbered_message_arrives_once_whatever_kills_the_daemon(
        plan in plan(), stops in stops_of_all(), gzip in any::<bool>(),
    ) {
        let form = if gzip { Form::Gzip { level: 1 } } else { Form::Plain };
        arrives_once(&plan, &stops, Restart::Killed, form)?;
    }

    #[test]
    fn a_numbered_message_arrives_once_whenever_the_power_fails(
        plan in plan(), stops in stops_of_all(), gzip in any::<bool>(), seed: u64,
    ) {
        let form = if gzip { Form::Gzip { level: 1 } } else { Form::Plain };
        arrives_once(&plan, &stops, Restart::PowerLost(seed), form)?;
    }
}

#[test]
fn what_once_went_wrong_stays_right() {
    use Step::{Log, Others, Round, Seal, Wait};
    const SYNCS: &[Operation] = &[Operation::Sync, Operation::SyncFolder];
    const WRITES: &[Operation] = &[Operation::Write, Operation::SetLen];
    let refuse = |errno, operations, after, times| Step::Refuse { errno, operations, after, times };
    let lost = |seed| Restart::PowerLost(seed);
    let gzip = Form::Gzip { level: 1 };
    // A region that was cut off only in memory was reported as given up.
    let cut_late = vec![vec![
        Log(1),
        Wait { minutes: 4 },
        Round,
        Log(3),
        refuse(Errno::EACCES, &[], 11, 2),
        Wait { minutes: 46 },
        refuse(Errno::EIO, WRITES, 2, 2),
        Round,
    ]];
    let stops = [(17, Cut::After), (0, Cut::Before), (0, Cut::Before)];
    arrives_once(&cut_late, &stops, Restart::Killed, Form::Plain).unwrap();
    // A second region came before the name of the file was safe.
    let unnamed = vec![
        vec![Log(7), Log(2), Round, Wait { minutes: 50 }],
        vec![Round],
        vec![
            refuse(Errno::EIO, SYNCS, 8, 1),
            refuse(Errno::EIO, WRITES, 7, 1),
            Log(2),
            Log(7),
            Round,
        ],
    ];
    let stops = [(23, Cut::Before), (11, Cut::After), (18, Cut::After)];
    arrives_once(&unnamed, &stops, lost(17_648_752_179_135_632_279), gzip).unwrap();
    // The folder of the journal had a name that was not safe.
    let homeless = vec![vec![
        Log(3),
        refuse(Errno::EACCES, &[], 10, 1),
        refuse(Errno::EACCES, &[], 17, 1),
        Round,
        Wait { minutes: 1 },
        Log(1),
        Round,
    ]];
    let stops = [(12, Cut::After), (0, Cut::Before), (0, Cut::Before)];
    arrives_once(&homeless, &stops, lost(17_250_870_304_658_316_016), Form::Plain).unwrap();
    // A segment was taken for another one, whose name is a microsecond away.
    let close_by = vec![
        vec![Log(5), Log(4), Log(5), Log(8)],
        vec![Log(1), Log(7), Round],
        vec![Log(5), Round, Seal, Others(1), Log(2), Log(4), Log(2), Log(5), Round],
    ];
    let stops = [(0, Cut::Before), (44, Cut::Before), (56, Cut::After)];
    arrives_once(&close_by, &stops, lost(14_168_188_124_216_606_197), Form::Plain).unwrap();
    // A segment was sealed of which the journal did not know the name.
    let nameless = vec![
        vec![Log(3), Log(5), Round],
        vec![
            Log(2),
            Wait { minutes: 50 },
            refuse(Errno::EIO, SYNCS, 3, 2),
            Round,
            Seal,
            Log(1),
            Round,
        ],
    ];
    let stops = [(18, Cut::Before), (38, Cut::Before), (0, Cut::Before)];
    arrives_once(&nameless, &stops, lost(3_035_784_625_667_968_735), Form::Plain).unwrap();
}

#[test]
fn a_message_that_was_given_up_in_a_file_that_was_sealed_is_not_taken_for_safe() {
    let clock = Clock::standing("2026-11-20T12:30:00Z".parse().unwrap(), TimeZone::UTC);
    let disk = Simulated::new();
    let mut client = Client::default();
    let mut daemon = start(&disk, &clock, Form::Plain, &client);
    daemon.act(&Step::Log(1), &mut client);
    daemon.act(&Step::Round, &mut client);
    disk.fail(Fault::new(Errno::ENOSPC).on(&[Operation::Write]).at(|_, name| name == "root.log"));
    daemon.act(&Step::Log(1), &mut client);
    daemon.act(&Step::Round, &mut client);
    // The file turns without it, and is sealed.
    daemon.act(&Step::Wait { minutes: 40 }, &mut client);
    daemon.act(&Step::Round, &mut client);
    daemon.act(&Step::Seal, &mut client);
    assert_eq!(client.acknowledged, 1);
    disk.heal();
    let disk = disk.restart(Restart::Killed);
    let mut daemon = start(&disk, &clock, Form::Plain, &client);
    assert_eq!(daemon.session.durable(), 1);
    daemon.send(&client);
    daemon.act(&Step::Round, &mut client);
    assert_eq!(found(&disk, "root.log").0, [1, 2]);
}

/// Of the messages behind the first, the journal has the region and the disk its
/// length, but something else stands there: some file systems write a file's size
/// before its bytes.
fn keeps_only_the_length(form: Form, how: fn(&mut [u8])) {
    let name = if form == Form::Plain { "root.log" } else { "root.log.gz" };
    let mut cut_off = 0;
    for step in 0..40 {
        let clock = Clock::standing("2026-11-20T12:30:00Z".parse().unwrap(), TimeZone::UTC);
        let disk = Simulated::new();
        let mut client = Client::default();
        let mut daemon = start(&disk, &clock, form, &client);
        daemon.act(&Step::Log(1), &mut client);
        daemon.act(&Step::Round, &mut client);
        assert_eq!(client.acknowledged, 1);
        let whole = disk.content("num", name).unwrap();
        daemon.act(&Step::Log(1), &mut client);
        disk.stop_at(disk.steps() + step, Cut::Before);
        daemon.act(&Step::Round, &mut client);
        let has_stopped = disk.has_stopped();
        drop(daemon);
        let disk = disk.restart(Restart::Killed);
        if !has_stopped {
            break;
        }
        let mut torn = disk.content("num", name).unwrap().split_off(whole.len());
        how(&mut torn);
        let mut file = disk.open_live("num", name).unwrap().file;
        file.set_len(whole.len() as u64).unwrap();
        file.write_all(&torn).unwrap();
        drop(file);
        cut_off += usize::from(!torn.is_empty());

        let mut daemon = start(&disk, &clock, form, &client);
        assert_eq!(disk.content("num", name).unwrap(), whole, "stopped before step {step}");
        assert_eq!((daemon.session.durable(), daemon.session.taken()), (1, 1));
        daemon.send(&client);
        daemon.act(&Step::Round, &mut client);
        assert_eq!((client.acknowledged, found(&disk, "root.log").0), (2, vec![1, 2]));
    }
    assert!(cut_off > 0, "something stood there");
}

#[test]
fn a_region_of_which_the_disk_has_only_the_length_is_cut_off_and_sent_again() {
    for form in [Form::Plain, Form::Gzip { level: 1 }] {
        keeps_only_the_length(form, |torn| torn.fill(0));
        keeps_only_the_length(form, |torn| torn.reverse());
        // All that is wrong is one bit.
        keeps_only_the_length(form, |torn| torn.iter_mut().take(1).for_each(|byte| *byte ^= 1));
    }
}
