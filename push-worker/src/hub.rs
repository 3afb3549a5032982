//! Which local sessions listen to which channel.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use push_protocol::ChannelKey;

use crate::slab::NIL;

/// A session's place in a channel: the channel's slot and the position among its subscribers, so
/// that leaving takes constant time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The channel.
    pub slot: u32,
    /// Where in its list of subscribers.
    pub position: u32,
}

/// Most channels have one local subscriber; they cost no allocation of their own.
#[derive(Debug)]
enum Subscribers {
    Free(u32),
    One(u32),
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every channel")]
    Many(Box<Vec<u32>>),
}

#[derive(Debug)]
struct Channel {
    key: ChannelKey,
    subscribers: Subscribers,
}

/// What leaving a channel changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// This session has taken over the position that was left.
    pub moved: Option<u32>,
    /// The channel has no subscriber any more.
    pub emptied: Option<ChannelKey>,
}

/// Channels with a local subscriber, each once.
#[derive(Debug, Default)]
pub struct Hub {
    index: HashTable<u32>,
    channels: Vec<Channel>,
    free: Option<u32>,
    hasher: RandomState,
}

impl Hub {
    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// All channels.
    pub fn keys(&self) -> impl Iterator<Item = ChannelKey> + '_ {
        self.index.iter().map(|&slot| self.channels[slot as usize].key)
    }

    /// The channel behind a place.
    pub fn key(&self, slot: u32) -> ChannelKey {
        self.channels[slot as usize].key
    }

    /// The slot of a channel that has a subscriber.
    pub fn find(&self, key: &ChannelKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&slot| self.channels[slot as usize].key == *key).copied()
    }

    /// The sessions listening to the channel in a slot.
    pub fn subscribers(&self, slot: u32) -> &[u32] {
        match &self.channels[slot as usize].subscribers {
            Subscribers::Free(_) => &[],
            Subscribers::One(session) => std::slice::from_ref(session),
            Subscribers::Many(sessions) => sessions,
        }
    }

    /// Adds a session to a channel; true if it is the channel's first. A session must not join a
    /// channel twice.
    pub fn join(&mut self, key: ChannelKey, session: u32) -> (Place, bool) {
        if let Some(slot) = self.find(&key) {
            let subscribers = &mut self.channels[slot as usize].subscribers;
            let position = match subscribers {
                Subscribers::Free(_) => unreachable!("a free slot is not in the index"),
                Subscribers::One(first) => {
                    *subscribers = Subscribers::Many(Box::new(vec![*first, session]));
                    1
                }
                Subscribers::Many(sessions) => {
                    sessions.push(session);
                    sessions.len() as u32 - 1
                }
            };
            return (Place { slot, position }, false);
        }
        let channel = Channel { key, subscribers: Subscribers::One(session) };
        let slot = if let Some(slot) = self.free {
            let old = std::mem::replace(&mut self.channels[slot as usize], channel);
            self.free = match old.subscribers {
                Subscribers::Free(next) if next != NIL => Some(next),
                _ => None,
            };
            slot
        } else {
            self.channels.push(channel);
            self.channels.len() as u32 - 1
        };
        let Self { index, channels, hasher, .. } = self;
        let rehash = |&slot: &u32| hasher.hash_one(channels[slot as usize].key);
        index.insert_unique(hasher.hash_one(key), slot, rehash);
        (Place { slot, position: 0 }, true)
    }

    /// Takes the session at a place out of the channel.
    pub fn leave(&mut self, place: Place) -> Left {
        let channel = &mut self.channels[place.slot as usize];
        match &mut channel.subscribers {
            Subscribers::Free(_) => return Left::default(),
            Subscribers::Many(sessions) => {
                sessions.swap_remove(place.position as usize);
                let moved = sessions.get(place.position as usize).copied();
                if !sessions.is_empty() {
                    if sessions.len() * 4 < sessions.capacity() && sessions.capacity() > 16 {
                        sessions.shrink_to(sessions.len() * 2);
                    }
                    return Left { moved, emptied: None };
                }
            }
            Subscribers::One(_) => {}
        }
        let key = channel.key;
        channel.subscribers = Subscribers::Free(self.free.unwrap_or(NIL));
        self.free = Some(place.slot);
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |&slot| slot == place.slot) {
            entry.remove();
        }
        Left { moved: None, emptied: Some(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn key(n: u8) -> ChannelKey {
        ChannelKey::private([n; 16])
    }

    #[test]
    fn a_channel_is_about_forty_bytes() {
        assert!(size_of::<Channel>() <= 40);
    }

    proptest! {
        /// Any sequence of joins and leaves gives what a map of sets gives.
        #[test]
        fn behaves_like_a_map_of_sets(steps in proptest::collection::vec((0u8..6, 0u32..12), 0..300)) {
            let mut hub = Hub::default();
            let mut model: BTreeMap<u8, BTreeSet<u32>> = BTreeMap::new();
            let mut places: BTreeMap<(u8, u32), Place> = BTreeMap::new();
            for (channel, session) in steps {
                if let Some(place) = places.remove(&(channel, session)) {
                    let left = hub.leave(place);
                    let set = model.get_mut(&channel).unwrap();
                    set.remove(&session);
                    if let Some(moved) = left.moved {
                        places.get_mut(&(channel, moved)).unwrap().position = place.position;
                    }
                    prop_assert_eq!(left.emptied.is_some(), set.is_empty());
                    if set.is_empty() {
                        model.remove(&channel);
                    }
                } else {
                    let (place, first) = hub.join(key(channel), session);
                    places.insert((channel, session), place);
                    let set = model.entry(channel).or_default();
                    prop_assert_eq!(first, set.is_empty());
                    set.insert(session);
                }
                prop_assert_eq!(hub.len(), model.len());
                for (channel, set) in &model {
                    let slot = hub.find(&key(*channel)).unwrap();
                    prop_assert_eq!(hub.key(slot), key(*channel));
                    let got: BTreeSet<u32> = hub.subscribers(slot).iter().copied().collect();
                    prop_assert_eq!(&got, set);
                }
                for ((channel, session), place) in &places {
                    let slot = hub.find(&key(*channel)).unwrap();
                    prop_assert_eq!(place.slot, slot);
                    prop_assert_eq!(hub.subscribers(slot)[place.position as usize], *session);
                }
            }
            prop_assert_eq!(hub.keys().count(), model.len());
        }
    }
}
