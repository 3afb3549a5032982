//! What clients say, and how much of it is listened to in one turn of the event loop.
//!
//! A client may send faster than it can be served, by a flood of tiny frames or of requests. So
//! each gets a part of a turn, all of them together get a bounded turn, and who wants more waits
//! for the next one; meanwhile its socket is not read, and TCP holds it back. A client that has
//! [`ASKED`] requests at the sidecar waits for an answer in the same way.

use push_protocol::ApiError;
use push_protocol::frame::{self, Event, Opcode};
use push_protocol::request::{self, Command};

use super::{Engine, SessionId};
use crate::publishing::{About, Asker};
use crate::session::State;
use crate::slab::Id;
use crate::tally::{Tally, Weight};
use crate::{Conn, Format, Host};

/// What all clients together may cost in one turn; see [`cost`]. About 2 ms at most.
const TURN: usize = 512;

/// What one of them may.
const PART: usize = 64;

/// Pings of one client that are answered each for itself in one turn. If there are more, the newest
/// of them is (RFC 6455, section 5.5.3).
const PONGS: usize = 16;

/// Requests of a client that may wait for the sidecar's answer.
const ASKED: u16 = 32;

/// What to listen to an event costs: any frame 1, a request 8 (it is parsed, verified, encoded
/// again), and its bytes.
const fn cost(event: &Event, bytes: usize) -> usize {
    let kind = if matches!(event, Event::Message { .. }) { 8 } else { 1 };
    kind + bytes / 2048
}

/// What of a client waits to be listened to, or to be answered.
#[derive(Debug)]
pub struct Intake {
    /// Bytes that were read, from `at` on.
    rest: Vec<u8>,
    at: usize,
    /// Its requests that the sidecar has not answered.
    asked: u16,
    /// It is in the backlog.
    queued: bool,
    /// Its socket is not read.
    paused: bool,
    /// The memory of this, and of a message that has come in part.
    weight: Weight,
}

impl Intake {
    fn new(tally: &Tally) -> Self {
        let weight = Weight::new(tally);
        Self { rest: Vec::new(), at: 0, asked: 0, queued: false, paused: false, weight }
    }

    /// Memory that it takes.
    pub const fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// Whether the client is not listened to at the moment.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

/// How listening to a client has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    /// All that was there has been listened to.
    Everything,
    /// Its part of the turn is over.
    Enough,
    /// It has asked so much that it has to wait for an answer.
    Waits,
    /// It has gone.
    Gone,
}

impl Engine {
    /// Whether bytes of a WebSocket are welcome now. If not, [`Host::read_more`] says when.
    pub fn reads<H: Host>(&mut self, host: &mut H, id: SessionId) -> bool {
        let Some(index) = self.sessions.find(Id(id.0)) else {
            return false;
        };
        if self.sessions.get(index).and_then(|s| s.intake.as_ref()).is_some_and(|i| i.paused) {
            return false;
        }
        self.begin_turn(host);
        if self.turn == 0 {
            self.postpone(host, index, &[]);
        }
        self.turn > 0
    }

    /// Bytes came in on a WebSocket. Unknown ids (a session that was just closed) are ignored, here
    /// and in the following methods. False: it is not to be read now; [`Host::read_more`] says when.
    pub fn received<H: Host>(&mut self, host: &mut H, id: SessionId, bytes: &[u8]) -> bool {
        let Some(index) = self.sessions.find(Id(id.0)) else {
            return false;
        };
        let intake = self.sessions.get_mut(index).and_then(|session| session.intake.as_mut());
        if let Some(intake) = intake.filter(|intake| intake.paused) {
            // Not asked for, and not lost either.
            intake.rest.extend_from_slice(bytes);
            self.weigh(index);
            return false;
        }
        self.begin_turn(host);
        let mut rest = bytes;
        let heard = self.listen_to(host, Id(id.0), &mut rest);
        match heard {
            Heard::Gone => return false,
            Heard::Everything => self.weigh(index),
            Heard::Enough => self.postpone(host, index, rest),
            Heard::Waits => self.pause(index, rest),
        }
        self.relieve(host);
        heard == Heard::Everything
    }

