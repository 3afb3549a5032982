//! What goes wrong, and when.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Node};
use crate::rng::Rng;
use crate::worker::Event;

/// nginx's patience with a worker that leaves (`worker_shutdown_timeout`).
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Declares the kinds of faults with the names they are counted by.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// One kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$fault),*];

            /// What it is counted as.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)*
                }
            }
        }
    };
}

faults! {
    /// A client's connection is reset; what was on its way is lost.
    ClientReset = "client reset",
    /// A client's connection goes dead, and nobody is told.
    ClientDead = "client dead",
    /// A client hangs up and comes back later.
    ClientAway = "client away",
    /// Nothing arrives at a client for a while.
    ClientStall = "client stalled",
    /// `kill -9` of a worker; nginx starts another.
    WorkerKill = "worker killed",
    /// `nginx -s reload` on a host.
    Reload = "nginx reloaded",
    /// `kill -9` of a sidecar, which is started again.
    SidecarKill = "sidecar killed",
    /// A sidecar is restarted in order.
    SidecarRestart = "sidecar restarted",
    /// Nothing passes the links of a host for a while.
    LinkStall = "links stalled",
    /// The links of a host break.
    LinkReset = "links reset",
    /// Redis ends and comes back with what it had.
    RedisCrash = "redis restarted",
    /// Redis ends and comes back empty.
    RedisLoss = "redis restarted empty",
    /// Redis ends and comes back with an older state.
    RedisBack = "redis restarted older",
    /// `FLUSHALL`
    FlushAll = "FLUSHALL",
    /// `SCRIPT FLUSH`
    ScriptFlush = "SCRIPT FLUSH",
    /// Redis answers READONLY for a while.
    ReadOnly = "READONLY",
    /// Redis answers LOADING for a while.
    Loading = "LOADING",
    /// `CLIENT PAUSE`
    Pause = "CLIENT PAUSE",
    /// Redis refuses new connections for a while.
    Refuse = "redis refuses dials",
    /// `CLIENT KILL TYPE pubsub`
    KillSubscriptions = "subscriptions killed",
    /// Subscriptions stay open, and nothing comes over them.
    MuteSubscriptions = "subscriptions muted",
    /// For a while subscribers miss some announcements.
    DropAnnouncements = "announcements dropped",
    /// The connections to Redis break.
    RedisReset = "redis connections reset",
    /// Nothing passes the connections to Redis for a while.
    RedisStall = "redis connections stalled",
}

impl Fault {
    /// Whether it is one of Redis.
    pub fn needs_redis(self) -> bool {
        !matches!(
            self,
            Self::ClientReset
                | Self::ClientDead
                | Self::ClientAway
                | Self::ClientStall
                | Self::WorkerKill
                | Self::Reload
                | Self::SidecarKill
                | Self::SidecarRestart
                | Self::LinkStall
                | Self::LinkReset
        )
    }
}

/// Makes things go wrong until the run's time is over.
pub async fn harm(cluster: &Rc<Cluster>) {
    let world = Rc::clone(&cluster.world);
    let end = Instant::now() + world.setup.duration;
    let Some(every) = world.setup.fault_every else {
        return sleep(world.setup.duration).await;
    };
    let mut rng = world.rng();
    loop {
        let wait = Duration::from_millis(rng.range(1, every.as_millis() as u64 * 2));
        if Instant::now() + wait >= end {
            tokio::time::sleep_until(end).await;
            return;
        }
        sleep(wait).await;
        if rng.chance(300)
            && let Some(redis) = &cluster.redis
        {
            redis.save();
        }
        let fault = *rng.pick(&world.setup.faults);
        if inflict(cluster, fault, &mut rng) {
            world.note(format_args!("fault: {}", fault.name()));
            world.count(fault.name());
        }
    }
}

