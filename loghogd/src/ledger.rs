//! Keeps account of each client: what came from it, what was not let in, what is missing.
//! What a lane has counted of whom -> accounts; anybody may ask for all of them.
//! Invariant: what is counted stands in one account, and there is a fixed number of these.
//! Leaves out: sums over all clients (`stats`); they are exact, and have their own counters.
//!
//! A client is an address with a host and an application, as its messages name them.
//! What nobody could read names neither, and stands under its address alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::v2::cut;

use crate::clock::Clock;
use crate::connections::Transport;
use crate::limits::{HOST_BYTES_MAX, LEDGER_CLIENTS_MAX, TALLY_CLIENTS_MAX};
use crate::pipeline::gate::same;
use crate::stats::{Counter, Stats};

/// The accounts of all clients.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
    clock: Clock,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct Books {
    clients: HashMap<Key, Account>,
    /// Those that were silent for long when there was no room.
    others: Account,
    others_clients: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    address: IpAddr,
    host: Box<str>,
    app: Box<str>,
}

/// What was counted of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    counts: Counts,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// What the kernel had dropped of all datagrams when this client was first and last
    /// heard over UDP.
    dropped_before: Option<u64>,
    dropped_after: u64,
}

/// Counts of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages that passed the gate.
    pub received: u64,
    /// Frames, messages and connections that were refused.
    pub refused: u64,
    /// Numbered messages that never came here: when a session began, the client was done
    /// with higher numbers than this server has seen. It has dropped them, or another
    /// server has them.
    pub gaps: u64,
    /// Messages that the client says it has dropped.
    pub dropped: u64,
}

/// A client's account, as `loghogd status --loss --json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address; none for the sum of clients that were silent for long.
    pub address: Option<IpAddr>,
    /// Its host, as its messages name it.
    pub host: String,
    /// The application.
    pub app: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Datagrams of all clients that the kernel dropped while this one sent over UDP: some
    /// of them may have been its own.
    pub kernel_dropped: u64,
    /// When it was first heard (RFC 3339).
    pub first: Option<Timestamp>,
    /// When it was last heard.
    pub last: Option<Timestamp>,
}

impl Ledger {
    /// Nobody has an account yet.
    pub fn new(clock: Clock, stats: Arc<Stats>) -> Ledger {
        Ledger { books: Mutex::default(), clock, stats }
    }

    /// Adds what was counted of one client.
    pub fn add(&self, address: IpAddr, transport: Transport, host: &str, app: &str, more: Counts) {
        self.books().add(self.now(), address, transport, host, app, more);
    }

