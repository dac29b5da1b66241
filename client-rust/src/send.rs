//! The one thread of a client: takes what waits and writes it.
//! `Queue` -> a connection to the server.
//! Invariant: a message leaves the queue only when the kernel has it, or when its loss is counted.
//! Leaves out: bounds and counters (`queue`), pauses (`pause`), bytes on the wire (`connection`).

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::connect::{ConnectError, Routes};
use crate::connection::Connection;
use crate::frames::Frames;
use crate::pause::{Ended, Pause};
use crate::queue::{Order, Queue};
use crate::socket::Slot;

thread_local! {
    static IS_SENDER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a sender. What the libraries below it log must not
/// come back to it as work.
pub(crate) fn is_sender() -> bool {
    IS_SENDER.get()
}

/// Starts the thread.
pub(crate) fn start(routes: Arc<Routes>, queue: Arc<Queue>, slot: Arc<Slot>) -> io::Result<()> {
    let sender = Sender {
        routes,
        queue,
        slot,
        connection: None,
        connections: 0,
        pause: Pause::default(),
        batch: Frames::default(),
    };
    spawn(move || sender.run())
}

/// Starts a thread that works for the client: what is logged there is not sent.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread inherits its creator's mask. Signals are the program's business:
    // one that it waits for must not be delivered here.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = thread::Builder::new().name("loghog".into()).spawn(move || {
        IS_SENDER.set(true);
        work();
    });
    mask.thread_set_mask()?;
    started.map(drop)
}

struct Sender {
    routes: Arc<Routes>,
    queue: Arc<Queue>,
    slot: Arc<Slot>,
    connection: Option<Open>,
    /// Connections made so far.
    connections: u64,
    pause: Pause,
    batch: Frames,
}

struct Open {
    connection: Connection,
    since: Instant,
    /// Whether the queue knows of it.
    told: bool,
}

impl Sender {
    fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.queue));
        while self.queue.next_order() == Order::Write {
            if self.is_alive() || self.connect() {
                self.write();
                self.queue.gather();
            }
        }
        if let Some(open) = self.connection.take() {
            open.connection.finish();
        }
    }

    /// Notices a server that has gone before anything is written into its dead
    /// socket.
    fn is_alive(&mut self) -> bool {
        let Some(open) = &mut self.connection else { return false };
        match open.connection.check() {
            Ok(()) => true,
            Err(lost) => {
                self.disconnect(&lost.to_string());
                false
            }
        }
    }

    /// Connects after the pause that is due; none after a good connection.
    fn connect(&mut self) -> bool {
        let queue = &self.queue;
        queue.pause(self.pause.length());
        match self.routes.open(&self.slot, self.pause.failures(), &|| queue.is_over()) {
            Ok(connection) => {
                self.connection = Some(Open { connection, since: Instant::now(), told: false });
                self.tell();
                true
            }
            Err(ConnectError::Stopped) => false,
            Err(error) => {
                self.pause.failed();
                queue.failed(error.to_string(), self.pause.is_outage());
                false
            }
        }
    }

    fn write(&mut self) {
        let Some(open) = &mut self.connection else { return };
        let queue = &self.queue;
        queue.take(&mut self.batch);
        let (tally, end) = open.connection.write(&mut self.batch, &|| queue.is_over());
        queue.settle(&mut self.batch, tally);
        match end {
            Ok(()) => self.tell(),
            Err(lost) => self.disconnect(&lost.to_string()),
        }
    }

    /// Tells the queue of a connection, once there is a server at its end.
    fn tell(&mut self) {
        let Some(open) = &mut self.connection else { return };
        if !open.told && open.connection.is_answered() {
            open.told = true;
            self.queue.connected(self.connections > 0);
            self.connections += 1;
        }
    }

    fn disconnect(&mut self, why: &str) {
        let Some(open) = self.connection.take() else { return };
        let peer = open.connection.peer();
        // v1 cannot know whether anything was read.
        self.pause.ended(Ended { lasted: open.since.elapsed(), brought: false });
        self.queue.failed(format!("lost the connection to {peer}: {why}"), self.pause.is_outage());
    }
}

/// Tells the queue when the thread ends, even by a panic.
pub(crate) struct Ending(pub(crate) Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended();
    }
}
