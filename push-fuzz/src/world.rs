//! A worker whose clients and whose sidecar do whatever the input says.
//!
//! [`World`] is the host of one engine; it keeps what nginx would keep (which requests wait, which
//! sockets are open, how much they take) and panics when the engine breaks its side of the
//! contract: writes behind the end, answers twice, speaks of what it was told is gone.

mod host;
mod sidecar;

use std::collections::BTreeMap;
use std::rc::Rc;

use push_protocol::channels::ChannelList;
use push_protocol::hex;
use push_protocol::request::{Limits, Publication};
use push_protocol::{ChannelKey, Mid};
use push_worker::{
    Conn, Engine, Format, Host, Request, SessionId, Settings, SettingsId, Subscriber,
};

use crate::keys;
pub use host::{FuzzHost, Socket};
pub use sidecar::Sidecar;

/// The limits of the only location: small, so that a short story reaches them.
pub const MAX_PAYLOAD: usize = 2_000;
/// See [`MAX_PAYLOAD`].
pub const MAX_QUEUE: usize = 8_000;

/// Clients a story may have at a time.
pub const SEATS: usize = 6;

/// Turns of the event loop after which a worker that has still something to do is spinning.
const MANY_TURNS: usize = 10_000;

/// A client's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Seat {
    /// Nobody.
    #[default]
    Empty,
    /// A handshake that waits; true: it may be answered.
    Opening(SessionId, Request, bool),
    /// A WebSocket.
    Open(SessionId, Conn),
    /// A long poll.
    Poll(SessionId, Request),
}

/// A worker and all around it.
#[derive(Debug)]
pub struct World {
    /// The worker.
    pub engine: Engine,
    /// What it sees of nginx.
    pub host: FuzzHost,
    /// The other end of its link.
    pub sidecar: Sidecar,
    /// Its clients.
    pub seats: [Seat; SEATS],
    /// Names of publishes and questions that may be given up.
    pub asked: BTreeMap<usize, u64>,
    settings: SettingsId,
    last_handle: usize,
}

impl World {
    /// A worker that has just started.
    pub fn new() -> Self {
        let mut engine = Engine::new(7, 1, "fuzz");
        let settings = engine.add_settings(Settings {
            verifier: Rc::new(keys::verifier()),
            limits: Limits { max_messages: 4, max_channels: 4, message_ttl: 600 },
            max_payload: MAX_PAYLOAD,
            max_connections: 2,
            poll_timeout: 3_000,
            ping_interval: 4_000,
            max_queue: MAX_QUEUE,
        });
        let mut host = FuzzHost::default();
        engine.start(&mut host);
        let mut world = Self {
            engine,
            host,
            sidecar: Sidecar::default(),
            seats: [Seat::Empty; SEATS],
            asked: BTreeMap::new(),
            settings,
            last_handle: 0,
        };
        world.settle();
        world
    }

    /// A name for a connection or a request, never given twice.
    fn handle(&mut self) -> usize {
        self.last_handle += 1;
        self.last_handle
    }

    /// A request that waits for its answer.
    fn request(&mut self) -> Request {
        let request = Request(self.handle());
        self.host.waiting.insert(request.0);
        request
    }

    /// The channel list whose entries are the bits of `which`: the low four private ids, the high
    /// four pairs.
    pub fn channels(which: u8) -> ChannelList {
        let entries = (0..8u8).filter(|n| which >> n & 1 == 1).map(|n| {
            let mut text = hex::encode(&[n; 16]);
            if n >= 4 {
                text = format!("{text}:{}", hex::encode(&[n + 100; 16]));
            }
            let [signature, _] = keys::signatures(text.as_bytes());
            format!("{text}.{signature}")
        });
        let value = entries.collect::<Vec<_>>().join("/");
        let list = ChannelList::for_subscriber(value.as_bytes(), &keys::verifier());
        list.unwrap_or_else(|| Self::channels(1))
    }

