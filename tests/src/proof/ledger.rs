//! What is in the files, held against what programs were told.
//! Records in the order of a file, and accounts -> sums, or everything that contradicts.
//! Invariant: a bit a message, so that millions fit.
//! Leaves out: where the files are.
//!
//! What must hold of each run:
//!
//! 1. Nothing is there that it has not logged, or in a file that is not its
//!    logger's, or not as it was logged.
//! 2. Nothing is there twice.
//! 3. In each file its messages are in their order; and, where one spool is its
//!    program's alone, behind those of the runs before.
//! 4. Each time that `flush` was true, all that had been logged is there, but
//!    exactly so many as the counters say were dropped.
//! 5. What the counters call acknowledged is there, and so is what they call
//!    spooled, whatever became of the run: the next one had to send it.
//! 6. A run that ended by itself: the same of all its messages.
//! 7. A run that was killed lacks nothing but its last messages: with a spool
//!    what had not got there, without one what was not acknowledged. (Without
//!    one they are the last of each file: two files are not written at once.)
//!    A run that may drop is never killed, so these are exact as well.

use std::collections::HashMap;

use super::account::Account;
use super::message::{self, Place};
use super::program::Plan;

/// So many contradictions are told.
const FAULTS_TOLD: usize = 30;

/// What is known of all programs and files.
#[derive(Debug)]
pub struct Ledger<'a> {
    programs: Vec<Entry<'a>>,
    by_name: HashMap<&'a str, usize>,
    faults: Vec<String>,
    fault_count: u64,
}

#[derive(Debug)]
struct Entry<'a> {
    plan: Plan,
    accounts: &'a [Account],
    /// By run.
    seen: Vec<Bits>,
    /// Whether nobody shares its spool.
    has_own_spool: bool,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Programs' runs.
    pub runs: u64,
    /// Of these, how many were killed.
    pub killed: u64,
    /// Messages in the files.
    pub messages: u64,
    /// Of these, what programs were told of before they ended.
    pub durable: u64,
    /// Dropped, and counted.
    pub dropped: u64,
    /// At most so many messages ended with runs that were killed, having
    /// reached neither the server nor a spool.
    pub ended: u64,
    /// The most that ended with a run that had a spool.
    pub ended_with_spool_max: u64,
    /// Sent again, as far as programs could tell.
    pub resent: u64,
    /// Connections behind the first of a run, the same.
    pub reconnects: u64,
}

/// The last message of a program in a file; for runs that nothing orders, of
/// each of them.
#[derive(Debug, Default)]
pub struct Order(HashMap<(usize, u32), Place>);

