//! What operators type: one file a verb.
//!
//! | module | what |
//! |---|---|
//! | [`check`] | whether the daemon can work with what it is given |
//! | [`sign`], [`publish`], [`listen`] | what a portal and its browsers do, for scripts |
//! | [`doctor`] | whether messages get from the portal to browsers |
//! | [`trace`] | where a message went |
//! | [`status`] | how everything does |
//! | [`findings`] | what is told line by line, for people and for programs. Pure |
//! | [`nginx_conf`], [`sites`] | what nginx's files say of all this |
//! | [`keys`] | where a security key is read |
//! | [`client`] | connections, requests, WebSockets, messages |
//! | [`access`] | who may connect to a socket |

pub mod access;
pub mod check;
pub mod client;
pub mod doctor;
pub mod findings;
pub mod keys;
pub mod listen;
pub mod nginx_conf;
pub mod publish;
pub mod sign;
pub mod sites;
pub mod status;
pub mod trace;

/// For a verb that talks to somebody.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
