//! How close publishes come. A call to Redis wakes three processes, whatever it carries: where the
//! next publish is about to come anyway, one that finds nothing under way had better wait for it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Publishes come close if less than this is between them on average: 3,300 a second.
const CLOSE: Duration = Duration::from_micros(300);
/// A longer pause ends that at once, whatever was before.
const PAUSE: Duration = Duration::from_micros(2400);
/// Arrivals the average is about.
const WEIGHT: u32 = 8;
/// Arrivals that nobody waits for after it was in vain: a single publisher that waits for each
/// answer before it goes on shall not be made to wait for itself.
const LESSON: u32 = 256;

/// See the module.
pub struct Pace {
    last: Cell<Option<Instant>>,
    average: Cell<Duration>,
    lesson: Cell<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { last: Cell::default(), average: Cell::new(PAUSE), lesson: Cell::default() }
    }
}

impl Pace {
    /// A publish arrived.
    pub fn arrived(&self, now: Instant) {
        let gap = self.last.replace(Some(now)).map_or(PAUSE, |last| (now - last).min(PAUSE));
        self.average.set((self.average.get() * (WEIGHT - 1) + gap) / WEIGHT);
        self.lesson.set(self.lesson.get().saturating_sub(1));
    }

    /// Whether the next may be expected right away.
    pub fn is_close(&self) -> bool {
        self.average.get() < CLOSE && self.lesson.get() == 0
    }

    /// It was expected and did not come.
    pub fn in_vain(&self) {
        self.lesson.set(LESSON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After arrivals with these gaps, µs.
    fn after(gaps: impl IntoIterator<Item = u64>) -> Pace {
        let (pace, mut now) = (Pace::default(), Instant::now());
        pace.arrived(now);
        for gap in gaps {
            now += Duration::from_micros(gap);
            pace.arrived(now);
        }
        pace
    }

    #[test]
    fn a_steady_stream_is_close_or_not() {
        assert!(after([200; 100]).is_close());
        assert!(!after([400; 100]).is_close());
        assert!(!after([200; 3]).is_close(), "too early to tell");
    }

    #[test]
    fn a_pause_ends_it() {
        assert!(after([0; 1000]).is_close());
        assert!(!after([0; 1000].into_iter().chain([2400])).is_close());
        assert!(!after([0; 1000].into_iter().chain([60_000_000])).is_close());
        assert!(!after([]).is_close(), "the first of all");
    }

    #[test]
    fn it_learns_from_disappointment() {
        let pace = after([200; 100]);
        pace.in_vain();
        let mut now = Instant::now();
        for _ in 0..LESSON {
            assert!(!pace.is_close());
            now += Duration::from_micros(200);
            pace.arrived(now);
        }
        assert!(pace.is_close());
    }
}
