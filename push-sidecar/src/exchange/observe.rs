//! How everything does, for those who look: workers are asked what they have counted every few
//! seconds, and when somebody wants to know.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use push_link::{METRICS_SINCE, Slow, ToWorker};
use push_metrics::{Exposition, Histogram, Number, Report, SERIES, Span};
use push_protocol::Mid;
use serde_json::Value;
use tokio::time::Instant;

use super::roll_call::RollCall;
use super::statistics::host_name;
use super::{Exchange, Peer};
use crate::census::Census;
use crate::complaints::complaints;
use crate::router::LinkId;
use crate::samples::{self, Samples};
use crate::snapshot::{self, Channel, Client, Host, Latency, Snapshot, Worker};
use crate::store::{Announced, Store};
use crate::surroundings::unix_ms;
use crate::talkers::Talkers;

/// How long workers may take to answer. Who does not counts with what it told before.
const PATIENCE: Duration = Duration::from_millis(500);
/// One publish in this time is timed through to its writes.
const TIMED_EVERY: Duration = Duration::from_millis(50);
/// Receivers of a message that count as its traffic.
const COUNTED_RECEIVERS: usize = 4;
/// Of each minute, so many messages are counted one by one; of those that follow one stands for a few.
const COUNTED_ALL: u64 = 1_000;
/// See there.
const COUNTED_ONE_OF: u64 = 16;
/// Channels, and clients, that are told of.
const TOLD: usize = 10;
/// How often traffic that has been counts half.
const AGE: Duration = Duration::from_secs(60);

/// What is known of the workers, and of the last minutes.
#[derive(Default)]
pub(super) struct Observed {
    census: Census,
    samples: Samples,
    talkers: Talkers,
    /// Messages since traffic was last aged.
    messages: u64,
    /// The question under way.
    question: Rc<RollCall>,
    /// When a publish was last timed.
    timed: Option<Instant>,
}

