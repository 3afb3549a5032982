//! A message on its way to local subscribers, encoded at most once per form.

use std::cell::OnceCell;

use bytes::Bytes;
use push_protocol::outgoing::{OutgoingView, batch_of};
use push_protocol::{Mid, envelope, frame};

use crate::Format;
use crate::outbox::Shared;

/// One message.
#[derive(Debug)]
pub struct Delivery {
    /// Its id.
    pub id: Mid,
    /// Delivered whatever has been delivered since ([`push_link::FLAG_LATE`]).
    pub late: bool,
    outgoing: Bytes,
    frames: [OnceCell<Shared>; 2],
}

impl Delivery {
    /// Around a complete `OutgoingMessage` encoding.
    pub fn new(id: Mid, late: bool, outgoing: Bytes) -> Self {
        Self { id, late, outgoing, frames: [OnceCell::new(), OnceCell::new()] }
    }

    /// How many bytes it has, roughly.
    pub fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// The whole WebSocket frame.
    pub fn frame(&self, format: Format, unix_ms: u64) -> &Shared {
        self.frames[format as usize].get_or_init(|| frame_of(&[self], format, unix_ms).into())
    }
}

/// What several messages are in an HTTP body or a frame's payload (PROTOCOL.md, section 7).
pub fn payload_of(messages: &[&Delivery], format: Format, unix_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Binary => {
            let parts: Vec<&[u8]> = messages.iter().map(|m| &m.outgoing[..]).collect();
            batch_of(&parts, &mut out);
        }
        Format::Text => {
            for message in messages {
                // What does not parse was not stored by us or by a neighbour that works.
                if let Some(view) = OutgoingView::parse(&message.outgoing) {
                    envelope::write_envelope(&mut out, &view, unix_ms);
                }
            }
        }
    }
    out
}

/// One WebSocket frame with several messages.
pub fn frame_of(messages: &[&Delivery], format: Format, unix_ms: u64) -> Vec<u8> {
    let payload = payload_of(messages, format, unix_ms);
    let opcode = match format {
        Format::Binary => frame::Opcode::Binary,
        Format::Text => frame::Opcode::Text,
    };
    frame::encode(opcode, &payload)
}
