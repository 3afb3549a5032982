//! The one engine of a worker process, and when it is called.
//!
//! Every call into the engine goes through [`enter`], which borrows it for that call. The engine
//! acts through [`Nginx`], which only writes to sockets and takes notes; nginx's functions that
//! could run a callback (finalizing a request, closing a connection) are called when the borrow
//! has ended. So the engine is never entered from within itself, and should it ever be, the inner
//! call is refused with a line in the log.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use push_protocol::ChannelKey;
use push_protocol::request::Publication;
use push_worker::{Conn, Engine, Format, Level, Request, SessionId, SettingsId, Subscriber, View};

use crate::host::{Deferred, Nginx};
use crate::location::Location;
use crate::ngx::event::{Task, arm, post};
use crate::ngx::{connection, link, log, time, waiting};

/// What the sidecar is told of us.
const SOFTWARE: &str = concat!("ngx_http_bx_push_module ", env!("CARGO_PKG_VERSION"));

/// A sidecar that can't be reached is complained about this often, milliseconds.
const COMPLAIN_EVERY: u64 = 60_000;

/// If it is for another reason, this often.
const COMPLAIN_ANEW: u64 = 1_000;

struct Worker {
    engine: Engine,
    host: Nginx,
    sidecar: PathBuf,
    /// When it was last said that the sidecar can't be reached, and why.
    complained: Option<(u64, String)>,
    /// How long it may take to tell everybody that the worker leaves, milliseconds.
    drain_time: u64,
    /// nginx has asked this worker to leave.
    leaving: bool,
    /// The sidecar has heard what was counted last.
    told_last: bool,
    /// nginx's patience with a worker that leaves is over (`worker_shutdown_timeout`).
    impatient: bool,
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// Calls the engine. `None`: there is none.
fn enter<R>(call: impl FnOnce(&mut Worker) -> R) -> Option<R> {
    WORKER.with(|cell| {
        let Ok(mut worker) = cell.try_borrow_mut() else {
            log::alert(format_args!("push module: the engine was entered from within itself"));
            return None;
        };
        let worker = worker.as_mut()?;
        let result = call(worker);
        worker.settle();
        Some(result)
    })
}

impl Worker {
    /// After every call: the timer follows the engine's deadline. While the worker leaves it holds
    /// the process until everybody has been told.
    fn settle(&mut self) {
        let next = self.engine.next_deadline();
        if !self.leaving {
            return arm(next, false);
        }
        if !self.host.deferred.is_empty() {
            arm(Some(time::monotonic_ms()), true);
        } else if self.engine.busy() > 0 && !self.impatient {
            arm(next, true);
        } else {
            // Nothing keeps the process, and it must not leave the socket open.
            arm(None, false);
            self.farewell();
            link::close();
        }
    }

    /// The sidecar hears what was counted last, as far as its socket takes it.
    fn farewell(&mut self) {
        if std::mem::replace(&mut self.told_last, true) {
            return;
        }
        self.engine.tell_last();
        while !self.engine.link_output().is_empty() {
            match link::send(self.engine.link_output()) {
                Ok(sent @ 1..) => self.engine.link_sent(sent),
                _ => break,
            }
        }
    }

