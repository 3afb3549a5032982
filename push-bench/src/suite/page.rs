//! Tables in Markdown, and the page with markers that they are written into:
//!
//! ```text
//! <!-- measured: NAME -->
//! (replaced by every run)
//! <!-- end -->
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::figures::{Figures, Side, Spread};
use super::plan::{Budget, Measurement, Of};
use crate::error::{Error, Result};
use crate::report::number;

const END: &str = "<!-- end -->";

/// A page whose marked parts are replaced; everything else is left alone.
#[derive(Clone, Debug)]
pub struct Page {
    file: PathBuf,
    text: String,
}

impl Page {
    /// An error when a part of the plan has no place there.
    pub fn read(file: &Path, plan: &[Measurement]) -> Result<Self> {
        let at = || file.display().to_string();
        let text = fs::read_to_string(file).map_err(Error::io(at()))?;
        let page = Self { file: file.to_owned(), text };
        let names = plan.iter().map(|one| one.name).chain(["machine", "budgets"]);
        for name in names {
            if page.place(name).is_none() {
                let marker = marker(name);
                return Err(Error::Usage(format!("{}: wants {marker} … {END}", at())));
            }
        }
        Ok(page)
    }

    fn place(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let marker = marker(name);
        let start = self.text.find(&marker)? + marker.len();
        Some(start..start + self.text[start..].find(END)?)
    }

    /// Replaces a marked part.
    pub fn put(&mut self, name: &str, text: &str) {
        if let Some(place) = self.place(name) {
            self.text.replace_range(place, &format!("\n{}\n", text.trim_end()));
        }
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        fs::write(&self.file, &self.text).map_err(Error::io(self.file.display().to_string()))
    }
}

fn marker(name: &str) -> String {
    format!("<!-- measured: {name} -->")
}

/// A measurement's command and table.
pub fn measurement(measurement: &Measurement, figures: &Figures) -> String {
    let (subject, peer) = (measurement.subject, measurement.peer);
    let vs = peer.map_or(String::new(), |peer| format!(" --vs \"${}\"", peer.variable()));
    let mut out = format!(
        "{}\n\n    push-bench {} ${}{vs}\n\n",
        capital(&figures.what),
        measurement.arguments,
        subject.variable()
    );
    let theirs = peer.map_or("", |peer| peer.title());
    let _ = writeln!(out, "| | {} | {theirs} | ratio |", subject.title());
    out += "|---|---:|---:|---:|\n";
    for figure in figures.figures.iter().filter(|figure| is_told(&figure.name)) {
        let cell = |side| match figure.of(side) {
            Some(value) => format!("{} {}", spread(value), figure.unit),
            None => String::new(),
        };
        let ratio = figures.ratio(&figure.name, &figure.name).map_or(String::new(), spread);
        let (ours, theirs) = (cell(Side::Subject), cell(Side::Peer));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {ratio} |",
            figure.name,
            ours.trim_end(),
            theirs.trim_end()
        );
    }
    for complaint in &figures.complaints {
        let _ = writeln!(out, "\n**{complaint}**");
    }
    out
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// Parts of sums and outermost values are for a terminal.
fn is_told(name: &str) -> bool {
    [", user", ", system", ", private", ", max", ", p99.9"].iter().all(|end| !name.ends_with(end))
}

/// The median, and from what to what the rounds went.
fn spread(value: Spread) -> String {
    let (median, min, max) = (number(value.median), number(value.min), number(value.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// What a budget looked at, and whether it was met.
fn judge(budget: &Budget, figures: &Figures) -> Option<(Spread, String, bool)> {
    let (value, unit) = match budget.of {
        Of::Figure(name) => (figures.value(name, Side::Subject)?, figures.find(name)?.unit.clone()),
        Of::Ratio(ours, theirs) => (figures.ratio(ours, theirs)?, "x".to_owned()),
    };
    let met =
        if budget.at_least { value.median >= budget.bound } else { value.median <= budget.bound };
    Some((value, unit, met))
}

/// All budgets of a run.
pub fn budgets(results: &[(Measurement, Figures)], rounds: usize) -> String {
    let mut rows = vec![["budget".to_owned(), "bound".into(), "measured".into(), String::new()]];
    for (measurement, figures) in results {
        for budget in &measurement.budgets {
            let sign = if budget.at_least { "≥" } else { "≤" };
            let (value, unit, verdict) = match judge(budget, figures) {
                Some((value, unit, met)) => {
                    (spread(value), unit, if met { "pass" } else { "MISS" })
                }
                None => ("not measured".into(), String::new(), "MISS"),
            };
            rows.push([
                budget.what.to_owned(),
                format!("{sign} {} {unit}", number(budget.bound)).trim_end().to_owned(),
                format!("{value} {unit}").trim_end().to_owned(),
                verdict.to_owned(),
            ]);
        }
    }
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut out = line(&rows[0]);
    out += &line(&widths.map(|width| "-".repeat(width)));
    for row in &rows[1..] {
        out += &line(row);
    }
    let _ = writeln!(
        out,
        "\nMedians of at least {rounds} round{}; in parentheses the smallest and the largest.",
        if rounds == 1 { "" } else { "s" }
    );
    out
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;
    use serde_json::json;

    fn measured(ours: f64, theirs: f64) -> (Measurement, Figures) {
        let plan = plan::full();
        let measurement = plan.iter().find(|one| one.name == "idle-nchan").unwrap();
        let mut figures = Figures::default();
        let report = |value: f64| {
            let metric = |name: &str| json!({"name": name, "value": value, "unit": "B"});
            json!({"what": "10 WebSockets", "metrics":
                [metric("memory each, all but redis, PSS"), metric("x, max")]})
        };
        figures.add_round(&json!([report(ours), report(theirs)]));
        (measurement.clone(), figures)
    }

    #[test]
    fn a_table_has_the_command_and_the_ratio() {
        let (plan, figures) = measured(1000.0, 4000.0);
        let table = measurement(&plan, &figures);
        assert!(table.contains("    push-bench idle -n 10000 $PUSH --vs \"$NCHAN\"\n"), "{table}");
        let row = "| memory each, all but redis, PSS | 1,000 B | 4,000 B | 0.250 |";
        assert!(table.contains(row), "{table}");
        assert!(!table.contains("x, max"));
    }

    #[test]
    fn budgets_are_judged() {
        let row = |ours, theirs| {
            let table = budgets(&[measured(ours, theirs)], 1);
            let verdict = |line: &str| line.split('|').nth(4).unwrap().trim().to_owned();
            table.lines().skip(2).take(2).map(verdict).collect::<Vec<_>>()
        };
        assert_eq!(row(1000.0, 4000.0), ["pass", "pass"]);
        assert_eq!(row(1501.0, 1500.0), ["MISS", "MISS"]);
    }

    #[test]
    fn a_page_keeps_what_is_not_marked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("page.md");
        let marked = |name: &str, text: &str| format!("{}{text}{END}\n", marker(name));
        let rest = marked("machine", "\n") + &marked("budgets", "\n");
        fs::write(&file, format!("before\n{}between\n{rest}", marked("idle-nchan", "old")))
            .unwrap();
        let (plan, _) = measured(1.0, 1.0);
        let mut page = Page::read(&file, std::slice::from_ref(&plan)).unwrap();
        page.put("idle-nchan", "new\n\n");
        page.write().unwrap();
        let expected = format!("before\n{}between\n{rest}", marked("idle-nchan", "\nnew\n"));
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        Page::read(&file, &plan::quick()).unwrap_err();
    }
}