/// False: not now.
fn inflict(cluster: &Rc<Cluster>, fault: Fault, rng: &mut Rng) -> bool {
    let while_ = |rng: &mut Rng, most: u64| Duration::from_millis(rng.range(10, most));
    match fault {
        Fault::ClientReset | Fault::ClientDead | Fault::ClientStall => {
            let clients = cluster.clients.borrow();
            let Some(wire) = rng.pick(&clients).wire() else { return false };
            match fault {
                Fault::ClientReset => wire.reset(),
                Fault::ClientDead => wire.swallow(),
                _ => wire.hold(while_(rng, 10_000)),
            }
        }
        Fault::ClientAway => rng.pick(&cluster.clients.borrow()).go_away(while_(rng, 20_000)),
        Fault::WorkerKill => {
            let node = any_node(cluster, rng);
            let mut workers = node.workers.borrow_mut();
            if workers.is_empty() {
                return false;
            }
            let which = rng.below(workers.len() as u64) as usize;
            let worker = workers.swap_remove(which);
            cluster.world.note(format_args!("worker {} is killed", worker.name));
            worker.kill();
            drop(workers);
            cluster.start_worker(node);
        }
        Fault::Reload => {
            let node = any_node(cluster, rng);
            reload(cluster, node);
        }
        Fault::SidecarKill | Fault::SidecarRestart => {
            if cluster.redis.as_ref().is_some_and(|redis| !redis.is_witnessed()) {
                // Who knows the ids of before must live to tell them.
                return false;
            }
            let host = rng.below(cluster.nodes.len() as u64) as usize;
            if !cluster.nodes[host].sidecar.is_running() {
                return false;
            }
            restart(cluster, host, fault == Fault::SidecarKill, while_(rng, 5000));
        }
        Fault::LinkStall => {
            let time = while_(rng, 20_000);
            any_node(cluster, rng).sidecar.wires().iter().for_each(|wire| wire.hold(time));
        }
        Fault::LinkReset => {
            any_node(cluster, rng).sidecar.wires().iter().for_each(crate::pipe::Wire::reset);
        }
        _ => return harm_redis(cluster, fault, rng),
    }
    true
}

fn harm_redis(cluster: &Rc<Cluster>, fault: Fault, rng: &mut Rng) -> bool {
    let Some(redis) = &cluster.redis else { return false };
    let loses = matches!(fault, Fault::RedisLoss | Fault::RedisBack | Fault::FlushAll);
    if loses && !redis.is_known() {
        return false;
    }
    let time = Duration::from_millis(rng.range(10, 6000));
    let loading = Duration::from_millis(rng.below(1000));
    match fault {
        Fault::RedisCrash => redis.crash(time, loading),
        Fault::RedisLoss => {
            redis.crash(time, loading);
            redis.clear();
        }
        Fault::RedisBack => {
            // Several sidecars, or one that has just started, may not know how far the ids were.
            if cluster.nodes.len() > 1 || !cluster.nodes[0].sidecar.knows_ids() {
                return false;
            }
            redis.crash(time, loading);
            redis.go_back();
        }
        Fault::FlushAll => redis.clear(),
        Fault::ScriptFlush => redis.flush_scripts(),
        Fault::ReadOnly => redis.turn_read_only(time),
        Fault::Loading => redis.load(time),
        Fault::Pause => redis.pause(time),
        Fault::Refuse => redis.refuse(time),
        Fault::KillSubscriptions => redis.kill_subscriptions(),
        Fault::MuteSubscriptions => redis.mute_subscriptions(),
        Fault::DropAnnouncements => {
            redis.drop_announcements(*rng.pick(&[100, 500, 1000]));
            let redis = Rc::clone(redis);
            tokio::task::spawn_local(async move {
                sleep(time).await;
                redis.drop_announcements(0);
            });
        }
        Fault::RedisReset => redis.reset_connections(),
        Fault::RedisStall => redis.hold_connections(time * 2),
        _ => return false,
    }
    true
}

fn any_node<'a>(cluster: &'a Cluster, rng: &mut Rng) -> &'a Node {
    rng.pick(&cluster.nodes)
}

fn reload(cluster: &Rc<Cluster>, node: &Node) {
    let old = std::mem::take(&mut *node.workers.borrow_mut());
    (0..cluster.world.setup.workers).for_each(|_| cluster.start_worker(node));
    for worker in &old {
        worker.send(Event::Leave);
    }
    cluster.leaving.borrow_mut().extend(old.iter().cloned());
    tokio::task::spawn_local(async move {
        sleep(SHUTDOWN).await;
        old.iter().for_each(crate::worker::Worker::kill);
    });
}

fn restart(cluster: &Rc<Cluster>, host: usize, kill: bool, away: Duration) {
    let cluster = Rc::clone(cluster);
    tokio::task::spawn_local(async move {
        let sidecar = &cluster.nodes[host].sidecar;
        if kill {
            sidecar.kill();
        } else {
            sidecar.stop();
            while sidecar.is_running() {
                sleep(Duration::from_millis(20)).await;
            }
        }
        sleep(away).await;
        sidecar.start();
    });
}

/// Ends all trouble: from here on everything works, and is to set itself right.
pub async fn heal(cluster: &Rc<Cluster>) {
    cluster.world.note(format_args!("all trouble ends"));
    if let Some(redis) = &cluster.redis {
        redis.heal();
    }
    for client in cluster.clients.borrow().iter() {
        client.come_back();
        client.wire().iter().for_each(crate::pipe::Wire::release);
    }
    for node in &cluster.nodes {
        node.sidecar.wires().iter().for_each(crate::pipe::Wire::release);
        while !node.sidecar.is_running() {
            // Whoever took it down brings it back.
            sleep(Duration::from_millis(100)).await;
        }
    }
}
