//! Where messages and queues live: one trait, two implementations, one conformance suite
//! (`tests/store_conformance.rs`).
//!
//! The store is what makes the total order: it gives out ids and announces messages in id order,
//! and everybody, the publishing sidecar included, takes them from the announcements.

pub mod memory;
pub mod redis;

use std::future::Future;

use bytes::Bytes;
use push_metrics::Histogram;
use push_protocol::{ChannelKey, Mid};
use tokio::sync::mpsc;

use crate::health::Condition;

/// How long a store remembers a publish's token and keeps messages that are not kept for history,
/// so that a link or a subscription that broke can be made good. Seconds; several times as long as
/// a worker goes on sending an unacknowledged publish.
pub const RECOVERY_SECONDS: u64 = 60;

/// Statistics that are older are over, milliseconds (PROTOCOL.md, section 13).
const STATISTICS_LIVE: u64 = 70_000;

/// Whether statistics of that date, Unix milliseconds, are those of a process that has ended.
pub fn is_over(date: u64, now: u64) -> bool {
    date.saturating_add(STATISTICS_LIVE) <= now
}

/// What makes a publish unique: the worker process (random) and the publish's number in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token {
    /// `Hello.instance` of the link.
    pub instance: u64,
    /// `Publish.seq`.
    pub seq: u64,
}

impl Token {
    /// Both parts, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.instance) << 64) | u128::from(self.seq)).to_be_bytes()
    }
}

/// A message without its id, as the link carries it.
pub use push_link::PublishItem;

/// A message that everybody is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Its id.
    pub id: Mid,
    /// Whom it is for. A `missed` answer names only those that were asked about.
    pub receivers: Vec<ChannelKey>,
    /// The complete `OutgoingMessage` encoding.
    pub outgoing: Bytes,
}

/// One event of the announcement stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreEvent {
    /// A message was stored and announced.
    Announced(Announced),
    /// Every id up to this one has been given out, and was announced before this event unless its
    /// announcement is late or lost.
    GivenOut(Mid),
    /// Online marks of these channels were taken away, here or by another host.
    Cleared(Vec<ChannelKey>),
    /// Announcements may be missing from here on until `Restored`. The stream starts in this state.
    Lost,
    /// The stream is whole again: every message with an id up to `position` was announced before,
    /// seen or not; those behind it follow.
    Restored {
        /// The last id given out when the stream was proved to be whole.
        position: Mid,
    },
}

/// The announcement stream. Unbounded: the reader only sorts and hands on, and what it hands on is
/// bounded per link.
pub type Events = mpsc::UnboundedReceiver<StoreEvent>;

/// How much of a history is wanted, counted over messages that are still alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// The newest of each channel.
    pub per_channel: usize,
    /// The newest of all.
    pub total: usize,
}

impl Caps {
    /// What a returning subscriber is sent (PROTOCOL.md, section 11).
    pub const SUBSCRIBER: Self = Self { per_channel: 100, total: 200 };
    /// Just the newest message.
    pub const NEWEST: Self = Self { per_channel: 1, total: 1 };
}

/// A history: what is stored and alive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Ids with the complete `OutgoingMessage` encodings, ascending.
    pub messages: Vec<(Mid, Bytes)>,
    /// The last id given out at the moment of reading: the history is complete up to it.
    pub as_of: Mid,
}

/// One message, as far as the store remembers it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The complete `OutgoingMessage` encoding, unless its time is over.
    pub outgoing: Option<Bytes>,
    /// Its receivers; a message that was stored more than [`RECOVERY_SECONDS`] ago may have none.
    pub receivers: Vec<ChannelKey>,
    /// Seconds that it will still be kept; `None`: it is in no queue.
    pub left: Option<u64>,
}

