//! What workers ask for, frame by frame.

use std::rc::Rc;

use push_link::{PublishItem, PublishStatus, ToWorker};
use push_protocol::{ChannelKey, Mid};
use tokio::sync::oneshot;

use super::peer::retry;
use super::{Exchange, Peer, State};
use crate::catch_up::CatchUp;
use crate::store::{Caps, Missed, Store, StoreError, Token};

/// Catch-up messages queued before others get their turn.
const CATCH_UP_PER_TURN: usize = 256;

impl<S: Store + 'static> Exchange<S> {
    /// A new link that has said hello; `instance` and `resume` as there. It has no part in the
    /// order before [`Self::welcome`].
    pub fn add_link(&self, instance: u64, resume: bool) -> Rc<Peer> {
        let id = self.state.borrow_mut().router.add_link(resume);
        Rc::new(Peer::new(id, instance, self.options.queue_bytes))
    }

    /// Tells the link which version is spoken and where the order stands; it takes part from here on.
    /// Needs [`Self::ready`].
    pub fn welcome(&self, peer: &Rc<Peer>, version: u16) {
        peer.version.set(version);
        let mut state = self.state.borrow_mut();
        peer.outbox.send(&ToWorker::Welcome {
            version,
            position: state.router.position().unwrap_or(Mid::ZERO),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        });
        state.links.0.insert(peer.id, Rc::clone(peer));
    }

    /// The link is gone.
    pub fn remove_link(&self, peer: &Peer) {
        peer.outbox.close("gone");
        let mut state = self.state.borrow_mut();
        let channels = state.router.channels_of(peer.id);
        state.router.remove_link(peer.id);
        state.links.0.remove(&peer.id);
        let orders = state.crowds.remove_link(peer.id);
        state.order(orders);
        self.went(&mut state, &channels);
        drop(state);
        self.forget_statistics(peer.id);
        self.unlinked(peer.id);
        self.forget_trace(peer.id);
    }

    /// `Subscribe`.
    pub fn subscribe(&self, peer: &Peer, seq: u32, channels: &[ChannelKey]) {
        let mut state = self.state.borrow_mut();
        let State { router, presence, .. } = &mut *state;
        for key in channels.iter().filter(|key| !router.is_subscribed(key)) {
            presence.came(*key);
        }
        router.subscribe(peer.id, channels);
        let position = router.position().unwrap_or(Mid::ZERO);
        peer.outbox.send(&ToWorker::Position { seq, position });
        self.presence_changed.notify_one();
    }

    /// `Unsubscribe`.
    pub fn unsubscribe(&self, peer: &Peer, channels: &[ChannelKey]) {
        let mut state = self.state.borrow_mut();
        state.router.unsubscribe(peer.id, channels);
        for key in channels {
            state.crowds.unsubscribe(peer.id, key);
        }
        self.went(&mut state, channels);
    }

    /// `Resume`: sends what the link missed, then lets it go live.
    pub async fn resume(&self, peer: Rc<Peer>, after: Mid) {
        if !self.state.borrow().router.is_held(peer.id) {
            tracing::warn!(link = peer.id, "Resume on a link that is live");
            return;
        }
        let channels = self.state.borrow().router.channels_of(peer.id);
        let missed = match retry(|| self.store.missed(channels.clone(), after, None)).await {
            Ok(missed) => missed,
            Err(error) => {
                tracing::error!(%error, "the store cannot tell what a link missed; push-sidecar health and push-sidecar check tell what is wrong with the store");
                Missed::default()
            }
        };
        self.passed(missed.as_of).await;
        let mut catch_up = CatchUp::new(after, missed);
        let mut sent = 0;
        loop {
            {
                let mut state = self.state.borrow_mut();
                catch_up.add_held(after, state.router.take_held(peer.id));
                let Some(message) = catch_up.pop() else {
                    state.router.go_live(peer.id);
                    let position = state.router.position().unwrap_or(Mid::ZERO);
                    peer.outbox.send(&ToWorker::Resumed { position });
                    peer.live.notify_waiters();
                    tracing::debug!(link = peer.id, sent, "link resumed");
                    return;
                };
                peer.outbox.deliver(
                    message.id,
                    message.late,
                    &message.receivers,
                    &message.outgoing,
                );
                sent += 1;
            }
            peer.outbox.room().await;
            if sent % CATCH_UP_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// `Recover`.
    pub async fn recover(&self, peer: Rc<Peer>, req: u32, after: Mid, channels: Vec<ChannelKey>) {
        self.live(&peer).await;
        if self.nothing_new(&peer, req, after, &channels) {
            return;
        }
        let Ok(_slot) = peer.reads.acquire().await else {
            return;
        };
        match retry(|| self.store.history(&channels, after, Caps::SUBSCRIBER)).await {
            Ok(history) => {
                self.passed(history.as_of).await;
                peer.outbox.room().await;
                for (id, outgoing) in &history.messages {
                    peer.outbox.recover_item(req, *id, outgoing);
                }
                // A store that was emptied meanwhile stands behind what this link has been sent, and a
                // `mid` is not impossible because the store has forgotten giving it out.
                let position = self.state.borrow().router.position().unwrap_or(Mid::ZERO);
                let as_of = history.as_of.max(position);
                peer.outbox.send(&ToWorker::RecoverEnd { req, ok: true, as_of });
            }
            Err(error) => {
                tracing::error!(%error, "a history cannot be read and its subscriber is closed with 4011; push-sidecar health and push-sidecar check tell what is wrong with the store");
                peer.outbox.send(&ToWorker::RecoverEnd { req, ok: false, as_of: Mid::ZERO });
            }
        }
    }

    /// Answers a `Recover` at once, if it is known that there is nothing to recover.
    fn nothing_new(&self, peer: &Peer, req: u32, after: Mid, channels: &[ChannelKey]) -> bool {
        let state = self.state.borrow();
        let known = state.router.is_nothing_new(channels, after);
        if known {
            let as_of = state.router.position().unwrap_or(Mid::ZERO);
            peer.outbox.send(&ToWorker::RecoverEnd { req, ok: true, as_of });
        }
        known
    }

    /// `Newest`.
    pub async fn newest(&self, peer: Rc<Peer>, req: u32, channels: Vec<ChannelKey>) {
        self.live(&peer).await;
        let Ok(_slot) = peer.reads.acquire().await else {
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
                tracing::warn!(%error, "the newest message cannot be read; push-sidecar health and push-sidecar check tell what is wrong with the store");
                None
            }
        };
        peer.outbox.send(&ToWorker::NewestAnswer { req, id });
    }

    /// `Publish`: goes on to its end even when the link is gone.
    pub fn publish(
        self: &Rc<Self>,
        peer: Rc<Peer>,
        seq: u64,
        counted: bool,
        mut messages: Vec<PublishItem>,
        at: u64,
    ) {
        let token = Token { instance: peer.instance, seq };
        if self.draining.get() {
            let status = PublishStatus::Unavailable;
            return peer.outbox.send(&ToWorker::PublishAck {
                seq,
                status,
                detail: "shutting down".into(),
            });
        }
        self.publishing.set(self.publishing.get() + 1);
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // Only the counters look at labels.
            let labels = messages.iter_mut().map(|m| std::mem::take(&mut m.label)).collect();
            let stored = this.store.publish(token, messages).await;
            // Not before: a worker sends what the store can't take again and again.
            if stored.is_ok() {
                this.count_publish(peer.id, counted, labels);
            }
            let (status, detail) = match stored {
                Ok(ids) => {
                    this.published(ids.first(), at);
                    (PublishStatus::Stored, String::new())
                }
                Err(StoreError::Unavailable(detail)) => (PublishStatus::Unavailable, detail),
                Err(StoreError::Unknown(detail)) => (PublishStatus::Unknown, detail),
                Err(StoreError::Refused(detail)) => {
                    tracing::error!(%detail, "the store refused a publish; push-sidecar health and push-sidecar check tell what is wrong with the store");
                    (PublishStatus::Refused, detail)
                }
            };
            peer.outbox.send(&ToWorker::PublishAck { seq, status, detail });
            this.publishing.set(this.publishing.get() - 1);
            this.published.notify_waiters();
        });
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
    async fn live(&self, peer: &Peer) {
        while self.state.borrow().router.is_held(peer.id) {
            peer.live.notified().await;
        }
    }
}
