//! nginx.conf: arguments, messages with file and line, the module's structures in it.

use std::cell::RefCell;
use std::ffi::{OsStr, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr::NonNull;

use ::ngx::ffi::{
    NGX_ERROR, NGX_HTTP_LOC_CONF, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_LOG_EMERG, NGX_OK,
    ngx_conf_full_name, ngx_conf_log_error, ngx_conf_t, ngx_cycle_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_module, ngx_http_request_t, ngx_int_t,
    ngx_log_error_core, ngx_parse_size, ngx_parse_time, ngx_pool_cleanup_add, ngx_pool_t,
    ngx_str_t, ngx_uint_t,
};
use push_worker::Level;

use super::guard::guard;
use super::log::level_of;
use super::module::ctx_index;
use super::request;
use crate::location::{LocationConf, MainConf, Place};

/// The http block.
pub const HTTP: usize = NGX_HTTP_MAIN_CONF as usize;
/// A server block.
pub const SERVER: usize = NGX_HTTP_SRV_CONF as usize;
/// A location.
pub const LOCATION: usize = NGX_HTTP_LOC_CONF as usize;

/// What nginx hands out while it reads nginx.conf.
pub struct Conf<'a> {
    cf: NonNull<ngx_conf_t>,
    during: PhantomData<&'a ngx_conf_t>,
}

