//! The fields frames are made of.

use bytes::{Buf, BufMut, Bytes};
use push_protocol::{ChannelKey, ChannelKind, Mid};

/// A frame that cannot be understood. The link is closed then: nothing after it can be trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// The length field names more than [`crate::MAX_FRAME`] bytes, or none.
    #[error("frame of {0} bytes, allowed are 1 to {max}", max = crate::MAX_FRAME)]
    Length(usize),
    /// No such frame kind.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A field runs past the frame's end, or holds what it cannot hold.
    #[error("bad field in a frame of kind {0}")]
    Field(u8),
}

/// `None` when the frame is too short or a field holds what it cannot hold.
pub(crate) trait Read {
    fn u8(&mut self) -> Option<u8>;
    fn u16(&mut self) -> Option<u16>;
    fn u32(&mut self) -> Option<u32>;
    fn u64(&mut self) -> Option<u64>;
    fn mid(&mut self) -> Option<Mid>;
    fn key(&mut self) -> Option<ChannelKey>;
    fn keys(&mut self) -> Option<Vec<ChannelKey>>;
    fn raw(&mut self, len: usize) -> Option<Bytes>;
    fn text(&mut self) -> Option<String>;
    fn words(&mut self) -> Option<Vec<u64>>;
}

impl Read for Bytes {
    fn u8(&mut self) -> Option<u8> {
        self.try_get_u8().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.try_get_u16_le().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.try_get_u32_le().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.try_get_u64_le().ok()
    }

    fn mid(&mut self) -> Option<Mid> {
        let mid = Mid::from_bytes(self.get(..13)?)?;
        self.advance(13);
        Some(mid)
    }

    fn key(&mut self) -> Option<ChannelKey> {
        let kind = match self.first()? {
            1 => ChannelKind::Private,
            2 => ChannelKind::Public,
            _ => return None,
        };
        let id = self.get(1..17)?.try_into().ok()?;
        self.advance(17);
        Some(ChannelKey { kind, id })
    }

    fn keys(&mut self) -> Option<Vec<ChannelKey>> {
        let count = self.u32()? as usize;
        if self.len() < count.checked_mul(17)? {
            return None;
        }
        (0..count).map(|_| self.key()).collect()
    }

    fn raw(&mut self, len: usize) -> Option<Bytes> {
        (self.len() >= len).then(|| self.split_to(len))
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u16()? as usize;
        String::from_utf8(self.raw(len)?.to_vec()).ok()
    }

    fn words(&mut self) -> Option<Vec<u64>> {
        let len = self.u16()? as usize;
        (0..len).map(|_| self.u64()).collect()
    }
}

pub(crate) trait Write {
    fn mid(&mut self, mid: Mid);
    fn key(&mut self, key: &ChannelKey);
    fn keys(&mut self, keys: &[ChannelKey]);
    fn text(&mut self, text: &str);
    fn words(&mut self, words: &[u64]);
}

impl Write for Vec<u8> {
    fn mid(&mut self, mid: Mid) {
        self.put_slice(mid.as_bytes());
    }

    fn key(&mut self, key: &ChannelKey) {
        self.put_u8(key.kind as u8);
        self.put_slice(&key.id);
    }

    fn keys(&mut self, keys: &[ChannelKey]) {
        self.put_u32_le(keys.len() as u32);
        for key in keys {
            Write::key(self, key);
        }
    }

    /// Texts are names and reasons; what is longer than 65,535 bytes is cut.
    fn text(&mut self, text: &str) {
        let mut end = text.len().min(usize::from(u16::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.put_u16_le(end as u16);
        self.put_slice(&text.as_bytes()[..end]);
    }

    /// As many as anybody will ever count; more than 65,535 are cut.
    fn words(&mut self, words: &[u64]) {
        let words = &words[..words.len().min(usize::from(u16::MAX))];
        self.put_u16_le(words.len() as u16);
        for word in words {
            self.put_u64_le(*word);
        }
    }
}

/// Appends one frame: reserves the length, lets `fields` write, fills the length in.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    fields(out);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}
