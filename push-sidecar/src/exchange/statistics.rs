//! The statistics of the servers (PROTOCOL.md, section 8.3): one object a worker. Workers are asked
//! for what they hold when somebody wants to know; what they publish is counted here.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chrono::{Local, NaiveDate};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use push_link::ToWorker;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::roll_call::RollCall;
use super::{Exchange, Peer};
use crate::router::LinkId;
use crate::store::{Store, is_over};
use crate::surroundings::unix_ms;

/// How often statistics are left in the store.
const EVERY: Duration = Duration::from_secs(60);
/// How long a worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a new link statistics are left in the store.
const GATHER: Duration = Duration::from_millis(500);
/// Labels counted by themselves; clients choose them, so there must be an end. What comes beyond
/// counts as `unknown`.
const MAX_LABELS: usize = 256;

/// What a worker holds.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// WebSockets that are open.
    pub websockets: u32,
    /// Long polls that wait.
    pub polls: u32,
    /// Different private ids with a connection.
    pub channels: u32,
    /// `maxPayload`, `maxConnPerChannel`, `maxMessagesPerRequest`, `maxChannelsPerRequest`.
    pub limits: [u64; 4],
}

/// Counters of the links, and answers that are waited for.
#[derive(Default)]
pub(super) struct Statistics {
    links: HashMap<LinkId, Counters, RandomState>,
    /// The question under way, and what has come.
    question: Rc<RollCall>,
    reports: HashMap<LinkId, Report, RandomState>,
    new_link: Rc<Notify>,
    day: Option<NaiveDate>,
}

#[derive(Default)]
struct Counters {
    pid: u32,
    requests: BTreeMap<&'static str, u64>,
    messages: BTreeMap<String, u64>,
}

impl Statistics {
    /// Daily counters begin anew at local midnight.
    fn today(&mut self) {
        let day = Local::now().date_naive();
        if self.day.replace(day).is_some_and(|before| before != day) {
            for counters in self.links.values_mut() {
                counters.requests.clear();
                counters.messages.clear();
            }
        }
    }

    /// The links with the process ids of their workers.
    pub(super) fn pids(&self) -> impl Iterator<Item = (LinkId, u32)> {
        self.links.iter().map(|(link, counters)| (*link, counters.pid))
    }
}

