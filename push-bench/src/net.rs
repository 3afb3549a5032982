//! What touches sockets and what is read from them.

pub mod http;
pub mod timer;
pub mod tls;
pub mod transport;
pub mod websocket;

pub use transport::Transport;
