//! A detached WebSocket: a connection of nginx's without an HTTP request.
//!
//! Its `data` is the engine's name for the session, 0 while there is none. The engine in its turn
//! knows it by a handle: its place among nginx's connections and its number, which nginx gives
//! only once. A handle whose connection is closed finds nothing.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::null_mut;

use ::ngx::ffi::{
    NGX_AGAIN, NGX_OK, ngx_connection_t, ngx_cycle_t, ngx_event_t, ngx_handle_read_event,
    ngx_handle_write_event, ngx_http_close_connection, ngx_int_t, ngx_post_event,
    ngx_posted_next_events, shutdown,
};
use push_worker::{Broken, Conn, SessionId};

use super::guard::guard;
use crate::worker;

/// Bytes read at once, by all connections into the same buffer.
const BUFFER: usize = 64 * 1024;

/// How often a connection may fill it in one turn of the event loop.
const READS: usize = 4;

thread_local! {
    /// nginx's connections, and how many there are.
    static ALL: Cell<(*mut ngx_connection_t, usize)> = const { Cell::new((null_mut(), 0)) };
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Remembers where nginx keeps its connections.
///
/// # Safety
///
/// `cycle` is the cycle of a process that runs, which never frees its connections.
pub(super) unsafe fn init(cycle: *mut ngx_cycle_t) {
    // SAFETY: by the contract.
    unsafe { ALL.set(((*cycle).connections, (*cycle).connection_n)) };
}

/// Reads a connection's bytes up to a bound. `on` gets each piece and says whether to go on.
/// `Ended`: the peer's end of the stream, or an error.
///
/// # Safety
///
/// `c` is an open connection.
pub(super) unsafe fn read(
    c: *mut ngx_connection_t,
    reads: usize,
    mut on: impl FnMut(&[u8]) -> bool,
) -> ReadEnd {
    let mut buffer = READ_BUFFER.take();
    // Empty at first, and after a panic in `on`.
    buffer.resize(BUFFER, 0);
    let end = 'all: {
        for _ in 0..reads {
            // SAFETY: nginx sets `recv` of every connection; it writes at most as much as it is
            // told there is room for.
            let n = unsafe {
                match (*c).recv {
                    Some(recv) => recv(c, buffer.as_mut_ptr(), buffer.len()),
                    None => -1,
                }
            };
            match usize::try_from(n) {
                Ok(n @ 1..) => {
                    if !on(&buffer[..n]) {
                        break 'all ReadEnd::Stopped;
                    }
                }
                Err(_) if n == NGX_AGAIN as isize => break 'all ReadEnd::Dry,
                _ => break 'all ReadEnd::Ended,
            }
        }
        ReadEnd::More
    };
    READ_BUFFER.set(buffer);
    end
}

/// How reading came to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadEnd {
    /// There is no more now.
    Dry,
    /// There may be more; the others are to have their turn.
    More,
    /// There will be no more.
    Ended,
    /// Whoever gets the bytes wants no more.
    Stopped,
}

/// Has a connection's read event called again: in the next turn if it was not read dry, else when
/// something comes. False: the connection is of no use any more.
///
/// # Safety
///
/// `c` is an open connection.
pub(super) unsafe fn read_again(c: *mut ngx_connection_t, end: ReadEnd) -> bool {
    // SAFETY: an open connection has both events; the queue is nginx's.
    unsafe {
        if end == ReadEnd::More {
            ngx_post_event((*c).read, &raw mut ngx_posted_next_events);
        }
        ngx_handle_read_event((*c).read, 0) == NGX_OK as ngx_int_t
    }
}

/// Writes what the socket takes, without waiting.
///
/// # Safety
///
/// `c` is an open connection. After a partial write over TLS the rest has to come from the same
/// address.
pub(super) unsafe fn write_to(c: *mut ngx_connection_t, bytes: &[u8]) -> Result<usize, Broken> {
    // SAFETY: an open connection has both events, and nginx sets `send`; it reads at most as much
    // as it is told there is.
    unsafe {
        if (*c).error() != 0 || (*(*c).write).error() != 0 {
            return Err(Broken);
        }
        let mut written = 0;
        if (*(*c).write).ready() != 0 {
            let n = match (*c).send {
                Some(send) => send(c, bytes.as_ptr().cast_mut(), bytes.len()),
                None => return Err(Broken),
            };
            written = match usize::try_from(n) {
                Ok(n) => n,
                Err(_) if n == NGX_AGAIN as isize => 0,
                Err(_) => return Err(Broken),
            };
        }
        if written < bytes.len() && ngx_handle_write_event((*c).write, 0) != NGX_OK as ngx_int_t {
            return Err(Broken);
        }
        Ok(written)
    }
}

/// The handle of a connection.
///
/// # Safety
///
/// `c` is one of nginx's connections.
pub(super) unsafe fn handle(c: *mut ngx_connection_t) -> Option<Conn> {
    let (first, count) = ALL.get();
    let offset = (c as usize).checked_sub(first as usize)?;
    let index = offset / size_of::<ngx_connection_t>();
    // SAFETY: by the contract.
    let number = unsafe { (*c).number } as u32;
    (index < count).then_some(Conn((number as usize) << 32 | index))
}

