//! Who gets what, and when. Pure: no socket, no clock; what is to be sent is called out.
//!
//! The router takes announcements in any order, lets the [`Sequencer`] make one order of them, and
//! hands each message once to each link that has subscribed any of its receivers. Everything that
//! refers to a point in that order is here: positions, links that are held back until they have
//! caught up, and waiters for an id.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_protocol::{ChannelKey, Mid};

use crate::channel_table::ChannelTable;
pub use crate::channel_table::LinkId;
use crate::recent::Recent;
use crate::sequencer::{Gap, Millis, Sequencer};
use crate::store::{Announced, StoreEvent};

/// A message on its way to one link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: Mid,
    /// Its id is lower than one that was passed on before.
    pub late: bool,
    /// Those of its receivers that the link has subscribed.
    pub receivers: Vec<ChannelKey>,
    /// The complete `OutgoingMessage` encoding.
    pub outgoing: Bytes,
}

impl Delivery {
    /// About what it costs to keep, bytes.
    pub fn cost(&self) -> usize {
        self.outgoing.len() + self.receivers.len() * size_of::<ChannelKey>() + size_of::<Self>()
    }
}

/// What the router does to the world.
pub trait Outlet {
    /// Somebody who waits for a point in the order.
    type Waiter;
    /// Sends a message to a link.
    fn deliver(
        &mut self,
        link: LinkId,
        id: Mid,
        late: bool,
        receivers: &[ChannelKey],
        outgoing: &Bytes,
    );
    /// The point was reached.
    fn reached(&mut self, waiter: Self::Waiter);
    /// More was kept back for a held link than it is allowed; it has to go.
    fn overflow(&mut self, link: LinkId);
}

/// Deliveries kept back for a link that catches up.
#[derive(Default)]
struct Held {
    deliveries: Vec<Delivery>,
    bytes: usize,
}

struct HeldLinks {
    links: HashMap<LinkId, Held, RandomState>,
    /// Bytes that may be kept back for a link.
    limit: usize,
}

/// See the module.
pub struct Router<W> {
    table: ChannelTable,
    sequencer: Sequencer,
    next_link: LinkId,
    held: HeldLinks,
    waiters: BTreeMap<Mid, Vec<W>>,
    recent: Recent,
    /// Reused: (link, index of the receiver).
    scratch: Vec<(LinkId, u32)>,
}

impl<W> Router<W> {
    /// Without links, waiting for the announcement stream. `hold`: how long a gap in the ids is held
    /// before the store is asked about it; `held_limit`: bytes that may be kept back for a link
    /// that catches up.
    pub fn new(hold: Millis, held_limit: usize) -> Self {
        Self {
            table: ChannelTable::new(),
            sequencer: Sequencer::new(hold),
            next_link: 0,
            held: HeldLinks { links: HashMap::default(), limit: held_limit },
            waiters: BTreeMap::new(),
            recent: Recent::default(),
            scratch: Vec::new(),
        }
    }

    /// The last id passed on; `None` until the stream was whole for the first time.
    pub fn position(&self) -> Option<Mid> {
        self.sequencer.passed()
    }

    /// Whether it is known, without asking the store, that nothing between `after` and the position
    /// was for these channels.
    pub fn is_nothing_new(&self, channels: &[ChannelKey], after: Mid) -> bool {
        self.sequencer.is_running()
            && self.sequencer.has_passed(after)
            && self.recent.is_nothing_new(channels, after)
    }

    /// Whether the announcement stream is whole.
    pub fn is_whole(&self) -> bool {
        self.sequencer.is_whole()
    }

    /// A new link. `held`: its live messages are kept back until [`Self::go_live`].
    pub fn add_link(&mut self, held: bool) -> LinkId {
        let link = self.next_link;
        self.next_link += 1;
        if held {
            self.held.links.insert(link, Held::default());
        }
        link
    }

    /// The link is gone, and with it what it had subscribed.
    pub fn remove_link(&mut self, link: LinkId) {
        self.held.links.remove(&link);
        self.table.remove_link(link);
    }

    /// Adds subscriptions.
    pub fn subscribe(&mut self, link: LinkId, channels: &[ChannelKey]) {
        for key in channels {
            self.table.insert(key, link);
        }
    }

    /// Takes subscriptions away.
    pub fn unsubscribe(&mut self, link: LinkId, channels: &[ChannelKey]) {
        for key in channels {
            self.table.remove(key, link);
        }
    }

    /// Whether any link has the channel.
    pub fn is_subscribed(&self, key: &ChannelKey) -> bool {
        !self.table.links(key).is_empty()
    }

    /// The links that have the channel.
    pub fn links_of(&self, key: &ChannelKey) -> &[LinkId] {
        self.table.links(key)
    }

    /// How many channels have a link.
    pub fn channels(&self) -> usize {
        self.table.len()
    }

    /// All channels that have a link.
    pub fn all_channels(&self) -> Vec<ChannelKey> {
        self.table.iter().map(|(key, _)| key).collect()
    }

    /// All channels of a link.
    pub fn channels_of(&self, link: LinkId) -> Vec<ChannelKey> {
        let theirs = self.table.iter().filter(|(_, links)| links.contains(&link));
        theirs.map(|(key, _)| key).collect()
    }

