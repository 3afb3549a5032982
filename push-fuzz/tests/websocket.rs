//! The WebSocket codec against tungstenite: both directions, what is right and what is wrong. The
//! differences that are meant are listed in [`push_fuzz::oracle`].

use std::io::{self, Cursor, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use push_fuzz::oracle::{Pipe, compare, heard_by_tungstenite};
use push_fuzz::targets::frame::{decode, masked};
use push_protocol::frame::{Event, Opcode, ProtocolError, close, encode};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

const MAX_PAYLOAD: usize = 400;

/// A frame of a client, right or wrong.
#[derive(Clone, Debug)]
struct Frame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// The length in two (126) or eight (127) bytes, whatever it is.
    long: Option<u8>,
    payload: Vec<u8>,
}

impl Frame {
    fn new(first: u8, payload: &[u8]) -> Self {
        Self {
            fin: first & 0x80 != 0,
            reserved: first >> 4 & 7,
            opcode: first & 15,
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            long: None,
            payload: payload.to_vec(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        let masked = u8::from(self.mask.is_some()) << 7;
        let len = self.payload.len();
        match (self.long, len) {
            (None, ..126) => out.push(masked | len as u8),
            (Some(127), _) | (_, 0x1_0000..) => {
                out.push(masked | 0x7f);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
            _ => {
                out.push(masked | 0x7e);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        out.extend(self.mask.iter().flatten());
        let mask = self.mask.unwrap_or_default();
        out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "\\PC{0,12}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..8),
        vec(any::<u8>(), 120..130),
        vec(any::<u8>(), 0..MAX_PAYLOAD + 2),
    ]
}

/// Any frame; most bits mostly as they should be, so that streams go on for a while.
fn frame() -> impl Strategy<Value = Frame> {
    let opcode = prop_oneof![8 => prop::sample::select(&[0u8, 0, 1, 2, 9, 10][..]), 1 => 0u8..16];
    let mask = prop::option::weighted(0.98, any::<[u8; 4]>());
    let reserved = prop_oneof![40 => Just(0u8), 1 => 1u8..8];
    let long = prop_oneof![12 => Just(None), 1 => Just(Some(126)), 1 => Just(Some(127))];
    (prop::bool::weighted(0.7), reserved, opcode, mask, long, payload()).prop_map(
        |(fin, reserved, opcode, mask, long, payload)| Frame {
            fin,
            reserved,
            opcode,
            mask,
            long,
            payload,
        },
    )
}

/// What stands for itself in a stream: a message in fragments with control frames between them.
fn conversation() -> impl Strategy<Value = Vec<Frame>> {
    let control = (prop_oneof![Just(0x89u8), Just(0x8a)], vec(any::<u8>(), 0..=125));
    let part = (vec(any::<u8>(), 0..100), prop::option::of(control), any::<[u8; 4]>());
    let text = ("\\PC{0,30}", prop::option::of(0usize..30)).prop_map(|(text, at)| {
        let (front, back) = text.as_bytes().split_at(at.unwrap_or(0).min(text.len()));
        vec![Frame::new(0x01, front), Frame::new(0x80, back)]
    });
    let binary = vec(part, 1..5).prop_map(|parts| {
        let last = parts.len() - 1;
        let mut frames = Vec::new();
        for (n, (payload, control, mask)) in parts.into_iter().enumerate() {
            frames.extend(control.map(|(first, payload)| Frame::new(first, &payload)));
            let first = u8::from(n == last) << 7 | if n == 0 { 2 } else { 0 };
            frames.push(Frame { mask: Some(mask), ..Frame::new(first, &payload) });
        }
        frames
    });
    prop_oneof![text, binary]
}

fn check(stream: &[u8]) {
    let (events, error) = decode([stream], MAX_PAYLOAD);
    compare(stream, MAX_PAYLOAD, &events, error);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..Default::default() })]

    #[test]
    fn what_is_right_is_heard_alike(
        conversations in vec(conversation(), 0..6),
        ending in prop::option::of((1000u16..5000, "\\PC{0,30}")),
    ) {
        let mut stream: Vec<u8> =
            conversations.iter().flatten().flat_map(Frame::bytes).collect();
        if let Some((code, reason)) = &ending {
            stream.extend(masked(0x88, &[&code.to_be_bytes()[..], reason.as_bytes()].concat()));
        }
        check(&stream);
    }

    #[test]
    fn any_frames_are_judged_alike(
        begin in prop::option::of(conversation()),
        frames in vec(frame(), 1..8),
    ) {
        let stream: Vec<u8> = begin.iter().flatten().chain(&frames).flat_map(Frame::bytes).collect();
        check(&stream);
    }

    #[test]
    fn any_bytes_are_judged_alike(
        begin in prop::option::of(conversation()),
        garbage in vec(any::<u8>(), 0..40),
    ) {
        let mut stream: Vec<u8> = begin.iter().flatten().flat_map(Frame::bytes).collect();
        stream.extend(garbage);
        check(&stream);
    }

    /// What a client made with tungstenite sends is heard as it was meant.
    #[test]
    fn what_tungstenite_sends_is_heard(messages in vec(message(), 0..8), bye in any::<bool>()) {
        let mut socket = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        let mut sent = Vec::new();
        for message in messages {
            sent.push(event(&message));
            socket.send(message).unwrap();
        }
        if bye {
            let frame = CloseFrame { code: 4000.into(), reason: "bye".into() };
            socket.close(Some(frame)).unwrap();
            sent.push(Event::Close { code: Some(4000), reason: b"bye".to_vec() });
        }
        socket.flush().unwrap();
        prop_assert_eq!(decode([&socket.get_ref().0[..]], 1 << 20), (sent, None));
    }

    /// What we send is heard by a client made with tungstenite.
    #[test]
    fn what_we_send_is_heard_by_tungstenite(
        messages in vec(message(), 0..8),
        code in prop_oneof![1000u16..=1003, 1007u16..=1013, 3000u16..5000],
        reason in "\\PC{0,80}",
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend(match message {
                Message::Text(text) => encode(Opcode::Text, text.as_bytes()),
                Message::Binary(data) => encode(Opcode::Binary, data),
                Message::Ping(payload) => encode(Opcode::Ping, payload),
                Message::Pong(payload) => encode(Opcode::Pong, payload),
                other => unreachable!("{other:?}"),
            });
        }
        stream.extend(close(code, &reason));
        let pipe = Pipe(Cursor::new(stream));
        let mut socket = WebSocket::from_raw_socket(pipe, Role::Client, None);
        for message in messages {
            prop_assert_eq!(socket.read().unwrap(), message);
        }
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close") };
        prop_assert_eq!(u16::from(frame.code), code);
        prop_assert!(reason.starts_with(frame.reason.as_str()));
        prop_assert!(frame.reason.len() == reason.len() || frame.reason.len() > 119);
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,60}".prop_map(Message::text),
        vec(any::<u8>(), 0..300).prop_map(Message::binary),
        (65_530usize..65_550).prop_map(|len| Message::binary(vec![7; len])),
        vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Ping(payload.into())),
        vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

fn event(message: &Message) -> Event {
    match message {
        Message::Text(text) => {
            Event::Message { opcode: Opcode::Text, data: text.as_bytes().to_vec() }
        }
        Message::Binary(data) => Event::Message { opcode: Opcode::Binary, data: data.to_vec() },
        Message::Ping(payload) => Event::Ping(payload.to_vec()),
        Message::Pong(payload) => Event::Pong(payload.to_vec()),
        other => unreachable!("{other:?}"),
    }
}

/// Keeps what is written; nothing comes.
#[derive(Default)]
struct Wire(Vec<u8>);

impl Read for Wire {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each violation, what we say to it, and the close code that tungstenite gives; `None`: it lets
/// it pass.
#[test]
fn violations_and_who_refuses_them() {
    use ProtocolError as E;
    let frame = Frame::new;
    let unmasked = |first, payload: &[u8]| Frame { mask: None, ..frame(first, payload) };
    let long = |form, first, payload: &[u8]| Frame { long: Some(form), ..frame(first, payload) };
    for (name, frames, ours, theirs) in [
        ("unmasked", vec![unmasked(0x82, b"x")], Some(E::Unmasked), Some(1002)),
        ("unmasked close", vec![unmasked(0x88, b"")], Some(E::Unmasked), Some(1002)),
        ("RSV1", vec![frame(0xc2, b"x")], Some(E::ReservedBits), Some(1002)),
        ("RSV2", vec![frame(0xa2, b"x")], Some(E::ReservedBits), Some(1002)),
        ("RSV3", vec![frame(0x99, b"x")], Some(E::ReservedBits), Some(1002)),
        ("opcode 3", vec![frame(0x83, b"x")], Some(E::ReservedOpcode), Some(1002)),
        ("opcode 15", vec![frame(0x8f, b"x")], Some(E::ReservedOpcode), Some(1002)),
        ("ping in fragments", vec![frame(0x09, b"x")], Some(E::BadControl), Some(1002)),
        ("close in fragments", vec![frame(0x08, b"")], Some(E::BadControl), Some(1002)),
        ("ping of 126 bytes", vec![frame(0x89, &[1; 126])], Some(E::BadControl), Some(1002)),
        // Difference 4.
        ("ping, long form", vec![long(126, 0x89, b"x")], Some(E::BadControl), None),
        ("close, long form", vec![long(127, 0x88, b"")], Some(E::BadControl), None),
        // Both take a longer form than needed for data, though a sender must not use it.
        ("binary, long form", vec![long(127, 0x82, b"x")], None, None),
        ("continuation of nothing", vec![frame(0x80, b"x")], Some(E::BadFragment), Some(1002)),
        (
            "a message within another",
            vec![frame(0x01, b"a"), frame(0x81, b"b")],
            Some(E::BadFragment),
            Some(1002),
        ),
        ("close of one byte", vec![frame(0x88, b"\x03")], Some(E::BadClose), Some(1002)),
        ("close 1005", vec![frame(0x88, b"\x03\xed")], Some(E::BadClose), Some(1002)),
        ("close 999", vec![frame(0x88, b"\x03\xe7")], Some(E::BadClose), Some(1002)),
        ("reason not UTF-8", vec![frame(0x88, b"\x03\xe8\xff")], Some(E::InvalidUtf8), Some(1007)),
        ("text not UTF-8", vec![frame(0x81, b"\xff")], Some(E::InvalidUtf8), Some(1007)),
        ("surrogate", vec![frame(0x81, b"\xed\xa0\x80")], Some(E::InvalidUtf8), Some(1007)),
        ("overlong", vec![frame(0x81, b"\xc0\xaf")], Some(E::InvalidUtf8), Some(1007)),
        (
            "a character left open",
            vec![frame(0x01, b"\xd0"), frame(0x80, b"")],
            Some(E::InvalidUtf8),
            Some(1007),
        ),
        // Difference 1: the message is not complete.
        ("fragment not UTF-8", vec![frame(0x01, b"\xff")], None, Some(1007)),
        ("too big", vec![frame(0x82, &[7; MAX_PAYLOAD + 1])], Some(E::TooBig), Some(1009)),
        (
            "too big in all",
            vec![frame(0x02, &[7; MAX_PAYLOAD]), frame(0x80, b"x")],
            Some(E::TooBig),
            Some(1009),
        ),
    ] {
        let stream: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        assert_eq!(decode([&stream[..]], MAX_PAYLOAD).1, ours, "{name}");
        assert_eq!(heard_by_tungstenite(&stream, MAX_PAYLOAD).1, theirs, "{name}");
        check(&stream);
    }
}

/// Every close code there can be is taken or refused by both.
#[test]
fn close_codes_are_judged_alike() {
    let refused = (0..=u16::MAX).filter(|code| {
        let stream = masked(0x88, &code.to_be_bytes());
        check(&stream);
        decode([&stream[..]], MAX_PAYLOAD).1.is_some()
    });
    let taken: usize = (1000..=1003).chain(1007..=1014).chain(3000..=4999).count();
    assert_eq!(refused.count(), 65_536 - taken);
}
