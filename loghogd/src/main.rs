//! The daemon's process: the command line in, an exit code out.

fn main() -> std::process::ExitCode {
    give_large_buffers_back();
    std::process::ExitCode::from(loghogd::cli::main(lower_priority))
}

/// Lets the calling thread run only when nobody else wants to. The kernel
/// takes the class of its disk accesses from that, too (ioprio_get(2)). With
/// niceness 19 a sender at full speed lost a sixth of its speed: only
/// processors that run nothing but such threads count as free.
#[expect(unsafe_code, reason = "the scheduler has no safe interface")]
fn lower_priority() {
    // SAFETY: the calls take numbers and a structure that is zeroed, as
    // SCHED_IDLE wants it; 0 is the calling thread (sched_setscheduler(2)).
    unsafe {
        let parameters = std::mem::zeroed::<libc::sched_param>();
        if libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) != 0 {
            // Of Linux's threads each has a niceness of its own (setpriority(2)).
            libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        }
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
