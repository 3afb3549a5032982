//! Messages reach sessions.
//!
//! A message for many subscribers is handed out in pieces, one a turn of the event loop, so that
//! it does not hold up everything else. A later message for one of those subscribers first brings
//! it the earlier one, so every session sees the total order.

use std::rc::Rc;

use bytes::Bytes;
use push_protocol::{ApiError, ChannelKey, Mid};

use super::Engine;
use super::tracing::Outcome;
use crate::delivery::{Delivery, frame_of, payload_of};
use crate::response::ContentType;
use crate::session::{Kind, Progress, State};
use crate::slab::Id;
use crate::{Format, Host, Response};

/// Deliveries in one turn of the event loop; at some 6 us each that is 0.4 ms. A single message
/// meanwhile takes three turns of the worker, from its publisher's request to the write.
const PIECE: usize = 64;

/// Fan-outs that may be under way; one more is finished at once, so that memory stays bounded.
const MAX_FANOUTS: usize = 64;

/// Replayed messages share frames of about this size: a slow client that is cut off has at least
/// made some way.
const REPLAY_FRAME: usize = 256 * 1024;

/// A target that has been served out of turn: no session has this name.
const NOBODY: Id = Id(0);

/// A message that is being handed out.
#[derive(Debug)]
pub struct Fanout {
    message: Rc<Delivery>,
    targets: Vec<Id>,
    next: usize,
}

impl Engine {
    /// A live message came over the link.
    pub(super) fn deliver<H: Host>(
        &mut self,
        host: &mut H,
        id: Mid,
        late: bool,
        receivers: &[ChannelKey],
        outgoing: Bytes,
    ) {
        self.link.reached(id);
        if self.is_traced() {
            self.trace_message(host, id, receivers);
        }
        let slots: Vec<u32> = receivers.iter().filter_map(|key| self.hub.find(key)).collect();
        let message = Rc::new(Delivery::new(id, late, outgoing));
        if let [slot] = slots[..]
            && let [only] = *self.hub.subscribers(slot)
        {
            self.deliver_in_order(host, only, &message);
            return self.observed.written(id, host.unix_us());
        }
        let mut sessions = Vec::new();
        for &slot in &slots {
            sessions.extend_from_slice(self.hub.subscribers(slot));
        }
        if slots.len() > 1 {
            sessions.sort_unstable();
            sessions.dedup();
        }
        if sessions.len() <= PIECE {
            for index in sessions {
                self.deliver_in_order(host, index, &message);
            }
            if !slots.is_empty() {
                self.observed.written(id, host.unix_us());
            }
            return;
        }
        for &index in &sessions {
            if let Some(session) = self.sessions.get_mut(index) {
                session.fanouts += 1;
            }
        }
        let targets = sessions.iter().map(|&index| self.sessions.id(index)).collect();
        self.fanouts.push_back(Fanout { message, targets, next: 0 });
        while self.fanouts.len() > MAX_FANOUTS {
            self.hand_out(host, usize::MAX);
        }
        host.wake_run();
    }

    /// Goes on with fan-outs and with clients that had to wait, a bounded piece of both. True: call
    /// again in the next turn.
    pub fn run<H: Host>(&mut self, host: &mut H) -> bool {
        self.hand_out(host, PIECE);
        let backlog = self.serve_backlog(host);
        backlog || !self.fanouts.is_empty()
    }

    /// Hands out up to `budget` deliveries of the oldest fan-out.
    fn hand_out<H: Host>(&mut self, host: &mut H, budget: usize) {
        let Some(mut fanout) = self.fanouts.pop_front() else {
            return;
        };
        let end = fanout.targets.len().min(fanout.next.saturating_add(budget));
        for at in fanout.next..end {
            let Some(index) = self.sessions.find(fanout.targets[at]) else {
                continue;
            };
            if let Some(session) = self.sessions.get_mut(index) {
                session.fanouts -= 1;
            }
            self.deliver_to(host, index, &fanout.message);
        }
        fanout.next = end;
        if end < fanout.targets.len() {
            self.fanouts.push_front(fanout);
        } else {
            self.observed.written(fanout.message.id, host.unix_us());
        }
    }

