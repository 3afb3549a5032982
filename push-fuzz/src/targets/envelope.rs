//! The text form of messages: read back as the pull client reads it.

use push_protocol::Mid;
use push_protocol::envelope::write_envelope;
use push_protocol::outgoing::OutgoingView;
use serde_json::Value;

use crate::input::Input;

const START: &str = "#!NGINXNMS!#";
const END: &str = "#!NGINXNME!#";

/// * Several envelopes in a row are found again one by one, whatever their bodies hold.
/// * A body that is JSON is the same JSON afterwards, and the whole is then JSON, too.
/// * Id, `mid` and tag are the message's.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let now_ms = input.long() % (1 << 45);
    let mut out = Vec::new();
    let mut messages = Vec::new();
    while !input.is_empty() && messages.len() < 4 {
        let id = Mid::new(1_700_000_000 + u64::from(input.number()), input.long());
        let (expiry, created) = (u32::from(input.number()), input.long() as u32);
        let body = String::from_utf8_lossy(input.piece()).into_owned();
        let message = OutgoingView { id, body: &body, expiry, created, sender: None };
        write_envelope(&mut out, &message, now_ms);
        messages.push((id, body));
    }
    let text = std::str::from_utf8(&out).expect("text is UTF-8");
    let found = found(text);
    assert_eq!(found.len(), messages.len());
    for (inner, (id, body)) in found.into_iter().zip(messages) {
        let head =
            format!("{{\"id\":{},\"mid\":\"{id}\",\"channel\":\"-\",\"tag\":\"", id.counter());
        let rest = inner.strip_prefix(&head).expect("the head of an envelope");
        let tag = rest.split('"').next().expect("a tag");
        assert_eq!(tag.parse(), Ok(now_ms % 1000));
        // Deeply nested JSON is JSON, but not for this parser.
        match serde_json::from_str::<Value>(&body) {
            Ok(said) => {
                let whole: Value = serde_json::from_str(inner).expect("an envelope is JSON");
                assert_eq!(whole["text"], said);
            }
            Err(_) if body.is_empty() => assert!(inner.ends_with(",\"text\":\"\"}")),
            Err(_) => {}
        }
    }
}

/// What stands between the marks, found from left to right.
fn found(mut text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let inner = text.strip_prefix(START).expect("an envelope begins");
        let (inner, rest) = inner.split_once(END).expect("an envelope ends");
        assert!(!inner.contains(START));
        all.push(inner);
        text = rest;
    }
    all
}