impl<S: Store + 'static> Exchange<S> {
    /// A link's worker, by its process id.
    pub fn name_link(&self, link: LinkId, pid: u32) {
        let counters = Counters { pid, ..Counters::default() };
        let mut statistics = self.statistics.borrow_mut();
        statistics.links.insert(link, counters);
        statistics.new_link.notify_one();
    }

    pub(super) fn forget_statistics(&self, link: LinkId) {
        let mut statistics = self.statistics.borrow_mut();
        statistics.links.remove(&link);
        statistics.reports.remove(&link);
        statistics.question.heard(link);
    }

    /// A publish was stored; `counted` as there: only requests in binary form count as requests.
    pub fn count_publish(&self, link: LinkId, counted: bool, labels: Vec<String>) {
        let mut statistics = self.statistics.borrow_mut();
        statistics.today();
        let Some(counters) = statistics.links.get_mut(&link) else { return };
        if counted {
            *counters.requests.entry("incomingMessages").or_default() += 1;
        }
        for label in labels {
            let known = &mut counters.messages;
            if let Some(count) = known.get_mut(&label) {
                *count += 1;
            } else {
                let room = known.len() < MAX_LABELS;
                let label = if room { label } else { "unknown".to_owned() };
                *known.entry(label).or_default() += 1;
            }
        }
    }

    /// Any other request that counts.
    pub fn count_request(&self, link: LinkId, command: &'static str) {
        let mut statistics = self.statistics.borrow_mut();
        statistics.today();
        if let Some(counters) = statistics.links.get_mut(&link) {
            *counters.requests.entry(command).or_default() += 1;
        }
    }

    /// `Report`; whichever question it answers, it is how things stand now.
    pub fn reported(&self, link: LinkId, report: Report) {
        let mut statistics = self.statistics.borrow_mut();
        statistics.reports.insert(link, report);
        statistics.question.heard(link);
    }

    /// `ServerStats`.
    pub async fn server_stats(&self, peer: Rc<Peer>, req: u32) {
        let mut all: Vec<Value> = Vec::new();
        let ours = self.gather().await;
        let (others, _) = self.others(&ours).await;
        all.extend(ours.into_iter().map(|(_, object)| object));
        all.extend(others);
        let json = Value::Array(all).to_string().into();
        peer.outbox.send(&ToWorker::ServerStatsAnswer { req, json });
    }

    /// Leaves this host's statistics in the store, for ever.
    pub async fn keep_statistics(self: Rc<Self>) {
        let new_link = Rc::clone(&self.statistics.borrow().new_link);
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(EVERY) => {}
                // The others of an nginx that starts come at the same time.
                () = new_link.notified() => tokio::time::sleep(GATHER).await,
            }
            let ours = self.gather().await;
            let (_, over) = self.others(&ours).await;
            let ours = ours.into_iter().map(|(name, object)| (name, object.to_string())).collect();
            if let Err(error) = self.store.leave_statistics(ours, over).await {
                tracing::debug!(%error, "statistics cannot be left in the store");
            }
        }
    }

    /// This host's workers: names and objects.
    async fn gather(&self) -> Vec<(String, Value)> {
        let question = {
            let mut statistics = self.statistics.borrow_mut();
            statistics.today();
            let state = self.state.borrow();
            let req = statistics.question.ask(state.links.0.keys().copied());
            for peer in state.links.0.values() {
                peer.outbox.send(&ToWorker::ReportWanted { req });
            }
            Rc::clone(&statistics.question)
        };
        // Who does not answer in time is left out.
        question.complete(PATIENCE).await;
        let statistics = self.statistics.borrow();
        let host = host_name();
        let date = unix_ms();
        let mut ours: Vec<(String, Value)> = statistics
            .links
            .iter()
            .filter_map(|(link, counters)| {
                let report = statistics.reports.get(link)?;
                let name = format!("{host}-{}", counters.pid);
                Some((name.clone(), object(&name, date, counters, report)))
            })
            .collect();
        ours.sort_by(|a, b| a.0.cmp(&b.0));
        ours
    }

    /// What the other processes of the store left, and the names of those that are over.
    pub(super) async fn others(&self, ours: &[(String, Value)]) -> (Vec<Value>, Vec<String>) {
        let left = match self.store.statistics().await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(%error, "statistics cannot be read from the store");
                Vec::new()
            }
        };
        let now = unix_ms();
        let (mut others, mut over) = (Vec::new(), Vec::new());
        for (name, json) in left {
            if ours.iter().any(|(our, _)| *our == name) {
                continue;
            }
            let object = serde_json::from_slice::<Value>(&json).ok();
            let date = object.as_ref().and_then(|object| object.get("date")?.as_u64());
            match (object, date) {
                (Some(object), Some(date)) if !is_over(date, now) => others.push(object),
                _ => over.push(name),
            }
        }
        (others, over)
    }
}

fn object(name: &str, date: u64, counters: &Counters, report: &Report) -> Value {
    let [max_payload, max_connections, max_messages, max_channels] = report.limits;
    json!({
        "pid": counters.pid,
        "date": date,
        "processUniqueId": name,
        "channels": report.channels,
        "limits": {
            "maxPayload": max_payload,
            "maxConnPerChannel": max_connections,
            "maxMessagesPerRequest": max_messages,
            "maxChannelsPerRequest": max_channels,
        },
        "clusterMode": true,
        "websockets": report.websockets,
        "pollings": report.polls,
        "daily": { "requests": counters.requests, "messages": counters.messages },
    })
}

pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