impl<'a> Ledger<'a> {
    /// Nothing is in the files yet.
    pub fn new(programs: impl IntoIterator<Item = (Plan, &'a [Account])>) -> Ledger<'a> {
        let programs: Vec<(Plan, &[Account])> = programs.into_iter().collect();
        let sharing = |spool| programs.iter().filter(|(plan, _)| plan.spool == Some(spool)).count();
        let entries = programs.iter().map(|&(plan, accounts)| Entry {
            plan,
            accounts,
            seen: accounts.iter().map(|account| Bits::new(account.announced)).collect(),
            has_own_spool: plan.spool.is_some_and(|spool| sharing(spool) == 1),
        });
        let programs: Vec<Entry<'_>> = entries.collect();
        let by_name = programs.iter().enumerate().map(|(at, entry)| (entry.plan.name, at));
        Ledger { by_name: by_name.collect(), programs, faults: Vec::new(), fault_count: 0 }
    }

    /// Takes the next record of a file: ` - HOST - BODY`.
    pub fn note(&mut self, (app, stem): (&str, &str), order: &mut Order, record: &str) {
        if let Err(fault) = self.try_note((app, stem), order, record) {
            self.fault(format!("{app}/{stem}: {fault}: {record:?}"));
        }
    }

    fn try_note(
        &mut self,
        (app, stem): (&str, &str),
        order: &mut Order,
        record: &str,
    ) -> Result<(), String> {
        let parts = record.strip_prefix(" - ").and_then(|rest| rest.split_once(" - "));
        let (host, body) = parts.ok_or("no record")?;
        let program = message::program(body).ok_or("not what was sent")?;
        let at = *self.by_name.get(program).ok_or("of nobody")?;
        if host != program && !self.share_spool(host, program) {
            return Err(format!("came from {host}"));
        }
        let entry = self.programs.get_mut(at).ok_or("of nobody")?;
        let place = message::place(entry.plan.name, body).ok_or("not what was sent")?;
        let (run, number) = place;
        let belongs = (entry.plan.app, message::logger(entry.plan.loggers, number).1);
        if belongs != (app, stem) {
            return Err(format!("belongs into {belongs:?}"));
        }
        let key = (at, if entry.has_own_spool { 0 } else { run });
        let before = order.0.insert(key, place).unwrap_or_default();
        if before > place {
            return Err(format!("behind {before:?}"));
        }
        let seen = entry.seen.get_mut((run as usize).wrapping_sub(1)).ok_or("of no run")?;
        match seen.set(number) {
            Some(true) => Ok(()),
            Some(false) => Err("is there twice".into()),
            None => Err("was never logged".into()),
        }
    }

    /// What one has left in a spool, another who shares it may send.
    fn share_spool(&self, one: &str, other: &str) -> bool {
        let spool = |name| self.by_name.get(name).and_then(|&at| self.programs.get(at)?.plan.spool);
        spool(one).is_some() && spool(one) == spool(other)
    }

    /// Holds all that was noted against all accounts.
    ///
    /// # Errors
    /// Every contradiction, up to a bound, and how many there are.
    pub fn judge(mut self) -> Result<Sums, String> {
        let mut sums = Sums::default();
        for entry in std::mem::take(&mut self.programs) {
            for (run, (account, seen)) in (1..).zip(entry.accounts.iter().zip(&entry.seen)) {
                let who = format!("{} in run {run}", entry.plan.name);
                for fault in faults_of(&entry.plan, account, seen) {
                    self.fault(format!("{who}: {fault}"));
                }
                sums.add(&entry.plan, account, seen.count());
            }
        }
        match self.fault_count {
            0 => Ok(sums),
            count => Err(format!("{count} contradictions:\n{}", self.faults.join("\n"))),
        }
    }

    fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(fault);
        }
    }
}

fn faults_of(plan: &Plan, account: &Account, seen: &Bits) -> Vec<String> {
    let mut faults = Vec::new();
    // Points 4 and 6.
    let (mut from, mut there) = (0, 0);
    for &(number, dropped) in &account.durable {
        there += seen.count_between(from, number);
        from = number;
        if there + dropped != number {
            faults.push(format!(
                "{there} of the first {number} are there, and {dropped} were dropped; {}",
                seen.missing(number)
            ));
        }
    }
    if account.is_done && from != account.announced {
        faults.push(format!("done with {from} of {} messages", account.announced));
    }
    if plan.waits {
        let there = seen.count_between(0, account.written);
        if there != account.written {
            let missing = seen.missing(account.written);
            faults.push(format!(
                "acknowledged are {}, there are {there}; {missing}",
                account.written
            ));
        }
        let spooled = account.counter("spooled");
        let there = seen.count_between(0, spooled);
        if there != spooled {
            let missing = seen.missing(spooled);
            faults.push(format!("in the spool were {spooled}, there are {there}; {missing}"));
        }
        if account.counter("dropped") != 0 {
            faults.push(format!("{} were dropped", account.counter("dropped")));
        }
    }
    if account.counter("refused") != 0 {
        faults.push(format!("{} were refused", account.counter("refused")));
    }
    if !account.is_done {
        faults.extend(faults_of_killed(plan, account, seen));
    }
    faults
}

/// Point 7.
fn faults_of_killed(plan: &Plan, account: &Account, seen: &Bits) -> Option<String> {
    if !plan.is_killed || !plan.waits {
        return Some("it did not end as it was asked to".into());
    }
    let mut gaps: HashMap<&str, u64> = HashMap::new();
    for number in 1..=account.announced {
        let stem = message::logger(plan.loggers, number).1;
        let file = if plan.spool.is_some() { "any file" } else { stem };
        match (seen.has(number), gaps.get(file)) {
            (true, Some(gap)) => return Some(format!("{number} is there without {gap} of {file}")),
            (false, None) => drop(gaps.insert(file, number)),
            _ => {}
        }
    }
    None
}

