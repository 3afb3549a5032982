//! Writing to sessions, and their ends.

use push_link::ToSidecar;
use push_protocol::frame::{self, Opcode};
use push_protocol::{ApiError, Mid};

use super::Engine;
use crate::outbox::{Outbox, Shared};
use crate::response::LastMessageId;
use crate::session::{Kind, Session, State};
use crate::{Conn, Host, Request, Response};

/// The payload of our pings (PROTOCOL.md, section 9.5).
const PING: &[u8] = b"ws ping";

impl Engine {
    /// Writes a frame to a WebSocket, or queues it; who does not read is cut off.
    pub(super) fn send<H: Host>(&mut self, host: &mut H, index: u32, frame: Shared) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        let max_queue = self.locations[usize::from(session.settings.0)].settings.max_queue;
        let waiting = session.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
        if waiting > 0 && waiting + frame.len() > max_queue {
            self.counters.slow += 1;
            return self.drop_session(host, index);
        }
        self.send_history(host, index, frame);
    }

    /// The same without a limit: history has its own (PROTOCOL.md, section 11).
    pub(super) fn send_history<H: Host>(&mut self, host: &mut H, index: u32, frame: Shared) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let conn = Conn(session.handle);
        if let Some(outbox) = &mut session.outbox {
            if !outbox.last {
                outbox.push(frame);
            }
            return;
        }
        match host.write(conn, &frame) {
            Ok(written) if written == frame.len() => {}
            Ok(written) => {
                session.outbox = Some(Box::new(Outbox::new(frame, written, &self.tally)));
            }
            Err(_) => self.drop_session(host, index),
        }
    }

    /// An error on a WebSocket (PROTOCOL.md, section 4).
    pub(super) fn close_with_error<H: Host>(&mut self, host: &mut H, index: u32, error: ApiError) {
        self.close_with(host, index, error.code(), &error.to_string(), State::Closing);
    }

    /// Sends our close frame; the session stays until the peer has answered or its time is up.
    pub(super) fn close_with<H: Host>(
        &mut self,
        host: &mut H,
        index: u32,
        code: u16,
        reason: &str,
        to: State,
    ) {
        self.unlisten(host, index);
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if session.state != State::Open {
            session.state = to;
            return;
        }
        session.state = to;
        self.schedule.put(&mut self.sessions, index, self.closing, host.now());
        self.send(host, index, frame::close(code, reason).into());
        self.mark_last(host, index);
    }

    /// The peer closed: the same code goes back.
    pub(super) fn answer_close<H: Host>(
        &mut self,
        host: &mut H,
        index: u32,
        code: Option<u16>,
        reason: &str,
    ) {
        let reply = match code {
            Some(code) => frame::close(code, reason),
            None => frame::encode(Opcode::Close, &[]),
        };
        self.unlisten(host, index);
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        // Both have said it all: whatever comes now ends the session.
        session.state = State::Deaf;
        self.schedule.put(&mut self.sessions, index, self.closing, host.now());
        self.send(host, index, reply.into());
        match self.sessions.get_mut(index).map(|session| session.outbox.is_some()) {
            Some(true) => self.mark_last(host, index),
            Some(false) => self.drop_session(host, index),
            None => {}
        }
    }

    fn mark_last<H: Host>(&mut self, host: &mut H, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        match &mut session.outbox {
            Some(outbox) => outbox.last = true,
            None => self.written_last(host, index),
        }
    }

    pub(super) fn written_last<H: Host>(&mut self, host: &mut H, index: u32) {
        if let Some(session) = self.sessions.get(index) {
            host.finish_writes(Conn(session.handle));
        }
    }

    /// Answers a poll and forgets it.
    pub(super) fn answer<H: Host>(&mut self, host: &mut H, index: u32, response: Response) {
        if let Some(session) = self.remove(host, index) {
            host.respond(Request(session.handle), response);
        }
    }

    /// Forgets a session and has its connection closed, or its request answered.
    pub(super) fn drop_session<H: Host>(&mut self, host: &mut H, index: u32) {
        let Some(session) = self.remove(host, index) else {
            return;
        };
        match session.kind {
            Kind::WebSocket if session.state != State::Opening => {
                host.close(Conn(session.handle));
            }
            Kind::WebSocket | Kind::Poll => {
                host.respond(Request(session.handle), Response::unavailable());
            }
        }
    }

    /// Forgets a session.
    pub(super) fn remove<H: Host>(&mut self, host: &mut H, index: u32) -> Option<Session> {
        self.unlisten(host, index);
        self.schedule.take(&mut self.sessions, index);
        let session = self.sessions.remove(index)?;
        self.counters.went(session.kind, session.format);
        Some(session)
    }

    /// Takes a session out of the hub; it gets no more messages.
    fn unlisten<H: Host>(&mut self, host: &mut H, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if let Some(recovery) = session.recovery.take() {
            self.recoveries.remove(&recovery.req);
        }
        let places = std::mem::take(&mut session.places);
        let mut emptied = Vec::new();
        for &place in &places {
            let left = self.hub.leave(place);
            emptied.extend(left.emptied);
            if left.emptied.is_none() {
                self.tell_fewer(host, place.slot);
            }
            // Whoever took over the position has to know it.
            let moved = left.moved.and_then(|moved| self.sessions.get_mut(moved));
            if let Some(session) = moved {
                for other in &mut session.places {
                    if other.slot == place.slot {
                        other.position = place.position;
                    }
                }
            }
        }
        if !emptied.is_empty() && self.link.is_up() {
            self.link.send(&ToSidecar::Unsubscribe { channels: emptied });
            host.wake_link();
        }
    }

    /// The ping interval is over.
    pub(super) fn ping_due<H: Host>(&mut self, host: &mut H, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        // Who is not listened to may have answered all the same.
        if session.awaits_pong && session.intake.as_ref().is_none_or(|intake| !intake.is_paused()) {
            self.counters.silent += 1;
            return self.drop_session(host, index);
        }
        session.awaits_pong = true;
        let pings = self.locations[usize::from(session.settings.0)].pings;
        self.schedule.put(&mut self.sessions, index, pings, host.now());
        self.send(host, index, frame::encode(Opcode::Ping, PING).into());
    }

    /// A poll has waited long enough. Without a `mid` of its own the client is told the newest.
    pub(super) fn poll_due<H: Host>(&mut self, host: &mut H, index: u32) {
        self.schedule.take(&mut self.sessions, index);
        let req = self.next_req();
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        if session.has_mid {
            let last = LastMessageId::Is(session.last);
            return self.answer(host, index, Response::nothing_new(last));
        }
        if !self.link.is_up() {
            let last = last_message_id(session.last);
            return self.answer(host, index, Response::nothing_new(last));
        }
        let channels = session.receivers(&self.hub);
        self.newest.insert(req, self.sessions.id(index));
        self.link.send(&ToSidecar::Newest { req, channels });
        host.wake_link();
    }
}

/// Where a poll that was sent nothing goes on.
pub(super) fn last_message_id(last: Mid) -> LastMessageId {
    if last == Mid::ZERO { LastMessageId::Empty } else { LastMessageId::Is(last) }
}
