//! Panics end here: one that left an `extern "C"` function would abort the worker and with it
//! every connection it holds.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::sync::Once;

use super::log;

/// Runs a callback's body; `None` if it panicked. The caller then closes the one connection, or
/// answers the one request, that it was about.
///
/// What the body was changing may be half changed. In safe code that is a matter of logic, not of
/// memory: the engine's borrow ends with the unwinding, and its next caller finds it consistent
/// enough to go on, short of the one session that the panic was about.
pub(super) fn guard<R>(body: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) => {
            // A payload's destructor could panic in its turn.
            std::mem::forget(payload);
            None
        }
    }
}

/// Has panics written to nginx's log.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| set_hook(Box::new(report)));
}

fn report(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    match info.location() {
        Some(place) => log::alert(format_args!("push module: panic at {place}: {message}")),
        None => log::alert(format_args!("push module: panic: {message}")),
    }
}
