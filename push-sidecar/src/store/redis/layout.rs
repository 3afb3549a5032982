//! Keys and channels in Redis: the reference's (PROTOCOL.md, section 13), and our own under
//! `bxpush:`.

use push_protocol::{ChannelKey, Mid};

/// Start date of the ids.
pub const START_DATE: &str = "server:startdate";
/// Counter of the ids.
pub const COUNTER: &str = "server:messagecounter";
/// Stream of what was announced in the last minute: entry `<start date>-<counter>`, field `r` the
/// receivers (17 bytes each: kind, id), for live-only messages field `o` the `OutgoingMessage`.
pub const LOG: &str = "bxpush:log";

/// Hash of the processes' statistics, by their names.
pub const STATISTICS: &str = "stats";
/// Set of the names in [`STATISTICS`] that are ours; the others are reference processes.
pub const PROCESSES: &str = "bxpush:processes";

/// Where is told which online marks of a database were taken away: 17 bytes each, kind and id.
pub fn cleared_channel(database: i64) -> String {
    format!("bxpush:cleared:{database}")
}

/// What the announcement channels of all processes on a database begin with. Redis does not
/// separate channels by database, and the reference knows database 0 only: the others have names of
/// their own, so that each database is a store of its own.
fn announcements(database: i64) -> String {
    match database {
        0 => "pushserver:".to_owned(),
        n => format!("bxpush:{n}:"),
    }
}

/// The announcement channel of a process.
pub fn announcement_channel(database: i64, uid: &str) -> String {
    announcements(database) + uid
}

/// Pattern of the announcement channels of all processes.
pub fn announcement_pattern(database: i64) -> String {
    announcements(database) + "*"
}

/// Where a process proves its subscription alive.
pub fn probe_channel(uid: &str) -> String {
    format!("bxpush:probe:{uid}")
}

/// A stored message.
pub fn message(id: Mid) -> Vec<u8> {
    [b"message:", &id.as_bytes()[..]].concat()
}

/// The ids of a channel's messages.
pub fn list(key: &ChannelKey) -> Vec<u8> {
    let name: &[u8] = if key.is_private() { b"channel:messages:" } else { b"pubchannel:messages:" };
    [name, &key.id[..]].concat()
}

/// A channel's online mark.
pub fn online(key: &ChannelKey) -> Vec<u8> {
    let name: &[u8] = if key.is_private() { b"channel:online:" } else { b"pubchannel:online:" };
    [name, &key.id[..]].concat()
}

/// An id as an entry of the log.
pub fn log_entry(id: Mid) -> String {
    format!("{}-{}", id.start(), id.counter())
}

/// Reads what [`log_entry`] writes.
pub fn parse_log_entry(text: &[u8]) -> Option<Mid> {
    let (start, counter) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some(Mid::new(start.parse().ok()?, counter.parse().ok()?))
}

/// Receivers as 17 bytes each: kind, id.
pub fn pack_receivers<'a>(receivers: impl Iterator<Item = &'a ChannelKey>) -> Vec<u8> {
    let mut out = Vec::with_capacity(receivers.size_hint().0 * 17);
    for key in receivers {
        out.push(key.kind as u8);
        out.extend_from_slice(&key.id);
    }
    out
}

/// Reads what [`pack_receivers`] writes.
pub fn unpack_receivers(packed: &[u8]) -> impl Iterator<Item = ChannelKey> {
    let (entries, _) = packed.as_chunks::<17>();
    entries.iter().filter_map(|entry| {
        let (kind, id) = entry.split_first()?;
        let id = id.try_into().ok()?;
        match kind {
            1 => Some(ChannelKey::private(id)),
            2 => Some(ChannelKey::public(id)),
            _ => None,
        }
    })
}
