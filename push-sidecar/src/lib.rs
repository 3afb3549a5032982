//! The daemon that keeps channel state and message queues.
//!
//! | module | what |
//! |---|---|
//! | [`store`] | messages, queues, ids, announcements: in memory or in Redis |
//! | [`sequencer`], [`router`] | announcements into one total order, and to the links. Pure |
//! | [`catch_up`], [`channel_table`], [`recent`] | parts of it |
//! | [`presence`], [`crowd`] | online marks, too many connections. Pure |
//! | [`exchange`], [`outbox`] | store, router and links brought together |
//! | [`link_server`], [`lean_socket`] | the Unix socket and the links on it |
//! | [`migrate`] | from push-server's files to ours |
//! | [`census`], [`talkers`], [`samples`], [`complaints`], [`snapshot`] | what there is to be seen |
//! | [`health`], [`control`] | what works and what does not, and how operators ask |
//! | [`trace`], [`passed`] | where a message went |
//! | [`verbs`] | what operators type |
//! | [`config`], [`cli`], [`logging`], [`daemon`] | the program around it |
//! | [`surroundings`], [`random`] | time of day, random bits |
//!
//! One thread, one total order: everything runs on a current-thread runtime, so what is put on a
//! link in one step stays together, without locks.
#![forbid(unsafe_code)]

pub mod catch_up;
pub mod census;
pub mod channel_table;
pub mod cli;
pub mod complaints;
pub mod config;
pub mod control;
pub mod crowd;
pub mod daemon;
pub mod exchange;
pub mod health;
pub mod lean_socket;
pub mod link_server;
pub mod logging;
pub mod migrate;
pub mod outbox;
pub mod passed;
pub mod presence;
pub mod random;
pub mod recent;
pub mod router;
pub mod samples;
pub mod sequencer;
pub mod snapshot;
pub mod store;
pub mod surroundings;
pub mod talkers;
pub mod trace;
pub mod verbs;