impl<'a> Conf<'a> {
    /// # Safety
    ///
    /// `cf` is what nginx gave to a callback that has not returned while `'a` lasts.
    pub(super) unsafe fn new(cf: *mut ngx_conf_t) -> Option<Conf<'a>> {
        Some(Self { cf: NonNull::new(cf)?, during: PhantomData })
    }

    fn cf(&self) -> &ngx_conf_t {
        // SAFETY: valid for `'a` by `new`'s contract; nginx does not change it while a callback of
        // the module runs, except within functions that are called here, across which no such
        // reference is held.
        unsafe { self.cf.as_ref() }
    }

    /// The directive's argument.
    pub(super) fn argument(&self) -> &'a [u8] {
        // SAFETY: while a directive is handled `args` is a valid array of strings in the
        // configuration's pool, which outlives the callback.
        let args: &'a [ngx_str_t] = unsafe { (*self.cf().args).as_slice() };
        args.get(1).map_or(b"", |argument| argument.as_bytes())
    }

    /// Where nginx is reading.
    pub fn place(&self) -> Place {
        // SAFETY: null, or the file that is being read.
        match unsafe { self.cf().conf_file.as_ref() } {
            Some(file) => Place {
                file: String::from_utf8_lossy(file.file.name.as_bytes()).into_owned(),
                line: file.line,
            },
            None => Place { file: "the command line".into(), line: 0 },
        }
    }

    /// Writes a message that ends with the file and line that nginx is reading.
    pub fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        self.log_at(level_of(level), message);
    }

    /// The same for what keeps nginx from starting.
    pub(super) fn log_emergency(&self, message: fmt::Arguments<'_>) {
        self.log_at(NGX_LOG_EMERG as ngx_uint_t, message);
    }

    fn log_at(&self, level: ngx_uint_t, message: fmt::Arguments<'_>) {
        let message = message.to_string();
        // SAFETY: `cf` is valid; `%*s` takes a length and a pointer to that many bytes.
        unsafe {
            ngx_conf_log_error(
                level,
                self.cf.as_ptr(),
                0,
                c"%*s".as_ptr(),
                message.len(),
                message.as_ptr(),
            );
        }
    }

    /// The same for a message that names its place itself.
    pub(super) fn log_emergency_without_place(&self, message: &str) {
        // SAFETY: a configuration has a log; `%*s` takes a length and that many bytes.
        unsafe {
            ngx_log_error_core(
                NGX_LOG_EMERG as ngx_uint_t,
                self.cf().log,
                0,
                c"%*s".as_ptr(),
                message.len(),
                message.as_ptr(),
            );
        }
    }

    /// A path of nginx.conf, absolute: relative ones begin in the folder of nginx.conf.
    pub fn full_name(&self, path: &[u8]) -> Result<PathBuf, String> {
        let mut name = ngx_str_t { len: path.len(), data: path.as_ptr().cast_mut() };
        // SAFETY: nginx reads `name`, and points it to a new string in the cycle's pool if it has to
        // prepend something; what `path` points to is not written.
        let done = unsafe { ngx_conf_full_name(self.cf().cycle, &raw mut name, 1) };
        if done != NGX_OK as ngx_int_t {
            return Err("can't be handled: out of memory".into());
        }
        Ok(PathBuf::from(OsStr::from_bytes(name.as_bytes())))
    }

    /// A size as nginx writes sizes: bytes, or with `k` or `m`.
    pub fn parse_size(value: &[u8]) -> Option<usize> {
        let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
        if value.is_empty() {
            return None;
        }
        // SAFETY: only read; not empty, as the function looks at the last byte first.
        usize::try_from(unsafe { ngx_parse_size(&raw mut line) }).ok()
    }

    /// A time as nginx writes times, in milliseconds.
    pub fn parse_milliseconds(value: &[u8]) -> Option<u64> {
        let mut line = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
        // SAFETY: only read.
        let time = unsafe { ngx_parse_time(&raw mut line, 0) };
        u64::try_from(time).ok().filter(|_| time != NGX_ERROR as ngx_int_t)
    }

    /// What stands in the http block.
    pub fn main_conf(&self) -> Option<&'a RefCell<MainConf>> {
        // SAFETY: within an http block `ctx` is such a structure, whose arrays have an entry for
        // every http module; ours was made by `create_main_conf`.
        unsafe {
            let ctx = self.cf().ctx.cast::<ngx_http_conf_ctx_t>().as_ref()?;
            (*ctx.main_conf.add(ctx_index())).cast::<RefCell<MainConf>>().as_ref()
        }
    }

    /// nginx's own settings of the location that is being read or merged.
    fn core_location(&self) -> Option<NonNull<ngx_http_core_loc_conf_t>> {
        // SAFETY: as above; the core module has an entry at every level.
        unsafe {
            let ctx = self.cf().ctx.cast::<ngx_http_conf_ctx_t>().as_ref()?;
            NonNull::new((*ctx.loc_conf.add(ngx_http_core_module.ctx_index)).cast())
        }
    }

    /// Has requests of this location handled by the module.
    pub fn take_over_location(&self) -> Result<(), String> {
        let core = self.core_location().ok_or("is not within a location")?;
        // SAFETY: valid while the location is being read, and nobody else touches it meanwhile.
        let core = unsafe { &mut *core.as_ptr() };
        if core.handler.is_some() {
            return Err("stands in a location that another directive already handles".into());
        }
        core.handler = Some(request::content_handler);
        Ok(())
    }

    /// Whether what is being merged is an `if` or `limit_except` inside of a location.
    fn is_block(&self) -> bool {
        // SAFETY: valid while the configuration is merged.
        self.core_location().is_some_and(|core| unsafe { core.as_ref() }.noname() != 0)
    }

    /// Whether the location that is being merged is chosen by a regular expression or a name. Not
    /// known of a block inside of it, which has the location's expression for its path.
    fn is_pattern(&self) -> bool {
        self.core_location().is_some_and(|core| {
            // SAFETY: valid while the configuration is merged.
            let core = unsafe { core.as_ref() };
            !core.regex.is_null() || core.named() != 0
        })
    }

    /// What has to be changed in nginx's own settings of a location with a role.
    fn adjust_core(&self, conf: &LocationConf) {
        let Some(core) = self.core_location() else {
            return;
        };
        let Some(location) = &conf.location else {
            return;
        };
        // SAFETY: valid while the configuration is merged, and nobody else touches it meanwhile.
        let core = unsafe { &mut *core.as_ptr() };
        // A `limit_except` block is a configuration of its own that does not get the handler.
        if core.lmt_excpt() != 0 && core.handler.is_none() {
            core.handler = Some(request::content_handler);
        }
        // Unless the administrator has chosen, our own limit decides, with our own 413; it is
        // looked at while a body comes in.
        if location.role.reads_bodies() && core.client_max_body_size == DEFAULT_MAX_BODY {
            core.client_max_body_size = 0;
        }
    }
}

