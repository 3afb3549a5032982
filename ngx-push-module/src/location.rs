//! What a location's directives amount to, and how the levels of nginx.conf inherit.

use std::cell::Cell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use push_protocol::request::Limits;
use push_protocol::signature::{Algorithm, Verifier};
use push_worker::{Settings, SettingsId};

/// What a location does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes subscribers: WebSockets and long polls.
    Sub,
    /// Takes what the portal's backend publishes, and its questions.
    Pub,
    /// Takes what clients publish.
    Rest,
    /// Tells how the server does.
    Stat,
    /// Tells everything that is counted, to Prometheus.
    Metrics,
    /// Shows how everything does, to people.
    Status,
    /// Sends back what its WebSockets say.
    #[cfg(feature = "test-echo")]
    Echo,
}

impl Role {
    /// By its name in nginx.conf.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let roles = [
            Self::Sub,
            Self::Pub,
            Self::Rest,
            Self::Stat,
            Self::Metrics,
            Self::Status,
            #[cfg(feature = "test-echo")]
            Self::Echo,
        ];
        roles.into_iter().find(|role| role.name().as_bytes() == name)
    }

    /// Its name in nginx.conf.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Pub => "pub",
            Self::Rest => "rest",
            Self::Stat => "stat",
            Self::Metrics => "metrics",
            Self::Status => "status",
            #[cfg(feature = "test-echo")]
            Self::Echo => "echo",
        }
    }

    /// Whether it checks signatures.
    const fn needs_key(self) -> bool {
        matches!(self, Self::Sub | Self::Pub | Self::Rest)
    }

    /// Whether it reads request bodies, up to `bx_push_max_payload`.
    pub const fn reads_bodies(self) -> bool {
        matches!(self, Self::Pub | Self::Rest)
    }
}

/// A place in nginx.conf, as it stands in nginx's messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What stands in the http block.
#[derive(Default)]
pub struct MainConf {
    /// The sidecar's socket.
    pub sidecar: Option<PathBuf>,
    /// `bx_push_drain_time`, milliseconds
    pub drain_time: Option<u64>,
    /// `bx_push_max_queue_total`, bytes
    pub max_queue_total: Option<usize>,
    /// The first `bx_push` of the configuration.
    pub first_role: Option<(Role, Place)>,
}

/// `bx_push_drain_time` if none is given, milliseconds.
const DRAIN_TIME: u64 = 5_000;

impl MainConf {
    /// How long a worker that leaves may take to tell everybody, milliseconds.
    pub fn drain_time(&self) -> u64 {
        self.drain_time.unwrap_or(DRAIN_TIME)
    }

    /// Checks the http block when it has been read.
    pub fn check(&self) -> Result<(), String> {
        match (&self.first_role, &self.sidecar) {
            (Some((role, place)), None) => Err(format!(
                "no \"bx_push_sidecar\" is defined for the \"bx_push {}\" directive in {place}",
                role.name()
            )),
            _ => Ok(()),
        }
    }
}

/// A key that signs channels. Shown nowhere.
pub type Key = Vec<u8>;

/// What stands at one level: http, server, location.
#[derive(Default)]
pub struct LocationConf {
    /// `bx_push`, and where it stands.
    pub role: Option<(Role, Place)>,
    /// The keys that stand at this level; they replace those of the levels around it.
    pub keys: Vec<Rc<Key>>,
    /// `bx_push_signature_algorithm`
    pub algorithm: Option<Algorithm>,
    /// `bx_push_max_payload`, bytes
    pub max_payload: Option<usize>,
    /// `bx_push_max_messages_per_request`
    pub max_messages: Option<usize>,
    /// `bx_push_max_channels_per_request`
    pub max_channels: Option<usize>,
    /// `bx_push_max_connections_per_channel`
    pub max_connections: Option<u32>,
    /// `bx_push_poll_timeout`, milliseconds
    pub poll_timeout: Option<u64>,
    /// `bx_push_ping_interval`, milliseconds
    pub ping_interval: Option<u64>,
    /// `bx_push_message_ttl`, seconds
    pub message_ttl: Option<u32>,
    /// `bx_push_max_queue`, bytes
    pub max_queue: Option<usize>,
    /// Whether nginx chooses the location by something else than the beginning of the path: a
    /// regular expression, a name.
    pub by_pattern: bool,
    /// What it all amounts to, if this level has a role.
    pub location: Option<Rc<Location>>,
}

impl LocationConf {
    /// Takes over from the level around this one what does not stand here. `block`: this is an
    /// `if` or `limit_except` inside of a location, which keeps the location's role.
    pub fn inherit(&mut self, outer: &Self, block: bool) -> Result<(), String> {
        if self.keys.is_empty() {
            self.keys.clone_from(&outer.keys);
        }
        self.algorithm = self.algorithm.or(outer.algorithm);
        self.max_payload = self.max_payload.or(outer.max_payload);
        self.max_messages = self.max_messages.or(outer.max_messages);
        self.max_channels = self.max_channels.or(outer.max_channels);
        self.max_connections = self.max_connections.or(outer.max_connections);
        self.poll_timeout = self.poll_timeout.or(outer.poll_timeout);
        self.ping_interval = self.ping_interval.or(outer.ping_interval);
        self.message_ttl = self.message_ttl.or(outer.message_ttl);
        self.max_queue = self.max_queue.or(outer.max_queue);
        if block && self.role.is_none() {
            self.role.clone_from(&outer.role);
            self.location.clone_from(&outer.location);
            return Ok(());
        }
        let Some((role, place)) = &self.role else {
            return Ok(());
        };
        if role.needs_key() && self.keys.is_empty() {
            return Err(format!(
                "no \"bx_push_security_key\" or \"bx_push_security_key_file\" is defined \
                 for the \"bx_push {}\" directive in {place}",
                role.name()
            ));
        }
        self.location = Some(Rc::new(Location {
            role: *role,
            settings: self.settings(),
            by_pattern: self.by_pattern,
            id: Cell::new(None),
        }));
        Ok(())
    }

    fn settings(&self) -> Settings {
        let default = Settings::default();
        let mut verifier = Verifier::new(self.algorithm.unwrap_or_default());
        for key in &self.keys {
            verifier.add_key(key);
        }
        Settings {
            verifier: Rc::new(verifier),
            limits: Limits {
                max_messages: self.max_messages.unwrap_or(default.limits.max_messages),
                max_channels: self.max_channels.unwrap_or(default.limits.max_channels),
                message_ttl: self.message_ttl.unwrap_or(default.limits.message_ttl),
            },
            max_payload: self.max_payload.unwrap_or(default.max_payload),
            max_connections: self.max_connections.unwrap_or(default.max_connections),
            poll_timeout: self.poll_timeout.unwrap_or(default.poll_timeout),
            ping_interval: self.ping_interval.unwrap_or(default.ping_interval),
            max_queue: self.max_queue.unwrap_or(default.max_queue),
            #[cfg(feature = "test-echo")]
            echo: matches!(self.role, Some((Role::Echo, _))),
        }
    }
}

/// A location with a role.
pub struct Location {
    /// What it does.
    pub role: Role,
    /// How.
    pub settings: Settings,
    /// See [`LocationConf::by_pattern`].
    pub by_pattern: bool,
    /// Its name in the worker's engine; given at the first request.
    pub id: Cell<Option<SettingsId>>,
}
