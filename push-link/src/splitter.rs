//! Cutting a byte stream into frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::{LinkError, MAX_FRAME};

/// Bytes of room that are made for a frame of which more is to come.
const AHEAD: usize = 64 * 1024;

/// Collects what was read and gives out whole frames (kind byte and fields, without the length)
/// as slices of the read buffer, without copying.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
}

impl Splitter {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to read into; append only.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `Ok(None)` when more must be read first.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some(head) = self.buffer.get(..4) else {
            return Ok(None);
        };
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if len == 0 || len > MAX_FRAME {
            return Err(LinkError::Length(len));
        }
        if self.buffer.len() < 4 + len {
            // What is announced costs nothing before it comes.
            self.buffer.reserve((4 + len - self.buffer.len()).min(AHEAD));
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}
