//! Sessions come, say something, and go.

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use push_link::ToSidecar;
use push_protocol::{ApiError, ChannelKey, Mid};

use super::{Engine, SessionId, Subscriber};
use crate::session::{Kind, Recovery, Session, State};
use crate::slab::Id;
use crate::{Conn, Format, Host, Request, SettingsId};

/// Up to this many channels of a session are looked through one by one.
const FEW: usize = 16;

impl Engine {
    /// A WebSocket handshake that passed the checks. False: it has to wait until its channels are
    /// subscribed, so that nothing published after its 101 passes it by; [`Host::upgrade`] says
    /// when that is. Then the host answers 101 and calls [`Engine::attach`].
    #[expect(clippy::needless_pass_by_value, reason = "a subscriber is used up by subscribing")]
    pub fn begin_websocket<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        subscriber: Subscriber,
    ) -> (SessionId, bool) {
        let Subscriber { settings, format, .. } = subscriber;
        self.counters.came(Kind::WebSocket, format);
        let mut session = Session::new(request.0, Kind::WebSocket, settings, format);
        session.state = State::Opening;
        let id = self.sessions.insert(session);
        let subscribing = self.listen(host, id.index(), &subscriber);
        if let Some(session) = self.sessions.get_mut(id.index()) {
            session
                .recovery
                .get_or_insert_with(|| Box::new(Recovery::new(0, Mid::ZERO, &self.tally)));
        }
        if let Some(seq) = subscribing {
            self.openings.insert(seq, id);
        }
        (SessionId(id.0), subscribing.is_none())
    }

    /// The 101 of a handshake is written and its connection is detached. False: the session has
    /// ended meanwhile, the host closes the connection.
    pub fn attach<H: Host>(&mut self, host: &mut H, id: SessionId, conn: Conn) -> bool {
        let Some(index) = self.sessions.find(Id(id.0)) else { return false };
        let Some(session) = self.sessions.get_mut(index) else { return false };
        session.handle = conn.0;
        session.state = State::Open;
        if self.leaving.is_some() {
            self.say_goodbye(host, index);
            return true;
        }
        let pings = self.locations[usize::from(session.settings.0)].pings;
        self.schedule.put(&mut self.sessions, index, pings, host.now());
        self.go_on(host, index);
        true
    }

    /// A WebSocket whose channel list is void, detached like the others: it is closed with 4010.
    pub fn reject_websocket<H: Host>(
        &mut self,
        host: &mut H,
        conn: Conn,
        settings: SettingsId,
    ) -> SessionId {
        self.counters.came(Kind::WebSocket, Format::Text);
        let session = Session::new(conn.0, Kind::WebSocket, settings, Format::Text);
        let id = self.sessions.insert(session);
        #[cfg(feature = "test-echo")]
        if self.settings(settings).echo {
            let pings = self.locations[usize::from(settings.0)].pings;
            self.schedule.put(&mut self.sessions, id.index(), pings, host.now());
            return SessionId(id.0);
        }
        self.refused_channels(host);
        self.close_with_error(host, id.index(), ApiError::WrongChannelId);
        SessionId(id.0)
    }

    /// Channels are subscribed behind `position`: the handshake that waited for it can be answered.
    pub(super) fn subscribed<H: Host>(&mut self, host: &mut H, seq: u32, position: Mid) {
        let Some(id) = self.openings.remove(&seq) else { return };
        let session = self.sessions.find(id).and_then(|index| self.sessions.get_mut(index));
        if let Some(session) = session.filter(|session| session.state == State::Opening) {
            if let Some(recovery) = session.recovery.as_mut().filter(|recovery| recovery.req == 0) {
                // Some of its channels may have been subscribed earlier. Messages of those alone
                // would leave a gap behind the first id that the client sees.
                recovery.held.retain(|message| message.id > position);
                recovery.held_bytes = recovery.held.iter().map(|message| message.len()).sum();
                session.last = session.last.max(position);
            }
            host.upgrade(Request(session.handle));
        }
    }

    /// The link broke: the handshakes are answered all the same, and what they miss comes with
    /// what the link has missed.
    pub(super) fn open_all<H: Host>(&mut self, host: &mut H) {
        let mut waiting: Vec<u32> = self.openings.keys().copied().collect();
        waiting.sort_unstable();
        for seq in waiting {
            self.subscribed(host, seq, Mid::ZERO);
        }
    }

    /// A long poll. Answered through [`Host::respond`], maybe within this call.
    #[expect(clippy::needless_pass_by_value, reason = "a subscriber is used up by subscribing")]
    pub fn open_poll<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        subscriber: Subscriber,
    ) -> SessionId {
        self.counters.came(Kind::Poll, subscriber.format);
        let settings = subscriber.settings;
        let id =
            self.sessions.insert(Session::new(request.0, Kind::Poll, settings, subscriber.format));
        let index = id.index();
        let polls = self.locations[usize::from(settings.0)].polls;
        self.schedule.put(&mut self.sessions, index, polls, host.now());
        self.listen(host, index, &subscriber);
        if self.leaving.is_some() {
            self.say_goodbye(host, index);
        }
        SessionId(id.0)
    }

    /// Joins the hub, subscribes what is new to this worker, asks for history. Answers the number
    /// of the `Subscribe` that was sent.
    fn listen<H: Host>(
        &mut self,
        host: &mut H,
        index: u32,
        subscriber: &Subscriber,
    ) -> Option<u32> {
        let mut keys: Vec<ChannelKey> = Vec::with_capacity(4);
        let mut places = Vec::with_capacity(4);
        let mut fresh = Vec::new();
        let opened = self.opened_now(host);
        let mut seen = HashSet::<ChannelKey, RandomState>::default();
        for key in subscriber.channels.receivers() {
            // A list may name one channel thousands of times.
            let again = if keys.len() < FEW { keys.contains(&key) } else { seen.contains(&key) };
            if again {
                continue;
            }
            keys.push(key);
            if keys.len() == FEW {
                seen.extend(keys.iter().copied());
            } else if keys.len() > FEW {
                seen.insert(key);
            }
            let (place, first) = self.hub.join(key, index);
            places.push(place);
            if first {
                fresh.push(key);
            }
        }
        let mut subscribing = None;
        // What others have asked for may not be subscribed yet, either: an answer to nothing tells
        // when it is.
        if self.link.is_up() && !(fresh.is_empty() && self.link.is_subscribed()) {
            let seq = self.next_req();
            self.link.subscribe(seq, fresh);
            host.wake_link();
            subscribing = Some(seq);
        }
        self.tell_connections(host, &subscriber.channels, subscriber.settings);
        let req = self.next_req();
        let session = self.sessions.get_mut(index)?;
        session.opened = opened;
        session.places = places.into_boxed_slice();
        session.last = self.link.position;
        if let Some(after) = subscriber.mid {
            session.last = after;
            session.has_mid = true;
            self.counters.recoveries += 1;
            session.recovery = Some(Box::new(Recovery::new(req, after, &self.tally)));
            self.recoveries.insert(req, self.sessions.id(index));
            self.link.send(&ToSidecar::Recover { req, after, channels: keys });
            host.wake_link();
        }
        subscribing
    }

    /// The peer ended the stream, or the connection broke: the host is asked to close it.
    pub fn ended<H: Host>(&mut self, host: &mut H, id: SessionId) {
        if let Some(index) = self.sessions.find(Id(id.0)) {
            self.drop_session(host, index);
        }
    }

    /// The socket has room again.
    pub fn writable<H: Host>(&mut self, host: &mut H, id: SessionId) {
        let Some(index) = self.sessions.find(Id(id.0)) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let conn = Conn(session.handle);
        let Some(outbox) = &mut session.outbox else {
            return;
        };
        while let Some(head) = outbox.head() {
            match host.write(conn, head) {
                Ok(written) => {
                    if !outbox.advance(written) {
                        return;
                    }
                }
                Err(_) => return self.drop_session(host, index),
            }
        }
        let last = outbox.last;
        session.outbox = None;
        if last {
            self.written_last(host, index);
        }
    }

    /// The host itself freed the connection or the request behind a session: forget it, call
    /// nothing for it.
    pub fn forget<H: Host>(&mut self, host: &mut H, id: SessionId) {
        if let Some(index) = self.sessions.find(Id(id.0)) {
            self.remove(host, index);
        }
    }
}
