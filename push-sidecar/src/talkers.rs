//! The channels with most traffic, in bounded memory. Pure.
//!
//! Misra and Gries' counters ("Finding repeated elements", 1982): what a channel has is counted too
//! low by at most an equal share of everything, never too high. Old traffic counts half every
//! minute.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_protocol::ChannelKey;

/// Channels that are counted.
const COUNTED: usize = 256;

/// Messages and bytes of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes of theirs.
    pub bytes: u64,
}

/// See the module.
#[derive(Default)]
pub struct Talkers(HashMap<ChannelKey, Traffic, RandomState>);

impl Talkers {
    /// A message for a channel, which stands for so many.
    pub fn count(&mut self, channel: ChannelKey, bytes: usize, times: u64) {
        let bytes = bytes as u64 * times;
        if let Some(traffic) = self.0.get_mut(&channel) {
            traffic.messages += times;
            traffic.bytes += bytes;
        } else if self.0.len() < COUNTED {
            self.0.insert(channel, Traffic { messages: times, bytes });
        } else {
            // Everybody gives as many back; each was once given, so this costs no more than counting.
            self.0.retain(|_, traffic| {
                let back = times.min(traffic.messages);
                traffic.bytes -= traffic.bytes / traffic.messages * back;
                traffic.messages -= back;
                traffic.messages > 0
            });
        }
    }

    /// Called once a minute: what was counts half.
    pub fn age(&mut self) {
        self.0.retain(|_, traffic| {
            *traffic = Traffic { messages: traffic.messages / 2, bytes: traffic.bytes / 2 };
            traffic.messages > 0
        });
    }

    /// The busiest, most messages first.
    pub fn top(&self, count: usize) -> Vec<(ChannelKey, Traffic)> {
        let mut all: Vec<(ChannelKey, Traffic)> = self.0.iter().map(|(k, t)| (*k, *t)).collect();
        all.sort_unstable_by_key(|(key, t)| (std::cmp::Reverse((t.messages, t.bytes)), key.id));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u32) -> ChannelKey {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        ChannelKey::private(id)
    }

    #[test]
    fn the_busiest_are_found_among_many_in_bounded_memory() {
        let mut talkers = Talkers::default();
        for number in 0..100_000_u32 {
            talkers.count(channel(1_000 + number), 100, 1);
            if number % 10 == 0 {
                talkers.count(channel(1), 300, 1);
            }
            if number % 20 == 0 {
                talkers.count(channel(2), 300, 1);
            }
        }
        assert!(talkers.0.len() <= COUNTED);
        let top = talkers.top(2);
        assert_eq!([top[0].0, top[1].0], [channel(1), channel(2)]);
        assert!((9_500..=10_000).contains(&top[0].1.messages), "{top:?}");
        let before = top[0].1.messages;
        talkers.age();
        assert_eq!(talkers.top(1)[0].1.messages, before / 2);
    }
}
