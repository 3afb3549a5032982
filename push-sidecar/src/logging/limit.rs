//! A line of a kind is written a few times a minute; of the rest only the number is.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// How long lines of a kind are counted.
const INTERVAL: Duration = Duration::from_secs(60);
/// So many problems of a kind are told in that time: each worker of a host may have one.
const PROBLEMS: u64 = 10;
/// So many lines of a kind that tell of no problem.
const NEWS: u64 = 100;

/// What has been written, by the place in the code that writes it.
#[derive(Default)]
pub struct Limit(Mutex<HashMap<Identifier, Kind>>);

struct Kind {
    since: Instant,
    written: u64,
    left_out: u64,
    message: String,
}

impl Limit {
    /// Whether a line may be written. Debugging is not limited: somebody asked for it.
    fn allows(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let most = match *metadata.level() {
            Level::ERROR | Level::WARN => PROBLEMS,
            Level::INFO => NEWS,
            _ => return true,
        };
        if metadata.target() == module_path!() {
            return true;
        }
        // A poisoned lock is of a thread that panicked within these few lines: let everything pass.
        let Ok(mut kinds) = self.0.lock() else { return true };
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind {
            since: now,
            written: 0,
            left_out: 0,
            message: String::new(),
        });
        if kind.written < most {
            kind.written += 1;
            return true;
        }
        if kind.left_out == 0 {
            event.record(&mut Message(&mut kind.message));
        }
        kind.left_out += 1;
        false
    }

    /// Takes what is over, and what was left out of it.
    fn over(&self, now: Instant) -> Vec<(u64, String)> {
        let Ok(mut kinds) = self.0.lock() else { return Vec::new() };
        let mut over = Vec::new();
        kinds.retain(|_, kind| {
            let stays = now.duration_since(kind.since) < INTERVAL;
            if !stays && kind.left_out > 0 {
                over.push((kind.left_out, std::mem::take(&mut kind.message)));
            }
            stays
        });
        over
    }

    /// Tells what was left out.
    pub fn tell(&self) {
        for (left_out, line) in self.over(Instant::now()) {
            tracing::warn!(left_out, line, "lines like this were left out in the last minute");
        }
    }
}

/// For one layer.
pub struct Shared(pub Arc<Limit>);

impl<S: Subscriber> Filter<S> for Shared {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.allows(event, Instant::now())
    }
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A string takes everything.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing_subscriber::layer::{Layer, SubscriberExt};

    use super::*;

    /// Counts what comes through.
    struct Count(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let (limit, count) = (Arc::new(Limit::default()), Arc::new(AtomicU64::new(0)));
        let layer = Count(Arc::clone(&count)).with_filter(Shared(Arc::clone(&limit)));
        let written = || count.swap(0, Ordering::Relaxed);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let flood = |number: u64| {
                for n in 0..number {
                    tracing::warn!(n, "a flood of {}", "refusals");
                }
            };
            flood(100_000);
            assert_eq!(written(), PROBLEMS);
            tracing::error!("something else");
            assert_eq!(written(), 1, "each kind has a limit of its own");
            for n in 0..100_000 {
                tracing::info!(n, "news");
            }
            assert_eq!(written(), NEWS);
            for _ in 0..1000 {
                tracing::debug!("what somebody asked for");
            }
            assert_eq!(written(), 1000);

            let now = Instant::now();
            assert_eq!(limit.over(now), [], "a minute is not over");
            let mut over = limit.over(now + INTERVAL);
            over.sort();
            let expected = [
                (100_000 - PROBLEMS, "a flood of refusals".to_owned()),
                (100_000 - NEWS, "news".into()),
            ];
            let mut expected = expected.to_vec();
            expected.sort();
            assert_eq!(over, expected);
            flood(3);
            assert_eq!(written(), 3, "a new minute");
        });
    }

    #[test]
    fn what_was_left_out_is_told_whatever_the_flood() {
        let (limit, count) = (Arc::new(Limit::default()), Arc::new(AtomicU64::new(0)));
        let layer = Count(Arc::clone(&count)).with_filter(Shared(Arc::clone(&limit)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..2 * PROBLEMS {
                let past =
                    Instant::now().checked_sub(INTERVAL).expect("the machine runs for a minute");
                for _ in 0..=PROBLEMS {
                    tracing::warn!("a flood");
                }
                for kind in limit.0.lock().expect("no panic").values_mut() {
                    kind.since = past;
                }
                limit.tell();
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 2 * PROBLEMS * (PROBLEMS + 1));
    }
}
