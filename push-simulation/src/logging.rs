//! The sidecars' own log lines, between those of the trace.

use std::cell::Cell;

use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The run of this thread begins now.
pub fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Simulated time, as in the trace.
struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let ms = BEGAN.get().map_or(0, |began| began.elapsed().as_millis());
        write!(writer, "{:>6}.{:03}", ms / 1000, ms % 1000)
    }
}

/// From here on they go to standard output.
pub fn aloud() {
    tracing_subscriber::fmt()
        .with_timer(Simulated)
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .init();
}