impl<S: Store + 'static> Exchange<S> {
    /// A link's worker, and what is spoken with it.
    pub fn linked(&self, peer: &Peer, pid: u32, software: &str, version: u16) {
        let worker = (pid, software.to_owned(), version);
        self.observed.borrow_mut().census.linked(peer.instance, peer.id, worker, Instant::now());
    }

    pub(super) fn unlinked(&self, link: LinkId) {
        let mut observed = self.observed.borrow_mut();
        observed.census.unlinked(link, Instant::now());
        observed.question.heard(link);
    }

    /// `Metrics`.
    pub fn told(&self, peer: &Peer, req: u32, now: &[u64], before: &[u64], slow: Vec<Slow>) {
        let mut observed = self.observed.borrow_mut();
        let (now, before) = (Report::from_words(now), Report::from_words(before));
        observed.census.told(peer.instance, now, &before, slow);
        if req == observed.question.asked() {
            observed.question.heard(peer.id);
        }
    }

    /// A publish was stored: workers hear when it came, if it is the one that is timed.
    pub(super) fn published(&self, id: Option<&Mid>, at: u64) {
        let Some(&id) = id.filter(|_| at > 0) else { return };
        let now = Instant::now();
        let mut observed = self.observed.borrow_mut();
        if observed.timed.is_some_and(|last| now < last + TIMED_EVERY) {
            return;
        }
        observed.timed = Some(now);
        for peer in self.state.borrow().links.0.values() {
            if peer.version.get() >= METRICS_SINCE {
                peer.outbox.send(&ToWorker::Published { id, at });
            }
        }
    }

    pub(super) fn count_traffic(&self, message: &Announced) {
        let mut observed = self.observed.borrow_mut();
        observed.messages += 1;
        let times = match observed.messages {
            ..=COUNTED_ALL => 1,
            number if number % COUNTED_ONE_OF == 0 => COUNTED_ONE_OF,
            _ => return,
        };
        for channel in message.receivers.iter().take(COUNTED_RECEIVERS) {
            observed.talkers.count(*channel, message.outgoing.len(), times);
        }
    }

    /// Takes samples, for ever.
    pub async fn keep_samples(self: Rc<Self>) {
        let mut aged = Instant::now();
        loop {
            tokio::time::sleep(samples::EVERY).await;
            self.take_census(false).await;
            let mut observed = self.observed.borrow_mut();
            let total = observed.census.total();
            observed.samples.take(unix_ms(), total);
            if aged.elapsed() >= AGE {
                aged = Instant::now();
                observed.talkers.age();
                observed.messages = 0;
            }
        }
    }

    /// `Observe`.
    pub async fn observe(&self, peer: Rc<Peer>, req: u32, page: bool) {
        let text = if page {
            serde_json::to_string(&self.snapshot().await).unwrap_or_default()
        } else {
            self.exposition().await
        };
        peer.outbox.send(&ToWorker::Observation { req, text: text.into() });
    }

    /// Asks all workers what they have counted; `slow`: and for whom most waits.
    async fn take_census(&self, slow: bool) {
        let question = Rc::clone(&self.observed.borrow().question);
        {
            let state = self.state.borrow();
            let peers =
                || state.links.0.values().filter(|peer| peer.version.get() >= METRICS_SINCE);
            let req = question.ask(peers().map(|peer| peer.id));
            for peer in peers() {
                peer.outbox.send(&ToWorker::MetricsWanted { req, slow });
            }
        }
        // Who does not answer in time counts with what it told before.
        question.complete(PATIENCE).await;
    }

    /// Everything, in Prometheus' text format.
    async fn exposition(&self) -> String {
        self.take_census(false).await;
        self.look();
        let observed = self.observed.borrow();
        let mut out = Exposition::default();
        let sidecar = Exposition::label("sidecar", env!("CARGO_PKG_VERSION"));
        let mut modules: Vec<&str> =
            observed.census.workers().map(|worker| &worker.software[..]).collect();
        modules.sort_unstable();
        modules.dedup();
        for module in modules {
            out.number("bx_push_build_info", &[&Exposition::label("module", module), &sidecar], 1);
        }
        out.number("bx_push_link_up", &[], 1);
        observed.census.total().expose(&mut out, "");
        // Not before its numbers are in the sums, or these would seem to have gone back.
        let workers = observed.census.workers().filter(|worker| worker.counts()).count();
        out.number("bx_push_workers", &[], workers);
        for part in self.health.borrow().report(Instant::now(), self.started.elapsed()).parts {
            let label = Exposition::label("part", &part.name);
            out.number("bx_push_healthy", &[&label], u8::from(part.ok));
        }
        out.number("bx_push_sidecar_channels", &[], self.size().1);
        out.number("bx_push_sidecar_resident_memory_bytes", &[], resident_memory());
        out.number("bx_push_sidecar_link_queue_bytes", &[], self.queued());
        out.number("bx_push_sidecar_store_bytes", &[], self.store.bytes());
        out.number("bx_push_sidecar_store_dropped_total", &[], self.store.dropped());
        let started = unix_ms() as f64 / 1_000.0 - self.started.elapsed().as_secs_f64();
        out.number("bx_push_sidecar_start_time_seconds", &[], format_args!("{started:.0}"));
        out.number("bx_push_sidecar_warnings_total", &[], complaints().total);
        let times = self.store.command_times().unwrap_or_default();
        out.histogram("bx_push_redis_command_duration_seconds", &[], &times);
        out.finish()
    }

    /// Everything, for people.
    pub async fn snapshot(&self) -> Snapshot {
        self.take_census(true).await;
        let (others, _) = self.others(&[]).await;
        self.look();
        let now = Instant::now();
        let health = self.health.borrow().report(now, self.started.elapsed());
        let observed = self.observed.borrow();
        let total = observed.census.total();
        let (time, host) = (unix_ms(), host_name());
        let mut queues = by_label(&total, "bx_push_queue_bytes");
        queues.insert("sidecar".into(), self.queued() as u64);
        let latency = [
            ("delivery", Some(*total.span(Span::Delivery))),
            ("publish", Some(*total.span(Span::Publish))),
            ("redis", self.store.command_times()),
        ];
        let latency = latency
            .into_iter()
            .filter_map(|(name, histogram)| Some((name.to_owned(), latency_of(&histogram?)?)));
        Snapshot {
            link_up: true,
            time,
            health,
            connections: by_label(&total, "bx_push_connections"),
            deliveries: total.get(Number::Delivered),
            publishes: by_label(&total, "bx_push_publishes_total"),
            drops: by_label(&total, "bx_push_drops_total"),
            recoveries: by_label(&total, "bx_push_recoveries_total"),
            signature_failures: total.get(Number::SignatureFailures),
            queues,
            latency: latency.collect(),
            channels: self.size().1 as u64,
            memory: resident_memory(),
            workers: observed.census.workers().map(|worker| worker_of(worker, now)).collect(),
            hosts: hosts(&others, &host, time),
            slowest: slowest(&observed.census, time),
            top_channels: top_channels(&observed.talkers),
            errors: complaints().last.into(),
            history: observed.samples.all(),
            host,
        }
    }

    /// Bytes that wait for workers.
    fn queued(&self) -> usize {
        self.state.borrow().links.0.values().map(|peer| peer.outbox.bytes()).sum()
    }
}

