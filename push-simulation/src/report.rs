//! Many runs, and the verdict on all of them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::Figures;
use crate::run::Outcome;

/// Violations of one seed that are printed.
const SHOWN: usize = 5;

/// What became of all runs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many there were.
    pub seeds: u64,
    /// How many of them broke a promise.
    pub failed: u64,
    /// Faults by kind, and other things worth counting.
    pub counts: BTreeMap<&'static str, u64>,
    /// Messages of all runs.
    pub figures: Figures,
    /// Of the traces of all runs: equal seeds, equal hash.
    pub hash: u64,
    /// Simulated time of all runs.
    pub simulated: Duration,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.failed += u64::from(!outcome.violations.is_empty());
        for (what, count) in &outcome.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.figures += outcome.figures;
        // In whatever order they come.
        self.hash = self.hash.wrapping_add(outcome.hash);
        self.simulated += Duration::from_millis(outcome.ms);
    }

    /// How many faults there were, of all kinds.
    pub fn faults(&self) -> u64 {
        crate::faults::Fault::ALL.iter().filter_map(|fault| self.counts.get(fault.name())).sum()
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        let Figures { answered, refused, unknown, delivered, lost, doubled } = self.figures;
        json!({
            "seeds": self.seeds,
            "failed": self.failed,
            "faults": self.faults(),
            "counts": self.counts,
            "answered_200": answered,
            "answered_503": refused,
            "unknown": unknown,
            "delivered": delivered,
            "lost": lost,
            "doubled": doubled,
            "simulated_seconds": self.simulated.as_secs(),
            "hash": format!("{:016x}", self.hash),
            "seconds": self.took.as_secs_f64(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>9} {what}")?;
        }
        let Figures { answered, refused, unknown, delivered, lost, doubled } = self.figures;
        write!(
            f,
            "sim {}: {} seeds, {} failed, {} faults, answered 200: {answered}, 503: {refused}, \
             unknown: {unknown}, delivered: {delivered}, lost: {lost}, doubled: {doubled} \
             ({:.1} hours simulated in {:.1} s)",
            if self.failed == 0 { "passed" } else { "FAILED" },
            self.seeds,
            self.failed,
            self.faults(),
            self.simulated.as_secs_f64() / 3600.0,
            self.took.as_secs_f64(),
        )
    }
}

/// What went wrong in one run, and how to see it again.
pub fn failure(outcome: &Outcome) -> String {
    let Outcome { seed, violations, .. } = outcome;
    let mut text = format!("seed {seed} broke a promise; again: make sim SEED={seed}\n");
    for what in violations.iter().take(SHOWN) {
        let _ = writeln!(text, "  {what}");
    }
    if violations.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", violations.len() - SHOWN);
    }
    text
}

/// Runs seeds, some at a time; `each` sees every outcome.
pub fn all(
    seeds: Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> Outcome + Sync,
    each: impl Fn(&Outcome) + Sync,
) -> Report {
    let began = Instant::now();
    let (next, report) = (AtomicU64::new(seeds.start), Mutex::new(Report::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.add(&outcome);
                    each(&outcome);
                }
            });
        }
    });
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    Report { took: began.elapsed(), ..report }
}