    /// Goes on with those who had to wait; true if some still have to.
    pub(super) fn serve_backlog<H: Host>(&mut self, host: &mut H) -> bool {
        self.turn = TURN;
        self.turn_at = host.now();
        for _ in 0..self.backlog.len() {
            if self.turn == 0 {
                break;
            }
            let Some(id) = self.backlog.pop_front() else { break };
            self.serve(host, id);
        }
        self.relieve(host);
        !self.backlog.is_empty()
    }

    fn serve<H: Host>(&mut self, host: &mut H, id: Id) {
        let Some(index) = self.sessions.find(id) else { return };
        let Some(session) = self.sessions.get_mut(index) else { return };
        let Some(intake) = &mut session.intake else { return };
        intake.queued = false;
        let kept = std::mem::take(&mut intake.rest);
        let mut rest = &kept[intake.at..];
        let heard = self.listen_to(host, id, &mut rest);
        let at = kept.len() - rest.len();
        let intake = self.sessions.get_mut(index).and_then(|session| session.intake.as_mut());
        let Some(intake) = intake.filter(|_| heard != Heard::Gone) else { return };
        match heard {
            Heard::Gone => {}
            Heard::Enough | Heard::Waits => {
                (intake.rest, intake.at) = (kept, at);
                if heard == Heard::Enough {
                    self.queue(host, index);
                }
            }
            Heard::Everything => {
                intake.at = 0;
                intake.paused = false;
                self.weigh(index);
                if let Some(session) = self.sessions.get(index) {
                    host.read_more(Conn(session.handle));
                }
            }
        }
    }

    /// A request of a client has its answer, or will get none.
    pub(super) fn answered<H: Host>(&mut self, host: &mut H, id: Id) {
        let Some(index) = self.sessions.find(id) else { return };
        let Some(session) = self.sessions.get_mut(index) else { return };
        let Some(intake) = &mut session.intake else { return };
        intake.asked = intake.asked.saturating_sub(1);
        self.queue(host, index);
        self.weigh(index);
    }

    /// A turn ends with its millisecond at the latest.
    fn begin_turn<H: Host>(&mut self, host: &H) {
        let now = host.now();
        if self.turn_at != now {
            (self.turn, self.turn_at) = (TURN, now);
        }
    }

    /// The client has to wait for its next turn, with these bytes.
    fn postpone<H: Host>(&mut self, host: &mut H, index: u32, rest: &[u8]) {
        self.pause(index, rest);
        self.queue(host, index);
    }

