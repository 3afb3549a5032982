//! An HTTP request: what it says, and what is done about it.

use std::marker::PhantomData;
use std::ptr::NonNull;

use ::ngx::ffi::{
    NGX_DONE, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_OPTIONS,
    NGX_HTTP_POST, NGX_HTTP_VERSION_11, ngx_http_request_t, ngx_int_t, ngx_list_t, ngx_table_elt_t,
    ngx_uint_t,
};

use super::conf::{core_location_of, location_of};
use super::guard::guard;
use super::{body, respond, waiting};
use crate::handlers::{self, Action};
use crate::location::Location;
use crate::worker;

/// The methods that make a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// Any other.
    Other,
}

/// How a request's path relates to its location's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// It is the location's.
    Same,
    /// It begins with the location's.
    Below,
    /// nginx has found the location after decoding or merging slashes only.
    Other,
}

/// A request, while a callback about it runs.
pub struct Request<'a> {
    r: NonNull<ngx_http_request_t>,
    during: PhantomData<&'a ngx_http_request_t>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `r` lives as long as `'a`, and nobody changes what it says meanwhile.
    pub(super) unsafe fn new(r: *mut ngx_http_request_t) -> Option<Request<'a>> {
        Some(Self { r: NonNull::new(r)?, during: PhantomData })
    }

    fn r(&self) -> &'a ngx_http_request_t {
        // SAFETY: by `new`'s contract.
        unsafe { self.r.as_ref() }
    }

    /// Its method.
    pub fn method(&self) -> Method {
        match self.r().method as u32 {
            NGX_HTTP_GET => Method::Get,
            NGX_HTTP_HEAD => Method::Head,
            NGX_HTTP_POST => Method::Post,
            NGX_HTTP_OPTIONS => Method::Options,
            _ => Method::Other,
        }
    }

    /// Whether it came by HTTP/1.1, where alone a connection can be upgraded.
    pub fn is_http11(&self) -> bool {
        self.r().http_version == NGX_HTTP_VERSION_11 as ngx_uint_t
    }

    /// The value of a header, without regard to case; of several lines the first.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// The values of all lines of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // SAFETY: nginx's list of header lines, which lives with the request.
        let lines = unsafe { elements(&self.r().headers_in.headers) };
        lines
            .filter(move |line| line.key.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| line.value.as_bytes())
    }

    /// The query: what follows the first `?` of the raw request target, unless the administrator
    /// has put another one in its place (`rewrite`, `set $args`).
    pub fn query(&self) -> &'a [u8] {
        let target = self.r().unparsed_uri.as_bytes();
        let args = self.r().args.as_bytes();
        let of_target = target.as_ptr_range();
        if args.is_empty() || !of_target.contains(&args.as_ptr()) {
            return args;
        }
        // nginx ends the arguments at a `#`, the protocol does not.
        &target[args.as_ptr() as usize - of_target.start as usize..]
    }

    /// How the path relates to the location's. The raw path counts, as long as nothing was
    /// rewritten; where the location has no path (a regular expression, a name), nginx's choice.
    pub fn path(&self, location: &Location) -> Path {
        if location.by_pattern {
            return Path::Same;
        }
        // SAFETY: the request lives.
        let core = unsafe { core_location_of(self.r()) };
        let path = if self.r().valid_unparsed_uri() == 0 {
            self.r().uri.as_bytes()
        } else {
            let target = self.r().unparsed_uri.as_bytes();
            target.split(|&byte| byte == b'?').next().unwrap_or_default()
        };
        match path.strip_prefix(core.name.as_bytes()) {
            Some([]) => Path::Same,
            Some(_) => Path::Below,
            None => Path::Other,
        }
    }

    /// Whether nginx itself asks, in the course of another request (SSI, `mirror`, …).
    pub fn is_subrequest(&self) -> bool {
        !std::ptr::eq(self.r(), self.r().main)
    }
}

/// The elements of one of nginx's lists of header lines.
///
/// # Safety
///
/// `list` is a valid list of `ngx_table_elt_t` and does not change while `'a` lasts.
unsafe fn elements<'a>(list: &'a ngx_list_t) -> impl Iterator<Item = &'a ngx_table_elt_t> {
    // SAFETY: the parts are chained up to a null, each with `nelts` elements.
    let next = |part: &&'a ::ngx::ffi::ngx_list_part_t| unsafe { part.next.as_ref() };
    std::iter::successors(Some(&list.part), next).flat_map(|part| {
        if part.nelts == 0 {
            return [].iter();
        }
        // SAFETY: see above.
        unsafe { std::slice::from_raw_parts(part.elts.cast::<ngx_table_elt_t>(), part.nelts) }
            .iter()
    })
}

/// What became of an action.
pub(super) enum Done {
    /// The request is to be finalized with this.
    Finished(ngx_int_t),
    /// Somebody keeps it, on a reference that is still to be counted (or, while its body was read,
    /// on the one that reading has counted).
    Kept,
    /// Its body is being read, on a reference that reading has counted.
    Reading,
}

/// A request has come to a location with a role.
pub(super) unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let done = guard(|| {
        // SAFETY: nginx's request, which lives at least until this callback returns; what it says
        // does not change as long as `request` is in use.
        let action = unsafe {
            let request = Request::new(r)?;
            let location = location_of(r)?.location.as_ref()?;
            handlers::content(&request, location)
        };
        // SAFETY: the same request; the handler's borrow of it has ended.
        Some(unsafe { perform(r, action) })
    });
    match done.flatten() {
        Some(Done::Finished(rc)) => rc,
        Some(Done::Kept) => {
            // SAFETY: the request lives: nothing finalizes one within its content handler.
            unsafe { retain(r) };
            NGX_DONE as ngx_int_t
        }
        Some(Done::Reading) => NGX_DONE as ngx_int_t,
        None => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
    }
}

/// Counts one reference more.
///
/// # Safety
///
/// `r` is a living request.
unsafe fn retain(r: *mut ngx_http_request_t) {
    // SAFETY: by the contract; requests live on one thread.
    unsafe {
        let main = (*r).main;
        (*main).set_count((*main).count() + 1);
    }
}

/// Does what a handler has decided.
///
/// # Safety
///
/// `r` is a living main request that nothing has been sent for.
pub(super) unsafe fn perform(r: *mut ngx_http_request_t, action: Action) -> Done {
    // SAFETY: passed on.
    unsafe {
        match action {
            Action::Respond(response) => respond::discard_and_send(r, response),
            Action::Refuse(refusal) => respond::refuse_upgrade(r, refusal),
            Action::Upgrade(upgrade) => waiting::handshake(r, upgrade),
            Action::Poll(subscriber) => waiting::poll(r, subscriber),
            Action::ReadBody { max } => body::read(r, max),
            Action::Publish { messages, counted } => waiting::publish(r, messages, counted),
            Action::ChannelStats(channels, format) => {
                waiting::question(r, |request| worker::channel_stats(request, channels, format))
            }
            Action::ServerStats(format) => {
                waiting::question(r, |request| worker::server_stats(request, format))
            }
            Action::Observe(view) => waiting::question(r, |request| worker::observe(request, view)),
        }
    }
}

/// The location that a request has come to.
///
/// # Safety
///
/// `r` is a living request.
pub(super) unsafe fn location<'a>(r: *mut ngx_http_request_t) -> Option<&'a Location> {
    // SAFETY: passed on.
    unsafe { location_of(r)?.location.as_deref() }
}
