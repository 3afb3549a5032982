//! What is run. Each scenario takes a [`Bench`] and gives a [`Report`].

mod connect;
mod load;
mod publish;
mod reconnect;
mod tally;
mod traffic;

use std::hash::{BuildHasher, RandomState};

use clap::Args;

use crate::engine::{Engine, SECOND, Setup};
use crate::error::{Error, Result};
use crate::fleet::Mode;
use crate::net::timer::Clock;
use crate::options::{Command, Common, Scenario};
use crate::population::Population;
use crate::processes::{By, Cpu, Processes, Usage};
use crate::publishers::Bodies;
use crate::report::Report;
use crate::target::Target;

/// Where and under which circumstances a scenario is run.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The server.
    pub target: Target,
    /// Its processes.
    pub processes: Processes,
    /// What all scenarios have.
    pub common: Common,
    /// The program's clock.
    pub clock: Clock,
    /// Chooses channels and receivers.
    pub seed: u64,
    /// Tells this run's messages from others' on the same channels.
    pub run: u32,
    /// When to give up, by the clock.
    pub deadline: u64,
}

impl Bench {
    /// An engine whose channels are the seed's, or another set of them.
    fn engine(&self, mode: Mode, subscribers: usize, set: u64) -> Result<Engine> {
        let setup = Setup {
            mode,
            population: Population::new(self.seed.wrapping_add(set << 32)),
            subscribers,
            publishers: self.common.publishers,
            bodies: Bodies { run: self.run, len: self.common.body, expiry: self.common.expiry },
        };
        Engine::new(&self.target, setup, self.clock)
    }

    fn report(&self, scenario: &'static str, what: String) -> Report {
        Report::new(scenario, &self.target.name, self.seed, what)
    }

    fn usage(&self) -> By<Usage> {
        self.processes.usage()
    }

    fn cpu_since(&self, before: &By<Usage>) -> By<Cpu> {
        self.processes.cpu_since(before)
    }

    fn check_time(&self) -> Result<()> {
        if self.clock.now() < self.deadline {
            return Ok(());
        }
        Err(Error::Server(format!(
            "not done within {} seconds (--time-limit)",
            self.common.time_limit
        )))
    }
}

/// Runs a scenario on its target, and on the one to compare with if there is one. Prints the table
/// and writes the JSON. Returns whether all verdicts are good.
pub fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Idle(all) => each(all, |bench| connect::idle(bench, &all.own)),
        Command::Handshake(all) => each(all, |bench| connect::handshake(bench, &all.own)),
        Command::Fanout(all) => each(all, |bench| load::fanout(bench, &all.own)),
        Command::Unicast(all) => each(all, |bench| load::unicast(bench, &all.own, Mode::WebSocket)),
        Command::Longpoll(all) => each(all, |bench| load::unicast(bench, &all.own, Mode::Poll)),
        Command::Mixed(all) => each(all, |bench| load::mixed(bench, &all.own)),
        Command::Publish(all) => each(all, |bench| publish::publish(bench, &all.own)),
        Command::Reconnect(all) => each(all, |bench| reconnect::reconnect(bench, &all.own)),
        Command::Floor(own) => crate::floor::serve(own).map(|()| true),
        Command::Suite(own) => crate::suite::run(own),
        Command::Instructions(own) => crate::instructions::run(own),
        Command::Path { name, count } => crate::paths::run(name, *count).map(|()| true),
    }
}

fn each<T: Args>(all: &Scenario<T>, scenario: impl Fn(&Bench) -> Result<Report>) -> Result<bool> {
    let common = &all.common;
    let mut targets = vec![all.target.clone()];
    if let Some(words) = &common.vs {
        let words: Vec<_> = words.split_whitespace().collect();
        targets.push(crate::options::TargetOptions::from_words(&words)?);
    }
    let clock = Clock::start();
    let seed = common.seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    let mut reports = Vec::new();
    for options in &targets {
        let bench = Bench {
            target: Target::new(options)?,
            processes: Processes::find(options)?,
            common: common.clone(),
            clock,
            seed,
            run: std::process::id(),
            deadline: clock.now() + common.time_limit * SECOND,
        };
        reports.push(scenario(&bench)?);
    }
    print!("{}", reports[0].table(reports.get(1)));
    if let Some(file) = &common.json {
        let text = serde_json::to_string_pretty(&reports).expect("reports are plain data");
        std::fs::write(file, text + "\n").map_err(Error::io(file.display().to_string()))?;
    }
    Ok(reports.iter().all(|report| report.verdict.is_good()))
}
