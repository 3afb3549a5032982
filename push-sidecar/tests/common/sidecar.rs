//! A sidecar in the test's process, on a Unix socket in a temporary folder.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use push_sidecar::exchange::{Exchange, ExchangeOptions};
use push_sidecar::link_server::{self, Peers, Socket};
use push_sidecar::store::memory::MemoryStore;
use push_sidecar::store::redis::{RedisOptions, RedisStore, Timing};
use push_sidecar::store::{Events, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::redis_server::RedisServer;
use super::worker::Worker;

/// A sidecar in this process.
pub struct Sidecar {
    pub socket: PathBuf,
    _folder: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Sidecar {
    pub fn start<S: Store + 'static>(store: S, events: Events, options: ExchangeOptions) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("sidecar.sock");
        let listener = Socket::bind(&socket, None).expect("a socket");
        let exchange = Exchange::new(store, options);
        let running = Rc::clone(&exchange);
        let peers = Peers::named(&[]).expect("this user");
        let tasks = vec![
            tokio::task::spawn_local(async move { running.run(events).await }),
            tokio::task::spawn_local(Rc::clone(&exchange).keep_presence()),
            tokio::task::spawn_local(async move {
                link_server::serve(&listener.listener, &peers, &exchange).await;
            }),
        ];
        Self { socket, _folder: folder, tasks }
    }

    pub fn memory() -> Self {
        let (store, events) = MemoryStore::new(64 << 20, 130);
        Self::start(store, events, ExchangeOptions::default())
    }

    pub fn redis(server: &RedisServer) -> Self {
        Self::redis_with(server, ExchangeOptions::default())
    }

    pub fn redis_with(server: &RedisServer, exchange: ExchangeOptions) -> Self {
        let ms = Duration::from_millis;
        let options = RedisOptions {
            url: server.url(),
            command_timeout: ms(10_000),
            timing: Timing { dial: ms(500), probe_every: ms(50), probe_patience: ms(500) },
            ..RedisOptions::default()
        };
        let (store, events) = RedisStore::open(&options).expect("a store");
        Self::start(store, events, exchange)
    }

    pub async fn worker(&self, instance: u64) -> Worker {
        Worker::connect(&self.socket, instance, false).await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
