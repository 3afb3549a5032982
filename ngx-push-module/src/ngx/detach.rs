//! A WebSocket leaves its HTTP request: the request is freed, the connection stays. What is left
//! of an idle one is nginx's connection, a pool of a few hundred bytes and the engine's session.

use std::ffi::c_char;
use std::ptr::null_mut;

use ::ngx::ffi::{
    NGX_ERROR, NGX_HTTP_FLUSH, NGX_HTTP_REQUEST_TIME_OUT, NGX_OK, ngx_add_timer, ngx_chain_t,
    ngx_connection_t, ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_SET,
    ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_UNSET, ngx_del_timer, ngx_event_t,
    ngx_handle_write_event, ngx_http_connection_t, ngx_http_finalize_request,
    ngx_http_free_request, ngx_http_log_ctx_t, ngx_http_output_filter, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_http_send_header, ngx_http_send_special, ngx_int_t,
    ngx_pfree, ngx_post_event, ngx_posted_events, ngx_tcp_nodelay, ngx_tcp_push, ngx_uint_t,
};

use push_worker::{SessionId, SettingsId};

use super::conf::{core_location_of, keep};
use super::connection::adopt;
use super::guard::guard;
use super::module::ctx_index;
use super::request::Done;
use super::respond::{add_header, borrowed};
use crate::worker;

/// What an error log line says that a detached connection was doing.
const ACTION: *mut c_char = c"serving a push WebSocket".as_ptr().cast_mut();

/// How long to wait for whoever else holds the request (`mirror`, …), milliseconds.
const HELD_ELSEWHERE: usize = 100;

/// A handshake that is being answered; the request's context, which goes with the request.
pub(super) struct Handshake {
    /// `Sec-WebSocket-Accept`
    pub accept: [u8; 28],
    /// `Sec-WebSocket-Protocol`
    pub subprotocol: Option<Vec<u8>>,
    /// For whom.
    pub guest: Guest,
}

/// Who has a handshake answered.
pub(super) enum Guest {
    /// A subscriber whose session has begun.
    Expected(Expected),
    /// Somebody with a void channel list.
    Unknown(SettingsId),
}

/// A session that has no connection yet. It is forgotten when its request goes.
pub(super) struct Expected(Option<SessionId>);

impl Expected {
    pub fn new(session: SessionId) -> Self {
        Self(Some(session))
    }

    /// The session has a connection from now on.
    fn arrive(mut self) -> Option<SessionId> {
        self.0.take()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            worker::forget(session);
        }
    }
}

/// Keeps a handshake with its request, for [`begin`].
///
/// # Safety
///
/// `r` is a living main request.
pub(super) unsafe fn keep_handshake(r: *mut ngx_http_request_t, handshake: Handshake) -> bool {
    // SAFETY: the request lives; its context array has an entry for every http module.
    unsafe {
        let kept = keep((*r).pool, Some(handshake));
        *(*r).ctx.add(ctx_index()) = kept.cast();
        !kept.is_null()
    }
}

/// Sends 101; the connection is detached when that is written.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for and that [`keep_handshake`] was
/// called for; the caller touches its connection's events no more.
pub(super) unsafe fn begin(r: *mut ngx_http_request_t) -> Done {
    // SAFETY: by the contract; what the context points to lives as long as the request.
    unsafe {
        let kept = (*(*r).ctx.add(ctx_index())).cast::<Option<Handshake>>();
        let Some(handshake) = kept.as_ref().and_then(Option::as_ref) else {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        };
        let out = &mut (*r).headers_out;
        out.status = 101;
        out.status_line = borrowed(b"101 Switching Protocols");
        out.content_length_n = -1;
        let added = add_header(r, b"Upgrade", b"websocket")
            .and_then(|()| add_header(r, b"Sec-WebSocket-Accept", &handshake.accept))
            .and_then(|()| match &handshake.subprotocol {
                Some(name) => add_header(r, b"Sec-WebSocket-Protocol", name),
                None => Some(()),
            });
        if added.is_none() {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        }

        let rc = ngx_http_send_header(r);
        if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t {
            return Done::Finished(rc);
        }
        // Without it the header may be held back (postpone_output).
        if ngx_http_send_special(r, NGX_HTTP_FLUSH as ngx_uint_t) == NGX_ERROR as ngx_int_t {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        }
        let c = (*r).connection;
        if ngx_tcp_nodelay(c) != NGX_OK as ngx_int_t {
            return Done::Finished(NGX_ERROR as ngx_int_t);
        }
        // Not here: nginx still works on the request when its content handler has returned.
        (*(*c).write).handler = Some(detach);
        ngx_post_event((*c).write, &raw mut ngx_posted_events);
        Done::Kept
    }
}

