//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

use crate::families::{Family, find};
use crate::{BOUNDS, Histogram};

/// Collects series and writes them family by family, as the format wants them.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<(&'static Family, String)>,
}

impl Exposition {
    /// The `Content-Type` of what it makes.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Adds a series of a metric of [`crate::families`]. Labels are written as they stand, see
    /// [`label`].
    pub fn number(&mut self, name: &str, labels: &[&str], value: impl Display) {
        let Some(out) = self.family(name) else { return };
        sample(out, name, "", labels, value);
    }

    /// Adds a histogram of durations.
    pub fn histogram(&mut self, name: &str, labels: &[&str], histogram: &Histogram) {
        let Some(out) = self.family(name) else { return };
        let mut sum = 0;
        for (at, bucket) in histogram.buckets.iter().enumerate() {
            sum += bucket;
            let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), |bound| seconds(*bound));
            let bound = format!("le=\"{bound}\"");
            let all = [labels, &[bound.as_str()]].concat();
            sample(out, name, "_bucket", &all, sum);
        }
        sample(out, name, "_sum", labels, seconds(histogram.sum));
        sample(out, name, "_count", labels, sum);
    }

    /// A label with any value.
    pub fn label(name: &str, value: &str) -> String {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    }

    /// The text.
    pub fn finish(self) -> String {
        let mut text = String::new();
        for (Family { name, kind, help }, samples) in self.families {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
        text
    }

    fn family(&mut self, name: &str) -> Option<&mut String> {
        let known = self.families.iter().position(|(family, _)| family.name == name);
        let at = known.unwrap_or(self.families.len());
        if known.is_none() {
            self.families.push((find(name)?, String::new()));
        }
        Some(&mut self.families[at].1)
    }
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &[&str], value: impl Display) {
    let _ = write!(out, "{name}{suffix}");
    let mut open = false;
    for labels in labels.iter().filter(|labels| !labels.is_empty()) {
        out.push(if open { ',' } else { '{' });
        out.push_str(labels);
        open = true;
    }
    if open {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_family_stand_together() {
        let mut out = Exposition::default();
        out.number("bx_push_drops_total", &["", r#"reason="slow""#], 1);
        out.number("bx_push_link_up", &[], 1);
        out.number("bx_push_drops_total", &[r#"worker="7""#, r#"reason="silent""#], 2);
        out.number("no_such_metric", &[], 3);
        assert_eq!(
            out.finish(),
            "# HELP bx_push_drops_total Connections cut off, by reason.\n\
             # TYPE bx_push_drops_total counter\n\
             bx_push_drops_total{reason=\"slow\"} 1\n\
             bx_push_drops_total{worker=\"7\",reason=\"silent\"} 2\n\
             # HELP bx_push_link_up Whether the worker that answers is linked to its sidecar.\n\
             # TYPE bx_push_link_up gauge\n\
             bx_push_link_up 1\n"
        );
    }

    #[test]
    fn a_histogram_sums_up_its_buckets() {
        let (mut out, mut histogram) = (Exposition::default(), Histogram::default());
        for micros in [60, 70, 1_500_000, 9_000_000] {
            histogram.record(micros);
        }
        out.histogram("bx_push_publish_duration_seconds", &[], &histogram);
        let text = out.finish();
        for line in [
            "bx_push_publish_duration_seconds_bucket{le=\"0.00005\"} 0\n",
            "bx_push_publish_duration_seconds_bucket{le=\"0.0001\"} 2\n",
            "bx_push_publish_duration_seconds_bucket{le=\"2.5\"} 3\n",
            "bx_push_publish_duration_seconds_bucket{le=\"+Inf\"} 4\n",
            "bx_push_publish_duration_seconds_sum 10.50013\n",
            "bx_push_publish_duration_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(Exposition::label("a", "b\"\\\nc"), r#"a="b\"\\\nc""#);
    }
}
