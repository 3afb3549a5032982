//! What is told, as text.

use std::fmt::Write as _;

use super::finding::{Finding, Findings, Verdict};

/// The report: a summary, what is dangerous, and every setting by file and line.
pub fn text(findings: &Findings) -> String {
    let mut out = String::from("From push-server to bx-push: what becomes of each setting\n\n");
    let list: Vec<&Finding> = findings.list().collect();
    for verdict in Verdict::ALL {
        let count = list.iter().filter(|finding| finding.verdict == verdict).count();
        let means = match verdict {
            Verdict::Dangerous => "look at these before the portal is moved",
            Verdict::Unknown => "nothing is made of these: see whether that is right",
            Verdict::Translated => "the same, in other words",
            Verdict::TakenOver => "as before",
            Verdict::Obsolete => "nothing stands in their place, and nothing is missing",
        };
        _ = writeln!(out, "{count:5} {verdict:10}  {means}");
    }
    let problems: Vec<_> = findings.problems().collect();
    if !problems.is_empty() {
        out.push_str("\nPROBLEMS: nothing is written before these are mended\n\n");
        for problem in problems {
            _ = writeln!(out, "{problem}");
        }
    }
    let dangerous: Vec<_> = list.iter().filter(|f| f.verdict == Verdict::Dangerous).collect();
    if !dangerous.is_empty() {
        out.push_str("\nDANGEROUS\n\n");
        for finding in dangerous {
            one(&mut out, finding);
        }
    }
    let mut file = None;
    for finding in list {
        if file != Some(&finding.place.file) {
            file = Some(&finding.place.file);
            _ = write!(out, "\n{}\n\n", finding.place.file);
        }
        one(&mut out, finding);
    }
    findings.redact(&out)
}

fn one(out: &mut String, finding: &Finding) {
    let Finding { place, verdict, setting, became } = finding;
    _ = writeln!(out, "{place}: {verdict}: {}\n    -> {became}", one_line(setting));
}

/// Control characters, which could hide something in a terminal, are made visible.
fn one_line(text: &str) -> String {
    super::shortened(
        &text.chars().map(|c| if c.is_control() { '·' } else { c }).collect::<String>(),
    )
}