    /// Delivers behind everything earlier that is still on its way to this session.
    fn deliver_in_order<H: Host>(&mut self, host: &mut H, index: u32, message: &Rc<Delivery>) {
        if self.bring_forward(host, index) {
            self.deliver_to(host, index, message);
        }
    }

    /// Delivers to one session what fan-outs under way still have for it. False: it is gone.
    fn bring_forward<H: Host>(&mut self, host: &mut H, index: u32) -> bool {
        let id = self.sessions.id(index);
        let Some(session) = self.sessions.get_mut(index) else {
            return false;
        };
        if std::mem::take(&mut session.fanouts) == 0 {
            return true;
        }
        let mut earlier = Vec::new();
        for Fanout { message, targets, next } in &mut self.fanouts {
            if let Some(target) = targets[*next..].iter_mut().find(|target| **target == id) {
                *target = NOBODY;
                earlier.push(Rc::clone(message));
            }
        }
        for message in earlier {
            self.deliver_to(host, index, &message);
            if self.sessions.find(id).is_none() {
                return false;
            }
        }
        true
    }

    /// Delivers to one session, unless it has had the message.
    #[inline]
    fn deliver_to<H: Host>(&mut self, host: &mut H, index: u32, message: &Rc<Delivery>) {
        if self.is_traced() {
            return self.deliver_traced(host, index, message);
        }
        self.deliver_now(host, index, message);
    }

    /// The same, while somebody looks.
    #[cold]
    #[inline(never)]
    fn deliver_traced<H: Host>(&mut self, host: &mut H, index: u32, message: &Rc<Delivery>) {
        let (id, cut) = (self.sessions.id(index), self.counters.slow + self.counters.crowded);
        let Some(outcome) = self.deliver_now(host, index, message) else {
            return;
        };
        let is_gone = self.sessions.find(id).is_none();
        let is_cut = is_gone && self.counters.slow + self.counters.crowded > cut;
        self.trace_outcome(host, message.id, if is_cut { Outcome::Cut } else { outcome });
    }

    /// What becomes of the message; that the session is cut off for it is not told.
    #[inline]
    fn deliver_now<H: Host>(
        &mut self,
        host: &mut H,
        index: u32,
        message: &Rc<Delivery>,
    ) -> Option<Outcome> {
        let session = self.sessions.get_mut(index)?;
        if !matches!(session.state, State::Open | State::Opening) {
            return Some(Outcome::Closing);
        }
        let max_queue = self.locations[usize::from(session.settings.0)].settings.max_queue;
        if let Some(recovery) = &mut session.recovery {
            if recovery.held.last().is_some_and(|held| held.id == message.id) {
                return Some(Outcome::Held);
            }
            recovery.held_bytes += message.len();
            recovery.held.push(Rc::clone(message));
            if recovery.held_bytes > max_queue {
                self.counters.slow += 1;
                self.drop_session(host, index);
            }
            return Some(Outcome::Held);
        }
        if message.id <= session.last && !message.late {
            return Some(Outcome::Had);
        }
        session.last = session.last.max(message.id);
        self.counters.delivered += 1;
        let (kind, format) = (session.kind, session.format);
        match kind {
            Kind::WebSocket => {
                let frame = message.frame(format, host.unix_ms()).clone();
                self.send(host, index, frame);
            }
            Kind::Poll => {
                let body = payload_of(&[message], format, host.unix_ms());
                self.answer(host, index, Response::ok(content_type(format), body));
            }
        }
        Some(Outcome::Written(kind, format))
    }

    /// One message of a session's history.
    pub(super) fn recover_item(&mut self, req: u32, id: Mid, outgoing: Bytes) {
        let index = self.recoveries.get(&req).and_then(|&id| self.sessions.find(id));
        let session = index.and_then(|index| self.sessions.get_mut(index));
        if let Some(recovery) = session.and_then(|session| session.recovery.as_mut()) {
            recovery.weight.set(recovery.weight.bytes() + outgoing.len());
            recovery.items.push(Rc::new(Delivery::new(id, false, outgoing)));
        }
    }

