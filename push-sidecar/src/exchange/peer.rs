//! The other end of a link.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::outbox::Outbox;
use crate::random::Backoff;
use crate::router::LinkId;
use crate::store::StoreError;

/// Histories read at the same time for one link; more wait. Bounds what answers that cannot be
/// written yet hold on to.
const READS: usize = 32;

/// A worker, as long as its link lives.
pub struct Peer {
    /// The link.
    pub id: LinkId,
    /// `Hello.instance`.
    pub instance: u64,
    /// The version of the link that is spoken; 0 before the welcome.
    pub version: Cell<u16>,
    /// What waits to be written.
    pub outbox: Outbox,
    pub(super) reads: Semaphore,
    /// The link went live.
    pub(super) live: Notify,
}

impl Peer {
    pub(super) fn new(id: LinkId, instance: u64, queue_bytes: usize) -> Self {
        Self {
            id,
            instance,
            version: Cell::new(0),
            outbox: Outbox::new(queue_bytes),
            reads: Semaphore::new(READS),
            live: Notify::new(),
        }
    }
}

/// Asks the store until it answers, or says that it never will.
pub(super) async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the store cannot be read, trying again");
                tokio::time::sleep(backoff.wait()).await;
            }
            answer => return answer,
        }
    }
}
