//! What a worker counts, and what waits in it.

use std::fmt;

use crate::Format;
use crate::session::Kind;

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
    /// WebSockets and polls in binary form that are open.
    pub binary: [usize; 2],
    /// WebSockets and polls that came.
    pub opened: [u64; 2],
    /// Of [`Self::published`] those of which nothing is kept.
    pub live: u64,
    /// Publishes answered 400, or what a WebSocket is closed with instead.
    pub refused_400: u64,
    /// Publishes answered 413.
    pub refused_413: u64,
    /// Publishes answered 500.
    pub failed_500: u64,
    /// Publishes answered 503.
    pub failed_503: u64,
    /// Publishes answered 504.
    pub failed_504: u64,
    /// Clients that returned with an id.
    pub recoveries: u64,
    /// Of those, who had missed nothing.
    pub recovered_nothing: u64,
    /// Of those, who were sent something.
    pub recovered_history: u64,
    /// Of those, who could not be told.
    pub recoveries_failed: u64,
    /// Messages they were sent.
    pub recovered_messages: u64,
    /// Times that the link could not be made, or broke.
    pub link_failures: u64,
}

impl Counters {
    pub(super) fn came(&mut self, kind: Kind, format: Format) {
        *self.open(kind) += 1;
        self.binary[kind as usize] += usize::from(format == Format::Binary);
        self.opened[kind as usize] += 1;
    }

    pub(super) fn went(&mut self, kind: Kind, format: Format) {
        *self.open(kind) -= 1;
        self.binary[kind as usize] -= usize::from(format == Format::Binary);
    }

    fn open(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::WebSocket => &mut self.websockets,
            Kind::Poll => &mut self.polls,
        }
    }

    /// A publish is answered so.
    pub(super) fn refused_publish(&mut self, status: u16) {
        match status {
            413 => self.refused_413 += 1,
            500 => self.failed_500 += 1,
            503 => self.failed_503 += 1,
            504 => self.failed_504 += 1,
            _ => self.refused_400 += 1,
        }
    }
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
