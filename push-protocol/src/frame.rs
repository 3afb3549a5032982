//! The WebSocket codec, server side, sans-IO (RFC 6455 section 5; PROTOCOL.md, section 9.2).

use std::fmt;

mod decoder;

pub use decoder::Decoder;

/// Bytes a control frame's payload may have (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// The opcodes (RFC 6455 section 11.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The last frame of a side.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// From the low four bits of a frame's first byte; `None`: reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame's: one that may stand between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// What a peer said, complete and unmasked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message; fragments are put together, text is UTF-8.
    Message {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// A ping with its payload; wants a pong with the same.
    Ping(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// The peer closes. What it may send after that is not looked at.
    Close {
        /// The code, if one is given.
        code: Option<u16>,
        /// The reason, UTF-8.
        reason: Vec<u8>,
    },
}

/// Why the peer's bytes cannot be followed any further: the connection is closed then, with
/// [`ProtocolError::close_code`] and an empty reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A client must mask its frames.
    #[error("unmasked frame")]
    Unmasked,
    /// No extension was negotiated that would use them.
    #[error("reserved bits set")]
    ReservedBits,
    /// An opcode that is not defined.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A control frame in fragments, or with more than 125 bytes.
    #[error("bad control frame")]
    BadControl,
    /// A continuation of nothing, or a new message within another's fragments.
    #[error("fragments out of order")]
    BadFragment,
    /// A close frame with one byte of payload, or a code that may not be sent.
    #[error("bad close frame")]
    BadClose,
    /// A text message or a close reason that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A message larger than allowed.
    #[error("message too big")]
    TooBig,
}

impl ProtocolError {
    /// The close code to answer with (RFC 6455 section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            Self::TooBig => 1009,
            _ => 1002,
        }
    }
}

/// The head of an unmasked, unfragmented frame with `len` bytes of payload; of the ten bytes the
/// returned number counts.
pub const fn header(opcode: Opcode, len: usize) -> ([u8; 10], usize) {
    let mut head = [0; 10];
    head[0] = 0x80 | opcode as u8;
    if len < 126 {
        head[1] = len as u8;
        (head, 2)
    } else if len <= 0xffff {
        let [high, low] = (len as u16).to_be_bytes();
        (head[1], head[2], head[3]) = (126, high, low);
        (head, 4)
    } else {
        let bytes = (len as u64).to_be_bytes();
        head[1] = 127;
        let mut i = 0;
        while i < 8 {
            head[2 + i] = bytes[i];
            i += 1;
        }
        (head, 10)
    }
}

/// A whole unmasked frame.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let (head, len) = header(opcode, payload.len());
    let mut out = Vec::with_capacity(len + payload.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(payload);
    out
}

/// A close frame. A reason of more than 123 bytes is cut at a character's end.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(MAX_CONTROL);
    payload.extend_from_slice(&code.to_be_bytes());
    let mut cut = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..cut]);
    encode(Opcode::Close, &payload)
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (len, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (bytes, used) = header(Opcode::Binary, len);
            assert_eq!(&bytes[..used], head);
        }
        assert_eq!(encode(Opcode::Text, b"hi"), b"\x81\x02hi");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        assert_eq!(
            close(4010, "4010: Wrong Channel Id."),
            b"\x88\x19\x0f\xaa4010: Wrong Channel Id."
        );
        assert_eq!(close(1009, ""), b"\x88\x02\x03\xf1");
        let frame = close(1000, &"ж".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
        assert_eq!(close(1000, &"x".repeat(200)).len(), 2 + 125);
    }
}
