//! What a portal and its browsers say, for the verbs that stand in for them.
//!
//! | module | what |
//! |---|---|
//! | [`dial`] | a connection, with or without TLS, and why there is none |
//! | [`http`], [`websocket`] | what is said on it |
//! | [`messages`] | what comes: envelopes and batches. Pure |
//! | [`nonsense`] | what answers that are no push server's mean, and what to change |

pub mod dial;
pub mod http;
pub mod messages;
pub mod nonsense;
pub mod websocket;
