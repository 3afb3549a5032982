//! How everything does at one moment: what the status page and `push-sidecar status` show.

use std::collections::BTreeMap;
use std::fmt::Write;

use push_protocol::{ChannelKey, hex};
use serde::{Deserialize, Serialize};

use crate::complaints::Complaint;
use crate::health::{self, duration};
use crate::samples::Sample;

/// See the module. Numbers of connections are what is open now, those of events what has happened
/// since the sidecar began to count.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Whether the worker that was asked is linked; told by itself alone if not.
    pub link_up: bool,
    /// When, Unix milliseconds.
    pub time: u64,
    /// The host.
    pub host: String,
    /// What works and what does not.
    pub health: health::Report,
    /// Open connections by transport and wire format, as `websocket protobuf`.
    pub connections: BTreeMap<String, u64>,
    /// Messages delivered.
    pub deliveries: u64,
    /// Publishes by result.
    pub publishes: BTreeMap<String, u64>,
    /// Connections cut off by reason.
    pub drops: BTreeMap<String, u64>,
    /// Returning clients by what they were answered.
    pub recoveries: BTreeMap<String, u64>,
    /// Signatures that did not verify.
    pub signature_failures: u64,
    /// Bytes that wait, by queue.
    pub queues: BTreeMap<String, u64>,
    /// How long things took, by what it was.
    pub latency: BTreeMap<String, Latency>,
    /// Channels with a subscriber here.
    pub channels: u64,
    /// Memory of the sidecar, bytes.
    pub memory: u64,
    /// The workers of this host.
    pub workers: Vec<Worker>,
    /// Other hosts on the same store.
    pub hosts: Vec<Host>,
    /// The clients that most waits for.
    pub slowest: Vec<Client>,
    /// The channels with most traffic lately.
    pub top_channels: Vec<Channel>,
    /// The last warnings and errors of the sidecar, the newest first.
    pub errors: Vec<Complaint>,
    /// The last ten minutes, the oldest first.
    pub history: Vec<Sample>,
}

/// How long something took, microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// Half stayed below.
    pub p50: u64,
    /// Nearly all stayed below.
    pub p99: u64,
}

/// A worker process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its process id.
    pub pid: u32,
    /// The module's version.
    pub software: String,
    /// Seconds since it has linked.
    pub seconds: u64,
    /// Open WebSockets.
    pub websockets: u64,
    /// Polls that wait.
    pub polls: u64,
    /// Messages delivered since it started.
    pub deliveries: u64,
    /// Bytes that wait in it.
    pub waiting: u64,
}

/// Another host on the same store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its processes.
    pub processes: u64,
    /// Open WebSockets.
    pub websockets: u64,
    /// Polls that wait.
    pub polls: u64,
    /// Seconds since it last told.
    pub seconds: u64,
}

/// A client that something waits for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Client {
    /// The process id of its worker.
    pub worker: u32,
    /// The beginning of its first channel's id.
    pub channel: String,
    /// Bytes that wait for it.
    pub waiting: u64,
    /// Seconds since it came.
    pub seconds: u64,
}

/// A channel with much traffic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// The beginning of its id.
    pub channel: String,
    /// Its messages, lately.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The beginning of a channel's id: enough to find it again, not enough to use it.
pub fn shortened(channel: &ChannelKey) -> String {
    let mut text = hex::encode(&channel.id[..4]);
    text.push('…');
    text
}

