//! What a location's directives amount to.

use std::rc::Rc;

use push_protocol::request::Limits;
use push_protocol::signature::Verifier;

/// Names one of the [`Settings`] given to [`crate::Engine::add_settings`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SettingsId(pub u16);

/// In which form a subscriber gets messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Envelopes (PROTOCOL.md, section 7.1).
    #[default]
    Text,
    /// `ResponseBatch`es (section 7.2).
    Binary,
}

/// What one location asks of its subscribers and publishers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose signatures count.
    pub verifier: Rc<Verifier>,
    /// Messages and channels a request may have, the longest expiry.
    pub limits: Limits,
    /// Bytes a client's WebSocket message may have.
    pub max_payload: usize,
    /// Connections a private channel of a pair may have on this host; the oldest has to go.
    pub max_connections: u32,
    /// Milliseconds a long poll waits.
    pub poll_timeout: u64,
    /// Milliseconds between pings.
    pub ping_interval: u64,
    /// Bytes that may wait for a subscriber that does not read.
    pub max_queue: usize,
    /// A WebSocket without channels is not closed: its messages are sent back. For conformance
    /// tests of the way in and out; no release has it.
    #[cfg(feature = "test-echo")]
    pub echo: bool,
}

impl Default for Settings {
    /// The documented defaults, without a key.
    fn default() -> Self {
        Self {
            verifier: Rc::new(Verifier::new(push_protocol::signature::Algorithm::Sha1)),
            limits: Limits::default(),
            max_payload: 1_048_576,
            max_connections: 100,
            poll_timeout: 40_000,
            ping_interval: 120_000,
            max_queue: 4 * 1_048_576,
            #[cfg(feature = "test-echo")]
            echo: false,
        }
    }
}
