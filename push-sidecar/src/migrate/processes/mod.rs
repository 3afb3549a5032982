//! The JSON files of push-server's processes.

use std::rc::Rc;

use super::files::File;
use super::finding::{Findings, Place, Verdict, hidden, names_a_secret};
use super::json::{self, Kind, Leaf};
use super::key;
use super::settings::{ALGORITHMS, At, Redis, Settings};
use super::variables::is_loopback;

mod limits;

/// A file `push-server-*.json`.
#[derive(Debug)]
pub struct Process {
    name: Rc<str>,
    mode: Option<u32>,
    leaves: Vec<Leaf>,
    /// It holds subscribers.
    sub: bool,
    /// It takes publications.
    publishing: bool,
}

impl Process {
    /// Reads it; `None` if it is broken.
    pub fn read(file: &File, findings: &mut Findings) -> Option<Self> {
        let name: Rc<str> = file.path.display().to_string().into();
        let text = match std::str::from_utf8(&file.bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = file.bytes[..error.valid_up_to()].split(|&b| b == b'\n').count();
                findings.problem(Place::new(&name, line), "not UTF-8: save it as UTF-8");
                return None;
            }
        };
        let value = match json::parse(text) {
            Ok(value) => value,
            Err(error) => {
                findings.problem(Place::new(&name, error.line), error.text);
                return None;
            }
        };
        if !matches!(value.kind, Kind::Object(_)) {
            findings.problem(
                Place::new(&name, value.line),
                "not a configuration of push-server: the file must hold an object { … }",
            );
            return None;
        }
        let mut process = Self {
            name,
            mode: file.mode,
            leaves: json::leaves(&value),
            sub: false,
            publishing: false,
        };
        process.take_roles(&file.path.file_name().unwrap_or_default().to_string_lossy());
        Some(process)
    }

    /// By its routes, or else by its name.
    fn take_roles(&mut self, file_name: &str) {
        let has = |path: &str| self.in_force().any(|leaf| leaf.is(path));
        let sub = has("servers.*.routes.sub");
        let publishing =
            ["pub", "rest"].iter().any(|route| has(&format!("servers.*.routes.{route}")));
        (self.sub, self.publishing) = match (sub, publishing) {
            (false, false) if file_name.contains("-sub") => (true, false),
            (false, false) if file_name.contains("-pub") || self.is_true("publishMode") => {
                (false, true)
            }
            (false, false) => (true, true),
            found => found,
        };
    }

    /// Whether it takes publications: its Redis is where messages are.
    pub fn is_publishing(&self) -> bool {
        self.publishing
    }

    fn place(&self, leaf: &Leaf) -> Place {
        Place::new(&self.name, leaf.line)
    }

    fn in_force(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter().filter(|leaf| leaf.overridden.is_none())
    }

    fn leaf(&self, path: &str) -> Option<&Leaf> {
        self.in_force().find(|leaf| leaf.is(path))
    }

    fn text(&self, path: &str) -> Option<At<&str>> {
        let leaf = self.leaf(path)?;
        match &leaf.kind {
            Kind::Text(value) if !value.is_empty() => Some(At { value, place: self.place(leaf) }),
            _ => None,
        }
    }

    fn is_true(&self, path: &str) -> bool {
        self.leaf(path).is_some_and(|leaf| leaf.kind == Kind::Bool(true))
    }

    /// Where it keeps messages, if that is a Redis.
    fn redis(&self) -> Option<At<Redis>> {
        if let Some(At { value, place }) = self.text("storage.socket") {
            return Some(At { value: Redis::Socket(value.into()), place });
        }
        let At { value, place } = self.text("storage.host")?;
        let port = self.leaf("storage.port").and_then(limits::integer);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0);
        let password = self.text("storage.password").map(|password| password.value.to_owned());
        let value = Redis::Tcp { host: value.into(), port: port.unwrap_or(6379), password };
        Some(At { value, place })
    }

    /// Takes in what it sets.
    pub fn collect(&self, settings: &mut Settings) {
        if let Some(key) = self.text("security.key") {
            settings.add_key(key.value, key.place);
        }
        if settings.algorithm.is_none() {
            let known = self.text("security.algo").filter(|algo| ALGORITHMS.contains(&algo.value));
            settings.algorithm = known.map(|At { value, place }| At { value: value.into(), place });
        }
        if settings.redis.is_none() {
            settings.redis = self.redis();
        }
        let routes: Vec<_> =
            self.in_force().filter(|leaf| leaf.is_below("servers.*.routes")).collect();
        for route in &routes {
            if let Kind::Text(path) = &route.kind {
                settings.routes.push((path.clone(), route.name().to_owned()));
            }
        }
        let names: Vec<_> = routes.iter().map(|route| route.name().to_owned()).collect();
        for port in self.in_force().filter(|leaf| leaf.is("servers.*.port")) {
            if let Some(port) = limits::integer(port).and_then(|port| u16::try_from(port).ok()) {
                settings.ports.push((port, names.clone()));
            }
        }
        limits::collect(self, settings);
    }

    /// Tells what becomes of each setting.
    pub fn tell(&self, settings: &Settings, findings: &mut Findings) {
        for leaf in &self.leaves {
            let place = self.place(leaf);
            let secret = leaf.is("security.key")
                || names_a_secret(leaf.name()) && !leaf.is_below("servers.*.ssl");
            if let (true, Kind::Text(text)) = (secret, &leaf.kind) {
                findings.secret(text);
            }
            let value = match &leaf.kind {
                Kind::Text(text) if secret => hidden(text),
                _ => leaf.value(),
            };
            let setting = format!("{} = {value}", leaf.shown);
            if let Some(line) = leaf.overridden {
                let text = format!("set again in line {line}: the last one counts");
                findings.add(place, Verdict::Obsolete, setting, text);
            } else if leaf.is("security.key") {
                match &leaf.kind {
                    Kind::Text(text) => {
                        key::tell(findings, &place, &leaf.shown, text, settings);
                        key::tell_mode(findings, place, self.mode);
                    }
                    _ => findings
                        .problem(place, "security.key is not a text: write it in double quotes"),
                }
            } else if leaf.is("security.algo") {
                self.tell_algorithm(leaf, settings, findings);
            } else {
                let (verdict, became) = limits::became(self, leaf, settings)
                    .or_else(|| self.storage_became(leaf, settings))
                    .or_else(|| self.server_became(leaf))
                    .unwrap_or_else(|| rest_became(leaf));
                findings.add(place, verdict, setting, became);
            }
        }
    }

    fn tell_algorithm(&self, leaf: &Leaf, settings: &Settings, findings: &mut Findings) {
        let (place, setting) = (self.place(leaf), format!("{} = {}", leaf.shown, leaf.value()));
        let taken = settings.algorithm.as_ref();
        match &leaf.kind {
            Kind::Text(algo) if algo.is_empty() || algo == "sha1" && taken.is_none_or(|t| t.value == "sha1") => {
                findings.add(place, Verdict::TakenOver, setting, "sha1, the default of bx_push_signature_algorithm");
            }
            Kind::Text(algo) if taken.is_some_and(|taken| taken.value == *algo) => {
                findings.add(place, Verdict::Translated, setting, format!("bx_push_signature_algorithm {algo};"));
            }
            Kind::Text(algo) if ALGORITHMS.contains(&&algo[..]) => {
                let taken = taken.map(|taken| format!("{} has {}, which is taken", taken.place, taken.value));
                findings.add(place, Verdict::Dangerous, setting, taken.unwrap_or_default() + ": compare with signature_algo of the portal");
            }
            _ => findings.problem(place, format!("security.algo {} is not served: portals sign with sha1, sha256 or sha512. Set signature_algo in the portal first, and the same here", leaf.value())),
        }
    }

    /// `storage`, but for the numbers.
    fn storage_became(&self, leaf: &Leaf, settings: &Settings) -> Option<(Verdict, String)> {
        use Verdict::{Dangerous, TakenOver, Translated, Unknown};
        if leaf.is("storage.type") {
            return Some(match &leaf.kind {
                Kind::Text(kind) if kind == "redis" => (TakenOver, "Redis, with the same keys and announcements".into()),
                _ => (Dangerous, "not Redis: with this a process keeps its messages for itself. push-sidecar keeps them in memory unless it has redis.url".into()),
            });
        }
        if leaf.is("storage.password") {
            return Some((Translated, "a part of redis.url".into()));
        }
        if !["storage.socket", "storage.host", "storage.port"].iter().any(|path| leaf.is(path)) {
            return leaf.is_below("storage").then(|| {
                (Unknown, "not a setting of push-server 0.4.0: nothing is made of it".into())
            });
        }
        let Some(own) = self.redis() else {
            return Some((Dangerous, "names no Redis: a text is wanted as socket or host".into()));
        };
        let taken = settings.redis.as_ref().unwrap_or(&own);
        let wanted_port =
            leaf.is("storage.port") && !matches!(limits::integer(leaf), Some(1..=65535));
        Some(if wanted_port {
            (Dangerous, "not a port: 1 to 65535 are. 6379 is taken".into())
        } else if !leaf.is("storage.socket") && matches!(own.value, Redis::Socket(_)) {
            (Dangerous, format!("beside storage.socket, which is taken: {}", own.value.shown()))
        } else if taken.value != own.value {
            (
                Dangerous,
                format!(
                    "another Redis than {} has, {}, which is taken: messages in this one are not found any more. Bring all processes to one Redis first",
                    taken.place,
                    taken.value.shown()
                ),
            )
        } else {
            match &own.value {
                Redis::Tcp { host, password: None, .. } if leaf.is("storage.host") => {
                    let who = if is_loopback(host) {
                        "every program on this machine"
                    } else {
                        "whoever reaches its port"
                    };
                    (
                        Dangerous,
                        format!(
                            "redis.url = \"{}\": a Redis on TCP without a password, so that {who} can read and write all messages. Use a Unix socket, or requirepass with redis://:PASSWORD@… after the move (push-server 0.4.0 knows no password)",
                            own.value.shown()
                        ),
                    )
                }
                _ => (Translated, format!("redis.url = \"{}\"", own.value.shown())),
            }
        })
    }

    /// `servers`.
    fn server_became(&self, leaf: &Leaf) -> Option<(Verdict, String)> {
        use Verdict::{Dangerous, Obsolete, Translated, Unknown};
        if !leaf.is_below("servers") {
            return None;
        }
        let obsolete = |text: &str| (Obsolete, text.to_owned());
        let text = match &leaf.kind {
            Kind::Text(text) => &text[..],
            _ => "",
        };
        let everywhere = "push-server listens on all interfaces whatever is set here, so that until it is stopped its port must be closed to others";
        Some(if leaf.is("servers.*.name") {
            obsolete("no processes: nginx's workers serve")
        } else if leaf.is("servers.*.port") {
            match limits::integer(leaf) {
                Some(1..=65535) => {
                    obsolete("no port per process: nginx's workers serve on nginx's own")
                }
                _ => (Dangerous, "not a port: 1 to 65535 are. No port is needed here".into()),
            }
        } else if leaf.is("servers.*.hostname") && is_loopback(text) {
            (Obsolete, format!("nginx's listen; {everywhere}"))
        } else if leaf.is("servers.*.hostname") {
            let trusted =
                if self.publishing { "publish to everybody" } else { "connect past nginx" };
            (
                Dangerous,
                format!(
                    "an address for others: whoever reaches the port may {trusted}. Here nginx listens, for /bitrix/pub/ on 127.0.0.1; {everywhere}"
                ),
            )
        } else if leaf.is("servers.*.backlog") {
            obsolete("backlog= of nginx's listen; the default, 511, is enough for most")
        } else if leaf.is_below("servers.*.ssl") {
            obsolete("nginx ends TLS: ssl_certificate and ssl_certificate_key of the server block")
        } else if leaf.is_below("servers.*.routes") {
            match leaf.name() {
                "sub" | "pub" | "rest" | "stat" if text.starts_with('/') => (
                    Translated,
                    format!("bx_push {}; in the location that leads here", leaf.name()),
                ),
                "sub" | "pub" | "rest" | "stat" => {
                    (Dangerous, "not a path: it must begin with \"/\"".into())
                }
                "register" | "systemctl" => (
                    Dangerous,
                    "a route of the mode for several tenants, which is not served here".into(),
                ),
                _ => (Unknown, "not a route of push-server 0.4.0".into()),
            }
        } else {
            (Unknown, "not a setting of push-server 0.4.0: nothing is made of it".into())
        })
    }
}

