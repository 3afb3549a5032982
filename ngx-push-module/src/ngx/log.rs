//! nginx's error log.

use std::fmt;

use ::ngx::ffi::{
    NGX_LOG_ALERT, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_cycle,
    ngx_log_error_core, ngx_log_t, ngx_uint_t,
};
use push_worker::Level;

pub(super) const fn level_of(level: Level) -> ngx_uint_t {
    (match level {
        Level::Error => NGX_LOG_ERR,
        Level::Warn => NGX_LOG_WARN,
        Level::Notice => NGX_LOG_NOTICE,
        Level::Info => NGX_LOG_INFO,
    }) as ngx_uint_t
}

/// Writes a line to the error log of the worker.
pub fn line(level: Level, line: fmt::Arguments<'_>) {
    write(level_of(level), line);
}

/// Writes a line about something that must not happen.
pub fn alert(line: fmt::Arguments<'_>) {
    write(NGX_LOG_ALERT as ngx_uint_t, line);
}

/// The log of the running cycle; null before there is one.
pub(super) fn of_cycle() -> *mut ngx_log_t {
    // SAFETY: nginx sets `ngx_cycle` before it loads modules and keeps it pointing to a cycle with
    // a log as long as the process lives; a null is looked for all the same.
    unsafe { ngx_cycle.as_ref().map_or(std::ptr::null_mut(), |cycle| cycle.log) }
}

fn write(level: ngx_uint_t, line: fmt::Arguments<'_>) {
    let log = of_cycle();
    // SAFETY: null or a log that lives as long as the cycle.
    if unsafe { log.as_ref() }.is_none_or(|log| log.log_level < level) {
        return;
    }
    // What others have said may stand in it: it stays one line, and no terminal obeys it.
    let line = line.to_string().replace(char::is_control, "?");
    // SAFETY: `%*s` takes a length and a pointer to that many bytes, which `line` keeps alive for
    // the call; the log is not null.
    unsafe { ngx_log_error_core(level, log, 0, c"%*s".as_ptr(), line.len(), line.as_ptr()) };
}
