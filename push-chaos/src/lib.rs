//! Faults on the real thing: nginx with the module, sidecar and Redis under steady traffic, while
//! parts of them are killed, cut off, starved and reloaded; and a ledger that tells whether anything
//! was lost, doubled or told wrong.
//!
//! | module | what it is for |
//! |---|---|
//! | [`options`], [`run`], [`report`] | what is wanted, all of it, what came of it |
//! | [`rig`], [`fault`], [`storm`] | a host under traffic, what is done to it, everybody at once |
//! | [`population`], [`body`] | who subscribes to what, what messages say |
//! | [`fleet`], [`subscriber`], [`publishers`] | the clients |
//! | [`ledger`], [`checks`] | what must hold |
#![forbid(unsafe_code)]

pub mod body;
pub mod checks;
pub mod fault;
pub mod fleet;
pub mod ledger;
pub mod options;
pub mod population;
pub mod publishers;
pub mod random;
pub mod report;
pub mod rig;
pub mod run;
pub mod storm;
pub mod subscriber;
