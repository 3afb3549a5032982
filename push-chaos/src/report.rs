//! What came of it, in one line each.

use std::collections::BTreeMap;
use std::fmt;

use crate::checks::Footprint;
use crate::fault::Fault;
use crate::ledger::Figures;

/// Of one kind of fault, or of all.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How often which was injected.
    pub faults: BTreeMap<Fault, u32>,
    /// The ledger's sums.
    pub figures: Figures,
    /// Connections dropped by faults that must not.
    pub dropped: u64,
    /// Connections ended by reloads and killed workers.
    pub sent_away: u64,
    /// Handshakes and polls that were refused.
    pub turned_away: u64,
    /// What the servers held when it was over.
    pub footprint: Option<Footprint>,
    /// What was not as it must be.
    pub wrong: Vec<String>,
}

impl Outcome {
    /// Whether everything was as it must be.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.figures.is_good() && self.dropped == 0
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.figures.add(&other.figures);
        self.dropped += other.dropped;
        self.sent_away += other.sent_away;
        self.turned_away += other.turned_away;
        self.footprint = other.footprint.or(self.footprint);
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum: u32 = self.faults.values().sum();
        let faults: Vec<_> =
            self.faults.iter().map(|(fault, count)| format!("{} {count}", fault.name())).collect();
        write!(
            f,
            "{}: faults {sum} ({}), {}, connections dropped {} (sent away by reloads and killed \
             workers: {}), turned away {}",
            if self.is_good() { "good" } else { "BAD" },
            faults.join(", "),
            self.figures,
            self.dropped,
            self.sent_away,
            self.turned_away,
        )?;
        if let Some(now) = self.footprint {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            write!(
                f,
                ", workers and sidecar: files beside clients' {} + {}, memory {:.1} + {:.1} MiB",
                now.worker_files,
                now.sidecar_files,
                mib(now.worker_memory),
                mib(now.sidecar_memory)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_bad_makes_the_sum_bad() {
        let good = Outcome { faults: BTreeMap::from([(Fault::Reload, 2)]), ..Outcome::default() };
        let lost = Figures { lost: 1, ..Figures::default() };
        for bad in [
            Outcome { figures: lost, ..Outcome::default() },
            Outcome { dropped: 1, ..Outcome::default() },
            Outcome { wrong: vec!["a line".into()], ..Outcome::default() },
        ] {
            let mut sum = good.clone();
            assert!(sum.is_good() && sum.to_string().starts_with("good: faults 2 (reload 2)"));
            sum.add(bad);
            sum.add(good.clone());
            assert!(!sum.is_good() && sum.to_string().starts_with("BAD: faults 4 (reload 4)"));
        }
    }
}