    fn add_all<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        let now = self.now();
        let mut books = self.books();
        for entry in entries {
            books.add(now, entry.address, entry.transport, &entry.host, &entry.app, entry.counts);
        }
    }

    fn now(&self) -> Now {
        Now { at: self.clock.now(), dropped: self.stats.get(Counter::UdpDroppedByKernel) }
    }

    /// All accounts, those with losses first, then those that were heard last.
    pub fn clients(&self) -> Vec<Client> {
        let books = self.books();
        let shown = |(key, account): (&Key, &Account)| Client {
            address: Some(key.address),
            host: key.host.to_string(),
            app: key.app.to_string(),
            ..account.shown()
        };
        let mut clients: Vec<Client> = books.clients.iter().map(shown).collect();
        if books.others_clients > 0 {
            let host = format!("({} others)", books.others_clients);
            clients.push(Client { host, ..books.others.shown() });
        }
        drop(books);
        clients.sort_by_key(|client| std::cmp::Reverse((client.has_loss(), client.last)));
        clients
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment at which something is noted.
#[derive(Clone, Copy, Debug)]
struct Now {
    at: Timestamp,
    dropped: u64,
}

impl Books {
    fn add(
        &mut self,
        now: Now,
        address: IpAddr,
        transport: Transport,
        host: &str,
        app: &str,
        more: Counts,
    ) {
        let key = Key { address, host: cut(host, HOST_BYTES_MAX).into(), app: app.into() };
        if self.clients.len() >= LEDGER_CLIENTS_MAX && !self.clients.contains_key(&key) {
            self.make_room();
        }
        let account = self.clients.entry(key).or_default();
        account.counts.add(more);
        account.first.get_or_insert(now.at);
        account.last = Some(now.at);
        if transport == Transport::Udp {
            account.dropped_before.get_or_insert(now.dropped);
            account.dropped_after = now.dropped;
        }
    }

    /// Sums up the quarter that has been silent longest.
    fn make_room(&mut self) {
        let mut heard: Vec<_> = self.clients.values().map(|account| account.last).collect();
        let quarter = heard.len() / 4;
        let (_, bound, _) = heard.select_nth_unstable(quarter);
        let bound = *bound;
        let (mut others, mut number) = (self.others, self.others_clients);
        let mut room = quarter + 1;
        self.clients.retain(|_, account| {
            let stays = account.last > bound || room == 0;
            if !stays {
                room -= 1;
                number += 1;
                others.counts.add(account.counts);
                others.last = others.last.max(account.last);
                others.first = match (others.first, account.first) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            stays
        });
        (self.others, self.others_clients) = (others, number);
    }
}

impl Account {
    fn shown(&self) -> Client {
        let before = self.dropped_before.unwrap_or(self.dropped_after);
        Client {
            address: None,
            host: String::new(),
            app: String::new(),
            counts: self.counts,
            kernel_dropped: self.dropped_after.saturating_sub(before),
            first: self.first,
            last: self.last,
        }
    }
}

impl Counts {
    /// So many messages were received.
    pub fn received(number: u64) -> Counts {
        Counts { received: number, ..Counts::default() }
    }

    /// So much was refused.
    pub fn refused(number: u64) -> Counts {
        Counts { refused: number, ..Counts::default() }
    }

    /// Adds others to these.
    pub fn add(&mut self, more: Counts) {
        self.received += more.received;
        self.refused += more.refused;
        self.gaps += more.gaps;
        self.dropped += more.dropped;
    }
}

impl Client {
    /// Is there anything that somebody should look at?
    pub fn has_loss(&self) -> bool {
        let Counts { received: _, refused, gaps, dropped } = self.counts;
        refused + gaps + dropped + self.kernel_dropped > 0
    }
}

/// Counts beside the road, message by message, and tells the ledger now and then: there
/// is no lock and no allocation for a message.
#[derive(Debug)]
pub struct Tally {
    ledger: Arc<Ledger>,
    address: IpAddr,
    transport: Transport,
    /// The first `used` of them count; the others keep their room.
    entries: Vec<Entry>,
    used: usize,
    /// Which was counted for last.
    last: usize,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    transport: Transport,
    host: String,
    app: String,
    counts: Counts,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(ledger: Arc<Ledger>) -> Tally {
        let nobody = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let transport = Transport::Tcp;
        Tally { ledger, address: nobody, transport, entries: Vec::new(), used: 0, last: 0 }
    }

    /// What is counted from now on came from this address.
    pub fn follow(&mut self, address: IpAddr, transport: Transport) {
        (self.address, self.transport) = (address, transport);
    }

    /// Counts for a host and an application.
    pub fn count(&mut self, host: &str, app: &str, more: Counts) {
        let is_it = |entry: &Entry| {
            entry.address == self.address
                && same(&entry.host, host)
                && same(&entry.app, app)
                && entry.transport == self.transport
        };
        let used = self.entries.get(..self.used).unwrap_or_default();
        let found = match used.get(self.last) {
            Some(entry) if is_it(entry) => Some(self.last),
            _ => used.iter().position(is_it),
        };
        if let Some(entry) = found.and_then(|found| self.entries.get_mut(found)) {
            entry.counts.add(more);
            self.last = found.unwrap_or(self.last);
            return;
        }
        if self.used >= TALLY_CLIENTS_MAX {
            self.flush();
        }
        self.begin(host, app, more);
    }

    fn begin(&mut self, host: &str, app: &str, more: Counts) {
        let (address, transport) = (self.address, self.transport);
        match self.entries.get_mut(self.used) {
            Some(entry) => {
                (entry.address, entry.transport, entry.counts) = (address, transport, more);
                entry.host.clear();
                entry.host.push_str(host);
                entry.app.clear();
                entry.app.push_str(app);
            }
            None => {
                let (host, app) = (host.to_owned(), app.to_owned());
                self.entries.push(Entry { address, transport, host, app, counts: more });
            }
        }
        self.last = self.used;
        self.used += 1;
    }

    /// Tells the ledger.
    pub fn flush(&mut self) {
        if self.used > 0 {
            self.ledger.add_all(self.entries.iter().take(self.used));
            (self.used, self.last) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use jiff::tz::TimeZone;
    use std::net::Ipv4Addr;

    fn ledger() -> (Arc<Ledger>, Clock, Arc<Stats>) {
        let clock = Clock::standing(Timestamp::UNIX_EPOCH, TimeZone::UTC);
        let stats = Arc::new(Stats::new());
        (Arc::new(Ledger::new(clock.clone(), Arc::clone(&stats))), clock, stats)
    }

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_tally_tells_of_each_client_what_it_has_counted() {
        let (ledger, ..) = ledger();
        let mut tally = Tally::new(Arc::clone(&ledger));
        for round in 0..3 {
            for client in 0..2 * TALLY_CLIENTS_MAX as u32 {
                tally.follow(address(client % 3), Transport::Tcp);
                tally.count(&format!("host{client}"), "a", Counts::received(2));
                tally.count(&format!("host{client}"), "b", Counts::refused(1));
            }
            if round == 1 {
                tally.flush();
            }
        }
        tally.flush();
        tally.flush();
        let clients = ledger.clients();
        assert_eq!(clients.len(), 4 * TALLY_CLIENTS_MAX);
        for client in &clients {
            let expected = match client.app.as_str() {
                "a" => Counts::received(6),
                _ => Counts::refused(3),
            };
            assert_eq!(client.counts, expected);
        }
        // Those with losses come first.
        assert!(clients.iter().take(2 * TALLY_CLIENTS_MAX).all(|client| client.app == "b"));
    }

    #[test]
    fn what_the_kernel_dropped_is_told_to_those_who_sent_datagrams_meanwhile() {
        let (ledger, _, stats) = ledger();
        let add = |host: &str, transport| {
            ledger.add(address(1), transport, host, "a", Counts::received(1));
        };
        add("udp", Transport::Udp);
        add("tcp", Transport::Tcp);
        stats.add(Counter::UdpDroppedByKernel, 7);
        add("udp", Transport::Udp);
        add("tcp", Transport::Tcp);
        add("late", Transport::Udp);
        let dropped = |host: &str| {
            let clients = ledger.clients();
            clients.iter().find(|client| client.host == host).unwrap().kernel_dropped
        };
        assert_eq!(["udp", "tcp", "late"].map(dropped), [7, 0, 0]);
    }

    #[test]
    fn a_flood_of_clients_takes_bounded_memory_and_nothing_is_forgotten() {
        let (ledger, clock, _) = ledger();
        let all = 3 * LEDGER_CLIENTS_MAX as u32;
        for client in 0..all {
            clock.set(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(client.into()));
            let long = "h".repeat(if client == 0 { 1 << 20 } else { 1 });
            ledger.add(address(client), Transport::Tcp, &long, "a", Counts::received(1));
        }
        let clients = ledger.clients();
        assert!(clients.len() <= LEDGER_CLIENTS_MAX + 1);
        assert_eq!(
            clients.iter().map(|client| client.counts.received).sum::<u64>(),
            u64::from(all)
        );
        assert!(clients.iter().any(|client| client.address == Some(address(all - 1))));
        assert!(!clients.iter().any(|client| client.address == Some(address(0))));
        assert!(clients.iter().all(|client| client.host.len() <= HOST_BYTES_MAX));
    }

    #[test]
    fn many_clients_of_the_same_moment_make_room_for_one_another() {
        let (ledger, ..) = ledger();
        for client in 0..2 * LEDGER_CLIENTS_MAX as u32 {
            ledger.add(address(client), Transport::Tcp, "h", "a", Counts::received(1));
        }
        let clients = ledger.clients();
        assert!(clients.len() > LEDGER_CLIENTS_MAX / 2 && clients.len() <= LEDGER_CLIENTS_MAX + 1);
    }
}
