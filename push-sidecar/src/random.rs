//! Randomness for names and jitter, not for secrets.

use std::time::Duration;

use crate::surroundings::random_bits;

/// A process's name on the announcement channels: 8 characters of `[0-9a-z]`.
pub fn uid() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut bits = random_bits();
    let mut next = || {
        let digit = DIGITS[(bits % 36) as usize];
        bits /= 36;
        char::from(digit)
    };
    (0..8).map(|_| next()).collect()
}

/// Waiting times that double from `first` to `last`, each shortened by up to a half at random.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.last);
        let jitter = random_bits() % (wait.as_micros() as u64 / 2).max(1);
        wait.saturating_sub(Duration::from_micros(jitter))
    }

    /// It worked: start over next time.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_eight_characters_and_differ() {
        let (a, b) = (uid(), uid());
        assert_eq!(a.len(), 8);
        assert!(a.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()));
        assert_ne!(a, b);
    }

    #[test]
    fn waits_double_up_to_the_last() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        for ms in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.wait();
            assert!(wait <= Duration::from_millis(ms) && wait >= Duration::from_millis(ms / 2));
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(50));
    }
}