    /// The receivers of that list.
    pub fn receivers(which: u8) -> Vec<ChannelKey> {
        Self::channels(which).receivers().collect()
    }

    /// A WebSocket's handshake; nothing if the seat is taken.
    pub fn open_websocket(&mut self, seat: usize, which: u8, mid: Option<Mid>, format: Format) {
        if self.seats[seat] != Seat::Empty {
            return;
        }
        let request = self.request();
        let subscriber =
            Subscriber { channels: Self::channels(which), mid, format, settings: self.settings };
        let (id, ready) = self.engine.begin_websocket(&mut self.host, request, subscriber);
        self.seats[seat] = Seat::Opening(id, request, ready);
    }

    /// A handshake is answered and its connection detached, if it may be.
    pub fn attach(&mut self, seat: usize, room: Option<usize>) {
        let Seat::Opening(id, request, true) = self.seats[seat] else { return };
        assert!(self.host.waiting.remove(&request.0), "answered and then detached");
        let conn = Conn(self.handle());
        self.host.sockets.insert(conn.0, Socket { room, ..Socket::default() });
        if self.engine.attach(&mut self.host, id, conn) {
            self.seats[seat] = Seat::Open(id, conn);
        } else {
            self.host.close(conn);
            self.seats[seat] = Seat::Empty;
        }
    }

    /// A WebSocket whose list is void.
    pub fn reject(&mut self, seat: usize, room: Option<usize>) {
        if self.seats[seat] != Seat::Empty {
            return;
        }
        let conn = Conn(self.handle());
        self.host.sockets.insert(conn.0, Socket { room, ..Socket::default() });
        let id = self.engine.reject_websocket(&mut self.host, conn, self.settings);
        self.seats[seat] = Seat::Open(id, conn);
    }

    /// A long poll; nothing if the seat is taken.
    pub fn open_poll(&mut self, seat: usize, which: u8, mid: Option<Mid>) {
        if self.seats[seat] != Seat::Empty {
            return;
        }
        let request = self.request();
        let subscriber = Subscriber {
            channels: Self::channels(which),
            mid,
            format: Format::Text,
            settings: self.settings,
        };
        let id = self.engine.open_poll(&mut self.host, request, subscriber);
        self.seats[seat] = Seat::Poll(id, request);
    }

    /// A WebSocket's client says something.
    pub fn received(&mut self, seat: usize, bytes: &[u8]) {
        if let Seat::Open(id, _) = self.seats[seat]
            && self.engine.reads(&mut self.host, id)
        {
            self.engine.received(&mut self.host, id, bytes);
        }
    }

    /// A socket takes so much more; `None`: everything. What waited for it is at most the queue,
    /// one frame that found it empty, and history.
    pub fn make_room(&mut self, seat: usize, room: Option<usize>) {
        let Seat::Open(id, conn) = self.seats[seat] else { return };
        let Some(socket) = self.host.sockets.get_mut(&conn.0) else { return };
        socket.room = room;
        let before = socket.written.len();
        self.engine.writable(&mut self.host, id);
        let waited = self.host.sockets[&conn.0].written.len() - before;
        let bound = MAX_QUEUE + self.sidecar.largest_frame() + self.sidecar.history_bytes;
        assert!(waited <= bound, "{waited} bytes waited for a client, {bound} may");
    }

    /// The client's side is gone; `told`: the engine hears of it by `ended`, else by `forget`.
    pub fn hang_up(&mut self, seat: usize, told: bool) {
        let id = match std::mem::take(&mut self.seats[seat]) {
            Seat::Empty => return,
            Seat::Opening(id, request, _) | Seat::Poll(id, request) => {
                self.host.waiting.remove(&request.0);
                self.engine.forget(&mut self.host, id);
                return;
            }
            Seat::Open(id, conn) if told => {
                self.engine.ended(&mut self.host, id);
                assert!(self.host.sockets[&conn.0].closed, "closed when it has ended");
                return;
            }
            Seat::Open(id, conn) => {
                if let Some(socket) = self.host.sockets.get_mut(&conn.0) {
                    socket.closed = true;
                }
                id
            }
        };
        self.engine.forget(&mut self.host, id);
    }