impl Sums {
    fn add(&mut self, plan: &Plan, account: &Account, there: u64) {
        let dropped = account.counter("dropped");
        self.runs += 1;
        self.messages += there;
        self.durable += account.told().saturating_sub(dropped);
        self.dropped += dropped;
        self.resent += account.counter("resent");
        self.reconnects += account.counter("reconnects");
        if !account.is_done {
            let ended = account.announced.saturating_sub(there + dropped);
            self.killed += 1;
            self.ended += ended;
            if plan.spool.is_some() {
                self.ended_with_spool_max = self.ended_with_spool_max.max(ended);
            }
        }
    }
}

/// A set of the numbers from 1 to some other.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    greatest: u64,
}

impl Bits {
    fn new(greatest: u64) -> Bits {
        let words = usize::try_from(greatest / 64 + 1).expect("they fit into memory");
        Bits { words: vec![0; words], greatest }
    }

    /// Whether it is new; none when it cannot be in the set.
    fn set(&mut self, number: u64) -> Option<bool> {
        if number == 0 || number > self.greatest {
            return None;
        }
        let word = self.words.get_mut(usize::try_from(number / 64).ok()?)?;
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        Some(is_new)
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many are greater than the one and at most the other.
    fn count_between(&self, behind: u64, to: u64) -> u64 {
        (behind + 1..=to).filter(|number| self.has(*number)).count() as u64
    }

    /// The first numbers up to this one that are not in the set.
    fn missing(&self, to: u64) -> String {
        let first: Vec<u64> = (1..=to).filter(|number| !self.has(*number)).take(5).collect();
        format!("the first that are not there: {first:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::Kind;
    use super::*;

    const PLAN: Plan = Plan {
        name: "web",
        kind: Kind::Rust,
        app: "one",
        loggers: &[("", "root"), ("a", "a")],
        secret: None,
        compression: "",
        tls: false,
        spool: Some("web"),
        spool_bytes: 0,
        has_small_disk: false,
        queue: 100,
        waits: true,
        is_killed: true,
    };

    /// A run that was killed when it was about to log the eighth message, and
    /// had been told of four.
    fn killed() -> Account {
        Account { announced: 8, logged: 7, durable: vec![(4, 0)], ..Account::default() }
    }

    fn done(messages: u64, dropped: u64) -> Account {
        let counters = [("dropped".to_owned(), dropped)].into();
        let durable = vec![(messages, dropped)];
        let (announced, logged) = (messages, messages);
        Account { announced, logged, durable, counters, is_done: true, ..Account::default() }
    }

    /// What is to be said of these numbers in their files.
    fn judge(plan: Plan, accounts: &[Account], there: &[Place]) -> Result<Sums, String> {
        let mut ledger = Ledger::new([(plan, accounts)]);
        let mut orders = [Order::default(), Order::default()];
        for place in there {
            let stem = message::logger(plan.loggers, place.1).1;
            let order = &mut orders[usize::from(stem == "a")];
            let record = format!(" - web - {}", message::body("web", *place));
            ledger.note(("one", stem), order, &record);
        }
        ledger.judge()
    }

    fn first_run(numbers: impl IntoIterator<Item = u64>) -> Vec<Place> {
        numbers.into_iter().map(|number| (1, number)).collect()
    }

    #[track_caller]
    fn assert_fault(judged: Result<Sums, String>, part: &str) {
        let said = judged.expect_err("a contradiction");
        assert!(said.contains(part), "{said}");
    }

    #[test]
    fn what_was_told_must_be_there_and_the_rest_may_be_missing_from_the_end() {
        for last in 4..=8 {
            let sums = judge(PLAN, &[killed()], &first_run(1..=last)).unwrap();
            assert_eq!((sums.messages, sums.ended), (last, 8 - last));
        }
        assert_fault(judge(PLAN, &[killed()], &first_run(1..=3)), "3 of the first 4");
        assert_fault(judge(PLAN, &[killed()], &first_run([1, 2, 3, 4, 6])), "6 is there without 5");
        let written = Account { written: 5, ..killed() };
        assert_fault(judge(PLAN, &[written], &first_run(1..=4)), "acknowledged are 5");
        let counters = [("spooled".to_owned(), 6)].into();
        let spooled = [Account { counters, ..killed() }];
        judge(PLAN, &spooled, &first_run(1..=6)).unwrap();
        assert_fault(judge(PLAN, &spooled, &first_run(1..=5)), "in the spool were 6");
    }

    #[test]
    fn without_a_spool_the_end_of_each_file_may_be_missing() {
        let plan = Plan { spool: None, ..PLAN };
        judge(plan, &[killed()], &first_run([1, 2, 3, 4, 6, 8])).unwrap();
        assert_fault(judge(plan, &[killed()], &first_run([1, 2, 3, 4, 8])), "8 is there without 6");
    }

    #[test]
    fn nothing_may_be_there_twice_or_out_of_order_or_made_up() {
        assert_fault(judge(PLAN, &[killed()], &first_run([1, 2, 2, 3, 4])), "is there twice");
        assert_fault(judge(PLAN, &[killed()], &first_run([1, 4, 3, 2])), "behind");
        assert_fault(judge(PLAN, &[killed()], &first_run(1..=9)), "was never logged");
        let two = [done(2, 0), done(2, 0)];
        judge(PLAN, &two, &[(1, 1), (1, 2), (2, 1), (2, 2)]).unwrap();
        assert_fault(judge(PLAN, &two, &[(1, 1), (2, 1), (2, 2), (1, 2)]), "behind");
        // Over different client ids nothing is promised.
        let plan = Plan { spool: None, ..PLAN };
        judge(plan, &two, &[(1, 1), (2, 1), (2, 2), (1, 2)]).unwrap();
    }

    #[test]
    fn of_a_run_that_drops_the_counters_are_exact() {
        let plan = Plan { waits: false, is_killed: false, ..PLAN };
        judge(plan, &[done(8, 2)], &first_run([1, 2, 5, 6, 7, 8])).unwrap();
        assert_fault(judge(plan, &[done(8, 2)], &first_run(2..=8)), "7 of the first 8");
        assert_fault(judge(plan, &[done(8, 2)], &first_run(4..=8)), "5 of the first 8");
        assert_fault(judge(plan, &[killed()], &first_run(1..=8)), "did not end");
    }

    #[test]
    fn what_is_altered_or_in_a_wrong_file_is_told() {
        let accounts = [killed()];
        let mut ledger = Ledger::new([(PLAN, &accounts[..])]);
        let text = message::body("web", (1, 1));
        let mut note = |stem, record: String| {
            ledger.note(("one", stem), &mut Order::default(), &record);
        };
        note("root", format!(" - web - {text}"));
        note("a", format!(" - web - {}", text.replace("end", "END")));
        note("a", format!(" - other - {text}"));
        note("a", format!(" - web - {}", message::body("other", (1, 1))));
        let said = ledger.judge().expect_err("contradictions");
        for part in [
            "5 contra",
            "belongs into (\"one\", \"a\")",
            "not what",
            "came from other",
            "of nobody",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn what_was_left_in_a_shared_spool_may_come_from_another_who_shares_it() {
        let account = [done(1, 0)];
        for (spool, is_fine) in [(PLAN.spool, true), (Some("another"), false), (None, false)] {
            let sharing = Plan { name: "sharing", spool, ..PLAN };
            let mut ledger = Ledger::new([(PLAN, &account[..]), (sharing, &account[..])]);
            let mut note = |host: &str, program: &str| {
                let stem = message::logger(PLAN.loggers, 1).1;
                let record = format!(" - {host} - {}", message::body(program, (1, 1)));
                ledger.note(("one", stem), &mut Order::default(), &record);
            };
            note("sharing", "web");
            note("sharing", "sharing");
            assert_eq!(ledger.judge().is_ok(), is_fine, "{spool:?}");
        }
    }
}
