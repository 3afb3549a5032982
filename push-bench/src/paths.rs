//! The hot paths, each alone and without a kernel, so that their instructions can be counted: the
//! crates that the module and the daemon are made of, driven by hand.
//!
//! Each path is the same thing done again and again. What comes before and behind it is the same
//! for any number of times, so the difference of two runs is the path's alone, with the little
//! that the driving costs.
//!
//! | module | paths |
//! |---|---|
//! | [`protocol`] | reading requests, verifying signatures |
//! | [`worker`] | the engine in an nginx worker |
//! | [`sidecar`] | the daemon with its memory store |

pub mod protocol;
pub mod sidecar;
pub mod worker;

use push_protocol::ChannelId;
use push_protocol::signature::{Algorithm, Verifier};

use crate::error::{Error, Result};
use crate::population::Population;

/// A path that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// By which tables know it.
    pub name: &'static str,
    /// What is done once per operation.
    pub what: &'static str,
    /// Does it so many times.
    pub run: fn(u32),
}

/// All of them.
pub const PATHS: [Path; 13] = [
    Path {
        name: "handshake-read",
        what: "query, signatures of a pair and a shared channel, Sec-WebSocket-Accept",
        run: protocol::read_handshake,
    },
    Path {
        name: "publish-read-text",
        what: "query and body of 300 bytes into a message",
        run: protocol::read_text,
    },
    Path {
        name: "publish-read-batch",
        what: "a RequestBatch with a message of 300 bytes",
        run: protocol::read_batch,
    },
    Path {
        name: "worker-handshake",
        what: "a WebSocket on three channels, two of them new: opened, subscribed, closed",
        run: worker::handshake,
    },
    Path {
        name: "worker-fanout",
        what: "one of 1,000 deliveries of a message",
        run: worker::fanout,
    },
    Path {
        name: "worker-unicast",
        what: "a message to one of 1,000 WebSockets, from the link to the socket",
        run: worker::unicast,
    },
    Path {
        name: "worker-publish",
        what: "a message from the request to the link, and its answer back",
        run: worker::publish,
    },
    Path {
        name: "worker-recover",
        what: "a WebSocket that returns with an id: nothing new, two live deliveries, closed",
        run: worker::recover,
    },
    Path {
        name: "sidecar-subscribe",
        what: "three channels subscribed and unsubscribed",
        run: sidecar::subscribe,
    },
    Path {
        name: "sidecar-publish",
        what: "a message stored, nobody listening; eight publishers",
        run: sidecar::publish,
    },
    Path {
        name: "sidecar-unicast",
        what: "a message stored and sent to one worker; eight publishers",
        run: sidecar::unicast,
    },
    Path {
        name: "sidecar-recover-nothing",
        what: "a returning client's question: nothing new on three channels",
        run: sidecar::recover_nothing,
    },
    Path {
        name: "sidecar-recover-five",
        what: "a returning client's question: five messages on three channels",
        run: sidecar::recover_five,
    },
];

/// Runs a path by its name.
pub fn run(name: &str, count: u32) -> Result<()> {
    let path = PATHS.iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| Error::Usage(format!("there is no path {name}")))?;
    (path.run)(count);
    Ok(())
}

/// The channels of all paths.
const POPULATION: Population = Population::SAME;

/// The number of a message or a subscriber's private id.
fn channel(number: u32) -> ChannelId {
    POPULATION.channel(number + 1)
}

/// The channel that all share.
fn shared() -> ChannelId {
    POPULATION.channel(crate::stamp::SHARED)
}

fn verifier() -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    verifier.add_key(b"0123456789abcdef0123456789abcdef");
    verifier
}

/// A published body.
fn body() -> String {
    format!("{{\"module_id\":\"bench\",\"params\":\"{}\"}}", "x".repeat(264))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They assert what they do, so that a table never counts a path that ends early.
    #[test]
    fn every_path_can_be_run() {
        for path in PATHS {
            (path.run)(64);
        }
        run("nowhere", 1).unwrap_err();
    }
}
