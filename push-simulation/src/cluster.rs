//! All processes of a run.

use std::cell::RefCell;
use std::rc::Rc;

use push_protocol::signature::{Algorithm, Verifier};
use push_worker::Settings;

use crate::redis::Redis;
use crate::rng::Rng;
use crate::setup::StoreKind;
use crate::sidecar::Sidecar;
use crate::subscriber::Control;
use crate::worker::Worker;
use crate::world::World;

/// What channels are signed with.
const KEY: &[u8] = b"a key of the simulation, nothing else is signed with it";

/// A host: nginx's workers and their sidecar.
pub struct Node {
    /// The sidecar.
    pub sidecar: Rc<Sidecar>,
    /// Workers that take connections.
    pub workers: RefCell<Vec<Worker>>,
}

/// See the module.
pub struct Cluster {
    /// The run.
    pub world: Rc<World>,
    /// The hosts.
    pub nodes: Vec<Node>,
    /// What they share, if they do.
    pub redis: Option<Rc<Redis>>,
    /// The subscribers, to harm them.
    pub clients: RefCell<Vec<Rc<Control>>>,
    /// Workers that are leaving.
    pub leaving: RefCell<Vec<Worker>>,
    settings: Settings,
}

/// What verifies, and signs, in a simulation.
pub fn verifier() -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    verifier.add_key(KEY);
    verifier
}

impl Cluster {
    /// Starts everything but the clients.
    pub fn start(world: &Rc<World>) -> Rc<Self> {
        let redis =
            (world.setup.store == StoreKind::Redis).then(|| Redis::start(world, world.rng()));
        let nodes = (0..world.setup.hosts).map(|host| Node {
            sidecar: Sidecar::new(world, host, redis.clone()),
            workers: RefCell::default(),
        });
        let cluster = Rc::new(Self {
            world: Rc::clone(world),
            nodes: nodes.collect(),
            redis,
            clients: RefCell::default(),
            leaving: RefCell::default(),
            settings: Settings { verifier: Rc::new(verifier()), ..Settings::default() },
        });
        for node in &cluster.nodes {
            node.sidecar.start();
            (0..world.setup.workers).for_each(|_| cluster.start_worker(node));
        }
        cluster
    }

    /// One more worker on a host.
    pub fn start_worker(&self, node: &Node) {
        let worker = Worker::start(&self.world, &node.sidecar, &self.settings);
        node.workers.borrow_mut().push(worker);
    }

    /// A worker that a connection reaches; `None`: refused.
    pub fn any_worker(&self, rng: &mut Rng) -> Option<Worker> {
        let node = rng.pick(&self.nodes);
        let workers = node.workers.borrow();
        let running: Vec<&Worker> = workers.iter().filter(|worker| worker.is_running()).collect();
        if running.is_empty() { None } else { Some((*rng.pick(&running)).clone()) }
    }

    /// All workers that run, those that leave included.
    pub fn workers(&self) -> Vec<Worker> {
        let mut all: Vec<Worker> = self.leaving.borrow().clone();
        self.nodes.iter().for_each(|node| all.extend_from_slice(&node.workers.borrow()));
        all.retain(Worker::is_running);
        all
    }
}
