//! Messages and queues in memory: the pure core, without a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet};
use push_protocol::{ChannelKey, Mid, outgoing};

use crate::store::{Announced, Caps, Found, History, Missed, PublishItem, RECOVERY_SECONDS, Token};

/// Milliseconds since the Unix epoch.
pub type UnixMillis = u64;

/// What a stored message costs beside its bytes: map nodes, the queue entries of its receivers,
/// allocator overhead. Measured roughly; it only has to keep the limit honest for small messages.
const OVERHEAD_PER_MESSAGE: usize = 160;
const OVERHEAD_PER_RECEIVER: usize = 64;
/// Tokens remembered at most: ten seconds of 25,000 publishes each.
const MAX_TOKENS: usize = 1 << 18;
/// The share of the limit that live-only messages may take: a flood of them costs no history.
const LIVE_SHARE: usize = 4;

struct Stored {
    outgoing: Bytes,
    receivers: Box<[ChannelKey]>,
    expires: UnixMillis,
    /// False: live-only, kept for links that break, no part of any history.
    listed: bool,
}

impl Stored {
    fn cost(&self) -> usize {
        self.outgoing.len() + OVERHEAD_PER_MESSAGE + self.receivers.len() * OVERHEAD_PER_RECEIVER
    }
}

/// The messages, the queues of their receivers, and the recent tokens.
///
/// Bounded twice: a message goes when its time is over, and the oldest go when all of them together
/// cost more than the limit.
pub struct Queues {
    start: u64,
    counter: u64,
    max_bytes: usize,
    bytes: usize,
    dropped: u64,
    /// Live-only messages in the order of their ids, and what they cost; may name some that are gone.
    live: VecDeque<Mid>,
    live_bytes: usize,
    messages: BTreeMap<Mid, Stored>,
    /// Ascending ids of listed messages.
    lists: HashMap<ChannelKey, VecDeque<Mid>, RandomState>,
    /// (expires, id), so that what is over is found without a scan.
    expiring: BTreeSet<(UnixMillis, Mid)>,
    tokens: HashMap<Token, (Mid, usize), RandomState>,
    token_ages: VecDeque<(UnixMillis, Token)>,
    online: HashMap<ChannelKey, UnixMillis, RandomState>,
}

impl Queues {
    /// Empty. `now_micros`: microseconds since the Unix epoch; ids start there, so that a restart
    /// within the same second does not go back. `max_bytes`: what all messages together may cost.
    pub fn new(now_micros: u64, max_bytes: usize) -> Self {
        Self {
            start: now_micros / 1_000_000,
            counter: now_micros % 1_000_000,
            max_bytes,
            bytes: 0,
            dropped: 0,
            live: VecDeque::new(),
            live_bytes: 0,
            messages: BTreeMap::new(),
            lists: HashMap::default(),
            expiring: BTreeSet::new(),
            tokens: HashMap::default(),
            token_ages: VecDeque::new(),
            online: HashMap::default(),
        }
    }

    /// The last id given out.
    pub fn last_id(&self) -> Mid {
        Mid::new(self.start, self.counter)
    }

    /// What all messages cost now, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages have gone before their time, to stay within the limit. Those that are kept
    /// for nobody do not count: they wait for broken links only.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Stores the messages. `announce` is called for each new one, in order.
    pub fn publish(
        &mut self,
        now: UnixMillis,
        token: Token,
        messages: &[PublishItem],
        mut announce: impl FnMut(Announced),
    ) -> Vec<Mid> {
        self.expire(now);
        if let Some(&(first, count)) = self.tokens.get(&token) {
            return (0..count as u64)
                .map(|n| Mid::new(first.start(), first.counter() + n))
                .collect();
        }
        let first = Mid::new(self.start, self.counter + 1);
        self.tokens.insert(token, (first, messages.len()));
        self.token_ages.push_back((now + RECOVERY_SECONDS * 1000, token));
        let ids = messages.iter().map(|message| {
            let announced = self.store(now, message);
            let id = announced.id;
            announce(announced);
            id
        });
        let ids = ids.collect();
        self.make_room();
        ids
    }

