//! The whole of it: all faults that were chosen, on a host for each way Redis keeps its data.

use std::io;

use push_tests::redis::Persistence;

use crate::fault::Fault;
use crate::options::Options;
use crate::report::Outcome;
use crate::rig::{self, Rig};
use crate::storm;

/// Does it, telling each part as it comes, and returns the sum. `Err`: it could not be tried.
pub async fn run(options: &Options) -> io::Result<Outcome> {
    let (faults, with_storm) = options.chosen().map_err(io::Error::other)?;
    rig::raise_file_limit()?;
    let mut sum = Outcome::default();
    for persistence in [Persistence::Always, Persistence::None] {
        let these: Vec<Fault> =
            faults.iter().copied().filter(|fault| fault.persistence() == persistence).collect();
        if these.is_empty() {
            continue;
        }
        let mut rig = Rig::start(persistence, options).await?;
        for fault in these {
            let count = options.count.unwrap_or_else(|| fault.usual_count());
            let outcome = rig.trial(fault, count).await?;
            println!("{outcome}");
            for wrong in &outcome.wrong {
                println!("  {wrong}");
            }
            sum.add(outcome);
        }
        for wrong in rig.end().await {
            println!("  when all clients had left: {wrong}");
            sum.wrong.push(wrong);
        }
    }
    if with_storm {
        let (line, wrong) = storm::run(options).await?;
        println!("{line}");
        for wrong in &wrong {
            println!("  {wrong}");
        }
        sum.wrong.extend(wrong);
    }
    Ok(sum)
}
