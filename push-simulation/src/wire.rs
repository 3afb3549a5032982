//! What a client reads: frames without a mask, and messages in both forms.

use std::fmt::Write;

use push_protocol::Mid;
use push_protocol::outgoing::OutgoingView;

const START: &[u8] = b"#!NGINXNMS!#";
const END: &[u8] = b"#!NGINXNME!#";

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its opcode.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Takes one whole frame off the front of what has come.
pub fn take_frame(input: &mut Vec<u8>) -> Option<Frame> {
    let [first, length, ..] = input[..] else { return None };
    let extended = match length {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let head = 2 + extended;
    let number = input.get(2..head)?;
    let len = match extended {
        0 => usize::from(length),
        _ => number.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
    };
    let payload = input.get(head..head + len)?.to_vec();
    input.drain(..head + len);
    Some(Frame { opcode: first & 0x0f, payload })
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// A client's frame, masked with zeros.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    out.extend_from_slice(payload);
    out
}

/// Ids and bodies of a `ResponseBatch`; `None`: it is not one.
pub fn binary_messages(batch: &[u8]) -> Option<Vec<(Mid, String)>> {
    let mut messages = Vec::new();
    for response in fields(batch)? {
        for outgoing in fields(response)? {
            for message in fields(outgoing)? {
                let view = OutgoingView::parse(message)?;
                messages.push((view.id, view.body.to_owned()));
            }
        }
    }
    Some(messages)
}

/// The contents of a message that has nothing but fields 1 of bytes.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while let [tag, rest @ ..] = bytes {
        let (mut len, mut shift, mut at) = (0_usize, 0, 0);
        loop {
            let byte = *rest.get(at)?;
            len |= usize::from(byte & 127) << shift;
            (shift, at) = (shift + 7, at + 1);
            if byte < 128 {
                break;
            }
        }
        if *tag != 10 {
            return None;
        }
        found.push(rest.get(at..at + len)?);
        bytes = &rest[at + len..];
    }
    Some(found)
}

/// Ids and bodies of envelopes; `None`: that is not what they are.
pub fn text_messages(mut text: &[u8]) -> Option<Vec<(Mid, String)>> {
    let mut messages = Vec::new();
    while !text.is_empty() {
        let rest = text.strip_prefix(START)?;
        let end = rest.windows(END.len()).position(|window| window == END)?;
        let envelope: serde_json::Value = serde_json::from_slice(&rest[..end]).ok()?;
        let id = Mid::from_digits(envelope.get("mid")?.as_str()?.as_bytes())?;
        messages.push((id, envelope.get("text")?.to_string()));
        text = &rest[end + END.len()..];
    }
    Some(messages)
}
