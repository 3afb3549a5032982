//! The Unix socket to the sidecar.

use std::cell::Cell;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use ::ngx::ffi::{
    NGX_AGAIN, NGX_DECLINED, NGX_LOG_ALERT, NGX_OK, ngx_close_connection, ngx_connection_t,
    ngx_errno, ngx_event_connect_peer, ngx_event_t, ngx_int_t, ngx_log_t, ngx_peer_connection_t,
    ngx_str_t, ngx_uint_t, sa_family_t, sockaddr_un, socklen_t,
};
use push_worker::Broken;

use super::connection::{ReadEnd, read, read_again, write_to};
use super::guard::guard;
use super::log;
use crate::worker;

/// How often the read buffer may be filled in one turn of the event loop.
const READS: usize = 16;

thread_local! {
    static LINK: Cell<*mut ngx_connection_t> = const { Cell::new(null_mut()) };
    static LOG: Cell<*mut ngx_log_t> = const { Cell::new(null_mut()) };
}

/// nginx's log, but for what nginx itself says of a connection that fails: that is told by
/// [`worker`], once in a while and with the remedy.
fn quiet_log() -> *mut ngx_log_t {
    if LOG.get().is_null() {
        // SAFETY: a structure of integers, pointers and nullable functions; copied from a log that
        // lives as long as the process, as do the files it points to.
        let mut quiet: ngx_log_t = unsafe {
            match log::of_cycle().as_ref() {
                Some(log) => std::ptr::read(log),
                None => std::mem::zeroed(),
            }
        };
        quiet.log_level = NGX_LOG_ALERT as ngx_uint_t;
        LOG.set(Box::into_raw(Box::new(quiet)));
    }
    LOG.get()
}

unsafe extern "C" fn one_peer(
    _: *mut ngx_peer_connection_t,
    _: *mut std::ffi::c_void,
) -> ngx_int_t {
    NGX_OK as ngx_int_t
}

/// Connects. For a Unix socket that is done at once or not at all.
pub fn connect(path: &Path) -> io::Result<()> {
    close();
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: structures of integers, pointers and nullable functions, for which zero is what
    // nginx itself begins with.
    let (mut address, mut peer): (sockaddr_un, ngx_peer_connection_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    if bytes.len() >= address.sun_path.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    address.sun_family = ::ngx::ffi::AF_UNIX as sa_family_t;
    for (to, &from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from as _;
    }
    let mut name = ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() };
    peer.sockaddr = (&raw mut address).cast();
    peer.socklen = size_of::<sockaddr_un>() as socklen_t;
    peer.name = &raw mut name;
    peer.get = Some(one_peer);
    peer.log = quiet_log();
    // SAFETY: what `peer` points to outlives the call, after which nginx does not look at it; the
    // connection it makes is ours.
    unsafe {
        let rc = ngx_event_connect_peer(&raw mut peer);
        if rc == NGX_DECLINED as ngx_int_t {
            // Nothing that nginx has called since connect(2) fails and so changes it.
            return Err(io::Error::from_raw_os_error(ngx_errno()));
        }
        if rc != NGX_OK as ngx_int_t && rc != NGX_AGAIN as ngx_int_t {
            return Err(io::Error::other("no connection is free (worker_connections)"));
        }
        let c = peer.connection;
        (*(*c).read).handler = Some(readable);
        (*(*c).write).handler = Some(writable);
        LINK.set(c);
    }
    all_sent();
    Ok(())
}

/// Nothing waits to be sent: room in the socket is no news any more. (A Unix socket would wake the
/// worker each time its peer has read something.) [`send`] asks for it again when it has to.
pub fn all_sent() {
    let c = LINK.get();
    if !c.is_null() {
        // SAFETY: open, as it is the link.
        unsafe { ignore_room(c) };
    }
}

#[cfg(target_os = "linux")]
unsafe fn ignore_room(c: *mut ngx_connection_t) {
    use ::ngx::ffi::{
        EPOLL_EVENTS_EPOLLET, EPOLL_EVENTS_EPOLLOUT, NGX_USE_EPOLL_EVENT, ngx_event_actions,
        ngx_event_flags,
    };
    // SAFETY: an open connection has both events; the flags say that the actions are epoll's. What
    // stays registered, reading, stays edge-triggered.
    unsafe {
        if ngx_event_flags & NGX_USE_EPOLL_EVENT as ngx_uint_t != 0
            && (*(*c).write).active() != 0
            && let Some(del) = ngx_event_actions.del
        {
            del((*c).write, EPOLL_EVENTS_EPOLLOUT as ngx_int_t, EPOLL_EVENTS_EPOLLET as ngx_uint_t);
        }
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn ignore_room(_: *mut ngx_connection_t) {}

/// Closes the link, if it is open.
pub fn close() {
    let c = LINK.replace(null_mut());
    if !c.is_null() {
        // SAFETY: open, as only this function closes it.
        unsafe { ngx_close_connection(c) };
    }
}

/// Sends what the socket takes.
pub fn send(bytes: &[u8]) -> Result<usize, Broken> {
    let c = LINK.get();
    if c.is_null() {
        return Err(Broken);
    }
    // SAFETY: open, as it is the link.
    unsafe { write_to(c, bytes) }
}

unsafe extern "C" fn readable(ev: *mut ngx_event_t) {
    // SAFETY: an event's data is its connection. It stays open during the reading: the engine's
    // wish to close it is carried out later.
    let done = guard(|| unsafe {
        let c = (*ev).data.cast::<ngx_connection_t>();
        if (*c).close() != 0 {
            // nginx's patience with a worker that leaves is over.
            (*c).set_close(0);
            (*c).set_error(0);
            return worker::out_of_patience();
        }
        let end = read(c, READS, worker::link_received);
        if end == ReadEnd::Ended || !read_again(c, end) {
            worker::link_broken("closed the connection");
        }
    });
    if done.is_none() {
        guard(|| worker::link_broken("could not be understood"));
    }
}

unsafe extern "C" fn writable(_: *mut ngx_event_t) {
    if guard(worker::flush).is_none() {
        guard(|| worker::link_broken("could not be written to"));
    }
}
