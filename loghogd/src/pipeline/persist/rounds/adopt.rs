//! Takes over what stands in the log folder: at a start, and after a reload.
//! Names in the folders of facilities -> files that `rounds` knows of, and when they are due.
//! Invariant: a live file keeps its lines in front of all that will be written.
//! Leaves out: what a kill has left at the end of files (`live`), which shows when they are opened.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, warn};

use super::Rounds;
use crate::config::facility::{Facility, Table};
use crate::disk;
use crate::pipeline::persist::live::Form;
use crate::pipeline::persist::log_file::LogFile;
use crate::pipeline::persist::path::LIVE_SUFFIX;
use crate::pipeline::rotate::name::Name;

impl Rounds {
    /// Takes over what is on the disk: live files, which may have become due
    /// meanwhile, and the names that are taken.
    pub(in crate::pipeline) fn adopt(&mut self, table: &Table, now: Instant) {
        let apps: BTreeSet<&str> = table.iter().map(|facility| &*facility.app).collect();
        for app in apps {
            if let Err(error) = self.adopt_folder(app, table, now) {
                error!(
                    "cannot list {}: {error}; {}; what is due there turns when it is written to",
                    self.around.disk.path().join(app).display(),
                    disk::remedy(&error)
                );
            }
        }
    }

    pub(super) fn adopt_folder(
        &mut self,
        app: &str,
        table: &Table,
        now: Instant,
    ) -> io::Result<()> {
        for name in self.around.disk.names(app)? {
            let read = Name::read(&name);
            self.around.newest.note(app, &read);
            let Name::Live { stem, gzip } = read else { continue };
            let Some(owner) = table.owner(app, &stem) else { continue };
            let Ok(Some(facts)) = self.around.disk.facts(app, &name) else { continue };
            let form = if gzip { Form::Gzip { level: 0 } } else { Form::Plain };
            if form.format() != self.settings.form.format() {
                self.adopt_other_form(app, &stem, form, Arc::clone(owner), now);
                continue;
            }
            let live = format!("{stem}{}", LIVE_SUFFIX);
            if self.numbers.contains_key(format!("{app}/{live}").as_str()) {
                continue;
            }
            let number = self.number(app, &live, owner);
            let at = self.around.clock.now();
            if let Some(file) = self.files.get_mut(number) {
                file.found(facts, at);
            }
            self.count_host(number, true);
            self.follow_due(number);
        }
        Ok(())
    }

    /// A live file from before `compress_on_write` was changed becomes a
    /// segment at once: its lines come before all that will be written.
    pub(super) fn adopt_other_form(
        &mut self,
        app: &str,
        stem: &str,
        form: Form,
        owner: Arc<Facility>,
        now: Instant,
    ) {
        let live = format!("{stem}{}", LIVE_SUFFIX);
        let mut file = LogFile::new(app, &live, owner);
        let at = self.around.clock.now();
        let mut desk = self.around.desk(form, at, now);
        match file.turn(&mut desk) {
            Ok(_) => {
                // It has none of ours: it is not one of `files`.
                drop(file.close(&desk));
                self.bell.ring_for(app);
            }
            Err(error) => warn!(
                "cannot turn {}/{app}/{}: {error}; {}",
                self.around.disk.path().display(),
                form.name(&live),
                disk::remedy(&error)
            ),
        }
    }

    /// Follows these facilities from now on, and closes all files, so that
    /// they may have been moved away.
    pub(in crate::pipeline) fn reload(&mut self, table: &Table, now: Instant) {
        self.hosts.forget_said();
        let at = self.around.clock.now();
        for number in self.numbers.values().copied().collect::<Vec<_>>() {
            self.close(number, now);
            let Some(file) = self.files.get_mut(number) else { continue };
            let stem = file.live.strip_suffix(LIVE_SUFFIX).unwrap_or(&file.live);
            if let Some(owner) = table.owner(&file.folder, stem) {
                let before = std::mem::replace(&mut file.facility, Arc::clone(owner));
                if before.rotate != file.facility.rotate && file.bytes > 0 {
                    file.since = Some(at);
                    self.follow_due(number);
                }
            }
        }
        self.sync_folders(now + self.settings.unsynced_time_max);
        // There may be facilities that were none before.
        self.adopt(table, now);
    }
}
