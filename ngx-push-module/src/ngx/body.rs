//! Reads a request's body into memory, up to the location's limit.
//!
//! nginx is asked to read without buffering, so that nothing goes through a temporary file (a
//! worker never waits for a disk) and the limit holds while the body comes in.

use ::ngx::ffi::{
    NGX_AGAIN, NGX_ERROR, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_SPECIAL_RESPONSE, NGX_OK,
    ngx_http_block_reading, ngx_http_finalize_request, ngx_http_read_client_request_body,
    ngx_http_read_unbuffered_request_body, ngx_http_request_t, ngx_int_t,
};
use push_worker::Response;

use super::conf::keep;
use super::guard::guard;
use super::module::ctx_index;
use super::request::{Done, Request, location, perform};
use super::respond;
use crate::{handlers, worker};

/// A body that is being read; the request's context.
struct Body {
    bytes: Vec<u8>,
    max: usize,
}

/// Begins to read; [`handlers::body`] is asked when all is there.
///
/// # Safety
///
/// `r` is a living main request, and within its content handler.
pub(super) unsafe fn read(r: *mut ngx_http_request_t, max: usize) -> Done {
    // SAFETY: the request lives; its context array has an entry for every http module.
    unsafe {
        let announced = usize::try_from((*r).headers_in.content_length_n).unwrap_or(0);
        if announced > max {
            return respond::discard_and_send(r, Response::new(413));
        }
        let body = keep((*r).pool, Body { bytes: Vec::with_capacity(announced), max });
        if body.is_null() {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        }
        *(*r).ctx.add(ctx_index()) = body.cast();
        (*r).set_request_body_no_buffering(1);
        // Counts a reference of its own, unless it fails.
        let rc = ngx_http_read_client_request_body(r, Some(some_read));
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return Done::Finished(rc);
        }
        Done::Reading
    }
}

/// nginx has read the first of it, or all.
unsafe extern "C" fn some_read(r: *mut ngx_http_request_t) {
    // SAFETY: nginx's request, which lives until it is finalized.
    unsafe {
        (*r).read_event_handler = Some(more_to_read);
        guarded(r);
    }
}

/// There may be more to read, or its time is up.
unsafe extern "C" fn more_to_read(r: *mut ngx_http_request_t) {
    // SAFETY: nginx's request, which lives until it is finalized.
    unsafe { guarded(r) }
}

/// # Safety
///
/// `r` is a living main request whose body is being read.
unsafe fn guarded(r: *mut ngx_http_request_t) {
    // SAFETY: passed on; the reference that reading has counted is given back by finalizing, or
    // is that of the waiting request.
    unsafe {
        let done = guard(|| go_on(r));
        match done.unwrap_or(Done::Finished(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t)) {
            Done::Finished(rc) => ngx_http_finalize_request(r, rc),
            Done::Kept | Done::Reading => {}
        }
    }
}

/// Takes what has been read and reads on.
///
/// # Safety
///
/// `r` is a living main request whose body is being read.
unsafe fn go_on(r: *mut ngx_http_request_t) -> Done {
    // SAFETY: the request lives, and its context is the body that `read` put there.
    unsafe {
        let body = (*(*r).ctx.add(ctx_index())).cast::<Body>();
        if body.is_null() {
            return Done::Finished(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
        }
        loop {
            if !take(r, &mut *body) {
                (*r).read_event_handler = Some(ngx_http_block_reading);
                worker::refused_publish(413);
                return Done::Finished(respond::send(r, Response::new(413)));
            }
            if (*r).reading_body() == 0 {
                break;
            }
            let rc = ngx_http_read_unbuffered_request_body(r);
            if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == NGX_ERROR as ngx_int_t {
                return Done::Finished(rc);
            }
            if rc == NGX_AGAIN as ngx_int_t && (*(*r).request_body).bufs.is_null() {
                return Done::Reading;
            }
            debug_assert!(rc == NGX_AGAIN as ngx_int_t || rc == NGX_OK as ngx_int_t);
        }
        (*r).read_event_handler = Some(ngx_http_block_reading);
        let bytes = std::mem::take(&mut (*body).bytes);
        let action = match (Request::new(r), location(r)) {
            (Some(request), Some(location)) => handlers::body(&request, location, &bytes),
            _ => return Done::Finished(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t),
        };
        drop(bytes);
        perform(r, action)
    }
}

/// Moves what nginx has read into `body`, so that nginx can use its buffers again. False: too much.
///
/// # Safety
///
/// `r` is a living main request whose body is being read.
unsafe fn take(r: *mut ngx_http_request_t, body: &mut Body) -> bool {
    // SAFETY: the chain and its buffers are nginx's and live with the request; buffers are in
    // memory, as nginx was asked not to buffer in a file.
    unsafe {
        let mut link = (*(*r).request_body).bufs;
        (*(*r).request_body).bufs = std::ptr::null_mut();
        while let Some(chain) = link.as_mut() {
            let buf = &mut *chain.buf;
            if buf.pos < buf.last {
                let len = buf.last.offset_from_unsigned(buf.pos);
                if body.bytes.len() + len > body.max {
                    return false;
                }
                body.bytes.extend_from_slice(std::slice::from_raw_parts(buf.pos, len));
                buf.pos = buf.last;
            }
            let next = chain.next;
            // What nginx's macro ngx_free_chain does.
            chain.next = (*(*r).pool).chain;
            (*(*r).pool).chain = link;
            link = next;
        }
        true
    }
}
