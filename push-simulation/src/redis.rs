//! A model of Redis that is talked to over its wire: keys with expiry, pubsub, and the sidecar's
//! scripts run by Lua. It can do what a real one does to its clients.

mod data;
mod resp;
mod scripts;
mod server;

pub use data::Data;
pub use resp::{Reply, take_command};
pub use scripts::{Acting, Scripts};
pub use server::Redis;
