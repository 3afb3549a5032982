//! The tables that nginx reads when it loads the module, and the life of a worker.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use ::ngx::ffi::{
    NGX_CONF_TAKE1, NGX_ERROR, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_MODULE, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_command_t, ngx_conf_t,
    ngx_cycle_t, ngx_http_module_t, ngx_int_t, ngx_module_t, ngx_process, ngx_str_t, ngx_uint_t,
};

use super::conf::{self, Conf};
use super::guard::{guard, install_hook};
use super::{connection, event, exit};
use crate::directives::{DIRECTIVES, Set};
use crate::location::{LocationConf, MainConf};
use crate::worker;

/// What a configuration callback returns when it has written a message.
const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;

static mut COMMANDS: [ngx_command_t; DIRECTIVES.len() + 1] = commands();

const fn commands() -> [ngx_command_t; DIRECTIVES.len() + 1] {
    let mut commands = [ngx_command_t::empty(); DIRECTIVES.len() + 1];
    let mut i = 0;
    while i < DIRECTIVES.len() {
        let directive = &DIRECTIVES[i];
        commands[i] = ngx_command_t {
            name: ngx_str_t {
                len: directive.name.count_bytes(),
                data: directive.name.as_ptr().cast_mut().cast(),
            },
            type_: directive.contexts | NGX_CONF_TAKE1 as usize,
            set: Some(set),
            conf: match directive.set {
                Set::Main(_) => NGX_HTTP_MAIN_CONF_OFFSET,
                Set::Level(_) => NGX_HTTP_LOC_CONF_OFFSET,
            },
            // Not an offset here: which directive it is.
            offset: i,
            post: null_mut(),
        };
        i += 1;
    }
    commands
}

static mut CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: None,
    create_main_conf: Some(create_main_conf),
    init_main_conf: Some(init_main_conf),
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(create_loc_conf),
    merge_loc_conf: Some(merge_loc_conf),
};

#[allow(non_upper_case_globals, reason = "its name is the module's")]
static mut ngx_http_bx_push_module: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONTEXT).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

::ngx::ngx_modules!(ngx_http_bx_push_module);

/// The module's place in the arrays of http modules; nginx sets it when it loads the module.
pub(super) fn ctx_index() -> usize {
    // SAFETY: written while the configuration is read, from the thread that reads it here.
    unsafe { ngx_http_bx_push_module.ctx_index }
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    install_hook();
    // SAFETY: called by nginx with its configuration.
    unsafe { conf::create::<RefCell<MainConf>>(cf) }
}

unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: called by nginx with its configuration.
    unsafe { conf::create::<LocationConf>(cf) }
}

/// A directive.
unsafe extern "C" fn set(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    level: *mut c_void,
) -> *mut c_char {
    let done = guard(|| {
        // SAFETY: nginx's configuration and our own command, whose `offset` says which it is;
        // `level` is what `create_…_conf` returned for the level that `conf` in it names, and
        // nobody else looks at it during the callback.
        let (conf, directive) = unsafe { (Conf::new(cf)?, &DIRECTIVES[(*cmd).offset]) };
        let result = match directive.set {
            Set::Main(set) => {
                // SAFETY: see above.
                let main = unsafe { &*level.cast::<RefCell<MainConf>>() };
                set(&conf, &mut main.borrow_mut(), conf.argument())
            }
            Set::Level(set) => {
                // SAFETY: see above.
                let level = unsafe { &mut *level.cast::<LocationConf>() };
                set(&conf, level, conf.argument())
            }
        };
        let name = directive.name.to_string_lossy();
        result
            .map_err(|message| conf.log_emergency(format_args!("\"{name}\" directive {message}")))
            .ok()
    });
    done.flatten().map_or(CONF_ERROR, |()| null_mut())
}

unsafe extern "C" fn init_main_conf(cf: *mut ngx_conf_t, main: *mut c_void) -> *mut c_char {
    let checked = guard(|| {
        // SAFETY: nginx's configuration, and what `create_main_conf` returned.
        let (conf, main) = unsafe { (Conf::new(cf)?, &*main.cast::<RefCell<MainConf>>()) };
        let result = main.borrow().check();
        result.map_err(|message| conf.log_emergency_without_place(&message)).ok()
    });
    checked.flatten().map_or(CONF_ERROR, |()| null_mut())
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    level: *mut c_void,
) -> *mut c_char {
    let merged = guard(|| {
        // SAFETY: nginx's configuration, and what `create_loc_conf` returned for two levels.
        unsafe { Conf::new(cf).is_some_and(|conf| conf::merge(&conf, outer, level)) }
    });
    if merged == Some(true) { null_mut() } else { CONF_ERROR }
}

/// A process starts. Workers, and nginx in a single process, hold subscribers; those that look
/// after caches do not.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    let started = guard(|| {
        // SAFETY: plain numbers, set before modules are told of the process.
        let kind = unsafe { ngx_process } as u32;
        if kind != NGX_PROCESS_WORKER && kind != NGX_PROCESS_SINGLE {
            return true;
        }
        // SAFETY: the cycle that this process runs.
        let Some(main) = (unsafe { conf::main_conf_of(cycle) }) else {
            return true;
        };
        let main = main.borrow();
        let (Some(_), Some(sidecar)) = (&main.first_role, &main.sidecar) else {
            return true;
        };
        // SAFETY: the cycle that this process runs.
        unsafe { connection::init(cycle) };
        event::init();
        exit::watch();
        worker::start(sidecar, main.drain_time(), main.max_queue_total);
        true
    });
    if started == Some(true) { NGX_OK as ngx_int_t } else { NGX_ERROR as ngx_int_t }
}

unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guard(worker::stop);
}
