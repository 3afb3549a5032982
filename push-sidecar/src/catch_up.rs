//! Merges what a resumed link missed with what was kept back for it. Pure.

use std::collections::{BTreeMap, HashSet};

use push_protocol::Mid;

use crate::router::Delivery;
use crate::store::Missed;

/// The messages a resumed link is to be sent, each once, in id order.
///
/// Made when everything up to `missed.as_of` has been passed on, so whatever is kept back after
/// that lies behind it, or is late.
pub struct CatchUp {
    queue: BTreeMap<Mid, Delivery>,
    /// Ids that were in the store's answer: a late announcement of one of them is a repetition.
    known: HashSet<Mid>,
}

impl CatchUp {
    /// `after`: the last id the worker has received.
    pub fn new(after: Mid, missed: Missed) -> Self {
        let queue: BTreeMap<Mid, Delivery> = missed
            .messages
            .into_iter()
            .filter(|m| m.id > after)
            .map(|m| {
                let (id, receivers, outgoing) = (m.id, m.receivers, m.outgoing);
                (id, Delivery { id, late: false, receivers, outgoing })
            })
            .collect();
        let known = queue.keys().copied().collect();
        let mut this = Self { queue, known };
        this.known.insert(after);
        this
    }

    /// Adds what was kept back. `after` as in [`Self::new`].
    pub fn add_held(&mut self, after: Mid, held: Vec<Delivery>) {
        for delivery in held {
            if let Some(queued) = self.queue.get_mut(&delivery.id) {
                // The store was asked about the channels of a while ago.
                for key in delivery.receivers {
                    if !queued.receivers.contains(&key) {
                        queued.receivers.push(key);
                    }
                }
                continue;
            }
            let known = self.known.contains(&delivery.id);
            if !known && (delivery.late || delivery.id > after) {
                self.queue.insert(delivery.id, delivery);
            }
        }
    }

    /// The next message to send.
    pub fn pop(&mut self) -> Option<Delivery> {
        self.queue.pop_first().map(|(_, delivery)| delivery)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use push_protocol::ChannelKey;

    use super::*;
    use crate::store::Announced;

    fn mid(n: u64) -> Mid {
        Mid::new(1, n)
    }

    fn delivery(n: u64, late: bool) -> Delivery {
        Delivery { id: mid(n), late, receivers: vec![], outgoing: Bytes::new() }
    }

    #[test]
    fn each_message_once_in_id_order() {
        let receivers = vec![ChannelKey::private([1; 16])];
        let messages = [4, 6, 7].map(|n| Announced {
            id: mid(n),
            receivers: receivers.clone(),
            outgoing: Bytes::new(),
        });
        let missed = Missed { messages: messages.to_vec(), as_of: mid(7), ..Missed::default() };
        let mut catch_up = CatchUp::new(mid(4), missed);
        let held = [5, 7, 8].map(|n| delivery(n, false));
        catch_up.add_held(mid(4), held.to_vec());
        assert_eq!(popped(&mut catch_up), [5, 6, 7, 8]);
        // 6 is announced late after all, 3 really is late.
        let held = [delivery(9, false), delivery(6, true), delivery(3, true)];
        catch_up.add_held(mid(4), held.to_vec());
        assert_eq!(popped(&mut catch_up), [3, 9]);
    }

    #[test]
    fn a_channel_that_was_subscribed_meanwhile_gets_its_messages_too() {
        let (asked, new) = (ChannelKey::private([1; 16]), ChannelKey::private([2; 16]));
        let message = Announced { id: mid(5), receivers: vec![asked], outgoing: Bytes::new() };
        let missed = Missed { messages: vec![message], as_of: mid(5), ..Missed::default() };
        let mut catch_up = CatchUp::new(mid(4), missed);
        let held = Delivery { receivers: vec![asked, new], ..delivery(5, false) };
        catch_up.add_held(mid(4), vec![held]);
        assert_eq!(catch_up.pop().map(|d| d.receivers), Some(vec![asked, new]));
        assert_eq!(catch_up.pop(), None);
    }

    fn popped(catch_up: &mut CatchUp) -> Vec<u64> {
        std::iter::from_fn(|| catch_up.pop()).map(|d| d.id.counter()).collect()
    }
}
