//! Store, router and links brought together: the one place where time, the announcement stream and
//! the links' requests meet.
//!
//! Every change of the router and everything put on links happens in one uninterrupted step, so the
//! order of frames on a link is the total order.

mod control;
mod observe;
mod online;
mod peer;
mod requests;
mod roll_call;
mod statistics;
mod trace;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::{ChannelKey, Mid};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use peer::Peer;
pub use statistics::Report;
pub use trace::Seen;

use crate::crowd::Crowds;
use crate::health::{Condition, Health};
use crate::passed::Passed;
use crate::presence::Presence;
use crate::router::{LinkId, Outlet, Router};
use crate::sequencer::{Gap, Millis};
use crate::store::{Announced, Events, Missed, Store, StoreEvent};
use peer::retry;

/// Announcements handled before links get their turn to write.
const EVENTS_PER_TURN: usize = 256;

/// Sizes and times.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeOptions {
    /// How long a gap in the ids is held before the store is asked about it.
    pub hold: Duration,
    /// Bytes that may wait for a link: to be written, and again as much kept back while it catches
    /// up.
    pub queue_bytes: usize,
    /// How long a channel stays online behind its last connection.
    pub online_grace: Duration,
    /// How often online marks are renewed.
    pub online_renew: Duration,
}

impl Default for ExchangeOptions {
    fn default() -> Self {
        Self {
            hold: Duration::from_millis(250),
            queue_bytes: 64 << 20,
            online_grace: Duration::from_secs(10),
            online_renew: Duration::from_secs(60),
        }
    }
}

/// See the module.
pub struct Exchange<S> {
    store: S,
    options: ExchangeOptions,
    state: RefCell<State>,
    started: Instant,
    /// The sequencer's deadline may have changed.
    poke: Notify,
    /// The stream became whole for the first time.
    ready: Notify,
    draining: Cell<bool>,
    publishing: Cell<usize>,
    published: Notify,
    presence_changed: Notify,
    statistics: RefCell<statistics::Statistics>,
    traces: RefCell<trace::Traces>,
    observed: RefCell<observe::Observed>,
    health: RefCell<Health>,
    /// Tell how parts do that are not the exchange's.
    others: RefCell<Vec<Box<dyn Fn() -> Condition>>>,
    /// How late the event loop was at worst, lately.
    lag: Cell<Duration>,
}

struct State {
    router: Router<oneshot::Sender<()>>,
    links: Links,
    presence: Presence,
    crowds: Crowds,
}

#[derive(Default)]
struct Links(BTreeMap<LinkId, Rc<Peer>>, Passed);

impl Outlet for Links {
    type Waiter = oneshot::Sender<()>;

    fn deliver(
        &mut self,
        link: LinkId,
        id: Mid,
        late: bool,
        receivers: &[ChannelKey],
        outgoing: &Bytes,
    ) {
        if let Some(peer) = self.0.get(&link) {
            peer.outbox.deliver(id, late, receivers, outgoing);
            self.1.note(id, link);
        }
    }

    fn reached(&mut self, waiter: Self::Waiter) {
        // Its link may be gone.
        let _ = waiter.send(());
    }

    fn overflow(&mut self, link: LinkId) {
        if let Some(peer) = self.0.get(&link) {
            peer.outbox.close("too much was kept back while catching up");
        }
    }
}

type Asked = Pin<Box<dyn Future<Output = (Gap, Vec<Announced>)>>>;

