//! Answers, sent in nginx's way.

use std::ptr::null_mut;

use ::ngx::ffi::{
    NGX_ERROR, NGX_HTTP_SPECIAL_RESPONSE, NGX_OK, ngx_chain_t, ngx_http_discard_request_body,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_send_header, ngx_int_t, ngx_list_push,
    ngx_pcalloc, ngx_pnalloc, ngx_str_t, ngx_table_elt_t, ngx_uint_t,
};
use bytes::Bytes;
use push_protocol::handshake::Refusal;
use push_worker::{ContentType, LastMessageId, Response};

use super::conf::keep;
use super::request::Done;
use crate::handlers::page_policy;

/// The `Expires` of a poll that brought nothing (PROTOCOL.md, section 10): long ago.
const EXPIRES: &[u8] = b"Thu, 01 Jan 1973 11:11:01 GMT";

const NOT_MODIFIED: u16 = 304;
const TOO_LARGE: u16 = 413;

/// Answers a request whose body, if it has one, is of no interest.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn discard_and_send(r: *mut ngx_http_request_t, response: Response) -> Done {
    // SAFETY: the request lives.
    unsafe {
        if response.status == TOO_LARGE {
            // Nobody should send what will not be read: no `100 Continue`.
            (*r).set_expect_tested(1);
        }
        let rc = ngx_http_discard_request_body(r);
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == NGX_ERROR as ngx_int_t {
            return Done::Finished(rc);
        }
        Done::Finished(send(r, response))
    }
}

/// Sends an answer. The request is then to be finalized with what is returned.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn send(r: *mut ngx_http_request_t, response: Response) -> ngx_int_t {
    let status = response.status;
    // SAFETY: the request lives.
    unsafe {
        set_status(
            r,
            status,
            match response.content_type {
                ContentType::Text => b"text/plain",
                ContentType::Binary => b"application/octet-stream",
                ContentType::Metrics => b"text/plain; version=0.0.4; charset=utf-8",
                ContentType::Json => b"application/json",
                ContentType::Html => b"text/html; charset=utf-8",
            },
        );
        if status == TOO_LARGE {
            (*r).set_keepalive(0);
            (*r).set_lingering_close(1);
        }
        if add_headers(r, &response).is_none() {
            return NGX_ERROR as ngx_int_t;
        }
        send_body(r, response.body)
    }
}

/// Refuses to make a WebSocket of a request (PROTOCOL.md, section 9.1).
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn refuse_upgrade(r: *mut ngx_http_request_t, refusal: Refusal) -> Done {
    // SAFETY: the request lives.
    unsafe {
        (*r).set_keepalive(0);
        set_status(r, refusal.status(), b"text/html");
        Done::Finished(send_body(r, Bytes::from_static(refusal.body().as_bytes())))
    }
}

/// # Safety
///
/// As for [`send`].
unsafe fn set_status(r: *mut ngx_http_request_t, status: u16, content_type: &'static [u8]) {
    // SAFETY: the request lives.
    unsafe {
        let out = &mut (*r).headers_out;
        out.status = ngx_uint_t::from(status);
        out.content_type = borrowed(content_type);
        // Not the length of the type: so neither a charset is appended to it nor does a filter
        // that goes by type lay hands on the body.
        out.content_type_len = 0;
        out.content_type_lowcase = null_mut();
        // If-Unmodified-Since and its like are ignored (PROTOCOL.md, section 3).
        (*r).set_disable_not_modified(1);
        (*r).set_allow_ranges(0);
    }
}

/// # Safety
///
/// As for [`send`].
unsafe fn add_headers(r: *mut ngx_http_request_t, response: &Response) -> Option<()> {
    // SAFETY: the request lives.
    unsafe {
        if response.is_confidential() {
            add_header(r, b"Cache-Control", b"no-store")?;
            add_header(r, b"X-Content-Type-Options", b"nosniff")?;
            add_header(r, b"Referrer-Policy", b"no-referrer")?;
        } else {
            add_header(r, b"Access-Control-Allow-Origin", b"*")?;
        }
        if response.content_type == ContentType::Html {
            add_header(r, b"Content-Security-Policy", page_policy().as_bytes())?;
        }
        if response.expose_last_message_id {
            add_header(r, b"Access-Control-Expose-Headers", b"Last-Message-Id")?;
        }
        if let Some(last) = response.last_message_id {
            add_header(r, b"Expires", EXPIRES)?;
            match last {
                LastMessageId::Empty => add_header(r, b"Last-Message-Id", b"")?,
                LastMessageId::Is(mid) => add_header(r, b"Last-Message-Id", &mid.to_digits())?,
            }
        }
        if response.preflight {
            add_header(r, b"Access-Control-Allow-Methods", b"POST, GET, DELETE, OPTIONS")?;
            add_header(r, b"Access-Control-Allow-Headers", b"If-Modified-Since, If-None-Match")?;
        }
        if let Some(seconds) = response.retry_after {
            add_header(r, b"Retry-After", seconds.to_string().as_bytes())?;
        }
    }
    Some(())
}

/// Adds a line to the answer's header. `None`: out of memory.
///
/// # Safety
///
/// `r` is a living request whose header has not been sent.
pub(super) unsafe fn add_header(
    r: *mut ngx_http_request_t,
    name: &'static [u8],
    value: &[u8],
) -> Option<()> {
    // SAFETY: the list's elements are header lines; a new one is uninitialized, and every byte of
    // it is written here (later versions of nginx have more fields). The copy of `value` fits the
    // memory it is given, which lives with the request.
    unsafe {
        let line = ngx_list_push(&raw mut (*r).headers_out.headers).cast::<ngx_table_elt_t>();
        if line.is_null() {
            return None;
        }
        line.write_bytes(0, 1);
        let data = ngx_pnalloc((*r).pool, value.len().max(1)).cast::<u8>();
        if data.is_null() {
            return None;
        }
        data.copy_from_nonoverlapping(value.as_ptr(), value.len());
        (*line).hash = 1;
        (*line).key = borrowed(name);
        (*line).value = ngx_str_t { len: value.len(), data };
        Some(())
    }
}

/// A string of nginx's that nobody writes to.
pub(super) fn borrowed(bytes: &'static [u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// Sends the header, then the body.
///
/// # Safety
///
/// As for [`send`].
unsafe fn send_body(r: *mut ngx_http_request_t, body: Bytes) -> ngx_int_t {
    // SAFETY: the request lives.
    unsafe {
        if (*r).headers_out.status != ngx_uint_t::from(NOT_MODIFIED) {
            (*r).headers_out.content_length_n = body.len() as i64;
        }
        if body.is_empty() {
            (*r).set_header_only(1);
        }
        let rc = ngx_http_send_header(r);
        if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || (*r).header_only() != 0 {
            return rc;
        }
        // The request's pool keeps the bytes until they are written.
        let body = keep((*r).pool, body);
        let buf = ngx_pcalloc((*r).pool, size_of::<::ngx::ffi::ngx_buf_t>())
            .cast::<::ngx::ffi::ngx_buf_t>();
        if body.is_null() || buf.is_null() {
            return NGX_ERROR as ngx_int_t;
        }
        let range = (*body).as_ptr_range();
        (*buf).start = range.start.cast_mut();
        (*buf).pos = range.start.cast_mut();
        (*buf).last = range.end.cast_mut();
        (*buf).end = range.end.cast_mut();
        (*buf).set_memory(1);
        (*buf).set_last_buf(1);
        (*buf).set_last_in_chain(1);
        let mut chain = ngx_chain_t { buf, next: null_mut() };
        ngx_http_output_filter(r, &raw mut chain)
    }
}
