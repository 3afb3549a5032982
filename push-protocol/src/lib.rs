//! What travels on a client's wire (wire v4). Pure: no I/O, no clock.
#![forbid(unsafe_code)]

pub mod channel;
pub mod error;
pub mod mid;

pub use channel::{ChannelId, ChannelKey, ChannelKind};
pub use error::ApiError;
pub use mid::Mid;
