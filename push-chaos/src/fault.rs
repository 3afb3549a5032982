//! What is done to the host, and how it is made good again.

use std::fs;
use std::io;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use push_tests::Host;
use push_tests::redis::{Persistence, Redis};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::ledger::Promise;
use crate::random::Random;

/// A kind of fault. An injection ends when the host could be whole again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Fault {
    /// `kill -9` of the sidecar, which is started again within 300 ms.
    KillSidecar,
    /// `kill -9` of an nginx worker, which nginx starts again.
    KillWorker,
    /// `kill -9` of Redis, which comes back with everything: its append-only file is synced always.
    KillRedis,
    /// `kill -9` of the sidecar and of Redis, which come back in either order.
    KillBoth,
    /// `nginx -s reload`.
    Reload,
    /// Redis cuts the subscription connections.
    KillPubsub,
    /// Redis leaves everybody waiting, for less than commands wait and for longer.
    Pause,
    /// Redis forgets its scripts.
    ScriptFlush,
    /// Redis may not be written to: it is a replica, or lacks replicas.
    Readonly,
    /// Redis is killed and answers LOADING for a second or two.
    Loading,
    /// Redis cuts all connections and refuses dials.
    Refused,
    /// No log can be written: nginx's and the sidecar's are `/dev/full`, while connections break.
    LogFull,
    /// `kill -9` of a Redis that comes back empty.
    LoseRedis,
    /// Redis forgets everything.
    FlushAll,
}

