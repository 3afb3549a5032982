//! The subscribers: WebSockets, or long polls that ask again after each answer.

mod session;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use mio::event::Event;
use mio::{Registry, Token};
use push_protocol::Mid;
use push_protocol::frame::Opcode;

use self::session::{End, Phase, Session};
use crate::net::Transport;
use crate::net::websocket::{self, Control};
use crate::population::Population;
use crate::position::Position;
use crate::stamp::Stamp;
use crate::target::{Target, Template};
use crate::wire::Wire;

/// Connections per source address: a client's ports are some 28,000.
const PER_SOURCE: u32 = 10_000;

/// How subscribers listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// One WebSocket each.
    WebSocket,
    /// One long poll after the other.
    Poll,
    /// A connection that is kept after its first answer, for nothing.
    Hold,
}

/// What happens to subscribers.
pub trait Observer {
    /// A handshake is complete (or the first poll is under way); it took so many nanoseconds.
    fn opened(&mut self, subscriber: u32, took: u64, at: u64);
    /// A message was read at this time.
    fn message(&mut self, subscriber: u32, stamp: Stamp, at: u64);
    /// A connection is gone. `None`: as was asked.
    fn gone(&mut self, subscriber: u32, why: Option<&str>);
    /// A backend's publish is answered.
    fn answered(&mut self, answer: crate::publishers::Answer);
    /// So many messages came that no generator published.
    fn strangers(&mut self, count: u32);
}

#[derive(Debug)]
struct Subscriber {
    transport: Option<Transport>,
    session: Session,
}

/// All subscribers of a scenario.
#[derive(Debug)]
pub struct Fleet {
    target: Target,
    mode: Mode,
    population: Population,
    subscribers: Vec<Subscriber>,
    first_token: usize,
    /// The second byte of source addresses, which differs between runs: ports of the last run may
    /// still be in `TIME_WAIT`.
    source: u8,
    opening: usize,
    open: usize,
    scratch: Vec<u8>,
}

impl Fleet {
    /// So many, none of which is connected. Their tokens begin with `first_token`.
    pub fn new(
        target: &Target,
        mode: Mode,
        population: Population,
        count: usize,
        first_token: usize,
    ) -> Self {
        let session = || Session {
            phase: Phase::Connecting,
            wire: target.wire,
            carry: Vec::new(),
            position: Position::Nowhere,
            started: 0,
            ask_again: false,
            reply: None,
            end: None,
        };
        let subscriber = || Subscriber { transport: None, session: session() };
        Self {
            target: target.clone(),
            mode,
            population,
            subscribers: (0..count).map(|_| subscriber()).collect(),
            first_token,
            source: 1 + (std::process::id() % 250) as u8,
            opening: 0,
            open: 0,
            scratch: Vec::with_capacity(1024),
        }
    }

    /// How many there are, connected or not.
    pub fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// How many are about to be open.
    pub fn opening(&self) -> usize {
        self.opening
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether this one is open.
    pub fn is_open(&self, subscriber: u32) -> bool {
        let subscriber = &self.subscribers[subscriber as usize];
        subscriber.transport.is_some() && subscriber.session.phase.is_open()
    }

    /// Has a subscriber return with this id.
    pub fn set_mid(&mut self, subscriber: u32, mid: Mid) {
        self.subscribers[subscriber as usize].session.position = Position::Mid(mid);
    }

    fn template(&self) -> &Template {
        match self.mode {
            Mode::WebSocket | Mode::Hold => &self.target.subscribe,
            Mode::Poll => &self.target.poll,
        }
    }

    /// Begins to connect one that is not connected; it returns with the last id it has seen.
    pub fn connect(&mut self, subscriber: u32, now: u64, registry: &Registry) -> io::Result<()> {
        let endpoint = self.template().endpoint;
        let source = endpoint.address.is_ipv4().then(|| {
            let [block, host] = ((subscriber / PER_SOURCE) as u16).to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(127, self.source, block, host + 1))
        });
        let token = Token(self.first_token + subscriber as usize);
        let transport = Transport::connect(&endpoint, source, registry, token)?;
        let one = &mut self.subscribers[subscriber as usize];
        debug_assert!(one.transport.is_none());
        one.transport = Some(transport);
        one.session.phase = Phase::Connecting;
        one.session.started = now;
        one.session.carry = Vec::new();
        self.opening += 1;
        Ok(())
    }

    /// Says goodbye; the server is to end the connection. A poll just ends.
    pub fn close(&mut self, subscriber: u32, registry: &Registry) {
        if !self.is_open(subscriber) {
            return;
        }
        self.open -= 1;
        let one = &mut self.subscribers[subscriber as usize];
        let goodbye = Control::new(Opcode::Close, &1000_u16.to_be_bytes());
        let said = one.session.phase == Phase::Open
            && one
                .transport
                .as_mut()
                .is_some_and(|transport| transport.write(goodbye.bytes()).is_ok());
        one.session.phase = Phase::Closing;
        if !said && let Some(transport) = one.transport.take() {
            transport.reset(registry);
        }
    }

