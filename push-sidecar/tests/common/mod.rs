//! What the test programs share.
#![allow(dead_code, missing_docs, reason = "each test program uses a part")]

pub mod redis_server;
pub mod sidecar;
pub mod silent_proxy;
pub mod watched;
pub mod worker;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::ChannelKey;
use push_protocol::outgoing::{Sender, encode_rest};
use push_sidecar::store::{PublishItem, Token};

/// What would otherwise hang for ever fails after this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test the way the daemon runs: on one thread, with local tasks.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(90), test).await.expect("the test hangs")
    })
}

/// Waits for something to become true.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

pub fn token(seq: u64) -> Token {
    Token { instance: 0x0102_0304_0506_0708, seq }
}

pub fn private(n: u8) -> ChannelKey {
    ChannelKey::private([n; 16])
}

pub fn public(n: u8) -> ChannelKey {
    ChannelKey::public([n; 16])
}

pub fn item(expiry: u32, receivers: &[ChannelKey], body: &str) -> PublishItem {
    PublishItem {
        expiry,
        label: "unknown".into(),
        receivers: receivers.iter().map(|key| (*key, Bytes::new())).collect(),
        rest: Bytes::from(encode_rest(body, expiry, 1_795_408_173, Sender::Backend)),
    }
}
