//! Histories and what was missed.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use push_protocol::{ChannelKey, Mid};
use redis::{Cmd, Value};

use super::connection::{Commands, LuaScript, ScriptArgs};
use super::layout;
use crate::store::{Announced, Caps, Found, History, Missed, StoreError};

/// Log entries, messages or channels asked for in one command.
const CHUNK: usize = 1000;
/// So many ids at most are looked up one by one before channels are read instead.
const MAX_LOOKUPS: u64 = 10_000;

/// Reads what is stored for the receivers, see `history.lua`.
pub async fn history(
    commands: &Commands,
    script: &LuaScript,
    receivers: &[ChannelKey],
    after: Mid,
    caps: Caps,
) -> Result<History, StoreError> {
    let mut args = ScriptArgs::with_keys(receivers.iter().map(layout::list));
    args.push(*after.as_bytes());
    args.push_shown(caps.per_channel);
    args.push_shown(caps.total);
    let mut parts = array(commands.script(script, &args).await?)?.into_iter();
    let (start, counter) = (number(parts.next())?, number(parts.next())?);
    let mut messages = Vec::with_capacity(parts.len() / 2);
    while let (Some(id), Some(message)) = (parts.next(), parts.next()) {
        // What is no id in a list is nobody's message.
        if let Some(id) = Mid::from_bytes(&bulk(id)?) {
            messages.push((id, Bytes::from(bulk(message)?)));
        }
    }
    messages.reverse();
    Ok(History { messages, as_of: Mid::new(start, counter) })
}

/// The last id given out.
pub async fn last_id(commands: &Commands) -> Result<Mid, StoreError> {
    let mut command = Cmd::new();
    command.arg("MGET").arg(layout::START_DATE).arg(layout::COUNTER);
    let mut parts = array(commands.run(&command).await?)?.into_iter();
    let (start, counter) = (number(parts.next())?, number(parts.next())?);
    Ok(if start == 0 { Mid::ZERO } else { Mid::new(start, counter) })
}

/// What is remembered of a message: itself, as long as it is kept, and for a minute its entry in the
/// log.
pub async fn find(commands: &Commands, id: Mid) -> Result<Option<Found>, StoreError> {
    let [mut get, mut ttl, mut log] = [Cmd::new(), Cmd::new(), Cmd::new()];
    get.arg("GET").arg(layout::message(id));
    ttl.arg("TTL").arg(layout::message(id));
    let entry = layout::log_entry(id);
    log.arg("XRANGE").arg(layout::LOG).arg(&entry).arg(&entry);
    let mut found = Found::default();
    if let Value::BulkString(outgoing) = commands.run(&get).await? {
        found.outgoing = Some(Bytes::from(outgoing));
        found.left = match commands.run(&ttl).await? {
            Value::Int(left) => u64::try_from(left).ok(),
            _ => None,
        };
    }
    let entries = array(commands.run(&log).await?)?;
    let logged = !entries.is_empty();
    for entry in entries {
        let (_, receivers, outgoing) = log_entry(entry)?;
        found.receivers = layout::unpack_receivers(&receivers).collect();
        found.outgoing = found.outgoing.or(outgoing);
    }
    Ok((logged || found.outgoing.is_some()).then_some(found))
}

/// Writes what `position.lua` writes to see whether Redis takes it.
pub(super) async fn write_alive(commands: &Commands) -> Result<(), StoreError> {
    let mut command = Cmd::new();
    command.arg("SET").arg("bxpush:alive").arg("1").arg("EX").arg("60");
    commands.run(&command).await.map(drop)
}

