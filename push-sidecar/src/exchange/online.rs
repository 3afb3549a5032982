//! Online marks and crowded channels: what follows from who has subscribed what.

use std::rc::Rc;
use std::time::Duration;

use push_link::ToWorker;
use push_protocol::ChannelKey;

use super::{Exchange, Peer, State};
use crate::crowd::Order;
use crate::store::Store;

/// What arrives within this time is told to the store together.
const GATHER: Duration = Duration::from_millis(5);

impl<S: Store + 'static> Exchange<S> {
    /// Keeps the store's online marks true, for ever.
    pub async fn keep_presence(self: Rc<Self>) {
        loop {
            let due = self.state.borrow().presence.due(self.now());
            let due = self.started + Duration::from_millis(due.min(u64::from(u32::MAX)));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => {}
                () = self.presence_changed.notified() => tokio::time::sleep(GATHER).await,
            }
            let marks = {
                let State { router, presence, .. } = &mut *self.state.borrow_mut();
                presence.poll(self.now(), || router.all_channels())
            };
            if !marks.clear.is_empty()
                && let Err(error) = self.store.clear_online(&marks.clear).await
            {
                // They end by themselves.
                tracing::debug!(%error, "online marks cannot be cleared");
            }
            if !marks.mark.is_empty()
                && let Err(error) = self.store.mark_online(&marks.mark).await
            {
                tracing::debug!(%error, "online marks cannot be set, trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                let State { router, presence, .. } = &mut *self.state.borrow_mut();
                presence.contradict(marks.mark.into_iter().filter(|key| router.is_subscribed(key)));
            }
        }
    }

    /// Marks were cleared by somebody; those of channels that are here are set again.
    pub(super) fn cleared(&self, channels: Vec<ChannelKey>) {
        let State { router, presence, .. } = &mut *self.state.borrow_mut();
        presence.contradict(channels.into_iter().filter(|key| router.is_subscribed(key)));
        self.presence_changed.notify_one();
    }

    /// `Stats`: online is what has a link here, or had one a moment ago, or has a mark in the store.
    pub async fn stats(&self, peer: Rc<Peer>, req: u32, channels: Vec<ChannelKey>) {
        let marks = self.store.online(&channels).await;
        let answer = match marks {
            Ok(mut online) => {
                let state = self.state.borrow();
                for (key, online) in channels.iter().zip(&mut online) {
                    *online |= state.router.is_subscribed(key) || state.presence.lingers(key);
                }
                ToWorker::StatsAnswer { req, ok: true, online }
            }
            Err(error) => {
                tracing::warn!(%error, "online marks cannot be read; push-sidecar health and push-sidecar check tell what is wrong with the store");
                ToWorker::StatsAnswer { req, ok: false, online: Vec::new() }
            }
        };
        peer.outbox.send(&answer);
    }

    /// A link has them no more; those that no other link has have gone.
    pub(super) fn went(&self, state: &mut State, channels: &[ChannelKey]) {
        let State { router, presence, .. } = state;
        for key in channels.iter().filter(|key| !router.is_subscribed(key)) {
            presence.went(*key, self.now());
        }
        self.presence_changed.notify_one();
    }

    /// `Connections`.
    pub fn connections(&self, peer: &Peer, channel: ChannelKey, count: u32, limit: u32) {
        let mut state = self.state.borrow_mut();
        let State { router, crowds, .. } = &mut *state;
        // Without a limit nothing follows from who else has the channel.
        let others = if limit > 0 { router.links_of(&channel) } else { &[] };
        let orders = crowds.report(peer.id, channel, count, limit, others);
        state.order(orders);
    }

    /// `OldestAnswer`.
    pub fn oldest_answer(&self, peer: &Peer, req: u32, opened: u64) {
        let mut state = self.state.borrow_mut();
        let order = state.crowds.answer(peer.id, req, opened);
        state.order(order);
    }
}

impl State {
    pub(super) fn order(&self, orders: impl IntoIterator<Item = Order>) {
        for (link, frame) in orders {
            if let Some(peer) = self.links.0.get(&link) {
                peer.outbox.send(&frame);
            }
        }
    }
}
