//! Publishes and questions that wait for the sidecar's answer.

use std::collections::{BTreeMap, VecDeque};

use push_link::{PublishItem, ToSidecar};
use push_protocol::ChannelKey;
use push_protocol::request::Publication;

use crate::slab::Id;
use crate::{Format, Request, View};

/// How long a publish waits for the sidecar or the store, milliseconds.
pub const PATIENCE: u64 = 5_000;
/// How long after "not now" it is sent again, milliseconds.
const RETRY_AFTER: u64 = 100;
/// Bytes of publishes that may wait; beyond it publishers get 503 at once.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Who gets the answer to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// An HTTP request.
    Request(Request),
    /// A WebSocket client.
    Session(Id),
    /// Somebody who has gone.
    Nobody,
}

#[derive(Debug)]
struct Waiting {
    asker: Asker,
    /// When it came, Unix microseconds.
    at: u64,
    /// Nothing of it is kept.
    live: bool,
    /// The whole frame: it is sent again under the same token when the link broke under it.
    frame: Vec<u8>,
    deadline: u64,
    /// On a link, and not answered there.
    under_way: bool,
    /// An attempt has ended without a word of what became of it.
    unknown: bool,
}

/// A publish that is done with.
#[derive(Debug)]
pub struct Finished {
    /// Who waits for the answer.
    pub asker: Asker,
    /// When it came, Unix microseconds.
    pub at: u64,
    /// Nothing of it is kept.
    pub live: bool,
}

/// A publish whose time is up.
#[derive(Debug)]
pub struct Expired {
    /// What it was.
    pub finished: Finished,
    /// Whether it may have been stored.
    pub unknown: bool,
}

/// The publishes under way, by their sequence numbers.
#[derive(Debug, Default)]
pub struct Publishing {
    waiting: BTreeMap<u64, Waiting>,
    retries: VecDeque<(u64, u64)>,
    last_seq: u64,
    bytes: usize,
}

impl Publishing {
    /// Takes a publish in; `None` when too much waits already. `at`: when it came, Unix microseconds.
    pub fn add(
        &mut self,
        asker: Asker,
        counted: bool,
        messages: Vec<Publication>,
        now: u64,
        at: u64,
    ) -> Option<u64> {
        let live = messages.iter().all(|message| message.expiry == 0);
        let size: usize = messages.iter().map(|m| m.rest.len()).sum();
        // Clients leave the backend its half.
        let max = if matches!(asker, Asker::Session(_)) { MAX_BYTES / 2 } else { MAX_BYTES };
        if self.bytes + size > max {
            return None;
        }
        self.last_seq += 1;
        let seq = self.last_seq;
        let messages = messages
            .into_iter()
            .map(|m| PublishItem {
                expiry: m.expiry,
                label: m.label,
                receivers: m.receivers.into_iter().map(|r| (r.key, r.signature.into())).collect(),
                rest: m.rest.into(),
            })
            .collect();
        let mut frame = Vec::with_capacity(size + 128);
        ToSidecar::Publish { seq, counted, messages, at }.encode(&mut frame);
        self.bytes += frame.len();
        let deadline = now + PATIENCE;
        let waiting =
            Waiting { asker, at, live, frame, deadline, under_way: false, unknown: false };
        self.waiting.insert(seq, waiting);
        Some(seq)
    }

    /// The frame of a publish that is still waiting, to be put on the link.
    pub fn frame(&mut self, seq: u64) -> Option<&[u8]> {
        let waiting = self.waiting.get_mut(&seq)?;
        waiting.under_way = true;
        Some(&waiting.frame)
    }

    /// The frames of all, in order: what a new link is sent.
    pub fn frames(&mut self) -> impl Iterator<Item = &[u8]> {
        self.retries.clear();
        self.waiting.values_mut().map(|waiting| {
            waiting.under_way = true;
            &waiting.frame[..]
        })
    }

    /// The link broke under what was on it.
    pub fn link_broke(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.unknown |= std::mem::take(&mut waiting.under_way);
        }
    }

    /// Bytes of all that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any publish waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The publish is done with; who waits for its answer?
    pub fn finish(&mut self, seq: u64) -> Option<Finished> {
        let waiting = self.waiting.remove(&seq)?;
        self.bytes -= waiting.frame.len();
        Some(Finished { asker: waiting.asker, at: waiting.at, live: waiting.live })
    }

    /// Nobody waits for the answer any more.
    pub fn abandon(&mut self, seq: u64) {
        if let Some(waiting) = self.waiting.get_mut(&seq) {
            waiting.asker = Asker::Nobody;
        }
    }

    /// The store said "not now", or nothing that could be understood (`unknown`): sent again a
    /// little later.
    pub fn retry_later(&mut self, seq: u64, unknown: bool, now: u64) {
        if let Some(waiting) = self.waiting.get_mut(&seq) {
            waiting.under_way = false;
            waiting.unknown |= unknown;
            self.retries.push_back((now + RETRY_AFTER, seq));
        }
    }

    /// A publish to be sent again now.
    pub fn next_retry(&mut self, now: u64) -> Option<u64> {
        let (at, seq) = *self.retries.front()?;
        (at <= now).then(|| {
            self.retries.pop_front();
            seq
        })
    }

    /// A publish whose time is up.
    pub fn expired(&mut self, now: u64) -> Option<Expired> {
        let (&seq, waiting) = self.waiting.first_key_value()?;
        if waiting.deadline > now {
            return None;
        }
        let unknown = waiting.under_way || waiting.unknown;
        Some(Expired { finished: self.finish(seq)?, unknown })
    }

    /// When something is due.
    pub fn next(&self) -> Option<u64> {
        let deadline = self.waiting.first_key_value().map(|(_, waiting)| waiting.deadline);
        let retry = self.retries.front().map(|&(at, _)| at);
        deadline.into_iter().chain(retry).min()
    }
}

/// A question to the sidecar.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub asker: Asker,
    /// What.
    pub about: About,
    /// When the asker stops waiting.
    pub deadline: u64,
}

/// What a question is about, and in which form the answer goes out.
#[derive(Debug)]
pub enum About {
    /// Whether these channels are online.
    Channels(Vec<ChannelKey>, Format),
    /// The statistics of all processes.
    Servers(Format),
    /// How all of it does.
    View(View),
}

impl About {
    /// How long the sidecar may take to answer, milliseconds.
    pub const fn patience(&self) -> u64 {
        match self {
            Self::Channels(..) | Self::Servers(_) => PATIENCE,
            // This worker tells then what it knows, while the operator still looks.
            Self::View(_) => 2_000,
        }
    }
}
