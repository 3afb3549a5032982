//! Instructions and allocations per operation of every hot path, counted by valgrind's callgrind:
//! what a busy machine does not change. Compared with a table that is checked in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;

use crate::error::{Error, Result};
use crate::paths::PATHS;

/// How often a path is run: what the second run has more is counted.
const TIMES: [u32; 2] = [1000, 5000];
/// How often each run is repeated; the least counts. Addresses and timers make some difference.
const ROUNDS: u32 = 5;

/// Options of `instructions`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The table to compare with
    #[arg(long, default_value = "push-bench/instructions.md", value_name = "FILE")]
    pub table: PathBuf,
    /// Write the table instead
    #[arg(long)]
    pub update: bool,
    /// How much more a path may take than the table says, percent
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT")]
    pub tolerance: f64,
    /// Only paths whose names begin with this
    #[arg(long, default_value = "", conflicts_with = "update")]
    pub only: String,
}

/// What an operation takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cost {
    /// Instructions, in the program and its libraries.
    pub instructions: f64,
    /// Calls of `malloc` and its like.
    pub allocations: f64,
}

/// Counts all paths. Returns whether none takes more than the table allows.
pub fn run(options: &Options) -> Result<bool> {
    let costs = count_all(&options.only)?;
    if options.update {
        let text = write_table(&costs);
        fs::write(&options.table, &text).map_err(Error::io(options.table.display().to_string()))?;
        print!("{text}");
        return Ok(true);
    }
    let text = fs::read_to_string(&options.table)
        .map_err(Error::io(options.table.display().to_string()))?;
    let (table, good) = compare(&costs, &read_table(&text), options.tolerance);
    print!("{table}");
    if !good {
        let file = options.table.display();
        println!("\nMore than {file} allows. If that is meant: make bench-instructions UPDATE=1");
    }
    Ok(good)
}

/// As many at a time as there are cores: counts do not depend on that.
fn count_all(only: &str) -> Result<Vec<(&'static str, Cost)>> {
    let dir = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let paths: Vec<_> = PATHS.iter().filter(|path| path.name.starts_with(only)).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || -> Result<()> {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                let [few, many] = TIMES.map(|times| least(dir.path(), path.name, times));
                let (few, many) = (few?, many?);
                let each = |few: f64, many: f64| (many - few) / f64::from(TIMES[1] - TIMES[0]);
                let cost = Cost {
                    instructions: each(few.instructions, many.instructions),
                    allocations: each(few.allocations, many.allocations),
                };
                found.lock().expect("no thread panics").insert(path.name, cost);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let found = found.into_inner().expect("no thread panics");
    Ok(paths.iter().filter_map(|path| Some((path.name, *found.get(path.name)?))).collect())
}

/// The least of several runs.
fn least(dir: &Path, name: &str, times: u32) -> Result<Cost> {
    let mut least = count(dir, name, times)?;
    for _ in 1..ROUNDS {
        let Cost { instructions, allocations } = count(dir, name, times)?;
        least.instructions = least.instructions.min(instructions);
        least.allocations = least.allocations.min(allocations);
    }
    Ok(least)
}

/// One run, whole.
fn count(dir: &Path, name: &str, times: u32) -> Result<Cost> {
    let out = dir.join(format!("{name}.{times}"));
    let me = std::env::current_exe().map_err(Error::io("myself"))?;
    let output = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(me)
        .args(["path", name, &times.to_string()])
        // Whatever is in the environment lies on the stack and moves it.
        .env_clear()
        .output()
        .map_err(Error::io("valgrind"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Server(format!("{name} under valgrind: {told}")));
    }
    let text = fs::read(&out).map_err(Error::io(out.display().to_string()))?;
    read_profile(&String::from_utf8_lossy(&text))
        .ok_or_else(|| Error::Server(format!("{name}: callgrind's file cannot be read")))
}

/// The sum of a callgrind file, and how often allocating functions were called.
fn read_profile(text: &str) -> Option<Cost> {
    let mut instructions = None;
    let (mut allocations, mut called) = (0.0, "");
    for line in text.lines() {
        if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse().ok();
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=")
            && is_allocation(called)
        {
            allocations += calls.split(' ').next()?.parse::<f64>().ok()?;
        }
    }
    Some(Cost { instructions: instructions?, allocations })
}

fn is_allocation(function: &str) -> bool {
    matches!(
        function,
        "malloc" | "calloc" | "realloc" | "posix_memalign" | "aligned_alloc" | "memalign"
    )
}

fn write_table(costs: &[(&'static str, Cost)]) -> String {
    let said = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
    };
    let mut out = format!(
        "# Instructions of the hot paths\n\n\
         Written by `make bench-instructions UPDATE=1`, compared by `make bench-instructions`: {}, {}. The\n\
         crates of module and daemon without nginx, Redis and the kernel, each path by itself. The little\n\
         that driving it costs is in it, so figures are to be compared with their former selves, not with\n\
         each other. Another compiler gives others. Signatures are dearer here than in life: valgrind has\n\
         no SHA instructions. Allocations are calls of malloc, calloc and realloc.\n\n\
         | path | instructions | allocations | once |\n|---|---:|---:|---|\n",
        said("rustc"),
        said("valgrind"),
    );
    for (name, cost) in costs {
        let what = PATHS.iter().find(|path| path.name == *name).map_or("", |path| path.what);
        let Cost { instructions, allocations } = cost;
        let _ = writeln!(out, "| {name} | {instructions:.0} | {allocations:.1} | {what} |");
    }
    out
}

fn read_table(text: &str) -> BTreeMap<String, Cost> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let name = cells.next()?.to_owned();
        let cost = Cost {
            instructions: cells.next()?.parse().ok()?,
            allocations: cells.next()?.parse().ok()?,
        };
        Some((name, cost))
    };
    text.lines().filter_map(row).collect()
}

