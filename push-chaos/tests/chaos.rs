//! Every kind of fault, once: what `make chaos` does at length. Runs alone (see
//! `.config/nextest.toml`).

use clap::Parser;
use push_chaos::fault::Fault;
use push_chaos::options::Options;
use push_chaos::run::run;
use push_tests::redis::Persistence;

async fn goes_well(what: &str) {
    let line = ["push-chaos", what, "--count", "1", "--subscribers", "200", "--storm", "1000"];
    let outcome = run(&Options::parse_from(line)).await.expect("it can be tried");
    assert!(outcome.is_good(), "{outcome}\n{}", outcome.wrong.join("\n"));
}

async fn every_fault_on(persistence: Persistence) {
    let of = |fault: &Fault| fault.persistence() == persistence;
    let names: Vec<_> = Fault::ALL.iter().filter(|fault| of(fault)).map(|f| f.name()).collect();
    goes_well(&names.join(",")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_redis_that_keeps_everything() {
    every_fault_on(Persistence::Always).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_is_connected_loses_by_a_redis_that_forgets() {
    every_fault_on(Persistence::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_come_back_at_once() {
    goes_well("storm").await;
}
