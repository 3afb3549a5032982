//! A site's backend: requests to publish, and what becomes of them.

use std::rc::Rc;
use std::time::Duration;

use push_protocol::ChannelKey;
use push_protocol::outgoing::{Sender, encode_rest};
use push_protocol::request::{Publication, Receiver};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::ledger::body;
use crate::rng::Rng;
use crate::worker::Event;

/// How long a request may take: the worker gives up after 5 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the run's requests, spread over its time.
pub async fn publish_all(cluster: Rc<Cluster>) {
    let world = Rc::clone(&cluster.world);
    let mut rng = world.rng();
    let setup = &world.setup;
    let mean = setup.duration.as_millis() as u64 / setup.publishes as u64;
    for _ in 0..setup.publishes {
        // Often several at once.
        if !rng.chance(300) {
            sleep(Duration::from_millis(rng.range(0, mean * 2))).await;
        }
        publish(&cluster, &mut rng);
    }
}

/// Makes one request.
pub fn publish(cluster: &Rc<Cluster>, rng: &mut Rng) {
    let Some(worker) = cluster.any_worker(rng) else { return };
    let world = Rc::clone(&cluster.world);
    let request = world.name();
    let count = if rng.chance(150) { 3 } else { 1 };
    let messages = (0..count).map(|_| message(cluster, rng, request)).collect();
    let hangs_up = rng.chance(30);
    tokio::task::spawn_local(async move {
        world.pause(world.setup.client_net.delay).await;
        let (answer, answered) = oneshot::channel();
        worker.send(Event::Publish(request, messages, answer));
        if hangs_up {
            world.pause(20).await;
            world.ledger.borrow_mut().hung_up(&world, request);
            return worker.send(Event::HungUp(request));
        }
        match timeout(PATIENCE, answered).await {
            // The worker has noted what it answered.
            Ok(Ok(_)) => {}
            Ok(Err(_)) if worker.is_running() => {
                world.violation(format!("request {request} was dropped without an answer"));
            }
            Ok(Err(_)) => world.ledger.borrow_mut().hung_up(&world, request),
            Err(_) => world.violation(format!("request {request} had no answer in 10 s")),
        }
    });
}

fn message(cluster: &Rc<Cluster>, rng: &mut Rng, request: usize) -> Publication {
    let world = &cluster.world;
    let private = 1..=world.setup.channels as u8;
    let all: Vec<ChannelKey> = private
        .flat_map(|n| [ChannelKey::private([n; 16]), ChannelKey::public([n + 100; 16])])
        .collect();
    let count = rng.range(1, 3) as usize;
    let keys = rng.some(&all, count);
    let expiry = match rng.below(20) {
        0..3 => 0,
        3..6 => rng.range(3, 20) as u32,
        _ => 3600,
    };
    let n = world.ledger.borrow_mut().asked(request, keys.clone(), expiry);
    let padding = rng.range(0, world.setup.padding) as usize;
    let created = (world.unix_ms() / 1000) as u32;
    let rest = encode_rest(&body(n, padding), expiry, created, Sender::Backend);
    world.note(format_args!("request {request}: {n} to {} channels, for {expiry} s", keys.len()));
    let receivers = keys.into_iter().map(|key| Receiver { key, signature: Vec::new() }).collect();
    Publication { receivers, expiry, rest, label: "simulation".to_owned() }
}
