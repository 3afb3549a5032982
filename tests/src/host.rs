//! A whole host: nginx, sidecar and store, in a folder of its own.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::channel::{Channel, Key};
use crate::http1::{self, Request, Response};
use crate::net::Endpoint;
use crate::nginx::{Conf, Nginx, Server};
use crate::redis::{Persistence, Redis};
use crate::sidecar::Sidecar;
use crate::wait;
use crate::websocket::{Mode, WebSocket};

/// Where messages are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// In the sidecar.
    Memory,
    /// In a Redis of the host's own.
    Redis,
}

/// What comes last, so that nothing can come unnoticed.
pub const END: &str = "\"end\"";

/// A host that can be started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which nginx.
    pub nginx: Nginx,
    /// Which store.
    pub store: Store,
    /// What the store's Redis keeps.
    pub persistence: Persistence,
    /// The keys of its locations; the first signs.
    pub keys: Vec<Key>,
    /// nginx.conf.
    pub conf: Conf,
    /// Environment of the sidecar.
    pub sidecar: Vec<(&'static str, &'static str)>,
    /// The sidecar gets its socket from somebody who keeps it open, as systemd does.
    pub activated: bool,
}

impl Setup {
    /// One worker and one key.
    pub fn new(nginx: Nginx, store: Store) -> Self {
        let keys = vec![Key("a-key-for-tests-0123456789abcdef".into())];
        let (persistence, conf) = (Persistence::default(), Conf::default());
        let sidecar = Vec::new();
        Self { nginx, store, persistence, keys, conf, sidecar, activated: false }
    }

    /// With so many workers.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.conf.workers = workers;
        self
    }

    /// Starts it.
    pub fn start(self) -> io::Result<Host> {
        let folder = tempfile::Builder::new().prefix("push-").tempdir()?;
        let redis = match self.store {
            Store::Memory => None,
            Store::Redis => Some(Redis::start_with(folder.path(), self.persistence)?),
        };
        let redis_url = redis.as_ref().map(Redis::url);
        let start = if self.activated { Sidecar::activate } else { Sidecar::start_with };
        let sidecar = start(folder.path(), redis_url, self.sidecar)?;
        let mut conf = self.conf;
        conf.http += &key_directives(folder.path(), &self.keys)?;
        let nginx = Server::start(folder.path(), self.nginx, conf)?;
        let key = self.keys[0].clone();
        Ok(Host { nginx, sidecar, redis, key, caused: Vec::new(), folder })
    }
}

/// `bx_push_security_key_file` for each key.
pub fn key_directives(folder: &Path, keys: &[Key]) -> io::Result<String> {
    let mut directives = String::new();
    for (number, key) in keys.iter().enumerate() {
        let file = key_file(folder, &format!("key-{number}"), &key.0, 0o600)?;
        directives.extend(["bx_push_security_key_file ", &file.to_string_lossy(), ";\n"]);
    }
    Ok(directives)
}

/// Writes a key file.
pub fn key_file(folder: &Path, name: &str, text: &str, mode: u32) -> io::Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// A running host. Dropping it ends everything and looks through nginx's log.
pub struct Host {
    // In the order in which they must end.
    /// nginx with the module.
    pub nginx: Server,
    /// The daemon.
    pub sidecar: Sidecar,
    /// The store's Redis, if it has one.
    pub redis: Option<Redis>,
    /// The key that signs.
    pub key: Key,
    /// Complaints that were caused on purpose: a line of nginx's log with one of these is no fault.
    pub caused: Vec<String>,
    folder: TempDir,
}

impl Host {
    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Browsers' side, in clear.
    pub fn public(&self) -> Endpoint {
        Endpoint::clear(self.nginx.addresses.public)
    }

    /// Browsers' side over TLS, offering `protocols`.
    pub fn public_tls(&self, protocols: &[&str]) -> Endpoint {
        let tls = Some(self.nginx.certificate().client(protocols));
        Endpoint { address: self.nginx.addresses.public_tls, tls }
    }

