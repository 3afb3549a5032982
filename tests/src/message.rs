//! Delivered messages as a client reads them (PROTOCOL.md, section 7).

use prost::Message as _;

use crate::channel::hex;
use crate::proto::ResponseBatch;

const START: &str = "#!NGINXNMS!#";
const END: &str = "#!NGINXNME!#";

/// A message as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// 26 digits.
    pub mid: String,
    /// What was published.
    pub body: String,
}

/// The messages of a text frame or body.
///
/// # Panics
///
/// Unless it is a sequence of envelopes and nothing else.
pub fn from_text(text: &str) -> Vec<Message> {
    let mut rest = text;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let inner = rest.strip_prefix(START).unwrap_or_else(|| panic!("no envelope: {rest}"));
        let (envelope, after) = inner.split_once(END).expect("an envelope ends");
        messages.push(from_envelope(envelope));
        rest = after;
    }
    messages
}

fn from_envelope(envelope: &str) -> Message {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (id, rest) = field(envelope, r#"{"id":"#, r#","mid":""#);
    let (mid, rest) = field(rest, "", r#"","channel":"-","tag":""#);
    let (tag, rest) = field(rest, "", r#"","time":""#);
    let (time, rest) = field(rest, "", r#"","text":"#);
    let body = rest.strip_suffix('}').expect("an envelope ends with a brace");
    assert!(mid.len() == 26 && digits(mid), "mid {mid}");
    assert_eq!(mid[10..].trim_start_matches('0'), id, "id is the counter of mid {mid}");
    assert!(tag.len() == 3 && digits(tag), "tag {tag}");
    assert!(time.len() == 29 && time.ends_with(" GMT"), "time {time}");
    Message { mid: mid.to_owned(), body: body.to_owned() }
}

fn field<'a>(text: &'a str, before: &str, after: &str) -> (&'a str, &'a str) {
    text.strip_prefix(before)
        .and_then(|rest| rest.split_once(after))
        .unwrap_or_else(|| panic!("no {before}…{after} in {text}"))
}

/// The messages of a binary frame or body.
///
/// # Panics
///
/// Unless it is a `ResponseBatch` of messages alone.
pub fn from_binary(bytes: &[u8]) -> Vec<Message> {
    let batch = ResponseBatch::decode(bytes).expect("a ResponseBatch");
    assert!(!batch.responses.is_empty(), "a frame without responses");
    batch
        .responses
        .into_iter()
        .flat_map(|response| response.outgoing_messages.expect("outgoingMessages").messages)
        .map(|message| {
            assert_eq!(message.id.len(), 13, "an id has 13 bytes");
            Message { mid: hex(&message.id), body: message.body }
        })
        .collect()
}
