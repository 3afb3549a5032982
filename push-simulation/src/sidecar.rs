//! A sidecar: the daemon's own code on simulated streams, as a process that can be killed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use push_protocol::{ChannelKey, Mid};
use push_sidecar::exchange::{Exchange, ExchangeOptions};
use push_sidecar::link_server::run_link;
use push_sidecar::store::memory::MemoryStore;
use push_sidecar::store::redis::dialer::Dialer;
use push_sidecar::store::redis::{RedisOptions, RedisStore};
use push_sidecar::store::{Caps, Events, History, Missed, PublishItem, Store, StoreError, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::Instant;

use crate::pipe::{End, Wire};
use crate::redis::Redis;
use crate::world::World;

/// How long publishes and links get when it is asked to end.
const DRAIN: Duration = Duration::from_secs(2);
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// A process, as long as it runs.
struct Process {
    links: mpsc::UnboundedSender<End>,
    stop: Option<oneshot::Sender<()>>,
    task: AbortHandle,
}

/// The socket of a host's sidecar, and whoever listens there.
pub struct Sidecar {
    world: Rc<World>,
    redis: Option<Rc<Redis>>,
    host: usize,
    process: RefCell<Option<Process>>,
    wires: RefCell<Vec<Wire>>,
    started: Cell<Instant>,
    /// The memory store of the process that runs.
    memory: Rc<RefCell<Option<Watched>>>,
}

impl Sidecar {
    /// Nobody listens yet. Without Redis it keeps messages in memory.
    pub fn new(world: &Rc<World>, host: usize, redis: Option<Rc<Redis>>) -> Rc<Self> {
        Rc::new(Self {
            world: Rc::clone(world),
            redis,
            host,
            process: RefCell::default(),
            wires: RefCell::default(),
            started: Cell::new(Instant::now()),
            memory: Rc::default(),
        })
    }

    /// Starts a process, if none runs.
    pub fn start(&self) {
        if self.is_running() {
            return;
        }
        if self.process.take().is_some() {
            self.forgets();
        }
        self.started.set(Instant::now());
        self.world.note(format_args!("sidecar {} starts", self.host));
        let (links, accept) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let options = ExchangeOptions {
            queue_bytes: self.world.setup.link_queue,
            ..ExchangeOptions::default()
        };
        if let Some(redis) = &self.redis {
            redis.forget_host(self.host);
        }
        let (world, redis, host) = (Rc::clone(&self.world), self.redis.clone(), self.host);
        let memory = Rc::clone(&self.memory);
        // Everything it spawns ends with it, whenever that is.
        let tasks = LocalSet::new();
        let process = async move {
            let main = async move {
                if let Some(redis) = redis {
                    let dialer = Dialer::Streams(Rc::new(move || redis.open(host)));
                    let (store, events) = RedisStore::with_dialer(dialer, &RedisOptions::default());
                    serve(store, events, options, accept, stopped).await;
                } else {
                    let (store, events) = MemoryStore::new(1 << 26, 130);
                    let store = Watched { store: Rc::new(store), world };
                    *memory.borrow_mut() = Some(store.clone());
                    serve(store, events, options, accept, stopped).await;
                }
            };
            tasks.run_until(main).await;
        };
        let task = tokio::task::spawn_local(process).abort_handle();
        *self.process.borrow_mut() = Some(Process { links, stop: Some(stop), task });
    }

    /// Whether a process runs, or is just ending.
    pub fn is_running(&self) -> bool {
        self.process.borrow().as_ref().is_some_and(|process| !process.task.is_finished())
    }

    /// Whether it has run long enough to have seen which ids are given out.
    pub fn knows_ids(&self) -> bool {
        self.is_running() && self.started.get().elapsed() > Duration::from_secs(10)
    }

    /// `kill -9`
    pub fn kill(&self) {
        if let Some(process) = self.process.borrow_mut().take() {
            process.task.abort();
            self.forgets();
        }
    }

    /// `SIGTERM`: nobody new is let in, publishes are finished.
    pub fn stop(&self) {
        let mut process = self.process.borrow_mut();
        if let Some(stop) = process.as_mut().and_then(|process| process.stop.take()) {
            let _ = stop.send(());
        }
    }

    /// What was kept in memory is gone.
    pub fn forgets(&self) {
        if self.redis.is_none() {
            *self.memory.borrow_mut() = None;
            self.world.ledger.borrow_mut().lost_since(None);
        }
    }

    /// A worker's end of a new link; `None`: nobody listens.
    pub fn connect(&self) -> Option<End> {
        let process = self.process.borrow();
        let process = process.as_ref().filter(|process| process.stop.is_some())?;
        let (ours, theirs, wire) = self.world.connect(self.world.setup.link_net);
        process.links.send(ours).ok()?;
        let mut wires = self.wires.borrow_mut();
        wires.retain(|wire| !wire.is_gone());
        wires.push(wire);
        Some(theirs)
    }

    /// The links, to harm them.
    pub fn wires(&self) -> Vec<Wire> {
        self.wires.borrow().clone()
    }

    /// Whether a message is in the memory store.
    pub async fn holds(&self, id: Mid, receivers: &[ChannelKey]) -> bool {
        let Some(store) = self.memory.borrow().clone() else { return false };
        for key in receivers {
            let caps = Caps { per_channel: usize::MAX, total: usize::MAX };
            let history = store.store.history(&[*key], Mid::ZERO, caps).await.unwrap_or_default();
            if !history.messages.iter().any(|(stored, _)| *stored == id) {
                return false;
            }
        }
        true
    }
}

async fn serve<S: Store + 'static>(
    store: S,
    events: Events,
    options: ExchangeOptions,
    mut accept: mpsc::UnboundedReceiver<End>,
    mut stopped: oneshot::Receiver<()>,
) {
    let exchange = Exchange::new(store, options);
    tokio::task::spawn_local(Rc::clone(&exchange).run(events));
    tokio::task::spawn_local(Rc::clone(&exchange).keep_presence());
    tokio::task::spawn_local(Rc::clone(&exchange).keep_statistics());
    let house = Rc::clone(&exchange);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(HOUSEKEEPING).await;
            house.store().housekeeping();
        }
    });
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(End { reader, writer }) = accept.recv() => {
                tokio::task::spawn_local(run_link(reader, writer, Rc::clone(&exchange)));
            }
        }
    }
    drop(accept);
    exchange.drain(DRAIN).await;
}

