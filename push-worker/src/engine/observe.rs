//! What this worker has counted, and how all of it does: asked by operators, answered by the
//! sidecar for all workers, or by this worker for itself while there is no sidecar.

use std::collections::VecDeque;

use push_link::{METRICS_SINCE, Slow, ToSidecar};
use push_metrics::{Exposition, Histogram, Number, Report, Span};
use push_protocol::{ChannelKey, Mid};

use super::Engine;
use crate::publishing::{About, Asker, Question};
use crate::response::ContentType;
use crate::session::Kind;
use crate::{Host, Request, Response};

/// Clients told of as those that most waits for.
const SLOWEST: usize = 5;

/// Messages of which is remembered when they were written, until it is told when they were published.
const WRITTEN: usize = 64;
/// Messages of which is remembered when they were published, until they are written.
const AWAITED: usize = 16;

/// What an operator wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Prometheus' text format.
    Metrics,
    /// The status page's numbers, in JSON.
    Status,
}

/// How long things take, and what has been told of it all.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// From a publish to its answer.
    publishes: Histogram,
    /// From a publish to its message's last write here.
    deliveries: Histogram,
    /// Messages with the time of their last write, Unix microseconds.
    written: VecDeque<(Mid, u64)>,
    /// Messages with the time of their publish, Unix microseconds.
    awaited: VecDeque<(Mid, u64)>,
    /// What the sidecar was last told.
    told: Report,
    /// What it, or another one, was told on an earlier link.
    told_before: Report,
}

impl Observed {
    /// A publish was answered.
    pub fn answered(&mut self, at: u64, now: u64) {
        self.publishes.record(now.saturating_sub(at));
    }

    /// All of a message has been handed out here.
    pub fn written(&mut self, id: Mid, now: u64) {
        if !self.awaited.is_empty()
            && let Some(place) = self.awaited.iter().position(|(other, _)| *other == id)
            && let Some((_, at)) = self.awaited.remove(place)
        {
            return self.deliveries.record(now.saturating_sub(at));
        }
        if self.written.len() == WRITTEN {
            self.written.pop_front();
        }
        self.written.push_back((id, now));
    }

    /// A message was published then, on this host. It may have been handed out already, and may
    /// never be.
    pub fn published(&mut self, id: Mid, at: u64) {
        if let Some((_, now)) = self.written.iter().rev().find(|(other, _)| *other == id) {
            return self.deliveries.record(now.saturating_sub(at));
        }
        if self.awaited.len() == AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back((id, at));
    }

    /// The link broke: what was told stays told.
    pub fn link_broke(&mut self) {
        self.told_before.clone_from(&self.told);
    }
}

impl Engine {
    /// The host has refused a publish with this status before it came here.
    pub fn refused_publish(&mut self, status: u16) {
        self.counters.refused_publish(status);
    }

    /// An operator asks; answered within 2 s, by what this worker knows alone if the sidecar does
    /// not answer. Returns a name for [`Engine::abandon`].
    pub fn observe<H: Host>(&mut self, host: &mut H, request: Request, view: View) -> u64 {
        self.ask(host, Asker::Request(request), About::View(view))
    }

    /// The sidecar's answer.
    pub(super) fn observation<H: Host>(&mut self, host: &mut H, req: u32, text: bytes::Bytes) {
        let Some(Question { asker, about, .. }) = self.questions.remove(&req) else {
            return;
        };
        let About::View(view) = about else {
            return self.leave_unanswered(host, asker, &about);
        };
        self.answer_asker(host, asker, Response::ok(content_type(view), text));
    }

    /// Tells the sidecar what has been counted. `req`: its question; 0 when the worker leaves.
    pub(super) fn tell_metrics(&mut self, req: u32, slow: bool) {
        if self.link.version < METRICS_SINCE {
            return;
        }
        let report = self.metrics();
        let slow = if slow { self.slowest() } else { Vec::new() };
        let (now, before) = (report.to_words(), self.observed.told_before.to_words());
        self.link.send(&ToSidecar::Metrics { req, now, before, slow });
        self.observed.told = report;
    }

    /// The worker leaves: the sidecar is told what it has counted last. The host sends it and closes
    /// the link.
    pub fn tell_last(&mut self) {
        self.tell_metrics(0, false);
    }