/// The content handler has returned, or the socket has taken more of the 101.
unsafe extern "C" fn detach(ev: *mut ngx_event_t) {
    // SAFETY: this is the connection's write handler from `begin` to `free`: its data is the
    // request, which lives. After `ngx_http_finalize_request` only the connection is touched.
    unsafe {
        let c = (*ev).data.cast::<ngx_connection_t>();
        let r = (*c).data.cast::<ngx_http_request_t>();
        if (*ev).timedout() != 0 {
            (*c).set_timedout(1);
            return give_up(c, r, NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t);
        }
        if (*c).buffered() != 0 || (*r).buffered() != 0 {
            let rc = ngx_http_output_filter(r, null_mut());
            if rc == NGX_ERROR as ngx_int_t {
                return give_up(c, r, rc);
            }
            if (*c).buffered() != 0 || (*r).buffered() != 0 {
                if (*ev).timer_set() == 0 {
                    ngx_add_timer(ev, core_location_of(r).send_timeout);
                }
                if ngx_handle_write_event(ev, 0) != NGX_OK as ngx_int_t {
                    give_up(c, r, NGX_ERROR as ngx_int_t);
                }
                return;
            }
        }
        if (*c).error() != 0 {
            return give_up(c, r, NGX_ERROR as ngx_int_t);
        }
        if (*ev).timer_set() != 0 {
            ngx_del_timer(ev);
        }
        if (*r).count() != 1 || (*r).blocked() != 0 {
            // The posted event again, but not before the others have had their turn. The timer
            // makes `timedout`, which is no failure here.
            (*ev).handler = Some(look_again);
            ngx_add_timer(ev, HELD_ELSEWHERE);
            return;
        }
        let kept = (*(*r).ctx.add(ctx_index())).cast::<Option<Handshake>>();
        let Some(handshake) = kept.as_mut().and_then(Option::take) else {
            return give_up(c, r, NGX_ERROR as ngx_int_t);
        };
        let early = free(c, r);
        let session = adopt(c, |conn| match handshake.guest {
            Guest::Expected(expected) => worker::attach(expected.arrive()?, conn, &early),
            Guest::Unknown(settings) => worker::reject_websocket(conn, settings),
        });
        if session.is_some() {
            // What came meanwhile is not announced again.
            ngx_post_event((*c).read, &raw mut ngx_posted_events);
        }
    }
}

/// Whoever else held the request may have let go of it.
unsafe extern "C" fn look_again(ev: *mut ngx_event_t) {
    // SAFETY: set by `detach`, whose conditions still hold.
    unsafe {
        (*ev).set_timedout(0);
        (*ev).handler = Some(detach);
        detach(ev);
    }
}

/// # Safety
///
/// The connection's request lives, and the caller touches neither after this.
unsafe fn give_up(c: *mut ngx_connection_t, r: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: connections are in an array that is never freed.
    unsafe {
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }
}

/// Frees the request (its line goes to the access log) and what else the connection does not need
/// any more. Returns what the client had sent behind the handshake.
///
/// # Safety
///
/// `r` is the connection's request, with one reference, and nothing of it is buffered.
unsafe fn free(c: *mut ngx_connection_t, r: *mut ngx_http_request_t) -> Vec<u8> {
    // SAFETY: by the contract. `http` is in the connection's pool and outlives the request; the
    // log context is, too.
    unsafe {
        let input = &*(*r).header_in;
        let early = if input.pos < input.last {
            std::slice::from_raw_parts(input.pos, input.last.offset_from_unsigned(input.pos))
                .to_vec()
        } else {
            Vec::new()
        };
        let http = (*r).http_connection;
        ngx_http_free_request(r, 0);
        (*c).set_destroyed(0);
        (*c).data = null_mut();

        if let Some(log) = (*c).log.as_mut() {
            log.action = ACTION;
            if let Some(context) = log.data.cast::<ngx_http_log_ctx_t>().as_mut() {
                context.request = null_mut();
                context.current_request = null_mut();
            }
        }
        if let Some(buffer) = (*c).buffer.as_mut()
            && !buffer.start.is_null()
            && ngx_pfree((*c).pool, buffer.start.cast()) == NGX_OK as ngx_int_t
        {
            buffer.start = null_mut();
            buffer.pos = null_mut();
            buffer.last = null_mut();
            buffer.end = null_mut();
        }
        free_large_buffers(c, http);
        free_tls_buffer(c);

        // As nginx does when it keeps a connection alive.
        if (*c).tcp_nopush() == ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_SET {
            guard(|| ngx_tcp_push((*c).fd));
            (*c).set_tcp_nopush(ngx_connection_tcp_nopush_e_NGX_TCP_NOPUSH_UNSET);
        }
        ngx_handle_write_event((*c).write, 0);
        early
    }
}

/// Frees the buffers that a long request line or long headers have needed.
///
/// # Safety
///
/// `http` belongs to the connection, which has no request.
unsafe fn free_large_buffers(c: *mut ngx_connection_t, http: *mut ngx_http_connection_t) {
    // SAFETY: both chains are of the connection's pool; their links are not given back, as there
    // are few and they are part of the pool's first block.
    unsafe {
        let Some(http) = http.as_mut() else { return };
        for first in [&mut http.busy, &mut http.free] {
            let mut link: *mut ngx_chain_t = std::mem::replace(first, null_mut());
            while let Some(chain) = link.as_mut() {
                ngx_pfree((*c).pool, (*chain.buf).start.cast());
                link = chain.next;
            }
        }
        http.nbusy = 0;
    }
}

#[cfg(ngx_feature = "ssl")]
unsafe fn free_tls_buffer(c: *mut ngx_connection_t) {
    // SAFETY: nothing is buffered in it, as nothing of the connection is.
    unsafe {
        if !(*c).ssl.is_null() {
            ::ngx::ffi::ngx_ssl_free_buffer(c);
        }
    }
}

#[cfg(not(ngx_feature = "ssl"))]
unsafe fn free_tls_buffer(_: *mut ngx_connection_t) {}
