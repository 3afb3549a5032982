//! Binary requests: `RequestBatch` (PROTOCOL.md, sections 4, 5.2, 5.3).

use std::borrow::Cow;

use super::{Command, Limits, Publication, Receiver, UNKNOWN_LABEL};
use crate::outgoing::{SENDER_FIELDS, Sender, encode_rest};
use crate::signature::Verifier;
use crate::wire::{Fields, Kind, Malformed, Schema, Value, check};
use crate::{ApiError, ChannelId, ChannelKey};

/// Receiver and `ChannelId`: id, isPrivate, signature.
pub(crate) static RECEIVER: Schema = &[Kind::Bytes, Kind::Varint, Kind::Bytes];

/// `IncomingMessage`: receivers, sender, body, expiry, type.
static INCOMING: Schema = &[
    Kind::Message(RECEIVER),
    Kind::Message(SENDER_FIELDS),
    Kind::Bytes,
    Kind::Varint,
    Kind::Bytes,
];

/// `RequestBatch`: requests, of which each is one of incomingMessages, channelStats, serverStats and
/// registration.
static REQUEST_BATCH: Schema = &[Kind::Message(&[
    Kind::Message(&[Kind::Message(INCOMING)]),
    Kind::Message(&[Kind::Message(RECEIVER)]),
    Kind::Message(&[]),
    Kind::Message(&[Kind::Bytes, Kind::Bytes]),
])];

/// Whose request it is.
#[derive(Clone, Copy)]
enum Origin<'a> {
    Backend,
    Client { verifier: &'a Verifier, public_id: ChannelId },
}

/// Reads and checks a request of the backend. Ids need no signature; `now_unix`: seconds.
pub fn trusted(body: &[u8], limits: &Limits, now_unix: u32) -> Result<Command, ApiError> {
    Reader { origin: Origin::Backend, limits, now_unix }.batch(body)
}

/// Reads and checks a request of a client: its connection's `public_id` becomes the sender; every
/// id must be public and signed. `now_unix`: seconds.
pub fn client(
    body: &[u8],
    limits: &Limits,
    verifier: &Verifier,
    public_id: Option<ChannelId>,
    now_unix: u32,
) -> Result<Command, ApiError> {
    let public_id = public_id.ok_or(ApiError::PublicChannelRequired)?;
    Reader { origin: Origin::Client { verifier, public_id }, limits, now_unix }.batch(body)
}

/// UTF-8, with U+FFFD for what is not.
pub(super) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn wrong_data(_: Malformed) -> ApiError {
    ApiError::WrongRequestData
}

struct Reader<'a> {
    origin: Origin<'a>,
    limits: &'a Limits,
    now_unix: u32,
}

impl Reader<'_> {
    fn batch(&self, body: &[u8]) -> Result<Command, ApiError> {
        // All of it is checked before any of it is looked at: 4013 comes before the other errors.
        check(REQUEST_BATCH, body).map_err(wrong_data)?;
        // Only the first request counts.
        let request = nested(body, 1).next().ok_or(ApiError::WrongRequestData)?;
        let command = last_member(request).map_err(wrong_data)?;
        let is_client = matches!(self.origin, Origin::Client { .. });
        match command.ok_or(ApiError::WrongRequestData)? {
            (1, incoming) => self.publish(incoming).map(Command::Publish),
            (2, stats) => self.channel_stats(stats).map(Command::ChannelStats),
            _ if is_client => Err(ApiError::CommandNotAllowed),
            (3, _) => Ok(Command::ServerStats),
            _ => Err(ApiError::WrongCommand),
        }
    }

    fn publish(&self, incoming: &[u8]) -> Result<Vec<Publication>, ApiError> {
        let count = nested(incoming, 1).count();
        if count > self.limits.max_messages {
            return Err(ApiError::TooManyMessages);
        }
        let mut publications = Vec::with_capacity(count);
        for message in nested(incoming, 1) {
            publications.push(self.message(message)?);
        }
        Ok(publications)
    }

    fn message(&self, message: &[u8]) -> Result<Publication, ApiError> {
        let raw = RawMessage::read(message).map_err(wrong_data)?;
        let receivers = self.channels(message, |channel, key| Receiver {
            key,
            signature: channel.signature.to_vec(),
        })?;
        let expiry = raw.expiry.min(self.limits.message_ttl);
        let sender = match self.origin {
            Origin::Backend => Sender::Backend,
            Origin::Client { public_id, .. } => Sender::Client(public_id),
        };
        let rest = encode_rest(&utf8(raw.body), expiry, self.now_unix, sender);
        Ok(Publication { receivers, expiry, rest, label: label_of(raw.label) })
    }

    fn channel_stats(&self, stats: &[u8]) -> Result<Vec<ChannelKey>, ApiError> {
        self.channels(stats, |_, key| key)
    }

    /// Reads and checks the channels in field 1 of a message or a question.
    fn channels<'m, T>(
        &self,
        message: &'m [u8],
        make: impl Fn(&RawChannel<'m>, ChannelKey) -> T,
    ) -> Result<Vec<T>, ApiError> {
        let count = nested(message, 1).count();
        if count == 0 {
            return Err(ApiError::NoChannels);
        }
        if count > self.limits.max_channels {
            return Err(ApiError::TooManyChannels);
        }
        let mut channels = Vec::with_capacity(count);
        for bytes in nested(message, 1) {
            let channel = RawChannel::read(bytes).map_err(wrong_data)?;
            let key = self.admit(&channel)?;
            channels.push(make(&channel, key));
        }
        Ok(channels)
    }

    /// Whether the origin may name this channel.
    fn admit(&self, channel: &RawChannel<'_>) -> Result<ChannelKey, ApiError> {
        let id = ChannelId::try_from(channel.id).ok();
        if let Origin::Client { verifier, .. } = self.origin {
            if channel.is_private {
                return Err(ApiError::PrivateNotAllowed);
            }
            let verified = match &id {
                Some(id) => verifier.verify_public(id, channel.signature),
                None => verifier.verify_odd_public(channel.id, channel.signature),
            };
            if !verified {
                return Err(ApiError::InvalidSignature);
            }
        }
        match id {
            Some(id) if channel.is_private => Ok(ChannelKey::private(id)),
            Some(id) => Ok(ChannelKey::public(id)),
            None => Err(ApiError::InvalidChannelId),
        }
    }
}

