//! What becomes of messages to a channel, while an operator looks. Nobody looks most of the time: then
//! it costs a test for each message.

use std::collections::VecDeque;

use push_link::{ToSidecar, Traced};
use push_protocol::{ChannelKey, Mid};

use super::Engine;
use crate::session::Kind;
use crate::{Format, Host};

/// Deliveries that are remembered; the oldest go first.
const MAX_DELIVERIES: usize = 64;
/// Channels that are traced at the same time.
const MAX_CHANNELS: usize = 64;
/// How long a channel is traced after somebody has asked, milliseconds.
const LOOKING: u64 = 10_000;

/// What became of a message for one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Written(Kind, Format),
    Held,
    Had,
    Cut,
    Closing,
}

/// What is traced, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    /// Channels, and until when.
    channels: VecDeque<(ChannelKey, u64)>,
    deliveries: VecDeque<Traced>,
}

impl Engine {
    /// `TraceWanted`.
    pub(super) fn trace<H: Host>(&mut self, host: &mut H, req: u32, channels: &[ChannelKey]) {
        let now = host.now();
        let mut tracing = self.tracing.take().unwrap_or_default();
        for key in channels.iter().take(MAX_CHANNELS) {
            tracing.channels.retain(|(traced, until)| traced != key && *until > now);
            tracing.channels.push_back((*key, now + LOOKING));
        }
        while tracing.channels.len() > MAX_CHANNELS {
            tracing.channels.pop_front();
        }
        let deliveries = tracing.deliveries.iter().copied().collect();
        self.tracing = Some(tracing);
        let mut sessions: Vec<u32> = Vec::new();
        for slot in channels.iter().filter_map(|key| self.hub.find(key)) {
            sessions.extend_from_slice(self.hub.subscribers(slot));
        }
        sessions.sort_unstable();
        sessions.dedup();
        let (mut subscribers, mut waiting) = ([0; 3], 0);
        for session in sessions.into_iter().filter_map(|index| self.sessions.get(index)) {
            subscribers[match (session.kind, session.format) {
                (Kind::WebSocket, Format::Text) => 0,
                (Kind::WebSocket, Format::Binary) => 1,
                (Kind::Poll, _) => 2,
            }] += 1;
            waiting += session.waiting() as u64;
        }
        self.link.send(&ToSidecar::Trace { req, subscribers, waiting, deliveries });
        host.wake_link();
    }

    /// A message came.
    pub(super) fn trace_message<H: Host>(&mut self, host: &H, id: Mid, receivers: &[ChannelKey]) {
        let Some(tracing) = &mut self.tracing else { return };
        let now = host.now();
        tracing.channels.retain(|(_, until)| *until > now);
        if tracing.channels.is_empty() {
            self.tracing = None;
            return;
        }
        if !tracing.channels.iter().any(|(key, _)| receivers.contains(key)) {
            return;
        }
        if tracing.deliveries.len() == MAX_DELIVERIES {
            tracing.deliveries.pop_front();
        }
        tracing.deliveries.push_back(Traced { id, at: host.unix_ms(), ..Traced::default() });
    }

    /// Whether anything is traced.
    pub(super) fn is_traced(&self) -> bool {
        self.tracing.is_some()
    }

    /// What became of a message for a session.
    pub(super) fn trace_outcome<H: Host>(&mut self, host: &H, id: Mid, outcome: Outcome) {
        let deliveries = self.tracing.iter_mut().flat_map(|tracing| &mut tracing.deliveries);
        let Some(traced) = deliveries.rev().find(|traced| traced.id == id) else { return };
        let count = match outcome {
            Outcome::Written(kind, format) => {
                traced.written = host.unix_ms();
                match (kind, format) {
                    (Kind::WebSocket, Format::Text) => &mut traced.text,
                    (Kind::WebSocket, Format::Binary) => &mut traced.binary,
                    (Kind::Poll, _) => &mut traced.polls,
                }
            }
            Outcome::Held => &mut traced.held,
            Outcome::Had => &mut traced.had,
            Outcome::Cut => &mut traced.cut,
            Outcome::Closing => &mut traced.closing,
        };
        *count += 1;
    }
}