    /// Ends a connection without a word, as a client does whose network is gone.
    pub fn drop(&mut self, subscriber: u32, registry: &Registry) {
        let is_open = self.is_open(subscriber);
        let one = &mut self.subscribers[subscriber as usize];
        let Some(transport) = one.transport.take() else {
            return;
        };
        transport.reset(registry);
        match one.session.phase {
            _ if is_open => self.open -= 1,
            Phase::Closing => {}
            _ => self.opening -= 1,
        }
    }

    /// How many connections there are in any state.
    pub fn connections(&self) -> usize {
        let connected = |one: &&Subscriber| one.transport.is_some();
        self.subscribers.iter().filter(connected).count()
    }

    /// Does what the poll says can be done.
    pub fn ready(
        &mut self,
        event: &Event,
        clock: crate::net::timer::Clock,
        buffer: &mut [u8],
        registry: &Registry,
        observer: &mut impl Observer,
    ) {
        let subscriber = (event.token().0 - self.first_token) as u32;
        let was_open = self.subscribers[subscriber as usize].session.phase.is_open();
        let driven = self.drive(subscriber, event, clock, buffer, observer);
        let one = &mut self.subscribers[subscriber as usize];
        if !was_open && one.session.phase.is_open() {
            self.opening -= 1;
            self.open += 1;
        }
        if let Err(error) = driven {
            let end = || End::Broken(error.to_string());
            one.session.end.get_or_insert_with(end);
        }
        let Some(end) = one.session.end.take() else {
            return;
        };
        let Some(transport) = one.transport.take() else {
            return;
        };
        transport.reset(registry);
        let was = one.session.phase;
        match was {
            Phase::Open | Phase::Polling | Phase::Held => self.open -= 1,
            Phase::Connecting | Phase::Upgrading | Phase::Asking => self.opening -= 1,
            Phase::Closing => {}
        }
        one.session.phase = Phase::Connecting;
        match end {
            _ if was == Phase::Closing => observer.gone(subscriber, None),
            End::Asked => observer.gone(subscriber, None),
            End::Broken(why) => observer.gone(subscriber, Some(&why)),
        }
    }

    fn drive(
        &mut self,
        subscriber: u32,
        event: &Event,
        clock: crate::net::timer::Clock,
        buffer: &mut [u8],
        observer: &mut impl Observer,
    ) -> io::Result<()> {
        let Subscriber { transport, session } = &mut self.subscribers[subscriber as usize];
        // Events of a connection that was dropped in the same turn.
        let Some(transport) = transport else {
            return Ok(());
        };
        if session.phase == Phase::Connecting {
            if !event.is_writable() {
                return Ok(());
            }
            transport.connected()?;
            session.phase = if self.mode == Mode::Hold { Phase::Asking } else { Phase::Upgrading };
            session.ask_again = true;
        } else if event.is_writable() {
            transport.flush()?;
        }
        if event.is_readable() {
            let open = transport.read(buffer, event.is_read_closed(), |bytes| {
                session.feed(bytes, subscriber, clock.now(), observer);
            })?;
            if !open {
                session.end.get_or_insert_with(|| End::Broken("end of stream".into()));
            }
        }
        if session.end.is_some() {
            return Ok(());
        }
        if let Some(reply) = session.reply.take() {
            transport.write(reply.bytes())?;
        }
        if session.ask_again {
            session.ask_again = false;
            self.ask(subscriber, clock.now(), observer)?;
        }
        Ok(())
    }

    /// Writes the request.
    fn ask(&mut self, subscriber: u32, now: u64, observer: &mut impl Observer) -> io::Result<()> {
        let template = match self.mode {
            Mode::WebSocket | Mode::Hold => &self.target.subscribe,
            Mode::Poll => &self.target.poll,
        };
        let Subscriber { transport, session } = &mut self.subscribers[subscriber as usize];
        let out = &mut self.scratch;
        out.clear();
        out.extend_from_slice(b"GET ");
        self.population.write_target(&self.target, template, subscriber, &session.position, out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n");
        if self.mode == Mode::WebSocket {
            out.extend_from_slice(
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: ",
            );
            out.extend_from_slice(websocket::KEY.as_bytes());
            out.extend_from_slice(b"\r\n");
            if session.wire == Wire::Nchan {
                out.extend_from_slice(b"Sec-WebSocket-Protocol: ws+meta.nchan\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        if let Some(transport) = transport {
            transport.write(out)?;
        }
        if self.mode == Mode::Poll && session.phase == Phase::Upgrading {
            session.phase = Phase::Polling;
            observer.opened(subscriber, now - session.started, now);
        }
        Ok(())
    }
}
