//! What must hold for any input, however hostile: the bodies of the fuzz targets.
//!
//! A target is a plain function of bytes that panics when something does not hold. `fuzz/` hands
//! these functions to libFuzzer (`make fuzz`); `tests/` runs them over the seeds, over what once
//! broke them, and over mutations of both, on any toolchain (`make test`).
//!
//! | module | what |
//! |---|---|
//! | [`targets`] | the functions |
//! | [`input`] | how bytes become a story |
//! | [`world`] | a worker with fuzzed clients and a fuzzed sidecar |
//! | [`oracle`] | the WebSocket codec as tungstenite sees it |
//! | [`keys`] | what is signed with what |
//! | [`seeds`] | where fuzzing starts: made from `tests/vectors` |
//! | [`corpus`] | the files of `fuzz/`, and mutations of them |
#![forbid(unsafe_code)]

pub mod corpus;
pub mod input;
pub mod keys;
pub mod oracle;
pub mod seeds;
pub mod targets;
pub mod world;

/// A function of any bytes that panics when something does not hold.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the file in `fuzz/fuzz_targets`, of the folders with its inputs.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The function.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "query", about: "a request's query", run: targets::query::run },
    Target { name: "channels", about: "a signed channel list", run: targets::channels::run },
    Target { name: "request", about: "a publisher's protobuf", run: targets::request::run },
    Target {
        name: "outgoing",
        about: "stored and announced messages",
        run: targets::outgoing::run,
    },
    Target { name: "frame", about: "a client's WebSocket frames", run: targets::frame::run },
    Target {
        name: "session",
        about: "a worker, its clients, its link",
        run: targets::session::run,
    },
    Target { name: "link", about: "frames between worker and sidecar", run: targets::link::run },
    Target { name: "envelope", about: "a message as text", run: targets::envelope::run },
    Target { name: "config", about: "the sidecar's configuration", run: targets::config::run },
    Target { name: "portal", about: "a portal's .settings.php", run: targets::portal::run },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
