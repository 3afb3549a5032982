//! Everybody comes back at once, each with a `mid` that is a hundred messages old.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// A line that tells it, and what was wrong.
pub async fn run(options: &Options) -> io::Result<(String, Vec<String>)> {
    let clients = options.storm as usize;
    let host = tokio::task::block_in_place(|| rig::host(Persistence::Always))?;
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
    let started = Instant::now();
    fleet.order(Order::Stay { spread: 0 });
    let all = async {
        while !shared.ledger().settled(Promise::All) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let complete = tokio::time::timeout(Duration::from_secs(60), all).await.is_ok();
    let took = started.elapsed();
    let (figures, mut wrong) = shared.ledger().close(Promise::All);
    fleet.end().await;
    tokio::task::block_in_place(|| drop(host));
    if !complete || took > LIMIT {
        wrong.push(format!("{clients} clients took {took:.1?} to get {MISSED} messages each"));
    }
    let verdict = if wrong.is_empty() { "good" } else { "BAD" };
    let line = format!(
        "{verdict}: storm of {clients} clients, {MISSED} messages behind, complete after {took:.2?} \
         (at most {LIMIT:?}): {figures}"
    );
    Ok((line, wrong))
}
