//! `redis.json`: steps, and the keys and announcements that they leave in Redis, to the byte.
//!
//! The commands that the reference sent for it are its own; ours are others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::case::Step;
use super::placeholder::Bindings;
use super::player::{Player, Servers};
use super::resp::{Connection, Reply};
use crate::channel::{hex, unhex};
use crate::wait;

/// Keys of ours, which the reference does not look at.
const OWN: &[u8] = b"bxpush:";

/// Keys that are there once, whoever publishes.
const GLOBAL: [&[u8]; 3] = [b"server:startdate", b"server:messagecounter", b"stats"];

/// How long there must be silence behind the last announcement.
const SILENCE: Duration = Duration::from_millis(300);

/// Seconds by which a time to live may be less than recorded.
const ELAPSED: i64 = 2;

/// A recorded scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique within its file.
    pub id: String,
    #[serde(rename = "title")]
    _title: IgnoredAny,
    /// Where its steps are done.
    pub server: String,
    #[serde(rename = "channels")]
    _channels: IgnoredAny,
    steps: Vec<Step>,
    keys: Vec<Key>,
    published: Vec<Announcement>,
    #[serde(rename = "commands_in_order")]
    _commands_in_order: IgnoredAny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key_hex: String,
    #[serde(rename = "type")]
    kind: String,
    ttl_seconds: i64,
    value_hex: Option<String>,
    members: Option<Vec<Member>>,
    value_decoded: Option<Value>,
    #[serde(rename = "key_escaped")]
    _key_escaped: Option<IgnoredAny>,
    #[serde(rename = "value_utf8")]
    _value_utf8: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    member_hex: String,
    score: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    channel: String,
    payload_hex: String,
    payload_decoded: Value,
}

/// What varies in the recorded bytes, as placeholders.
struct Pattern {
    /// The ids in the order of publication.
    mids: Vec<String>,
    /// Creation times, little-endian hex.
    created: BTreeSet<String>,
}

impl Scenario {
    fn pattern(&self) -> Pattern {
        let mut pattern = Pattern { mids: Vec::new(), created: BTreeSet::new() };
        for announcement in &self.published {
            pattern.learn(&announcement.payload_decoded);
        }
        for key in &self.keys {
            if let Some(decoded) = &key.value_decoded {
                pattern.learn(decoded);
            }
        }
        pattern
    }
}

impl Pattern {
    /// Takes up the ids and times of a decoded message.
    fn learn(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let (Some(Value::String(id)), Some(created)) =
                    (fields.get("id"), fields.get("created").and_then(Value::as_u64))
                {
                    if !self.mids.contains(id) {
                        self.mids.push(id.clone());
                    }
                    self.created.insert(hex(&(created as u32).to_le_bytes()));
                }
                fields.values().for_each(|value| self.learn(value));
            }
            Value::Array(list) => list.iter().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    /// `hex` with placeholders where it varies.
    fn of(&self, hex: &str) -> String {
        let mut text = hex.to_owned();
        for (at, mid) in self.mids.iter().enumerate() {
            text = text.replace(mid, &format!("{{{{mid:m{}}}}}", at + 1));
        }
        for created in &self.created {
            text = text.replace(&format!("25{created}"), "25{{created_hex}}");
        }
        text
    }
}

/// A key as it was found.
#[derive(Debug)]
struct Found {
    kind: String,
    ttl: i64,
    /// The value, or the members and their scores, in hex.
    content: Vec<String>,
}

/// A Redis that is looked at.
pub struct Store {
    commands: Connection,
    announcements: Connection,
}

impl Store {
    /// Looks at the Redis on that socket.
    pub async fn open(socket: &Path) -> io::Result<Self> {
        let mut announcements = Connection::open(socket).await?;
        announcements.subscribe("pushserver:*").await?;
        Ok(Self { commands: Connection::open(socket).await?, announcements })
    }

    async fn keys(&mut self) -> io::Result<BTreeSet<Vec<u8>>> {
        let keys = self.commands.command(&[b"KEYS", b"*"]).await?.list();
        let keys = keys.into_iter().map(Reply::bytes);
        Ok(keys.filter(|key| !key.starts_with(OWN) && !GLOBAL.contains(&&**key)).collect())
    }

