//! What a worker counts, and what waits in it.

use std::fmt;

/// What a worker has done since it started, and holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// WebSockets that are open.
    pub websockets: usize,
    /// Long polls that wait.
    pub polls: usize,
    /// Channels with a local subscriber.
    pub channels: usize,
    /// Messages written to, or queued for, a subscriber.
    pub delivered: u64,
    /// Publishes acknowledged.
    pub published: u64,
    /// Publishes answered 503, or dropped if a WebSocket client sent them.
    pub unpublished: u64,
    /// Subscribers cut off because they did not read.
    pub slow: u64,
    /// Subscribers that had to go because their channel had too many connections.
    pub evicted: u64,
    /// Subscribers cut off because too much waited in the whole worker, and most of it for them.
    pub crowded: u64,
    /// WebSockets cut off because they did not answer a ping.
    pub silent: u64,
    /// WebSockets cut off because they did not answer our close.
    pub unclosed: u64,
    /// WebSockets closed because their bytes are no frames, or too large.
    pub malformed: u64,
    /// WebSockets closed because of a request that is wrong.
    pub wrong: u64,
    /// Pings that were answered by the pong of a later one.
    pub merged_pings: u64,
    /// Times that a client had to wait with what it said.
    pub postponed: u64,
    /// Bytes that wait for clients, or of what they have sent in part.
    pub waiting: usize,
}

impl fmt::Display for Counters {
    /// `name=number`, of what has happened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delivered={} published={} unpublished={} slow={} crowded={} evicted={} silent={} \
             unclosed={} malformed={} wrong={} merged_pings={} postponed={}",
            self.delivered,
            self.published,
            self.unpublished,
            self.slow,
            self.crowded,
            self.evicted,
            self.silent,
            self.unclosed,
            self.malformed,
            self.wrong,
            self.merged_pings,
            self.postponed,
        )
    }
}

/// What waits in a worker now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queues {
    /// Bytes that wait for the session that most wait for: frames its socket does not take, and
    /// live messages held back until its history has come.
    pub largest_session: usize,
    /// Messages that are being handed out.
    pub fanouts: usize,
    /// Bytes of publishes without an answer.
    pub publishes: usize,
    /// Bytes that the link does not take.
    pub link: usize,
}
