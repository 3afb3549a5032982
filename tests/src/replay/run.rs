//! All cases at once, and a report.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use super::case::Case;
use super::player::{self, Servers};
use super::{change, file};

/// The cases of a file as they are played here.
pub fn cases(name: &str) -> Vec<Case> {
    let cases = file(name)["cases"].as_array().expect("cases").clone();
    let parse = |case: Value| {
        let id = case["id"].clone();
        serde_json::from_value(case).unwrap_or_else(|error| panic!("case {id}: {error}"))
    };
    cases.into_iter().filter_map(|case| change::changed(name, case)).map(parse).collect()
}

/// How a case went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the case.
    pub id: String,
    /// How long it took.
    pub took: Duration,
    /// Where it left the recording, if it did.
    pub result: Result<(), String>,
}

/// Plays cases, all at the same time.
pub async fn play(cases: Vec<Case>, servers: Arc<dyn Servers + Send>) -> Vec<Outcome> {
    let mut tasks = JoinSet::new();
    for case in cases {
        let servers = servers.clone();
        tasks.spawn(async move {
            let start = Instant::now();
            let result = player::play(&case, &*servers).await;
            Outcome { id: case.id, took: start.elapsed(), result }
        });
    }
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by(|one, other| one.id.cmp(&other.id));
    outcomes
}

/// A line for each case that did not go as recorded; empty when all did.
pub fn report(outcomes: &[Outcome]) -> String {
    let mut report = String::new();
    for Outcome { id, took, result } in outcomes {
        if let Err(error) = result {
            writeln!(report, "{id} ({} ms): {error}", took.as_millis())
                .expect("a string takes everything");
        }
    }
    report
}