    /// The backend's side, in clear.
    pub fn internal(&self) -> Endpoint {
        Endpoint::clear(self.nginx.addresses.internal)
    }

    /// The backend's side over TLS, offering `protocols`.
    pub fn internal_tls(&self, protocols: &[&str]) -> Endpoint {
        let tls = Some(self.nginx.certificate().client(protocols));
        Endpoint { address: self.nginx.addresses.internal_tls, tls }
    }

    /// The target by which a pair is subscribed to.
    pub fn target(&self, channel: &Channel) -> String {
        format!("/bitrix/subws/?CHANNEL_ID={}", channel.signed_pair(&self.key))
    }

    /// Subscribes to a pair, and waits until the sidecar knows.
    pub async fn subscribe(&self, channel: &Channel, mode: Mode) -> io::Result<WebSocket> {
        let socket = WebSocket::open(&self.public(), &self.target(channel), mode).await?;
        self.until_online(std::slice::from_ref(channel)).await?;
        Ok(socket)
    }

    /// [`until_online`] on this host.
    pub async fn until_online(&self, channels: &[Channel]) -> io::Result<()> {
        until_online(&self.internal(), channels).await
    }

    /// Publishes to private ids; whatever the answer is.
    pub async fn post(&self, ids: &[&str], body: &str, expiry: u32) -> io::Result<Response> {
        http1::once(&self.internal(), text_publication(ids, body, expiry)).await
    }

    /// Publishes to a private id, kept for a minute. It must be taken.
    pub async fn publish(&self, channel: &Channel, body: &str) -> io::Result<()> {
        let answer = self.post(&[&channel.private], body, 60).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(())
    }

    /// The processes whose memory is ours: nginx's and the sidecar.
    pub fn pids(&mut self) -> Vec<u32> {
        let mut pids = self.nginx.workers();
        pids.push(self.nginx.process().pid());
        pids.push(self.sidecar.process().pid());
        pids
    }

    /// The messages of each subscriber of a channel up to [`END`], which is published here.
    pub async fn rest(
        &self,
        channel: &Channel,
        sockets: &mut [WebSocket],
    ) -> io::Result<Vec<Vec<String>>> {
        self.publish(channel, END).await?;
        let mut all = Vec::new();
        for socket in sockets {
            let mut bodies = Vec::new();
            loop {
                let body = socket.body().await;
                if body == END {
                    break;
                }
                bodies.push(body);
            }
            all.push(bodies);
        }
        Ok(all)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut complaints = self.nginx.stop();
        complaints.retain(|line| !self.caused.iter().any(|caused| line.contains(caused)));
        if std::thread::panicking() {
            eprintln!("--- nginx\n{}", tail(&self.nginx.error_log()));
            eprintln!("--- push-sidecar\n{}", tail(&self.sidecar.process().output()));
        } else {
            assert!(complaints.is_empty(), "nginx complains:\n{}", complaints.join("\n"));
        }
    }
}

/// Waits until the sidecar knows a subscriber of each of these channels: with several workers a
/// publication could otherwise overtake the subscription. `internal` is where a backend asks.
pub async fn until_online(internal: &Endpoint, channels: &[Channel]) -> io::Result<()> {
    for some in channels.chunks(100) {
        let ids: Vec<_> = some.iter().map(|channel| channel.private.as_str()).collect();
        let target = format!("/bitrix/pub/?CHANNEL_ID={}", ids.join("/"));
        let end = Instant::now() + wait::SOON;
        loop {
            let answer = http1::once(internal, Request::get(&target)).await?;
            let online = answer.text().matches("\"subscribers\"").count();
            if answer.status == 200 && online == ids.len() {
                break;
            }
            assert!(Instant::now() < end, "not online: {answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A text publication as a portal posts it.
pub fn text_publication(ids: &[&str], body: &str, expiry: u32) -> Request {
    Request::post(&format!("/bitrix/pub/?CHANNEL_ID={}", ids.join("/")), body)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Message-Expiry", &expiry.to_string())
}
