//! `idle` and `handshake`: what connections cost, to have and to make.

use super::Bench;
use super::tally::Tally;
use super::traffic;
use crate::error::Result;
use crate::fleet::Mode;
use crate::options::{Handshake, Idle};
use crate::processes::{By, Memory};
use crate::report::Report;

fn mode(bench: &Bench) -> Mode {
    if bench.target.hold { Mode::Hold } else { Mode::WebSocket }
}

/// What is opened, in words.
fn kind(bench: &Bench) -> String {
    let tls = if bench.target.subscribe.endpoint.tls { " over TLS" } else { "" };
    format!("WebSockets on three channels{tls}")
}

/// Many connections that do nothing.
pub fn idle(bench: &Bench, own: &Idle) -> Result<Report> {
    let what = format!("{} {}", own.connections, kind(bench));
    let mut report = bench.report("idle", what);
    let settle = (own.settle * 1e9) as u64;
    let mut engine = bench.engine(mode(bench), own.connections, 0)?;
    let mut tally = Tally::new(bench.run, own.connections, false);
    let empty = bench.processes.memory();
    for (program, memory) in &empty {
        report.add(format!("memory before, {program}, PSS"), memory.pss / 1e6, "MB");
    }
    let mut last = empty.clone();
    let mut opened = 0;
    for step in 1..=own.steps.max(1) {
        let count = own.connections * step / own.steps.max(1);
        let before = bench.usage();
        let seconds = traffic::open(bench, &mut engine, &mut tally, opened as u32..count as u32)?;
        traffic::rest(bench, &mut engine, &mut tally, settle)?;
        let now = bench.processes.memory();
        if step < own.steps {
            let name = format!("memory each, connections {opened} to {count}");
            add_sum(&mut report, &name, &gained(&now, &last), count - opened);
        } else {
            report.add_memory("memory each", &gained(&now, &empty), count);
            report.add("handshakes per second", (count - opened) as f64 / seconds, "/s");
            report.add_cpu("handshake", &bench.cpu_since(&before), (count - opened) as u64);
        }
        (last, opened) = (now, count);
    }
    report.add_latency("handshake", &tally.handshakes);

    // What is freed may stay with the process, if the next connections use it.
    traffic::close_all(bench, &mut engine, &mut tally)?;
    traffic::rest(bench, &mut engine, &mut tally, settle)?;
    let left = gained(&bench.processes.memory(), &empty);
    add_sum(&mut report, "memory each kept when all have left", &left, opened);
    if !own.once {
        traffic::open(bench, &mut engine, &mut tally, 0..opened as u32)?;
        traffic::rest(bench, &mut engine, &mut tally, settle)?;
        let again = gained(&bench.processes.memory(), &empty);
        add_sum(&mut report, "memory each when all are back", &again, opened);
        traffic::close_all(bench, &mut engine, &mut tally)?;
    }
    report.verdict = tally.ledger.close();
    Ok(report)
}

fn gained(now: &By<Memory>, before: &By<Memory>) -> By<Memory> {
    let gained = |(name, now): (&String, &Memory)| {
        let before = before.get(name).copied().unwrap_or_default();
        let memory = Memory { pss: now.pss - before.pss, private: now.private - before.private };
        (name.clone(), memory)
    };
    now.iter().map(gained).collect()
}

/// One line: all programs but the store's own.
fn add_sum(report: &mut Report, name: &str, gained: &By<Memory>, connections: usize) {
    if gained.is_empty() || connections == 0 {
        return;
    }
    let ours = gained.iter().filter(|(program, _)| !program.starts_with("redis"));
    let sum: f64 = ours.map(|(_, memory)| memory.pss).sum();
    report.add(name, sum / connections as f64, "B");
}

/// Connections made and closed.
pub fn handshake(bench: &Bench, own: &Handshake) -> Result<Report> {
    let what = format!(
        "{} rounds of {} {}, {} at a time",
        own.rounds,
        own.connections,
        kind(bench),
        bench.common.window
    );
    let mut report = bench.report("handshake", what);
    let mut engine = bench.engine(mode(bench), own.connections, 0)?;
    let mut tally = Tally::new(bench.run, own.connections, false);
    let mut seconds = 0.0;
    let (mut opening, mut closing) = (By::new(), By::new());
    for _ in 0..own.rounds.max(1) {
        let before = bench.usage();
        seconds += traffic::open(bench, &mut engine, &mut tally, 0..own.connections as u32)?;
        // The subscriptions reach the sidecar a moment later.
        traffic::rest(bench, &mut engine, &mut tally, crate::engine::SECOND / 5)?;
        add(&mut opening, bench.cpu_since(&before));
        let before = bench.usage();
        traffic::close_all(bench, &mut engine, &mut tally)?;
        traffic::rest(bench, &mut engine, &mut tally, crate::engine::SECOND / 5)?;
        add(&mut closing, bench.cpu_since(&before));
    }
    let count = tally.handshakes_done();
    report.add("handshakes per second", count as f64 / seconds, "/s");
    report.add_latency("handshake", &tally.handshakes);
    report.add_cpu("handshake", &opening, count);
    report.add_cpu("closing", &closing, count);
    report.verdict = tally.ledger.close();
    Ok(report)
}

fn add(sum: &mut By<crate::processes::Cpu>, more: By<crate::processes::Cpu>) {
    for (program, cpu) in more {
        let sum = sum.entry(program).or_default();
        sum.user += cpu.user;
        sum.system += cpu.system;
    }
}
