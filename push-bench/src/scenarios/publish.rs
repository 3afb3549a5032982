//! `publish`: stored, with nobody listening, as fast as the answers come; then read back.

use std::collections::BTreeMap;

use push_protocol::Mid;

use super::Bench;
use super::tally::Tally;
use super::traffic;
use crate::engine::{Engine, SECOND};
use crate::error::Result;
use crate::fleet::{Mode, Observer};
use crate::ledger::Verdict;
use crate::options::Publish;
use crate::publishers::{Answer, Job};
use crate::report::Report;
use crate::stamp::Stamp;

/// The most that a returning client is sent of one channel (PROTOCOL.md, section 11).
const HISTORY: u32 = 100;

/// Publishes for some seconds.
pub fn publish(bench: &Bench, own: &Publish) -> Result<Report> {
    let what = format!(
        "{} bytes to {} channels in turn over {} connections, kept {} s, for {} s",
        bench.common.body, own.channels, bench.common.publishers, bench.common.expiry, own.duration
    );
    let mut report = bench.report("publish", what);
    // Every connection has channels of its own: number modulo connections.
    let connections = bench.common.publishers.max(1) as u32;
    let channels = (own.channels as u32).max(connections).next_multiple_of(connections);
    let mut engine = bench.engine(Mode::WebSocket, channels as usize, 0)?;
    let mut tally = Tally::new(bench.run, channels as usize, false);
    let mut counts = vec![0_u32; channels as usize];

    // Connections are made outside the measurement, each by a first publish.
    for stream in 1..=connections {
        send(bench, &mut engine, &mut tally, &mut counts, stream)?;
    }
    settle(bench, &mut engine, &mut tally)?;
    let warm = tally.answers.count();
    tally.answers = crate::latency::Latency::default();
    tally.answered.clear();

    let before = bench.usage();
    let began = bench.clock.now();
    let end = began + (own.duration * 1e9) as u64;
    for stream in 1..=connections {
        let first = if stream + connections <= channels { stream + connections } else { stream };
        send(bench, &mut engine, &mut tally, &mut counts, first)?;
    }
    while bench.clock.now() < end {
        engine.turn(end, &mut tally)?;
        for answer in std::mem::take(&mut tally.answered) {
            let next = answer.job.stream + connections;
            let next = if next > channels { next - channels } else { next };
            send(bench, &mut engine, &mut tally, &mut counts, next)?;
        }
        bench.check_time()?;
    }
    let seconds = (bench.clock.now() - began) as f64 / 1e9;
    let count = tally.answers.count();
    let cpu = bench.cpu_since(&before);
    settle(bench, &mut engine, &mut tally)?;
    report.add("published per second", count as f64 / seconds, "/s");
    report.add_latency("answer to the publisher", &tally.answers);
    report.add_cpu("publish", &cpu, count);

    let published = tally.answers.count() + warm;
    let failed = tally.ledger.close();
    report.verdict = Verdict {
        published: published - failed.refused,
        refused: failed.refused,
        remarks: failed.remarks,
        ..Verdict::default()
    };
    if bench.target.has_mids() && bench.common.expiry > 0 && failed.refused == 0 {
        let step = (channels as usize / own.sample.max(1)).max(1);
        let sample = (0..channels).step_by(step).take(own.sample);
        read_back(bench, &mut engine, &counts, sample, &mut report.verdict)?;
    }
    Ok(report)
}

fn send(
    bench: &Bench,
    engine: &mut Engine,
    tally: &mut Tally,
    counts: &mut [u32],
    stream: u32,
) -> Result<()> {
    let sequence = tally.ledger.publish(stream);
    counts[stream as usize - 1] = sequence;
    let due = bench.clock.now();
    engine.publish(Job { stream, sequence, due })
}

/// Waits for the answers that are still due.
fn settle(bench: &Bench, engine: &mut Engine, tally: &mut Tally) -> Result<()> {
    while engine.publishers.outstanding() > 0 {
        engine.turn(bench.clock.now() + SECOND, tally)?;
        bench.check_time()?;
    }
    Ok(())
}

/// What subscribers are sent of the past.
struct Reader {
    run: u32,
    got: BTreeMap<u32, Vec<u32>>,
    remarks: Vec<String>,
}

impl Observer for Reader {
    fn opened(&mut self, _: u32, _: u64, _: u64) {}

    fn message(&mut self, subscriber: u32, stamp: Stamp, _: u64) {
        if stamp.run == self.run && stamp.stream == subscriber + 1 {
            self.got.entry(subscriber).or_default().push(stamp.sequence);
        }
    }

    fn gone(&mut self, _: u32, why: Option<&str>) {
        self.remarks.extend(why.map(str::to_owned));
    }

    fn answered(&mut self, _: Answer) {}

    fn strangers(&mut self, _: u32) {}
}

/// Asks for everything on some channels: what was answered with 200 must be there, in order.
fn read_back(
    bench: &Bench,
    engine: &mut Engine,
    counts: &[u32],
    sample: impl Iterator<Item = u32>,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut reader = Reader { run: bench.run, got: BTreeMap::new(), remarks: Vec::new() };
    let mut wanted = BTreeMap::new();
    for subscriber in sample {
        let count = counts[subscriber as usize];
        let first = (count + 1).saturating_sub(HISTORY).max(1);
        if count > 0 {
            wanted.insert(subscriber, (first..=count).collect::<Vec<_>>());
        }
        engine.fleet.set_mid(subscriber, Mid::ZERO);
        engine.connect(subscriber)?;
    }
    let until = bench.clock.now() + 5 * SECOND;
    while reader.got != wanted && bench.clock.now() < until && reader.remarks.is_empty() {
        engine.turn(until, &mut reader)?;
    }
    for (subscriber, wanted) in &wanted {
        let got = reader.got.remove(subscriber).unwrap_or_default();
        let missing = wanted.iter().filter(|sequence| !got.contains(sequence));
        let missing = missing.count() as u64;
        verdict.expected += wanted.len() as u64;
        verdict.delivered += wanted.len() as u64 - missing;
        verdict.lost += missing;
        verdict.doubled += (got.len() as u64 + missing).saturating_sub(wanted.len() as u64);
        verdict.misordered += u64::from(!got.is_sorted());
    }
    for remark in reader.remarks {
        verdict.remark(format!("reading back: {remark}"));
    }
    let mut tally = Tally::new(bench.run, engine.fleet.len(), false);
    traffic::close_all(bench, engine, &mut tally)
}
