//! The process: background, folders, privileges, limits.
//! A checked configuration -> a process that may do what it needs, and no more.
//! Invariant: no step is left half done; a refusal names the thing and the remedy.
//! Leaves out: everything about messages.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, AccessFlags, User};

use crate::config::checked::Config;

/// What a process in the background tells the one that started it.
const READY: &[u8] = b"ready\n";

/// How the pidfile's folder is named to the user.
const PIDFILE_FOLDER: &str = "the folder of [main] pidfile";

/// The hidden option of the process that stays.
const CHILD_OPTION: &str = "--daemon-child";

/// Starts this program once more, in the background, and returns when it is
/// ready. A program with threads cannot go into the background by itself.
///
/// # Errors
/// When the other one could not start; it has said why on stderr.
pub(super) fn detach() -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg(CHILD_OPTION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a process in the background")?;
    let mut answer = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_end(&mut answer)
            .context("cannot hear from the process in the background")?;
    }
    if answer == READY {
        return Ok(());
    }
    let status = child.wait().context("cannot wait for the process in the background")?;
    std::process::exit(status.code().unwrap_or(70));
}

/// Leaves the terminal behind.
///
/// # Errors
/// What the system says.
pub(super) fn begin_session() -> Result<()> {
    unistd::setsid().context("cannot begin a session of its own")?;
    Ok(())
}

/// Tells the process that started this one, and lets go of its terminal.
///
/// # Errors
/// What the system says.
pub(super) fn say_ready() -> Result<()> {
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)?;
    unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Keeps the signals away that we listen to, until we do: no signal can end a daemon that
/// has written its pidfile. Threads that begin meanwhile never get them.
///
/// # Errors
/// What the system says.
pub(super) fn hold_signals() -> Result<SigSet> {
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];
    let signals = SigSet::from_iter(signals);
    signals.thread_block().context("cannot hold signals")?;
    Ok(signals)
}

/// Raises the limit of open files to what the system allows us; returns it.
pub(super) fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Makes the folders that the configuration names, for the user we become.
///
/// # Errors
/// When one cannot be made.
pub(super) fn make_folders(config: &Config) -> Result<()> {
    let user = config.main.user.as_deref().map(find_user).transpose()?;
    for (option, folder) in folders(config) {
        if folder.is_dir() {
            continue;
        }
        let advice =
            || format!("cannot make {} ({option}); make it, or name another one", folder.display());
        DirBuilder::new().recursive(true).mode(0o750).create(&folder).with_context(advice)?;
        if let Some(user) = user.as_ref().filter(|_| unistd::geteuid().is_root()) {
            let made = fs::OpenOptions::new()
                .read(true)
                .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits())
                .open(&folder)
                .with_context(advice)?;
            unistd::fchown(&made, Some(user.uid), Some(user.gid)).with_context(advice)?;
        }
    }
    Ok(())
}

/// Becomes `name`, for good. Without root it must be so already.
///
/// # Errors
/// When there is no such user, or the system refuses.
pub(super) fn become_user(name: &str) -> Result<()> {
    let user = find_user(name)?;
    if unistd::geteuid() == user.uid {
        return Ok(());
    }
    if !unistd::geteuid().is_root() {
        bail!(
            "cannot become user {name} without being root; start as root or as {name}, or drop [main] user"
        );
    }
    let c_name = std::ffi::CString::new(name)?;
    unistd::initgroups(&c_name, user.gid)
        .and_then(|()| unistd::setgid(user.gid))
        .and_then(|()| unistd::setuid(user.uid))
        .with_context(|| format!("cannot become user {name}"))?;
    // The groups are those of the user now, none of root's (initgroups(3)).
    // A process that could come back would not have dropped anything.
    if unistd::setuid(unistd::Uid::from_raw(0)).is_ok() {
        bail!("privileges could not be dropped: the system let us become root again");
    }
    Ok(())
}

/// Looks whether the user that we are may write where it has to.
///
/// # Errors
/// The first folder where it may not.
pub(super) fn check_writable(config: &Config) -> Result<()> {
    // The folder of the pidfile may well be root's alone: it was written before.
    for (option, folder) in
        folders(config).into_iter().filter(|(option, _)| *option != PIDFILE_FOLDER)
    {
        unistd::access(&folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
            let who = User::from_uid(unistd::geteuid())
                .ok()
                .flatten()
                .map_or("this user".into(), |u| u.name);
            anyhow!(
                "{who} cannot write to {} ({option}): {}; chown {who} {}",
                folder.display(),
                error.desc(),
                folder.display()
            )
        })?;
    }
    Ok(())
}

/// Says why the log folder cannot be taken.
pub(super) fn log_dir_refused(error: io::Error, config: &Config) -> anyhow::Error {
    let path = config.main.logdir.display();
    if error.raw_os_error() == Some(Errno::EWOULDBLOCK as i32) {
        return anyhow!(
            "another loghogd writes to {path}; stop it first, or set another [main] logdir"
        );
    }
    anyhow::Error::new(error).context(format!("cannot open the log folder {path} ([main] logdir)"))
}

/// The file with our process id; removed when dropped. Locked while we run,
/// so that one left over by a kill is told apart from one in use.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    _lock: Flock<fs::File>,
}

impl PidFile {
    pub(super) fn write(path: &Path) -> Result<PidFile> {
        let shown = path.display();
        loop {
            let file = open_pidfile(path)
                .with_context(|| format!("cannot write {shown} ([main] pidfile)"))?;
            let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, error)| match error {
                    Errno::EWOULDBLOCK => {
                        anyhow!("{shown} belongs to a loghogd that runs; stop it first")
                    }
                    error => anyhow::Error::new(error).context(format!("cannot lock {shown}")),
                },
            )?;
            // The daemon before may have removed it between opening and locking.
            let named = fs::symlink_metadata(path).map(|data| (data.dev(), data.ino()));
            let locked = lock.metadata().map(|data| (data.dev(), data.ino()));
            if named.is_ok() && named.ok() == locked.ok() {
                lock.set_len(0)?;
                writeln!(lock, "{}", std::process::id())
                    .with_context(|| format!("cannot write {shown} ([main] pidfile)"))?;
                return Ok(PidFile { path: path.to_owned(), _lock: lock });
            }
        }
    }
}

/// Opens the pidfile as root may open a file in a folder that is not root's
/// alone: no link, nothing that has another name as well.
fn open_pidfile(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    let data = file.metadata()?;
    if !data.is_file() || data.nlink() > 1 {
        return Err(io::Error::other("it is not a file of its own; remove it"));
    }
    Ok(file)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Without the right to remove it, it is at least not locked any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// The folders that we write to, each with the option that names it.
pub(super) fn folders(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut folders = vec![
        ("[main] logdir", config.main.logdir.clone()),
        ("[main] workdir", config.main.workdir.clone()),
        ("[main] rundir", config.main.rundir.clone()),
    ];
    if let Some(folder) = config.log.filename.as_deref().and_then(Path::parent) {
        folders.push(("the folder of [log] filename", folder.to_owned()));
    }
    if let Some(folder) = config.main.pidfile.as_deref().and_then(Path::parent) {
        folders.push((PIDFILE_FOLDER, folder.to_owned()));
    }
    folders
}

fn find_user(name: &str) -> Result<User> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => bail!(
            "there is no user {name} ([main] user); make it with: adduser --system --group {name}"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot look up user {name}")),
    }
}
