//! What a request wants, by its location's role. Pure decisions: what is decided is carried out by
//! [`crate::ngx::request`].

mod observe;
mod publish;
mod sub;

pub use observe::page_policy;

use push_protocol::ChannelKey;
use push_protocol::handshake::Refusal;
use push_protocol::request::{Command, Publication};
use push_worker::{ContentType, Format, Response, SettingsId, Subscriber, View};

use crate::location::{Location, Role};
use crate::ngx::request::{Path, Request};
use crate::worker;

/// What is to be done about a request.
pub enum Action {
    /// It is answered now; a body, if it has one, is of no interest.
    Respond(Response),
    /// It does not become a WebSocket.
    Refuse(Refusal),
    /// It becomes a WebSocket.
    Upgrade(Upgrade),
    /// It waits for a message.
    Poll(Subscriber),
    /// Its body is read first; then [`body`] decides.
    ReadBody {
        /// Bytes it may have.
        max: usize,
    },
    /// These are published; it is answered when they are stored.
    Publish {
        /// What is published.
        messages: Vec<Publication>,
        /// It counts as a request in the daily counters: a batch does, a text does not.
        counted: bool,
    },
    /// It is told which of these are online.
    ChannelStats(Vec<ChannelKey>, Format),
    /// It is told how the servers do.
    ServerStats(Format),
    /// An operator is told how everything does.
    Observe(View),
}

/// A handshake that passed.
pub struct Upgrade {
    /// `Sec-WebSocket-Accept`
    pub accept: [u8; 28],
    /// `Sec-WebSocket-Protocol`
    pub subprotocol: Option<Vec<u8>>,
    /// The location.
    pub settings: SettingsId,
    /// Who it is; `None` if the channel list is void.
    pub subscriber: Option<Subscriber>,
}

/// A request has come, its body has not been read.
pub fn content(request: &Request<'_>, location: &Location) -> Action {
    if request.is_subrequest() || request.path(location) == Path::Other {
        return not_found();
    }
    let Some(settings) = worker::settings(location) else {
        return Action::Respond(Response::unavailable());
    };
    match location.role {
        Role::Sub => sub::content(request, location, settings),
        Role::Pub => publish::content(request, location),
        Role::Rest => publish::client_content(request, location),
        Role::Stat => publish::server_stats(request),
        Role::Metrics => observe::metrics(request),
        Role::Status => observe::status(request),
        #[cfg(feature = "test-echo")]
        Role::Echo => sub::echo(request, location, settings),
    }
}

/// A request's body has been read.
pub fn body(request: &Request<'_>, location: &Location, body: &[u8]) -> Action {
    let action = publish_of(request, location, body);
    if let Action::Respond(Response { status: status @ 400.., .. }) = action {
        worker::refused_publish(status);
    }
    action
}

fn publish_of(request: &Request<'_>, location: &Location, body: &[u8]) -> Action {
    match location.role {
        Role::Pub => publish::body(request, location, body),
        Role::Rest => publish::client_body(request, location, body),
        Role::Sub | Role::Stat | Role::Metrics | Role::Status => not_found(),
        #[cfg(feature = "test-echo")]
        Role::Echo => not_found(),
    }
}

/// The answer to what is not served (PROTOCOL.md, section 1.1).
fn not_found() -> Action {
    Action::Respond(Response::new(404))
}

/// Seconds since the Unix epoch.
fn now() -> u32 {
    (crate::ngx::time::unix_ms() / 1_000) as u32
}

fn carry_out(command: Command) -> Action {
    match command {
        Command::Publish(messages) => Action::Publish { messages, counted: true },
        Command::ChannelStats(channels) => Action::ChannelStats(channels, Format::Binary),
        Command::ServerStats => Action::ServerStats(Format::Binary),
    }
}

/// 200 with nothing in it.
fn done() -> Action {
    Action::Respond(Response::ok(ContentType::Text, ""))
}