/// Everything announced to the receivers in a stretch of ids: from the log of the last minute, and
/// for ids that are not in it (older ones, a neighbour's) from the receivers' lists.
pub async fn missed(
    commands: &Commands,
    receivers: Vec<ChannelKey>,
    after: Mid,
    upto: Option<Mid>,
) -> Result<Missed, StoreError> {
    // Read first: what is given out later is announced later.
    let as_of = match upto {
        Some(upto) => upto,
        None => last_id(commands).await?,
    };
    if after >= as_of {
        return Ok(Missed { as_of, ..Missed::default() });
    }
    let mut reading = Reading {
        commands,
        after,
        as_of,
        wanted: receivers.iter().copied().collect(),
        found: BTreeMap::new(),
        logged: HashSet::default(),
        others: Vec::new(),
    };
    reading.read_log().await?;
    if !receivers.is_empty() && !reading.is_complete().await? {
        reading.read_lists(&receivers).await?;
    }
    let Reading { found, others, .. } = reading;
    Ok(Missed { messages: found.into_values().collect(), others, as_of })
}

struct Reading<'a> {
    commands: &'a Commands,
    after: Mid,
    as_of: Mid,
    wanted: HashSet<ChannelKey, RandomState>,
    found: BTreeMap<Mid, Announced>,
    /// Counters in the log that belong to the start date of `as_of`.
    logged: HashSet<u64, RandomState>,
    /// In the log, for others.
    others: Vec<Mid>,
}

impl Reading<'_> {
    async fn read_log(&mut self) -> Result<(), StoreError> {
        let mut from = self.after;
        loop {
            let mut command = Cmd::new();
            command.arg("XRANGE").arg(layout::LOG).arg(format!("({}", layout::log_entry(from)));
            command.arg(layout::log_entry(self.as_of)).arg("COUNT").arg(CHUNK);
            let entries = array(self.commands.run(&command).await?)?;
            let full = entries.len() == CHUNK;
            // Stored messages: the log has their receivers, the bodies are read.
            let mut stored = Vec::new();
            for entry in entries {
                let (id, receivers, outgoing) = log_entry(entry)?;
                from = id;
                if id.start() == self.as_of.start() {
                    self.logged.insert(id.counter());
                }
                let receivers: Vec<ChannelKey> = layout::unpack_receivers(&receivers)
                    .filter(|key| self.wanted.contains(key))
                    .collect();
                if receivers.is_empty() {
                    self.others.push(id);
                    continue;
                }
                match outgoing {
                    Some(outgoing) => {
                        self.found.insert(id, Announced { id, receivers, outgoing });
                    }
                    None => stored.push((id, receivers)),
                }
            }
            self.read_messages(stored).await?;
            if !full {
                return Ok(());
            }
        }
    }

    async fn read_messages(&mut self, ids: Vec<(Mid, Vec<ChannelKey>)>) -> Result<(), StoreError> {
        let mut ids = ids.into_iter().peekable();
        while ids.peek().is_some() {
            let chunk: Vec<(Mid, Vec<ChannelKey>)> = ids.by_ref().take(CHUNK / 4).collect();
            let mut command = Cmd::new();
            command.arg("MGET");
            for (id, _) in &chunk {
                command.arg(layout::message(*id));
            }
            let messages = array(self.commands.run(&command).await?)?;
            for ((id, receivers), message) in chunk.into_iter().zip(messages) {
                // Its time may be over by now.
                if let Value::BulkString(outgoing) = message {
                    let outgoing = Bytes::from(outgoing);
                    self.found.insert(id, Announced { id, receivers, outgoing });
                }
            }
        }
        Ok(())
    }

    /// Whether every id of the stretch was in the log, or has no message.
    async fn is_complete(&self) -> Result<bool, StoreError> {
        let (start, last) = (self.as_of.start(), self.as_of.counter());
        if start != self.after.start() || last - self.after.counter() > MAX_LOOKUPS {
            return Ok(start == self.after.start()
                && self.logged.len() as u64 == last - self.after.counter());
        }
        let unlogged: Vec<u64> = (self.after.counter() + 1..=last)
            .filter(|counter| !self.logged.contains(counter))
            .collect();
        for chunk in unlogged.chunks(CHUNK) {
            let mut command = Cmd::new();
            command.arg("EXISTS");
            for counter in chunk {
                command.arg(layout::message(Mid::new(start, *counter)));
            }
            if self.commands.run(&command).await? != Value::Int(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read_lists(&mut self, receivers: &[ChannelKey]) -> Result<(), StoreError> {
        let mut unknown: BTreeMap<Mid, Vec<ChannelKey>> = BTreeMap::new();
        let commands = self.commands;
        let after = [b"(", &self.after.as_bytes()[..]].concat();
        let upto = [b"[", &self.as_of.as_bytes()[..]].concat();
        for chunk in receivers.chunks(CHUNK) {
            // Pipelined: they go out together on the one connection.
            let reads = chunk.iter().map(|key| {
                let mut command = Cmd::new();
                command.arg("ZRANGEBYLEX").arg(layout::list(key)).arg(&after[..]).arg(&upto[..]);
                async move { Ok((*key, array(commands.run(&command).await?)?)) }
            });
            let answers: Vec<Result<_, StoreError>> = futures_util::future::join_all(reads).await;
            for answer in answers {
                let (key, members) = answer?;
                for member in members {
                    let Some(id) = Mid::from_bytes(&bulk(member)?) else {
                        continue;
                    };
                    match self.found.get_mut(&id) {
                        Some(found) if found.receivers.contains(&key) => {}
                        Some(found) => found.receivers.push(key),
                        None => unknown.entry(id).or_default().push(key),
                    }
                }
            }
        }
        self.read_messages(unknown.into_iter().collect()).await
    }
}

/// `[id, [field, value, …]]`
fn log_entry(entry: Value) -> Result<(Mid, Vec<u8>, Option<Bytes>), StoreError> {
    let mut parts = array(entry)?.into_iter();
    let id = bulk(parts.next().unwrap_or_default())?;
    let id = layout::parse_log_entry(&id).ok_or_else(odd)?;
    let (mut receivers, mut outgoing) = (Vec::new(), None);
    let mut fields = array(parts.next().unwrap_or_default())?.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match &bulk(name)?[..] {
            b"r" => receivers = bulk(value)?,
            b"o" => outgoing = Some(Bytes::from(bulk(value)?)),
            _ => {}
        }
    }
    Ok((id, receivers, outgoing))
}

fn odd() -> StoreError {
    StoreError::Refused("redis: unexpected answer".into())
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(odd()),
    }
}

