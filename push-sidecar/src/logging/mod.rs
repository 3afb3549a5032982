//! Logs: to the journal with fields, or lines of text or JSON on standard error. What repeats itself is
//! told now and then (see [`limit`]), so that no log has to be rotated or thrown away.

pub mod journal;
pub mod limit;

use std::sync::{Arc, OnceLock};

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::complaints::Listener;
use crate::config::{Log, LogFormat};
use journal::Journal;
use limit::{Limit, Shared};

static LIMIT: OnceLock<Arc<Limit>> = OnceLock::new();

/// Sets the process's logger up; once.
pub fn init(log: &Log) {
    // Libraries say little of use below warnings.
    let filter = EnvFilter::new(format!("warn,push_sidecar={}", log.level));
    let limit = Arc::clone(LIMIT.get_or_init(Arc::default));
    let (journal, problem) = match log.format {
        LogFormat::Journal => open(),
        LogFormat::Auto if journal::is_standard_error() => open(),
        _ => (None, None),
    };
    let layer: Box<dyn Layer<_> + Send + Sync> = match (journal, log.format) {
        (Some(journal), _) => Box::new(journal.with_filter(Shared(limit))),
        (None, LogFormat::Json) => {
            Box::new(lines().json().flatten_event(true).with_filter(Shared(limit)))
        }
        (None, _) => Box::new(lines().with_ansi(false).with_filter(Shared(limit))),
    };
    // Fails only when a logger is set up already, which is then used.
    let _ = Registry::default().with(layer).with(Listener).with(filter).try_init();
    if let Some(error) = problem {
        tracing::warn!(%error, "no journal at {}, so lines go to standard error", journal::SOCKET);
    }
}

fn lines<S>()
-> fmt::Layer<S, fmt::format::DefaultFields, fmt::format::Format, fn() -> std::io::Stderr>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fmt::layer()
        .with_writer(std::io::stderr as fn() -> std::io::Stderr)
        .with_target(false)
        // It would tell the full disk itself that the disk is full, and panic.
        .log_internal_errors(false)
}

fn open() -> (Option<Journal>, Option<std::io::Error>) {
    match Journal::open(journal::SOCKET.as_ref()) {
        Ok(journal) => (Some(journal), None),
        Err(error) => (None, Some(error)),
    }
}

/// Tells what was left out since lines of its kind were first written; called every few seconds.
pub fn tell_left_out() {
    if let Some(limit) = LIMIT.get() {
        limit.tell();
    }
}
