//! Comes to a spool: one that was left behind, or a new one.
//! Folders of an application -> a `Spool` that nobody else uses.
//! Invariant: no number is given before the disk knows that it may have been.
//! Leaves out: names, locks and links (`folder`).

use std::collections::VecDeque;
use std::path::Path;

use super::folder::{self, Folder};
use super::reader::Reader;
use super::state::State;
use super::{NUMBER_MAX, NUMBERS_SKIPPED, Spool, SpoolBounds, SpoolError, new_id};

impl Spool {
    /// Opens a folder that a program has left behind, one with messages if there
    /// is any, or makes a new one. A folder that cannot be used is told of and
    /// left alone.
    ///
    /// # Errors
    /// `Folder`: nothing can be kept there now.
    pub(crate) fn open(
        dir: &Path,
        app: &str,
        bounds: SpoolBounds,
        tell: &mut dyn FnMut(&SpoolError),
    ) -> Result<Spool, SpoolError> {
        folder::clear_up(dir, app)?;
        let mut empty = None;
        for folder in folder::abandoned(dir, app)? {
            match Spool::of(folder, bounds) {
                Ok(spool) if spool.next > NUMBER_MAX - NUMBERS_SKIPPED => {}
                Ok(spool) if spool.files.is_empty() => empty = empty.or(Some(spool)),
                Ok(spool) => return spool.begin(),
                Err(error) => tell(&error),
            }
        }
        match empty {
            Some(spool) => spool.begin(),
            None => Spool::create(dir, app, new_id()?, 1, bounds),
        }
    }

    /// Before a number is given, so that they are never given again.
    fn begin(mut self) -> Result<Spool, SpoolError> {
        self.publish(self.next)?;
        Ok(self)
    }

    /// Makes the folder of a client id that has none; `next` is the number that
    /// its next record gets.
    pub(crate) fn create(
        dir: &Path,
        app: &str,
        id: [u8; 16],
        next: u64,
        bounds: SpoolBounds,
    ) -> Result<Spool, SpoolError> {
        let state = State { begun: next, ..State::default() };
        let folder = Folder::create(dir, app, id, state)?;
        let mut spool = Spool::of(folder, bounds)?;
        spool.next = next;
        Ok(spool)
    }

    /// Opens a folder that was left behind and still holds something: messages,
    /// word of some that were dropped, or damage. Those that hold nothing are
    /// removed on the way, and those that cannot be used, and the `passed`, are
    /// left alone.
    pub(crate) fn adopt(
        dir: &Path,
        app: &str,
        bounds: SpoolBounds,
        passed: &[[u8; 16]],
    ) -> Result<Option<Spool>, SpoolError> {
        for folder in folder::abandoned(dir, app)?.filter(|folder| !passed.contains(&folder.id)) {
            let Ok(mut spool) = Spool::of(folder, bounds) else { continue };
            let has_records = !matches!(spool.read(0, 1), Ok(None));
            let has_word = spool.unreported.iter().any(|messages| *messages > 0);
            if has_records || has_word || spool.damaged > 0 {
                return Ok(Some(spool));
            }
            spool.remove();
        }
        Ok(None)
    }

    fn of(folder: Folder, bounds: SpoolBounds) -> Result<Spool, SpoolError> {
        let state = folder.state()?;
        let files = VecDeque::from(folder.files()?);
        let mut spool = Spool {
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            folder,
            bounds,
            tail: None,
            retired: VecDeque::new(),
            reader: None,
            acknowledged: state.acknowledged,
            published: state,
            last: 0,
            next: 1,
            damaged: 0,
            unreadable: (0, 0),
            passed: 0,
            unreported: state.unreported,
            is_dirty: false,
        };
        spool.cut_the_end()?;
        let first = spool.files.back().map_or(0, |file| file.first);
        let given = spool.last.max(first).max(state.begun).max(state.acknowledged);
        spool.next = given.saturating_add(NUMBERS_SKIPPED).min(NUMBER_MAX + 1);
        Ok(spool)
    }

    /// Cuts the last file behind its last whole entry.
    fn cut_the_end(&mut self) -> Result<(), SpoolError> {
        let Some(file) = self.files.back_mut() else { return Ok(()) };
        let mut reader = Reader::new(self.folder.open(file.first)?, file.first);
        let path = self.folder.file(file.first);
        reader.skip_all(file.bytes).map_err(|source| SpoolError::Read { path, source })?;
        let whole = reader.offset();
        self.last = reader.last().max(file.first.saturating_sub(1));
        if whole < file.bytes {
            // On a disk that takes no writes it stays, and is not read.
            let _ = self.folder.cut(file.first, whole);
            self.bytes = self.bytes.saturating_sub(file.bytes - whole);
            file.bytes = whole;
            self.damaged += 1;
        }
        Ok(())
    }
}
