//! What travels on a client's wire (wire v4). Pure: no I/O, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`channel`], [`mid`], [`error`] | ids and errors, shared by every crate |
//! | [`query`], [`channels`], [`signature`] | who may listen to what: from a request's query |
//! | [`handshake`], [`mod@frame`] | WebSockets: the opening, the codec |
//! | [`request`] | what a publisher asks for, and the answers to statistics |
//! | [`outgoing`], [`envelope`] | a message on its way to a subscriber, in binary and in text |
//! | [`notification`] | a message on its way to a neighbour, over Redis |
//! | [`proto`] | the whole schema as structs, for tests and tools |
//!
//! Every parser is a plain function of bytes; what is hostile in them ends in `None` or an error.
#![forbid(unsafe_code)]

pub mod channel;
pub mod channels;
pub mod date;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod hex;
pub mod mid;
pub mod notification;
pub mod outgoing;
pub mod proto;
pub mod query;
pub mod request;
pub mod signature;
mod wire;

pub use channel::{ChannelId, ChannelKey, ChannelKind};
pub use error::ApiError;
pub use mid::Mid;
