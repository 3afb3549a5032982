//! Which links the last messages went to, for whoever asks afterwards. Pure, but for the time of day.

use std::collections::VecDeque;

use push_protocol::Mid;

use crate::router::LinkId;
use crate::surroundings::unix_ms;

/// Messages that are remembered: some 60 KB.
const MAX: usize = 1024;
/// Links of one message that are remembered by name.
const LINKS: usize = 8;

/// A message that was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// The message.
    pub id: Mid,
    /// When, Unix milliseconds.
    pub at: u64,
    links: [LinkId; LINKS],
    /// To how many links.
    pub count: u32,
}

impl Pass {
    /// The links, the first of them if there are many.
    pub fn links(&self) -> &[LinkId] {
        &self.links[..LINKS.min(self.count as usize)]
    }
}

/// See the module.
#[derive(Default)]
pub struct Passed(VecDeque<Pass>);

impl Passed {
    /// A message goes to a link. All links of a message come one after the other.
    pub fn note(&mut self, id: Mid, link: LinkId) {
        if let Some(last) = self.0.back_mut().filter(|last| last.id == id) {
            if let Some(place) = last.links.get_mut(last.count as usize) {
                *place = link;
            }
            last.count += 1;
            return;
        }
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        let mut links = [0; LINKS];
        links[0] = link;
        let at = unix_ms();
        self.0.push_back(Pass { id, at, links, count: 1 });
    }

    /// What is remembered of a message.
    pub fn find(&self, id: Mid) -> Option<Pass> {
        self.0.iter().rev().find(|pass| pass.id == id).copied()
    }

    /// Messages behind this id are remembered; `None`: nothing was passed on yet.
    pub fn since(&self) -> Option<Mid> {
        self.0.front().map(|pass| pass.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_remembered() {
        let mut passed = Passed::default();
        let mid = |n| Mid::new(1, n);
        for link in 0..10 {
            passed.note(mid(1), link);
        }
        let pass = passed.find(mid(1)).expect("remembered");
        assert_eq!((pass.count, pass.links()), (10, &[0, 1, 2, 3, 4, 5, 6, 7][..]));
        for n in 2..=MAX as u64 + 1 {
            passed.note(mid(n), 3);
        }
        assert_eq!(passed.find(mid(1)), None);
        assert_eq!(passed.find(mid(2)).expect("remembered").links(), [3]);
        assert_eq!(passed.since(), Some(mid(2)));
    }
}