impl Fault {
    /// All kinds, in the order of their trial.
    pub const ALL: [Self; 14] = [
        Self::KillSidecar,
        Self::KillWorker,
        Self::KillRedis,
        Self::KillBoth,
        Self::Reload,
        Self::KillPubsub,
        Self::Pause,
        Self::ScriptFlush,
        Self::Readonly,
        Self::Loading,
        Self::Refused,
        Self::LogFull,
        Self::LoseRedis,
        Self::FlushAll,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// How often it is injected unless something else is asked for.
    pub fn usual_count(self) -> u32 {
        match self {
            Self::Reload => 50,
            Self::KillSidecar | Self::KillRedis | Self::KillPubsub | Self::KillWorker => 10,
            Self::KillBoth | Self::ScriptFlush | Self::LoseRedis | Self::FlushAll => 5,
            Self::Pause | Self::Readonly | Self::Loading | Self::Refused => 4,
            Self::LogFull => 2,
        }
    }

    /// What the host's Redis must keep for it.
    pub fn persistence(self) -> Persistence {
        match self {
            Self::LoseRedis | Self::FlushAll => Persistence::None,
            _ => Persistence::Always,
        }
    }

    /// What subscribers are owed all the same.
    pub fn promise(self) -> Promise {
        match self.persistence() {
            Persistence::Always => Promise::All,
            Persistence::None => Promise::Connected,
        }
    }

    /// Whether it ends connections of clients, which come back then.
    pub fn ends_connections(self) -> bool {
        matches!(self, Self::KillWorker | Self::Reload)
    }

    /// Does it, for the `nth` time from 0.
    pub async fn inject(self, host: &mut Host, random: &mut Random, nth: u32) -> io::Result<()> {
        match self {
            Self::KillSidecar => {
                host.sidecar.kill();
                sleep(Duration::from_millis(random.below(300))).await;
                block_in_place(|| host.sidecar.restart())
            }
            Self::KillWorker => kill_worker(host, random),
            Self::KillBoth => kill_both(host, random, nth.is_multiple_of(2)).await,
            Self::Reload => host.nginx.reload(|_| ()).await,
            Self::LogFull => without_logs(host).await,
            _ => {
                let redis = host.redis.as_mut().expect("the store is Redis");
                self.inject_redis(redis, random, nth).await
            }
        }
    }

    async fn inject_redis(
        self,
        redis: &mut Redis,
        random: &mut Random,
        nth: u32,
    ) -> io::Result<()> {
        let a_while = Duration::from_millis(300 + random.below(2_000));
        match self {
            Self::KillPubsub => told(redis, &["CLIENT", "KILL", "TYPE", "pubsub"]),
            Self::ScriptFlush => told(redis, &["SCRIPT", "FLUSH", "SYNC"]),
            Self::FlushAll => told(redis, &["FLUSHALL"]),
            Self::Pause => {
                let (time, what) =
                    [("900", "ALL"), ("1500", "WRITE"), ("6000", "ALL")][nth as usize % 3];
                told(redis, &["CLIENT", "PAUSE", time, what])?;
                sleep(Duration::from_millis(time.parse().map_err(io::Error::other)?)).await;
                Ok(())
            }
            Self::Readonly if nth.is_multiple_of(2) => {
                // Nobody is master there, so that its data stay as they are.
                told(redis, &["REPLICAOF", "127.0.0.1", "1"])?;
                sleep(a_while).await;
                told(redis, &["REPLICAOF", "NO", "ONE"])
            }
            Self::Readonly => {
                told(redis, &["CONFIG", "SET", "min-replicas-to-write", "1"])?;
                sleep(a_while).await;
                told(redis, &["CONFIG", "SET", "min-replicas-to-write", "0"])
            }
            Self::Refused => {
                redis.hide(true)?;
                told(redis, &["CLIENT", "KILL", "TYPE", "pubsub"])?;
                told(redis, &["CLIENT", "KILL", "TYPE", "normal"])?;
                sleep(a_while).await;
                redis.hide(false)
            }
            Self::Loading => {
                redis.kill();
                let every = format!("-{}", redis.append_only_bytes()?.div_ceil(LOADED_PER_NAP));
                // Commands that are read from the file take a nap, one in so many.
                let slowly = ["--key-load-delay", &every];
                let heard = ["--loading-process-events-interval-bytes", "4096"];
                block_in_place(|| redis.restart_with(&[slowly, heard].concat()))
            }
            _ => {
                redis.kill();
                sleep(Duration::from_millis(random.below(300))).await;
                block_in_place(|| redis.restart())
            }
        }
    }
}

/// Bytes of an append-only file, per command that is slept on while it is read: a file of any size
/// takes a second or two, since a nap of Redis is about 60 us and a command about 100 bytes.
const LOADED_PER_NAP: u64 = 2_500_000;

/// A command that must be taken.
fn told(redis: &Redis, words: &[&str]) -> io::Result<()> {
    let answer = block_in_place(|| redis.command(words))?;
    if answer.starts_with('-') {
        return Err(io::Error::other(format!("{words:?}: {answer}")));
    }
    Ok(())
}

fn kill_worker(host: &mut Host, random: &mut Random) -> io::Result<()> {
    let workers = host.nginx.workers();
    let one = workers[random.below(workers.len() as u64) as usize];
    host.caused.push(format!("worker process {one} exited on signal 9"));
    signal::kill(Pid::from_raw(one as i32), Signal::SIGKILL)?;
    let limit = push_tests::wait::SOON;
    block_in_place(|| {
        push_tests::wait::until_blocking("nginx starts a worker again", limit, || {
            let now = host.nginx.workers();
            now.len() >= workers.len() && !now.contains(&one)
        });
    });
    Ok(())
}

async fn kill_both(host: &mut Host, random: &mut Random, sidecar_first: bool) -> io::Result<()> {
    host.sidecar.kill();
    let redis = host.redis.as_mut().expect("the store is Redis");
    redis.kill();
    if sidecar_first {
        block_in_place(|| host.sidecar.restart())?;
        sleep(Duration::from_millis(random.below(600))).await;
        block_in_place(|| redis.restart())
    } else {
        block_in_place(|| redis.restart())?;
        sleep(Duration::from_millis(random.below(300))).await;
        block_in_place(|| host.sidecar.restart())
    }
}

/// Logs go nowhere while links and subscriptions break, which everybody wants to tell.
async fn without_logs(host: &mut Host) -> io::Result<()> {
    let folder = host.folder().to_owned();
    let (full, logs) = (std::path::Path::new("/dev/full"), ["error.log", "access.log"]);
    for log in logs {
        fs::rename(folder.join(log), folder.join(format!("{log}.kept")))?;
        std::os::unix::fs::symlink(full, folder.join(log))?;
    }
    host.nginx.process().signal(Signal::SIGUSR1);
    host.sidecar.log_to(full);
    for _ in 0..2 {
        host.sidecar.kill();
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| host.sidecar.restart())?;
        sleep(Duration::from_millis(500)).await;
        told(
            host.redis.as_ref().expect("the store is Redis"),
            &["CLIENT", "KILL", "TYPE", "pubsub"],
        )?;
        sleep(Duration::from_millis(500)).await;
    }
    if let Some(status) = host.sidecar.process().ended() {
        return Err(io::Error::other(format!(
            "push-sidecar ended with {status}: it could not log"
        )));
    }
    for log in logs {
        fs::rename(folder.join(format!("{log}.kept")), folder.join(log))?;
    }
    host.nginx.process().signal(Signal::SIGUSR1);
    host.sidecar.log_to(&folder.join("push-sidecar.log"));
    host.sidecar.kill();
    block_in_place(|| host.sidecar.restart())
}
