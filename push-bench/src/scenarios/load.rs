//! `fanout`, `unicast`, `longpoll` and `mixed`: the same traffic in different shares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Bench;
use super::tally::Tally;
use super::traffic::{self, Shared, Traffic};
use crate::error::{Error, Result};
use crate::fleet::Mode;
use crate::options::{Fanout, Mixed, Unicast};
use crate::report::Report;

/// Messages to everybody.
pub fn fanout(bench: &Bench, own: &Fanout) -> Result<Report> {
    let what = format!(
        "{} messages of {} bytes to {} subscribers, {}",
        own.messages,
        bench.common.body,
        own.connections,
        match own.rate {
            rate if rate > 0.0 => format!("{rate} a second"),
            _ => "one at a time".into(),
        }
    );
    let mut report = bench.report("fanout", what);
    let mut engine = bench.engine(Mode::WebSocket, own.connections, 0)?;
    let mut tally = Tally::new(bench.run, own.connections, false);
    traffic::open(bench, &mut engine, &mut tally, 0..own.connections as u32)?;
    traffic::probe(bench, &mut engine, &mut tally)?;

    // The bystanders have a thread, or they would wait for the fan-out's own reading.
    let mut others = bench.engine(Mode::WebSocket, own.bystanders, 1)?;
    let mut aside = Tally::new(bench.run, own.bystanders, false);
    traffic::open(bench, &mut others, &mut aside, 0..own.bystanders as u32)?;
    if own.bystanders > 0 {
        traffic::probe(bench, &mut others, &mut aside)?;
    }
    let stop = AtomicBool::new(own.bystanders == 0);
    let shared = match own.rate {
        rate if rate > 0.0 => Shared::Rate(own.messages, rate),
        _ => Shared::OneByOne(own.messages),
    };
    let before = bench.usage();
    let (seconds, cpu) = thread::scope(|scope| {
        let bystanders = scope.spawn(|| {
            let traffic = Traffic {
                own_rate: if own.bystanders > 0 { own.bystander_rate } else { 0.0 },
                shared: Shared::None,
                churn: 0.0,
                duration: bench.common.time_limit as f64,
                stop: Some(&stop),
            };
            traffic::send(bench, &mut others, &mut aside, traffic)
        });
        let traffic = Traffic { own_rate: 0.0, shared, churn: 0.0, duration: 0.0, stop: None };
        let sent = traffic::send(bench, &mut engine, &mut tally, traffic);
        let cpu = bench.cpu_since(&before);
        stop.store(true, Ordering::Relaxed);
        let bystanders = bystanders.join();
        bystanders.map_err(|_| Error::Server("the bystanders' thread panicked".into()))??;
        sent.map(|seconds| (seconds, cpu))
    })?;
    traffic::aftermath(bench, &mut engine, &mut tally)?;
    tally.finish();
    let deliveries = tally.ledger.delivered();
    report.add("deliveries per second", deliveries as f64 / seconds, "/s");
    report.add_latency("latency of a delivery", &tally.shared);
    report.add_latency("first delivery of a message", &tally.first);
    report.add_latency("last delivery of a message", &tally.last);
    report.add_latency("meanwhile on other channels", &aside.own);
    report.add_cpu("delivery", &cpu, deliveries + aside.ledger.delivered());
    traffic::close_all(bench, &mut engine, &mut tally)?;
    report.verdict = tally.ledger.close();
    report.verdict.merge(aside.ledger.close());
    Ok(report)
}

/// Single messages to WebSockets or to long polls.
pub fn unicast(bench: &Bench, own: &Unicast, mode: Mode) -> Result<Report> {
    let (name, who) = match mode {
        Mode::WebSocket | Mode::Hold => ("unicast", "subscribers"),
        Mode::Poll => ("longpoll", "long polls"),
    };
    let what = format!(
        "{} messages of {} bytes a second to single ones of {} {who}, for {} s",
        own.rate, bench.common.body, own.connections, own.duration
    );
    if mode == Mode::Poll && !bench.target.has_history() {
        return Err(Error::Usage(
            "longpoll wants a target that takes the id of the last message".into(),
        ));
    }
    let traffic = Traffic {
        own_rate: own.rate,
        shared: Shared::None,
        churn: 0.0,
        duration: own.duration,
        stop: None,
    };
    run(bench, bench.report(name, what), mode, own.connections, traffic)
}

/// A portal's day.
pub fn mixed(bench: &Bench, own: &Mixed) -> Result<Report> {
    let what = format!(
        "{} subscribers, {} single messages and {} to all a second, {} % churn a minute, for {} s",
        own.connections,
        own.rate,
        own.shared_rate,
        own.churn * 100.0,
        own.duration
    );
    if own.churn > 0.0 && !bench.target.has_history() {
        return Err(Error::Usage(
            "churn wants a target that takes the id of the last message; give --churn 0".into(),
        ));
    }
    let traffic = Traffic {
        own_rate: own.rate,
        shared: Shared::Rate((own.shared_rate * own.duration) as u32, own.shared_rate),
        churn: own.churn * own.connections as f64 / 60.0,
        duration: own.duration,
        stop: None,
    };
    let report = bench.report("mixed", what);
    run(bench, report, Mode::WebSocket, own.connections, traffic)
}

fn run(
    bench: &Bench,
    mut report: Report,
    mode: Mode,
    connections: usize,
    traffic: Traffic<'_>,
) -> Result<Report> {
    let mut engine = bench.engine(mode, connections, 0)?;
    // A poll is away between an answer and the next request: that is part of its latency.
    let returns = mode == Mode::WebSocket;
    let mut tally = Tally::new(bench.run, connections, returns);
    traffic::open(bench, &mut engine, &mut tally, 0..connections as u32)?;
    traffic::probe(bench, &mut engine, &mut tally)?;
    let opened = tally.handshakes_done();
    let before = bench.usage();
    let seconds = traffic::send(bench, &mut engine, &mut tally, traffic)?;
    let cpu = bench.cpu_since(&before);
    let returned = tally.handshakes_done() - opened;
    traffic::aftermath(bench, &mut engine, &mut tally)?;
    tally.finish();
    let sending = seconds.min(traffic.duration);
    report.add("published per second", tally.answers.count() as f64 / sending, "/s");
    report.add_latency("latency of single messages", &tally.own);
    if !matches!(traffic.shared, Shared::None) {
        report.add_latency("latency of messages to all", &tally.shared);
        report.add_latency("last delivery of a message to all", &tally.last);
    }
    report.add_latency("answer to the publisher", &tally.answers);
    report.add("publishes written late, p99", tally.lag.quantile(0.99), "ms");
    if returned > 0 {
        report.add("clients that left and returned", returned as f64, "");
        report.add("messages recovered by these", tally.recovered as f64, "");
    }
    let busy: f64 = cpu.values().map(|cpu| cpu.total()).sum();
    if matches!(traffic.shared, Shared::None) {
        report.add_cpu("message", &cpu, tally.answers.count());
    } else {
        report.add_cpu("delivery", &cpu, tally.ledger.delivered());
    }
    if !cpu.is_empty() {
        report.add("share of a core", busy / seconds / 1e7, "%");
    }
    traffic::close_all(bench, &mut engine, &mut tally)?;
    report.verdict = tally.ledger.close();
    Ok(report)
}
