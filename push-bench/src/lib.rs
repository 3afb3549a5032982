//! A load generator for push servers and the scenarios it runs, plus `floor`, a server that does
//! nothing but write: what a fan-out costs when only the kernel works.
//!
//! The generator shares the machine with what it measures, so it is one thread on one epoll, with
//! one read buffer for all connections and nothing allocated for a received message.
//!
//! | module | concern |
//! |---|---|
//! | [`options`], [`target`] | the command line; where a server is and how it is spoken to |
//! | [`net`] | transport (clear or TLS), HTTP answers, WebSocket frames, the timer |
//! | [`population`], [`stamp`], [`wire`], [`position`] | who subscribes to what; what a message carries |
//! | [`fleet`], [`publishers`], [`engine`] | subscribers, backends, the loop that drives both |
//! | [`ledger`], [`latency`], [`processes`], [`report`] | what is counted, measured and shown |
//! | [`scenarios`] | what is run |
//! | [`suite`] | everything in turn, on servers that are set up for it |
//! | [`paths`], [`instructions`] | hot paths alone, and what they take |
//! | [`floor`] | the server to compare with |

#![forbid(unsafe_code)]

pub mod engine;
pub mod error;
pub mod fleet;
pub mod floor;
pub mod instructions;
pub mod latency;
pub mod ledger;
pub mod net;
pub mod options;
pub mod paths;
pub mod population;
pub mod position;
pub mod processes;
pub mod publishers;
pub mod report;
pub mod scenarios;
pub mod stamp;
pub mod suite;
pub mod target;
pub mod wire;

pub use error::{Error, Result};