    async fn find(&mut self, key: &[u8]) -> io::Result<Found> {
        let kind = self.commands.command(&[b"TYPE", key]).await?.bytes();
        let kind = String::from_utf8_lossy(&kind).into_owned();
        let content = match kind.as_str() {
            "string" => vec![self.commands.command(&[b"GET", key]).await?],
            "zset" => {
                let range: [&[u8]; 5] = [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"];
                self.commands.command(&range).await?.list()
            }
            _ => Vec::new(),
        };
        let ttl = self.commands.command(&[b"TTL", key]).await?.number();
        let content = content.into_iter().map(|value| hex(&value.bytes())).collect();
        Ok(Found { kind, ttl, content })
    }

    /// Does the steps of a scenario and compares what they leave.
    pub async fn play(&mut self, scenario: &Scenario, servers: &dyn Servers) -> Result<(), String> {
        let before = self.keys().await.map_err(|error| error.to_string())?;
        let mut player = Player::new(servers, &scenario.server);
        for (number, step) in scenario.steps.iter().enumerate() {
            let outcome = player.step(step).await;
            outcome.map_err(|error| format!("step {number}: {error}"))?;
        }
        let pattern = scenario.pattern();
        for expected in &scenario.published {
            self.compare_announcement(expected, &pattern, &mut player.bindings).await?;
        }
        self.compare_keys(scenario, &pattern, &before, &mut player.bindings).await?;
        match timeout(SILENCE, self.announcements.announcement()).await {
            Ok(Ok((channel, payload))) => {
                Err(format!("also announced: {channel} {}", hex(&payload)))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => player.bindings.in_order(),
        }
    }

    async fn compare_announcement(
        &mut self,
        expected: &Announcement,
        pattern: &Pattern,
        bindings: &mut Bindings,
    ) -> Result<(), String> {
        let (channel, payload) = match timeout(wait::SOON, self.announcements.announcement()).await
        {
            Ok(outcome) => outcome.map_err(|error| error.to_string())?,
            Err(_) => return Err("nothing is announced".into()),
        };
        let uid = |channel: &str| channel.strip_prefix("pushserver:").map(str::to_owned);
        let valid = |uid: String| {
            (1..=8).contains(&uid.len())
                && uid.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        };
        assert!(uid(&expected.channel).is_some_and(valid), "{}", expected.channel);
        if !uid(&channel).is_some_and(valid) {
            return Err(format!("announced on {channel}"));
        }
        let outcome = bindings.matches(&pattern.of(&expected.payload_hex), &hex(&payload));
        outcome.map_err(|error| format!("announcement: {error}"))
    }

    async fn compare_keys(
        &mut self,
        scenario: &Scenario,
        pattern: &Pattern,
        before: &BTreeSet<Vec<u8>>,
        bindings: &mut Bindings,
    ) -> Result<(), String> {
        let mut expected = BTreeMap::new();
        for key in &scenario.keys {
            expected.insert(unhex(&bindings.fill(&pattern.of(&key.key_hex))?), key);
        }
        let io = |error: io::Error| error.to_string();
        // Marks are written behind the opening of a connection.
        let end = Instant::now() + wait::SOON;
        while Instant::now() < end {
            let now = self.keys().await.map_err(io)?;
            if expected.keys().all(|key| now.contains(key)) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let now = self.keys().await.map_err(io)?;
        for key in now.difference(before) {
            let name = String::from_utf8_lossy(key).into_owned();
            let found = self.find(key).await.map_err(io)?;
            match expected.remove(key) {
                Some(expected) => expected.compare(&found, pattern, bindings),
                None => Err(format!("not expected: {found:?}")),
            }
            .map_err(|error| format!("key {name}: {error}"))?;
        }
        match expected.first_key_value() {
            Some((key, _)) => Err(format!("no key {}", String::from_utf8_lossy(key))),
            None => Ok(()),
        }
    }
}

impl Key {
    fn compare(
        &self,
        actual: &Found,
        pattern: &Pattern,
        bindings: &mut Bindings,
    ) -> Result<(), String> {
        if actual.kind != self.kind {
            return Err(format!("a {}, not a {}", actual.kind, self.kind));
        }
        if !(self.ttl_seconds - ELAPSED..=self.ttl_seconds).contains(&actual.ttl) {
            return Err(format!("lives {} s, not {}", actual.ttl, self.ttl_seconds));
        }
        let mut expected: Vec<_> = self.value_hex.clone().into_iter().collect();
        for member in self.members.iter().flatten() {
            expected.extend([member.member_hex.clone(), hex(member.score.as_bytes())]);
        }
        if expected.len() != actual.content.len() {
            return Err(format!("holds {:?}", actual.content));
        }
        for (expected, actual) in expected.iter().zip(&actual.content) {
            bindings.matches(&pattern.of(expected), actual)?;
        }
        Ok(())
    }
}

/// What is there once, whoever publishes: fails unless they are as recorded in `global`.
pub async fn compare_global(socket: &Path, global: &Value) -> Result<(), String> {
    let mut store = Connection::open(socket).await.map_err(|error| error.to_string())?;
    for (name, recorded) in global.as_object().ok_or("no keys are recorded")? {
        let key = name.as_bytes();
        let mut ask = async |words: &[&[u8]]| {
            store.command(words).await.map_err(|error| format!("{name}: {error}"))
        };
        let kind = String::from_utf8_lossy(&ask(&[b"TYPE", key]).await?.bytes()).into_owned();
        let ttl = ask(&[b"TTL", key]).await?.number();
        if recorded["type"] != *kind || recorded["ttl_seconds"] != ttl {
            return Err(format!("{name} is a {kind} that lives {ttl} s"));
        }
        if kind == "hash" {
            let fields = ask(&[b"HGETALL", key]).await?.list();
            if fields.is_empty() || !fields.len().is_multiple_of(2) {
                return Err(format!("{name} has no fields"));
            }
            for value in fields.into_iter().skip(1).step_by(2) {
                let json = String::from_utf8_lossy(&value.bytes()).into_owned();
                Bindings::new().matches("{{server_stats_json}}", &format!("[{json}]"))?;
            }
        } else {
            let value = ask(&[b"GET", key]).await?.bytes();
            let example = recorded["example"].as_str().ok_or("no example")?;
            let digits = value.iter().all(u8::is_ascii_digit);
            // A date has 10 digits for the next centuries; a counter grows.
            if !digits || value.is_empty() || name.ends_with("date") && value.len() != example.len()
            {
                return Err(format!("{name} is {}", String::from_utf8_lossy(&value)));
            }
        }
    }
    Ok(())
}