    fn store(&mut self, now: UnixMillis, message: &PublishItem) -> Announced {
        self.counter += 1;
        let id = self.last_id();
        let outgoing = Bytes::from(outgoing::with_id(id, &message.rest));
        let mut receivers: Vec<ChannelKey> =
            message.receivers.iter().map(|(key, _)| *key).collect();
        receivers.sort_unstable();
        receivers.dedup();
        let listed = message.expiry > 0;
        let seconds = if listed { u64::from(message.expiry) } else { RECOVERY_SECONDS };
        let stored = Stored {
            outgoing: outgoing.clone(),
            receivers: receivers.clone().into(),
            expires: now + seconds * 1000,
            listed,
        };
        if listed {
            for key in &receivers {
                self.lists.entry(*key).or_default().push_back(id);
            }
        } else {
            self.live.push_back(id);
            self.live_bytes += stored.cost();
        }
        self.bytes += stored.cost();
        self.expiring.insert((stored.expires, id));
        self.messages.insert(id, stored);
        Announced { id, receivers, outgoing }
    }

    /// What is listed and alive, newest within the caps, ascending.
    pub fn history(
        &self,
        now: UnixMillis,
        receivers: &[ChannelKey],
        after: Mid,
        caps: Caps,
    ) -> History {
        let mut found = BTreeMap::new();
        for list in receivers.iter().filter_map(|key| self.lists.get(key)) {
            let newest = list.iter().rev().take_while(|id| **id > after);
            let alive = newest.filter_map(|id| {
                let stored = self.messages.get(id)?;
                (stored.expires > now).then_some((*id, &stored.outgoing))
            });
            found.extend(alive.take(caps.per_channel));
        }
        let skip = found.len().saturating_sub(caps.total);
        let messages = found.into_iter().skip(skip).map(|(id, o)| (id, o.clone())).collect();
        History { messages, as_of: self.last_id() }
    }

    /// What is remembered of a message.
    pub fn find(&self, now: UnixMillis, id: Mid) -> Option<Found> {
        let stored = self.messages.get(&id).filter(|stored| stored.expires > now)?;
        Some(Found {
            outgoing: Some(stored.outgoing.clone()),
            receivers: stored.receivers.to_vec(),
            left: stored.listed.then(|| (stored.expires - now) / 1000),
        })
    }

    /// Everything kept for `receivers` in a stretch of ids.
    pub fn missed(
        &self,
        now: UnixMillis,
        receivers: &[ChannelKey],
        after: Mid,
        upto: Option<Mid>,
    ) -> Missed {
        let as_of = upto.unwrap_or_else(|| self.last_id());
        if after >= as_of {
            return Missed { as_of, ..Missed::default() };
        }
        let wanted: HashSet<&ChannelKey, RandomState> = receivers.iter().collect();
        let range = self.messages.range((Bound::Excluded(after), Bound::Included(as_of)));
        let messages = range.filter_map(|(id, stored)| {
            let receivers: Vec<ChannelKey> =
                stored.receivers.iter().filter(|key| wanted.contains(key)).copied().collect();
            let outgoing = stored.outgoing.clone();
            let theirs = !receivers.is_empty() && stored.expires > now;
            theirs.then_some(Announced { id: *id, receivers, outgoing })
        });
        // Announcements are never late here: nobody has to be told of others.
        Missed { messages: messages.collect(), others: Vec::new(), as_of }
    }

    /// Sets marks that end at `until`.
    pub fn mark_online(&mut self, until: UnixMillis, channels: &[ChannelKey]) {
        self.online.extend(channels.iter().map(|key| (*key, until)));
    }

    /// Takes marks away.
    pub fn clear_online(&mut self, channels: &[ChannelKey]) {
        for key in channels {
            self.online.remove(key);
        }
    }

    /// Which channels are marked.
    pub fn online(&self, now: UnixMillis, channels: &[ChannelKey]) -> Vec<bool> {
        channels.iter().map(|key| self.online.get(key).is_some_and(|until| *until > now)).collect()
    }

    /// Drops what is over: messages, tokens, marks. Called by every publish; call it now and then
    /// when nothing is published.
    pub fn expire(&mut self, now: UnixMillis) {
        while let Some(&(expires, id)) = self.expiring.first() {
            if expires > now {
                break;
            }
            self.remove(id);
        }
        while let Some(&(until, token)) = self.token_ages.front() {
            if until > now && self.token_ages.len() <= MAX_TOKENS {
                break;
            }
            self.token_ages.pop_front();
            self.tokens.remove(&token);
        }
    }

    /// Drops online marks that are over; a full pass, so not for every publish.
    pub fn expire_online(&mut self, now: UnixMillis) {
        self.online.retain(|_, until| *until > now);
    }

    fn make_room(&mut self) {
        while self.live_bytes > self.max_bytes / LIVE_SHARE {
            let Some(id) = self.live.pop_front() else {
                break;
            };
            self.remove(id);
        }
        while self.bytes > self.max_bytes {
            let Some((&id, oldest)) = self.messages.first_key_value() else {
                break;
            };
            self.dropped += u64::from(oldest.listed);
            self.remove(id);
        }
    }