    /// A backend publishes.
    pub fn publish(&mut self, messages: Vec<Publication>) {
        let request = self.request();
        let name = self.engine.publish(&mut self.host, request, true, messages);
        self.asked.insert(request.0, name);
    }

    /// A backend asks which channels are online, or how the servers do.
    pub fn ask(&mut self, channels: Option<Vec<ChannelKey>>, format: Format) {
        let request = self.request();
        let name = match channels {
            Some(keys) => self.engine.channel_stats(&mut self.host, request, keys, format),
            None => self.engine.server_stats(&mut self.host, request, format),
        };
        self.asked.insert(request.0, name);
    }

    /// The oldest publisher that waits hangs up.
    pub fn abandon(&mut self) {
        let waiting = &self.host.waiting;
        self.asked.retain(|request, _| waiting.contains(request));
        if let Some((request, name)) = self.asked.pop_first() {
            self.host.waiting.remove(&request);
            self.engine.abandon(name);
        }
    }

    /// Time passes, and everything that falls due is done.
    pub fn pass(&mut self, ms: u64) {
        let end = self.host.now + ms;
        for turn in 0.. {
            let due = self.engine.next_deadline().filter(|&at| at <= end);
            let Some(at) = due else { break };
            assert!(turn < MANY_TURNS, "the worker spins");
            self.host.now = self.host.now.max(at);
            self.engine.tick(&mut self.host);
            self.settle();
        }
        self.host.now = end;
    }

    /// What the engine has asked for is done, as at the end of a turn of the event loop.
    pub fn settle(&mut self) {
        self.sidecar.hear(&mut self.engine, &mut self.host);
        for seat in &mut self.seats {
            match *seat {
                Seat::Opening(id, request, _) if self.host.upgrades.contains(&request.0) => {
                    *seat = Seat::Opening(id, request, true);
                }
                Seat::Opening(_, request, _) | Seat::Poll(_, request)
                    if !self.host.waiting.contains(&request.0) =>
                {
                    *seat = Seat::Empty;
                }
                Seat::Open(_, conn) if self.host.sockets[&conn.0].closed => *seat = Seat::Empty,
                _ => {}
            }
        }
        self.host.upgrades.clear();
    }

    /// Who had to wait is listened to again: what it asked has been answered, or given up.
    fn listen(&mut self) {
        for _ in 0..MANY_TURNS {
            let (engine, host) = (&mut self.engine, &mut self.host);
            let waits = |seat: &Seat| matches!(*seat, Seat::Open(id, _) if !engine.reads(host, id));
            if !self.seats.iter().any(waits) {
                return;
            }
            self.pass(6_000);
            self.engine.run(&mut self.host);
            self.settle();
        }
        panic!("a client is never listened to again");
    }

    /// The story's end: everybody goes, and nothing is left behind.
    pub fn end(mut self) {
        for seat in 0..SEATS {
            self.make_room(seat, None);
            self.settle();
        }
        for _ in 0..MANY_TURNS {
            if !self.engine.run(&mut self.host) {
                break;
            }
        }
        self.settle();
        self.listen();
        for seat in 0..SEATS {
            self.hang_up(seat, seat.is_multiple_of(2));
        }
        self.pass(60_000);
        let counters = self.engine.counters();
        assert_eq!((counters.websockets, counters.polls, counters.channels), (0, 0, 0));
        assert_eq!(self.engine.busy(), 0);
        assert!(self.host.waiting.is_empty(), "requests without an answer");
        for socket in self.host.sockets.values() {
            socket.check();
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