/// What was announced in a stretch of ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Missed {
    /// Ascending by id; each with those of its receivers that were asked about.
    pub messages: Vec<Announced>,
    /// Messages in the stretch that are surely stored, announced (seen or still to come), and for
    /// none of the receivers that were asked about. Whoever asks for their receivers later finds them.
    pub others: Vec<Mid>,
    /// The answer is complete up to this id.
    pub as_of: Mid,
}

/// Why a store did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Not now, and nothing was done: out of reach, loading, read-only. The same call may be made
    /// again; a publish under its token.
    #[error("{0}")]
    Unavailable(String),
    /// It broke under the call, or took too long: done or not. The same call may be made again; a
    /// publish under its token, which tells.
    #[error("{0}")]
    Unknown(String),
    /// Never: the store refuses it for what it is.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_))
    }
}

/// A store. All methods may be called at the same time; the daemon is one thread, so futures need
/// not be `Send`.
pub trait Store {
    /// Gives the messages ids, stores each in every receiver's queue and announces it, in one
    /// atomic step and in order. A token seen within [`RECOVERY_SECONDS`] is answered with the ids
    /// of then, and nothing is stored again.
    fn publish(
        &self,
        token: Token,
        messages: Vec<PublishItem>,
    ) -> impl Future<Output = Result<Vec<Mid>, StoreError>>;

    /// What is stored and alive for any of `receivers` with an id greater than `after`, the newest
    /// within `caps`; read at one moment together with `as_of`.
    fn history(
        &self,
        receivers: &[ChannelKey],
        after: Mid,
        caps: Caps,
    ) -> impl Future<Output = Result<History, StoreError>>;

    /// Everything announced to any of `receivers` with `after < id <= upto`, live-only messages of
    /// the last [`RECOVERY_SECONDS`] included. Without `upto`, up to the last id given out.
    fn missed(
        &self,
        receivers: Vec<ChannelKey>,
        after: Mid,
        upto: Option<Mid>,
    ) -> impl Future<Output = Result<Missed, StoreError>>;

    /// What is remembered of a message, for operators.
    fn find(&self, _id: Mid) -> impl Future<Output = Result<Option<Found>, StoreError>> {
        async { Ok(None) }
    }

    /// The last id given out; [`Mid::ZERO`] if there is none.
    fn last_id(&self) -> impl Future<Output = Result<Mid, StoreError>>;

    /// Marks channels online for the reference's 130 s (PROTOCOL.md, section 12).
    fn mark_online(&self, channels: &[ChannelKey]) -> impl Future<Output = Result<(), StoreError>>;

    /// Takes online marks away that were set here or by another host, and tells everybody by
    /// [`StoreEvent::Cleared`]: who has one of the channels marks it again. Beside running reference
    /// processes, which would not, marks are left to end by themselves.
    fn clear_online(&self, channels: &[ChannelKey])
    -> impl Future<Output = Result<(), StoreError>>;

    /// Which of the channels are marked, in their order.
    fn online(
        &self,
        channels: &[ChannelKey],
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>>;

    /// The statistics that other processes have left: their names and what they wrote. Without a
    /// shared store there are none.
    fn statistics(&self) -> impl Future<Output = Result<Vec<(String, Vec<u8>)>, StoreError>> {
        async { Ok(Vec::new()) }
    }

    /// Leaves statistics under the names given, and takes those of other names away.
    fn leave_statistics(
        &self,
        _ours: Vec<(String, String)>,
        _over: Vec<String>,
    ) -> impl Future<Output = Result<(), StoreError>> {
        async { Ok(()) }
    }

    /// How the store does, part by part.
    fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }

    /// What the messages cost that are kept in this process, bytes.
    fn bytes(&self) -> usize {
        0
    }

    /// How many kept messages have gone before their time, for want of room.
    fn dropped(&self) -> u64 {
        0
    }

    /// How long commands to a shared store took, from sending to answer.
    fn command_times(&self) -> Option<Histogram> {
        None
    }

    /// Called every few seconds, to free what is over.
    fn housekeeping(&self) {}
}
