//! The last warnings and errors of this process, for those who look at how it does.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::surroundings::unix_ms;

/// How many are kept.
const KEPT: usize = 20;
/// Bytes of a text that are kept.
const TEXT: usize = 300;

/// One of them, or the same several times in a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Complaint {
    /// When it was last logged, Unix milliseconds.
    pub at: u64,
    /// It is an error, not a warning.
    pub error: bool,
    /// What was logged, with its fields.
    pub text: String,
    /// How many times.
    pub count: u64,
}

/// The last ones, the newest first, and how many there have been.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    /// See [`KEPT`].
    pub last: VecDeque<Complaint>,
    /// Since the process started.
    pub total: u64,
}

impl Complaints {
    fn add(&mut self, at: u64, error: bool, text: String) {
        self.total += 1;
        if let Some(same) = self.last.iter().position(|old| old.error == error && old.text == text)
            && let Some(mut same) = self.last.remove(same)
        {
            (same.at, same.count) = (at, same.count + 1);
            return self.last.push_front(same);
        }
        self.last.truncate(KEPT - 1);
        self.last.push_front(Complaint { at, error, text, count: 1 });
    }
}

// Loggers have no owner that could keep it. Locked for warnings and for those who look.
static COMPLAINTS: Mutex<Complaints> = Mutex::new(Complaints { last: VecDeque::new(), total: 0 });

fn lock() -> MutexGuard<'static, Complaints> {
    COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has been logged.
pub fn complaints() -> Complaints {
    lock().clone()
}

/// Listens to the log.
#[derive(Debug)]
pub struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.message + &text.fields;
        lock().add(unix_ms(), level == Level::ERROR, text);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let (out, name) = match field.name() {
            "message" => (&mut self.message, None),
            name => (&mut self.fields, Some(name)),
        };
        if out.len() > TEXT {
            return;
        }
        // A String takes everything.
        let _ = match name {
            None => write!(out, "{value:?}"),
            Some(name) => write!(out, " {name}={value:?}"),
        };
        if out.len() > TEXT {
            let end = (0..=TEXT).rev().find(|&at| out.is_char_boundary(at)).unwrap_or_default();
            out.truncate(end);
            out.push('…');
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_are_kept_and_the_same_are_counted() {
        let mut complaints = Complaints::default();
        for number in 0..50 {
            complaints.add(number, false, format!("{number}"));
        }
        complaints.add(99, false, "40".into());
        assert_eq!((complaints.last.len(), complaints.total), (KEPT, 51));
        let first = &complaints.last[0];
        assert_eq!((&first.text[..], first.count, first.at), ("40", 2, 99));
    }

    #[test]
    fn the_log_is_listened_to() {
        let log = tracing_subscriber::registry().with(Listener);
        tracing::subscriber::with_default(log, || {
            tracing::info!("a complaint that is none");
            tracing::warn!(link = 3, "a complaint for the test {}", "x".repeat(1_000));
        });
        let all = complaints();
        let ours = |text: &str| all.last.iter().find(|one| one.text.contains(text)).cloned();
        assert_eq!(ours("that is none"), None);
        let warned = ours("for the test").expect("the warning");
        assert!(!warned.error && warned.text.ends_with(" link=3"), "{warned:?}");
        assert!(warned.text.len() < TEXT + 20);
    }
}
