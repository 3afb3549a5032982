//! nginx's clocks, read once per turn of the event loop, and the system's.

use std::time::{SystemTime, UNIX_EPOCH};

use ::ngx::ffi::{ngx_current_msec, ngx_timeofday};

/// Milliseconds on a clock that does not go back.
pub fn monotonic_ms() -> u64 {
    // SAFETY: a plain number, written by this thread at the start of each turn.
    unsafe { ngx_current_msec as u64 }
}

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let now = ngx_timeofday();
    now.sec as u64 * 1_000 + now.msec as u64
}

/// Microseconds since the Unix epoch, read now: a turn may be longer than what is measured.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
