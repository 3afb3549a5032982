//! How long something took, in buckets.

/// The buckets' upper bounds, microseconds; behind them comes one without.
pub const BOUNDS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];

/// Counts of durations. A duration is in one bucket only; Prometheus' sums are made when it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    /// One for each of [`BOUNDS`], and one for what took longer.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All durations together, microseconds.
    pub sum: u64,
}

impl Histogram {
    /// Counts one duration, microseconds.
    pub fn record(&mut self, micros: u64) {
        self.buckets[BOUNDS.partition_point(|&bound| bound < micros)] += 1;
        self.sum = self.sum.saturating_add(micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What has been counted since `base`.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        let mut since = *self;
        for (bucket, before) in since.buckets.iter_mut().zip(base.buckets) {
            *bucket = bucket.saturating_sub(before);
        }
        since.sum = self.sum.saturating_sub(base.sum);
        since
    }

    /// The duration that a `share` of all stayed below, microseconds, as far as buckets tell: within
    /// one, durations count as spread evenly. `None`: nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = share * self.count() as f64;
        let mut below = 0.0;
        for (at, &bucket) in self.buckets.iter().enumerate().filter(|(_, bucket)| **bucket > 0) {
            let count = bucket as f64;
            if below + count >= wanted {
                let from = if at == 0 { 0 } else { BOUNDS[at - 1] };
                // Nothing is known of the last bucket but where it begins.
                let upto = BOUNDS.get(at).copied().unwrap_or(from);
                let part = ((wanted - below) / count).clamp(0.0, 1.0);
                return Some(from + ((upto - from) as f64 * part) as u64);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_not_too_small() {
        let mut histogram = Histogram::default();
        for micros in [0, 50, 51, 5_000_000, 5_000_001] {
            histogram.record(micros);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (2, 1));
        assert_eq!((histogram.buckets[15], histogram.buckets[16]), (1, 1));
        assert_eq!((histogram.count(), histogram.sum), (5, 10_000_102));
    }

    #[test]
    fn quantiles_are_within_their_bucket() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let mut histogram = Histogram::default();
        (0..99).for_each(|_| histogram.record(300));
        histogram.record(9_000_000);
        assert!((250..=500).contains(&histogram.quantile(0.5).unwrap()));
        assert_eq!(histogram.quantile(1.0), Some(5_000_000));
    }

    #[test]
    fn what_came_since_and_what_was_before_are_all() {
        let (mut before, mut all) = (Histogram::default(), Histogram::default());
        before.record(70);
        all.record(70);
        all.record(700);
        let mut sum = all.since(&before);
        assert_eq!((sum.count(), sum.sum), (1, 700));
        sum.add(&before);
        assert_eq!(sum, all);
    }
}
