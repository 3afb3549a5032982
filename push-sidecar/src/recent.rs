//! What was announced lately, for the question that is asked most: whoever comes back a moment later
//! has missed nothing, and that can be told without asking the store. Pure.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_protocol::{ChannelKey, Mid};

/// Receivers of messages that are remembered: some 3 MB.
const MAX: usize = 32_768;

/// The last id of each channel that a message was for, since some id.
#[derive(Default)]
pub struct Recent {
    last: HashMap<ChannelKey, Mid, RandomState>,
    order: VecDeque<(Mid, ChannelKey)>,
    /// Everything behind this id is remembered.
    since: Option<Mid>,
}

impl Recent {
    /// What was announced up to here is not known, or not completely.
    pub fn forget(&mut self, upto: Mid) {
        self.since = self.since.max(Some(upto));
    }

    /// A message was passed on.
    pub fn saw(&mut self, id: Mid, receivers: &[ChannelKey]) {
        for key in receivers {
            let last = self.last.entry(*key).or_insert(id);
            *last = id.max(*last);
            self.order.push_back((id, *key));
        }
        while self.order.len() > MAX
            && let Some((id, key)) = self.order.pop_front()
        {
            self.forget(id);
            if self.last.get(&key).is_some_and(|last| *last <= id) {
                self.last.remove(&key);
            }
        }
    }

    /// Whether it is known that nothing behind `after` was for these channels.
    pub fn is_nothing_new(&self, channels: &[ChannelKey], after: Mid) -> bool {
        self.since.is_some_and(|since| after >= since)
            && channels.iter().all(|key| self.last.get(key).is_none_or(|last| *last <= after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mid(n: u64) -> Mid {
        Mid::new(1, n)
    }

    fn key(n: u8) -> ChannelKey {
        ChannelKey::private([n; 16])
    }

    #[test]
    fn tells_what_it_knows_and_nothing_else() {
        let mut recent = Recent::default();
        assert!(!recent.is_nothing_new(&[key(1)], mid(100)), "nothing is known yet");
        recent.forget(mid(10));
        recent.saw(mid(12), &[key(1), key(2)]);
        recent.saw(mid(11), &[key(1)]);
        assert!(recent.is_nothing_new(&[key(1), key(3)], mid(12)));
        assert!(!recent.is_nothing_new(&[key(3), key(2)], mid(11)));
        assert!(recent.is_nothing_new(&[key(3)], mid(10)));
        assert!(!recent.is_nothing_new(&[key(3)], mid(9)), "before its time");
        recent.forget(mid(20));
        assert!(!recent.is_nothing_new(&[key(3)], mid(19)));
        assert!(recent.is_nothing_new(&[key(3)], mid(20)));
    }

    #[test]
    fn what_it_forgets_it_does_not_know() {
        let mut recent = Recent::default();
        recent.forget(mid(0));
        recent.saw(mid(1), &[key(1)]);
        recent.saw(mid(2), &[key(2)]);
        for n in 3..MAX as u64 + 2 {
            recent.saw(mid(n), &[key(3)]);
        }
        assert_eq!(recent.order.len(), MAX);
        assert!(!recent.last.contains_key(&key(1)));
        assert!(!recent.is_nothing_new(&[key(1)], mid(0)));
        assert!(recent.is_nothing_new(&[key(1)], mid(1)));
        assert!(!recent.is_nothing_new(&[key(2)], mid(1)));
        assert!(recent.last.len() == 2);
    }
}