impl Snapshot {
    /// For a person at a terminal. Parts that are empty are left out.
    pub fn table(&self) -> String {
        let mut out = self.health.table();
        let sum = |numbers: &BTreeMap<String, u64>| numbers.values().sum::<u64>();
        let last = self.history.last();
        let rate = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
        let us = |value: Option<u64>| value.map_or("-".into(), millis);
        let facts = [
            (
                "connections",
                format!("{}{}", sum(&self.connections), in_brackets(&self.connections)),
            ),
            (
                "deliveries",
                format!(
                    "{} a second, {} in all",
                    rate(last.map(|s| s.deliveries)),
                    self.deliveries
                ),
            ),
            (
                "publishes",
                format!(
                    "{} a second, {} in all{}",
                    rate(last.map(|s| s.publishes)),
                    sum(&self.publishes),
                    in_brackets(&self.publishes)
                ),
            ),
            (
                "publish to write",
                format!(
                    "p50 {}, p99 {}",
                    us(last.and_then(|s| s.p50)),
                    us(last.and_then(|s| s.p99))
                ),
            ),
            ("waiting", format!("{} bytes{}", sum(&self.queues), in_brackets(&self.queues))),
            ("returned", format!("{}{}", sum(&self.recoveries), in_brackets(&self.recoveries))),
            ("cut off", format!("{}{}", sum(&self.drops), in_brackets(&self.drops))),
            ("bad signatures", self.signature_failures.to_string()),
            ("channels", self.channels.to_string()),
            ("memory", format!("{} KiB (sidecar)", self.memory / 1024)),
        ];
        let _ = writeln!(out, "\n{}", self.host);
        for (name, value) in facts {
            let _ = writeln!(out, "  {name:<18} {value}");
        }
        let rows = self.latency.iter().map(|(name, took)| {
            [name.clone(), millis(took.p50), millis(took.p99), took.count.to_string()]
        });
        rows_of(&mut out, ["latency", "p50", "p99", "measured"], &rows.collect::<Vec<_>>());
        let rows = self.workers.iter().map(|w| {
            [
                w.pid.to_string(),
                duration(w.seconds),
                w.websockets.to_string(),
                w.polls.to_string(),
                w.deliveries.to_string(),
                w.waiting.to_string(),
            ]
        });
        rows_of(
            &mut out,
            ["worker", "linked for", "websockets", "polls", "deliveries", "bytes waiting"],
            &rows.collect::<Vec<_>>(),
        );
        let rows = self.hosts.iter().map(|h| {
            [
                h.name.clone(),
                h.processes.to_string(),
                h.websockets.to_string(),
                h.polls.to_string(),
                format!("{} ago", duration(h.seconds)),
            ]
        });
        rows_of(
            &mut out,
            ["other host", "processes", "websockets", "polls", "told"],
            &rows.collect::<Vec<_>>(),
        );
        let rows = self.slowest.iter().map(|c| {
            [c.channel.clone(), c.worker.to_string(), c.waiting.to_string(), duration(c.seconds)]
        });
        rows_of(
            &mut out,
            ["slow client", "worker", "bytes waiting", "connected for"],
            &rows.collect::<Vec<_>>(),
        );
        let rows = self
            .top_channels
            .iter()
            .map(|c| [c.channel.clone(), c.messages.to_string(), c.bytes.to_string()]);
        rows_of(&mut out, ["busy channel", "messages", "bytes"], &rows.collect::<Vec<_>>());
        if !self.errors.is_empty() {
            out.push_str("\n  last warnings and errors\n");
        }
        for error in &self.errors {
            let level = if error.error { "error" } else { "warning" };
            let ago = duration(self.time.saturating_sub(error.at) / 1_000);
            let _ =
                writeln!(out, "  {ago:>8} ago  {level:<7} {:>4} x  {}", error.count, error.text);
        }
        out
    }
}

/// What is not 0, as ` (stored 7, live 3)`.
fn in_brackets(numbers: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = numbers
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(name, number)| format!("{name} {number}"))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn millis(micros: u64) -> String {
    let ms = micros as f64 / 1_000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// A table, its first column to the left and the others to the right; nothing without rows.
fn rows_of<const N: usize>(out: &mut String, head: [&str; N], rows: &[[String; N]]) {
    if rows.is_empty() {
        return;
    }
    let head = head.map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    out.push('\n');
    for row in [&head].into_iter().chain(rows) {
        let _ = write!(out, "  {:<1$}", row[0], widths[0].max(18));
        for column in 1..N {
            let _ = write!(out, "  {:>1$}", row[column], widths[column]);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut out = String::new();
        rows_of(&mut out, ["one", "b"], &[]);
        assert_eq!(out, "");
        rows_of(&mut out, ["one", "b"], &[["a".into(), "1,000".into()], ["€".into(), "2".into()]]);
        assert_eq!(
            out,
            "\n  one                     b\n  a                   1,000\n  €                       2\n"
        );
        assert_eq!(in_brackets(&[("a".to_owned(), 1), ("b".to_owned(), 0)].into()), " (a 1)");
    }

    #[test]
    fn what_is_told_of_a_channel_is_of_no_use() {
        assert_eq!(shortened(&ChannelKey::private([0xab; 16])), "abababab…");
    }
}
