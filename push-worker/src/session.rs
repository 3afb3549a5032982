//! One subscriber's connection.

use std::rc::Rc;

use push_protocol::frame::Decoder;
use push_protocol::{ChannelKey, Mid};

use crate::delivery::Delivery;
use crate::engine::Intake;
use crate::hub::{Hub, Place};
use crate::outbox::Outbox;
use crate::slab::NIL;
use crate::tally::{Tally, Weight};
use crate::{Format, SettingsId};

/// How a session is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A detached WebSocket.
    WebSocket,
    /// An HTTP request that waits for its answer.
    Poll,
}

/// Where a WebSocket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its channels are being subscribed, its handshake has not been answered: what comes for it
    /// waits.
    Opening,
    /// Listening.
    Open,
    /// Our close frame is on its way, the peer's is awaited.
    Closing,
    /// The same, but what the peer sends can't be understood any more.
    Deaf,
}

/// A session. There may be 100,000 of them in a worker: every field is paid for that often.
#[derive(Debug)]
pub struct Session {
    /// The host's name for the connection or the request.
    pub handle: usize,
    /// Its places in the hub.
    pub places: Box<[Place]>,
    /// Frames from the client.
    pub decoder: Decoder,
    /// What its socket does not take yet.
    pub outbox: Option<Box<Outbox>>,
    /// What it says faster than it is listened to.
    pub intake: Option<Box<Intake>>,
    /// Set while its history is being read.
    pub recovery: Option<Box<Recovery>>,
    /// When it was opened, Unix microseconds; no two of a worker are alike.
    pub opened: u64,
    /// When it is due, on the host's clock.
    pub due: u64,
    /// Its neighbours in the list of those due after the same interval.
    pub earlier: u32,
    /// See `earlier`.
    pub later: u32,
    /// Which list that is.
    pub list: u16,
    /// Its location.
    pub settings: SettingsId,
    /// Fan-outs under way that still have to come to this session.
    pub fanouts: u16,
    /// The last id it was sent; at first where it left off.
    pub last: Mid,
    /// The `mid` of a poll came from the client.
    pub has_mid: bool,
    /// How it is connected.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: State,
    /// In which form it wants messages.
    pub format: Format,
    /// A ping is out and no pong has come.
    pub awaits_pong: bool,
}

/// Live messages wait here until the history in front of them has come.
#[derive(Debug)]
pub struct Recovery {
    /// The question on the link; 0: the client has no `mid`, nothing was asked.
    pub req: u32,
    /// The client's `mid`.
    pub after: Mid,
    /// How far the answer is.
    pub progress: Progress,
    /// History, in id order.
    pub items: Vec<Rc<Delivery>>,
    /// Live messages, in the order they came.
    pub held: Vec<Rc<Delivery>>,
    /// Bytes in `held`.
    pub held_bytes: usize,
    /// The memory of `items`.
    pub weight: Weight,
}

/// How far the answer to a recovery's question is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More is to come.
    Waiting,
    /// The history is complete up to this id.
    Complete(Mid),
    /// The store can't read it.
    Failed,
}

impl Recovery {
    /// One that begins.
    pub fn new(req: u32, after: Mid, tally: &Tally) -> Self {
        let progress = if req == 0 { Progress::Complete(Mid::ZERO) } else { Progress::Waiting };
        let (items, held, weight) = (Vec::new(), Vec::new(), Weight::new(tally));
        Self { req, after, progress, items, held, held_bytes: 0, weight }
    }
}

impl Session {
    /// A new one, in no list and in no channel.
    pub fn new(handle: usize, kind: Kind, settings: SettingsId, format: Format) -> Self {
        Self {
            handle,
            places: Box::default(),
            decoder: Decoder::new(),
            outbox: None,
            intake: None,
            recovery: None,
            opened: 0,
            due: 0,
            earlier: NIL,
            later: NIL,
            list: u16::MAX,
            settings,
            fanouts: 0,
            last: Mid::ZERO,
            has_mid: false,
            kind,
            state: State::Open,
            format,
            awaits_pong: false,
        }
    }

    /// Bytes that wait for it.
    pub fn waiting(&self) -> usize {
        let queued = self.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
        queued + self.recovery.as_ref().map_or(0, |recovery| recovery.held_bytes)
    }

    /// Its channels as receivers of messages.
    pub fn receivers(&self, hub: &Hub) -> Vec<ChannelKey> {
        self.places.iter().map(|place| hub.key(place.slot)).collect()
    }

    /// Bytes that it makes the worker keep: frames, history, and what it has sent in part.
    pub fn cost(&self) -> usize {
        let outbox = self.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
        let history = self.recovery.as_ref().map_or(0, |recovery| recovery.weight.bytes());
        let intake = self.intake.as_ref().map_or(0, |intake| intake.bytes());
        outbox + history + intake
    }
}

impl Recovery {
    /// History and live messages as one sequence: each id once, in id order. `as_of` is the id up
    /// to which the history is complete.
    pub fn merge(mut self, as_of: Mid) -> Vec<Rc<Delivery>> {
        // An id beyond everything the store has given out cannot be where the client left off.
        let after = if self.after > as_of { Mid::ZERO } else { self.after };
        self.items.append(&mut self.held);
        self.items.retain(|message| message.id > after || message.late);
        self.items.sort_by_key(|message| message.id);
        self.items.dedup_by_key(|message| message.id);
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 112, "{}", size_of::<Session>());
    }

    fn message(counter: u64) -> Rc<Delivery> {
        Rc::new(Delivery::new(Mid::new(1, counter), false, Bytes::new()))
    }

    fn merged(after: u64, items: &[u64], held: &[u64], as_of: u64) -> Vec<u64> {
        let of = |list: &[u64]| list.iter().map(|&n| message(n)).collect();
        let mut recovery = Recovery::new(1, Mid::new(1, after), &Tally::default());
        (recovery.items, recovery.held) = (of(items), of(held));
        recovery.merge(Mid::new(1, as_of)).iter().map(|m| m.id.counter()).collect()
    }

    #[test]
    fn history_and_live_messages_come_once_each_in_order() {
        assert_eq!(merged(3, &[4, 5, 7], &[5, 6, 7, 8], 8), [4, 5, 6, 7, 8]);
        assert_eq!(merged(3, &[], &[], 3), []);
    }

    #[test]
    fn what_the_client_had_before_the_announcement_came_here_is_not_repeated() {
        assert_eq!(merged(6, &[], &[5, 6, 7], 7), [7]);
    }

    #[test]
    fn an_impossible_mid_does_not_silence_live_messages() {
        assert_eq!(merged(1000, &[], &[5, 6], 6), [5, 6]);
    }
}
