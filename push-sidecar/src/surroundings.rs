//! What the daemon takes from the system without being given it: the time of day and random bits.
//!
//! The daemon is one thread. A simulation puts its own in place for the thread it runs on, so that
//! a run can be repeated; timers and intervals follow tokio's clock, which can be paused.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

#[derive(Clone, Copy)]
struct Simulation {
    /// The time of day when it began, on tokio's clock.
    epoch: Duration,
    began: Instant,
    random: u64,
}

thread_local! {
    static SIMULATION: Cell<Option<Simulation>> = const { Cell::new(None) };
}

/// The time since the Unix epoch.
pub fn unix_time() -> Duration {
    match SIMULATION.get() {
        None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        Some(simulation) => simulation.epoch + simulation.began.elapsed(),
    }
}

/// The same in milliseconds.
pub fn unix_ms() -> u64 {
    unix_time().as_millis() as u64
}

/// 64 random bits, good enough for names and jitter, not for secrets.
pub fn random_bits() -> u64 {
    let Some(simulation) = SIMULATION.get() else {
        // The standard library seeds each state from the system's randomness.
        return RandomState::new().build_hasher().finish();
    };
    // Steele, Lea and Flood's SplitMix64.
    let random = simulation.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SIMULATION.set(Some(Simulation { random, ..simulation }));
    let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// As long as it lives, this thread's time of day follows tokio's clock, and its random bits a seed.
#[must_use]
pub struct Simulated(PhantomData<*const ()>);

impl Simulated {
    /// Begins; it is `epoch` after the Unix epoch now. Call it within the runtime whose clock counts.
    pub fn begin(seed: u64, epoch: Duration) -> Self {
        SIMULATION.set(Some(Simulation { epoch, began: Instant::now(), random: seed }));
        Self(PhantomData)
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        SIMULATION.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_can_be_repeated_and_ends() {
        let epoch = Duration::from_secs(1_800_000_000);
        let run = |seed| {
            let _simulated = Simulated::begin(seed, epoch);
            let late = unix_time().checked_sub(epoch);
            assert!(late.is_some_and(|late| late < Duration::from_secs(60)));
            [random_bits(), random_bits(), random_bits()]
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_ne!(random_bits(), random_bits());
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        assert!(unix_time().abs_diff(system) < Duration::from_secs(60));
    }
}
