//! The store that is shared by hosts, and with running reference processes: Redis 6.2 or later, in
//! the reference's layout (PROTOCOL.md, section 13).
//!
//! | file | what |
//! |---|---|
//! | `layout` | keys and channels |
//! | `dialer` | where connections come from |
//! | `connection` | the command connection, what goes over which, errors |
//! | `condition` | what of it works |
//! | `publisher`, `publish.lua` | ids, storing, announcing: one atomic step |
//! | `pace` | whether a publish waits for the next |
//! | `reading`, `history.lua` | histories, and what was missed |
//! | `online`, `mark.lua`, `clear.lua` | online marks, beside those of running reference processes |
//! | `subscription`, `position.lua` | the announcement stream |

mod condition;
mod connection;
pub mod dialer;
pub mod layout;
mod online;
mod pace;
mod publisher;
mod reading;
mod subscription;

use std::rc::Rc;
use std::time::Duration;

use push_metrics::Histogram;
use push_protocol::{ChannelKey, Mid};
use redis::{Client, Cmd};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use condition::known_remedy;
pub use subscription::Timing;

use super::{Caps, Events, Found, History, Missed, PublishItem, Store, StoreError, Token};
use crate::health::Condition;
use crate::random;
use condition::Watch;
use connection::{Commands, LuaScript};
use dialer::Dialer;
use publisher::{Floor, Publisher};
use subscription::Subscription;

/// How a Redis store is opened.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `unix:///path[?db=n&user=…&pass=…]`, `redis://[user:password@]host[:port][/db]`, or
    /// `rediss://…` for TLS.
    pub url: String,
    /// Seconds a channel's list lives at least after its last message.
    pub channel_ttl: u64,
    /// Seconds an online mark lives.
    pub online_ttl: u64,
    /// Of a command, from sending to answer.
    pub command_timeout: Duration,
    /// Of the subscription.
    pub timing: Timing,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            channel_ttl: 86_400,
            online_ttl: 130,
            command_timeout: Duration::from_secs(4),
            timing: Timing {
                dial: Duration::from_secs(2),
                probe_every: Duration::from_secs(2),
                probe_patience: Duration::from_secs(5),
            },
        }
    }
}

/// Reads the address; nobody is dialled yet.
pub fn client(url: &str) -> Result<Client, StoreError> {
    let client =
        Client::open(url).map_err(|error| StoreError::Refused(format!("redis url: {error}")))?;
    if url.starts_with("rediss:") {
        // Fails only if one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(client)
}

/// See the module.
pub struct RedisStore {
    commands: Rc<Commands>,
    publisher: Rc<Publisher>,
    history: LuaScript,
    marks: online::Marks,
    watch: Rc<Watch>,
    /// How old the last probe may be.
    patience: Duration,
    tasks: Vec<JoinHandle<()>>,
}

impl RedisStore {
    /// Checks the URL and starts the store's tasks on the current `LocalSet`; Redis need not be
    /// there yet.
    pub fn open(options: &RedisOptions) -> Result<(Self, Events), StoreError> {
        Ok(Self::with_dialer(Dialer::Address(Rc::new(client(&options.url)?)), options))
    }

    /// The same on connections of any kind; the options' URL does not count.
    pub fn with_dialer(dialer: Dialer, options: &RedisOptions) -> (Self, Events) {
        let uid = random::uid();
        let database = dialer.database();
        let (events, receiver) = mpsc::unbounded_channel();
        let floor = Rc::new(Floor::default());
        let watch = Rc::new(Watch::new());
        let commands =
            Rc::new(Commands::new(dialer.clone(), options.command_timeout, Rc::clone(&watch)));
        let publisher = Rc::new(Publisher::new(
            Rc::clone(&commands),
            layout::announcement_channel(database, &uid),
            options.channel_ttl,
            options.command_timeout,
            Rc::clone(&floor),
        ));
        let subscription = Subscription {
            dialer,
            commands: Rc::clone(&commands),
            command_timeout: options.command_timeout,
            uid,
            timing: options.timing,
            watch: Rc::clone(&watch),
            floor,
            events,
        };
        let sending = Rc::clone(&publisher);
        let tasks = vec![
            tokio::task::spawn_local(async move { sending.run().await }),
            tokio::task::spawn_local(subscription.run()),
        ];
        let history = LuaScript::new(include_str!("history.lua"));
        let marks = online::Marks::new(Rc::clone(&commands), database, options.online_ttl);
        let patience = options.timing.probe_every + options.timing.probe_patience;
        (Self { commands, publisher, history, marks, watch, patience, tasks }, receiver)
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Store for RedisStore {
    async fn publish(
        &self,
        token: Token,
        messages: Vec<PublishItem>,
    ) -> Result<Vec<Mid>, StoreError> {
        self.publisher.publish(token, messages).await
    }

    async fn history(
        &self,
        receivers: &[ChannelKey],
        after: Mid,
        caps: Caps,
    ) -> Result<History, StoreError> {
        reading::history(&self.commands, &self.history, receivers, after, caps).await
    }

    async fn missed(
        &self,
        receivers: Vec<ChannelKey>,
        after: Mid,
        upto: Option<Mid>,
    ) -> Result<Missed, StoreError> {
        reading::missed(&self.commands, receivers, after, upto).await
    }

    async fn find(&self, id: Mid) -> Result<Option<Found>, StoreError> {
        reading::find(&self.commands, id).await
    }

    async fn last_id(&self) -> Result<Mid, StoreError> {
        reading::last_id(&self.commands).await
    }

    async fn mark_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.marks.set(channels).await
    }

    async fn clear_online(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.marks.clear(channels).await
    }

    fn command_times(&self) -> Option<Histogram> {
        Some(self.watch.command_times())
    }

    fn conditions(&self) -> Vec<Condition> {
        self.watch.conditions(self.patience)
    }

    async fn statistics(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        reading::statistics(&self.commands).await
    }

    async fn leave_statistics(
        &self,
        ours: Vec<(String, String)>,
        over: Vec<String>,
    ) -> Result<(), StoreError> {
        if !ours.is_empty() {
            // First the name: nobody shall take one of us for a reference process.
            let mut named = Cmd::new();
            named.arg("SADD").arg(layout::PROCESSES);
            let mut left = Cmd::new();
            left.arg("HSET").arg(layout::STATISTICS);
            for (name, json) in ours {
                named.arg(&name);
                left.arg(name).arg(json);
            }
            self.commands.run(&named).await?;
            self.commands.run(&left).await?;
        }
        if !over.is_empty() {
            for (verb, key) in [("HDEL", layout::STATISTICS), ("SREM", layout::PROCESSES)] {
                let mut command = Cmd::new();
                command.arg(verb).arg(key).arg(&over);
                self.commands.run(&command).await?;
            }
        }
        Ok(())
    }

    async fn online(&self, channels: &[ChannelKey]) -> Result<Vec<bool>, StoreError> {
        self.marks.read(channels).await
    }
}
