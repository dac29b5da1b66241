//! Remembers of every client which of its messages are safe.
//! A client and what it holds -> a session; numbers that are settled -> its acknowledgement.
//! Invariant: a number that has been taken once is not taken again, whoever sends it.
//! Leaves out: keeping that through a stop (`journal`), and what is sent over the wire.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedMutexGuard};

use super::numbers::{Numbers, Run};
use crate::limits::{CLIENTS_TO_GO_MAX, REFUSALS_MAX};

/// Length of a client's id, in bytes.
pub const CLIENT_ID_BYTES: usize = 16;

/// Which client: its application, and the id that it has made up.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The application.
    pub app: Box<str>,
    /// The id.
    pub id: [u8; CLIENT_ID_BYTES],
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.app)?;
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All clients that are remembered.
#[derive(Debug)]
pub struct Clients {
    clients_max: usize,
    clients: Mutex<Known>,
    /// Messages whose way to the disk has begun and that are not settled.
    under_way: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    clients: HashMap<Key, Arc<Client>>,
    /// By application of those who need room: who has to go next, and how he
    /// was when all were looked at, which is too much work for each newcomer.
    next_to_go: HashMap<Box<str>, VecDeque<(Key, Seen)>>,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    key: Key,
    state: Mutex<State>,
    /// Held while a session hands lines over: the next one begins behind them.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Told when something is settled, or a newer session begins.
    changed: Notify,
    under_way: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    settled: Numbers,
    /// The last number that was taken: it is settled, or on its way.
    taken: u64,
    /// The number of the session that may bring more.
    session: u64,
    sessions_open: u64,
    seen: Seen,
    /// What was refused, in the order of the last numbers.
    refusals: VecDeque<Refusal>,
}

/// When a client was seen last. Ordered by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    /// It was connected or has gone since somebody last asked for the time, and
    /// so was seen later than that.
    since: bool,
    at: Timestamp,
}

impl Seen {
    fn at(at: Timestamp) -> Seen {
        Seen { since: false, at }
    }
}

/// Messages of a client that have no line, and never will: until the client
/// comes back with what is behind them it may not have heard of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How many.
    pub messages: u64,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Why, in the protocol's numbers.
    pub code: u64,
    /// Why, in words.
    pub text: String,
}

/// What was remembered of a client through a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which one.
    pub key: Key,
    /// What was safe.
    pub settled: Numbers,
    /// When it was seen last.
    pub seen_at: Timestamp,
}

/// There are as many clients as may be, and all are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{clients} clients are remembered and connected; raise [main] max_clients")]
pub struct TooMany {
    /// How many.
    pub clients: usize,
}

/// A newer connection of the same client has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a newer connection of the same client has taken over")]
pub struct Evicted;

/// A client that is connected. The newest session of a client counts.
#[derive(Debug)]
pub struct Session {
    client: Arc<Client>,
    number: u64,
    passed_over: u64,
}

/// The messages of one client in some lines, in their order.
#[derive(Clone, Debug)]
pub struct Receipt {
    client: Arc<Client>,
    runs: Vec<Run>,
}

impl Clients {
    /// As they are remembered.
    pub fn new(clients_max: usize, remembered: Vec<Remembered>) -> Clients {
        let under_way = Arc::new(AtomicU64::new(0));
        let clients = remembered
            .into_iter()
            .map(|Remembered { key, settled, seen_at }| {
                let client = Client::new(key.clone(), settled, seen_at, &under_way);
                (key, Arc::new(client))
            })
            .collect();
        let known = Known { clients, next_to_go: HashMap::new() };
        Clients { clients_max, clients: Mutex::new(known), under_way }
    }

    /// Begins a session. All numbers below `first_held` are settled: the
    /// client would hold them otherwise. Waits until an older session has
    /// handed over what it was about to.
    ///
    /// # Errors
    /// When there is no room for one more client.
    pub async fn begin(
        &self,
        key: Key,
        first_held: u64,
        now: Timestamp,
    ) -> Result<Session, TooMany> {
        let mut session = self.connect(key, now)?;
        let client = Arc::clone(&session.client);
        let _turn = Arc::clone(&client.turn).lock_owned().await;
        session.number = {
            let mut state = client.state();
            // Of one that is new here nobody knows where it began.
            session.passed_over = match state.taken {
                0 => 0,
                taken => first_held.saturating_sub(1).saturating_sub(taken),
            };
            state.settled.raise(first_held.saturating_sub(1));
            // It has heard of what it does not hold any more.
            state.refusals.retain(|refusal| refusal.last >= first_held);
            state.taken = state.taken.max(state.settled.last());
            state.seen = Seen::at(now);
            state.session += 1;
            state.session
        };
        client.changed.notify_waiters();
        Ok(session)
    }