    /// The client has to wait, with these bytes.
    fn pause(&mut self, index: u32, rest: &[u8]) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let intake = session.intake.get_or_insert_with(|| Box::new(Intake::new(&self.tally)));
        (intake.rest, intake.at) = (rest.to_vec(), 0);
        intake.paused = true;
        self.counters.postponed += 1;
        self.weigh(index);
    }

    /// The client, which waits, is to have a turn.
    fn queue<H: Host>(&mut self, host: &mut H, index: u32) {
        let id = self.sessions.id(index);
        let Some(session) = self.sessions.get_mut(index) else { return };
        if let Some(intake) = &mut session.intake
            && intake.paused
            && !std::mem::replace(&mut intake.queued, true)
        {
            self.backlog.push_back(id);
            host.wake_run();
        }
    }

    /// What the client makes the worker keep is counted, and nothing is kept for who keeps pace.
    fn weigh(&mut self, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let partial = session.decoder.buffered();
        if partial > 0 {
            session.intake.get_or_insert_with(|| Box::new(Intake::new(&self.tally)));
        }
        let Some(intake) = &mut session.intake else { return };
        intake.weight.set(partial + intake.rest.capacity());
        if intake.bytes() == 0 && intake.asked == 0 && !intake.paused {
            session.intake = None;
        }
    }

    fn listen_to<H: Host>(&mut self, host: &mut H, id: Id, rest: &mut &[u8]) -> Heard {
        let mut part = PART.min(self.turn);
        let mut pongs = Pongs::default();
        let heard = loop {
            let Some(index) = self.sessions.find(id) else { return Heard::Gone };
            let Some(session) = self.sessions.get_mut(index) else { return Heard::Gone };
            if session.state == State::Deaf {
                *rest = &[];
            }
            if rest.is_empty() {
                break Heard::Everything;
            }
            if session.intake.as_ref().is_some_and(|intake| intake.asked >= ASKED) {
                break Heard::Waits;
            }
            if part == 0 {
                break Heard::Enough;
            }
            let settings = &self.locations[usize::from(session.settings.0)].settings;
            let before = rest.len();
            match session.decoder.next_event(rest, settings.max_payload) {
                Ok(None) => break Heard::Everything,
                Ok(Some(event)) => {
                    let cost = cost(&event, before - rest.len());
                    part = part.saturating_sub(cost);
                    self.turn = self.turn.saturating_sub(cost);
                    match event {
                        Event::Ping(data) if session.state == State::Open => pongs.add(&data),
                        event => {
                            self.send_pongs(host, index, &mut pongs);
                            self.event(host, index, event);
                        }
                    }
                }
                Err(error) => {
                    self.counters.malformed += 1;
                    self.send_pongs(host, index, &mut pongs);
                    self.close_with(host, index, error.close_code(), "", State::Deaf);
                    *rest = &[];
                }
            }
        };
        if let Some(index) = self.sessions.find(id) {
            self.send_pongs(host, index, &mut pongs);
        }
        if self.sessions.find(id).is_some() { heard } else { Heard::Gone }
    }

    fn send_pongs<H: Host>(&mut self, host: &mut H, index: u32, pongs: &mut Pongs) {
        let Pongs { mut frames, newest, merged, .. } = std::mem::take(pongs);
        self.counters.merged_pings += merged;
        if let Some(newest) = newest {
            frames.extend(frame::encode(Opcode::Pong, &newest));
        }
        if !frames.is_empty() {
            self.send(host, index, frames.into());
        }
    }

    fn event<H: Host>(&mut self, host: &mut H, index: u32, event: Event) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let open = session.state == State::Open;
        #[cfg(feature = "test-echo")]
        if let Event::Message { opcode, data } = &event
            && open
            && self.locations[usize::from(session.settings.0)].settings.echo
        {
            return self.send(host, index, frame::encode(*opcode, data).into());
        }
        match event {
            Event::Close { code, reason } => {
                if open {
                    let reason = std::str::from_utf8(&reason).unwrap_or_default();
                    self.answer_close(host, index, code, reason);
                } else {
                    self.drop_session(host, index);
                }
            }
            Event::Pong(_) => session.awaits_pong = false,
            Event::Message { data, .. } if open && session.format == Format::Binary => {
                self.client_request(host, index, &data);
            }
            Event::Ping(_) | Event::Message { .. } => {}
        }
    }

    /// PROTOCOL.md, section 5.3.
    fn client_request<H: Host>(&mut self, host: &mut H, index: u32, data: &[u8]) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        let settings = &self.locations[usize::from(session.settings.0)].settings;
        let receivers = session.receivers(&self.hub);
        let public_id = receivers.iter().find(|key| !key.is_private()).map(|key| key.id);
        let now = (host.unix_ms() / 1000) as u32;
        let asker = Asker::Session(self.sessions.id(index));
        let command = request::client(data, &settings.limits, &settings.verifier, public_id, now);
        match command {
            Ok(Command::Publish(messages)) => {
                self.asks(index);
                self.publish_for(host, asker, true, messages);
            }
            Ok(Command::ChannelStats(channels)) => {
                self.asks(index);
                self.ask(host, asker, About::Channels(channels, Format::Binary));
            }
            Ok(Command::ServerStats) => {
                self.counters.wrong += 1;
                self.close_with_error(host, index, ApiError::CommandNotAllowed);
            }
            Err(error) => {
                self.counters.wrong += 1;
                self.counters.refused_publish(error.http_status());
                self.close_with_error(host, index, error);
            }
        }
    }

    /// The session has a request that will be answered, or given up: see [`Engine::answered`].
    fn asks(&mut self, index: u32) {
        if let Some(session) = self.sessions.get_mut(index) {
            session.intake.get_or_insert_with(|| Box::new(Intake::new(&self.tally))).asked += 1;
        }
    }
}

/// Answers to the pings of one turn.
#[derive(Debug, Default)]
struct Pongs {
    frames: Vec<u8>,
    count: usize,
    newest: Option<Vec<u8>>,
    merged: u64,
}

impl Pongs {
    fn add(&mut self, data: &[u8]) {
        if self.count < PONGS {
            self.count += 1;
            self.frames.extend(frame::encode(Opcode::Pong, data));
        } else if self.newest.replace(data.to_vec()).is_some() {
            self.merged += 1;
        }
    }
}