impl<S: Store + 'static> Exchange<S> {
    /// Nothing happens before [`Self::run`].
    pub fn new(store: S, options: ExchangeOptions) -> Rc<Self> {
        let ms = |time: Duration| time.as_millis() as Millis;
        Rc::new(Self {
            store,
            options,
            state: RefCell::new(State {
                router: Router::new(ms(options.hold), options.queue_bytes),
                links: Links::default(),
                presence: Presence::new(ms(options.online_grace), ms(options.online_renew), 0),
                crowds: Crowds::default(),
            }),
            started: Instant::now(),
            poke: Notify::new(),
            ready: Notify::new(),
            draining: Cell::new(false),
            publishing: Cell::new(0),
            published: Notify::new(),
            presence_changed: Notify::new(),
            statistics: RefCell::default(),
            traces: RefCell::default(),
            observed: RefCell::default(),
            health: RefCell::default(),
            others: RefCell::default(),
            lag: Cell::default(),
        })
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// How many links there are, and how many channels they have subscribed.
    pub fn size(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.links.0.len(), state.router.channels())
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }

    /// Passes the announcements on, until the stream's other end is gone.
    pub async fn run(self: Rc<Self>, mut events: Events) {
        let mut asked: Option<Asked> = None;
        loop {
            let deadline = self.state.borrow_mut().router.deadline();
            let due = deadline.map(|at| self.started + Duration::from_millis(at));
            tokio::select! {
                biased;
                answer = async { asked.as_mut().expect("guarded").as_mut().await }, if asked.is_some() => {
                    asked = None;
                    self.recovered(answer.0, answer.1);
                }
                event = events.recv() => {
                    let mut next = event;
                    for _ in 0..EVENTS_PER_TURN {
                        let Some(event) = next else {
                            if events.is_closed() { return }
                            break;
                        };
                        if let Some(gap) = self.event(event) {
                            asked = Some(Rc::clone(&self).ask(gap));
                        }
                        next = events.try_recv().ok();
                    }
                    if let Some(event) = next {
                        if let Some(gap) = self.event(event) {
                            asked = Some(Rc::clone(&self).ask(gap));
                        }
                        tokio::task::yield_now().await;
                    }
                }
                () = wait_until(due) => {}
                () = self.poke.notified() => {}
            }
            let gap = self.state.borrow_mut().router.poll(self.now());
            if let Some(gap) = gap {
                asked = Some(Rc::clone(&self).ask(gap));
            }
        }
    }

    fn event(&self, event: StoreEvent) -> Option<Gap> {
        if let StoreEvent::Cleared(channels) = event {
            self.cleared(channels);
            return None;
        }
        if let StoreEvent::Announced(message) = &event {
            self.count_traffic(message);
        }
        let mut state = self.state.borrow_mut();
        let State { router, links, .. } = &mut *state;
        let restored = matches!(event, StoreEvent::Restored { .. });
        let gap = router.event(self.now(), event, links);
        if restored {
            self.ready.notify_waiters();
        }
        gap
    }

    fn recovered(&self, gap: Gap, found: Vec<Announced>) {
        let mut state = self.state.borrow_mut();
        let State { router, links, .. } = &mut *state;
        router.recovered(gap, found, links);
    }

    fn ask(self: Rc<Self>, gap: Gap) -> Asked {
        Box::pin(async move {
            let channels = self.state.borrow().router.all_channels();
            let started = Instant::now();
            let read = || self.store.missed(channels.clone(), gap.after, Some(gap.upto));
            let Missed { messages: mut found, others, .. } = match retry(read).await {
                Ok(missed) => missed,
                Err(error) => {
                    tracing::error!(%error, "the store cannot tell what was missed; push-sidecar health and push-sidecar check tell what is wrong with the store");
                    Missed::default()
                }
            };
            tracing::info!(
                after = %gap.after, upto = %gap.upto, found = found.len(),
                ms = started.elapsed().as_millis() as u64, "closed a gap in the announcements"
            );
            // Nobody here wants those now. Whoever comes for them reads them from the store, so
            // they are no news any more when their announcements come.
            let nobody = |id| Announced { id, receivers: Vec::new(), outgoing: Bytes::new() };
            found.extend(others.into_iter().map(nobody));
            (gap, found)
        })
    }

    /// Waits until the announcement stream is whole for the first time.
    pub async fn ready(&self) {
        while self.state.borrow().router.position().is_none() {
            self.ready.notified().await;
        }
    }

    /// Takes no more publishes, finishes those under way and writes everything out; at most `limit`
    /// for each. Then the links are closed.
    pub async fn drain(&self, limit: Duration) {
        self.draining.set(true);
        let finished = async {
            while self.publishing.get() > 0 {
                self.published.notified().await;
            }
        };
        if tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!(left = self.publishing.get(), "publishes are left unfinished");
        }
        let peers: Vec<Rc<Peer>> = self.state.borrow().links.0.values().cloned().collect();
        let flushed = peers.iter().map(|peer| peer.outbox.flushed());
        let flushed = futures_util::future::join_all(flushed);
        if tokio::time::timeout(limit, flushed).await.is_err() {
            tracing::warn!("some links did not take everything");
        }
        for peer in peers {
            peer.outbox.close("shutting down");
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => pending().await,
    }
}
