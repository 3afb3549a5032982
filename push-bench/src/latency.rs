//! Distributions of durations.

use hdrhistogram::Histogram;

/// Longer than anything a scenario waits for, in nanoseconds.
const LONGEST: u64 = 600_000_000_000;

/// A distribution of durations, exact to three digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"))
    }
}

impl Latency {
    /// Adds a duration in nanoseconds.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that this share (0 to 1) of all does not exceed, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }

    /// The longest, in milliseconds.
    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds() {
        let mut latency = Latency::default();
        for microseconds in 1..=1000 {
            latency.record(microseconds * 1000);
        }
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 1002);
        assert!((latency.quantile(0.5) - 0.5).abs() < 0.002);
        assert!((latency.quantile(0.99) - 0.99).abs() < 0.002);
        assert!(latency.max() >= 599_000.0);
    }
}
