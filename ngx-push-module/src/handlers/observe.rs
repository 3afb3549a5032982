//! Operators look how everything does: numbers for Prometheus, and a page for people.

use base64::prelude::{BASE64_STANDARD, Engine};
use push_worker::{ContentType, Response, View};
use sha2::{Digest, Sha256};

use super::Action;
use crate::ngx::request::{Method, Request};

/// Prometheus reads.
pub fn metrics(request: &Request<'_>) -> Action {
    match request.method() {
        Method::Get | Method::Head => Action::Observe(View::Metrics),
        _ => only_reading(),
    }
}

/// The page, which asks for its numbers by `?format=json` at the same address.
pub fn status(request: &Request<'_>) -> Action {
    match request.method() {
        Method::Get | Method::Head if wants_json(request.query()) => Action::Observe(View::Status),
        Method::Get | Method::Head => Action::Respond(Response::ok(ContentType::Html, PAGE)),
        _ => only_reading(),
    }
}

/// What the page may do: run its own script, have its own style, and ask its own address.
pub fn page_policy() -> String {
    let hash = |tag: &str| {
        let text = PAGE.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
        let text = text.split_once(&format!("</{tag}>")).map_or("", |(text, _)| text);
        BASE64_STANDARD.encode(Sha256::digest(text))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

const PAGE: &str = include_str!("status.html");

fn wants_json(query: &[u8]) -> bool {
    query.split(|&byte| byte == b'&').any(|pair| pair == b"format=json")
}

/// The answer to whatever does not just read.
fn only_reading() -> Action {
    Action::Respond(Response::new(405))
}
