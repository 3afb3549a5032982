//! What a scenario found out: as a table for people, as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::latency::Latency;
use crate::ledger::Verdict;
use crate::processes::{By, Cpu, Memory};

/// A measured figure.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Metric {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// All that was found out on one target.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: &'static str,
    /// The target's name.
    pub target: String,
    /// What was run, in words.
    pub what: String,
    /// By which it can be repeated.
    pub seed: u64,
    /// In the order to show them.
    pub metrics: Vec<Metric>,
    /// Whether everything came, once, in order.
    pub verdict: Verdict,
}

impl Report {
    /// Without metrics yet.
    pub fn new(scenario: &'static str, target: &str, seed: u64, what: String) -> Self {
        Self {
            scenario,
            target: target.to_owned(),
            what,
            seed,
            metrics: Vec::new(),
            verdict: Verdict::default(),
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        self.metrics.push(Metric { name, value, unit });
    }

    /// Adds the usual quantiles of a distribution, if it has anything.
    pub fn add_latency(&mut self, name: &str, latency: &Latency) {
        if latency.count() == 0 {
            return;
        }
        self.add(format!("{name}, p50"), latency.quantile(0.5), "ms");
        self.add(format!("{name}, p99"), latency.quantile(0.99), "ms");
        self.add(format!("{name}, p99.9"), latency.quantile(0.999), "ms");
        self.add(format!("{name}, max"), latency.max(), "ms");
    }

    /// Adds CPU time divided by how often something was done, per program and in all.
    pub fn add_cpu(&mut self, per: &str, cpu: &By<Cpu>, times: u64) {
        if cpu.is_empty() || times == 0 {
            return;
        }
        let each = |nanoseconds: f64| nanoseconds / times as f64 / 1000.0;
        let mut sum = 0.0;
        for (program, cpu) in cpu {
            sum += cpu.total();
            let name = format!("CPU per {per}, {program}");
            self.add(format!("{name}, user"), each(cpu.user), "us");
            self.add(format!("{name}, system"), each(cpu.system), "us");
            self.add(name, each(cpu.total()), "us");
        }
        self.add(format!("CPU per {per}, all"), each(sum), "us");
    }

    /// Adds memory gained, divided by connections, per program and in all but the store's own.
    pub fn add_memory(&mut self, name: &str, gained: &By<Memory>, connections: usize) {
        if gained.is_empty() || connections == 0 {
            return;
        }
        let each = |bytes: f64| bytes / connections as f64;
        let mut sum = 0.0;
        for (program, memory) in gained {
            if !program.starts_with("redis") {
                sum += memory.pss;
            }
            self.add(format!("{name}, {program}, PSS"), each(memory.pss), "B");
            self.add(format!("{name}, {program}, private"), each(memory.private), "B");
        }
        self.add(format!("{name}, all but redis, PSS"), each(sum), "B");
    }

    fn find(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|metric| metric.name == name);
        metric.map(|metric| metric.value)
    }

    /// The table for a terminal; with the figures of another target beside them, and ratios.
    pub fn table(&self, other: Option<&Self>) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(format!("{}: {} (seed {})", self.scenario, self.what, self.seed));
        let mut names: Vec<(&str, &str)> = Vec::new();
        for report in [Some(self), other].into_iter().flatten() {
            for metric in &report.metrics {
                if !names.iter().any(|(name, _)| *name == metric.name) {
                    names.push((&metric.name, metric.unit));
                }
            }
        }
        let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let second = other.map_or("", |other| &other.target);
        let ratio = if other.is_some() { "ratio" } else { "" };
        line(format!("  {:width$} {:>12} {second:>12} {:4} {ratio:>7}", "", self.target, ""));
        for (name, unit) in names {
            let (a, b) = (self.find(name), other.and_then(|other| other.find(name)));
            let show = |value: Option<f64>| value.map_or(String::new(), number);
            let ratio = match (a, b) {
                (Some(a), Some(b)) if b != 0.0 => format!("{:.2}", a / b),
                _ => String::new(),
            };
            let (a, b) = (show(a), show(b));
            line(format!("  {name:width$} {a:>12} {b:>12} {unit:4} {ratio:>7}"));
        }
        for report in [Some(self), other].into_iter().flatten() {
            line(format!("  {}: {}", report.target, report.verdict.words()));
        }
        out
    }
}

impl Verdict {
    /// In a line or some.
    pub fn words(&self) -> String {
        let mut out = String::from(if self.is_good() { "good" } else { "BAD" });
        let _ = write!(
            out,
            "; {} published, {} of {} delivered",
            number(self.published as f64),
            number(self.delivered as f64),
            number(self.expected as f64),
        );
        for (count, name) in [
            (self.lost, "lost"),
            (self.doubled, "doubled"),
            (self.misordered, "out of order"),
            (self.misdirected, "misdirected"),
            (self.refused, "not taken"),
            (self.broken, "connections broken"),
        ] {
            let _ = write!(out, ", {count} {name}");
        }
        for remark in &self.remarks {
            let _ = write!(out, "\n    {remark}");
        }
        out
    }
}

/// With thousands set apart, and three digits that matter.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    if value.fract() == 0.0 || decimals == 0 {
        let digits = format!("{:.0}", value.abs());
        let mut out = String::from(if value < 0.0 { "-" } else { "" });
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.1234, "0.123"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-4321.0, "-4,321"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn two_targets_stand_side_by_side() {
        let report = |name: &str, value| {
            let mut report = Report::new("fanout", name, 1, "2 subscribers".into());
            report.add("rate", value, "/s");
            report
        };
        let mut other = report("floor", 200.0);
        other.add("only there", 1.0, "");
        let table = report("push", 100.0).table(Some(&other));
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["push", "floor", "ratio"]);
        assert_eq!(lines[2], ["rate", "100", "200", "/s", "0.50"]);
        assert_eq!(lines[3], ["only", "there", "1"]);
        assert!(lines[4].starts_with(&["push:", "good;"]), "{table}");
    }

    #[test]
    fn cpu_and_memory_are_summed_without_the_store() {
        let mut report = Report::new("idle", "push", 1, String::new());
        let cpu = |user| Cpu { user, system: 1000.0 };
        let all = [("nginx".into(), cpu(3000.0)), ("redis-server".into(), cpu(1000.0))];
        report.add_cpu("handshake", &all.into(), 2);
        assert_eq!(report.find("CPU per handshake, all"), Some(3.0));
        let memory = |pss| Memory { pss, private: 1.0 };
        let all = [("nginx".into(), memory(3000.0)), ("redis-server".into(), memory(1000.0))];
        report.add_memory("memory", &all.into(), 2);
        assert_eq!(report.find("memory, all but redis, PSS"), Some(1500.0));
    }
}