/// The connection behind a handle, if it is still open.
fn find(conn: Conn) -> Option<*mut ngx_connection_t> {
    let (first, count) = ALL.get();
    let index = conn.0 & 0xffff_ffff;
    if index >= count {
        return None;
    }
    // SAFETY: within nginx's array, which is never freed; a connection that is not open has no
    // descriptor, and one that was opened anew has another number.
    unsafe {
        let c = first.add(index);
        ((*c).fd != -1 && (*c).number as u32 == (conn.0 >> 32) as u32).then_some(c)
    }
}

/// Writes what the socket of a detached WebSocket takes.
pub fn write(conn: Conn, bytes: &[u8]) -> Result<usize, Broken> {
    let c = find(conn).ok_or(Broken)?;
    // SAFETY: open, as it was found. The engine keeps what it could not write where it is until it
    // is written.
    unsafe { write_to(c, bytes) }
}

/// Has a detached WebSocket read in the next turn of the event loop.
pub fn read_more(conn: Conn) {
    if let Some(c) = find(conn) {
        // SAFETY: an open connection has both events; the queue is nginx's.
        unsafe { ngx_post_event((*c).read, &raw mut ngx_posted_next_events) };
    }
}

/// Ends the sending side of a detached WebSocket. What the peer still sends is read.
pub fn finish_writes(conn: Conn) {
    const SENDING: i32 = 1; // SHUT_WR
    let Some(c) = find(conn) else { return };
    // SAFETY: an open connection's descriptor. Over TLS the end of the TCP stream would come
    // before TLS's own end and look like an attack; there the close frame has to do.
    unsafe {
        if !is_tls(c) {
            shutdown((*c).fd, SENDING);
        }
    }
}

/// Closes a detached WebSocket. Not to be called from within a callback about it.
pub fn close(conn: Conn) {
    if let Some(c) = find(conn) {
        // SAFETY: open, as it was found, and detached: the engine has handles of no others.
        unsafe { close_now(c) };
    }
}

/// # Safety
///
/// `c` is a detached connection that is open.
unsafe fn close_now(c: *mut ngx_connection_t) {
    // SAFETY: by the contract. Over TLS closing may take its time: no event of it means a session.
    unsafe {
        (*c).data = null_mut();
        if (*(*c).write).ready() == 0 {
            // Something waits to be written: TLS's own end can't be put behind it.
            (*c).set_error(1);
        }
        ngx_http_close_connection(c);
    }
}

#[cfg(ngx_feature = "ssl")]
pub(super) unsafe fn is_tls(c: *const ngx_connection_t) -> bool {
    // SAFETY: the caller's connection is open.
    unsafe { !(*c).ssl.is_null() }
}

#[cfg(not(ngx_feature = "ssl"))]
pub(super) unsafe fn is_tls(_: *const ngx_connection_t) -> bool {
    false
}

/// Makes a session of a connection that has left its request.
///
/// # Safety
///
/// `c` is an open connection that nobody else looks after.
pub(super) unsafe fn adopt(
    c: *mut ngx_connection_t,
    open: impl FnOnce(Conn) -> Option<SessionId>,
) -> Option<SessionId> {
    // SAFETY: by the contract: its events and its data are ours from here on.
    unsafe {
        (*c).data = null_mut();
        (*(*c).read).handler = Some(readable);
        (*(*c).write).handler = Some(writable);
        // Not idle: nginx would have all of them leave at once when the worker does.
        (*c).set_idle(0);
        let session = handle(c).and_then(|conn| guard(|| open(conn))).flatten();
        match session {
            Some(session) => (*c).data = session.0 as *mut c_void,
            None => close_now(c),
        }
        session
    }
}

/// # Safety
///
/// `c` is a detached connection.
unsafe fn session(c: *const ngx_connection_t) -> SessionId {
    // SAFETY: by the contract.
    SessionId(unsafe { (*c).data } as u64)
}

/// Something came in on a detached WebSocket, or nginx wants to be rid of it.
pub(super) unsafe extern "C" fn readable(ev: *mut ngx_event_t) {
    // SAFETY: an event's data is its connection, which is open while it has events. It stays open
    // during the callback: the engine's wish to close it is carried out later.
    unsafe {
        let c = (*ev).data.cast::<ngx_connection_t>();
        let session = session(c);
        if session.0 == 0 {
            return;
        }
        let done = guard(|| {
            if (*c).close() != 0 {
                // nginx's patience with a worker that leaves is over. Nothing is wrong with the
                // connection: it can still be written to.
                (*c).set_close(0);
                (*c).set_error(0);
                return worker::cut(session);
            }
            let end = if worker::reads(session) {
                read(c, READS, |bytes| worker::received(session, bytes))
            } else {
                ReadEnd::Stopped
            };
            if end == ReadEnd::Ended || !read_again(c, end) {
                worker::ended(session);
            }
        });
        if done.is_none() {
            give_up(c, session);
        }
    }
}

/// A detached WebSocket has room again.
pub(super) unsafe extern "C" fn writable(ev: *mut ngx_event_t) {
    // SAFETY: as for `readable`.
    unsafe {
        let c = (*ev).data.cast::<ngx_connection_t>();
        let session = session(c);
        if session.0 != 0 && guard(|| worker::writable(session)).is_none() {
            give_up(c, session);
        }
    }
}

/// After a panic: the one connection that it was about is closed.
///
/// # Safety
///
/// `c` is a detached connection that is open, and its callback does nothing more.
unsafe fn give_up(c: *mut ngx_connection_t, session: SessionId) {
    guard(|| worker::forget(session));
    // SAFETY: by the contract.
    unsafe { close_now(c) };
}
