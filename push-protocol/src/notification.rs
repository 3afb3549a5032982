//! Announcements between processes over Redis: `NotificationBatch` (PROTOCOL.md, section 13).

use crate::outgoing::{self, OutgoingView};
use crate::request::Receiver;
use crate::request::batch::{RECEIVER, RawChannel, nested};
use crate::wire::{Fields, Kind, Schema, Value, check, field_len};
use crate::wire::{put_bytes, put_head};
use crate::{ChannelKey, Mid};

const FIRST: u8 = 1 << 3 | 2;
const OUTGOING_MESSAGE: u8 = 3 << 3 | 2;

/// `IPCMessage`: receivers, outgoingMessageId, outgoingMessage.
static IPC_MESSAGE: Schema =
    &[Kind::Message(RECEIVER), Kind::Bytes, Kind::Message(outgoing::FIELDS)];

/// License: of the multi-tenant mode, looked at only for being well-formed.
static LICENSE: Schema = &[
    Kind::Varint,
    Kind::Bytes,
    Kind::Bytes,
    Kind::Bytes,
    Kind::Fixed32,
    Kind::Bytes,
    Kind::Bytes,
    Kind::Fixed32,
    Kind::Bytes,
];

/// `NotificationBatch`: notifications, of which each is one of ipcMessages and ipcLicenses.
static NOTIFICATION_BATCH: Schema = &[Kind::Message(&[
    Kind::Message(&[Kind::Message(IPC_MESSAGE)]),
    Kind::Message(&[Kind::Message(&[Kind::Message(LICENSE), Kind::Bytes])]),
])];

/// A message that a neighbour announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Whom it is for; entries that name no channel are left out, so there may be none.
    pub receivers: Vec<Receiver>,
    /// Its id.
    pub id: Mid,
    /// The complete `OutgoingMessage`; [`OutgoingView::parse`] reads it.
    pub outgoing: Vec<u8>,
}

/// All bytes of an announcement in front of its `OutgoingMessage`, which has `outgoing_len` bytes and
/// ends it. Receivers are keys and signatures (see [`Receiver::parts`]).
pub fn announcement_head<'a>(
    receivers: impl Iterator<Item = (&'a ChannelKey, &'a [u8])> + Clone,
    outgoing_len: usize,
) -> Vec<u8> {
    let ipc_message =
        receivers.clone().map(|(_, signature)| field_len(receiver_len(signature))).sum::<usize>()
            + field_len(outgoing_len);
    let ipc_messages = field_len(ipc_message);
    let notification = field_len(ipc_messages);
    let mut out = Vec::with_capacity(field_len(notification) - outgoing_len);
    put_head(&mut out, FIRST, notification);
    put_head(&mut out, FIRST, ipc_messages);
    put_head(&mut out, FIRST, ipc_message);
    for (key, signature) in receivers {
        put_head(&mut out, FIRST, receiver_len(signature));
        put_bytes(&mut out, FIRST, &key.id);
        out.extend_from_slice(&[2 << 3, u8::from(key.is_private())]);
        if !signature.is_empty() {
            put_bytes(&mut out, 3 << 3 | 2, signature);
        }
    }
    put_head(&mut out, OUTGOING_MESSAGE, outgoing_len);
    out
}

fn receiver_len(signature: &[u8]) -> usize {
    let signature = match signature.len() {
        0 => 0,
        len => field_len(len),
    };
    field_len(16) + 2 + signature
}

/// All messages of all notifications in a payload. An undecodable payload holds none; a message
/// without a usable id is left out.
pub fn parse_notification(payload: &[u8]) -> Vec<Announced> {
    if check(NOTIFICATION_BATCH, payload).is_err() {
        return Vec::new();
    }
    nested(payload, 1)
        .filter_map(ipc_messages)
        .flat_map(|messages| nested(messages, 1))
        .filter_map(announced)
        .collect()
}

/// The last member of a Notification's oneof, if it is ipcMessages.
fn ipc_messages(notification: &[u8]) -> Option<&[u8]> {
    let mut last = None;
    let mut fields = Fields(notification);
    while let Ok(Some((field, value))) = fields.next() {
        match (field, value) {
            (1, Value::Bytes(messages)) => last = Some(messages),
            (2, _) => last = None,
            _ => {}
        }
    }
    last
}

fn announced(ipc_message: &[u8]) -> Option<Announced> {
    let outgoing = nested(ipc_message, 3).last()?;
    let (id, outgoing) = if let Some(view) = OutgoingView::parse(outgoing) {
        (view.id, outgoing.to_vec())
    } else {
        let repaired = outgoing::repaired(outgoing)?.into_owned();
        (OutgoingView::parse(&repaired)?.id, repaired)
    };
    let receivers = nested(ipc_message, 1).filter_map(receiver).collect();
    Some(Announced { receivers, id, outgoing })
}

fn receiver(bytes: &[u8]) -> Option<Receiver> {
    let raw = RawChannel::read(bytes).ok()?;
    let id = raw.id.try_into().ok()?;
    let key = if raw.is_private { ChannelKey::private(id) } else { ChannelKey::public(id) };
    Some(Receiver { key, signature: raw.signature.to_vec() })
}
