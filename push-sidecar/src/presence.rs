//! Which channels are online (PROTOCOL.md, section 12). Pure: time is passed in, and what is to be
//! marked and cleared in the store is answered.
//!
//! A channel is online while a link has it, and for a grace time after, so that a page change does
//! not flap. Marks in the store tell other hosts and the reference's processes; they are renewed
//! well before they end, a slice at a time.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use push_protocol::ChannelKey;

use crate::sequencer::Millis;

/// Channels in one call to the store.
const AT_ONCE: usize = 1000;

/// What the store is to be told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// Online, for the full time of a mark.
    pub mark: Vec<ChannelKey>,
    /// Not online any more.
    pub clear: Vec<ChannelKey>,
}

/// See the module.
#[derive(Debug)]
pub struct Presence {
    grace: Millis,
    renew: Millis,
    fresh: HashSet<ChannelKey, RandomState>,
    /// Channels without a link, and when their grace ends.
    parting: HashMap<ChannelKey, Millis, RandomState>,
    order: VecDeque<(Millis, ChannelKey)>,
    /// Channels still to be renewed in this round, and when the next round begins.
    round: Vec<ChannelKey>,
    next_round: Millis,
}

impl Presence {
    /// `grace`: how long a channel stays online behind its last connection; `renew`: how often all
    /// marks are renewed.
    pub fn new(grace: Millis, renew: Millis, now: Millis) -> Self {
        Self {
            grace,
            renew,
            fresh: HashSet::default(),
            parting: HashMap::default(),
            order: VecDeque::new(),
            round: Vec::new(),
            next_round: now + renew,
        }
    }

    /// The channel has got its first link.
    pub fn came(&mut self, channel: ChannelKey) {
        // Who comes back within the grace has not been away; the mark still stands.
        if self.parting.remove(&channel).is_none() {
            self.fresh.insert(channel);
        }
    }

    /// The channel has lost its last link.
    pub fn went(&mut self, channel: ChannelKey, now: Millis) {
        let until = now + self.grace;
        self.parting.insert(channel, until);
        self.order.push_back((until, channel));
    }

    /// Whether the channel has no link but is still online.
    pub fn lingers(&self, channel: &ChannelKey) -> bool {
        self.parting.contains_key(channel)
    }

    /// Somebody cleared these marks, and this host has the channels: they are set again.
    pub fn contradict(&mut self, channels: impl IntoIterator<Item = ChannelKey>) {
        self.fresh.extend(channels);
    }

    /// When [`Self::poll`] has something to do.
    pub fn due(&self, now: Millis) -> Millis {
        if !self.fresh.is_empty() || !self.round.is_empty() {
            return now;
        }
        let parting = self.order.front().map_or(Millis::MAX, |(until, _)| *until);
        parting.min(self.next_round)
    }

    /// What the store is to be told now; `all` are the channels with a link, asked for when a
    /// round begins.
    pub fn poll(&mut self, now: Millis, all: impl FnOnce() -> Vec<ChannelKey>) -> Marks {
        let mut marks = Marks::default();
        while let Some(&(until, channel)) = self.order.front()
            && until <= now
            && marks.clear.len() < AT_ONCE
        {
            self.order.pop_front();
            // It may have come back, and gone again since.
            if self.parting.get(&channel) == Some(&until) {
                self.parting.remove(&channel);
                if !self.fresh.remove(&channel) {
                    marks.clear.push(channel);
                }
            }
        }
        if now >= self.next_round {
            self.next_round = now + self.renew;
            self.round = all();
        }
        let rest = self.round.len().saturating_sub(AT_ONCE);
        marks.mark = self.round.split_off(rest);
        while marks.mark.len() < AT_ONCE
            && let Some(&channel) = self.fresh.iter().next()
        {
            self.fresh.remove(&channel);
            marks.mark.push(channel);
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> ChannelKey {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        ChannelKey::private(id)
    }

    fn marks(mark: &[u16], clear: &[u16]) -> Marks {
        let keys = |list: &[u16]| list.iter().map(|&n| key(n)).collect();
        Marks { mark: keys(mark), clear: keys(clear) }
    }

    #[test]
    fn marked_at_once_and_cleared_after_the_grace() {
        let mut presence = Presence::new(10, 1000, 0);
        presence.came(key(1));
        assert_eq!(presence.due(0), 0);
        assert_eq!(presence.poll(0, Vec::new), marks(&[1], &[]));
        presence.went(key(1), 5);
        assert!(presence.lingers(&key(1)));
        assert_eq!(presence.due(5), 15);
        assert_eq!(presence.poll(14, Vec::new), marks(&[], &[]));
        assert_eq!(presence.poll(15, Vec::new), marks(&[], &[1]));
        assert!(!presence.lingers(&key(1)));
    }

    #[test]
    fn a_page_change_is_no_change() {
        let mut presence = Presence::new(10, 1000, 0);
        presence.came(key(1));
        presence.poll(0, Vec::new);
        presence.went(key(1), 5);
        presence.came(key(1));
        presence.went(key(1), 9);
        assert_eq!(presence.poll(15, Vec::new), marks(&[], &[]));
        assert_eq!(presence.poll(19, Vec::new), marks(&[], &[1]));
    }

    #[test]
    fn all_are_renewed_a_slice_at_a_time() {
        let mut presence = Presence::new(10, 1000, 0);
        let all: Vec<ChannelKey> = (0..2500).map(key).collect();
        let mut renewed = Vec::new();
        assert_eq!(presence.due(0), 1000);
        let mut now = 1000;
        while presence.due(now) <= now {
            let marks = presence.poll(now, || all.clone());
            assert!(marks.mark.len() <= AT_ONCE && marks.clear.is_empty());
            renewed.extend(marks.mark);
        }
        renewed.sort_unstable();
        assert_eq!(renewed, all);
        now = presence.due(now);
        assert_eq!(now, 2000);
    }

    #[test]
    fn who_came_and_went_before_the_mark_leaves_none() {
        let mut presence = Presence::new(0, 1000, 0);
        presence.came(key(1));
        presence.went(key(1), 0);
        assert_eq!(presence.poll(0, Vec::new), marks(&[], &[]));
    }

    #[test]
    fn a_mark_that_another_host_cleared_is_set_again() {
        let mut presence = Presence::new(10, 1000, 0);
        presence.contradict([key(4)]);
        assert_eq!(presence.poll(0, Vec::new), marks(&[4], &[]));
    }
}
