//! Comparing answers and messages with what was recorded.

use std::collections::BTreeMap;

use super::case::{Answer, Body, Content};
use super::decoded;
use super::placeholder::{Bindings, shown};
use crate::channel::hex;
use crate::http1::Response;

/// Whether a header is recorded. Of these, exactly the recorded ones must be there.
fn is_compared(name: &str) -> bool {
    name.starts_with("access-control-")
        || matches!(name, "content-type" | "last-message-id" | "expires" | "location")
}

/// Whether a header is recorded of a handshake that succeeded.
fn is_compared_of_upgrade(name: &str) -> bool {
    is_compared(name) || name.starts_with("sec-websocket-") && name != "sec-websocket-accept"
}

/// Fails unless an answer is the recorded one.
pub fn compare(
    expected: &Answer,
    actual: &Response,
    bindings: &mut Bindings,
) -> Result<(), String> {
    status(expected.status, actual)?;
    headers(&expected.headers, actual, is_compared, bindings)?;
    body(&expected.body, actual, bindings)
}

/// Fails unless the status is this.
pub fn status(expected: u16, actual: &Response) -> Result<(), String> {
    if actual.status == expected {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&actual.body);
    Err(format!("status {}, not {expected}: {}", actual.status, shown(&body)))
}

/// Fails unless the headers of a handshake that succeeded are the recorded ones.
pub fn upgrade(
    expected: &BTreeMap<String, String>,
    actual: &Response,
    bindings: &mut Bindings,
) -> Result<(), String> {
    status(101, actual)?;
    headers(expected, actual, is_compared_of_upgrade, bindings)
}

/// Fails unless the headers and the body of a handshake that failed are the recorded ones.
pub fn refusal(
    headers_: &BTreeMap<String, String>,
    body_: &Body,
    actual: &Response,
    bindings: &mut Bindings,
) -> Result<(), String> {
    headers(headers_, actual, is_compared, bindings)?;
    body(body_, actual, bindings)
}

fn headers(
    expected: &BTreeMap<String, String>,
    actual: &Response,
    compared: fn(&str) -> bool,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let mut given: BTreeMap<String, &str> = BTreeMap::new();
    for (name, value) in &actual.headers {
        let name = name.to_ascii_lowercase();
        if compared(&name) && given.insert(name.clone(), value).is_some() {
            return Err(format!("header {name} is there twice"));
        }
    }
    for (name, value) in expected {
        let actual = given.remove(name).ok_or_else(|| format!("header {name} is missing"))?;
        let outcome = bindings.matches(value, actual);
        outcome.map_err(|error| format!("header {name}: {error}"))?;
    }
    match given.first_key_value() {
        Some((name, value)) => Err(format!("header {name}: {value} is not expected")),
        None => Ok(()),
    }
}

fn body(expected: &Body, actual: &Response, bindings: &mut Bindings) -> Result<(), String> {
    let outcome = content(&expected.content(), &actual.body, bindings);
    outcome.map_err(|error| format!("body: {error}"))
}

/// Fails unless `actual` is what is expected.
pub fn content(
    expected: &Content<'_>,
    actual: &[u8],
    bindings: &mut Bindings,
) -> Result<(), String> {
    match expected {
        Content::Bytes(bytes) if bytes == actual => Ok(()),
        Content::Bytes(bytes) => Err(format!("expected {}, got {}", hex(bytes), hex(actual))),
        Content::Text(text) => match std::str::from_utf8(actual) {
            Ok(actual) => bindings.matches(text, actual),
            Err(_) => Err(format!("not UTF-8: {}", hex(actual))),
        },
        Content::Message { kind, decoded: expected } => {
            let actual = decoded::decode(kind, actual)
                .map_err(|error| format!("{error}: {}", shown(&String::from_utf8_lossy(actual))))?;
            decoded::compare(expected, &actual, bindings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Answer {
        serde_json::from_value(serde_json::json!({
            "status": 304,
            "headers": {"content-type": "text/plain", "last-message-id": ""},
            "body": {"utf8": ""},
        }))
        .expect("an answer")
    }

    fn actual(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|&(name, value)| (name.into(), value.into()));
        Response { status: 304, headers: headers.collect(), body: Vec::new() }
    }

    #[test]
    fn the_set_of_compared_headers_must_be_the_same() {
        let good = [("Server", "x"), ("Content-Type", "text/plain"), ("Last-Message-Id", "")];
        let fails = |headers: &[(&str, &str)]| {
            compare(&expected(), &actual(headers), &mut Bindings::new()).is_err()
        };
        assert!(!fails(&good));
        assert!(fails(&good[..2]), "one is missing");
        assert!(fails(&[&good[..], &[("Expires", "0")]].concat()), "one too many");
        assert!(fails(&[&good[..], &[("Access-Control-Max-Age", "0")]].concat()), "one too many");
        assert!(fails(&[&good[..], &[good[1]]].concat()), "one twice");
        assert!(fails(&[good[1], ("Last-Message-Id", "1")]), "another value");
        assert!(fails(&[("Content-Type", "text/html"), good[2]]), "another value");
    }

    #[test]
    fn status_and_body_must_be_the_same() {
        let headers = [("Content-Type", "text/plain"), ("Last-Message-Id", "")];
        let fails = |change: fn(&mut Response)| {
            let mut actual = actual(&headers);
            change(&mut actual);
            compare(&expected(), &actual, &mut Bindings::new()).is_err()
        };
        assert!(!fails(|_| {}));
        assert!(fails(|actual| actual.status = 200));
        assert!(fails(|actual| actual.body = b"x".to_vec()));
    }
}