/// What processes have left of their statistics, by their names.
pub(super) async fn statistics(commands: &Commands) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut command = Cmd::new();
    command.arg("HGETALL").arg(layout::STATISTICS);
    pairs(commands.run(&command).await?)
}

/// A text, or nothing.
pub(super) fn text(value: Value) -> Result<Option<String>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        value => Ok(Some(String::from_utf8_lossy(&bulk(value)?).into_owned())),
    }
}

/// A set of texts; over RESP2 an array.
pub(super) fn strings(value: Value) -> Result<Vec<String>, StoreError> {
    let members = match value {
        Value::Set(members) => members,
        value => array(value)?,
    };
    let text = |value| Ok(String::from_utf8_lossy(&bulk(value)?).into_owned());
    members.into_iter().map(text).collect()
}

/// A hash; over RESP2 a flat array, over RESP3 a map.
fn pairs(value: Value) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let flat = match value {
        Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        value => array(value)?,
    };
    let mut flat = flat.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((String::from_utf8_lossy(&bulk(name)?).into_owned(), bulk(value)?));
    }
    Ok(pairs)
}

fn bulk(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(odd()),
    }
}

/// A decimal number; nothing is 0.
fn number(value: Option<Value>) -> Result<u64, StoreError> {
    match value {
        None | Some(Value::Nil) => Ok(0),
        Some(value) => {
            let bytes = bulk(value)?;
            std::str::from_utf8(&bytes).ok().and_then(|t| t.parse().ok()).ok_or_else(odd)
        }
    }
}