    /// What this worker has counted and holds.
    pub fn metrics(&self) -> Report {
        let (counters, queues) =
            (self.counters(), (self.publishing.bytes(), self.link.output().len()));
        let failures = self.locations.iter().map(|location| location.settings.verifier.failures());
        let [websockets, polls] = [counters.websockets, counters.polls].map(|count| count as u64);
        let [binary_websockets, binary_polls] = counters.binary.map(|count| count as u64);
        let mut report = Report::default();
        for (number, value) in [
            (Number::WebsocketsProtobuf, binary_websockets),
            (Number::WebsocketsJson, websockets.saturating_sub(binary_websockets)),
            (Number::PollsProtobuf, binary_polls),
            (Number::PollsJson, polls.saturating_sub(binary_polls)),
            (Number::WebsocketsOpened, counters.opened[0]),
            (Number::PollsOpened, counters.opened[1]),
            (Number::Stored, counters.published - counters.live),
            (Number::Live, counters.live),
            (Number::Refused400, counters.refused_400),
            (Number::Refused413, counters.refused_413),
            (Number::Failed500, counters.failed_500),
            (Number::Failed503, counters.failed_503),
            (Number::Failed504, counters.failed_504),
            (Number::Delivered, counters.delivered),
            (Number::WaitingBytes, counters.waiting as u64),
            (Number::LinkBytes, queues.1 as u64),
            (Number::PublishBytes, queues.0 as u64),
            (Number::Fanouts, self.fanouts.len() as u64),
            (Number::Slow, counters.slow),
            (Number::Crowded, counters.crowded),
            (Number::Evicted, counters.evicted),
            (Number::Silent, counters.silent),
            (Number::Unclosed, counters.unclosed),
            (Number::Malformed, counters.malformed),
            (Number::Wrong, counters.wrong),
            (Number::SignatureFailures, failures.sum()),
            (Number::RecoveriesAsked, counters.recoveries),
            (Number::RecoveredNothing, counters.recovered_nothing),
            (Number::RecoveredHistory, counters.recovered_history),
            (Number::RecoveriesFailed, counters.recoveries_failed),
            (Number::RecoveredMessages, counters.recovered_messages),
            (Number::Postponed, counters.postponed),
            (Number::LinkFailures, counters.link_failures),
            (Number::Channels, counters.channels as u64),
        ] {
            report.set(number, value);
        }
        report.set_span(Span::Publish, self.observed.publishes);
        report.set_span(Span::Delivery, self.observed.deliveries);
        report
    }

    /// The clients that most waits for. A pass over all sessions, if anything waits at all.
    fn slowest(&self) -> Vec<Slow> {
        if self.tally.bytes() == 0 {
            return Vec::new();
        }
        let mut slow: Vec<Slow> = self
            .sessions
            .iter()
            .filter(|session| session.kind == Kind::WebSocket && session.waiting() > 0)
            .filter_map(|session| {
                let channel: ChannelKey = self.hub.key(session.places.first()?.slot);
                Some(Slow { channel, bytes: session.waiting() as u64, opened: session.opened })
            })
            .collect();
        slow.sort_unstable_by_key(|slow| std::cmp::Reverse(slow.bytes));
        slow.truncate(SLOWEST);
        slow
    }

    /// What this worker knows without a sidecar. Its series are labelled as its own, so that they
    /// are not taken for those of all.
    pub(super) fn own_view(&self, view: View) -> Response {
        let text = match view {
            View::Metrics => {
                let worker = Exposition::label("worker", &self.pid.to_string());
                let mut out = Exposition::default();
                let module = Exposition::label("module", &self.software);
                out.number("bx_push_build_info", &[&worker, &module], 1);
                out.number("bx_push_link_up", &[], 0);
                self.metrics().expose(&mut out, &worker);
                out.finish()
            }
            View::Status => {
                let report = self.metrics();
                let connections = report.sum("bx_push_connections");
                format!(
                    "{{\"link_up\":false,\"worker\":{},\"connections\":{connections},\"deliveries\":{}}}",
                    self.pid,
                    report.get(Number::Delivered)
                )
            }
        };
        Response::ok(content_type(view), text)
    }
}

const fn content_type(view: View) -> ContentType {
    match view {
        View::Metrics => ContentType::Metrics,
        View::Status => ContentType::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_timed_whatever_comes_first() {
        let mut observed = Observed::default();
        let id = |counter| Mid::new(1, counter);
        observed.written(id(1), 1_300);
        observed.published(id(1), 1_000);
        observed.published(id(2), 2_000);
        observed.written(id(2), 2_300);
        // Never written here; never told.
        observed.published(id(3), 3_000);
        observed.written(id(4), 4_000);
        assert_eq!((observed.deliveries.count(), observed.deliveries.sum), (2, 600));
        for counter in 5..1_000 {
            observed.published(id(2 * counter), 0);
            observed.written(id(2 * counter + 1), 0);
        }
        assert!(observed.written.len() <= WRITTEN && observed.awaited.len() <= AWAITED);
    }
}
