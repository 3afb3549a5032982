//! The command line and the environment.

use clap::Parser;

use crate::fault::Fault;

/// Faults on the real thing: nginx, sidecar and Redis under traffic, and what comes of it.
///
/// Without CHAOS, every kind of fault as often as is usual, then the storm.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Which kinds of faults, separated by commas; `storm` is one of them
    #[arg(env = "CHAOS", value_delimiter = ',')]
    pub what: Vec<String>,
    /// How often each; by default as often as is usual for its kind
    #[arg(long, env = "CHAOS_COUNT")]
    pub count: Option<u32>,
    /// Subscribers, a twentieth of them by long poll
    #[arg(long, env = "CHAOS_SUBSCRIBERS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(20..=8_000))]
    pub subscribers: u64,
    /// Messages a second
    #[arg(long, env = "CHAOS_RATE", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    pub rate: u64,
    /// Clients of the storm
    #[arg(long, env = "CHAOS_STORM", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=18_000))]
    pub storm: u64,
    /// Seed of everything that is left to chance
    #[arg(long, env = "CHAOS_SEED", default_value_t = 1)]
    pub seed: u64,
}

impl Options {
    /// The faults, and whether there is to be a storm.
    pub fn chosen(&self) -> Result<(Vec<Fault>, bool), String> {
        use clap::ValueEnum;
        let what: Vec<_> = self.what.iter().filter(|name| !name.is_empty()).collect();
        if what.is_empty() {
            return Ok((Fault::ALL.to_vec(), true));
        }
        let mut chosen = (Vec::new(), false);
        for name in what {
            if name == "storm" {
                chosen.1 = true;
            } else {
                let fault = Fault::from_str(name, false).map_err(|_| {
                    let known: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                    format!(
                        "CHAOS: no fault is named {name}; there are {}, storm",
                        known.join(", ")
                    )
                })?;
                chosen.0.push(fault);
            }
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &[&str]) -> Result<(Vec<Fault>, bool), String> {
        Options::parse_from([&["push-chaos"], line].concat()).chosen()
    }

    #[test]
    fn faults_are_chosen_by_name() {
        assert_eq!(chosen(&[""]).expect("all"), (Fault::ALL.to_vec(), true));
        let two = chosen(&["kill-redis,storm"]).expect("two");
        assert_eq!(two, (vec![Fault::KillRedis], true));
        assert!(chosen(&["kill-rediss"]).expect_err("unknown").contains("kill-redis,"));
    }
}
