//! The configuration: a TOML file whose every key has a default, overridden by the environment,
//! overridden by flags.

mod environment;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use environment::{KEYS, Key};

use crate::exchange::ExchangeOptions;
use crate::link_server::Peers;
use crate::store::redis::{RedisOptions, Timing};

/// Everything that can be set. `nginx-conf/push-sidecar.toml` explains each key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The Unix socket that workers connect to.
    pub socket: PathBuf,
    /// The group that may connect, by name or number; empty: the process's own.
    pub socket_group: String,
    /// The users whose processes may be workers, by name or number, besides root and this
    /// process's own; `*`: whoever may connect.
    pub socket_users: Vec<String>,
    /// Where the process id is written; empty: nowhere.
    pub pid_file: PathBuf,
    /// What is logged, and how.
    pub log: Log,
    /// Without an URL messages are kept in memory.
    pub redis: Redis,
    /// How long channels are kept.
    pub storage: Storage,
    /// The store without Redis.
    pub memory: Memory,
    /// The connections of workers, and the order of messages on them.
    pub link: Link,
}

/// `[log]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
    /// `auto`, `journal`, `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Journal` if standard error is the journal's, else `Text`.
    Auto,
    /// The systemd journal, with fields.
    Journal,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[redis]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Where Redis is; empty: messages are kept in memory.
    pub url: String,
    /// Of a command, from sending to answer. Milliseconds.
    pub command_timeout_ms: u64,
    /// Of dialling and subscribing. Milliseconds.
    pub dial_timeout_ms: u64,
    /// Between two probes of the subscription. Milliseconds.
    pub probe_interval_ms: u64,
    /// How long a probe may take before the subscription is made anew. Milliseconds.
    pub probe_timeout_ms: u64,
}

/// `[storage]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// How long a channel's list is kept in Redis at least after its last message. Seconds.
    pub channel_ttl: u64,
    /// How long an online mark lives: `online_ttl` + `online_delta`. Seconds.
    pub online_ttl: u64,
    /// See `online_ttl`. Seconds.
    pub online_delta: u64,
    /// How long a channel stays online behind its last connection: a page change is no absence.
    /// Seconds.
    pub online_grace: u64,
}

/// `[memory]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// What all messages together may take; the oldest go first. Bytes.
    pub max_bytes: usize,
}

