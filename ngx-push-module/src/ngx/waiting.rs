//! Requests that wait for an answer of the engine: long polls, publishes, questions.
//!
//! The engine knows a request by a handle. It is looked up here; one whose request is gone (the
//! client left, the worker ends) finds nothing, so an answer can come late without harm.

use std::cell::RefCell;
use std::ffi::c_void;

use ::ngx::ffi::{
    NGX_ERROR, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_SPECIAL_RESPONSE, ngx_http_block_reading,
    ngx_http_cleanup_add, ngx_http_discard_request_body, ngx_http_finalize_request,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_http_test_reading, ngx_int_t,
    ngx_post_event, ngx_posted_events,
};
use push_protocol::request::Publication;
use push_worker::{Request, Response, SessionId, Subscriber};

use super::detach::{self, Expected, Guest, Handshake};
use super::guard::guard;
use super::request::Done;
use super::respond;
use crate::handlers::Upgrade;
use crate::worker;

/// What to tell the engine when a request goes before it is answered.
#[derive(Clone, Copy)]
enum Waits {
    /// The engine does not know of it yet.
    Nothing,
    /// A long poll.
    Poll(SessionId),
    /// A publish or a question, by the engine's name for it.
    Answer(u64),
}

struct Entry {
    generation: u32,
    /// Null: free.
    r: *mut ngx_http_request_t,
    waits: Waits,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

// A handle is a generation and an index in one usize.
const _: () = assert!(usize::BITS == 64);

impl Table {
    fn insert(&mut self, r: *mut ngx_http_request_t) -> Request {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                r: std::ptr::null_mut(),
                waits: Waits::Nothing,
            });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.r = r;
        entry.waits = Waits::Nothing;
        Request((entry.generation as usize) << 32 | index as usize)
    }

    fn find(&mut self, handle: Request) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(handle.0 & 0xffff_ffff)?;
        (!entry.r.is_null() && entry.generation as usize == handle.0 >> 32).then_some(entry)
    }

    fn take(&mut self, handle: Request) -> Option<(*mut ngx_http_request_t, Waits)> {
        let entry = self.find(handle)?;
        let taken = (entry.r, entry.waits);
        entry.r = std::ptr::null_mut();
        self.free.push(handle.0 as u32);
        Some(taken)
    }
}

/// Notes a request, until it is answered or gone.
///
/// # Safety
///
/// `r` is a living main request.
unsafe fn hold(r: *mut ngx_http_request_t) -> Option<Request> {
    // SAFETY: the request lives; a cleanup that is not null is ours to fill in.
    unsafe {
        let cleanup = ngx_http_cleanup_add(r, 0).as_mut()?;
        let handle = TABLE.with_borrow_mut(|table| table.insert(r));
        cleanup.handler = Some(gone);
        cleanup.data = handle.0 as *mut c_void;
        Some(handle)
    }
}

/// nginx frees a request, or is about to.
unsafe extern "C" fn gone(data: *mut c_void) {
    guard(|| {
        let taken = TABLE.with_borrow_mut(|table| table.take(Request(data as usize)));
        match taken {
            Some((_, Waits::Poll(session))) => worker::forget(session),
            Some((_, Waits::Answer(name))) => worker::abandon(name),
            Some((_, Waits::Nothing)) | None => {}
        }
    });
}

/// Hands a request to the engine by `ask`, which returns what the request then waits for.
///
/// # Safety
///
/// `r` is a living main request.
unsafe fn wait(r: *mut ngx_http_request_t, ask: impl FnOnce(Request) -> Option<Waits>) -> Done {
    // SAFETY: passed on.
    let Some(handle) = (unsafe { hold(r) }) else {
        return Done::Finished(NGX_ERROR as ngx_int_t);
    };
    let Some(waits) = ask(handle) else {
        TABLE.with_borrow_mut(|table| table.take(handle));
        // SAFETY: the request lives.
        return Done::Finished(unsafe { respond::send(r, Response::unavailable()) });
    };
    TABLE.with_borrow_mut(|table| {
        if let Some(entry) = table.find(handle) {
            entry.waits = waits;
        }
    });
    Done::Kept
}

