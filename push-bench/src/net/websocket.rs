//! The client's side of RFC 6455: the frames of a server are read where they lie.

use push_protocol::frame::{MAX_CONTROL, Opcode};

/// The key of every handshake, from RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to it.
pub const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Masks of a load generator protect no proxy, so one is as good as another.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

/// The server's bytes cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Of no use to a client (RFC 6455 section 5.1).
    #[error("the server masked a frame")]
    Masked,
    /// Nothing was negotiated that would use them, or the opcode does not exist.
    #[error("the server sent a frame with reserved bits or opcode")]
    Reserved,
    /// No server that is measured here sends any.
    #[error("the server sent a fragmented message, which is not understood here")]
    Fragmented,
}

/// What a frame is, its payload, and how many bytes it takes.
pub type Frame<'a> = (Opcode, &'a [u8], usize);

/// The frame at the front of `data`; `None` while it is not complete.
pub fn frame(data: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let [first, second, rest @ ..] = data else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Malformed::Reserved);
    }
    if second & 0x80 != 0 {
        return Err(Malformed::Masked);
    }
    let opcode = Opcode::from_bits(first & 15).ok_or(Malformed::Reserved)?;
    if first & 0x80 == 0 || opcode == Opcode::Continuation {
        return Err(Malformed::Fragmented);
    }
    let (start, len) = match second {
        126 => match rest.first_chunk() {
            Some(len) => (4_usize, usize::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(len) => (10, u64::from_be_bytes(*len) as usize),
            None => return Ok(None),
        },
        len => (2, usize::from(*len)),
    };
    let end = start.saturating_add(len);
    Ok(data.get(start..end).map(|payload| (opcode, payload, end)))
}

/// A masked control frame.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL + 6],
    len: usize,
}

impl Control {
    /// With as much of the payload as a control frame may have.
    pub fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let payload = &payload[..payload.len().min(MAX_CONTROL)];
        let mut bytes = [0; MAX_CONTROL + 6];
        bytes[0] = 0x80 | opcode as u8;
        bytes[1] = 0x80 | payload.len() as u8;
        bytes[2..6].copy_from_slice(&MASK);
        for (at, byte) in payload.iter().enumerate() {
            bytes[6 + at] = byte ^ MASK[at % 4];
        }
        Self { bytes, len: 6 + payload.len() }
    }

    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use push_protocol::frame::{Decoder, Event, encode};
    use push_protocol::handshake::accept_key;

    #[test]
    fn the_answer_fits_the_key() {
        assert_eq!(accept_key(KEY.as_bytes()).as_ref().map(|a| &a[..]), Some(ACCEPT));
    }

    #[test]
    fn frames_of_any_length_at_any_cut() {
        for len in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut bytes = encode(Opcode::Binary, &payload);
            for cut in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
                assert_eq!(frame(&bytes[..cut]), Ok(None));
            }
            let whole = bytes.len();
            bytes.push(0x82);
            assert_eq!(frame(&bytes), Ok(Some((Opcode::Binary, &payload[..], whole))));
        }
    }

    #[test]
    fn what_a_server_must_not_send() {
        assert_eq!(frame(b"\x82\x80...."), Err(Malformed::Masked));
        assert_eq!(frame(b"\xc2\x00"), Err(Malformed::Reserved));
        assert_eq!(frame(b"\x83\x00"), Err(Malformed::Reserved));
        assert_eq!(frame(b"\x02\x00"), Err(Malformed::Fragmented));
        assert_eq!(frame(b"\x80\x00"), Err(Malformed::Fragmented));
    }

    #[test]
    fn a_server_understands_our_control_frames() {
        let mut seen = Vec::new();
        let mut decoder = Decoder::new();
        for control in [
            Control::new(Opcode::Pong, b"ws ping"),
            Control::new(Opcode::Close, &1000_u16.to_be_bytes()),
        ] {
            let take = &mut |event| {
                seen.push(event);
                true
            };
            decoder.feed(control.bytes(), 1000, take).unwrap();
        }
        let close = Event::Close { code: Some(1000), reason: Vec::new() };
        assert_eq!(seen, [Event::Pong(b"ws ping".to_vec()), close]);
    }
}