    fn remove(&mut self, id: Mid) {
        let Some(stored) = self.messages.remove(&id) else {
            return;
        };
        self.bytes -= stored.cost();
        self.expiring.remove(&(stored.expires, id));
        if !stored.listed {
            self.live_bytes -= stored.cost();
            // They all live equally long, so this is the first, unless the clock went back.
            while self.live.front().is_some_and(|first| *first <= id) {
                self.live.pop_front();
            }
            return;
        }
        for key in &stored.receivers {
            if let Some(list) = self.lists.get_mut(key) {
                if let Ok(at) = list.binary_search(&id) {
                    list.remove(at);
                }
                if list.is_empty() {
                    self.lists.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_800_000_000_000;

    fn queues() -> Queues {
        Queues::new(NOW * 1000 + 7, 1 << 20)
    }

    fn token(seq: u64) -> Token {
        Token { instance: 1, seq }
    }

    fn key(n: u8) -> ChannelKey {
        ChannelKey::private([n; 16])
    }

    fn item(expiry: u32, channels: &[u8], body: &str) -> PublishItem {
        PublishItem {
            expiry,
            label: String::new(),
            receivers: channels.iter().map(|n| (key(*n), Bytes::new())).collect(),
            rest: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn ids_start_at_the_microseconds_of_the_second() {
        let mut queues = queues();
        let ids = queues.publish(NOW, token(1), &[item(0, &[1], "a")], |_| ());
        assert_eq!(ids, [Mid::new(1_800_000_000, 8)]);
    }

    #[test]
    fn what_is_over_is_gone_from_memory_and_lists() {
        let mut queues = queues();
        queues.publish(
            NOW,
            token(1),
            &[item(10, &[1], "short"), item(20, &[1, 2], "long")],
            |_| (),
        );
        queues.expire(NOW + 10_000);
        assert_eq!(
            queues.history(NOW + 10_000, &[key(1)], Mid::ZERO, Caps::SUBSCRIBER).messages.len(),
            1
        );
        queues.expire(NOW + 20_000);
        assert_eq!(queues.bytes(), 0);
        assert!(
            queues.lists.is_empty() && queues.messages.is_empty() && queues.expiring.is_empty()
        );
        queues.expire(NOW + RECOVERY_SECONDS * 1000);
        assert!(queues.tokens.is_empty() && queues.token_ages.is_empty());
    }

    #[test]
    fn the_oldest_go_when_the_limit_is_reached() {
        let mut queues = Queues::new(NOW * 1000, 10_000);
        let body = "x".repeat(1000);
        for seq in 0..100 {
            queues.publish(NOW, token(seq), &[item(60, &[1], &body)], |_| ());
            assert!(queues.bytes() <= 10_000);
        }
        let history = queues.history(NOW, &[key(1)], Mid::ZERO, Caps::SUBSCRIBER);
        assert_eq!(history.messages.len(), queues.messages.len());
        assert_eq!(history.messages.last().map(|m| m.0), Some(queues.last_id()));
        assert!(history.messages.len() > 5);
        assert_eq!(queues.dropped(), 100 - history.messages.len() as u64);
    }

    #[test]
    fn a_flood_of_live_only_messages_costs_no_history() {
        let mut queues = Queues::new(NOW * 1000, 40_000);
        queues.publish(NOW, token(0), &[item(600, &[1], "kept")], |_| ());
        for seq in 1..1000 {
            queues.publish(NOW, token(seq), &[item(0, &[1], "live")], |_| ());
        }
        let history = queues.history(NOW, &[key(1)], Mid::ZERO, Caps::SUBSCRIBER);
        assert_eq!((history.messages.len(), queues.dropped()), (1, 0));
        let missed = queues.missed(NOW, &[key(1)], Mid::ZERO, None).messages;
        assert!((10..100).contains(&missed.len()), "{}", missed.len());
        assert_eq!(missed.last().map(|m| m.id), Some(queues.last_id()));
        queues.expire(NOW + RECOVERY_SECONDS * 1000);
        assert!(queues.live.is_empty() && queues.live_bytes == 0);
    }

    #[test]
    fn live_only_messages_are_missed_but_no_history() {
        let mut queues = queues();
        let ids = queues.publish(NOW, token(1), &[item(0, &[1], "a")], |_| ());
        assert!(queues.history(NOW, &[key(1)], Mid::ZERO, Caps::SUBSCRIBER).messages.is_empty());
        let missed = queues.missed(NOW, &[key(1)], Mid::ZERO, None);
        assert_eq!(missed.messages.iter().map(|m| m.id).collect::<Vec<_>>(), ids);
    }
}
