//! Store, router and links brought together: the one place where time, the announcement stream and
//! the links' requests meet.
//!
//! Every change of the router and everything put on links happens in one uninterrupted step, so the
//! order of frames on a link is the total order.

mod online;
mod statistics;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_link::{PublishItem, PublishStatus, ToWorker};
use push_protocol::{ChannelKey, Mid};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::catch_up::CatchUp;
use crate::crowd::Crowds;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::random::Backoff;
use crate::router::{LinkId, Outlet, Router};
use crate::sequencer::{Gap, Millis};
use crate::store::{Announced, Caps, Events, Missed, Store, StoreError, StoreEvent, Token};

pub use statistics::Report;

/// Histories read at the same time; more wait.
const READS: usize = 64;
/// Announcements handled before links get their turn to write.
const EVENTS_PER_TURN: usize = 256;
/// Catch-up messages queued before others get their turn.
const CATCH_UP_PER_TURN: usize = 256;

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
    reads: Semaphore,
    draining: Cell<bool>,
    publishing: Cell<usize>,
    published: Notify,
    presence_changed: Notify,
    statistics: RefCell<statistics::Statistics>,
}

struct State {
    router: Router<oneshot::Sender<()>>,
    links: Links,
    presence: Presence,
    crowds: Crowds,
}

