//! The process lives on, and the disk refuses: any calls, at any moment, for a
//! while. When it does its duty again, so do we: nobody restarts anything, and
//! every line is there once, in order, sealed where it has turned, and there is
//! no stray file.

use nix::errno::Errno;
use proptest::sample::select;

use super::*;
use crate::disk::simulated::{Fault, Operation};

/// Some calls that are refused.
#[derive(Clone, Debug)]
struct Refusal {
    errno: Errno,
    operations: &'static [Operation],
    after: usize,
    times: usize,
}

fn refusal() -> impl Strategy<Value = Refusal> {
    use Operation::*;
    let everything = &[][..];
    // A file that cannot be read is set aside: that is no matter of waiting.
    let changes = &[Create, MakeFolder, Rename, Remove, SyncFolder, Write, SetLen, Sync][..];
    let operations = select(vec![
        (Errno::ENOSPC, &[Create, Write][..]),
        (Errno::EROFS, &[OpenLive, Create, MakeFolder, Rename, Remove, SetLen, Write][..]),
        (Errno::EACCES, everything),
        (Errno::EMFILE, &[Folders, Names, Facts, OpenLive, Open, Create, SyncFolder][..]),
        (Errno::EIO, changes),
        (Errno::EIO, &[SyncFolder][..]),
        (Errno::EIO, &[Remove][..]),
    ]);
    (operations, 0..40_usize, 1..6_usize).prop_map(|((errno, operations), after, times)| Refusal {
        errno,
        operations,
        after,
        times,
    })
}

fn endures(plan: &[Action], refusals: &[Refusal], form: Form) -> Result<(), TestCaseError> {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let clock = Clock::standing("2026-10-25T00:10:00Z".parse().unwrap(), zone);
    let disk = Simulated::new();
    disk.set_now(clock.now());
    let mut sent: [Sent; APPS.len()] = Default::default();
    let mut process = Process::start(disk.clone(), clock, form);
    for Refusal { errno, operations, after, times } in refusals {
        disk.fail(Fault::new(*errno).on(operations).after(*after).times(*times));
    }
    run(&mut process, plan, &mut sent);
    disk.heal();
    // Longer than the longest pause of any retry.
    for _ in 0..3 {
        process.now += Duration::from_secs(2 * 3600);
        process.round(&mut sent);
        process.look(false);
        let mut queue = std::mem::take(&mut process.queue);
        while let Some(outcome) = process.sealer.seal_next(&mut queue, process.now, &|| true) {
            if outcome.is_err() {
                break;
            }
        }
        process.queue = queue;
        process.trim();
    }
    prop_assert!(process.queue.is_empty(), "not all is sealed: {:?}\n{:?}", process.queue, disk);
    for (app, sent) in APPS.iter().zip(&sent) {
        check(app, &messages(&content(&disk, app)), sent, Restart::Killed)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn a_disk_that_refuses_for_a_while_costs_time_and_nothing_else(
        plan in proptest::collection::vec(action(), 1..24),
        refusals in proptest::collection::vec(refusal(), 1..4),
        gzip in any::<bool>(),
    ) {
        let form = if gzip { Form::Gzip { level: 1 } } else { Form::Plain };
        endures(&plan, &refusals, form)?;
    }
}
