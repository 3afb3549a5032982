//! `reconnect`: everybody is gone at once and returns with the id of its last message.

use super::Bench;
use super::tally::Tally;
use super::traffic;
use crate::engine::SECOND;
use crate::error::{Error, Result};
use crate::fleet::{Mode, Observer};
use crate::latency::Latency;
use crate::options::Reconnect;
use crate::population::Random;
use crate::publishers::{Answer, Job};
use crate::report::Report;
use crate::stamp::{SHARED, Stamp};

/// A tally that also notes when a client has everything again.
struct Returning {
    tally: Tally,
    began: Vec<u64>,
    complete: Vec<bool>,
    count: usize,
    took: Latency,
}

impl Returning {
    fn check(&mut self, subscriber: u32, at: u64) {
        let index = subscriber as usize;
        if !self.complete[index] && self.tally.ledger.missing(subscriber) == 0 {
            self.complete[index] = true;
            self.count += 1;
            self.took.record(at - self.began[index]);
        }
    }
}

impl Observer for Returning {
    fn opened(&mut self, subscriber: u32, took: u64, at: u64) {
        self.tally.opened(subscriber, took, at);
        self.began[subscriber as usize] = at - took;
        self.check(subscriber, at);
    }

    fn message(&mut self, subscriber: u32, stamp: Stamp, at: u64) {
        self.tally.message(subscriber, stamp, at);
        self.check(subscriber, at);
    }

    fn gone(&mut self, subscriber: u32, why: Option<&str>) {
        self.tally.gone(subscriber, why);
    }

    fn answered(&mut self, answer: Answer) {
        self.tally.answered(answer);
    }

    fn strangers(&mut self, count: u32) {
        self.tally.strangers(count);
    }
}

/// Everybody leaves, messages come, everybody returns.
pub fn reconnect(bench: &Bench, own: &Reconnect) -> Result<Report> {
    if !bench.target.has_history() {
        return Err(Error::Usage(
            "reconnect wants a target that takes the id of the last message".into(),
        ));
    }
    let everybody = own.connections;
    let single = (own.own * everybody as f64) as u32;
    let what = format!(
        "{everybody} clients return, {} at a time; {} messages to all and {single} single ones meanwhile",
        bench.common.window, own.shared
    );
    let mut report = bench.report("reconnect", what);
    let mut engine = bench.engine(Mode::WebSocket, everybody, 0)?;
    let mut tally = Tally::new(bench.run, everybody, true);
    traffic::open(bench, &mut engine, &mut tally, 0..everybody as u32)?;
    traffic::probe(bench, &mut engine, &mut tally)?;
    for subscriber in 0..everybody as u32 {
        engine.drop(subscriber);
    }
    // The server has to see that they are gone, or it would deliver into the void.
    traffic::rest(bench, &mut engine, &mut tally, SECOND)?;

    let mut random = Random::new(bench.seed);
    let shared = (0..own.shared).map(|_| SHARED);
    let singles = (0..single).map(|_| 1 + random.below(everybody) as u32);
    for stream in shared.chain(singles) {
        let (sequence, due) = (tally.ledger.publish(stream), bench.clock.now());
        engine.publish(Job { stream, sequence, due })?;
        while engine.publishers.outstanding() > 4 * bench.common.publishers.max(1) {
            engine.turn(bench.clock.now() + SECOND, &mut tally)?;
            bench.check_time()?;
        }
    }
    while engine.publishers.outstanding() > 0 {
        engine.turn(bench.clock.now() + SECOND, &mut tally)?;
        bench.check_time()?;
    }
    tally.answered.clear();
    tally.handshakes = Latency::default();

    let mut returning = Returning {
        tally,
        began: vec![0; everybody],
        complete: vec![false; everybody],
        count: 0,
        took: Latency::default(),
    };
    let before = bench.usage();
    let began = bench.clock.now();
    let (mut moved, mut seen) = (began, 0);
    let mut coming = 0..everybody as u32;
    while returning.count < everybody {
        while engine.fleet.opening() < bench.common.window {
            match coming.next() {
                Some(subscriber) => engine.connect(subscriber)?,
                None => break,
            }
        }
        engine.turn(bench.clock.now() + SECOND / 10, &mut returning)?;
        let now = bench.clock.now();
        if returning.count > seen {
            (moved, seen) = (now, returning.count);
        }
        if now > moved + 5 * SECOND {
            break;
        }
        bench.check_time()?;
    }
    let seconds = (moved - began) as f64 / 1e9;
    let cpu = bench.cpu_since(&before);
    let Returning { mut tally, took, count, .. } = returning;
    traffic::aftermath(bench, &mut engine, &mut tally)?;
    report.add("until all have everything", seconds, "s");
    report.add("clients per second", count as f64 / seconds, "/s");
    report.add_latency("until one has everything", &took);
    report.add_latency("handshake", &tally.handshakes);
    report.add_cpu("client", &cpu, everybody as u64);
    traffic::close_all(bench, &mut engine, &mut tally)?;
    report.verdict = tally.ledger.close();
    Ok(report)
}
