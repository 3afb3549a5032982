//! The engine: everything a worker knows and does.

use push_protocol::Mid;
use push_protocol::channels::ChannelList;
use push_protocol::request::Publication;

use crate::{Conn, Format, Host, Request, Settings, SettingsId};

/// Names a session. Never used twice in the life of a worker; fits a pointer, so that a host can
/// keep it in a connection's data field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(pub u64);

/// A subscriber that passed the checks.
#[derive(Debug)]
pub struct Subscriber {
    /// Its channels.
    pub channels: ChannelList,
    /// Where it left off, if it says so.
    pub mid: Option<Mid>,
    /// How it wants messages.
    pub format: Format,
    /// Its location.
    pub settings: SettingsId,
}

/// A worker's state. One per worker process; every method returns soon.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// `instance`: random, one per worker process; `pid` and `software` are told to the sidecar.
    pub fn new(instance: u64, pid: u32, software: &str) -> Self {
        unimplemented!()
    }

    /// Registers a location's settings (once per location with a role, at worker start).
    pub fn add_settings(&mut self, settings: Settings) -> SettingsId {
        unimplemented!()
    }

    /// The settings registered as `id`.
    pub fn settings(&self, id: SettingsId) -> &Settings {
        unimplemented!()
    }

    /// Starts: asks the host to open the link.
    pub fn start<H: Host>(&mut self, host: &mut H) {
        unimplemented!()
    }

    // Subscribers -------------------------------------------------------------------------------

    /// A WebSocket whose 101 is written and whose connection is detached. `None` as subscriber: a
    /// void channel list; the engine closes it with 4010.
    pub fn open_websocket<H: Host>(
        &mut self,
        host: &mut H,
        conn: Conn,
        settings: SettingsId,
        subscriber: Option<Subscriber>,
    ) -> SessionId {
        unimplemented!()
    }

    /// A long poll. Answered through [`Host::respond`], maybe within this call.
    pub fn open_poll<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        subscriber: Subscriber,
    ) -> SessionId {
        unimplemented!()
    }

    /// Bytes came in on a WebSocket. Unknown ids (a session that was just closed) are ignored, here
    /// and in the following methods.
    pub fn received<H: Host>(&mut self, host: &mut H, id: SessionId, bytes: &[u8]) {
        unimplemented!()
    }

    /// The peer ended the stream, or the connection broke: the host is asked to close it.
    pub fn ended<H: Host>(&mut self, host: &mut H, id: SessionId) {
        unimplemented!()
    }

    /// The socket has room again.
    pub fn writable<H: Host>(&mut self, host: &mut H, id: SessionId) {
        unimplemented!()
    }

    /// The host itself freed the connection or the request behind a session: forget it, call
    /// nothing for it.
    pub fn forget<H: Host>(&mut self, host: &mut H, id: SessionId) {
        unimplemented!()
    }

    /// Says goodbye to one session because the worker leaves: close frame 1001 for a WebSocket, 304
    /// for a long poll.
    pub fn leave<H: Host>(&mut self, host: &mut H, id: SessionId) {
        unimplemented!()
    }

    /// Says goodbye to every session; publishes under way are finished.
    pub fn leave_all<H: Host>(&mut self, host: &mut H) {
        unimplemented!()
    }

    // Publishers --------------------------------------------------------------------------------

    /// Publishes; `request` (if there is one that waits) is answered 200 once it is stored and
    /// announced, or 503. Returns a name for [`Engine::abandon`].
    pub fn publish<H: Host>(
        &mut self,
        host: &mut H,
        request: Option<Request>,
        messages: Vec<Publication>,
    ) -> u64 {
        unimplemented!()
    }

    /// Asks which channels are online; `request` is answered in the form that `format` names.
    pub fn channel_stats<H: Host>(
        &mut self,
        host: &mut H,
        request: Request,
        channels: Vec<push_protocol::ChannelKey>,
        format: Format,
    ) -> u64 {
        unimplemented!()
    }

    /// The host freed the request behind a publish or a statistics question: what was to be
    /// published is published all the same, nobody is answered.
    pub fn abandon(&mut self, id: u64) {
        unimplemented!()
    }

    // The link ----------------------------------------------------------------------------------

    /// The link is connected.
    pub fn link_up<H: Host>(&mut self, host: &mut H) {
        unimplemented!()
    }

    /// The link could not be connected, or broke.
    pub fn link_down<H: Host>(&mut self, host: &mut H) {
        unimplemented!()
    }

    /// Bytes came in on the link.
    pub fn link_received<H: Host>(&mut self, host: &mut H, bytes: &[u8]) {
        unimplemented!()
    }

    /// What is to be sent on the link.
    pub fn link_output(&self) -> &[u8] {
        unimplemented!()
    }

    /// The first `len` bytes of [`Engine::link_output`] were sent.
    pub fn link_sent(&mut self, len: usize) {
        unimplemented!()
    }

    // Time --------------------------------------------------------------------------------------

    /// When [`Engine::tick`] is wanted next, on [`Host::now`]'s clock. Ask again after every call
    /// into the engine; arm one timer.
    pub fn next_deadline(&self) -> Option<u64> {
        unimplemented!()
    }

    /// Does what is due (a bounded piece of it; `next_deadline` is then in the past).
    pub fn tick<H: Host>(&mut self, host: &mut H) {
        unimplemented!()
    }

    /// Goes on with fan-outs, a bounded piece of them. True: call again in the next turn.
    pub fn run<H: Host>(&mut self, host: &mut H) -> bool {
        unimplemented!()
    }

    /// Sessions that are open now: WebSockets and long polls.
    pub fn open_sessions(&self) -> (usize, usize) {
        unimplemented!()
    }
}
