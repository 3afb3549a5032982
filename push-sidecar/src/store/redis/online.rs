//! Online marks, beside those of running reference processes.
//!
//! Those mark as well (PROTOCOL.md, section 12), never look at who else has, and take nothing away.
//! So a mark is cleared only when it is ours and no reference process is seen to run: one that has
//! the channel, too, sets its mark again no sooner than with the next pong.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use push_protocol::ChannelKey;
use redis::{Cmd, Value};
use serde::Deserialize;
use tokio::time::Instant;

use super::connection::{Commands, LuaScript, ScriptArgs};
use super::{layout, reading};
use crate::store::{StoreError, is_over};
use crate::surroundings::unix_time;

/// For how long it is believed whether reference processes run.
const BELIEVED: Duration = Duration::from_secs(1);

/// See the module.
pub struct Marks {
    commands: Rc<Commands>,
    mark: LuaScript,
    clear: LuaScript,
    database: i64,
    /// Seconds a mark lives.
    ttl: u64,
    neighbours: Cell<Option<(Instant, bool)>>,
}

impl Marks {
    /// `ttl`: seconds a mark lives.
    pub fn new(commands: Rc<Commands>, database: i64, ttl: u64) -> Self {
        let mark = LuaScript::new(include_str!("mark.lua"));
        let clear = LuaScript::new(include_str!("clear.lua"));
        Self { commands, mark, clear, database, ttl, neighbours: Cell::default() }
    }

    /// Marks them.
    pub async fn set(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        let mut args = ScriptArgs::with_keys(channels.iter().map(layout::online));
        args.push_shown(self.ttl);
        // Ours are renewed before half of it has passed.
        args.push_shown(self.ttl * 1000 * 6 / 10);
        self.commands.script(&self.mark, &args).await.map(drop)
    }

    /// Takes the marks away that are ours, and tells everybody.
    pub async fn clear(&self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        if channels.is_empty() || self.beside_neighbours().await? {
            return Ok(());
        }
        let args = ScriptArgs::with_keys(channels.iter().map(layout::online));
        self.commands.script(&self.clear, &args).await?;
        let mut tell = Cmd::new();
        tell.arg("PUBLISH")
            .arg(layout::cleared_channel(self.database))
            .arg(layout::pack_receivers(channels.iter()));
        self.commands.run(&tell).await.map(drop)
    }

    /// Which are marked.
    pub async fn read(&self, channels: &[ChannelKey]) -> Result<Vec<bool>, StoreError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = Cmd::new();
        command.arg("MGET");
        for key in channels {
            command.arg(layout::online(key));
        }
        let marks = reading::array(self.commands.run(&command).await?)?;
        Ok(marks.iter().map(|mark| !matches!(mark, Value::Nil)).collect())
    }

    /// Whether statistics of the last minute stand there that none of us has left.
    async fn beside_neighbours(&self) -> Result<bool, StoreError> {
        if let Some((at, beside)) = self.neighbours.get()
            && at.elapsed() < BELIEVED
        {
            return Ok(beside);
        }
        let mut names = Cmd::new();
        names.arg("SMEMBERS").arg(layout::PROCESSES);
        let ours = reading::strings(self.commands.run(&names).await?)?;
        let now = unix_time().as_millis();
        let left = reading::statistics(&self.commands).await?;
        let beside = left.iter().any(|(name, json)| {
            !ours.contains(name)
                && serde_json::from_slice::<Left>(json)
                    .is_ok_and(|left| !is_over(left.date, now as u64))
        });
        self.neighbours.set(Some((Instant::now(), beside)));
        Ok(beside)
    }
}

/// What matters here of the statistics that a process leaves.
#[derive(Deserialize)]
struct Left {
    /// When, Unix milliseconds.
    date: u64,
}
