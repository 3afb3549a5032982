//! Too much waits in the whole worker: who costs most has to go.

use super::Engine;
use crate::slab::Id;
use crate::{Host, Level};

/// What may wait if nothing else is said, bytes.
pub(super) const MAX_TOTAL: usize = 256 << 20;

/// This is told once in so many milliseconds.
const TELL_EVERY: u64 = 60_000;

impl Engine {
    /// Limits what may wait in the whole worker, bytes: for subscribers that do not read (a frame
    /// that waits for several counts once), history that has not been sent, and what clients have
    /// sent in part. Beyond it those with most of it are cut off.
    pub fn limit_queues(&mut self, bytes: usize) {
        self.max_total = bytes;
    }

    /// Cuts off who costs most until an eighth of the limit is free again: looking for them is not
    /// for nothing, and not to be done again for the next frame.
    pub(super) fn relieve<H: Host>(&mut self, host: &mut H) {
        if self.tally.bytes() <= self.max_total {
            return;
        }
        let mut costs: Vec<(usize, Id)> = self
            .sessions
            .ids()
            .into_iter()
            .filter_map(|id| Some((self.sessions.get(id.index())?.cost(), id)))
            .filter(|&(bytes, _)| bytes > 0)
            .collect();
        costs.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        let (before, enough) = (self.tally.bytes(), self.max_total - self.max_total / 8);
        let mut gone = 0;
        for (_, id) in costs {
            if self.tally.bytes() <= enough {
                break;
            }
            gone += 1;
            self.drop_session(host, id.index());
        }
        self.counters.crowded += gone;
        let now = host.now();
        if self.relief_told.is_none_or(|at| now >= at + TELL_EVERY) {
            self.relief_told = Some(now);
            let max = self.max_total;
            host.log(
                Level::Warn,
                format_args!(
                    "{before} bytes waited for clients that do not keep pace, \
                     bx_push_max_queue_total is {max}: cut off the {gone} that cost most"
                ),
            );
        }
    }
}
