//! The daemon's process: the command line in, an exit code out.

fn main() -> std::process::ExitCode {
    give_large_buffers_back();
    std::process::ExitCode::from(loghogd::cli::main(lower_priority))
}

/// Gives the calling thread the lowest priority at the processors, and at the
/// disks what nobody else wants. Not SCHED_IDLE: on a machine that is always
/// busy it would hardly ever come to run.
#[expect(unsafe_code, reason = "neither scheduler has a safe interface")]
fn lower_priority() {
    /// See ioprio_set(2): a thread, and the idle class.
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: both calls take numbers only; 0 is the calling thread. What they
    // answer does not matter: without them sealing is no less right.
    unsafe {
        // Of Linux's threads each has a niceness of its own (setpriority(2)).
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
    }
}

/// Tells the C library to take large buffers from the system, and to give
/// them back when they are freed. Left alone it raises that size to whatever
/// it has seen freed, and keeps the holes: after a few unusually long messages
/// a third more memory was in use for good.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's allocator has no safe interface")]
fn give_large_buffers_back() {
    /// The size that the C library starts with, in bytes (mallopt(3)).
    const LARGE_BYTES: libc::c_int = 128 << 10;
    // SAFETY: mallopt only sets a number, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_large_buffers_back() {}
