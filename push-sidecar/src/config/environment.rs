//! One environment variable a key.

use std::fmt::Display;
use std::str::FromStr;

use super::{Config, LogFormat};

/// A key and the variable that overrides it.
pub struct Key {
    /// The key, with its section.
    pub name: &'static str,
    /// The variable.
    pub variable: &'static str,
    /// Reads the variable's value into the configuration; answers what is wrong with it.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
}

fn parse<T: FromStr<Err: Display>>(into: &mut T, value: &str) -> Result<(), String> {
    *into = value.trim().parse().map_err(|error| format!("{value:?}: {error}"))?;
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a setter")]
fn text<T: for<'a> From<&'a str>>(into: &mut T, value: &str) -> Result<(), String> {
    *into = T::from(value);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a setter")]
fn list(into: &mut Vec<String>, value: &str) -> Result<(), String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    *into = names.map(str::to_owned).collect();
    Ok(())
}

fn format(into: &mut LogFormat, value: &str) -> Result<(), String> {
    *into = match value {
        "auto" => LogFormat::Auto,
        "journal" => LogFormat::Journal,
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(format!("{value:?} is none of auto, journal, text, json")),
    };
    Ok(())
}

macro_rules! keys {
    ($($name:literal $variable:literal $set:ident $($field:ident).+;)*) => {
        /// Every key of the configuration.
        pub static KEYS: &[Key] = &[$(Key {
            name: $name,
            variable: $variable,
            set: |config, value| $set(&mut config.$($field).+, value),
        },)*];
    };
}

keys! {
    "socket" "BX_PUSH_SOCKET" text socket;
    "socket_group" "BX_PUSH_SOCKET_GROUP" text socket_group;
    "socket_users" "BX_PUSH_SOCKET_USERS" list socket_users;
    "pid_file" "BX_PUSH_PID_FILE" text pid_file;
    "log.level" "BX_PUSH_LOG" text log.level;
    "log.format" "BX_PUSH_LOG_FORMAT" format log.format;
    "redis.url" "BX_PUSH_REDIS" text redis.url;
    "redis.command_timeout_ms" "BX_PUSH_REDIS_COMMAND_TIMEOUT_MS" parse redis.command_timeout_ms;
    "redis.dial_timeout_ms" "BX_PUSH_REDIS_DIAL_TIMEOUT_MS" parse redis.dial_timeout_ms;
    "redis.probe_interval_ms" "BX_PUSH_REDIS_PROBE_INTERVAL_MS" parse redis.probe_interval_ms;
    "redis.probe_timeout_ms" "BX_PUSH_REDIS_PROBE_TIMEOUT_MS" parse redis.probe_timeout_ms;
    "storage.channel_ttl" "BX_PUSH_CHANNEL_TTL" parse storage.channel_ttl;
    "storage.online_ttl" "BX_PUSH_ONLINE_TTL" parse storage.online_ttl;
    "storage.online_delta" "BX_PUSH_ONLINE_DELTA" parse storage.online_delta;
    "storage.online_grace" "BX_PUSH_ONLINE_GRACE" parse storage.online_grace;
    "memory.max_bytes" "BX_PUSH_MEMORY_MAX_BYTES" parse memory.max_bytes;
    "link.queue_bytes" "BX_PUSH_LINK_QUEUE_BYTES" parse link.queue_bytes;
    "link.gap_hold_ms" "BX_PUSH_LINK_GAP_HOLD_MS" parse link.gap_hold_ms;
}
