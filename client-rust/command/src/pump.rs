//! Reads a file, a pipe or a terminal and sends what is in it, as fast as it is taken.
//! Bytes -> `Input` -> `Delivery`; with `--tee` to standard output as well.
//! Invariant: nothing is read while what was read before has no room.
//! Leaves out: how bytes become messages (`input`).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::delivery::Delivery;
use crate::input::Input;
use crate::limits::{
    CONTINUATION_WAIT, LAST_BYTES_MAX, MESSAGE_BYTES_MAX, READ_BYTES, ROOM_LOOK, TROUBLE_LOOK,
};
use crate::say;
use crate::signals::Signals;

/// Where the input goes, besides the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tee {
    Nowhere,
    StandardOutput,
}

/// Why the reading ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The input did.
    Input,
    /// Somebody asked for it.
    Signal,
    /// No room came within the time that was allowed: so many messages were
    /// read and not sent.
    NoRoom(usize),
    /// It cannot be read.
    Broken(io::Error),
}

pub(crate) struct Pump<'a, 'b> {
    pub(crate) delivery: &'a mut Delivery<'b>,
    pub(crate) signals: &'a Signals,
    /// How long to wait for room; none: for ever.
    pub(crate) room_limit: Option<Duration>,
    pub(crate) tee: Tee,
    /// A signal has come.
    pub(crate) is_ending: bool,
}

impl Pump<'_, '_> {
    /// Reads to the end, or until a signal comes. What was read is sent.
    pub(crate) fn run(&mut self, source: &mut File, mut input: Input) -> End {
        let mut bytes = vec![0; READ_BYTES];
        let (mut messages, mut cuts) = (Vec::new(), 0);
        let mut end = loop {
            match self.wait(source, &input) {
                Ready::Signal => {
                    self.is_ending = true;
                    if self.room_limit.is_none() {
                        self.read_last(source, &mut input, &mut messages);
                    }
                    break End::Signal;
                }
                Ready::Nothing => input.release(&mut messages),
                Ready::Input => match source.read(&mut bytes) {
                    Ok(0) => break End::Input,
                    Ok(count) => {
                        let read = bytes.get(..count).unwrap_or_default();
                        self.copy(read);
                        input.push(read, &mut messages);
                    }
                    Err(error) if is_retried(&error) => {}
                    Err(error) => break End::Broken(error),
                },
            }
            if input.cut() > cuts && cuts == 0 {
                say(format_args!(
                    "a message is longer than {MESSAGE_BYTES_MAX} bytes; it and others \
                     like it are cut into several"
                ));
            }
            cuts = input.cut();
            if let Some(end) = self.send(&mut messages) {
                break end;
            }
        };
        input.finish(&mut messages);
        if let (End::Input | End::Signal | End::Broken(_), Some(other)) =
            (&end, self.send(&mut messages))
        {
            end = other;
        }
        end
    }

    /// Reads what lies in the pipe already.
    fn read_last(&mut self, source: &mut File, input: &mut Input, messages: &mut Vec<String>) {
        let mut bytes = vec![0; READ_BYTES];
        let mut left = LAST_BYTES_MAX;
        while left > 0 && is_ready(source) {
            let room = left.min(READ_BYTES);
            match source.read(bytes.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return,
                Ok(count) => {
                    let read = bytes.get(..count).unwrap_or_default();
                    self.copy(read);
                    input.push(read, messages);
                    left = left.saturating_sub(count);
                }
                Err(error) if is_retried(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Sends them one by one, when there is room. Returns why to stop.
    fn send(&mut self, messages: &mut Vec<String>) -> Option<End> {
        let mut rest = messages.drain(..);
        while let Some(message) = rest.next() {
            if !self.wait_for_room() {
                return Some(End::NoRoom(1 + rest.count()));
            }
            self.delivery.send(&message);
        }
        self.is_ending.then_some(End::Signal)
    }

    /// False when there is no room and no more time. The first signal leaves
    /// some for what was read, a second none.
    fn wait_for_room(&mut self) -> bool {
        if self.delivery.has_room() {
            return true;
        }
        self.delivery.hurry();
        let started = Instant::now();
        let mut looked = started;
        while !self.delivery.has_room() {
            if self.signals.came() && std::mem::replace(&mut self.is_ending, true) {
                return false;
            }
            let limit =
                if self.is_ending { Some(self.delivery.timeout()) } else { self.room_limit };
            if limit.is_some_and(|limit| started.elapsed() >= limit) {
                return false;
            }
            if looked.elapsed() >= TROUBLE_LOOK {
                looked = Instant::now();
                self.delivery.tell_trouble();
            }
            std::thread::sleep(ROOM_LOOK);
        }
        true
    }

    /// Waits for input or a signal.
    fn wait(&mut self, source: &File, input: &Input) -> Ready {
        loop {
            let wait = if input.is_holding() { CONTINUATION_WAIT } else { TROUBLE_LOOK };
            let mut polled = [
                PollFd::new(source.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let polled_now = poll(&mut polled, timeout);
            let [of_source, _] = polled.map(|fd| fd.any().unwrap_or(false));
            if self.signals.came() {
                return Ready::Signal;
            }
            match polled_now {
                Ok(0) if input.is_holding() => return Ready::Nothing,
                // What cannot be waited for is read, and tells then why.
                Err(errno) if errno != Errno::EINTR => return Ready::Input,
                Ok(_) if of_source => return Ready::Input,
                _ => self.delivery.tell_trouble(),
            }
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        if self.tee == Tee::Nowhere {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.tee = Tee::Nowhere;
            say(format_args!("cannot copy to standard output any more: {error}; sending goes on"));
        }
    }
}

enum Ready {
    Input,
    Signal,
    /// Nothing came that would go on with the message that is held.
    Nothing,
}

/// Whether something can be read without waiting.
fn is_ready(source: &File) -> bool {
    let mut polled = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
}

fn is_retried(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
