//! The worker's own events: what is posted to be done soon, and one timer.

use std::cell::Cell;
use std::ptr::NonNull;

use ::ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_current_msec, ngx_del_timer, ngx_event_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events,
};

use super::guard::guard;
use super::log;
use crate::worker;

/// What can be posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Do what the engine has asked for, at the end of this turn.
    Deferred,
    /// Send on the link, at the end of this turn.
    Flush,
    /// Go on with fan-outs, in the next turn.
    Run,
}

struct Events {
    /// nginx's debug log shows the descriptor of an event's connection.
    nobody: ngx_connection_t,
    deferred: ngx_event_t,
    flush: ngx_event_t,
    run: ngx_event_t,
    timer: ngx_event_t,
}

thread_local! {
    static EVENTS: Cell<Option<NonNull<Events>>> = const { Cell::new(None) };
}

/// Makes the events. They live as long as the process.
pub(super) fn init() {
    if EVENTS.get().is_some() {
        return;
    }
    // SAFETY: all of these are C structures of integers, pointers and nullable functions, for
    // which zero is what nginx itself begins with.
    let events = Box::into_raw(Box::new(unsafe { std::mem::zeroed::<Events>() }));
    let log = log::of_cycle();
    // SAFETY: just allocated, and never freed.
    unsafe {
        (*events).nobody.fd = -1;
        for (event, handler) in [
            (&raw mut (*events).deferred, on_deferred as unsafe extern "C" fn(_)),
            (&raw mut (*events).flush, on_flush),
            (&raw mut (*events).run, on_run),
            (&raw mut (*events).timer, on_timer),
        ] {
            (*event).data = (&raw mut (*events).nobody).cast();
            (*event).log = log;
            (*event).handler = Some(handler);
        }
    }
    EVENTS.set(NonNull::new(events));
}

/// Posts a task, if it is not posted already.
pub fn post(task: Task) {
    let Some(events) = EVENTS.get() else { return };
    // SAFETY: the events live as long as the process; the queues are nginx's.
    unsafe {
        let events = events.as_ptr();
        match task {
            Task::Deferred => {
                ngx_post_event(&raw mut (*events).deferred, &raw mut ngx_posted_events);
            }
            Task::Flush => ngx_post_event(&raw mut (*events).flush, &raw mut ngx_posted_events),
            Task::Run => ngx_post_event(&raw mut (*events).run, &raw mut ngx_posted_next_events),
        }
    }
}

/// Has [`worker::tick`] called at `deadline` (milliseconds of [`super::time::monotonic_ms`]) or
/// earlier. `hold`: a worker that leaves waits for it.
pub fn arm(deadline: Option<u64>, hold: bool) {
    let Some(events) = EVENTS.get() else { return };
    // SAFETY: the events live as long as the process.
    unsafe {
        let timer = &raw mut (*events.as_ptr()).timer;
        let Some(deadline) = deadline else {
            if (*timer).timer_set() != 0 {
                ngx_del_timer(timer);
            }
            return;
        };
        (*timer).set_cancelable(u32::from(!hold));
        let now = ngx_current_msec;
        let deadline = (deadline as usize).max(now);
        if (*timer).timer_set() != 0 {
            // One that is too early does no harm: it is armed anew when it fires.
            if (*timer).timer.key <= deadline {
                return;
            }
            ngx_del_timer(timer);
        }
        ngx_add_timer(timer, deadline - now);
    }
}

unsafe extern "C" fn on_deferred(_: *mut ngx_event_t) {
    guard(worker::deferred);
}

unsafe extern "C" fn on_flush(_: *mut ngx_event_t) {
    guard(worker::flush);
}

unsafe extern "C" fn on_run(_: *mut ngx_event_t) {
    guard(worker::run);
}

unsafe extern "C" fn on_timer(_: *mut ngx_event_t) {
    if guard(worker::tick).is_none() {
        // Whatever it was: without a timer nothing would ever be due again.
        arm(Some(super::time::monotonic_ms() + 1_000), false);
    }
}
