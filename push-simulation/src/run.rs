//! One run: a seed from its beginning to the last check.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use push_sidecar::surroundings::Simulated;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, verifier};
use crate::faults::{harm, heal};
use crate::ledger::Figures;
use crate::logging;
use crate::publisher::{publish, publish_all};
use crate::rng::Rng;
use crate::setup::{Sabotage, Setup, StoreKind};
use crate::subscriber::Subscriber;
use crate::trace::Trace;
use crate::worker::Event;
use crate::world::World;

/// When runs begin, Unix time.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);
/// How long everything may take to set itself right: a dead connection is noticed after 40 s, and
/// a poll that hangs after 60 s.
const PATIENCE_S: u64 = 150;

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Of everything that happened, in order.
    pub hash: u64,
    /// Promises that were not kept.
    pub violations: Vec<String>,
    /// Faults by kind, and other things worth counting.
    pub counts: BTreeMap<&'static str, u64>,
    /// Messages.
    pub figures: Figures,
    /// Simulated milliseconds.
    pub ms: u64,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The trace goes to standard output.
    pub aloud: bool,
    /// A defect of the environment, for tests of the checks.
    pub sabotage: Option<Sabotage>,
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    let result = catch_unwind(AssertUnwindSafe(|| simulate(seed, options)));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        let violations = vec![format!("panicked: {text}")];
        Outcome { seed, violations, ..Outcome::default() }
    })
}

fn simulate(seed: u64, options: Options) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut setup = Setup::of(&mut rng);
    if options.sabotage.is_some() {
        setup.sabotaged();
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let tasks = LocalSet::new();
    let outcome = runtime.block_on(tasks.run_until(async move {
        let _simulated = Simulated::begin(rng.bits(), EPOCH);
        logging::begin();
        let trace = Trace::new(options.aloud);
        let world = Rc::new(World::new(setup, rng.fork(), trace, options.sabotage));
        world.note(format_args!("seed {seed}: {:?}", world.setup));
        let cluster = Cluster::start(&world);
        live(&cluster).await;
        settle(&cluster).await;
        part(&cluster).await;
        let mut figures = world.ledger.borrow().figures();
        let counts = world.counts();
        figures.doubled = counts.get("doubled").copied().unwrap_or(0);
        Outcome {
            seed,
            hash: world.trace().hash(),
            violations: world.violations(),
            counts,
            figures,
            ms: world.ms(),
        }
    }));
    // Before the runtime: tasks that end hold timers.
    drop(tasks);
    outcome
}

/// Traffic and trouble.
async fn live(cluster: &Rc<Cluster>) {
    let verifier = verifier();
    for _ in 0..cluster.world.setup.clients {
        tokio::task::spawn_local(Subscriber::new(cluster, &verifier).run());
    }
    let publishing = tokio::task::spawn_local(publish_all(Rc::clone(cluster)));
    harm(cluster).await;
    heal(cluster).await;
    let _ = publishing.await;
}

/// Everybody gets what was promised, and nobody more.
async fn settle(cluster: &Rc<Cluster>) {
    let world = &cluster.world;
    let mut rng = world.rng();
    sleep(Duration::from_secs(5)).await;
    // It works again: publishes do, too.
    (0..3).for_each(|_| publish(cluster, &mut rng));
    for _ in 0..PATIENCE_S {
        sleep(Duration::from_secs(1)).await;
        let ledger = world.ledger.borrow();
        if ledger.missing().is_empty() && ledger.unanswered().next().is_none() {
            break;
        }
    }
    // What comes twice comes later.
    sleep(Duration::from_secs(5)).await;
    for (client, n) in world.ledger.borrow().missing() {
        world.violation(format!("client {client} never got {n}"));
    }
    for request in world.ledger.borrow().unanswered() {
        world.violation(format!("request {request} was never answered"));
    }
    let kept = world.ledger.borrow().to_be_kept();
    for (n, id, receivers) in kept {
        let there = match &cluster.redis {
            Some(redis) => redis.holds(id, &receivers),
            None => cluster.nodes[0].sidecar.holds(id, &receivers).await,
        };
        if !there {
            world.violation(format!("message {n} was answered 200 and is not in the store"));
        }
    }
}

/// Everybody leaves, and nothing is left behind.
async fn part(cluster: &Rc<Cluster>) {
    let world = &cluster.world;
    cluster.clients.borrow().iter().for_each(|client| client.stop());
    // A peer that is silent is pinged after 15 s and cut after as much again.
    sleep(Duration::from_secs(45)).await;
    for worker in cluster.workers() {
        let (answer, answered) = oneshot::channel();
        worker.send(Event::Busy(answer));
        match answered.await {
            Ok(0) => {}
            Ok(count) => world.violation(format!(
                "{count} sessions and requests are left in worker {}",
                worker.name
            )),
            Err(_) => world.violation(format!("worker {} does not answer", worker.name)),
        }
    }
}

impl Setup {
    /// What a defect shows in: messages in Redis, WebSockets, and nothing that excuses.
    fn sabotaged(&mut self) {
        self.store = StoreKind::Redis;
        self.polling_permille = 0;
        self.clients = self.clients.max(4);
        self.fault_every = None;
    }
}
