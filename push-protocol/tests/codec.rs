//! The WebSocket codec against arbitrary bytes and against itself in pieces. Crate push-fuzz holds it
//! against tungstenite.

use proptest::prelude::*;
use push_protocol::frame::{Decoder, Event, Opcode, ProtocolError, header};

const MAX_PAYLOAD: usize = 400;

/// Everything a decoder says about a stream that comes in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<ProtocolError>) {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    for piece in pieces {
        let mut on = |event| {
            events.push(event);
            true
        };
        if let Err(error) = decoder.feed(piece, MAX_PAYLOAD, &mut on) {
            return (events, Some(error));
        }
    }
    (events, None)
}

/// A frame of a client, right or wrong.
#[derive(Clone, Debug)]
struct Frame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// Writes the length in a longer form than needed, which a decoder takes all the same.
    long_form: bool,
    payload: Vec<u8>,
}

impl Frame {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode);
        let masked = u8::from(self.mask.is_some()) << 7;
        match self.payload.len() {
            len @ ..126 if !self.long_form || self.opcode >= 8 => out.push(masked | len as u8),
            len if !self.long_form => {
                out.push(masked | 0x7e);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(masked | 0x7f);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        out.extend_from_slice(&mask[..if self.mask.is_some() { 4 } else { 0 }]);
        out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

fn stream(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        frame.put(&mut out);
    }
    out
}

/// What stands for itself in a stream: a message in fragments with control frames between them.
fn conversation() -> impl Strategy<Value = Vec<Frame>> {
    let fragment = prop_oneof![
        "\\PC{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
    ];
    let control = (prop_oneof![Just(9u8), Just(10)], prop::collection::vec(any::<u8>(), 0..=125));
    let part = (fragment, prop::option::of(control), any::<[u8; 4]>(), prop::bool::weighted(0.1));
    let text = any::<bool>();
    (text, prop::collection::vec(part, 1..5)).prop_map(|(text, parts)| {
        let mut frames = Vec::new();
        let last = parts.len() - 1;
        for (i, (payload, control, mask, long_form)) in parts.into_iter().enumerate() {
            let frame = |fin, opcode, payload| {
                let mask = Some(mask);
                Frame { fin, reserved: 0, opcode, mask, long_form, payload }
            };
            if let Some((opcode, payload)) = control {
                frames.push(frame(true, opcode, payload));
            }
            let opcode = if i > 0 { 0 } else { 2 - u8::from(text) };
            frames.push(frame(i == last, opcode, payload));
        }
        frames
    })
}

/// A close frame, or a frame against the rules.
fn ending() -> impl Strategy<Value = Frame> {
    let close_payload = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..4),
        (900u16..5100, "\\PC{0,20}").prop_map(|(code, reason)| [
            &code.to_be_bytes()[..],
            reason.as_bytes()
        ]
        .concat()),
    ];
    let mask = Some([1, 2, 3, 4]);
    let frame = move |opcode, payload| Frame {
        fin: true,
        reserved: 0,
        opcode,
        mask,
        long_form: false,
        payload,
    };
    prop_oneof![
        close_payload.prop_map(move |payload| frame(8, payload)),
        (1u8..8).prop_map(move |reserved| Frame { reserved, ..frame(2, vec![1]) }),
        prop_oneof![3u8..8, 11u8..16].prop_map(move |opcode| frame(opcode, vec![1])),
        Just(Frame { mask: None, ..frame(2, vec![1]) }),
        Just(frame(0, vec![1])),
        Just(Frame { fin: false, ..frame(9, vec![1]) }),
        Just(frame(9, vec![1; 126])),
        Just(frame(2, vec![1; MAX_PAYLOAD + 1])),
    ]
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(conversation(), 0..6), prop::option::of(ending())).prop_map(
        |(conversations, ending)| {
            let frames: Vec<_> = conversations.into_iter().flatten().chain(ending).collect();
            stream(&frames)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
        decode(pieces.iter().map(Vec::as_slice));
    }

    #[test]
    fn pieces_say_what_the_whole_says(
        stream in any_stream(),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let stream = [stream, garbage].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        let whole = decode([stream.as_slice()]);
        prop_assert_eq!(&decode(pieces), &whole);
        prop_assert_eq!(&decode(stream.chunks(1)), &whole);
    }

    #[test]
    fn a_head_says_its_payload_length(len in any::<u32>()) {
        let (head, used) = header(Opcode::Text, len as usize);
        let said = match head[1] {
            126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
            127 => u64::from_be_bytes(head[2..10].try_into().unwrap()),
            short => u64::from(short),
        };
        prop_assert_eq!(said, u64::from(len));
        prop_assert_eq!(used, match len { 0..126 => 2, 126..=65_535 => 4, _ => 10 });
    }
}
