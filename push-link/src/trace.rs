//! What becomes of a message in a worker, while somebody wants to know.

use bytes::{BufMut, Bytes};
use push_protocol::Mid;

use crate::wire::{Read, Write};

/// A live message that came to a worker for a channel that is traced. Connections are counted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traced {
    /// The message.
    pub id: Mid,
    /// When it came to the worker, Unix milliseconds.
    pub at: u64,
    /// When it was written to the last of them so far, Unix milliseconds.
    pub written: u64,
    /// WebSockets in text mode that it was written to, or queued for.
    pub text: u32,
    /// WebSockets in binary mode.
    pub binary: u32,
    /// Long polls that it answered.
    pub polls: u32,
    /// Connections that get it behind their history, which is being read.
    pub held: u32,
    /// Connections that had it already.
    pub had: u32,
    /// Connections that were cut off instead: too much waited for them.
    pub cut: u32,
    /// Connections that were closing.
    pub closing: u32,
}

impl Traced {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.mid(self.id);
        out.put_u64_le(self.at);
        out.put_u64_le(self.written);
        for count in
            [self.text, self.binary, self.polls, self.held, self.had, self.cut, self.closing]
        {
            out.put_u32_le(count);
        }
    }

    pub(crate) fn read(f: &mut Bytes) -> Option<Self> {
        Some(Self {
            id: f.mid()?,
            at: f.u64()?,
            written: f.u64()?,
            text: f.u32()?,
            binary: f.u32()?,
            polls: f.u32()?,
            held: f.u32()?,
            had: f.u32()?,
            cut: f.u32()?,
            closing: f.u32()?,
        })
    }
}