    /// Forgets a client that has nothing left and will not come back.
    pub fn forget(&self, session: &Session) {
        let client = &session.client;
        let clients = &mut self.clients().clients;
        let state = client.state();
        let is_done = state.settled.last() == state.taken && state.session == session.number;
        if is_done && clients.get(&client.key).is_some_and(|found| Arc::ptr_eq(found, client)) {
            clients.remove(&client.key);
        }
    }

    /// What has to be remembered now; clients that were not seen since `oldest`
    /// are forgotten.
    pub(super) fn remembered(&self, oldest: Timestamp, now: Timestamp) -> Vec<Remembered> {
        let Known { clients, next_to_go } = &mut *self.clients();
        next_to_go.clear();
        clients.retain(|_, client| {
            let mut state = client.state();
            if state.sessions_open > 0 || state.seen.since {
                state.seen = Seen::at(now);
            }
            state.seen.at >= oldest
        });
        let remembered = |(key, client): (&Key, &Arc<Client>)| {
            let state = client.state();
            Remembered { key: key.clone(), settled: state.settled.clone(), seen_at: state.seen.at }
        };
        clients.iter().map(remembered).collect()
    }

    /// How many messages are on their way to the disk and not settled.
    pub(super) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// One that is known, or room for it. It counts as connected from here on, or
    /// it could be forgotten before its session begins; that has no number yet.
    fn connect(&self, key: Key, now: Timestamp) -> Result<Session, TooMany> {
        let mut known = self.clients();
        if let Some(client) = known.clients.get(&key) {
            return Ok(Session::of(client));
        }
        let clients = known.clients.len();
        if clients >= self.clients_max && !known.make_room(&key.app) {
            return Err(TooMany { clients });
        }
        let client = Client::new(key.clone(), Numbers::default(), now, &self.under_way);
        let client = Arc::new(client);
        let session = Session::of(&client);
        known.clients.insert(key, client);
        Ok(session)
    }

    fn clients(&self) -> MutexGuard<'_, Known> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets a client that is not connected, so that there is room for one of
    /// this application. Mostly they are programs that ran once: the one unseen
    /// for the longest time is the least likely to come back. Applications that
    /// anybody may write to must not drive out the clients of others, so one of
    /// the same goes first. False when all are connected.
    fn make_room(&mut self, app: &str) -> bool {
        if self.forget_next(app) {
            return true;
        }
        let mut gone: Vec<(Key, Seen)> = self.gone(|key| &*key.app == app);
        if gone.is_empty() {
            gone = self.gone(|_| true);
        }
        self.next_to_go.insert(app.into(), gone.into());
        self.forget_next(app)
    }

    fn forget_next(&mut self, app: &str) -> bool {
        let Some(next) = self.next_to_go.get_mut(app) else { return false };
        while let Some((key, seen)) = next.pop_front() {
            let as_it_was = |client: &Arc<Client>| {
                let state = client.state();
                state.sessions_open == 0 && state.seen == seen
            };
            if self.clients.get(&key).is_some_and(as_it_was) {
                self.clients.remove(&key);
                return true;
            }
        }
        false
    }

    /// Those that are not connected and were not seen for the longest time,
    /// in that order.
    fn gone(&self, belongs: impl Fn(&Key) -> bool) -> Vec<(Key, Seen)> {
        let candidates = self.clients.iter().filter(|(key, _)| belongs(key));
        let mut gone: Vec<(Seen, &Key)> = candidates
            .filter_map(|(key, client)| {
                let state = client.state();
                (state.sessions_open == 0).then_some((state.seen, key))
            })
            .collect();
        if gone.len() > CLIENTS_TO_GO_MAX {
            gone.select_nth_unstable(CLIENTS_TO_GO_MAX);
            gone.truncate(CLIENTS_TO_GO_MAX);
        }
        gone.sort_unstable();
        gone.into_iter().map(|(seen, key)| (key.clone(), seen)).collect()
    }
}

