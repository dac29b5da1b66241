//! Makes batches for targets out of lines, as the daemon makes them out of files.
//! Lines of one stream -> a batch, and another behind it.
//! Invariant: a mark that was handed out leads back to the same messages, with the same times.
//! Leaves out: files.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use loghogd::config::{Facility, read_facilities};
use loghogd::pipeline::ship::{
    Batch, Mark, Part, RecordReader, Records, Refused, Splitter, Stream, Trouble,
};

/// Delivers a batch; returns what the target will never take.
///
/// # Errors
/// What the target says.
pub fn deliver(target: &mut dyn Records, batch: &Batch) -> Result<Vec<Refused>, Trouble> {
    let mut refused = Vec::new();
    target.deliver(batch, &mut |more| {
        refused.extend_from_slice(more);
        Ok(())
    })?;
    Ok(refused)
}

/// A stream of lines, of which each is handed out once.
#[derive(Clone, Debug)]
pub struct Lines {
    origin: Origin,
    mark: Mark,
}

/// A file that grows only, and is read from any mark.
#[derive(Debug)]
pub struct Source {
    origin: Origin,
    bytes: Vec<u8>,
}

/// Whose lines these are.
#[derive(Clone, Debug)]
struct Origin {
    stream: Arc<Stream>,
    facility: Arc<Facility>,
}

impl Lines {
    /// The stream of a module's own file.
    pub fn new(app: &str, module: &str) -> Lines {
        Lines::of_file(app, module, &format!("{module}.log"))
    }

    /// The stream of one of its files, such as `host-module.log`.
    ///
    /// # Panics
    /// When the names are none.
    pub fn of_file(app: &str, module: &str, live: &str) -> Lines {
        Lines { origin: Origin::new(app, module, live), mark: Mark::default() }
    }

    /// A batch with the messages of `text`, which follow those before.
    pub fn batch(&mut self, text: &[u8]) -> Batch {
        Batch { parts: vec![self.part(text)] }
    }

    /// The same as a part of a batch.
    pub fn part(&mut self, text: &[u8]) -> Part {
        let part = self.origin.part(text, self.mark, usize::MAX);
        self.mark = part.end;
        part
    }
}

impl Source {
    /// The file of an application's root facility.
    pub fn new(app: &str) -> Source {
        Source { origin: Origin::new(app, "", "root.log"), bytes: Vec::new() }
    }

    /// Whose it is.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.origin.stream
    }

    /// Adds a message of a host, a second behind the one before.
    pub fn log(&mut self, host: &str, body: &str) {
        let second = self.bytes.iter().filter(|&&byte| byte == b'\n').count();
        let (minute, second) = (second / 60 % 60, second % 60);
        let line = format!("2026-11-20 12:{minute:02}:{second:02}.000001 - {host} - {body}\n");
        self.bytes.extend_from_slice(line.as_bytes());
    }

    /// Adds a line as it is.
    pub fn line(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
    }

    /// Has all of it arrived?
    pub fn is_through(&self, mark: Mark) -> bool {
        offset(mark) == self.bytes.len()
    }

    /// So many messages behind a mark.
    pub fn part(&self, begin: Mark, messages: usize) -> Part {
        self.origin.part(&self.bytes[offset(begin)..], begin, messages)
    }

    /// All of it.
    pub fn all(&self) -> Batch {
        Batch { parts: vec![self.part(Mark::default(), usize::MAX)] }
    }
}

impl Origin {
    fn new(app: &str, module: &str, live: &str) -> Origin {
        let section = "rotate = daily\nbackup_count = 3\n";
        let mut text = format!("[{app}]\n{section}");
        if !module.is_empty() {
            text.push_str(&format!("[{app}:{module}]\n{section}"));
        }
        let table = read_facilities(text.as_bytes(), Path::new("facilities.conf"));
        let facility = table.expect("good names").find(app, module).cloned();
        Origin {
            stream: Arc::new(Stream { app: app.into(), live: live.into() }),
            facility: facility.expect("it is there"),
        }
    }

    /// The first messages of what stands behind a mark.
    fn part(&self, text: &[u8], begin: Mark, messages: usize) -> Part {
        let mut reader = RecordReader::new(TimeZone::UTC, begin.last_ns);
        let mut splitter = Splitter::new(text, true);
        let messages: Vec<_> = splitter
            .by_ref()
            .take(messages)
            .map(|message| (message, reader.times(&text[message.begin..message.end])))
            .collect();
        let taken = splitter.taken();
        let end = Mark {
            offset: begin.offset + taken as u64,
            records: begin.records + messages.len() as u64,
            last_ns: reader.last_ns(),
            ..begin
        };
        Part {
            stream: Arc::clone(&self.stream),
            facility: Arc::clone(&self.facility),
            file: self.stream.live.as_ref().into(),
            begin,
            end,
            bytes: text[..taken].to_vec(),
            messages,
        }
    }
}

fn offset(mark: Mark) -> usize {
    usize::try_from(mark.offset).expect("it fits into memory")
}
