//! What works and what does not, by name and since when. Pure: time is passed in.

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How a part does at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The part's name; it stays the same.
    pub part: &'static str,
    /// What is wrong with it; `None`: nothing.
    pub problem: Option<String>,
    /// What to look at, or what it means while nothing is wrong.
    pub detail: String,
}

impl Condition {
    /// A part that works.
    pub fn works(part: &'static str, detail: impl Into<String>) -> Self {
        Self { part, problem: None, detail: detail.into() }
    }

    /// A part that does not, and what to do about it.
    pub fn fails(
        part: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { part, problem: Some(problem.into()), detail: remedy.into() }
    }
}

/// The parts, and since when each is as it is.
#[derive(Default)]
pub struct Health(Vec<(Condition, Instant)>);

impl Health {
    /// Takes over how the parts do now.
    pub fn update(&mut self, conditions: Vec<Condition>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        let since = |condition: &Condition| {
            let same = before.iter().find(|(old, _)| old.part == condition.part);
            let same = same.filter(|(old, _)| old.problem.is_some() == condition.problem.is_some());
            same.map_or(now, |(_, since)| *since)
        };
        self.0 =
            conditions.into_iter().map(|new| (since(&new), new)).map(|(s, c)| (c, s)).collect();
    }

    /// For a person at a terminal or a program.
    pub fn report(&self, now: Instant, uptime: Duration) -> Report {
        let parts = self.0.iter().map(|(condition, since)| Part {
            name: condition.part.to_owned(),
            ok: condition.problem.is_none(),
            seconds: now.duration_since(*since).as_secs(),
            problem: condition.problem.clone(),
            detail: condition.detail.clone(),
        });
        Report {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: uptime.as_secs(),
            parts: parts.collect(),
        }
    }

    /// One line for `systemctl status`.
    pub fn line(&self) -> String {
        let mut bad = self.0.iter().filter_map(|(condition, _)| {
            condition.problem.as_ref().map(|problem| format!("{}: {problem}", condition.part))
        });
        let Some(first) = bad.next() else { return "healthy".into() };
        bad.fold(format!("degraded: {first}"), |line, next| line + "; " + &next)
    }
}

/// What `push-sidecar health` shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The daemon's version.
    pub software: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: u64,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// One part of a [`Report`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Seconds since when that is so.
    pub seconds: u64,
    /// What is wrong.
    pub problem: Option<String>,
    /// More about it, or the remedy.
    pub detail: String,
}

impl Report {
    /// Whether everything works.
    pub fn is_healthy(&self) -> bool {
        self.parts.iter().all(|part| part.ok)
    }

    /// A line a part, the remedy below.
    pub fn table(&self) -> String {
        let state = if self.is_healthy() { "healthy" } else { "degraded" };
        let mut out = format!(
            "push-sidecar {} (pid {}, up {}): {state}\n",
            self.software,
            self.pid,
            duration(self.uptime)
        );
        for part in &self.parts {
            let (mark, text) = match &part.problem {
                None => ("ok  ", &part.detail),
                Some(problem) => ("FAIL", problem),
            };
            let since = duration(part.seconds);
            let _ = writeln!(out, "  {mark}  {:<20} {since:>8}  {text}", part.name);
            if part.problem.is_some() {
                let _ = writeln!(out, "        {:<20} {:>8}  -> {}", "", "", part.detail);
            }
        }
        out
    }
}

/// Seconds as a person reads them.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_name_and_since_when() {
        let start = Instant::now();
        let later = start + Duration::from_secs(150);
        let mut health = Health::default();
        health.update(vec![Condition::works("a", "fine"), Condition::works("b", "fine")], start);
        assert_eq!(health.line(), "healthy");
        health.update(
            vec![Condition::works("a", "fine"), Condition::fails("b", "gone", "look")],
            later,
        );
        assert_eq!(health.line(), "degraded: b: gone");
        let report = health.report(later + Duration::from_secs(1), Duration::from_secs(151));
        assert!(!report.is_healthy());
        assert_eq!(report.parts.iter().map(|part| part.seconds).collect::<Vec<_>>(), [151, 1]);
        let table = report.table();
        for line in [
            "up 2 min): degraded",
            "  ok    a                       2 min  fine",
            "  FAIL  b                         1 s  gone",
            "-> look",
        ] {
            assert!(table.contains(line), "{table}");
        }
        health.update(
            vec![Condition::fails("b", "gone for long", "look")],
            later + Duration::from_secs(9),
        );
        let report = health.report(later + Duration::from_secs(10), Duration::ZERO);
        assert_eq!(report.parts[0].seconds, 10, "another word for the same trouble");
    }
}
