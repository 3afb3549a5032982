//! Requests to publish and to ask for statistics (PROTOCOL.md, sections 4, 5, 8).

pub(crate) mod batch;
mod stats;
mod text;

pub use batch::{client, trusted};
pub use stats::{channel_stats, channel_stats_batch, channel_stats_json, server_stats_batch};
pub use text::{parse_expiry, text};

use crate::ChannelKey;

/// The label of messages that carry none, or none of the right shape.
pub const UNKNOWN_LABEL: &str = "unknown";

/// What a request may ask for at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Messages of one request.
    pub max_messages: usize,
    /// Receivers of one message, or channels asked for.
    pub max_channels: usize,
    /// Seconds a message is kept at most; a longer expiry is cut to it.
    pub message_ttl: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_messages: 100, max_channels: 100, message_ttl: 86_400 }
    }
}

/// One addressee of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// The channel.
    pub key: ChannelKey,
    /// The raw signature the publisher gave; empty: none. It travels along in the announcement.
    pub signature: Vec<u8>,
}

impl Receiver {
    /// The key and the signature.
    pub fn parts(&self) -> (&ChannelKey, &[u8]) {
        (&self.key, &self.signature)
    }
}

/// A message to publish, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Whom it is for.
    pub receivers: Vec<Receiver>,
    /// Seconds to keep it, clamped; 0: live delivery only.
    pub expiry: u32,
    /// Everything of its `OutgoingMessage` but the id (see [`crate::outgoing`]).
    pub rest: Vec<u8>,
    /// What it counts as in the daily counters.
    pub label: String,
}

/// What a request asks for, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Publish these, all or nothing, in order. May be none.
    Publish(Vec<Publication>),
    /// Which of these are online? At least one.
    ChannelStats(Vec<ChannelKey>),
    /// The statistics of the servers; from trusted requests only.
    ServerStats,
}
