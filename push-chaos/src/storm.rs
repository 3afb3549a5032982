//! Everybody comes back at once, each with a `mid` that is a hundred messages old.

use std::ops::Sub;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use push_tests::Host;
use push_tests::redis::Persistence;

use crate::fleet::{Fleet, Order, Shared};
use crate::ledger::{Answer, Promise};
use crate::options::Options;
use crate::population::{Population, To};
use crate::publishers::Publishing;
use crate::random::Random;
use crate::rig;

/// Messages that each client has missed.
const MISSED: usize = 100;
/// How long they may take until each has them all.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Seconds of CPU, by who spent them.
#[derive(Clone, Copy)]
struct Spent {
    workers: f64,
    sidecar: f64,
    redis: f64,
    clients: f64,
}

impl Spent {
    fn by(host: &mut Host) -> Self {
        Self {
            workers: host.nginx.workers().into_iter().map(seconds).sum(),
            sidecar: seconds(host.sidecar.process().pid()),
            redis: host.redis.as_ref().map_or(0.0, |redis| seconds(redis.pid())),
            clients: seconds(std::process::id()),
        }
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            workers: self.workers - before.workers,
            sidecar: self.sidecar - before.sidecar,
            redis: self.redis - before.redis,
            clients: self.clients - before.clients,
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, sidecar, redis, clients } = self;
        write!(
            f,
            "CPU: workers {workers:.1} s, sidecar {sidecar:.1} s, Redis {redis:.1} s, clients {clients:.1} s"
        )
    }
}

/// What a process has spent, from `/proc/PID/stat`, in ticks of 10 ms as Linux has them.
fn seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may contain anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// A line that tells it, and what was wrong.
pub async fn run(options: &Options) -> io::Result<(String, Vec<String>)> {
    let clients = options.storm as usize;
    let mut host = tokio::task::block_in_place(|| rig::host(Persistence::Always))?;
    let mut random = Random(options.seed);
    let population = Arc::new(Population::new(&host.key, clients));
    let shared = Shared::new(clients);
    let mid = rig::first_mid(&host).await?;
    let fleet = Fleet::launch(&population, &host.public(), &shared, &mid, &mut random);
    if !fleet.complete(Duration::from_secs(60)).await {
        return Err(io::Error::other("the clients of the storm cannot connect"));
    }
    fleet.order(Order::Leave);
    let publishing = Publishing::new(host.internal(), &population, &shared);
    for _ in 0..MISSED {
        if publishing.text(To::All, false).await != Answer::Stored {
            return Err(io::Error::other("publishing fails without any fault"));
        }
    }
    let spent = Spent::by(&mut host);
    let started = Instant::now();
    fleet.order(Order::Stay { spread: 0 });
    let all = async {
        while !shared.ledger().settled(Promise::All) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let complete = tokio::time::timeout(Duration::from_secs(60), all).await.is_ok();
    let took = started.elapsed();
    let spent = Spent::by(&mut host) - spent;
    let (figures, mut wrong) = shared.ledger().close(Promise::All);
    fleet.end().await;
    tokio::task::block_in_place(|| drop(host));
    if !complete || took > LIMIT {
        wrong.push(format!("{clients} clients took {took:.1?} to get {MISSED} messages each"));
    }
    let verdict = if wrong.is_empty() { "good" } else { "BAD" };
    let line = format!(
        "{verdict}: storm of {clients} clients, {MISSED} messages behind, complete after {took:.2?} \
         (at most {LIMIT:?}; {spent}): {figures}"
    );
    Ok((line, wrong))
}
