//! What operators ask.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Exchange;
use crate::control::{self, Answer, Question};
use crate::health::Condition;
use crate::store::Store;

/// How often is looked how things stand.
const EVERY: Duration = Duration::from_millis(500);
/// Lateness of the event loop counts for so many looks.
const LOOKS: usize = 20;
/// A loop that is later than this does not keep up.
const TOO_LATE: Duration = Duration::from_secs(1);

impl<S: Store + 'static> Exchange<S> {
    /// The answer to `Control`.
    pub async fn control(&self, request: &str) -> String {
        let answer = match control::read(request) {
            Ok(Question::Health) => {
                self.look();
                let report = self.health.borrow().report(Instant::now(), self.started.elapsed());
                Answer::Health(report)
            }
            Ok(Question::Status) => Answer::Status(Box::new(self.snapshot().await)),
            Ok(Question::Trace(query)) => match query.channels() {
                Ok(channels) => Answer::Trace(self.trace(query.mid(), channels).await),
                Err(error) => Answer::Error(error),
            },
            Err(error) => Answer::Error(error),
        };
        control::written(&answer)
    }

    /// Looks how things stand, for ever; `tell` hears each time in a line.
    pub async fn watch(self: Rc<Self>, tell: impl Fn(&str)) {
        let mut late: VecDeque<Duration> = VecDeque::new();
        loop {
            let before = Instant::now();
            sleep(EVERY).await;
            late.push_back(before.elapsed().saturating_sub(EVERY));
            if late.len() > LOOKS {
                late.pop_front();
            }
            self.lag.set(late.iter().max().copied().unwrap_or_default());
            self.look();
            tell(&self.health.borrow().line());
        }
    }

    /// Has a part of others told with its own; `look` is called every half second.
    pub fn watch_also(&self, look: impl Fn() -> Condition + 'static) {
        self.others.borrow_mut().push(Box::new(look));
    }

    pub(super) fn look(&self) {
        let mut conditions = self.store.conditions();
        let (links, channels) = self.size();
        conditions.push(if links > 0 {
            Condition::works("workers", format!("{links} linked, with {channels} channels"))
        } else {
            Condition::fails(
                "workers",
                "none is linked",
                "see that nginx runs with the module, and that bx_push_sidecar names this socket",
            )
        });
        conditions.extend(self.others.borrow().iter().map(|look| look()));
        let lag = self.lag.get();
        conditions.push(if lag <= TOO_LATE {
            Condition::works("event loop", format!("{} ms late at worst", lag.as_millis()))
        } else {
            Condition::fails(
                "event loop",
                format!("{} ms late", lag.as_millis()),
                "this process does not get the CPU it needs: see what else runs here",
            )
        });
        self.health.borrow_mut().update(conditions, Instant::now());
    }
}
