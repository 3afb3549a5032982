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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut fields = Fields(bytes);
        let mut all = Vec::new();
        while let Some(field) = fields.next()? {
            all.push(field);
        }
        Ok(all)
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [
            &[0x08, 0xac, 0x02][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1a, 2, b'h', b'i'],
            &[0x25, 1, 2, 0, 0],
        ]
        .concat();
        let expected = [
            (1, Value::Varint(300)),
            (2, Value::Fixed64),
            (3, Value::Bytes(b"hi")),
            (4, Value::Fixed32(0x201)),
        ];
        assert_eq!(fields(&bytes).unwrap(), expected);
        for cut in [1, 2, 4, 11, 13, 15, 17, 20] {
            assert_eq!(fields(&bytes[..cut]), Err(Malformed), "{cut}");
        }
    }

    #[test]
    fn a_varint_has_64_bits() {
        let long = |last| [&[0x08][..], &[0xff; 9], &[last]].concat();
        assert_eq!(fields(&long(1)), Ok(vec![(1, Value::Varint(u64::MAX))]));
        assert_eq!(fields(&long(2)), Err(Malformed));
        assert_eq!(fields(&long(0x81)), Err(Malformed));
        assert_eq!(fields(&[0x88, 0x80, 0x00, 5]), Ok(vec![(1, Value::Varint(5))]));
    }

    #[test]
    fn groups_and_bad_tags_are_refused() {
        for bad in [
            &[0x0b][..],
            &[0x0c],
            &[0x0b, 0x0c],
            &[0x0e, 0],
            &[0x0f, 0],
            &[0x00, 0],
            &[0x07, 0],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0xff, 0xff, 0xff, 0xff, 0x10, 0],
        ] {
            assert_eq!(fields(bad), Err(Malformed), "{bad:x?}");
        }
        let highest = [0xf8, 0xff, 0xff, 0xff, 0x0f, 7];
        assert_eq!(fields(&highest), Ok(vec![((1 << 29) - 1, Value::Varint(7))]));
    }

    #[test]
    fn known_fields_have_their_type_however_deep() {
        static INNER: Schema = &[Kind::Varint, Kind::Fixed32];
        static OUTER: Schema = &[Kind::Bytes, Kind::Message(INNER)];
        for (bytes, good) in [
            (&[0x0a, 1, 0xff][..], true),
            (&[0x08, 1], false),
            (&[0x12, 2, 0x08, 1], true),
            (&[0x12, 2, 0x0a, 0], false),
            (&[0x12, 5, 0x15, 1, 2, 3, 4], true),
            (&[0x12, 4, 0x15, 1, 2, 3], false),
            (&[0x12, 2, 0x18, 1], true),
            (&[0x12, 1, 0x0b], false),
            (&[0x10, 1], false),
        ] {
            assert_eq!(check(OUTER, bytes).is_ok(), good, "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for bits in 0..usize::BITS {
            for value in [(1 << bits) - 1, 1 << bits, (1 << bits) + 1] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                let field = [&[0x08], out.as_slice()].concat();
                assert_eq!(fields(&field), Ok(vec![(1, Value::Varint(value as u64))]));
            }
        }
    }
}
