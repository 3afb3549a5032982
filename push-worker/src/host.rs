//! What the engine needs done.

use std::fmt;

use crate::Response;

/// A detached WebSocket connection, as the host names it (for nginx: the connection's address).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Conn(pub usize);

/// An HTTP request that waits for its answer, as the host names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request(pub usize);

/// The connection can't be written to any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// How serious a log line is; nginx's names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing can be relied on.
    Error,
    /// Something an administrator should look at.
    Warn,
    /// Worth knowing.
    Notice,
    /// A client's doing.
    Info,
}

/// What the host does for the engine. No method calls back into the engine: closing and answering
/// are noted and done when the engine has returned.
pub trait Host {
    /// Milliseconds on a clock that does not go back.
    fn now(&self) -> u64;

    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;

    /// Microseconds since the Unix epoch, as exactly as can be: how long things take is measured by
    /// it. Read once or twice a message.
    fn unix_us(&self) -> u64 {
        self.unix_ms() * 1_000
    }

    /// Writes to a WebSocket what its socket takes and returns how much that was. After less than
    /// all, the host calls [`crate::Engine::writable`] once there is room.
    fn write(&mut self, conn: Conn, bytes: &[u8]) -> Result<usize, Broken>;

    /// Bytes of a WebSocket are welcome again, after [`crate::Engine::reads`] or
    /// [`crate::Engine::received`] has said that they are not: read it in the next turn of the event
    /// loop.
    fn read_more(&mut self, conn: Conn);

    /// Says that nothing will be written any more (`shutdown(2)` of the sending side): the peer
    /// sees the end of the stream behind the close frame, and what it still sends is read and
    /// thrown away, so that no reset overtakes that frame.
    fn finish_writes(&mut self, conn: Conn);

    /// Closes a WebSocket. The engine has forgotten the session; the host calls nothing for it.
    fn close(&mut self, conn: Conn);

    /// A handshake that [`crate::Engine::begin_websocket`] made wait can be answered with 101; then
    /// comes [`crate::Engine::attach`]. The engine has not forgotten the session.
    fn upgrade(&mut self, request: Request);

    /// Answers a request. The engine has forgotten it; the host calls nothing for it.
    fn respond(&mut self, request: Request, response: Response);

    /// Opens the link to the sidecar; ends in [`crate::Engine::link_up`] or
    /// [`crate::Engine::link_down`], not within this call.
    fn connect_link(&mut self);

    /// There is something in [`crate::Engine::link_output`]; send it at the end of this turn of the
    /// event loop, so that what comes together travels together.
    fn wake_link(&mut self);

    /// Closes the link; the engine has noted it as down.
    fn close_link(&mut self);

    /// Run [`crate::Engine::run`] in the next turn of the event loop: fan-outs and clients that wait go on there.
    fn wake_run(&mut self);

    /// Writes a line to the host's log.
    fn log(&mut self, level: Level, line: fmt::Arguments<'_>);
}
