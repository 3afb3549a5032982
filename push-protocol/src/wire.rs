//! The protobuf encoding (PROTOCOL.md, section 14): a reader that copies nothing, and what is
//! needed to write. The messages of the hot paths are read and written with it; [`crate::proto`]
//! has all of them as structs.

/// Not a protobuf message, or not one of the expected type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Goes through the fields of one message.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field, `None` at the end of the message. Groups are refused.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
            }
            _ => return Err(Malformed),
        };
        match tag >> 3 {
            0 => Err(Malformed),
            field => Ok(Some((field, value))),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.0 {
            [byte @ ..0x80, tail @ ..] => {
                self.0 = tail;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, &byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte has room for the 64th bit and nothing else.
            if i == 9 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// What a known field must be.
pub(crate) enum Kind {
    Varint,
    Fixed32,
    /// Bytes, or a string: its UTF-8 is the reader's business.
    Bytes,
    Message(Schema),
}

/// The known fields of a message type, numbered from 1.
pub(crate) type Schema = &'static [Kind];

/// Checks a message and everything in it: tags, lengths, and that known fields have their type.
/// What lies in members of a oneof that do not count is checked as well.
pub(crate) fn check(schema: Schema, message: &[u8]) -> Result<(), Malformed> {
    let mut fields = Fields(message);
    while let Some((field, value)) = fields.next()? {
        let Some(kind) = schema.get(field as usize - 1) else {
            continue;
        };
        match (kind, value) {
            (Kind::Message(inner), Value::Bytes(bytes)) => check(inner, bytes)?,
            (Kind::Varint, Value::Varint(_))
            | (Kind::Fixed32, Value::Fixed32(_))
            | (Kind::Bytes, Value::Bytes(_)) => {}
            _ => return Err(Malformed),
        }
    }
    Ok(())
}

/// Bytes that `value` takes as a varint.
pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0 => 1,
        _ => (value.ilog2() as usize) / 7 + 1,
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a one-byte tag and the length of what the caller appends next.
pub(crate) fn put_head(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    put_varint(out, len);
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    put_head(out, tag, bytes.len());
    out.extend_from_slice(bytes);
}

/// Bytes of a field with a one-byte tag and `len` bytes in it.
pub(crate) const fn field_len(len: usize) -> usize {
    1 + varint_len(len) + len
}