/// The series of a metric by their labels' values, as `websocket protobuf`.
fn by_label(report: &Report, name: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for number in Number::ALL.into_iter().filter(|number| SERIES[*number as usize].name == name) {
        let values: Vec<&str> =
            SERIES[number as usize].labels.split('"').skip(1).step_by(2).collect();
        all.insert(values.join(" "), report.get(number));
    }
    all
}

fn latency_of(histogram: &Histogram) -> Option<Latency> {
    let quantile = |share| histogram.quantile(share);
    Some(Latency { count: histogram.count(), p50: quantile(0.5)?, p99: quantile(0.99)? })
}

fn worker_of(worker: &crate::census::Worker, now: Instant) -> Worker {
    let report = worker.last.clone().unwrap_or_default();
    Worker {
        pid: worker.pid,
        software: worker.software.clone(),
        seconds: now.duration_since(worker.since).as_secs(),
        websockets: report.get(Number::WebsocketsProtobuf) + report.get(Number::WebsocketsJson),
        polls: report.get(Number::PollsProtobuf) + report.get(Number::PollsJson),
        deliveries: report.get(Number::Delivered),
        waiting: report.sum("bx_push_queue_bytes"),
    }
}

/// What others have left in the store, host by host. `ours` is not told of again.
fn hosts(objects: &[Value], ours: &str, now: u64) -> Vec<Host> {
    let mut all: BTreeMap<String, Host> = BTreeMap::new();
    for object in objects {
        let number = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
        let id = object.get("processUniqueId").and_then(Value::as_str).unwrap_or_default();
        let name = id.rsplit_once('-').map_or(id, |(host, _)| host);
        if name == ours || name.is_empty() {
            continue;
        }
        let seconds = now.saturating_sub(number("date")) / 1_000;
        let host = all.entry(name.to_owned()).or_insert_with(|| Host {
            name: name.to_owned(),
            processes: 0,
            websockets: 0,
            polls: 0,
            seconds,
        });
        host.processes += 1;
        host.websockets += number("websockets");
        host.polls += number("pollings");
        host.seconds = host.seconds.min(seconds);
    }
    all.into_values().collect()
}

fn slowest(census: &Census, now: u64) -> Vec<Client> {
    let mut all: Vec<Client> = census
        .workers()
        .flat_map(|worker| worker.slow.iter().map(|slow| (worker.pid, slow)))
        .map(|(worker, slow)| Client {
            worker,
            channel: snapshot::shortened(&slow.channel),
            waiting: slow.bytes,
            seconds: now.saturating_sub(slow.opened / 1_000) / 1_000,
        })
        .collect();
    all.sort_by_key(|client| std::cmp::Reverse(client.waiting));
    all.truncate(TOLD);
    all
}

fn top_channels(talkers: &Talkers) -> Vec<Channel> {
    let top = talkers.top(TOLD).into_iter().map(|(key, traffic)| Channel {
        channel: snapshot::shortened(&key),
        messages: traffic.messages,
        bytes: traffic.bytes,
    });
    top.collect()
}

/// Memory of this process that is in use, bytes; 0 where the system does not tell.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
