//! A simulation of everything at once: workers with the real engine, sidecars that are the
//! daemon's own code, a Redis that is talked to over its wire, and clients that behave like the
//! pull client, on a network that delays, breaks and loses. One seed drives it all, so every run can
//! be repeated; time is simulated and takes no time.
//!
//! | module | what |
//! |---|---|
//! | [`run`](mod@run), [`setup`], [`faults`] | a run: what the seed decides, what goes wrong |
//! | [`ledger`] | the promises, and who got what |
//! | [`cluster`], [`worker`], [`host`], [`sidecar`], [`redis`] | the processes |
//! | [`subscriber`], [`publisher`], [`wire`] | the clients |
//! | [`report`], [`logging`] | many runs; what sidecars say |
//! | [`pipe`], [`rng`], [`trace`], [`world`] | network, chance, record, and what all of them share |
#![forbid(unsafe_code)]

pub mod cluster;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod logging;
pub mod pipe;
pub mod publisher;
pub mod redis;
pub mod report;
pub mod rng;
pub mod run;
pub mod setup;
pub mod sidecar;
pub mod subscriber;
pub mod trace;
pub mod wire;
pub mod worker;
pub mod world;

pub use run::{Options, Outcome, run};
pub use setup::Sabotage;
