//! What a seed decides before anything happens.

use std::time::Duration;

use crate::faults::Fault;
use crate::pipe::Quality;
use crate::rng::Rng;

/// Where messages are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// In the sidecar of the only host.
    Memory,
    /// In one Redis for all hosts.
    Redis,
}

/// A defect put into the simulated environment, to prove that the checks see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// A stored message is taken out of the store and never announced.
    Lose,
    /// A delivery reaches its client twice.
    Double,
    /// Two deliveries reach a client in the wrong order.
    Reorder,
    /// A publish that was not stored is answered 200.
    FalseYes,
    /// A publish that was stored is answered 503.
    FalseNo,
    /// A request is answered twice.
    AnswerTwice,
    /// A request is never answered.
    NeverAnswer,
    /// A stored message vanishes after it was delivered.
    Vanish,
    /// A message reaches a client that does not listen to its channel.
    Stranger,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Lose,
        Self::Double,
        Self::Reorder,
        Self::FalseYes,
        Self::FalseNo,
        Self::AnswerTwice,
        Self::NeverAnswer,
        Self::Vanish,
        Self::Stranger,
    ];
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where messages are kept.
    pub store: StoreKind,
    /// How many hosts there are: nginx with its sidecar.
    pub hosts: usize,
    /// Worker processes of each.
    pub workers: usize,
    /// Subscribers, all over the hosts.
    pub clients: usize,
    /// Private channels; half as many public ids.
    pub channels: usize,
    /// Requests to publish.
    pub publishes: usize,
    /// How long things go wrong.
    pub duration: Duration,
    /// The mean time between two faults; `None`: nothing goes wrong.
    pub fault_every: Option<Duration>,
    /// What may go wrong.
    pub faults: Vec<Fault>,
    /// Between clients and workers.
    pub client_net: Quality,
    /// Between workers and sidecars.
    pub link_net: Quality,
    /// Between sidecars and Redis.
    pub redis_net: Quality,
    /// Bytes that may wait for a subscriber.
    pub session_queue: usize,
    /// Bytes that may wait for a link.
    pub link_queue: usize,
    /// How many clients out of 1000 poll.
    pub polling_permille: u64,
    /// Bytes of padding in a message, at most.
    pub padding: u64,
}

impl Setup {
    /// Bytes that may wait for a session: live messages have the queue's limit, and history, which
    /// has its own (200 messages), may stand in front of them.
    pub fn session_queue_bound(&self) -> usize {
        self.session_queue + 200 * (self.padding as usize + 300)
    }

    /// What a seed decides. Of ten seeds two are calm, five have a fault now and then, three are
    /// hostile; a seed has some kinds of faults, not all.
    pub fn of(rng: &mut Rng) -> Self {
        let store = if rng.chance(200) { StoreKind::Memory } else { StoreKind::Redis };
        let hosts = if store == StoreKind::Memory { 1 } else { rng.range(1, 3) as usize };
        let fault_every = match rng.below(10) {
            0..2 => None,
            2..7 => Some(Duration::from_millis(rng.range(2000, 8000))),
            _ => Some(Duration::from_millis(rng.range(300, 1500))),
        };
        let all: Vec<Fault> = Fault::ALL
            .into_iter()
            .filter(|fault| store == StoreKind::Redis || !fault.needs_redis())
            .collect();
        let kinds = rng.range(1, all.len() as u64) as usize;
        let small = rng.chance(250);
        let net = |rng: &mut Rng, delay: u64, capacity: usize| Quality {
            capacity: if small { capacity / 16 } else { capacity },
            delay: rng.range(0, delay),
            slow_permille: *rng.pick(&[0, 0, 10, 100]),
        };
        Self {
            store,
            hosts,
            workers: rng.range(1, 3) as usize,
            clients: rng.range(2, 10) as usize,
            channels: rng.range(1, 5) as usize,
            publishes: rng.range(20, 60) as usize,
            duration: Duration::from_millis(rng.range(8_000, 40_000)),
            fault_every,
            faults: rng.some(&all, kinds),
            client_net: net(rng, 40, 65_536),
            link_net: net(rng, 2, 65_536),
            redis_net: net(rng, 5, 65_536),
            session_queue: if small { 4096 } else { 1 << 20 },
            link_queue: if small { 32_768 } else { 1 << 22 },
            polling_permille: *rng.pick(&[0, 200, 500]),
            padding: if small { 600 } else { 60 },
        }
    }
}
