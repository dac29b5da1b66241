//! Publishes small files.
//! A name and all that is to stand there -> a file that is safe and whole, or trouble.
//! Invariant: under its name it is never seen half written, whatever stops the process.
//! Leaves out: what is in it; sealed segments, which are written piece by piece.

use std::io::{self, Write as _};

use super::Disk;

/// The end of the name of a file that is being written.
pub const UNFINISHED: &str = ".part";

/// Temporary name, sync, rename, sync of the folder. Makes the folder where it is not
/// there.
///
/// # Errors
/// What the system says; `EEXIST` when there is a file of that name.
pub fn publish(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let part = format!("{name}{UNFINISHED}");
    // The folder may not be there yet: opening a file to write makes it.
    disk.remove(folder, &part)?;
    let mut file = disk.open_live(folder, &part)?.file;
    file.write_all(bytes)?;
    file.sync()?;
    disk.rename(folder, &part, name)?;
    disk.sync_folder(folder)
}
