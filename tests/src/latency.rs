//! Percentiles of what was measured.

use std::fmt;
use std::time::Duration;

/// Durations, sorted.
pub struct Latency(Vec<Duration>);

impl Latency {
    /// Of at least one measurement.
    pub fn of(mut measured: Vec<Duration>) -> Self {
        assert!(!measured.is_empty(), "nothing was measured");
        measured.sort_unstable();
        Self(measured)
    }

    /// The duration that `percent` of the measurements do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |percent| self.percentile(percent);
        write!(f, "p50 {:.2?}, p99 {:.2?}, max {:.2?}", of(50), of(99), of(100))
    }
}
