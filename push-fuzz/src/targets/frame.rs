//! The WebSocket decoder: against itself in pieces, against what it says written anew, and against
//! tungstenite.

use push_protocol::frame::{Decoder, Event, Opcode, ProtocolError};

use crate::input::{Input, cut};
use crate::oracle;

/// * However the bytes are cut, the same events and the same end come out.
/// * No message is over the limit, text is UTF-8, a close is the last.
/// * The events, written anew, are heard again.
/// * tungstenite hears the same, but for the differences that [`oracle`] lists.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let max_payload = [0, 1, 125, 400, 70_000, 1 << 20, 5, 126][usize::from(input.byte() & 7)];
    let lengths: [usize; 4] = std::array::from_fn(|_| usize::from(input.byte()));
    let stream = input.rest();

    let whole = decode([stream], max_payload);
    assert_eq!(decode(cut(stream, &lengths), max_payload), whole);
    assert_eq!(decode(stream.chunks(1), max_payload), whole);

    let (events, error) = &whole;
    for (n, event) in events.iter().enumerate() {
        match event {
            Event::Message { opcode, data } => {
                assert!(data.len() <= max_payload);
                assert!(*opcode == Opcode::Binary || std::str::from_utf8(data).is_ok());
            }
            Event::Ping(payload) | Event::Pong(payload) => assert!(payload.len() <= 125),
            Event::Close { reason, .. } => {
                assert!(std::str::from_utf8(reason).is_ok());
                assert!(n + 1 == events.len() && error.is_none(), "a close is the last");
            }
        }
    }
    let anew: Vec<u8> = events.iter().flat_map(|event| write(event, lengths[0])).collect();
    assert_eq!(decode(cut(&anew, &lengths), max_payload), (events.clone(), None));

    oracle::compare(stream, max_payload, events, *error);
}

/// Everything a decoder says about a stream that comes in these pieces.
pub fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_payload: usize,
) -> (Vec<Event>, Option<ProtocolError>) {
    let (mut decoder, mut events, mut error) = (Decoder::new(), Vec::new(), None);
    for piece in pieces {
        let mut on = |event| {
            events.push(event);
            true
        };
        let result = decoder.feed(piece, max_payload, &mut on);
        assert!(error.is_none() || result.is_ok(), "heard something behind the end");
        error = error.or(result.err());
    }
    (events, error)
}

/// A client's frames for an event; a message in two fragments if `at` is within it.
fn write(event: &Event, at: usize) -> Vec<u8> {
    match event {
        Event::Message { opcode, data } => match data.split_at_checked(at) {
            Some((front, back)) => [masked(*opcode as u8, front), masked(0x80, back)].concat(),
            None => masked(0x80 | *opcode as u8, data),
        },
        Event::Ping(payload) => masked(0x89, payload),
        Event::Pong(payload) => masked(0x8a, payload),
        Event::Close { code, reason } => {
            let code = code.map(u16::to_be_bytes);
            masked(0x88, &[code.as_ref().map_or(&[][..], |code| &code[..]), reason].concat())
        }
    }
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        len @ ..126 => out.push(0x80 | len as u8),
        len @ ..0x1_0000 => {
            out.push(0xfe);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