    /// Whether the link's live messages are kept back.
    pub fn is_held(&self, link: LinkId) -> bool {
        self.held.links.contains_key(&link)
    }

    /// What is kept back for a link, bytes.
    pub fn held_bytes(&self, link: LinkId) -> usize {
        self.held.links.get(&link).map_or(0, |held| held.bytes)
    }

    /// Takes what has been kept back so far; the link stays held.
    pub fn take_held(&mut self, link: LinkId) -> Vec<Delivery> {
        self.held.links.get_mut(&link).map(std::mem::take).unwrap_or_default().deliveries
    }

    /// From here on the link's messages go out at once.
    pub fn go_live(&mut self, link: LinkId) {
        self.held.links.remove(&link);
    }

    /// Calls the waiter out when everything up to `id` has been passed on: at once, or when it is.
    /// An id that is never announced is given up like a gap.
    pub fn wait_for<O: Outlet<Waiter = W>>(
        &mut self,
        now: Millis,
        id: Mid,
        waiter: W,
        outlet: &mut O,
    ) {
        if self.sequencer.has_passed(id) {
            outlet.reached(waiter);
        } else {
            self.sequencer.expect(now, id);
            self.waiters.entry(id).or_default().push(waiter);
        }
    }

    /// An event of the store's stream. Answers what the store is to be asked about.
    pub fn event<O: Outlet<Waiter = W>>(
        &mut self,
        now: Millis,
        event: StoreEvent,
        outlet: &mut O,
    ) -> Option<Gap> {
        let Self { table, sequencer, held, recent, scratch, .. } = self;
        let mut pass = |a: Announced, late| {
            recent.saw(a.id, &a.receivers);
            route(table, held, scratch, &a, late, outlet);
        };
        let gap = match event {
            StoreEvent::Announced(announced) => {
                sequencer.offer(now, announced, &mut pass);
                None
            }
            StoreEvent::Lost => {
                sequencer.lost();
                None
            }
            StoreEvent::Restored { position } => {
                let gap = sequencer.restored(position, &mut pass);
                recent.forget(position);
                gap
            }
            StoreEvent::GivenOut(upto) => {
                sequencer.expect(now, upto);
                None
            }
            StoreEvent::Cleared(_) => None,
        };
        self.release(outlet);
        gap
    }

    /// When [`Self::poll`] is due.
    pub fn deadline(&mut self) -> Option<Millis> {
        self.sequencer.deadline()
    }

    /// What the store is to be asked about now.
    pub fn poll(&mut self, now: Millis) -> Option<Gap> {
        self.sequencer.poll(now)
    }

    /// The store's answer.
    pub fn recovered<O: Outlet<Waiter = W>>(
        &mut self,
        gap: Gap,
        found: Vec<Announced>,
        outlet: &mut O,
    ) {
        let Self { table, sequencer, held, recent, scratch, .. } = self;
        // The store was asked about the channels of then.
        recent.forget(gap.upto);
        sequencer.recovered(gap, found, &mut |a, late| {
            recent.saw(a.id, &a.receivers);
            route(table, held, scratch, &a, late, outlet);
        });
        self.release(outlet);
    }

    fn release<O: Outlet<Waiter = W>>(&mut self, outlet: &mut O) {
        while let Some(first) = self.waiters.first_entry() {
            if !self.sequencer.has_passed(*first.key()) {
                break;
            }
            for waiter in first.remove() {
                outlet.reached(waiter);
            }
        }
    }
}

/// Hands one message to every link that has any of its receivers.
fn route<O: Outlet>(
    table: &ChannelTable,
    held: &mut HeldLinks,
    scratch: &mut Vec<(LinkId, u32)>,
    announced: &Announced,
    late: bool,
    outlet: &mut O,
) {
    let Announced { id, receivers, outgoing } = announced;
    if let [only] = &receivers[..] {
        for link in table.links(only) {
            send(held, *link, *id, late, receivers, outgoing, outlet);
        }
        return;
    }
    scratch.clear();
    for (index, key) in receivers.iter().enumerate() {
        scratch.extend(table.links(key).iter().map(|link| (*link, index as u32)));
    }
    scratch.sort_unstable();
    for group in scratch.chunk_by(|a, b| a.0 == b.0) {
        let mut theirs: Vec<ChannelKey> =
            group.iter().map(|(_, index)| receivers[*index as usize]).collect();
        theirs.sort_unstable();
        theirs.dedup();
        send(held, group[0].0, *id, late, &theirs, outgoing, outlet);
    }
}

fn send<O: Outlet>(
    held: &mut HeldLinks,
    link: LinkId,
    id: Mid,
    late: bool,
    receivers: &[ChannelKey],
    outgoing: &Bytes,
    outlet: &mut O,
) {
    let limit = held.limit;
    let Some(held) = held.links.get_mut(&link) else {
        return outlet.deliver(link, id, late, receivers, outgoing);
    };
    let delivery = Delivery { id, late, receivers: receivers.to_vec(), outgoing: outgoing.clone() };
    held.bytes += delivery.cost();
    held.deliveries.push(delivery);
    if held.bytes > limit {
        outlet.overflow(link);
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