/// What is neither storage nor servers nor a number.
fn rest_became(leaf: &Leaf) -> (Verdict, String) {
    use Verdict::{Dangerous, Obsolete, Unknown};
    let on = leaf.kind == Kind::Bool(true);
    let obsolete = |text: &str| (Obsolete, text.to_owned());
    if leaf.is("cloudMode") && on {
        return (Dangerous, "the mode for several tenants is not served: a location has the keys that its configuration names. Give each portal a server block with its own key file".into());
    }
    if leaf.is("trustClients") && on {
        return (
            Dangerous,
            "clients are not trusted here: what they subscribe to and publish to must be signed"
                .into(),
        );
    }
    for (path, text) in [
        ("cloudMode", "off, as it is here"),
        ("trustClients", "off, as it is here"),
        ("publishMode", "no processes of one kind: a location has a role"),
        ("clusterMode", "all workers and hosts on one Redis work together always"),
        ("processUniqueId", "workers name themselves in the statistics"),
        ("dataDir", "no data on disk"),
        (
            "limits.maxRequestsPerSecond",
            "has no effect in push-server 0.4.0; nginx's limit_req limits, if it is wanted",
        ),
        ("debug.folderName", "the log is nginx's error_log and the journal"),
        ("debug.trustProxy", "nginx's realip module tells client addresses"),
        ("debug.testConnectionKey", "refusals are logged by nginx's error_log levels"),
    ] {
        if leaf.is(path) {
            return obsolete(text);
        }
    }
    if leaf.is_below("debug.ip") {
        return obsolete("no debug output by address: nginx's error_log and debug_connection");
    }
    if leaf.is_below("debug") {
        return obsolete("logging is configured in nginx and in push-sidecar.toml");
    }
    if leaf.is_below("ssl") {
        return obsolete(
            "nginx ends TLS: ssl_certificate and ssl_certificate_key of the server block",
        );
    }
    (Unknown, "not a setting of push-server 0.4.0: nothing is made of it".into())
}
