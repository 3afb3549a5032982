//! What is due.

use super::Engine;
use super::leaving::Leaving;
use crate::Host;
use crate::session::{Kind, State};

/// Sessions looked after in one turn of the event loop.
const PIECE: usize = 256;

impl Engine {
    /// When [`Engine::tick`] is wanted next, on [`Host::now`]'s clock. Ask again after every call
    /// into the engine; arm one timer.
    pub fn next_deadline(&self) -> Option<u64> {
        let sessions = self.schedule.next(&self.sessions);
        let questions = self.questions.values().map(|question| question.deadline).min();
        let leaving = self.leaving.as_ref().and_then(Leaving::due);
        let times = [sessions, self.link.next(), self.publishing.next(), questions, leaving];
        times.into_iter().flatten().min()
    }

    /// Does what is due (a bounded piece of it; `next_deadline` is then in the past).
    pub fn tick<H: Host>(&mut self, host: &mut H) {
        self.tick_link(host);
        self.tick_publishing(host);
        self.tick_leaving(host);
        let now = host.now();
        for _ in 0..PIECE {
            let Some(index) = self.schedule.due(&self.sessions, now) else {
                break;
            };
            let Some(session) = self.sessions.get(index) else {
                break;
            };
            match (session.kind, session.state) {
                (Kind::Poll, _) => self.poll_due(host, index),
                (Kind::WebSocket, State::Open) => self.ping_due(host, index),
                (Kind::WebSocket, _) => {
                    self.counters.unclosed += 1;
                    self.drop_session(host, index);
                }
            }
        }
    }
}
