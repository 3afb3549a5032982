//! `http.json` and `websocket.json`, case by case, with both versions of nginx, both stores and
//! several numbers of workers.

use std::sync::Arc;

use push_tests::replay::case::Case;
use push_tests::replay::run::{self, Outcome};
use push_tests::replay::site::Site;
use push_tests::replay::{file, security_key};
use push_tests::{Nginx, Setup, Store, TestResult, matrix};

const FILES: [&str; 2] = ["http.json", "websocket.json"];

matrix!(one_worker, four_workers);

async fn one_worker(setup: Setup) -> TestResult {
    quick(setup.workers(1)).await
}

async fn four_workers(setup: Setup) -> TestResult {
    quick(setup.workers(4)).await
}

async fn quick(setup: Setup) -> TestResult {
    pass(&play(&setup, |case| !case.slow).await);
    Ok(())
}

/// The cases that wait for the server's clock. They need little but time, so that all machines are
/// asked at once; each pair of nginx, store and number of workers is among them.
#[tokio::test]
async fn slow_cases() -> TestResult {
    let setups = [
        Setup::new(Nginx::Installed, Store::Memory).workers(1),
        Setup::new(Nginx::Installed, Store::Redis).workers(4),
        Setup::new(Nginx::Vendored, Store::Memory).workers(4),
        Setup::new(Nginx::Vendored, Store::Redis).workers(1),
    ];
    let [a, b, c, d] = setups.each_ref().map(|setup| play(setup, |case| case.slow));
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    pass(&[a, b, c, d].concat());
    Ok(())
}

async fn play(setup: &Setup, wanted: fn(&Case) -> bool) -> Vec<Outcome> {
    let key = security_key(&file(FILES[0])).to_owned();
    let site = Arc::new(Site::start(setup, &key).expect("the servers start"));
    let mut outcomes = Vec::new();
    let mut played = Vec::new();
    for name in FILES {
        assert_eq!(security_key(&file(name)), key, "one key for all");
        played.extend(run::cases(name).into_iter().filter(wanted));
    }
    assert!(played.len() >= 10, "{} cases", played.len());
    for mut outcome in run::play(played, site).await {
        outcome.id = format!(
            "{} ({:?} nginx, {:?}, workers {})",
            outcome.id, setup.nginx, setup.store, setup.conf.workers
        );
        outcomes.push(outcome);
    }
    outcomes
}

/// Fails with a line for each case that did not go as recorded.
fn pass(outcomes: &[Outcome]) {
    let report = run::report(outcomes);
    let failed = report.lines().count();
    assert!(failed == 0, "{failed} of {} cases:\n{report}", outcomes.len());
}