impl Client {
    fn new(key: Key, settled: Numbers, seen_at: Timestamp, under_way: &Arc<AtomicU64>) -> Client {
        let taken = settled.last();
        Client {
            key,
            state: Mutex::new(State {
                settled,
                taken,
                session: 0,
                sessions_open: 0,
                seen: Seen::at(seen_at),
                refusals: VecDeque::new(),
            }),
            turn: Arc::default(),
            changed: Notify::new(),
            under_way: Arc::clone(under_way),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn of(client: &Arc<Client>) -> Session {
        client.state().sessions_open += 1;
        Session { client: Arc::clone(client), number: 0, passed_over: 0 }
    }

    /// How many messages the client was done with that never came here, since it was
    /// here last: it has dropped them, or another server has them.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// All numbers up to this one are safe.
    pub fn durable(&self) -> u64 {
        self.client.state().settled.last()
    }

    /// Behind this number something new begins.
    pub fn taken(&self) -> u64 {
        self.client.state().taken
    }

    /// What is settled. Behind [`Session::taken`] that is only what an earlier
    /// process has settled, and it becomes no more by others.
    pub fn settled(&self) -> Numbers {
        self.client.state().settled.clone()
    }

    /// A receipt for lines to come.
    pub fn receipt(&self) -> Receipt {
        Receipt { client: Arc::clone(&self.client), runs: Vec::new() }
    }

    /// From now on all up to `number` is taken. Until the guard is dropped, no
    /// other session begins: what was taken is to be handed over first.
    ///
    /// # Errors
    /// When another session has begun; nothing was taken then.
    pub async fn take(&self, number: u64) -> Result<OwnedMutexGuard<()>, Evicted> {
        let turn = Arc::clone(&self.client.turn).lock_owned().await;
        let mut state = self.client.state();
        if state.session != self.number {
            return Err(Evicted);
        }
        state.taken = state.taken.max(number);
        drop(state);
        Ok(turn)
    }

    /// Messages that are refused, which is kept for the client: nothing more
    /// will become of them. When more is refused than can be kept, the oldest
    /// of it is forgotten; the daemon has counted it.
    pub fn refuse(&self, runs: &[Run], refusal: Refusal) {
        let mut state = self.client.state();
        let place = state.refusals.partition_point(|other| other.last <= refusal.last);
        state.refusals.insert(place, refusal);
        if state.refusals.len() > REFUSALS_MAX {
            state.refusals.pop_front();
        }
        drop(state);
        self.client.settle(runs);
    }

    /// What was refused of the messages behind `after` and up to `number`.
    pub fn refusals(&self, after: u64, number: u64) -> Vec<Refusal> {
        let state = self.client.state();
        let refused = state.refusals.iter();
        refused.filter(|refusal| refusal.last > after && refusal.last <= number).cloned().collect()
    }

    /// Waits until more than `number` is safe, and was brought again if an
    /// earlier process had it; returns how much. A client could not go on
    /// behind a number that it has not come to yet.
    ///
    /// # Errors
    /// When another session has begun.
    pub async fn more_durable_than(&self, number: u64) -> Result<u64, Evicted> {
        loop {
            let changed = self.client.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.client.state();
                if state.session != self.number {
                    return Err(Evicted);
                }
                let safe = state.settled.last().min(state.taken);
                if safe > number {
                    return Ok(safe);
                }
            }
            changed.await;
        }
    }

    /// Which client it is, for messages.
    pub fn key(&self) -> &Key {
        &self.client.key
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.client.state();
        state.sessions_open -= 1;
        state.seen.since = true;
    }
}

impl Client {
    fn settle(&self, runs: &[Run]) {
        let mut state = self.state();
        let before = state.settled.last();
        runs.iter().for_each(|&run| state.settled.add(run));
        let is_more = state.settled.last() > before;
        drop(state);
        if is_more {
            self.changed.notify_waiters();
        }
    }
}

impl Receipt {
    /// Whose it is.
    pub(super) fn key(&self) -> &Key {
        &self.client.key
    }

    /// Which messages, in the order of their lines.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// One more message.
    pub(super) fn add(&mut self, number: u64) {
        match self.runs.last_mut() {
            Some((first, count)) if first.saturating_add(*count) == number => *count += 1,
            _ => self.runs.push((number, 1)),
        }
    }

    /// The part for so many messages at the front.
    pub(super) fn front(&self, messages: u64) -> Receipt {
        let mut left = messages;
        let runs = self.runs.iter().map_while(|&(first, count)| {
            let count = count.min(left);
            left -= count;
            (count > 0).then_some((first, count))
        });
        Receipt { client: Arc::clone(&self.client), runs: runs.collect() }
    }

    /// Takes the part for so many messages off the front.
    pub(super) fn take_front(&mut self, messages: u64) -> Receipt {
        let front = self.front(messages);
        let mut left = messages;
        self.runs.retain_mut(|(first, count)| {
            let taken = left.min(*count);
            left -= taken;
            *first += taken;
            *count -= taken;
            *count > 0
        });
        front
    }

    /// How many messages it is for.
    pub(super) fn messages(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum()
    }

