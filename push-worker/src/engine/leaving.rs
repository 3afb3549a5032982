//! The worker leaves (reload, quit): its subscribers are told one after the other, so that they do
//! not come back all at once. Who has not been told yet goes on getting messages.

use super::Engine;
use super::closing::last_message_id;
use crate::session::{Kind, State};
use crate::slab::Id;
use crate::{Host, Response, SessionId};

/// Going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// Few sessions need not take the whole time: this many milliseconds each.
const EACH: u64 = 10;

/// Sessions are told in steps of so many milliseconds, so that a worker that leaves mostly sleeps.
const STEP: u64 = 10;

/// Sessions told in one turn of the event loop.
const PIECE: usize = 256;

/// Who is still to be told.
#[derive(Debug, Default)]
pub struct Leaving {
    sessions: Vec<Id>,
    next: usize,
    started: u64,
    /// When the last is told, milliseconds after the start.
    time: u64,
}

impl Leaving {
    fn new(sessions: Vec<Id>, started: u64, spread: u64) -> Self {
        let time = spread.min(sessions.len() as u64 * EACH);
        Self { sessions, next: 0, started, time }
    }

    /// When the next one is to be told.
    pub fn due(&self) -> Option<u64> {
        let count = self.sessions.len();
        (self.next < count).then(|| {
            let after = self.time * self.next as u64 / count as u64;
            self.started + after.next_multiple_of(STEP)
        })
    }
}

impl Engine {
    /// Says goodbye to every session, spread over `spread` milliseconds (less if there are few), and
    /// at once to those that still come; publishes under way are finished. [`Engine::busy`] tells
    /// when that is done. With 0 all is said within this call.
    pub fn leave_all<H: Host>(&mut self, host: &mut H, spread: u64) {
        self.leaving = Some(Leaving::new(self.sessions.ids(), host.now(), spread));
        self.go_on_leaving(host, if spread == 0 { usize::MAX } else { PIECE });
    }

    /// The patience with a worker that leaves is over: the session is told and forgotten, whether
    /// its peer has heard it or not.
    pub fn cut<H: Host>(&mut self, host: &mut H, id: SessionId) {
        if let Some(index) = self.sessions.find(Id(id.0)) {
            self.say_goodbye(host, index);
        }
        self.ended(host, id);
    }

    /// Tells those whose turn it is.
    pub(super) fn tick_leaving<H: Host>(&mut self, host: &mut H) {
        self.go_on_leaving(host, PIECE);
    }

    fn go_on_leaving<H: Host>(&mut self, host: &mut H, at_most: usize) {
        let now = host.now();
        for _ in 0..at_most {
            let Some(leaving) = &mut self.leaving else { return };
            if leaving.due().is_none_or(|at| at > now) {
                return;
            }
            let id = leaving.sessions[leaving.next];
            leaving.next += 1;
            if let Some(index) = self.sessions.find(id) {
                self.say_goodbye(host, index);
            }
        }
    }

    /// Close frame 1001 for a WebSocket, 304 for a long poll.
    pub(super) fn say_goodbye<H: Host>(&mut self, host: &mut H, index: u32) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        match session.kind {
            Kind::WebSocket if session.state == State::Open => {
                self.close_with(host, index, GOING_AWAY, "", State::Closing);
            }
            Kind::WebSocket => {}
            Kind::Poll => {
                let last = last_message_id(session.last);
                self.answer(host, index, Response::nothing_new(last));
            }
        }
    }
}