    fn link_failed(&mut self, what: &str) {
        self.engine.link_down(&mut self.host);
        let now = time::monotonic_ms();
        if self.leaving
            || self.complained.as_ref().is_some_and(|(at, why)| {
                now < at + if why == what { COMPLAIN_EVERY } else { COMPLAIN_ANEW }
            })
        {
            return;
        }
        self.complained = Some((now, what.to_owned()));
        log::line(
            Level::Error,
            format_args!(
                "push sidecar at unix:{}: {what}; trying again (systemctl status push-sidecar; \
                 push-sidecar check)",
                self.sidecar.display()
            ),
        );
    }
}

/// A poll was refused: its list of channels is void.
pub fn refused_channels() {
    enter(|w| w.engine.refused_channels(&mut w.host));
}

/// A worker process starts.
pub fn start(sidecar: &Path, drain_time: u64, max_queue_total: Option<usize>) {
    // The pid and the time make it differ from every other worker's, whatever the seed.
    let instance = RandomState::new().hash_one((std::process::id(), SystemTime::now()));
    let mut engine = Engine::new(instance, std::process::id(), SOFTWARE);
    if let Some(bytes) = max_queue_total {
        engine.limit_queues(bytes);
    }
    let worker = Worker {
        engine,
        host: Nginx::default(),
        sidecar: sidecar.to_owned(),
        complained: None,
        drain_time,
        leaving: false,
        told_last: false,
        impatient: false,
    };
    WORKER.with(|cell| cell.replace(Some(worker)));
    enter(|w| w.engine.start(&mut w.host));
    // Now: nginx waits for a first event before it looks at posted ones.
    deferred();
}

/// The process ends now. Whoever is still there is told as well as can be.
pub fn stop() {
    enter(|w| {
        w.leaving = true;
        w.engine.leave_all(&mut w.host, 0);
        w.farewell();
        let counters = w.engine.counters();
        log::line(Level::Info, format_args!("push module: {counters}"));
    });
    deferred();
    link::close();
    WORKER.with(|cell| cell.replace(None));
}

/// The process is asked to leave: everybody is told, one after the other; publishes under way are
/// finished.
pub fn leave() {
    enter(|w| {
        w.leaving = true;
        w.engine.leave_all(&mut w.host, w.drain_time);
    });
    // Now: nginx looks for timers before it looks at posted events again.
    deferred();
}

/// The time to leave is up.
pub fn out_of_patience() {
    enter(|w| {
        w.impatient = true;
        w.engine.link_down(&mut w.host);
    });
    link::close();
}

/// The engine's name of a location.
pub fn settings(location: &Location) -> Option<SettingsId> {
    if let Some(id) = location.id.get() {
        return Some(id);
    }
    let id = enter(|w| w.engine.add_settings(location.settings.clone()))?;
    location.id.set(Some(id));
    Some(id)
}

// WebSockets ------------------------------------------------------------------------------------

/// A handshake passed the checks. False: it has to wait for [`Deferred::Upgrade`].
pub fn begin_websocket(request: Request, subscriber: Subscriber) -> Option<(SessionId, bool)> {
    enter(|w| w.engine.begin_websocket(&mut w.host, request, subscriber))
}

/// A WebSocket is detached; `early` is what the client has sent behind its handshake. `None`: the
/// session has ended meanwhile.
pub fn attach(session: SessionId, conn: Conn, early: &[u8]) -> Option<SessionId> {
    let attached = enter(|w| {
        let attached = w.engine.attach(&mut w.host, session, conn);
        if attached && !early.is_empty() {
            w.engine.received(&mut w.host, session, early);
        }
        attached
    });
    attached?.then_some(session)
}

/// A WebSocket whose channel list is void is detached.
pub fn reject_websocket(conn: Conn, settings: SettingsId) -> Option<SessionId> {
    enter(|w| w.engine.reject_websocket(&mut w.host, conn, settings))
}

/// Whether bytes of a WebSocket are welcome.
pub fn reads(session: SessionId) -> bool {
    enter(|w| w.engine.reads(&mut w.host, session)) == Some(true)
}

/// Bytes came in on a WebSocket. True: more are welcome.
pub fn received(session: SessionId, bytes: &[u8]) -> bool {
    enter(|w| w.engine.received(&mut w.host, session, bytes)) == Some(true)
}

/// A WebSocket has room again.
pub fn writable(session: SessionId) {
    enter(|w| w.engine.writable(&mut w.host, session));
}

/// A WebSocket's peer is gone.
pub fn ended(session: SessionId) {
    enter(|w| w.engine.ended(&mut w.host, session));
}

/// nginx has no more patience with this WebSocket: the worker has to leave.
pub fn cut(session: SessionId) {
    enter(|w| w.engine.cut(&mut w.host, session));
}

/// A session's connection or request is freed.
pub fn forget(session: SessionId) {
    enter(|w| w.engine.forget(&mut w.host, session));
}

// Requests --------------------------------------------------------------------------------------

/// A long poll begins.
pub fn open_poll(request: Request, subscriber: Subscriber) -> Option<SessionId> {
    enter(|w| w.engine.open_poll(&mut w.host, request, subscriber))
}

/// Messages are to be published; returns the engine's name for that.
pub fn publish(request: Request, counted: bool, messages: Vec<Publication>) -> Option<u64> {
    enter(|w| w.engine.publish(&mut w.host, request, counted, messages))
}

/// A question; returns the engine's name for it.
pub fn channel_stats(request: Request, channels: Vec<ChannelKey>, format: Format) -> Option<u64> {
    enter(|w| w.engine.channel_stats(&mut w.host, request, channels, format))
}

/// A question about the servers; returns the engine's name for it.
pub fn server_stats(request: Request, format: Format) -> Option<u64> {
    enter(|w| w.engine.server_stats(&mut w.host, request, format))
}

/// An operator looks; returns the engine's name for that.
pub fn observe(request: Request, view: View) -> Option<u64> {
    enter(|w| w.engine.observe(&mut w.host, request, view))
}

/// A publish was refused with this status.
pub fn refused_publish(status: u16) {
    enter(|w| w.engine.refused_publish(status));
}

/// The request behind a publish or a question is freed.
pub fn abandon(name: u64) {
    enter(|w| w.engine.abandon(name));
}

// The link --------------------------------------------------------------------------------------

/// Bytes came in on the link. True: more are welcome.
pub fn link_received(bytes: &[u8]) -> bool {
    let going_on = enter(|w| {
        w.host.link_given_up = false;
        w.engine.link_received(&mut w.host, bytes);
        !w.host.link_given_up
    });
    going_on.unwrap_or(false)
}

/// The link is gone.
pub fn link_broken(what: &str) {
    link::close();
    enter(|w| w.link_failed(what));
}

/// Sends on the link what its socket takes.
pub fn flush() {
    let sent = enter(|w| {
        while !w.engine.link_output().is_empty() {
            match link::send(w.engine.link_output())? {
                0 => break,
                sent => w.engine.link_sent(sent),
            }
        }
        if w.engine.link_output().is_empty() {
            link::all_sent();
        }
        Ok::<(), push_worker::Broken>(())
    });
    if let Some(Err(_)) = sent {
        link_broken("the connection broke");
    }
}

fn connect() {
    let Some(path) = enter(|w| w.sidecar.clone()) else {
        return;
    };
    match link::connect(&path) {
        Ok(()) => {
            enter(|w| {
                w.complained = None;
                w.engine.link_up(&mut w.host);
            });
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ": is push-sidecar running, and with this socket?"
                }
                io::ErrorKind::PermissionDenied => ": may nginx's workers write to this socket?",
                _ => "",
            };
            enter(|w| w.link_failed(&format!("{error}{remedy}")));
        }
    }
}

// Tasks -----------------------------------------------------------------------------------------

/// Does what the engine has asked for.
pub fn deferred() {
    while let Some(batch) = enter(|w| std::mem::take(&mut w.host.deferred))
        && !batch.is_empty()
    {
        for what in batch {
            match what {
                Deferred::Close(conn) => connection::close(conn),
                Deferred::FinishWrites(conn) => connection::finish_writes(conn),
                Deferred::Upgrade(request) => waiting::upgrade(request),
                Deferred::Respond(request, response) => waiting::respond(request, response),
                Deferred::Connect => connect(),
                Deferred::CloseLink => link::close(),
            }
        }
    }
}

/// Goes on with fan-outs.
pub fn run() {
    if enter(|w| w.engine.run(&mut w.host)) == Some(true) {
        post(Task::Run);
        // Single messages also need the sidecar and Redis, which may share this core and get it
        // only when the scheduler takes it away from a worker that never sleeps meanwhile.
        std::thread::yield_now();
    }
}

/// Does what is due.
pub fn tick() {
    enter(|w| w.engine.tick(&mut w.host));
    // While the worker leaves, the timer stands in for the posted event.
    deferred();
}
