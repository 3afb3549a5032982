//! One module a target; each says what it asserts.

pub mod channels;
pub mod config;
pub mod envelope;
pub mod frame;
pub mod link;
pub mod outgoing;
pub mod portal;
pub mod query;
pub mod request;
pub mod session;
