//! `push-simulation`: runs seeds and tells what became of them.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use push_simulation::report::Report;
use push_simulation::{Options, Outcome, logging, report, run};

/// Runs workers, sidecars, Redis and clients on a simulated network, and checks every promise.
///
/// A seed decides everything: what there is, what goes wrong and when. The same seed is the same
/// run, to the byte of its trace.
#[derive(Parser, Debug)]
#[command(name = "push-simulation", version)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "S", default_value_t = 1)]
    first: u64,
    /// Just this one.
    #[arg(long, value_name = "X", conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Print everything that happens, with the simulated time in front; best with --seed.
    #[arg(long)]
    trace: bool,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
    /// How many seeds run at a time [default: one a core].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let seeds = match cli.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => cli.first..cli.first.saturating_add(cli.seeds),
    };
    if cli.trace {
        logging::aloud();
    }
    let options = Options { aloud: cli.trace, sabotage: None };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if cli.trace { 1 } else { cli.jobs.unwrap_or(cores) };
    let complain = |outcome: &Outcome| {
        if !outcome.violations.is_empty() {
            eprint!("{}", report::failure(outcome));
        }
    };
    let report: Report = report::all(seeds, jobs, |seed| run(seed, options), complain);
    if cli.json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
