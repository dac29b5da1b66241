//! Sealing stays within its memory at the highest level of every format, with
//! as many threads as there may be and a line as long as there may be. Each
//! format has a process of its own, so that nothing is left of another.

use std::fs;
use std::process::Command;

use loghogd::config::checked::Format;
use loghogd::pipeline::seal::Compressor;
use loghogd::pipeline::seal::limits::{
    BLOCK_BYTES, BLOCK_BYTES_MAX, MEMORY_BYTES_MAX, THREADS_MAX,
};

/// Says which format a process is for.
const FORMAT: &str = "LOGHOG_SEALING_FORMAT";
const TEST: &str = "no_format_takes_more_memory_than_there_may_be";

#[test]
fn no_format_takes_more_memory_than_there_may_be() {
    if let Ok(name) = std::env::var(FORMAT) {
        return measure(&name);
    }
    for name in ["xz", "gzip", "bzip2", "zstd"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(FORMAT, name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", said.lines().filter(|line| line.contains("MiB")).collect::<String>());
    }
}

fn measure(name: &str) {
    let format = match name {
        "xz" => Format::Xz,
        "gzip" => Format::Gzip,
        "bzip2" => Format::Bzip2,
        _ => Format::Zstd,
    };
    let text = text();
    // What is sealed goes to a file, as it does in the daemon.
    let mut file = tempfile::tempfile().unwrap();
    let before = held_bytes("VmRSS:");
    let mut compressor = Compressor::with_threads(format, 9, THREADS_MAX, || {});
    let summary = compressor.compress(&mut &text[..], &mut file, &|| true).unwrap();
    let found = compressor.verify(&file, format, &|| true).unwrap();
    assert_eq!(found, summary.plain);
    let held = held_bytes("VmHWM:") - before;
    println!("{name}: {} MiB; ", held >> 20);
    assert!(held <= MEMORY_BYTES_MAX);
    // Were it much less, this test would not show anything.
    assert!(held >= THREADS_MAX * BLOCK_BYTES);
}

/// A block for each thread, in work at once, and a line as long as a block may
/// be.
fn text() -> Vec<u8> {
    let mut text = Vec::with_capacity(THREADS_MAX * BLOCK_BYTES + BLOCK_BYTES_MAX + 200);
    let mut id: u64 = 1;
    while text.len() < THREADS_MAX * BLOCK_BYTES {
        id = next(id);
        let line =
            format!("2026-11-20 12:00:00.{:06} - web{} - {id:016x}\n", id % 1_000_000, id % 9);
        text.extend(line.into_bytes());
    }
    text.resize(text.len() + BLOCK_BYTES_MAX - 1, b'x');
    text.push(b'\n');
    text
}

fn next(id: u64) -> u64 {
    id.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn held_bytes(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}
