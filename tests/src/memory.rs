//! What processes cost in user memory.

use std::fs;

/// Bytes of memory that would be free without these processes: the sum of their proportional set
/// sizes (shared pages are counted once, in parts), from `/proc/PID/smaps_rollup`.
pub fn proportional_set_size(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| one(*pid)).sum()
}

fn one(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("a line for Pss");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("KiB");
    kib * 1024
}