/// Of the members of a Request's oneof the last, which is the one that counts.
fn last_member(request: &[u8]) -> Result<Option<(u32, &[u8])>, Malformed> {
    let mut last = None;
    let mut fields = Fields(request);
    while let Some((field, value)) = fields.next()? {
        if let (1..=4, Value::Bytes(member)) = (field, value) {
            last = Some((field, member));
        }
    }
    Ok(last)
}

/// What counts of an `IncomingMessage` beside its receivers, as it stands there.
struct RawMessage<'a> {
    body: &'a [u8],
    expiry: u32,
    label: &'a [u8],
}

impl<'a> RawMessage<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Self { body: &[], expiry: 0, label: &[] };
        let mut fields = Fields(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (3, Value::Bytes(body)) => message.body = body,
                (4, Value::Varint(expiry)) => message.expiry = expiry as u32,
                (5, Value::Bytes(label)) => message.label = label,
                _ => {}
            }
        }
        Ok(message)
    }
}

/// A Receiver or `ChannelId` as it stands there.
pub(crate) struct RawChannel<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) is_private: bool,
    pub(crate) signature: &'a [u8],
}

impl<'a> RawChannel<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut channel = Self { id: &[], is_private: false, signature: &[] };
        let mut fields = Fields(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(id)) => channel.id = id,
                (2, Value::Varint(flag)) => channel.is_private = flag != 0,
                (3, Value::Bytes(signature)) => channel.signature = signature,
                _ => {}
            }
        }
        Ok(channel)
    }
}

/// The members of a repeated message field of a message that was checked.
pub(crate) fn nested(message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields(message);
    std::iter::from_fn(move || {
        loop {
            match fields.next() {
                Ok(Some((field, Value::Bytes(bytes)))) if field == wanted => return Some(bytes),
                Ok(Some(_)) => {}
                Ok(None) | Err(Malformed) => return None,
            }
        }
    })
}

/// The counter label: what has the right shape, or else "unknown".
fn label_of(label: &[u8]) -> String {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'*' | b'-');
    let good = (1..=32).contains(&label.len()) && label.iter().all(is_good);
    let label = if good { std::str::from_utf8(label).ok() } else { None };
    label.unwrap_or(UNKNOWN_LABEL).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_short_word() {
        let longest = "a".repeat(32);
        for good in ["im", "A_b-9*", &longest] {
            assert_eq!(label_of(good.as_bytes()), good);
        }
        for bad in ["", "a b", "a.b", "\u{444}", &"a".repeat(33)] {
            assert_eq!(label_of(bad.as_bytes()), "unknown", "{bad}");
        }
        assert_eq!(label_of(b"a\xff"), "unknown");
    }
}