/// A long poll begins to wait.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn poll(r: *mut ngx_http_request_t, subscriber: Subscriber) -> Done {
    // SAFETY: the request lives until it is finalized, which nobody does before this returns.
    unsafe {
        let rc = ngx_http_discard_request_body(r);
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == NGX_ERROR as ngx_int_t {
            return Done::Finished(rc);
        }
        let done = wait(r, |handle| worker::open_poll(handle, subscriber).map(Waits::Poll));
        if let Done::Kept = done
            && (*r).discard_body() == 0
        {
            end_with_client(r);
        }
        done
    }
}

/// Has a client that leaves end the wait, and one that has left before this.
///
/// # Safety
///
/// `r` is a living main request.
unsafe fn end_with_client(r: *mut ngx_http_request_t) {
    // SAFETY: the request's connection is open and has both events; the queue is nginx's.
    unsafe {
        (*r).read_event_handler = Some(ngx_http_test_reading);
        let read = (*(*r).connection).read;
        if (*read).ready() != 0 {
            ngx_post_event(read, &raw mut ngx_posted_events);
        }
    }
}

/// A publisher begins to wait. Its leaving ends nothing: the request stays until the engine
/// answers, and what the client does meanwhile is not looked at.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn publish(
    r: *mut ngx_http_request_t,
    messages: Vec<Publication>,
    counted: bool,
) -> Done {
    // SAFETY: passed on.
    unsafe {
        (*r).read_event_handler = Some(ngx_http_block_reading);
        wait(r, |handle| worker::publish(handle, counted, messages).map(Waits::Answer))
    }
}

/// A question begins to wait.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn question(
    r: *mut ngx_http_request_t,
    ask: impl FnOnce(Request) -> Option<u64>,
) -> Done {
    // SAFETY: passed on.
    unsafe {
        let rc = ngx_http_discard_request_body(r);
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == NGX_ERROR as ngx_int_t {
            return Done::Finished(rc);
        }
        wait(r, |handle| ask(handle).map(Waits::Answer))
    }
}

/// A handshake begins: its session is there from now on. It waits if the engine says so.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for, and within its content handler.
pub(super) unsafe fn handshake(r: *mut ngx_http_request_t, upgrade: Upgrade) -> Done {
    let Upgrade { accept, subprotocol, settings, subscriber } = upgrade;
    // SAFETY: the request lives until it is finalized, which nobody does before this returns.
    unsafe {
        let (handle, guest, ready) = match subscriber {
            None => (None, Guest::Unknown(settings), true),
            Some(subscriber) => {
                let Some(handle) = hold(r) else {
                    return Done::Finished(NGX_ERROR as ngx_int_t);
                };
                let Some((session, ready)) = worker::begin_websocket(handle, subscriber) else {
                    TABLE.with_borrow_mut(|table| table.take(handle));
                    return Done::Finished(respond::send(r, Response::unavailable()));
                };
                (Some(handle), Guest::Expected(Expected::new(session)), ready)
            }
        };
        if !detach::keep_handshake(r, Handshake { accept, subprotocol, guest }) {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        }
        if ready {
            handle.map(|handle| TABLE.with_borrow_mut(|table| table.take(handle)));
            return detach::begin(r);
        }
        end_with_client(r);
        Done::Kept
    }
}

/// A handshake has waited long enough, if it is still there. As [`respond`], not to be called from
/// within a callback about its request.
pub fn upgrade(handle: Request) {
    let Some((r, _)) = TABLE.with_borrow_mut(|table| table.take(handle)) else {
        return;
    };
    // SAFETY: as in `respond`; `begin` leaves finalizing to us unless it keeps the request.
    unsafe {
        let c = (*r).connection;
        (*r).read_event_handler = Some(ngx_http_block_reading);
        let finished = match guard(|| detach::begin(r)) {
            Some(Done::Kept | Done::Reading) => return,
            Some(Done::Finished(rc)) => rc,
            None => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
        };
        ngx_http_finalize_request(r, finished);
        ngx_http_run_posted_requests(c);
    }
}

/// Answers a request, if it is still there. Not to be called from within a callback about that
/// request: it may be gone when this returns.
pub fn respond(handle: Request, response: Response) {
    let Some((r, _)) = TABLE.with_borrow_mut(|table| table.take(handle)) else {
        return;
    };
    // SAFETY: an entry's request lives: its cleanup, which runs before it is freed, would have
    // removed the entry. The reference counted when it began to wait is given back by finalizing.
    // `c` outlives the request: connections are in an array, or in the pool of an HTTP/2
    // connection that is not freed within this call.
    unsafe {
        let c = (*r).connection;
        let rc = guard(|| respond::send(r, response));
        let rc = rc.unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }
}
