//! The ground the end-to-end suites stand on: they start a real nginx with the module, a real
//! sidecar and, where the store wants one, a real Redis, and talk to them as clients do.
//!
//! | module | what it is for |
//! |---|---|
//! | [`builds`] | where the binaries under test are |
//! | [`host`] | a whole host: nginx, sidecar, store, in a folder of its own |
//! | [`nginx`], [`sidecar`], [`redis`], [`process`] | its processes, one by one |
//! | [`ports`], [`tls`], [`net`] | addresses, certificates, byte streams |
//! | [`http1`], [`http2`], [`websocket`], [`poll`] | what a client says |
//! | [`channel`], [`message`], [`proto`] | signing ids, reading messages: written anew here, so that a mistake of the server's own code cannot hide |
//! | [`neighbour`] | a push-server 0.4.0 on the same Redis, as Redis sees it |
//! | [`migrated`] | installations of push-server 0.4.0, moved by `push-sidecar migrate` |
//! | [`replay`] | what was recorded from push-server 0.4.0, played against the module |
//! | [`bystander`] | who must not notice what others do |
//! | [`verb`], [`scrape`] | what operators type, and what they measure |
//! | [`docs`] | the documentation: its parts, its configurations, what it quotes |
//! | [`wait`], [`crowd`], [`memory`], [`latency`] | conditions, load and figures |
//!
//! The suites want `make build vendored demo` to have run; see [`builds`].
#![forbid(unsafe_code)]

pub mod builds;
pub mod bystander;
pub mod channel;
pub mod crowd;
pub mod docs;
pub mod host;
pub mod http1;
pub mod http2;
pub mod latency;
pub mod memory;
pub mod message;
pub mod migrated;
pub mod neighbour;
pub mod net;
pub mod nginx;
pub mod poll;
pub mod ports;
pub mod process;
pub mod proto;
pub mod redis;
pub mod replay;
pub mod scrape;
pub mod sidecar;
pub mod tls;
pub mod verb;
pub mod wait;
pub mod websocket;

pub use channel::{Channel, Key};
pub use host::{Host, Setup, Store};
pub use message::Message;
pub use nginx::Nginx;
pub use scrape::Scrape;
pub use websocket::WebSocket;

/// What a test returns: any error fails it, with its text.
pub type TestResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Makes tests out of functions that take a [`Setup`]: each runs with both versions of nginx and
/// with both stores.
#[macro_export]
macro_rules! matrix {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::{Nginx, Setup, Store, TestResult};

            #[tokio::test]
            async fn installed_memory() -> TestResult {
                super::$name(Setup::new(Nginx::Installed, Store::Memory)).await
            }
            #[tokio::test]
            async fn installed_redis() -> TestResult {
                super::$name(Setup::new(Nginx::Installed, Store::Redis)).await
            }
            #[tokio::test]
            async fn vendored_memory() -> TestResult {
                super::$name(Setup::new(Nginx::Vendored, Store::Memory)).await
            }
            #[tokio::test]
            async fn vendored_redis() -> TestResult {
                super::$name(Setup::new(Nginx::Vendored, Store::Redis)).await
            }
        }
    )+};
}

/// Makes tests out of functions that take a [`Setup`] where the store makes no difference.
#[macro_export]
macro_rules! both_nginx {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::{Nginx, Setup, Store, TestResult};

            #[tokio::test]
            async fn installed() -> TestResult {
                super::$name(Setup::new(Nginx::Installed, Store::Memory)).await
            }
            #[tokio::test]
            async fn vendored() -> TestResult {
                super::$name(Setup::new(Nginx::Vendored, Store::Memory)).await
            }
        }
    )+};
}
