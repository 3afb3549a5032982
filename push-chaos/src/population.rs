//! Who subscribes to what: each subscriber to a pair of its own, to a group's channel that it shares
//! with some, and to one that it shares with all.

use push_tests::{Channel, Key};

use crate::ledger::{Audience, Subscriber};
use crate::random::Random;

/// Members of a group, about.
const GROUP: usize = 10;
/// Of so many subscribers one is a long poll; the others are WebSockets.
const POLLS: usize = 20;

/// See the module.
pub struct Population {
    key: Key,
    own: Vec<Channel>,
    groups: Vec<Channel>,
    all: Channel,
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// One subscriber, by its private id.
    One(Subscriber),
    /// One subscriber, by its public id.
    Public(Subscriber),
    /// The members of a group.
    Group(u32),
    /// A group, and the own channel of one of its members: it gets the message once.
    GroupAndOne(Subscriber),
    /// Everybody.
    All,
}

impl Population {
    /// Of so many subscribers.
    pub fn new(key: &Key, subscribers: usize) -> Self {
        let channels = |count| (0..count).map(|_| Channel::new()).collect();
        Self {
            key: key.clone(),
            own: channels(subscribers),
            groups: channels(subscribers.div_ceil(GROUP)),
            all: Channel::new(),
        }
    }

    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether the subscriber polls.
    pub fn polls(&self, subscriber: Subscriber) -> bool {
        subscriber as usize % POLLS == POLLS - 1
    }

    /// Whether the subscriber wants messages as protobuf.
    pub fn is_binary(subscriber: Subscriber) -> bool {
        subscriber / POLLS as u32 % 2 == 1
    }

    /// The channels of their own.
    pub fn own(&self) -> &[Channel] {
        &self.own
    }

    /// The target by which a subscriber subscribes, without a `mid`.
    pub fn target(&self, subscriber: Subscriber) -> String {
        let (path, own) = (self.polls(subscriber), &self.own[subscriber as usize]);
        let path = if path { "sub" } else { "subws" };
        let binary = if Self::is_binary(subscriber) { "&binaryMode=true" } else { "" };
        format!(
            "/bitrix/{path}/?CHANNEL_ID={}/{}/{}{binary}",
            own.signed_pair(&self.key),
            self.groups[self.group(subscriber) as usize].signed_private(&self.key),
            self.all.signed_private(&self.key)
        )
    }

    fn group(&self, subscriber: Subscriber) -> u32 {
        subscriber % self.groups.len() as u32
    }

    /// Somebody: mostly one subscriber, now and then everybody.
    pub fn somebody(&self, random: &mut Random) -> To {
        let one = random.below(self.own.len() as u64) as Subscriber;
        match random.below(1000) {
            0..2 => To::All,
            2..202 => To::Group(self.group(one)),
            202..252 => To::GroupAndOne(one),
            252..352 => To::Public(one),
            _ => To::One(one),
        }
    }

    /// The subscribers that a message to these reaches.
    pub fn audience(&self, to: To) -> Audience {
        let (all, step) = (self.own.len() as u32, self.groups.len() as u32);
        match to {
            To::One(one) | To::Public(one) => Audience::one(one),
            To::Group(group) => {
                Audience { first: group, step, count: (all - group).div_ceil(step) }
            }
            To::GroupAndOne(one) => self.audience(To::Group(self.group(one))),
            To::All => Audience { first: 0, step: 1, count: all },
        }
    }

    /// Its receivers: an id each, and whether that is a private one.
    pub fn receivers(&self, to: To) -> Vec<(&str, bool)> {
        let own = |one: Subscriber| &self.own[one as usize];
        let group = |group: u32| (self.groups[group as usize].private.as_str(), true);
        match to {
            To::One(one) => vec![(own(one).private.as_str(), true)],
            To::Public(one) => vec![(own(one).public.as_str(), false)],
            To::Group(number) => vec![group(number)],
            To::GroupAndOne(one) => {
                vec![(own(one).private.as_str(), true), group(self.group(one))]
            }
            To::All => vec![(self.all.private.as_str(), true)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_share_out_the_subscribers() {
        let population = Population::new(&Key("a key".into()), 47);
        let mut members = 0;
        for group in 0..population.groups.len() as u32 {
            members += population.audience(To::Group(group)).count;
        }
        assert_eq!(members, 47);
        let of = population.audience(To::GroupAndOne(46));
        assert_eq!(of, population.audience(To::Group(population.group(46))));
        assert!(46 >= of.first && (46 - of.first).is_multiple_of(of.step));
    }
}
