//! Tells when the worker is asked to leave (reload, quit).
//!
//! nginx tells modules only when a process ends, which is too late to say goodbye: a worker that
//! leaves first calls the read event of each of its idle connections, then waits for timers. So
//! the module keeps a connection that is always idle and never read.

use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixDatagram;

use ::ngx::ffi::{ngx_close_connection, ngx_connection_t, ngx_event_t, ngx_get_connection};
use push_worker::Level;

use super::guard::guard;
use super::log;
use crate::worker;

/// Begins to watch.
pub(super) fn watch() {
    let socket = match UnixDatagram::unbound() {
        Ok(socket) => socket.into_raw_fd(),
        Err(error) => return failed(&error.to_string()),
    };
    // SAFETY: a descriptor of our own; nginx owns it from here on and closes it with the
    // connection. It is in no event mechanism, so none of its events fires.
    unsafe {
        let log = log::of_cycle();
        let c = ngx_get_connection(socket, log);
        if c.is_null() {
            return failed("no connection is free");
        }
        (*(*c).read).handler = Some(leave);
        (*(*c).write).handler = Some(leave);
        (*(*c).read).log = log;
        (*(*c).write).log = log;
        (*c).set_idle(1);
    }
}

fn failed(why: &str) {
    log::line(
        Level::Warn,
        format_args!("the push module won't notice when this worker leaves: {why}"),
    );
}

/// The worker is asked to leave.
unsafe extern "C" fn leave(ev: *mut ngx_event_t) {
    // SAFETY: the event's data is the connection that `watch` has made, which is closed only here.
    unsafe {
        let c = (*ev).data.cast::<ngx_connection_t>();
        if (*c).close() != 0 {
            ngx_close_connection(c);
            guard(worker::leave);
        }
    }
}
