//! Which versions of this format two sides have in common.
//!
//! During an upgrade module and sidecar are of different releases for a while. A worker's `Hello`
//! names the versions it speaks; until `Welcome` it says nothing that its lowest does not know.
//! `Welcome` names the highest that both speak, and that is spoken from then on. A sidecar that does
//! not know the worker's lowest any more answers `Refused` with its own: then the worker comes back
//! with what they have in common, if there is anything.
//!
//! So a version may add kinds of frames, and fields behind the known ones. Whatever else is changed
//! raises [`LOWEST`].

use std::fmt;

/// The oldest version of this format that is spoken here.
pub const LOWEST: u16 = 1;

/// The newest version of this format.
///
/// | version | adds |
/// |---|---|
/// | 2 | `TraceWanted`, `Trace`; `MetricsWanted`, `Metrics`, `Observe`, `Observation`, `Published` |
pub const VERSION: u16 = 2;

/// From this version on a worker understands `TraceWanted`.
pub const TRACE_SINCE: u16 = 2;

/// From this version on both sides tell what has been counted.
pub const METRICS_SINCE: u16 = 2;

/// The versions that one side speaks, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub lowest: u16,
    /// The newest.
    pub highest: u16,
}

impl Versions {
    /// What is spoken here.
    pub const OURS: Self = Self { lowest: LOWEST, highest: VERSION };

    /// Whether this one is spoken.
    pub const fn contains(self, version: u16) -> bool {
        self.lowest <= version && version <= self.highest
    }

    /// Those that are spoken on both sides.
    pub fn common(self, other: Self) -> Option<Self> {
        let lowest = self.lowest.max(other.lowest);
        let highest = self.highest.min(other.highest);
        (lowest <= highest).then_some(Self { lowest, highest })
    }

    /// Which one a sidecar that speaks these speaks with a worker that speaks `worker`; `None`: it
    /// has to be refused.
    pub fn choose(self, worker: Self) -> Option<u16> {
        self.contains(worker.lowest).then(|| self.highest.min(worker.highest))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lowest, highest } = self;
        if lowest >= highest { write!(f, "{lowest}") } else { write!(f, "{lowest} to {highest}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn versions(lowest: u16, highest: u16) -> Versions {
        Versions { lowest, highest }
    }

    #[test]
    fn the_highest_that_both_speak_is_chosen() {
        let ours = versions(2, 4);
        for (lowest, highest, chosen) in [
            (2, 4, Some(4)),
            (2, 3, Some(3)),
            (3, 9, Some(4)),
            (4, 4, Some(4)),
            // Its first frames might not be understood: it is to come back with 2 to 3.
            (1, 3, None),
            (1, 1, None),
            (5, 9, None),
        ] {
            assert_eq!(ours.choose(versions(lowest, highest)), chosen, "{lowest} to {highest}");
        }
        assert_eq!(ours.common(versions(1, 3)), Some(versions(2, 3)));
        assert_eq!(ours.common(versions(1, 1)), None);
        assert_eq!(ours.common(versions(5, 5)), None);
        assert_eq!(Versions::OURS.choose(Versions::OURS), Some(VERSION));
    }

    #[test]
    fn a_range_is_told_as_short_as_can_be() {
        assert_eq!(versions(1, 1).to_string(), "1");
        assert_eq!(versions(2, 5).to_string(), "2 to 5");
    }
}
