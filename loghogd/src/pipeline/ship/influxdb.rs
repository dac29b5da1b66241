//! Ships records to InfluxDB, as points.
//! A batch -> requests, one after another -> all points are there, but for those that were refused.
//! Invariant: what is delivered again replaces itself; a record is refused only by its own lines.
//! Leaves out: when to try again (`run`).
//!
//! The server keeps no mark of ours. It needs none: a point that is written again with
//! the same measurement, tags and time replaces itself, and a record always becomes the
//! same points (`line`).
//!
//! An answer that lines were refused does not say whose, or says it differently in
//! every version. So the request is cut in halves until a record is alone. What is
//! written twice on the way replaces itself as well.

mod answer;
pub mod limits;
mod line;
mod server;
mod sheet;

use std::collections::HashMap;
use std::iter;
use std::ops::Range;

use self::answer::Meaning;
use self::limits::BATCH_BYTES_MAX;
use self::line::Shape;
use self::server::Server;
use self::sheet::Sheet;
use super::{Batch, Bury, Limits, Mark, Records, Refused, Stream, Surroundings, Trouble};
use crate::config::ship::influxdb::InfluxDb;

/// What is sent to see whether we may write: a comment.
const NOTHING: &[u8] = b"# loghogd\n";

/// A target that is InfluxDB.
#[derive(Debug)]
pub struct InfluxDbTarget {
    options: InfluxDb,
    surroundings: Surroundings,
    /// There once it was connected to. Each time it is made anew, with the files that are
    /// named as they are then.
    server: Option<Server>,
    shape: Shape,
    batch_points: usize,
    sheet: Sheet,
    /// Why even [`NOTHING`] is refused, where it is: some versions want points. Where a
    /// record is refused for the same reason, it is not the record's fault.
    refused_nothing: Option<String>,
}

impl InfluxDbTarget {
    /// As configured; `name` is that of its section. Does not connect.
    ///
    /// # Errors
    /// Options that do not fit together.
    pub fn new(
        _name: &str,
        options: &InfluxDb,
        surroundings: Surroundings,
    ) -> Result<InfluxDbTarget, Trouble> {
        let shape = Shape::new(options)
            .map_err(|refused| Trouble::stop(refused.message, refused.remedy))?;
        Ok(InfluxDbTarget {
            options: options.clone(),
            surroundings,
            server: None,
            shape,
            batch_points: options.batch_points,
            sheet: Sheet::default(),
            refused_nothing: None,
        })
    }

    /// Writes all lines of a sheet.
    fn send(
        &self,
        server: &Server,
        sheet: &Sheet,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Trouble> {
        // From the last to the first: what is to be sent yet.
        let mut ranges: Vec<Range<usize>> = iter::once(0..sheet.len()).collect();
        while let Some(range) = ranges.pop().filter(|range| !range.is_empty()) {
            let asked = server.asked();
            let answer = server.write(sheet.text(range.clone()))?;
            let reason = match answer.meaning(asked) {
                Meaning::Taken => continue,
                Meaning::Trouble(trouble) => return Err(trouble),
                Meaning::Refused { reason, .. }
                    if self.refused_nothing.as_ref() == Some(&reason) =>
                {
                    return Err(Trouble::stop(
                        format!("{} refuses whatever we write: {reason}", asked.place),
                        "put the options of the target right",
                    ));
                }
                Meaning::Refused { reason, dropped } => {
                    let all = dropped.is_some_and(|count| count >= sheet.points(range.clone()));
                    (range.len() == 1 || all).then_some(reason)
                }
                Meaning::TooLarge => (range.len() == 1)
                    .then(|| "the server takes no request of this length (413)".to_owned()),
            };
            match reason {
                Some(reason) => refused.extend(sheet.spans(range).iter().map(|span| Refused {
                    part: span.part,
                    message: span.message,
                    reason: reason.clone(),
                })),
                None => {
                    let middle = range.start + range.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
            }
        }
        Ok(())
    }

    /// Writes all records of a batch.
    fn send_all(
        &mut self,
        server: &Server,
        batch: &Batch,
        sheet: &mut Sheet,
        refused: &mut Vec<Refused>,
    ) -> Result<(), Trouble> {
        let points_max = self.shape.points_max();
        for (place, part) in batch.parts.iter().enumerate() {
            for (message, record) in part.records().enumerate() {
                let shape = &mut self.shape;
                sheet.put(place, message, |out| shape.write(&record, &part.stream.live, out));
                if sheet.is_full(self.batch_points, points_max) {
                    self.send(server, sheet, refused)?;
                    sheet.clear();
                }
            }
        }
        if sheet.is_empty() { Ok(()) } else { self.send(server, sheet, refused) }
    }
}

impl Records for InfluxDbTarget {
    fn connect(&mut self) -> Result<(), Trouble> {
        self.server = None;
        self.refused_nothing = None;
        let server = Server::new(&self.options, self.surroundings.clone())?;
        match server.write(NOTHING)?.meaning(server.asked()) {
            Meaning::Taken => {}
            Meaning::Trouble(trouble) => return Err(trouble),
            Meaning::Refused { reason, .. } => self.refused_nothing = Some(reason),
            Meaning::TooLarge => {
                return Err(Trouble::stop(
                    format!("{} takes no request at all (413)", server.asked().place),
                    "raise the length of a request in its configuration",
                ));
            }
        }
        self.server = Some(server);
        Ok(())
    }

    fn marks(&mut self) -> Result<Option<HashMap<Stream, Mark>>, Trouble> {
        Ok(None)
    }

    fn limits(&self) -> Limits {
        Limits { records: self.batch_points, bytes: BATCH_BYTES_MAX }
    }

    fn deliver(&mut self, batch: &Batch, bury: Bury<'_>) -> Result<(), Trouble> {
        let server = match self.server.take() {
            Some(server) => server,
            None => Server::new(&self.options, self.surroundings.clone())?,
        };
        let mut refused = Vec::new();
        let mut sheet = std::mem::take(&mut self.sheet);
        let sent = self.send_all(&server, batch, &mut sheet, &mut refused);
        sheet.clear();
        (self.sheet, self.server) = (sheet, Some(server));
        sent?;
        // The server keeps no mark: until this returns, all of it is delivered again.
        if refused.is_empty() { Ok(()) } else { bury(&refused) }
    }
}
