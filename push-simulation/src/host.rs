//! What nginx does for the engine, done on simulated streams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use push_worker::{Broken, Conn, Host, Level, Request, Response, SessionId};
use tokio::sync::oneshot;

use crate::ledger::Visit;
use crate::pipe::{End, Writer};
use crate::setup::Sabotage;
use crate::world::World;

/// A detached WebSocket.
pub struct Socket {
    /// Towards the client.
    pub writer: Writer,
    /// The engine's name for it.
    pub session: SessionId,
    /// Whose it is.
    pub visit: Visit,
    /// A frame that sabotage holds back.
    held: Option<Vec<u8>>,
}

impl Socket {
    /// One that was just upgraded.
    pub fn new(writer: Writer, session: SessionId, visit: Visit) -> Self {
        Self { writer, session, visit, held: None }
    }
}

/// A request that waits for its answer.
pub enum Waiting {
    /// A handshake.
    Handshake(End, Visit, Option<SessionId>),
    /// A long poll.
    Poll(oneshot::Sender<Response>, Option<SessionId>),
    /// A publish, and the engine's name for it.
    Publish(oneshot::Sender<Response>, u64),
}

/// What is done when the engine has returned.
pub enum Deferred {
    /// Close a WebSocket.
    Close(usize),
    /// Answer a handshake with 101.
    Upgrade(usize),
    /// Answer a request.
    Respond(usize, Response),
    /// Dial the sidecar.
    ConnectLink,
    /// Close the link.
    CloseLink,
}

/// See the module.
pub struct SimHost {
    /// The run.
    pub world: Rc<World>,
    /// Open WebSockets.
    pub sockets: BTreeMap<usize, Socket>,
    /// Sockets that were full.
    pub full: BTreeSet<usize>,
    /// Requests without an answer.
    pub requests: BTreeMap<usize, Waiting>,
    /// What is to be done.
    pub deferred: Vec<Deferred>,
    /// A fan-out goes on.
    pub run: bool,
    /// Where requests go that sabotage never answers.
    pub forgotten: Vec<oneshot::Sender<Response>>,
    name: usize,
}

impl SimHost {
    /// Of the worker called `name`.
    pub fn new(world: &Rc<World>, name: usize) -> Self {
        Self {
            world: Rc::clone(world),
            sockets: BTreeMap::new(),
            full: BTreeSet::new(),
            requests: BTreeMap::new(),
            deferred: Vec::new(),
            run: false,
            forgotten: Vec::new(),
            name,
        }
    }

    /// Harms a whole data frame on its way, if it is time for that.
    fn harm(&mut self, conn: usize, bytes: &[u8]) -> bool {
        let world = Rc::clone(&self.world);
        // Not before the client has got something: what it cannot know it cannot miss.
        if !matches!(bytes.first(), Some(0x81 | 0x82)) {
            return false;
        }
        if world.sabotage(Sabotage::Double) {
            let _ = self.sockets[&conn].writer.try_write(bytes);
        }
        if self.sockets.len() > 1 && world.sabotage(Sabotage::Stranger) {
            for (_, socket) in self.sockets.iter().filter(|(other, _)| **other != conn) {
                let _ = socket.writer.try_write(bytes);
            }
        }
        if world.sabotage(Sabotage::Reorder)
            && let Some(socket) = self.sockets.get_mut(&conn)
        {
            socket.held = Some(bytes.to_vec());
            return true;
        }
        false
    }
}

impl Host for SimHost {
    fn now(&self) -> u64 {
        self.world.ms()
    }

    fn unix_ms(&self) -> u64 {
        self.world.unix_ms()
    }

    fn write(&mut self, conn: Conn, bytes: &[u8]) -> Result<usize, Broken> {
        if !self.sockets.contains_key(&conn.0) {
            self.world.violation(format!("written to connection {}, which is closed", conn.0));
            return Err(Broken);
        }
        if self.harm(conn.0, bytes) {
            return Ok(bytes.len());
        }
        let Some(socket) = self.sockets.get_mut(&conn.0) else { return Err(Broken) };
        let written = socket.writer.try_write(bytes).map_err(|_| Broken)?;
        if written < bytes.len() {
            self.full.insert(conn.0);
        } else if let Some(held) = socket.held.take() {
            let _ = socket.writer.try_write(&held);
        }
        Ok(written)
    }

    // Clients here say little, and all of it is read at once.
    fn read_more(&mut self, _: Conn) {}

    fn finish_writes(&mut self, conn: Conn) {
        if let Some(socket) = self.sockets.get(&conn.0) {
            socket.writer.finish();
        }
    }

    fn close(&mut self, conn: Conn) {
        self.deferred.push(Deferred::Close(conn.0));
    }

    fn upgrade(&mut self, request: Request) {
        self.deferred.push(Deferred::Upgrade(request.0));
    }

    fn respond(&mut self, request: Request, response: Response) {
        self.deferred.push(Deferred::Respond(request.0, response));
    }

    fn connect_link(&mut self) {
        self.deferred.push(Deferred::ConnectLink);
    }

    // What there is to send is sent after every call.
    fn wake_link(&mut self) {}

    fn close_link(&mut self) {
        self.deferred.push(Deferred::CloseLink);
    }

    fn wake_run(&mut self) {
        self.run = true;
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        self.world.note(format_args!("worker {} says {level:?}: {line}", self.name));
    }
}
