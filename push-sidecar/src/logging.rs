//! Structured logs on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Sets the process's logger up; once.
pub fn init(log: &Log) {
    // Libraries say little of use below warnings.
    let filter = EnvFilter::new(format!("warn,push_sidecar={}", log.level));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // It would tell the full disk itself that the disk is full, and panic.
        .log_internal_errors(false);
    // Fails only when a logger is set up already, which is then used.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