/// A memory store that tells what it stores.
#[derive(Clone)]
pub struct Watched {
    store: Rc<MemoryStore>,
    world: Rc<World>,
}

impl Store for Watched {
    async fn publish(
        &self,
        token: Token,
        messages: Vec<PublishItem>,
    ) -> Result<Vec<Mid>, StoreError> {
        let rests: Vec<_> = messages.iter().map(|message| message.rest.clone()).collect();
        let before = self.store.last_id().await?;
        let ids = self.store.publish(token, messages).await?;
        for (id, rest) in ids.iter().zip(rests).filter(|(id, _)| **id > before) {
            let outgoing = push_protocol::outgoing::with_id(*id, &rest);
            self.world.ledger.borrow_mut().stored(&self.world, *id, &outgoing, false);
        }
        Ok(ids)
    }

    async fn history(
        &self,
        receivers: &[ChannelKey],
        after: Mid,
        caps: Caps,
    ) -> Result<History, StoreError> {
        self.store.history(receivers, after, caps).await
    }

    async fn missed(
        &self,
        receivers: Vec<ChannelKey>,
        after: Mid,
        upto: Option<Mid>,
    ) -> Result<Missed, StoreError> {
        self.store.missed(receivers, after, upto).await
    }

    async fn last_id(&self) -> Result<Mid, StoreError> {
        self.store.last_id().await
    }

    async fn mark_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.store.mark_online(channels).await
    }

    async fn clear_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.store.clear_online(channels).await
    }

    async fn online(&self, channels: &[ChannelKey]) -> Result<Vec<bool>, StoreError> {
        self.store.online(channels).await
    }

    fn housekeeping(&self) {
        self.store.housekeeping();
    }
}
