//! nginx, made safe: the only room where its structures are touched.
//!
//! | module | what |
//! |---|---|
//! | [`module`] | the tables that nginx reads when it loads the module, the life of a worker |
//! | [`conf`] | nginx.conf: arguments, messages with file and line, the module's structures |
//! | [`request`], [`body`], [`respond`], [`waiting`] | an HTTP request: asked, read, answered, waiting |
//! | [`detach`], [`connection`] | a WebSocket leaves its request; what it is then |
//! | [`link`] | the Unix socket to the sidecar |
//! | [`event`], [`exit`] | posted events and the timer; the hook of a worker that leaves |
//! | [`guard`], [`log`] | panics, nginx's log |
//!
//! Two rules keep the rest of the crate safe. Nothing outside holds a pointer of nginx's: long-lived
//! things are named by handles that are looked up, and a handle whose thing is gone finds nothing.
//! And no panic leaves a callback: every `extern "C"` function runs its body under [`guard`].

pub mod body;
pub mod conf;
pub mod connection;
pub mod detach;
pub mod event;
pub mod exit;
pub mod guard;
pub mod link;
pub mod log;
pub mod module;
pub mod request;
pub mod respond;
pub mod time;
pub mod waiting;
