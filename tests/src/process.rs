//! Asks the kernel about a process.
//! A pid -> memory, descriptors, threads.
//! Invariant: only processes that a test has started are asked about or signalled.
//! Leaves out: starting and ending them (`daemon`).

use std::path::PathBuf;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The most memory that a process ever had in RAM, in bytes (VmHWM of proc(5)).
pub fn rss_bytes_peak(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:") << 10
}

/// Time that a process has spent on the processors, in clock ticks
/// (utime and stime of proc(5)).
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(proc(pid).join("stat")).expect("the process is alive");
    // The name in parentheses may hold blanks; utime is the 12th behind it.
    let (_, behind) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = behind.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
}

/// How often threads of a process have waited for something and were woken, all together.
pub fn wake_ups(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    let switches = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number")
    };
    tasks.filter_map(status).map(switches).sum()
}

/// How many descriptors a process holds.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(proc(pid).join("fd")).expect("the process is alive").count()
}

/// Is there such a process (a zombie is none)?
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(proc(pid).join("stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, behind)| !behind.starts_with(" Z")))
        .unwrap_or(false)
}

/// Lets this process, and those that it starts, hold as many descriptors as
/// the system grants, and says how many that is.
pub fn raise_descriptors() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be raised");
    usize::try_from(hard).unwrap_or(usize::MAX)
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(proc(pid).join("status")).expect("the process is alive");
    let line = status.lines().find(|line| line.starts_with(name)).expect("every kernel says so");
    let kib = line.split_whitespace().nth(1).expect("a number");
    kib.parse().expect("a number")
}

fn proc(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}
