//! What a `bx_push metrics` location tells, read by somebody else's parser.

use std::collections::BTreeMap;
use std::io;

use prometheus_parse::{Scrape as Parsed, Value};

use crate::http1::{self, Request};
use crate::net::Endpoint;

/// The series of one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    parsed: Parsed,
    /// The text.
    pub text: String,
}

impl Scrape {
    /// Scrapes the location `/metrics/`.
    pub async fn of(internal: &Endpoint) -> io::Result<Self> {
        let answer = http1::once(internal, Request::get("/metrics/")).await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("{answer:?}")));
        }
        let text = answer.text().to_owned();
        let parsed = Parsed::parse(text.lines().map(|line| Ok(line.to_owned())))?;
        Ok(Self { parsed, text })
    }

    /// The sum of the series of a metric that have these labels, `name="value"`; `None`: there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut sum = None;
        for sample in self.parsed.samples.iter().filter(|sample| sample.metric == name) {
            if labels.iter().all(|(label, value)| sample.labels.get(label) == Some(*value)) {
                let value = match &sample.value {
                    Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
                    // The last bucket is the one without a bound.
                    Value::Histogram(buckets) => buckets.last().map_or(0.0, |last| last.count),
                    Value::Summary(_) => 0.0,
                };
                *sum.get_or_insert(0.0) += value;
            }
        }
        sum
    }

    /// [`Self::get`] of a series that must be there.
    #[track_caller]
    pub fn number(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.get(name, labels);
        value.unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text)) as u64
    }

    /// Every metric, with how many `# TYPE` lines say so.
    pub fn families(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for line in self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap_or_default();
            *all.entry(name.to_owned()).or_default() += 1;
        }
        all
    }
}
