//! What the engine asks of nginx. Writing happens at once; everything that could call back into
//! the engine, or free what a callback still looks at, is noted and done at the end of the turn.

use std::fmt;

use push_worker::{Broken, Conn, Host, Level, Request, Response};

use crate::ngx::event::{Task, post};
use crate::ngx::{connection, log, time};

/// What is done when the engine has returned, in the order it was asked for.
pub enum Deferred {
    /// Close a WebSocket.
    Close(Conn),
    /// End the sending side of a WebSocket.
    FinishWrites(Conn),
    /// Answer a handshake that waited with 101.
    Upgrade(Request),
    /// Answer a request.
    Respond(Request, Response),
    /// Open the link.
    Connect,
    /// Close the link.
    CloseLink,
}

/// nginx, as the engine sees it.
#[derive(Default)]
pub struct Nginx {
    /// What is still to be done.
    pub deferred: Vec<Deferred>,
    /// The engine wants no more of what the link brings.
    pub link_given_up: bool,
}

impl Nginx {
    fn later(&mut self, what: Deferred) {
        if self.deferred.is_empty() {
            post(Task::Deferred);
        }
        self.deferred.push(what);
    }
}

impl Host for Nginx {
    fn now(&self) -> u64 {
        time::monotonic_ms()
    }

    fn unix_ms(&self) -> u64 {
        time::unix_ms()
    }

    fn unix_us(&self) -> u64 {
        time::unix_us()
    }

    fn write(&mut self, conn: Conn, bytes: &[u8]) -> Result<usize, Broken> {
        connection::write(conn, bytes)
    }

    fn read_more(&mut self, conn: Conn) {
        connection::read_more(conn);
    }

    fn finish_writes(&mut self, conn: Conn) {
        self.later(Deferred::FinishWrites(conn));
    }

    fn close(&mut self, conn: Conn) {
        self.later(Deferred::Close(conn));
    }

    fn upgrade(&mut self, request: Request) {
        self.later(Deferred::Upgrade(request));
    }

    fn respond(&mut self, request: Request, response: Response) {
        self.later(Deferred::Respond(request, response));
    }

    fn connect_link(&mut self) {
        self.later(Deferred::Connect);
    }

    fn wake_link(&mut self) {
        post(Task::Flush);
    }

    fn close_link(&mut self) {
        self.link_given_up = true;
        self.later(Deferred::CloseLink);
    }

    fn wake_run(&mut self) {
        post(Task::Run);
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        log::line(level, line);
    }
}