    /// A session's history is complete: what it missed goes out, live messages follow.
    pub(super) fn recover_end<H: Host>(&mut self, host: &mut H, req: u32, ok: bool, as_of: Mid) {
        self.link.reached(as_of);
        let Some(id) = self.recoveries.remove(&req) else {
            return;
        };
        let Some(index) = self.sessions.find(id) else {
            return;
        };
        // All up to `as_of` has come over the link, and what of it is on its way to this session
        // belongs to the messages that are merged with its history.
        if !self.bring_forward(host, index) {
            return;
        }
        let recovery = self.sessions.get_mut(index).and_then(|s| s.recovery.as_mut());
        if let Some(recovery) = recovery {
            recovery.progress = if ok { Progress::Complete(as_of) } else { Progress::Failed };
        }
        self.go_on(host, index);
    }

    /// What waited for a session goes out, if it is open and its history has come.
    pub(super) fn go_on<H: Host>(&mut self, host: &mut H, index: u32) {
        let id = self.sessions.id(index);
        let Some(session) = self.sessions.get_mut(index) else { return };
        let progress = session.recovery.as_ref().map(|recovery| recovery.progress);
        if session.state != State::Open || progress == Some(Progress::Waiting) {
            return;
        }
        let Some(recovery) = session.recovery.take() else { return };
        let Progress::Complete(as_of) = recovery.progress else {
            self.counters.recoveries_failed += 1;
            return match session.kind {
                Kind::WebSocket => self.close_with_error(host, index, ApiError::NoLastMessages),
                Kind::Poll => {
                    self.answer(host, index, Response::sub_error(ApiError::NoLastMessages));
                }
            };
        };
        let (asked, found) = (recovery.req != 0, recovery.items.len() as u64);
        // Without a question there is no history, and the session stands where it began.
        let as_of = if recovery.req == 0 { session.last } else { as_of };
        let messages = recovery.merge(as_of);
        let messages: Vec<&Delivery> = messages.iter().map(|message| &**message).collect();
        let (kind, format) = (session.kind, session.format);
        // A poll's own `mid` is what it is told at its end, unless no store can have given it out.
        if kind == Kind::WebSocket || session.last > as_of {
            session.last = messages.last().map_or(as_of, |message| message.id.max(as_of));
        }
        self.counters.delivered += messages.len() as u64;
        if asked && found > 0 {
            self.counters.recovered_history += 1;
            self.counters.recovered_messages += found;
        } else if asked {
            self.counters.recovered_nothing += 1;
        }
        if messages.is_empty() {
            return;
        }
        if self.is_traced() {
            for message in &messages {
                self.trace_outcome(host, message.id, Outcome::Written(kind, format));
            }
        }
        match kind {
            Kind::Poll => {
                let body = payload_of(&messages, format, host.unix_ms());
                self.answer(host, index, Response::ok(content_type(format), body));
            }
            Kind::WebSocket => {
                for part in in_parts(&messages) {
                    let frame = frame_of(part, format, host.unix_ms());
                    self.send_history(host, index, frame.into());
                    if self.sessions.find(id).is_none() {
                        return;
                    }
                }
            }
        }
    }
}

/// Cuts messages into runs of about [`REPLAY_FRAME`] bytes.
fn in_parts<'a>(messages: &'a [&'a Delivery]) -> impl Iterator<Item = &'a [&'a Delivery]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let over = rest.iter().position(|message| {
            bytes += message.len();
            bytes > REPLAY_FRAME
        });
        let (part, after) = rest.split_at(over.unwrap_or(rest.len()).max(1).min(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

fn content_type(format: Format) -> ContentType {
    match format {
        Format::Text => ContentType::Text,
        Format::Binary => ContentType::Binary,
    }
}
