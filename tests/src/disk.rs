//! A disk of its own, which can become full.
//! A folder and a size -> a mount that outlives the processes that use it.
//! Invariant: the mount lives in a namespace that ends with the test, whatever becomes of it.
//! Leaves out: who uses it (`daemon`).

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use crate::wait::{DEADLINE, wait_until};

/// A disk in memory, mounted at a folder. Only who enters it sees it.
#[derive(Debug)]
pub struct Disk {
    /// Holds the namespace. It ends with its standard input, so with us.
    holder: Child,
    at: PathBuf,
    bytes: u64,
}

impl Disk {
    /// Makes one with room for so many bytes.
    ///
    /// # Panics
    /// When the system does not let us.
    #[track_caller]
    pub fn mount(at: &Path, bytes: u64) -> Disk {
        let mut command = Command::new("unshare");
        if geteuid().is_root() {
            command.arg("--mount");
        } else {
            // A user may mount in a namespace of users of his own.
            command.args(["--map-root-user", "--mount"]);
        }
        let script =
            format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && echo mounted && exec cat");
        command.args(["sh", "-c", &script]).arg(at);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("tools/setup has installed unshare");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("readable");
        let disk = Disk { holder, at: at.to_owned(), bytes };
        assert_eq!(said, "mounted\n", "there is no disk at {}", at.display());
        disk
    }

    /// A command that sees the disk and begins in this folder.
    pub fn enter(&self, folder: &Path, program: &Path) -> Command {
        let mut command = self.nsenter();
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder).arg(program);
        command
    }

    /// Where somebody outside finds what has this path inside.
    pub fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Mounts it anew with these options, such as `ro`.
    ///
    /// # Panics
    /// When the system does not do it.
    #[track_caller]
    pub fn remount(&self, options: &str) {
        self.try_remount(options).unwrap_or_else(|said| panic!("{said}"));
    }

    /// Leaves so many bytes free, or a little more.
    ///
    /// # Panics
    /// When the system does not do it.
    #[track_caller]
    pub fn leave_free(&self, bytes: u64) {
        // It is refused when what is used has become more than that meanwhile.
        wait_until(DEADLINE, "the disk becomes small", || {
            let size = self.used_bytes() + bytes;
            self.try_remount(&format!("size={size}")).ok()
        });
    }

    /// Gives all of its room back.
    #[track_caller]
    pub fn free(&self) {
        self.remount(&format!("size={}", self.bytes));
    }

    /// How many bytes are used.
    pub fn used_bytes(&self) -> u64 {
        let disk = statvfs(&self.outside(&self.at)).expect("it is mounted");
        (disk.blocks() - disk.blocks_free()) * disk.fragment_size()
    }

    fn try_remount(&self, options: &str) -> Result<(), String> {
        let mut command = self.nsenter();
        command.args(["mount", "-o", &format!("remount,{options}")]).arg(&self.at);
        let output = command.output().expect("tools/setup has installed nsenter");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn nsenter(&self) -> Command {
        let mut command = Command::new("nsenter");
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--target", &self.holder.id().to_string(), "--"]);
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
