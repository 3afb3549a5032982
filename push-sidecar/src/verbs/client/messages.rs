//! Messages as subscribers get them (PROTOCOL.md, section 7).

use prost::Message;
use push_protocol::Mid;
use push_protocol::proto::{ResponseBatch, SenderType, response};
use serde::Serialize;

const START: &str = "#!NGINXNMS!#";
const END: &str = "#!NGINXNME!#";

/// A message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Received {
    /// Its id, 26 digits.
    pub mid: String,
    /// When it was published, Unix seconds; text mode tells a date instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<u32>,
    /// The date of text mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The public id of the client that sent it, if it was one. Binary mode only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// What was published.
    pub body: String,
}

/// The envelopes of a text frame or of a poll's answer. `None`: something else.
pub fn text(text: &str) -> Option<Vec<Received>> {
    let mut rest = text.trim_end_matches(['\r', '\n']);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (envelope, tail) = rest.strip_prefix(START)?.split_once(END)?;
        let (head, body) = envelope.split_once(",\"text\":")?;
        let body = body.strip_suffix('}')?;
        let field = |name: &str| {
            let (_, value) = head.split_once(&format!("\"{name}\":\""))?;
            value.split_once('"').map(|(value, _)| value.to_owned())
        };
        let mid = field("mid").filter(|mid| Mid::from_digits(mid.as_bytes()).is_some())?;
        let time = field("time");
        messages.push(Received { mid, created: None, time, sender: None, body: body.to_owned() });
        rest = tail;
    }
    (!messages.is_empty()).then_some(messages)
}

/// The messages of a binary frame or answer. `None`: something else.
pub fn binary(bytes: &[u8]) -> Option<Vec<Received>> {
    let mut messages = Vec::new();
    for answer in ResponseBatch::decode(bytes).ok()?.responses {
        let Some(response::Command::OutgoingMessages(batch)) = answer.command else { continue };
        for message in batch.messages {
            let client = message.sender.filter(|from| from.r#type == SenderType::Client as i32);
            messages.push(Received {
                mid: Mid::from_bytes(&message.id)?.to_string(),
                created: Some(message.created),
                time: None,
                sender: client.map(|from| push_protocol::hex::encode(&from.id)),
                body: message.body,
            });
        }
    }
    (!messages.is_empty()).then_some(messages)
}

#[cfg(test)]
mod tests {
    use push_protocol::envelope::write_envelope;
    use push_protocol::outgoing::{OutgoingView, Sender, batch_of, encode_rest, with_id};

    use super::*;

    const MID: &str = "17954063320000000000003072";

    #[test]
    fn what_the_server_writes_is_read() {
        let id = Mid::from_digits(MID.as_bytes()).expect("digits");
        let bodies = ["{\"a\":\",\\\"text\\\":1}\"}", "not json", "\"\""];
        let (mut out, mut encoded) = (Vec::new(), Vec::new());
        for body in bodies {
            let rest = encode_rest(body, 0, 1_795_408_161, Sender::Client([7; 16]));
            encoded.push(with_id(id, &rest));
            let view = OutgoingView::parse(encoded.last().expect("one")).expect("well formed");
            write_envelope(&mut out, &view, 1_795_408_161_493);
        }
        let told = text(std::str::from_utf8(&out).expect("UTF-8")).expect("messages");
        assert_eq!(told.iter().map(|told| &told.body[..]).collect::<Vec<_>>(), bodies);
        assert_eq!(told[0].mid, MID);
        assert_eq!(told[0].time.as_deref(), Some("Mon, 23 Nov 2026 04:29:21 GMT"));

        let mut batch = Vec::new();
        batch_of(&encoded.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut batch);
        let told = binary(&batch).expect("messages");
        assert_eq!(told.iter().map(|told| &told.body[..]).collect::<Vec<_>>(), bodies);
        assert_eq!((&told[0].mid[..], told[0].created), (MID, Some(1_795_408_161)));
        assert_eq!(told[0].sender.as_deref(), Some(&"07".repeat(16)[..]));
    }

    #[test]
    fn anything_else_is_no_message() {
        for odd in ["", "hello", "#!NGINXNMS!#{}#!NGINXNME!#", "#!NGINXNMS!#{\"id\":1,\"text\":2}"]
        {
            assert_eq!(text(odd), None, "{odd}");
        }
        assert_eq!(binary(b""), None);
        assert_eq!(binary(b"\xff\xff"), None);
    }
}
