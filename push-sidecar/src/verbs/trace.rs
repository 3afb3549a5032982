//! `push-sidecar trace`: where a message went.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::Daemon;
use crate::control::{self, Answer, Question};
use crate::surroundings::unix_ms;
use crate::trace::{Query, Trace};

/// How often is asked with `--follow`.
const EVERY: Duration = Duration::from_millis(500);
/// A delivery is told when nothing more is to come of it, milliseconds.
const SETTLED: u64 = 300;

/// Options of `trace`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub struct Options {
    /// A private id, a pair PRIVATE:PUBLIC, or public:ID; may be repeated.
    #[arg(long = "channel", value_name = "CHANNEL", group = "what")]
    channels: Vec<String>,
    /// A message id, 26 digits.
    #[arg(long, value_name = "MID", group = "what")]
    mid: Option<String>,
    /// Go on, and tell each message that comes for the channels with what becomes of it.
    #[arg(long, requires = "channels")]
    follow: bool,
    /// With --follow: end after so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "follow")]
    timeout: Option<u64>,
    #[command(flatten)]
    daemon: Daemon,
    /// An object of JSON a line.
    #[arg(long)]
    json: bool,
}

/// Asks and tells. Status 0: told; 1: nobody knows the message.
pub fn run(options: &Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let socket = options.daemon.clone().socket()?;
    let query = Query { channels: options.channels.clone(), mid: options.mid.clone() };
    let ask = || -> Result<Trace, Box<dyn std::error::Error>> {
        match control::ask(&socket, Question::Trace(query.clone()), control::PATIENCE)? {
            Answer::Trace(trace) => Ok(trace),
            other => Err(format!("answers something else: {other:?}").into()),
        }
    };
    let first = ask()?;
    let text = if options.json { serde_json::to_string(&first)? + "\n" } else { first.text() };
    std::io::stdout().write_all(text.as_bytes())?;
    if options.follow {
        follow(options, &first, ask)?;
        return Ok(ExitCode::SUCCESS);
    }
    let unknown = options.mid.is_some()
        && first.messages.iter().all(|message| !message.known && message.passed.is_none());
    Ok(ExitCode::from(u8::from(unknown)))
}

fn follow(
    options: &Options,
    first: &Trace,
    ask: impl Fn() -> Result<Trace, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let end = options.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let name = |pid: u32, mid: &str, at: u64| (pid, mid.to_owned(), at);
    let mut told: BTreeSet<(u32, String, u64)> = BTreeSet::new();
    for worker in &first.workers {
        told.extend(worker.deliveries.iter().map(|one| name(worker.pid, &one.mid, one.at)));
    }
    while end.is_none_or(|end| Instant::now() < end) {
        thread::sleep(EVERY);
        let trace = ask()?;
        let now = unix_ms();
        let mut out = std::io::stdout().lock();
        let mut current = BTreeSet::new();
        for worker in &trace.workers {
            for delivery in &worker.deliveries {
                let name = name(worker.pid, &delivery.mid, delivery.at);
                if !told.contains(&name) {
                    if delivery.at + SETTLED > now {
                        continue;
                    }
                    if options.json {
                        let mut object = serde_json::to_value(delivery)?;
                        object["worker"] = worker.pid.into();
                        writeln!(out, "{object}")?;
                    } else {
                        writeln!(out, "worker {}: {}", worker.pid, delivery.told())?;
                    }
                }
                current.insert(name);
            }
        }
        out.flush()?;
        // What workers have forgotten need not be remembered here.
        told = current;
    }
    Ok(())
}