    /// Their way to the disk begins.
    pub(super) fn set_out(&self) {
        self.client.under_way.fetch_add(self.messages(), Ordering::AcqRel);
    }

    /// They did not get there, and wait again.
    pub(super) fn turn_back(&self) {
        self.client.under_way.fetch_sub(self.messages(), Ordering::AcqRel);
    }

    /// They are safe.
    pub(super) fn settle(self) {
        self.client.settle(&self.runs);
        self.turn_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Future, poll_fn};
    use std::task::Poll;

    fn key(id: u8) -> Key {
        Key { app: "app".into(), id: [id; CLIENT_ID_BYTES] }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[tokio::test]
    async fn a_session_goes_on_behind_what_was_taken_and_an_older_one_takes_no_more() {
        let clients = Clients::new(10, Vec::new());
        let first = clients.begin(key(1), 1, at(0)).await.unwrap();
        drop(first.take(7).await.unwrap());
        let mut receipt = first.receipt();
        (1..=5).for_each(|number| receipt.add(number));
        receipt.set_out();
        let second = clients.begin(key(1), 3, at(1)).await.unwrap();
        assert_eq!((second.durable(), second.taken()), (2, 7));
        assert_eq!(first.take(8).await.map(drop), Err(Evicted));
        assert_eq!(first.more_durable_than(0).await, Err(Evicted));
        // What it brought is settled all the same.
        assert_eq!(clients.under_way(), 5);
        receipt.settle();
        assert_eq!(second.more_durable_than(2).await, Ok(5));
        assert_eq!(clients.under_way(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_safety_hears_of_it_from_another_thread() {
        let clients = Clients::new(10, Vec::new());
        let session = Arc::new(clients.begin(key(1), 1, at(0)).await.unwrap());
        let waiting = tokio::spawn({
            let session = Arc::clone(&session);
            async move { session.more_durable_than(0).await }
        });
        drop(session.take(2).await.unwrap());
        session.client.settle(&[(2, 1)]);
        session.client.settle(&[(1, 1)]);
        assert_eq!(waiting.await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn what_an_earlier_process_had_beyond_is_told_when_the_client_has_come_to_it() {
        let mut settled = Numbers::up_to(3);
        settled.add((6, 4));
        let remembered = Remembered { key: key(1), settled, seen_at: at(0) };
        let clients = Clients::new(10, vec![remembered]);
        let session = clients.begin(key(1), 4, at(1)).await.unwrap();
        assert_eq!((session.durable(), session.taken()), (3, 3));
        drop(session.take(5).await.unwrap());
        session.client.settle(&[(4, 2)]);
        assert_eq!(session.more_durable_than(3).await, Ok(5));
        drop(session.take(12).await.unwrap());
        assert_eq!(session.more_durable_than(5).await, Ok(9));
    }

    #[tokio::test]
    async fn clients_are_bounded_and_those_that_are_connected_stay() {
        let clients = Clients::new(2, Vec::new());
        let one = clients.begin(key(1), 1, at(1)).await.unwrap();
        drop(clients.begin(key(2), 1, at(2)).await.unwrap());
        let three = clients.begin(key(3), 1, at(3)).await.unwrap();
        assert_eq!(clients.begin(key(4), 1, at(4)).await.unwrap_err(), TooMany { clients: 2 });
        let mut known: Vec<Key> =
            clients.remembered(at(0), at(5)).into_iter().map(|r| r.key).collect();
        known.sort();
        assert_eq!(known, [key(1), key(3)]);
        drop((one, three));
        // They have just gone, however long ago they came.
        assert_eq!(clients.remembered(at(50), at(60)).len(), 2);
        assert_eq!(clients.remembered(at(60), at(90)).len(), 2);
        assert!(clients.remembered(at(61), at(91)).is_empty());
    }

    #[tokio::test]
    async fn who_is_connected_for_long_is_remembered_as_seen_now() {
        let clients = Clients::new(2, Vec::new());
        let _session = clients.begin(key(1), 1, at(1)).await.unwrap();
        drop(clients.begin(key(2), 1, at(1)).await.unwrap());
        assert_eq!(clients.remembered(at(50), at(60)).len(), 2);
        let remembered = clients.remembered(at(70), at(80));
        let times: Vec<Timestamp> = remembered.iter().map(|client| client.seen_at).collect();
        assert_eq!(times, [at(80)]);
    }

    #[tokio::test]
    async fn newcomers_drive_out_clients_of_their_own_application_first() {
        let of = |app: &str, id| Key { app: app.into(), id: [id; CLIENT_ID_BYTES] };
        let clients = Clients::new(4, Vec::new());
        for (id, app) in [(1, "other"), (2, "other"), (3, "open"), (4, "open")] {
            drop(clients.begin(of(app, id), 1, at(i64::from(id))).await.unwrap());
        }
        let known = || {
            let all = clients.remembered(at(0), at(200));
            let mut known: Vec<u8> = all.iter().map(|client| client.key.id[0]).collect();
            known.sort_unstable();
            known
        };
        for id in 5..100 {
            drop(clients.begin(of("open", id), 1, at(i64::from(id))).await.unwrap());
        }
        assert_eq!(known(), [1, 2, 98, 99]);
        // Where all of them are connected, others have to go.
        let mut connected = Vec::new();
        for id in 100..103 {
            connected.push(clients.begin(of("open", id), 1, at(300)).await.unwrap());
        }
        assert_eq!(known(), [2, 100, 101, 102]);
    }

    #[tokio::test]
    async fn numbers_that_never_came_here_are_known_of_clients_that_were_here() {
        let clients = Clients::new(10, Vec::new());
        let session = clients.begin(key(1), 41, at(1)).await.unwrap();
        assert_eq!(session.passed_over(), 0, "where it began is its own affair");
        drop(session.take(45).await.unwrap());
        let session = clients.begin(key(1), 43, at(1)).await.unwrap();
        assert_eq!(session.passed_over(), 0, "they are on their way");
        let session = clients.begin(key(1), 51, at(1)).await.unwrap();
        assert_eq!(session.passed_over(), 5);
        let session = clients.begin(key(1), 51, at(1)).await.unwrap();
        assert_eq!(session.passed_over(), 0, "each is said once");
    }

    #[tokio::test]
    async fn who_waits_for_his_session_to_begin_does_not_have_to_go() {
        let clients = Clients::new(1, Vec::new());
        let session = clients.begin(key(1), 1, at(1)).await.unwrap();
        let turn = session.take(1).await.unwrap();
        drop(session);
        let mut waiting = Box::pin(clients.begin(key(1), 1, at(2)));
        let is_ready = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready()));
        assert!(!is_ready.await);
        assert_eq!(clients.begin(key(2), 1, at(3)).await.unwrap_err(), TooMany { clients: 1 });
        drop(turn);
        drop(waiting.await.unwrap());
        assert!(clients.begin(key(2), 1, at(3)).await.is_ok());
    }

    #[tokio::test]
    async fn who_has_come_again_since_all_were_looked_at_does_not_have_to_go() {
        let clients = Clients::new(3, Vec::new());
        for id in 1..=3 {
            drop(clients.begin(key(id), 1, at(i64::from(id))).await.unwrap());
        }
        let newcomer = |id| Key { app: "new".into(), id: [id; CLIENT_ID_BYTES] };
        let _one = clients.begin(newcomer(10), 1, at(10)).await.unwrap();
        drop(clients.begin(key(2), 1, at(11)).await.unwrap());
        let _other = clients.begin(newcomer(11), 1, at(12)).await.unwrap();
        let known = clients.remembered(at(0), at(12)).into_iter().map(|client| client.key.id[0]);
        let mut known: Vec<u8> = known.collect();
        known.sort_unstable();
        assert_eq!(known, [2, 10, 11]);
    }

    #[tokio::test]
    async fn a_client_that_is_done_is_forgotten_and_one_that_is_not_is_kept() {
        let clients = Clients::new(10, Vec::new());
        let session = clients.begin(key(1), 1, at(1)).await.unwrap();
        drop(session.take(1).await.unwrap());
        clients.forget(&session);
        assert_eq!(clients.remembered(at(0), at(5)).len(), 1);
        session.client.settle(&[(1, 1)]);
        let newer = clients.begin(key(1), 2, at(2)).await.unwrap();
        clients.forget(&session);
        assert_eq!(clients.remembered(at(0), at(5)).len(), 1, "the newer one is not done");
        clients.forget(&newer);
        assert!(clients.remembered(at(0), at(5)).is_empty());
    }

    #[test]
    fn a_receipt_can_be_parted_where_a_file_turns() {
        let clients = Clients::new(1, Vec::new());
        let mut receipt = clients.connect(key(1), at(0)).unwrap().receipt();
        [1, 2, 5, 6, 9].into_iter().for_each(|number| receipt.add(number));
        assert_eq!(receipt.runs(), [(1, 2), (5, 2), (9, 1)]);
        assert_eq!(receipt.front(3).runs(), [(1, 2), (5, 1)]);
        assert_eq!(receipt.take_front(3).runs(), [(1, 2), (5, 1)]);
        assert_eq!(receipt.runs(), [(6, 1), (9, 1)]);
        assert_eq!(receipt.messages(), 2);
    }
}
