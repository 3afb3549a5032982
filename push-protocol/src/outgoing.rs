//! `OutgoingMessage`: a message as it is stored, announced and delivered in binary (PROTOCOL.md,
//! sections 7.2, 13, 14).
//!
//! The publisher's side makes everything but the id, the *rest*, once; the store puts the id in
//! front when it has given it out. The encoding is the reference's, to the byte.

use std::borrow::Cow;

use crate::wire::{Fields, Kind, Malformed, Schema, Value, check, field_len};
use crate::wire::{put_bytes, put_head, put_varint};
use crate::{ChannelId, Mid};

const ID: u8 = 1 << 3 | 2;
const BODY: u8 = 2 << 3 | 2;
const EXPIRY: u8 = 3 << 3;
const CREATED: u8 = 4 << 3 | 5;
const SENDER: u8 = 5 << 3 | 2;

/// Bytes of the encoded id field, which stands in front of the rest.
pub const ID_LEN: usize = 15;

pub(crate) static SENDER_FIELDS: Schema = &[Kind::Varint, Kind::Bytes];

pub(crate) static FIELDS: Schema =
    &[Kind::Bytes, Kind::Bytes, Kind::Varint, Kind::Fixed32, Kind::Message(SENDER_FIELDS)];

/// Where a message comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The site's backend.
    Backend,
    /// A client, by the public id of its connection.
    Client(ChannelId),
}

/// Encodes everything of an `OutgoingMessage` but its id. `expiry`: seconds, clamped (0: not kept);
/// `created`: Unix seconds.
pub fn encode_rest(body: &str, expiry: u32, created: u32, sender: Sender) -> Vec<u8> {
    let mut out = Vec::with_capacity(field_len(body.len()) + 6 + 5 + 22);
    if !body.is_empty() {
        put_bytes(&mut out, BODY, body.as_bytes());
    }
    out.push(EXPIRY);
    put_varint(&mut out, expiry as usize);
    out.push(CREATED);
    out.extend_from_slice(&created.to_le_bytes());
    match sender {
        Sender::Backend => out.extend_from_slice(&[SENDER, 2, 0x08, 2]),
        Sender::Client(id) => {
            out.extend_from_slice(&[SENDER, 20, 0x08, 1, 0x12, 16]);
            out.extend_from_slice(&id);
        }
    }
    out
}

/// The encoded id field.
pub fn id_field(id: Mid) -> [u8; ID_LEN] {
    let mut out = [0; ID_LEN];
    let (head, bytes) = out.split_at_mut(2);
    head.copy_from_slice(&[ID, 13]);
    bytes.copy_from_slice(id.as_bytes());
    out
}

/// The complete message: the id, then the rest.
pub fn with_id(id: Mid, rest: &[u8]) -> Vec<u8> {
    [&id_field(id), rest].concat()
}

/// A complete message, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutgoingView<'a> {
    /// Its id.
    pub id: Mid,
    /// The body, by convention one JSON value.
    pub body: &'a str,
    /// Seconds it is kept; 0: live delivery only.
    pub expiry: u32,
    /// Unix seconds. From a reference process it may be anything (defect D8).
    pub created: u32,
    /// The origin, if it is given and known.
    pub sender: Option<Sender>,
}

impl<'a> OutgoingView<'a> {
    /// Reads any valid encoding. `None`: malformed, without an id of 26 decimal digits, or with a
    /// body that is not UTF-8 (see [`repaired`]).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let raw = Raw::read(bytes).ok()?;
        let body = simdutf8::basic::from_utf8(raw.body).ok()?;
        let Raw { id, expiry, created, sender, .. } = raw;
        Some(Self { id: id?, body, expiry, created, sender })
    }
}

/// The fields as they stand there.
struct Raw<'a> {
    id: Option<Mid>,
    body: &'a [u8],
    expiry: u32,
    created: u32,
    sender: Option<Sender>,
}

impl<'a> Raw<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut raw = Self { id: None, body: &[], expiry: 0, created: 0, sender: None };
        let mut fields = Fields(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(id)) => raw.id = Mid::from_bytes(id),
                (2, Value::Bytes(body)) => raw.body = body,
                (3, Value::Varint(expiry)) => raw.expiry = expiry as u32,
                (4, Value::Fixed32(created)) => raw.created = created,
                (5, Value::Bytes(sender)) => raw.sender = read_sender(sender)?,
                (1..=5, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(raw)
    }
}

fn read_sender(bytes: &[u8]) -> Result<Option<Sender>, Malformed> {
    check(SENDER_FIELDS, bytes)?;
    let (mut kind, mut id) = (0, &[][..]);
    let mut fields = Fields(bytes);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Varint(value)) => kind = value as u32,
            (2, Value::Bytes(bytes)) => id = bytes,
            _ => {}
        }
    }
    Ok(match kind {
        1 => id.try_into().ok().map(Sender::Client),
        2 => Some(Sender::Backend),
        _ => None,
    })
}

/// A message of a neighbour, fit for delivery: itself, or, if its body is not UTF-8, the same with
/// U+FFFD for what is not (an encoder that works on UTF-16 may let lone surrogates through).
/// `None`: malformed, or without a usable id.
pub fn repaired(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let raw = Raw::read(bytes).ok()?;
    raw.id?;
    if simdutf8::basic::from_utf8(raw.body).is_ok() {
        return Some(Cow::Borrowed(bytes));
    }
    let body = String::from_utf8_lossy(raw.body);
    let mut out = Vec::with_capacity(bytes.len() + body.len());
    let mut fields = Fields(bytes);
    let mut field_start = bytes;
    while let Some((field, _)) = fields.next().ok()? {
        if field != 2 {
            out.extend_from_slice(&field_start[..field_start.len() - fields.0.len()]);
        }
        field_start = fields.0;
    }
    put_bytes(&mut out, BODY, body.as_bytes());
    Some(Cow::Owned(out))
}

/// Bytes of the [`batch_of`] messages whose encodings have these lengths.
pub fn batch_len(lengths: impl IntoIterator<Item = usize>) -> usize {
    let messages: usize = lengths.into_iter().map(field_len).sum();
    field_len(field_len(messages))
}

/// Appends a `ResponseBatch` with one Response holding these messages, which are complete
/// `OutgoingMessage` encodings. Several such batches in a row are one batch with several Responses.
pub fn batch_of(messages: &[&[u8]], out: &mut Vec<u8>) {
    const FIRST: u8 = 1 << 3 | 2;
    let inner: usize = messages.iter().map(|message| field_len(message.len())).sum();
    out.reserve(field_len(field_len(inner)));
    put_head(out, FIRST, field_len(inner));
    put_head(out, FIRST, inner);
    for message in messages {
        put_bytes(out, FIRST, message);
    }
}
