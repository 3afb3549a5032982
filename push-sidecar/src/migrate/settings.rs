//! What the old settings come to: one value each, and where it was found.

use super::finding::Place;

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At<T> {
    /// What is in force.
    pub value: T,
    /// Where it was found.
    pub place: Place,
}

/// A value that was found, or not.
pub type Slot<T> = Option<At<T>>;

/// Takes the larger of two values: with the smaller one, what some process took until now would
/// be refused, or forgotten earlier.
pub fn raise(slot: &mut Slot<u64>, value: u64, place: Place) {
    if slot.as_ref().is_none_or(|at| at.value < value) {
        *slot = Some(At { value, place });
    }
}

/// What a role may take. `None`: the default, which is the same as push-server's.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    /// `limits.maxPayload`: `bx_push_max_payload`, bytes.
    pub max_payload: Slot<u64>,
    /// `limits.maxConnPerChannel`: `bx_push_max_connections_per_channel`.
    pub max_connections: Slot<u64>,
    /// `limits.maxMessagesPerRequest`: `bx_push_max_messages_per_request`.
    pub max_messages: Slot<u64>,
    /// `limits.maxChannelsPerRequest`: `bx_push_max_channels_per_request`.
    pub max_channels: Slot<u64>,
    /// `storage.messageTTL`: `bx_push_message_ttl`, seconds.
    pub message_ttl: Slot<u64>,
}

/// The algorithms of signatures that are known to both.
pub const ALGORITHMS: [&str; 3] = ["sha1", "sha256", "sha512"];

/// Where Redis is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redis {
    /// By a Unix socket.
    Socket(String),
    /// By TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Password, if there is one.
        password: Option<String>,
    },
}

impl Redis {
    /// As push-sidecar wants it.
    pub fn url(&self) -> String {
        match self {
            Self::Socket(path) => format!("unix://{path}"),
            Self::Tcp { host, port, password } => {
                let password =
                    password.as_deref().map_or(String::new(), |p| format!(":{}@", percent(p)));
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                format!("redis://{password}{host}:{port}")
            }
        }
    }

    /// [`Redis::url`] without the password.
    pub fn shown(&self) -> String {
        crate::config::hide_password(&self.url())
    }
}

/// Percent-encodes what an URL's password may not have (RFC 3986, section 3.2.1).
fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Everything that the new configuration is written from, but for nginx's own files.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settings {
    /// The keys, each once, that of the processes first.
    pub keys: Vec<At<String>>,
    /// `security.algo`, one of [`ALGORITHMS`].
    pub algorithm: Slot<String>,
    /// None: in memory.
    pub redis: Slot<Redis>,
    /// The group of nginx's workers.
    pub group: Slot<String>,
    /// `storage.channelTTL`: `storage.channel_ttl`, seconds.
    pub channel_ttl: Slot<u64>,
    /// `storage.onlineTTL`: `storage.online_ttl`, seconds.
    pub online_ttl: Slot<u64>,
    /// `storage.onlineDelta`: `storage.online_delta`, seconds.
    pub online_delta: Slot<u64>,
    /// Of processes that have the route sub.
    pub sub: Limits,
    /// Of processes that have the routes pub or rest.
    pub publishing: Limits,
    /// The ports of processes, with their routes.
    pub ports: Vec<(u16, Vec<String>)>,
    /// Paths of routes that are not the customary ones: (path, route).
    pub routes: Vec<(String, String)>,
}

impl Settings {
    /// One more key; one that is known already stays where it was found first.
    pub fn add_key(&mut self, key: &str, place: Place) {
        if !key.is_empty() && !self.keys.iter().any(|known| known.value == key) {
            self.keys.push(At { value: key.to_owned(), place });
        }
    }
}

/// What a directive of ours takes, and what it is without being set.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The directive.
    pub directive: &'static str,
    /// The smallest value.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// What it is by default.
    pub default: u64,
    /// How it is written.
    pub write: fn(u64) -> String,
}

/// `limits.maxPayload`
pub const MAX_PAYLOAD: Limit = Limit {
    directive: "bx_push_max_payload",
    min: 1 << 10,
    max: 32 << 20,
    default: 1 << 20,
    write: size,
};
/// `limits.maxConnPerChannel`
pub const MAX_CONNECTIONS: Limit = Limit {
    directive: "bx_push_max_connections_per_channel",
    min: 1,
    max: 1_000_000,
    default: 100,
    write: plain,
};
/// `limits.maxMessagesPerRequest`
pub const MAX_MESSAGES: Limit = Limit {
    directive: "bx_push_max_messages_per_request",
    min: 1,
    max: 10_000,
    default: 100,
    write: plain,
};
/// `limits.maxChannelsPerRequest`
pub const MAX_CHANNELS: Limit = Limit {
    directive: "bx_push_max_channels_per_request",
    min: 1,
    max: 10_000,
    default: 100,
    write: plain,
};
/// `storage.messageTTL`
pub const MESSAGE_TTL: Limit = Limit {
    directive: "bx_push_message_ttl",
    min: 1,
    max: 365 * 86_400,
    default: 86_400,
    write: time,
};
/// `storage.channelTTL`
pub const CHANNEL_TTL: Limit = Limit {
    directive: "storage.channel_ttl",
    min: 1,
    max: 365 * 86_400,
    default: 86_400,
    write: plain,
};
/// `storage.onlineTTL`
pub const ONLINE_TTL: Limit =
    Limit { directive: "storage.online_ttl", min: 1, max: 86_400, default: 120, write: plain };
/// `storage.onlineDelta`
pub const ONLINE_DELTA: Limit =
    Limit { directive: "storage.online_delta", min: 0, max: 86_400, default: 10, write: plain };

fn plain(value: u64) -> String {
    value.to_string()
}

/// As nginx writes sizes.
pub fn size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// As nginx writes times.
pub fn time(seconds: u64) -> String {
    match seconds {
        0 => "0s".into(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_written_as_nginx_does() {
        assert_eq!(
            [size(1 << 20), size(3 << 9), size(1000)],
            ["1m", "1536", "1000"].map(String::from)
        );
        assert_eq!(size(64 << 10), "64k");
        assert_eq!([time(86_400), time(43_200)], ["1d", "43200s"].map(String::from));
    }

    #[test]
    fn redis_is_named_as_the_sidecar_wants_it() {
        let tcp = |host: &str, password: Option<&str>| Redis::Tcp {
            host: host.into(),
            port: 6379,
            password: password.map(str::to_owned),
        };
        assert_eq!(Redis::Socket("/run/r.sock".into()).url(), "unix:///run/r.sock");
        assert_eq!(tcp("redis", None).url(), "redis://redis:6379");
        assert_eq!(tcp("::1", None).url(), "redis://[::1]:6379");
        assert_eq!(tcp("h", Some("p@ss/1")).url(), "redis://:p%40ss%2F1@h:6379");
        assert_eq!(tcp("h", Some("p@ss/1")).shown(), "redis://:***@h:6379");
    }
}