/// A table for a terminal, and whether nothing is beyond the tolerance. What became less is told,
/// so that the table is made to follow.
fn compare(
    costs: &[(&'static str, Cost)],
    table: &BTreeMap<String, Cost>,
    tolerance: f64,
) -> (String, bool) {
    let mut out = format!(
        "{:24} {:>12} {:>8} {:>7}   {:>6} {:>6}\n",
        "path", "instructions", "was", "change", "allocs", "was"
    );
    let mut good = true;
    for (name, cost) in costs {
        let Some(was) = table.get(*name) else {
            let _ = writeln!(out, "{name:24} {:12.0} is not in the table", cost.instructions);
            good = false;
            continue;
        };
        let change = (cost.instructions / was.instructions - 1.0) * 100.0;
        // Tables and pools grow now and then, which is no allocation of the operation.
        let more = cost.allocations > was.allocations + 0.25;
        let verdict = match change {
            _ if more => "MORE",
            change if change > tolerance => "MORE",
            change if change < -tolerance => "less: update the table",
            _ => "",
        };
        good &= verdict != "MORE";
        let line = format!(
            "{name:24} {:12.0} {:8.0} {change:+6.1}%   {:6.1} {:6.1} {verdict}",
            cost.instructions, was.instructions, cost.allocations, was.allocations
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    (out, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read() {
        let text = "events: Ir\nfn=main\n5 10\ncfn=malloc\ncalls=3 7\n5 99\ncfn=free\ncalls=3 1\n\
                    5 9\ncfn=realloc\ncalls=2 7\n1 1\ntotals: 1234\n";
        let cost = Cost { instructions: 1234.0, allocations: 5.0 };
        assert_eq!(read_profile(text), Some(cost));
        assert_eq!(read_profile("fn=main\n"), None);
    }

    #[test]
    fn a_table_comes_back_and_regressions_are_seen() {
        let cost = |instructions, allocations| Cost { instructions, allocations };
        let table = read_table(&write_table(&[("worker-fanout", cost(100.0, 2.0))]));
        assert_eq!(table["worker-fanout"], cost(100.0, 2.0));
        let good = |instructions, allocations| {
            compare(&[("worker-fanout", cost(instructions, allocations))], &table, 2.0).1
        };
        assert!(good(101.9, 2.0) && good(50.0, 1.0));
        assert!(!good(102.1, 2.0) && !good(100.0, 3.0));
        assert!(!compare(&[("new", cost(1.0, 0.0))], &table, 2.0).1);
    }
}
