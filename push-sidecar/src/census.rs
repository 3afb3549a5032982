//! What workers have counted, added up so that no sum goes back when workers leave. Pure.
//!
//! Workers come and go with every reload of nginx, links break, this process is replaced: each
//! worker tells all it has counted since it started, and what it had told on earlier links, so that
//! everything is counted once here, or was by the sidecar before this one.

use std::collections::BTreeMap;
use std::time::Duration;

use push_link::{METRICS_SINCE, Slow};
use push_metrics::Report;
use tokio::time::Instant;

use crate::router::LinkId;

/// A worker whose link is gone is remembered this long: it may come back on another.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A worker process.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its process id.
    pub pid: u32,
    /// The module's version.
    pub software: String,
    /// What is spoken with it.
    pub version: u16,
    /// Its link, while it has one.
    pub link: Option<LinkId>,
    /// Since when it has, or has not.
    pub since: Instant,
    /// What it last told.
    pub last: Option<Report>,
    /// The clients that most waits for.
    pub slow: Vec<Slow>,
}

impl Worker {
    /// Whether its numbers are in the sums: it has told some, or never will.
    pub fn counts(&self) -> bool {
        self.last.is_some() || self.version < METRICS_SINCE
    }
}

/// The workers of this host.
#[derive(Debug, Default)]
pub struct Census {
    workers: BTreeMap<u64, Worker>,
    counted: Report,
}

impl Census {
    /// A worker has linked; `instance` is what names its process.
    pub fn linked(
        &mut self,
        instance: u64,
        link: LinkId,
        (pid, software, version): (u32, String, u16),
        now: Instant,
    ) {
        self.workers.retain(|_, worker| worker.link.is_some() || now < worker.since + REMEMBERED);
        let last = self.workers.remove(&instance).and_then(|worker| worker.last);
        let worker =
            Worker { pid, software, version, link: Some(link), since: now, last, slow: Vec::new() };
        self.workers.insert(instance, worker);
    }

    /// A link is gone.
    pub fn unlinked(&mut self, link: LinkId, now: Instant) {
        for worker in self.workers.values_mut().filter(|worker| worker.link == Some(link)) {
            worker.link = None;
            worker.since = now;
            worker.slow.clear();
        }
    }

    /// A worker tells what it has counted, and what of it had been told on earlier links.
    pub fn told(&mut self, instance: u64, now: Report, before: &Report, slow: Vec<Slow>) {
        let Some(worker) = self.workers.get_mut(&instance) else { return };
        let base = worker.last.as_ref().unwrap_or(before);
        self.counted.add(&now.since(base).only_counted());
        worker.last = Some(now);
        worker.slow = slow;
    }

    /// The workers that are linked.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(|worker| worker.link.is_some())
    }

    /// Everything that all have counted, with what those that are linked hold.
    pub fn total(&self) -> Report {
        let mut total = self.counted.clone();
        for report in self.workers().filter_map(|worker| worker.last.as_ref()) {
            // What has happened is in the sum already.
            total.add(&report.since(report));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use push_metrics::Number;

    use super::*;

    fn report(delivered: u64, channels: u64) -> Report {
        let mut report = Report::default();
        report.set(Number::Delivered, delivered);
        report.set(Number::Channels, channels);
        report
    }

    fn sums(census: &Census) -> (u64, u64) {
        let total = census.total();
        (total.get(Number::Delivered), total.get(Number::Channels))
    }

    #[test]
    fn sums_do_not_go_back_when_workers_leave() {
        let (mut census, now, none) = (Census::default(), Instant::now(), Report::default());
        let worker = || (1, "module".to_owned(), 2);
        census.linked(10, 1, worker(), now);
        census.linked(20, 2, worker(), now);
        census.told(10, report(5, 2), &none, Vec::new());
        census.told(20, report(3, 1), &none, Vec::new());
        assert_eq!(sums(&census), (8, 3));
        assert!(census.workers().all(Worker::counts));
        census.unlinked(1, now);
        assert_eq!(sums(&census), (8, 1));
        // It comes back on another link, and another worker comes in its place.
        census.linked(10, 3, worker(), now);
        census.told(10, report(6, 2), &report(5, 2), Vec::new());
        census.told(10, report(9, 2), &report(5, 2), Vec::new());
        assert_eq!(sums(&census), (12, 3));
        census.unlinked(3, now);
        census.linked(30, 4, worker(), now + 2 * REMEMBERED);
        census.told(30, report(1, 7), &none, Vec::new());
        assert_eq!(sums(&census), (13, 8));
        assert_eq!(census.workers.len(), 2, "nobody is remembered for ever");
    }

    #[test]
    fn what_an_earlier_sidecar_was_told_is_not_told_twice() {
        let mut census = Census::default();
        census.linked(10, 1, (1, String::new(), 2), Instant::now());
        assert_eq!(census.workers().filter(|worker| worker.counts()).count(), 0);
        census.told(10, report(1_000, 4), &report(990, 4), Vec::new());
        assert_eq!(sums(&census), (10, 4));
    }
}
