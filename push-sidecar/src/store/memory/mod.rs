//! The store that needs nothing installed: everything in this process, gone with it.

pub mod queues;

use std::cell::{Cell, RefCell};

use push_protocol::{ChannelKey, Mid};
use tokio::sync::mpsc;

use crate::health::Condition;

use super::{
    Caps, Events, Found, History, Missed, PublishItem, Store, StoreError, StoreEvent, Token,
};
use crate::surroundings::{unix_ms, unix_time};
use queues::{Queues, UnixMillis};

/// Where the time comes from; tests bring their own.
pub type Clock = Box<dyn Fn() -> UnixMillis>;

/// [`Queues`] with a clock and an announcement stream that never breaks.
pub struct MemoryStore {
    queues: RefCell<Queues>,
    events: mpsc::UnboundedSender<StoreEvent>,
    clock: Clock,
    online_ms: u64,
    /// How many of the dropped messages the log has told of.
    told: Cell<u64>,
}

impl MemoryStore {
    /// An empty store on the system's clock. `max_bytes`: what all messages together may cost;
    /// `online_seconds`: how long an online mark lives.
    pub fn new(max_bytes: usize, online_seconds: u64) -> (Self, Events) {
        let micros = unix_time().as_micros() as u64;
        let clock = Box::new(unix_ms);
        Self::with_clock(Queues::new(micros, max_bytes), online_seconds, clock)
    }

    /// The same on any clock.
    pub fn with_clock(queues: Queues, online_seconds: u64, clock: Clock) -> (Self, Events) {
        let (events, receiver) = mpsc::unbounded_channel();
        // The stream is whole from the start.
        let _ = events.send(StoreEvent::Restored { position: queues.last_id() });
        let online_ms = online_seconds * 1000;
        let queues = RefCell::new(queues);
        (Self { queues, events, clock, online_ms, told: Cell::new(0) }, receiver)
    }
}

impl Store for MemoryStore {
    async fn publish(
        &self,
        token: Token,
        messages: Vec<PublishItem>,
    ) -> Result<Vec<Mid>, StoreError> {
        let now = (self.clock)();
        Ok(self.queues.borrow_mut().publish(now, token, &messages, |announced| {
            // Nobody listens any more only while the daemon ends.
            let _ = self.events.send(StoreEvent::Announced(announced));
        }))
    }

    async fn history(
        &self,
        receivers: &[ChannelKey],
        after: Mid,
        caps: Caps,
    ) -> Result<History, StoreError> {
        Ok(self.queues.borrow().history((self.clock)(), receivers, after, caps))
    }

    async fn missed(
        &self,
        receivers: Vec<ChannelKey>,
        after: Mid,
        upto: Option<Mid>,
    ) -> Result<Missed, StoreError> {
        Ok(self.queues.borrow().missed((self.clock)(), &receivers, after, upto))
    }

    async fn find(&self, id: Mid) -> Result<Option<Found>, StoreError> {
        Ok(self.queues.borrow().find((self.clock)(), id))
    }

    async fn last_id(&self) -> Result<Mid, StoreError> {
        Ok(self.queues.borrow().last_id())
    }

    async fn mark_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        let until = (self.clock)() + self.online_ms;
        self.queues.borrow_mut().mark_online(until, channels);
        Ok(())
    }

    async fn clear_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.queues.borrow_mut().clear_online(channels);
        Ok(())
    }

    async fn online(&self, channels: &[ChannelKey]) -> Result<Vec<bool>, StoreError> {
        Ok(self.queues.borrow().online((self.clock)(), channels))
    }

    fn conditions(&self) -> Vec<Condition> {
        vec![Condition::works("memory store", "messages are kept until the sidecar ends")]
    }

    fn bytes(&self) -> usize {
        self.queues.borrow().bytes()
    }

    fn dropped(&self) -> u64 {
        self.queues.borrow().dropped()
    }

    fn housekeeping(&self) {
        let now = (self.clock)();
        let mut queues = self.queues.borrow_mut();
        queues.expire(now);
        queues.expire_online(now);
        let dropped = queues.dropped() - self.told.replace(queues.dropped());
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "the memory store is full: the oldest messages went before their time; raise memory.max_bytes, or use Redis"
            );
        }
    }
}
