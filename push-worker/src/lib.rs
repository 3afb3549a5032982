//! What an nginx worker does, without nginx: it holds the subscribers' sessions, knows which of
//! them listen to which channel (the hub), delivers, recovers, and publishes over the link to the
//! sidecar. Sans-IO: the [`Engine`] is driven by calls and acts through [`Host`]; the nginx module
//! is one host, the tests are another.
#![forbid(unsafe_code)]

mod delivery;
mod engine;
mod host;
mod hub;
mod link;
mod outbox;
mod publishing;
mod response;
mod schedule;
mod session;
mod settings;
mod slab;
mod tally;

pub use engine::{Counters, Engine, Queues, SessionId, Subscriber, View};
pub use host::{Broken, Conn, Host, Level, Request};
pub use response::{ContentType, LastMessageId, Response};
pub use settings::{Format, Settings, SettingsId};
