//! Publishers: the portal's backend, which is trusted, and clients, which are not (PROTOCOL.md,
//! sections 5 and 8).

use push_protocol::channels::ChannelList;
use push_protocol::query::Query;
use push_protocol::request;
use push_worker::{Format, Response};

use super::{Action, carry_out, done, not_found, now};
use crate::location::Location;
use crate::ngx::request::{Method, Request};

/// The backend's request has come.
pub fn content(request: &Request<'_>, location: &Location) -> Action {
    match request.method() {
        Method::Post => Action::ReadBody { max: location.settings.max_payload },
        Method::Get => {
            let query = Query::parse(request.query());
            let list = list(&query, location);
            let format = if query.binary { Format::Binary } else { Format::Text };
            match request::channel_stats(list.as_ref(), &location.settings.limits) {
                Ok(channels) => Action::ChannelStats(channels, format),
                Err(error) => Action::Respond(Response::error(error)),
            }
        }
        Method::Head | Method::Options | Method::Other => not_found(),
    }
}

/// The backend's body has been read.
pub fn body(request: &Request<'_>, location: &Location, body: &[u8]) -> Action {
    let query = Query::parse(request.query());
    let limits = &location.settings.limits;
    if query.binary {
        return match request::trusted(body, limits, now()) {
            Ok(command) => carry_out(command),
            Err(error) => Action::Respond(Response::error(error)),
        };
    }
    // No list, a void list, an empty body: nothing happens, and that is no error.
    match list(&query, location) {
        Some(list) if !body.is_empty() => {
            let expiry = request.header("Message-Expiry");
            let message = request::text(list.receivers(), body, expiry, limits, now());
            Action::Publish { messages: vec![message], counted: false }
        }
        _ => done(),
    }
}

/// A client's request has come.
pub fn client_content(request: &Request<'_>, location: &Location) -> Action {
    match request.method() {
        Method::Post => Action::ReadBody { max: location.settings.max_payload },
        _ => not_found(),
    }
}

/// A client's body has been read.
pub fn client_body(request: &Request<'_>, location: &Location, body: &[u8]) -> Action {
    let query = Query::parse(request.query());
    let settings = &location.settings;
    let public_id = query
        .channel_id
        .as_deref()
        .and_then(|value| ChannelList::for_subscriber(value, &settings.verifier))
        .and_then(|list| list.public_id());
    match request::client(body, &settings.limits, &settings.verifier, public_id, now()) {
        Ok(command) => carry_out(command),
        Err(error) => Action::Respond(Response::error(error)),
    }
}

/// An administrator asks how the servers do (section 8.3).
pub fn server_stats(request: &Request<'_>) -> Action {
    match request.method() {
        Method::Get => {
            let query = Query::parse(request.query());
            Action::ServerStats(if query.binary { Format::Binary } else { Format::Text })
        }
        Method::Post | Method::Head | Method::Options | Method::Other => not_found(),
    }
}

fn list(query: &Query<'_>, location: &Location) -> Option<ChannelList> {
    ChannelList::for_backend(query.channel_id.as_deref()?, &location.settings.verifier)
}
