//! The last ten minutes, in samples. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use push_metrics::{Number, Report, Span};
use serde::{Deserialize, Serialize};

/// How often a sample is taken.
pub const EVERY: Duration = Duration::from_secs(2);
/// How many are kept: ten minutes.
const KEPT: usize = 300;

/// How it was at one time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// When, Unix milliseconds.
    pub at: u64,
    /// Connections.
    pub connections: u64,
    /// Deliveries a second since the sample before.
    pub deliveries: f64,
    /// Publishes that were taken, a second.
    pub publishes: f64,
    /// Connections cut off, a second.
    pub drops: f64,
    /// Bytes that waited.
    pub waiting: u64,
    /// Half of the messages were written within this, microseconds.
    pub p50: Option<u64>,
    /// And nearly all within this.
    pub p99: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Samples {
    kept: VecDeque<Sample>,
    last: Option<(u64, Report)>,
}

impl Samples {
    /// Takes one; `at`: Unix milliseconds.
    pub fn take(&mut self, at: u64, total: Report) {
        if let Some((before, last)) = &self.last {
            let since = total.since(last);
            let seconds = (at.saturating_sub(*before).max(1)) as f64 / 1_000.0;
            let rate = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
            let latency = since.span(Span::Delivery);
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(Sample {
                at,
                connections: total.sum("bx_push_connections"),
                deliveries: rate(since.get(Number::Delivered)),
                publishes: rate(since.get(Number::Stored) + since.get(Number::Live)),
                drops: rate(since.sum("bx_push_drops_total")),
                waiting: total.sum("bx_push_queue_bytes"),
                p50: latency.quantile(0.5),
                p99: latency.quantile(0.99),
            });
        }
        self.last = Some((at, total));
    }

    /// The oldest first.
    pub fn all(&self) -> Vec<Sample> {
        self.kept.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_samples() {
        let mut samples = Samples::default();
        let mut report = Report::default();
        for number in 0..400_u64 {
            report.set(Number::Delivered, number * 40);
            report.set(Number::WebsocketsJson, number);
            samples.take(number * 2_000, report.clone());
        }
        let all = samples.all();
        assert_eq!(all.len(), KEPT);
        let last = all[KEPT - 1];
        assert_eq!((last.at, last.connections, last.deliveries), (798_000, 399, 20.0));
        assert_eq!(last.p50, None);
    }
}
