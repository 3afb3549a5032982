//! What a verb has looked at, line by line: what was tried, what came, what to change.

use std::fmt::Write;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at: something else has to be mended or given first.
    Skipped,
    /// It works, and something may be lost or will not work one day.
    Warning,
    /// It does not work.
    Error,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about; the name stays the same.
    pub part: String,
    /// What was looked at or tried.
    pub tried: String,
    /// What came.
    pub found: String,
    /// What to change, with the line to add where there is one.
    pub remedy: Option<String>,
}

/// All lines, in the order in which they were found.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        level: Level,
        part: &str,
        tried: String,
        found: String,
        remedy: Option<String>,
    ) {
        self.findings.push(Finding { level, part: part.to_owned(), tried, found, remedy });
    }

    /// As it should be.
    pub fn ok(&mut self, part: &str, tried: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Ok, part, tried.into(), found.into(), None);
    }

    /// Not looked at, and what it takes to do so.
    pub fn skipped(&mut self, part: &str, tried: impl Into<String>, why: impl Into<String>) {
        self.add(Level::Skipped, part, tried.into(), why.into(), None);
    }

    /// Works, but.
    pub fn warning(
        &mut self,
        part: &str,
        tried: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Level::Warning, part, tried.into(), found.into(), Some(remedy.into()));
    }

    /// Does not work.
    pub fn error(
        &mut self,
        part: &str,
        tried: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Level::Error, part, tried.into(), found.into(), Some(remedy.into()));
    }

    /// All of them.
    pub fn list(&self) -> &[Finding] {
        &self.findings
    }

    /// How many are of that level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// 0 without errors, otherwise 1; `strict`: warnings are as bad as errors.
    pub fn status(&self, strict: bool) -> ExitCode {
        let bad = self.count(Level::Error) + if strict { self.count(Level::Warning) } else { 0 };
        ExitCode::from(u8::from(bad > 0))
    }

    /// A line each, the remedy below, and a line that sums up.
    pub fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.part.chars().count()).max();
        let width = width.unwrap_or(0);
        let mut out = String::new();
        for Finding { level, part, tried, found, remedy } in &self.findings {
            let mark = match level {
                Level::Ok => "ok",
                Level::Skipped => "skipped",
                Level::Warning => "WARNING",
                Level::Error => "ERROR",
            };
            // A string takes everything.
            let _ = writeln!(out, "{mark:<8} {part:<width$}  {tried}: {found}");
            for line in remedy.iter().flat_map(|remedy| remedy.lines()) {
                let _ = writeln!(out, "{:<8} {:<width$}  -> {line}", "", "");
            }
        }
        let [errors, warnings, skipped] =
            [Level::Error, Level::Warning, Level::Skipped].map(|level| self.count(level));
        let _ = writeln!(out, "{errors} errors, {warnings} warnings, {skipped} skipped");
        out
    }

    /// One object of JSON, on a line of its own.
    pub fn json(&self) -> String {
        let object = serde_json::json!({
            "ok": self.count(Level::Error) == 0,
            "errors": self.count(Level::Error),
            "warnings": self.count(Level::Warning),
            "findings": self.findings,
        });
        object.to_string() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_a_line_and_its_remedies_below() {
        let mut findings = Findings::default();
        findings.ok("one", "looked", "fine");
        assert_eq!(findings.status(true), ExitCode::SUCCESS);
        findings.warning("second", "tried", "odd", "first line\nsecond line");
        assert_eq!(findings.status(false), ExitCode::SUCCESS);
        assert_eq!(findings.status(true), ExitCode::FAILURE);
        findings.error("x", "tried", "bad", "mend it");
        assert_eq!(findings.status(false), ExitCode::FAILURE);
        assert_eq!(
            findings.text(),
            "ok       one     looked: fine\n\
             WARNING  second  tried: odd\n\
             \x20                -> first line\n\
             \x20                -> second line\n\
             ERROR    x       tried: bad\n\
             \x20                -> mend it\n\
             1 errors, 1 warnings, 0 skipped\n"
        );
        let object: serde_json::Value = serde_json::from_str(&findings.json()).expect("JSON");
        assert_eq!((&object["ok"], &object["errors"]), (&false.into(), &1.into()));
        assert_eq!(object["findings"][1]["level"], "warning");
    }
}