/// nginx's `client_max_body_size` if none is given.
const DEFAULT_MAX_BODY: i64 = 1024 * 1024;

/// Puts a value into the configuration's pool; it is dropped with it. Null: out of memory.
///
/// # Safety
///
/// `cf` is what nginx gave to the callback that runs.
pub(super) unsafe fn create<T: Default>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: a configuration has a pool.
    let value = guard(|| unsafe { keep((*cf).pool, T::default()) });
    value.map_or(std::ptr::null_mut(), <*mut T>::cast)
}

/// Gives a value to a pool, which drops it when it is destroyed. Null: out of memory.
///
/// # Safety
///
/// `pool` is a living pool.
pub(super) unsafe fn keep<T>(pool: *mut ngx_pool_t, value: T) -> *mut T {
    unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
        // SAFETY: `data` is the box that `keep` leaked, and a pool runs its cleanups once.
        guard(|| drop(unsafe { Box::from_raw(data.cast::<T>()) }));
    }
    // SAFETY: the pool lives; a cleanup that is not null is ours to fill in.
    unsafe {
        let Some(cleanup) = ngx_pool_cleanup_add(pool, 0).as_mut() else {
            return std::ptr::null_mut();
        };
        let value = Box::into_raw(Box::new(value));
        cleanup.handler = Some(drop_value::<T>);
        cleanup.data = value.cast();
        value
    }
}

/// Merges a level with the one around it.
///
/// # Safety
///
/// `outer` and `conf` were made by `create::<LocationConf>`.
pub(super) unsafe fn merge(conf: &Conf<'_>, outer: *const c_void, level: *mut c_void) -> bool {
    // SAFETY: two different levels' structures; nobody else looks at them during the callback.
    let (outer, level) =
        unsafe { (&*outer.cast::<LocationConf>(), &mut *level.cast::<LocationConf>()) };
    level.by_pattern = conf.is_pattern();
    match level.inherit(outer, conf.is_block()) {
        Ok(()) => {
            conf.adjust_core(level);
            true
        }
        Err(message) => {
            conf.log_emergency_without_place(&message);
            false
        }
    }
}

/// What stands in the http block of a running cycle; `None` without one.
///
/// # Safety
///
/// `cycle` is a living cycle.
pub(super) unsafe fn main_conf_of<'a>(cycle: *const ngx_cycle_t) -> Option<&'a RefCell<MainConf>> {
    // SAFETY: a cycle has an entry for every module; that of the http module is null without an
    // http block, else a structure whose arrays have an entry for every http module.
    unsafe {
        let of_http = *(*cycle).conf_ctx.add(ngx_http_module.index);
        let ctx = of_http.cast::<ngx_http_conf_ctx_t>().as_ref()?;
        (*ctx.main_conf.add(ctx_index())).cast::<RefCell<MainConf>>().as_ref()
    }
}

/// The module's settings of the location that a request has come to.
///
/// # Safety
///
/// `r` is a living request, which keeps its cycle alive.
pub(super) unsafe fn location_of<'a>(r: *const ngx_http_request_t) -> Option<&'a LocationConf> {
    // SAFETY: a request has an entry for every http module; ours was made by `create`.
    unsafe { (*(*r).loc_conf.add(ctx_index())).cast::<LocationConf>().as_ref() }
}

/// nginx's own settings of the location that a request has come to.
///
/// # Safety
///
/// `r` is a living request, which keeps its cycle alive.
pub(super) unsafe fn core_location_of<'a>(
    r: *const ngx_http_request_t,
) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: a request has an entry of the core module.
    unsafe { &*(*(*r).loc_conf.add(ngx_http_core_module.ctx_index)).cast() }
}
