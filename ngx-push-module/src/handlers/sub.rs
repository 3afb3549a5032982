//! Subscribers: WebSockets, long polls, preflights (PROTOCOL.md, sections 9 and 10).

use push_protocol::channels::ChannelList;
use push_protocol::handshake::{self, Refusal};
use push_protocol::query::Query;
use push_protocol::{ApiError, handshake::first_subprotocol};
use push_worker::{Format, Response, SettingsId, Subscriber};

use super::{Action, Upgrade, not_found};
use crate::location::Location;
use crate::ngx::request::{Method, Path, Request};
use crate::worker;

pub fn content(request: &Request<'_>, location: &Location, settings: SettingsId) -> Action {
    if let Some(upgrade) = wants_upgrade(request) {
        let subscriber = || subscriber(request, location, settings);
        return websocket(request, location, settings, upgrade, subscriber)
            .unwrap_or_else(Action::Refuse);
    }
    match request.method() {
        Method::Get => {
            let Some(subscriber) = subscriber(request, location, settings) else {
                worker::refused_channels();
                return Action::Respond(Response::sub_error(ApiError::WrongChannelId));
            };
            Action::Poll(subscriber)
        }
        Method::Options => Action::Respond(Response::preflight()),
        Method::Post | Method::Head | Method::Other => not_found(),
    }
}

/// A WebSocket without channels, whose location has it sent back what it says.
#[cfg(feature = "test-echo")]
pub fn echo(request: &Request<'_>, location: &Location, settings: SettingsId) -> Action {
    match wants_upgrade(request) {
        Some(upgrade) => {
            websocket(request, location, settings, upgrade, || None).unwrap_or_else(Action::Refuse)
        }
        None => not_found(),
    }
}

/// The value of `Upgrade`, if the request asks for one: only within HTTP/1.1, and only if
/// `Connection` says that the header is meant for us (RFC 9110, section 7.8).
fn wants_upgrade<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let meant = |value: &[u8]| {
        value
            .split(|&byte| byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    if request.is_http11() && request.headers("Connection").any(meant) {
        request.header("Upgrade")
    } else {
        None
    }
}

fn websocket(
    request: &Request<'_>,
    location: &Location,
    settings: SettingsId,
    upgrade: &[u8],
    subscriber: impl FnOnce() -> Option<Subscriber>,
) -> Result<Action, Refusal> {
    if request.method() != Method::Get {
        return Err(Refusal::Method);
    }
    let accept = handshake::accept(
        upgrade,
        request.header("Sec-WebSocket-Key"),
        request.header("Sec-WebSocket-Version"),
    )?;
    if request.path(location) != Path::Same {
        return Err(Refusal::Path);
    }
    let subprotocol =
        request.header("Sec-WebSocket-Protocol").and_then(first_subprotocol).map(<[u8]>::to_vec);
    Ok(Action::Upgrade(Upgrade { accept, subprotocol, settings, subscriber: subscriber() }))
}

/// Who it is; `None` if the channel list is void.
fn subscriber(
    request: &Request<'_>,
    location: &Location,
    settings: SettingsId,
) -> Option<Subscriber> {
    let query = Query::parse(request.query());
    let verifier = &location.settings.verifier;
    Some(Subscriber {
        channels: ChannelList::for_subscriber(query.channel_id.as_deref()?, verifier)?,
        mid: query.mid,
        format: if query.binary { Format::Binary } else { Format::Text },
        settings,
    })
}
