//! A question to all links, and who has not answered it yet.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::router::LinkId;

/// See the module.
#[derive(Default)]
pub(super) struct RollCall {
    asked: Cell<u32>,
    missing: RefCell<Vec<LinkId>>,
    complete: Notify,
}

impl RollCall {
    /// Begins a question to these links, in the place of one that is under way: its answers will do
    /// for that one, too. Returns its number, never 0.
    pub fn ask(&self, links: impl Iterator<Item = LinkId>) -> u32 {
        self.asked.set(self.asked.get().wrapping_add(1).max(1));
        self.missing.replace(links.collect());
        self.asked.get()
    }

    /// The number of the last question.
    pub fn asked(&self) -> u32 {
        self.asked.get()
    }

    /// A link has answered, or is gone.
    pub fn heard(&self, link: LinkId) {
        let mut missing = self.missing.borrow_mut();
        missing.retain(|other| *other != link);
        if missing.is_empty() {
            self.complete.notify_waiters();
        }
    }

    /// Waits until all have answered, or until patience is over.
    pub async fn complete(&self, patience: Duration) {
        let wait = async {
            while !self.missing.borrow().is_empty() {
                self.complete.notified().await;
            }
        };
        let _ = timeout(patience, wait).await;
    }
}
