//! Batches for targets, without files.
//! Lines -> a batch as the daemon makes it of a file, and its marks.
//! Invariant: a mark that was handed out leads back to the same messages.
//! Leaves out: delivering them.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use loghogd::config::read_facilities;
use loghogd::pipeline::ship::{Batch, Mark, Message, Part, RecordReader, Splitter, Stream};

/// A file that grows only.
#[derive(Debug)]
pub struct Source {
    stream: Arc<Stream>,
    facility: Arc<loghogd::config::Facility>,
    bytes: Vec<u8>,
}

impl Source {
    /// The file of an application's root facility.
    pub fn new(app: &str) -> Source {
        let text = format!("[{app}]\nrotate = daily\nbackup_count = 3\n");
        let table = read_facilities(text.as_bytes(), Path::new("facilities.conf")).expect("right");
        Source {
            stream: Arc::new(Stream { app: app.into(), live: "root.log".into() }),
            facility: Arc::clone(table.find(app, "").expect("a root facility")),
            bytes: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
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
        let rest = &self.bytes[offset(begin)..];
        let mut reader = RecordReader::new(TimeZone::UTC, begin.last_ns);
        let mut splitter = Splitter::new(rest, true);
        let messages: Vec<_> = splitter
            .by_ref()
            .take(messages)
            .map(|message| {
                let Message { begin, end } = message;
                (message, reader.times(&rest[begin..end]))
            })
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
            bytes: rest[..taken].to_vec(),
            messages,
        }
    }

    /// All of it.
    pub fn all(&self) -> Batch {
        Batch { parts: vec![self.part(Mark::default(), usize::MAX)] }
    }
}

fn offset(mark: Mark) -> usize {
    usize::try_from(mark.offset).expect("it fits into memory")
}
