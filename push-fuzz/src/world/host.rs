//! What the engine sees of nginx.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use push_protocol::frame::Decoder;
use push_worker::{Broken, Conn, Host, Level, Request, Response};

/// Memory of a story's sockets: a client that is written more is not read any further.
const ENOUGH: usize = 1 << 20;

/// One WebSocket's connection.
#[derive(Debug, Default)]
pub struct Socket {
    /// What was written.
    pub written: Vec<u8>,
    /// How much more it takes; `None`: everything.
    pub room: Option<usize>,
    /// Writing fails.
    pub broken: bool,
    /// Nothing may be written any more.
    pub finished: bool,
    /// It is gone.
    pub closed: bool,
}

impl Socket {
    /// What was written is whole frames of a server, the last maybe cut, and a close frame is the
    /// last of all.
    pub fn check(&self) {
        let mut rest = &self.written[..];
        let mut closed = false;
        while let Some((frame, behind)) = server_frame(rest) {
            assert!(!closed, "a frame behind the close frame");
            // Masked with zeros it is what our decoder takes: it has to be a right one.
            let mut decoder = Decoder::new();
            let heard = decoder.feed(&frame, usize::MAX, &mut |_| true);
            assert_eq!(heard, Ok(()), "{frame:x?}");
            closed = frame[0] & 15 == 8;
            rest = behind;
        }
        assert!(!closed || rest.is_empty(), "bytes behind the close frame");
    }
}

/// The first frame of a stream, masked with zeros, and what is behind it.
fn server_frame(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&first, &length) = (bytes.first()?, bytes.get(1)?);
    let (head, len): (usize, usize) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    let payload = bytes.get(head..head.checked_add(len)?)?;
    let mask = [0; 4];
    let frame = [&[first, length | 0x80], &bytes[2..head], &mask, payload].concat();
    Some((frame, &bytes[head + len..]))
}

/// nginx, as far as the engine can see.
#[derive(Debug, Default)]
pub struct FuzzHost {
    /// Milliseconds since the worker started.
    pub now: u64,
    /// Detached connections.
    pub sockets: BTreeMap<usize, Socket>,
    /// Requests without an answer.
    pub waiting: BTreeSet<usize>,
    /// Handshakes that may be answered since the last turn.
    pub upgrades: Vec<usize>,
    /// The link is wanted.
    pub connecting: bool,
    /// The link is to be closed.
    pub link_closed: bool,
}

impl Host for FuzzHost {
    fn now(&self) -> u64 {
        self.now
    }

    fn unix_ms(&self) -> u64 {
        1_795_408_173_456 + self.now
    }

    fn write(&mut self, conn: Conn, bytes: &[u8]) -> Result<usize, Broken> {
        let socket = self.sockets.get_mut(&conn.0).expect("a connection there is");
        assert!(!socket.closed && !socket.finished, "written behind the end");
        if socket.broken || socket.written.len() > ENOUGH {
            return Err(Broken);
        }
        let count = socket.room.unwrap_or(usize::MAX).min(bytes.len());
        if let Some(room) = &mut socket.room {
            *room -= count;
        }
        socket.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn read_more(&mut self, conn: Conn) {
        assert!(!self.sockets[&conn.0].closed, "read behind the end");
    }

    fn finish_writes(&mut self, conn: Conn) {
        let socket = self.sockets.get_mut(&conn.0).expect("a connection there is");
        assert!(!socket.closed, "finished behind the end");
        socket.finished = true;
    }

    fn close(&mut self, conn: Conn) {
        let socket = self.sockets.get_mut(&conn.0).expect("a connection there is");
        assert!(!socket.closed, "closed twice");
        socket.closed = true;
    }

    fn upgrade(&mut self, request: Request) {
        assert!(self.waiting.contains(&request.0), "upgraded what does not wait");
        self.upgrades.push(request.0);
    }

    fn respond(&mut self, request: Request, response: Response) {
        assert!(self.waiting.remove(&request.0), "answered what does not wait");
        assert!((200..600).contains(&response.status));
    }

    fn connect_link(&mut self) {
        assert!(!self.connecting, "connects twice");
        self.connecting = true;
    }

    fn wake_link(&mut self) {}

    fn close_link(&mut self) {
        self.link_closed = true;
    }

    fn wake_run(&mut self) {}

    fn log(&mut self, _: Level, line: fmt::Arguments<'_>) {
        assert!(!line.to_string().is_empty());
    }
}
