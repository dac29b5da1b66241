//! Makes batches for targets out of lines, as the daemon makes them out of files.
//! Lines of one stream -> a batch, and another behind it.
//! Invariant: times and marks go on from batch to batch.
//! Leaves out: files; delivering.

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

/// A stream of lines.
#[derive(Clone, Debug)]
pub struct Lines {
    stream: Arc<Stream>,
    facility: Arc<Facility>,
    reader: RecordReader,
    mark: Mark,
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
        let section = "rotate = daily\nbackup_count = 3\n";
        let text = format!("[{app}]\n{section}[{app}:{module}]\n{section}");
        let table = read_facilities(text.as_bytes(), Path::new("facilities.conf"));
        let facility = table.expect("good names").find(app, module).cloned();
        Lines {
            stream: Arc::new(Stream { app: app.into(), live: live.into() }),
            facility: facility.expect("it is there"),
            reader: RecordReader::new(TimeZone::UTC, 0),
            mark: Mark::default(),
        }
    }

    /// A batch with the messages of `text`, which follow those before.
    pub fn batch(&mut self, text: &[u8]) -> Batch {
        Batch { parts: vec![self.part(text)] }
    }

    /// The same as a part of a batch.
    pub fn part(&mut self, text: &[u8]) -> Part {
        let begin = self.mark;
        let messages: Vec<_> = Splitter::new(text, true)
            .map(|message| (message, self.reader.times(&text[message.begin..message.end])))
            .collect();
        self.mark = Mark {
            offset: begin.offset + text.len() as u64,
            records: begin.records + messages.len() as u64,
            last_ns: self.reader.last_ns(),
            ..begin
        };
        Part {
            stream: Arc::clone(&self.stream),
            facility: Arc::clone(&self.facility),
            file: self.stream.live.as_ref().into(),
            begin,
            end: self.mark,
            bytes: text.to_vec(),
            messages,
        }
    }
}