#[derive(Default)]
struct Links(HashMap<LinkId, Rc<Outbox>, RandomState>);

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
        if let Some(outbox) = self.0.get(&link) {
            outbox.deliver(id, late, receivers, outgoing);
        }
    }

    fn reached(&mut self, waiter: Self::Waiter) {
        // Its link may be gone.
        let _ = waiter.send(());
    }

    fn overflow(&mut self, link: LinkId) {
        if let Some(outbox) = self.0.get(&link) {
            outbox.close("too much was kept back while catching up");
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
            reads: Semaphore::new(READS),
            draining: Cell::new(false),
            publishing: Cell::new(0),
            published: Notify::new(),
            presence_changed: Notify::new(),
            statistics: RefCell::default(),
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
            let found = match retry(read).await {
                Ok(missed) => missed.messages,
                Err(error) => {
                    tracing::error!(%error, "the store cannot tell what was missed");
                    Vec::new()
                }
            };
            tracing::info!(
                after = %gap.after, upto = %gap.upto, found = found.len(),
                ms = started.elapsed().as_millis() as u64, "closed a gap in the announcements"
            );
            (gap, found)
        })
    }

    /// Waits until the announcement stream is whole for the first time.
    pub async fn ready(&self) {
        while self.state.borrow().router.position().is_none() {
            self.ready.notified().await;
        }
    }

    /// A new link that has said hello; `resume` as there. It has been welcomed then.
    pub fn add_link(&self, resume: bool) -> (LinkId, Rc<Outbox>) {
        let outbox = Rc::new(Outbox::new(self.options.queue_bytes));
        let mut state = self.state.borrow_mut();
        let link = state.router.add_link(resume);
        outbox.send(&ToWorker::Welcome {
            version: push_link::VERSION,
            position: state.router.position().unwrap_or(Mid::ZERO),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        });
        state.links.0.insert(link, Rc::clone(&outbox));
        (link, outbox)
    }

    /// The link is gone.
    pub fn remove_link(&self, link: LinkId) {
        let mut state = self.state.borrow_mut();
        let channels = state.router.channels_of(link);
        state.router.remove_link(link);
        state.links.0.remove(&link);
        let orders = state.crowds.remove_link(link);
        state.order(orders);
        self.went(&mut state, &channels);
        drop(state);
        self.forget_statistics(link);
    }

    /// `Subscribe`.
    pub fn subscribe(&self, link: LinkId, outbox: &Outbox, seq: u32, channels: &[ChannelKey]) {
        let mut state = self.state.borrow_mut();
        let State { router, presence, .. } = &mut *state;
        for key in channels.iter().filter(|key| !router.is_subscribed(key)) {
            presence.came(*key);
        }
        router.subscribe(link, channels);
        let position = router.position().unwrap_or(Mid::ZERO);
        outbox.send(&ToWorker::Position { seq, position });
        self.presence_changed.notify_one();
    }

    /// `Unsubscribe`.
    pub fn unsubscribe(&self, link: LinkId, channels: &[ChannelKey]) {
        let mut state = self.state.borrow_mut();
        state.router.unsubscribe(link, channels);
        for key in channels {
            state.crowds.unsubscribe(link, key);
        }
        self.went(&mut state, channels);
    }

    /// A link has them no more; those that no other link has have gone.
    fn went(&self, state: &mut State, channels: &[ChannelKey]) {
        let State { router, presence, .. } = state;
        for key in channels.iter().filter(|key| !router.is_subscribed(key)) {
            presence.went(*key, self.now());
        }
        self.presence_changed.notify_one();
    }

    /// `Resume`: sends what the link missed, then lets it go live.
    pub async fn resume(&self, link: LinkId, outbox: Rc<Outbox>, after: Mid) {
        let channels = self.state.borrow().router.channels_of(link);
        let missed = match retry(|| self.store.missed(channels.clone(), after, None)).await {
            Ok(missed) => missed,
            Err(error) => {
                tracing::error!(%error, "the store cannot tell what a link missed");
                Missed::default()
            }
        };
        self.passed(missed.as_of).await;
        let mut catch_up = CatchUp::new(after, missed);
        let mut sent = 0;
        loop {
            {
                let mut state = self.state.borrow_mut();
                catch_up.add_held(after, state.router.take_held(link));
                let Some(message) = catch_up.pop() else {
                    state.router.go_live(link);
                    let position = state.router.position().unwrap_or(Mid::ZERO);
                    outbox.send(&ToWorker::Resumed { position });
                    outbox.live.notify_waiters();
                    tracing::debug!(link, sent, "link resumed");
                    return;
                };
                outbox.deliver(message.id, message.late, &message.receivers, &message.outgoing);
                sent += 1;
            }
            outbox.room().await;
            if sent % CATCH_UP_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// `Recover`.
    pub async fn recover(
        &self,
        link: LinkId,
        outbox: Rc<Outbox>,
        req: u32,
        after: Mid,
        channels: Vec<ChannelKey>,
    ) {
        self.live(link, &outbox).await;
        let Ok(_slot) = self.reads.acquire().await else {
            return;
        };
        match retry(|| self.store.history(&channels, after, Caps::SUBSCRIBER)).await {
            Ok(history) => {
                self.passed(history.as_of).await;
                outbox.room().await;
                for (id, outgoing) in &history.messages {
                    outbox.recover_item(req, *id, outgoing);
                }
                outbox.send(&ToWorker::RecoverEnd { req, ok: true, as_of: history.as_of });
            }
            Err(error) => {
                tracing::error!(%error, "a history cannot be read");
                outbox.send(&ToWorker::RecoverEnd { req, ok: false, as_of: Mid::ZERO });
            }
        }
    }

    /// `Newest`.
    pub async fn newest(
        &self,
        link: LinkId,
        outbox: Rc<Outbox>,
        req: u32,
        channels: Vec<ChannelKey>,
    ) {
        self.live(link, &outbox).await;
        let Ok(_slot) = self.reads.acquire().await else {
            return;
        };
        let read = self.store.history(&channels, Mid::ZERO, Caps::NEWEST).await;
        let id = match read {
            Ok(history) => {
                // Whoever polls on from this id gets nothing twice, and has missed nothing.
                self.passed(history.as_of).await;
                history.messages.last().map(|(id, _)| *id)
            }
            Err(error) => {
                tracing::warn!(%error, "the newest message cannot be read");
                None
            }
        };
        outbox.send(&ToWorker::NewestAnswer { req, id });
    }

    /// `Publish`: goes on to its end even when the link is gone.
    pub fn publish(self: &Rc<Self>, outbox: Rc<Outbox>, token: Token, messages: Vec<PublishItem>) {
        let seq = token.seq;
        if self.draining.get() {
            let status = PublishStatus::Unavailable;
            return outbox.send(&ToWorker::PublishAck {
                seq,
                status,
                detail: "shutting down".into(),
            });
        }
        self.publishing.set(self.publishing.get() + 1);
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let stored = this.store.publish(token, messages).await;
            let (status, detail) = match stored {
                Ok(_) => (PublishStatus::Stored, String::new()),
                Err(StoreError::Unavailable(detail)) => (PublishStatus::Unavailable, detail),
                Err(StoreError::Refused(detail)) => {
                    tracing::error!(%detail, "the store refused a publish");
                    (PublishStatus::Refused, detail)
                }
            };
            outbox.send(&ToWorker::PublishAck { seq, status, detail });
            this.publishing.set(this.publishing.get() - 1);
            this.published.notify_waiters();
        });
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
        let outboxes: Vec<Rc<Outbox>> = self.state.borrow().links.0.values().cloned().collect();
        let flushed =
            futures_util::future::join_all(outboxes.iter().map(|outbox| outbox.flushed()));
        if tokio::time::timeout(limit, flushed).await.is_err() {
            tracing::warn!("some links did not take everything");
        }
        for outbox in outboxes {
            outbox.close("shutting down");
        }
    }

    /// Waits until everything up to `id` has been put on the links.
    async fn passed(&self, id: Mid) {
        let (reached, wait) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            let State { router, links, .. } = &mut *state;
            router.wait_for(self.now(), id, reached, links);
        }
        self.poke.notify_one();
        // The other end goes only with the exchange.
        let _ = wait.await;
    }

    /// Waits until the link is live.
    async fn live(&self, link: LinkId, outbox: &Outbox) {
        while self.state.borrow().router.is_held(link) {
            outbox.live.notified().await;
        }
    }
}

/// Asks the store until it answers, or says that it never will.
async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the store cannot be read, trying again");
                tokio::time::sleep(backoff.wait()).await;
            }
            answer => return answer,
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => pending().await,
    }
}
