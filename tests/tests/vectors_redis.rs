//! `redis.json`: keys, values, lives and announcements in Redis, to the byte.

use std::path::Path;

use push_tests::replay::scenario::{self, Scenario, Store};
use push_tests::replay::site::Site;
use push_tests::replay::{change, file, security_key};
use push_tests::{Nginx, Setup, TestResult};

const FILE: &str = "redis.json";

#[tokio::test]
async fn one_worker() -> TestResult {
    replay(1).await
}

#[tokio::test]
async fn four_workers() -> TestResult {
    replay(4).await
}

/// The scenarios one after the other, as each looks at all of Redis.
async fn replay(workers: u32) -> TestResult {
    let setup = Setup::new(Nginx::Installed, push_tests::Store::Redis).workers(workers);
    let recorded = file(FILE);
    let site = Site::start(&setup, security_key(&recorded))?;
    let mut failures = Vec::new();
    let scenarios = recorded["scenarios"].as_array().expect("scenarios");
    assert!(scenarios.len() >= 15, "{} scenarios", scenarios.len());
    for recorded in scenarios {
        let Some(played) = change::changed(FILE, recorded.clone()) else { continue };
        let scenario: Scenario = serde_json::from_value(played)?;
        let mut store = Store::open(Path::new(&socket(&site, &scenario.server))).await?;
        if let Err(error) = store.play(&scenario, &site).await {
            failures.push(format!("{}: {error}\n", scenario.id));
        }
    }
    let socket = socket(&site, "all");
    if let Err(error) = scenario::compare_global(Path::new(&socket), &recorded["global"]).await {
        failures.push(format!("global: {error}\n"));
    }
    assert!(failures.is_empty(), "{} scenarios:\n{}", failures.len(), failures.concat());
    Ok(())
}

fn socket(site: &Site, server: &str) -> String {
    let url = site.redis(server).expect("a Redis").url();
    url.strip_prefix("unix://").expect("a socket").to_owned()
}