/// `[link]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// What may wait for a worker that does not read. Bytes.
    pub queue_bytes: usize,
    /// How long a gap in the message ids is waited for. Milliseconds.
    pub gap_hold_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: "/run/push-server/push-sidecar.sock".into(),
            socket_group: String::new(),
            socket_users: Peers::USUAL.map(str::to_owned).to_vec(),
            pid_file: PathBuf::new(),
            log: Log::default(),
            redis: Redis::default(),
            storage: Storage::default(),
            memory: Memory::default(),
            link: Link::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl Default for Redis {
    fn default() -> Self {
        let RedisOptions { command_timeout, timing, .. } = RedisOptions::default();
        let ms = |time: Duration| time.as_millis() as u64;
        Self {
            url: String::new(),
            command_timeout_ms: ms(command_timeout),
            dial_timeout_ms: ms(timing.dial),
            probe_interval_ms: ms(timing.probe_every),
            probe_timeout_ms: ms(timing.probe_patience),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { channel_ttl: 86_400, online_ttl: 120, online_delta: 10, online_grace: 10 }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { max_bytes: 256 << 20 }
    }
}

impl Default for Link {
    fn default() -> Self {
        let ExchangeOptions { hold, queue_bytes, .. } = ExchangeOptions::default();
        Self { queue_bytes, gap_hold_ms: hold.as_millis() as u64 }
    }
}

/// A configuration that cannot be used. Its text is the error message.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not what it should be; says line, key and known keys.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
    /// An environment variable has no value that fits.
    #[error("{name}: {problem}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A value that has the right type and makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with its section.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// The file's keys (if there is a file), overridden by the environment's. `environment` looks a
    /// variable up.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
                Self::from_toml(&text).map_err(|error| ConfigError::File {
                    path: path.to_owned(),
                    error: Box::new(error),
                })?
            }
        };
        config.override_by(environment)?;
        Ok(config)
    }

    /// A file's keys; what is not in it has its default.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Takes over what the environment sets. `environment` looks a variable up.
    pub fn override_by(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        for key in KEYS {
            if let Some(value) = environment(key.variable) {
                (key.set)(self, &value)
                    .map_err(|problem| ConfigError::Environment { name: key.variable, problem })?;
            }
        }
        Ok(())
    }

    /// What types alone do not say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = |key, problem: String| Err(ConfigError::Value { key, problem });
        if !matches!(&self.log.level[..], "error" | "warn" | "info" | "debug" | "trace") {
            let problem =
                format!("{:?} is none of error, warn, info, debug, trace", self.log.level);
            return bad("log.level", problem);
        }
        if self.socket.as_os_str().is_empty() {
            return bad("socket", "must not be empty".into());
        }
        if self.link.queue_bytes < 1 << 20 {
            return bad("link.queue_bytes", "must be 1048576 at least".into());
        }
        if self.redis.probe_timeout_ms == 0 || self.redis.probe_interval_ms == 0 {
            return bad("redis.probe_interval_ms, redis.probe_timeout_ms", "must not be 0".into());
        }
        if self.redis.command_timeout_ms == 0 || self.redis.dial_timeout_ms == 0 {
            return bad("redis.command_timeout_ms, redis.dial_timeout_ms", "must not be 0".into());
        }
        if self.storage.channel_ttl == 0 || self.storage.online_ttl == 0 {
            return bad("storage.channel_ttl, storage.online_ttl", "must not be 0".into());
        }
        if let Err(problem) = Peers::named(&self.socket_users) {
            return bad("socket_users", problem);
        }
        self.check_sizes()?;
        let schemes = ["unix:", "redis:", "rediss:", "redis+unix:"];
        if !self.redis.url.is_empty() && !schemes.iter().any(|s| self.redis.url.starts_with(s)) {
            let problem = "must begin with unix://, redis:// or rediss://";
            return bad("redis.url", problem.into());
        }
        Ok(())
    }

    /// Far beyond what makes sense, and so low that nothing that is computed with it overflows.
    fn check_sizes(&self) -> Result<(), ConfigError> {
        const DAY_MS: u64 = 86_400_000;
        const TEN_YEARS: u64 = 315_360_000;
        const PEBIBYTE: u64 = 1 << 50;
        let Self { redis, storage, memory, link, .. } = self;
        let limits = [
            ("redis.command_timeout_ms", redis.command_timeout_ms, DAY_MS),
            ("redis.dial_timeout_ms", redis.dial_timeout_ms, DAY_MS),
            ("redis.probe_interval_ms", redis.probe_interval_ms, DAY_MS),
            ("redis.probe_timeout_ms", redis.probe_timeout_ms, DAY_MS),
            ("storage.channel_ttl", storage.channel_ttl, TEN_YEARS),
            ("storage.online_ttl", storage.online_ttl, TEN_YEARS),
            ("storage.online_delta", storage.online_delta, TEN_YEARS),
            ("storage.online_grace", storage.online_grace, TEN_YEARS),
            ("memory.max_bytes", memory.max_bytes as u64, PEBIBYTE),
            ("link.queue_bytes", link.queue_bytes as u64, PEBIBYTE),
            ("link.gap_hold_ms", link.gap_hold_ms, DAY_MS),
        ];
        match limits.into_iter().find(|(_, value, max)| value > max) {
            Some((key, _, max)) => {
                Err(ConfigError::Value { key, problem: format!("must be {max} at most") })
            }
            None => Ok(()),
        }
    }

    /// For the Redis store; `None`: memory.
    pub fn redis_options(&self) -> Option<RedisOptions> {
        let ms = Duration::from_millis;
        (!self.redis.url.is_empty()).then(|| RedisOptions {
            url: self.redis.url.clone(),
            channel_ttl: self.storage.channel_ttl,
            online_ttl: self.online_seconds(),
            command_timeout: ms(self.redis.command_timeout_ms),
            timing: Timing {
                dial: ms(self.redis.dial_timeout_ms),
                probe_every: ms(self.redis.probe_interval_ms),
                probe_patience: ms(self.redis.probe_timeout_ms),
            },
        })
    }

    /// For the exchange.
    pub fn exchange_options(&self) -> ExchangeOptions {
        ExchangeOptions {
            hold: Duration::from_millis(self.link.gap_hold_ms),
            queue_bytes: self.link.queue_bytes,
            online_grace: Duration::from_secs(self.storage.online_grace),
            // Twice in the life of a mark, so that a failed round is made good.
            online_renew: Duration::from_secs((self.online_seconds() / 2).clamp(1, 60)),
        }
    }

    /// How long an online mark lives, seconds.
    pub fn online_seconds(&self) -> u64 {
        self.storage.online_ttl + self.storage.online_delta
    }
}

/// As TOML, with passwords hidden.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        shown.redis.url = hide_password(&self.redis.url);
        f.write_str(&toml::to_string(&shown).map_err(|_| fmt::Error)?)
    }
}

/// An URL without its secrets: what stands between `:` and `@`, and `pass=` in the query.
pub fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let mut out = format!("{scheme}://");
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            out.push_str(user);
            out.push_str(":***@");
            out.push_str(host);
        }
        None => out.push_str(rest),
    }
    for (n, pair) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        out.push_str(if pair.starts_with("pass=") { "pass=***" } else { pair });
    }
    out
}

#[cfg(test)]
mod tests;
