//! A host made of vectors, and a sidecar that does what the test says.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use push_link::{PublishItem, Splitter, ToSidecar, ToWorker};
use push_protocol::channels::ChannelList;
use push_protocol::frame::{Decoder, Event};
use push_protocol::outgoing::{self, OutgoingView, Sender};
use push_protocol::signature::{Algorithm, Verifier};
use push_protocol::{ChannelKey, Mid};
use push_worker::{
    Broken, Conn, Engine, Format, Host, Level, Request, Response, SessionId, Settings, SettingsId,
    Subscriber,
};

pub const KEY: &[u8] = b"a key of the tests, nothing else is signed with it";

/// What one WebSocket's peer sees.
#[derive(Debug, Default)]
pub struct Socket {
    pub written: Vec<u8>,
    /// How much more the socket takes; `None`: any amount.
    pub room: Option<usize>,
    pub broken: bool,
    pub finished: bool,
    /// How often it was said to be read again.
    pub wanted: usize,
    pub closed: bool,
}

#[derive(Debug, Default)]
pub struct TestHost {
    pub now: u64,
    pub sockets: BTreeMap<usize, Socket>,
    pub answers: BTreeMap<usize, Response>,
    /// Handshakes that may go on, and have not yet.
    pub upgrades: Vec<usize>,
    pub connects: usize,
    pub link_closed: usize,
    pub link_wakes: usize,
    pub run_wakes: usize,
    pub log: Vec<String>,
}

pub const EPOCH_MS: u64 = 1_795_408_173_456;

impl Host for TestHost {
    fn now(&self) -> u64 {
        self.now
    }
    fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.now
    }
    fn write(&mut self, conn: Conn, bytes: &[u8]) -> Result<usize, Broken> {
        let socket = self.sockets.entry(conn.0).or_default();
        assert!(!socket.closed && !socket.finished, "written after the end");
        if socket.broken {
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
        let socket = self.sockets.entry(conn.0).or_default();
        assert!(!socket.closed, "read after the end");
        socket.wanted += 1;
    }
    fn finish_writes(&mut self, conn: Conn) {
        self.sockets.entry(conn.0).or_default().finished = true;
    }
    fn close(&mut self, conn: Conn) {
        let socket = self.sockets.entry(conn.0).or_default();
        assert!(!socket.closed, "closed twice");
        socket.closed = true;
    }
    fn upgrade(&mut self, request: Request) {
        self.upgrades.push(request.0);
    }
    fn respond(&mut self, request: Request, response: Response) {
        assert!(self.answers.insert(request.0, response).is_none(), "answered twice");
    }
    fn connect_link(&mut self) {
        self.connects += 1;
    }
    fn wake_link(&mut self) {
        self.link_wakes += 1;
    }
    fn close_link(&mut self) {
        self.link_closed += 1;
    }
    fn wake_run(&mut self) {
        self.run_wakes += 1;
    }
    fn log(&mut self, _: Level, line: fmt::Arguments<'_>) {
        self.log.push(line.to_string());
    }
}

/// An engine, its host, and the sidecar's end of the link.
pub struct World {
    pub engine: Engine,
    pub host: TestHost,
    pub settings: SettingsId,
    /// The sidecar gives a sign of life whenever time passes.
    pub alive: bool,
    splitter: Splitter,
}

pub fn verifier() -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    verifier.add_key(KEY);
    verifier
}

pub fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

pub fn id(n: u8) -> [u8; 16] {
    [n; 16]
}

/// `n` is a private channel; `n + 100` the public id of its pair.
pub fn list(channels: &[(u8, bool)]) -> ChannelList {
    let verifier = verifier();
    let parts: Vec<String> = channels
        .iter()
        .map(|&(n, pair)| {
            let mut text = hex(id(n));
            if pair {
                text = format!("{text}:{}", hex(id(n + 100)));
            }
            let signature = verifier.sign_text(text.as_bytes()).unwrap();
            format!("{text}.{signature}")
        })
        .collect();
    ChannelList::for_subscriber(parts.join("/").as_bytes(), &verifier).unwrap()
}

pub fn private(n: u8) -> ChannelKey {
    ChannelKey::private(id(n))
}

pub fn public(n: u8) -> ChannelKey {
    ChannelKey::public(id(n))
}

pub fn mid(counter: u64) -> Mid {
    Mid::new(1_795_406_332, counter)
}

pub fn message(counter: u64) -> Vec<u8> {
    let body = format!("{{\"n\":{counter}}}");
    outgoing::with_id(
        mid(counter),
        &outgoing::encode_rest(&body, 60, 1_795_408_173, Sender::Backend),
    )
}

impl World {
    /// With the link up and welcomed at counter 0.
    pub fn new() -> Self {
        Self::with(&Settings::default())
    }

    pub fn with(settings: &Settings) -> Self {
        let mut engine = Engine::new(7, 1, "test");
        let settings =
            engine.add_settings(Settings { verifier: Rc::new(verifier()), ..settings.clone() });
        let mut world = Self {
            engine,
            host: TestHost::default(),
            settings,
            alive: true,
            splitter: Splitter::new(),
        };
        world.engine.start(&mut world.host);
        assert_eq!(world.host.connects, 1);
        world.link_up();
        world.say(&welcome(0));
        let said = world.heard();
        assert!(matches!(said[0], ToSidecar::Hello { resume: false, .. }), "{said:?}");
        world
    }

    pub fn link_up(&mut self) {
        self.splitter = Splitter::new();
        self.engine.link_up(&mut self.host);
    }

    pub fn link_down(&mut self) {
        self.engine.link_down(&mut self.host);
    }

    /// Lets time pass; everything due is done.
    pub fn pass(&mut self, ms: u64) {
        let end = self.host.now + ms;
        while let Some(at) = self.engine.next_deadline().filter(|&at| at <= end) {
            self.host.now = self.host.now.max(at);
            self.engine.tick(&mut self.host);
            if self.alive {
                self.say(&ToWorker::Pong);
            }
        }
        self.host.now = end;
    }

    /// The sidecar says something.
    pub fn say(&mut self, frame: &ToWorker) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.engine.link_received(&mut self.host, &bytes);
    }

    pub fn deliver(&mut self, counter: u64, receivers: &[ChannelKey]) {
        self.deliver_flagged(counter, receivers, 0);
    }

    pub fn deliver_flagged(&mut self, counter: u64, receivers: &[ChannelKey], flags: u8) {
        self.say(&ToWorker::Deliver {
            id: mid(counter),
            flags,
            receivers: receivers.to_vec(),
            outgoing: message(counter).into(),
        });
    }

    pub fn item(&mut self, req: u32, counter: u64) {
        self.say(&ToWorker::RecoverItem {
            req,
            id: mid(counter),
            outgoing: message(counter).into(),
        });
    }

    pub fn recovered(&mut self, req: u32, as_of: u64) {
        self.say(&ToWorker::RecoverEnd { req, ok: true, as_of: mid(as_of) });
    }

    /// What the sidecar has heard since the last time, but for numbers of connections.
    pub fn heard(&mut self) -> Vec<ToSidecar> {
        let mut all = self.heard_all();
        all.retain(|frame| !matches!(frame, ToSidecar::Connections { .. }));
        all
    }

    /// What the sidecar has heard since the last time.
    pub fn heard_all(&mut self) -> Vec<ToSidecar> {
        let bytes = self.engine.link_output().to_vec();
        self.engine.link_sent(bytes.len());
        self.splitter.extend(&bytes);
        let mut frames = Vec::new();
        while let Some(frame) = self.splitter.next_frame().unwrap() {
            frames.push(ToSidecar::decode(frame).unwrap());
        }
        frames
    }

    /// The number of the only `Recover` heard.
    pub fn heard_recover(&mut self) -> u32 {
        let reqs: Vec<u32> = self
            .heard()
            .iter()
            .filter_map(|f| if let ToSidecar::Recover { req, .. } = f { Some(*req) } else { None })
            .collect();
        assert_eq!(reqs.len(), 1);
        reqs[0]
    }

    pub fn subscriber(
        &self,
        channels: &[(u8, bool)],
        after: Option<u64>,
        format: Format,
    ) -> Subscriber {
        Subscriber {
            channels: list(channels),
            mid: after.map(mid),
            format,
            settings: self.settings,
        }
    }

    pub fn websocket(
        &mut self,
        conn: usize,
        channels: &[(u8, bool)],
        after: Option<u64>,
    ) -> SessionId {
        self.host.sockets.entry(conn).or_default();
        let subscriber = self.subscriber(channels, after, Format::Binary);
        let request = Request(conn);
        let (id, _) = self.engine.begin_websocket(&mut self.host, request, subscriber);
        // As if the sidecar had answered: what the handshake waits for has tests of its own.
        assert!(self.engine.attach(&mut self.host, id, Conn(conn)));
        id
    }

    pub fn poll(
        &mut self,
        request: usize,
        channels: &[(u8, bool)],
        after: Option<u64>,
    ) -> SessionId {
        let subscriber = self.subscriber(channels, after, Format::Text);
        self.engine.open_poll(&mut self.host, Request(request), subscriber)
    }

    /// Runs fan-outs to their end.
    pub fn run(&mut self) {
        while self.engine.run(&mut self.host) {}
    }

    /// The counters of the messages a WebSocket got, frame by frame, and its close code.
    pub fn got(&self, conn: usize) -> (Vec<Vec<u64>>, Option<u16>) {
        let mut frames = Vec::new();
        let mut close = None;
        for event in server_frames(&self.host.sockets[&conn].written) {
            match event {
                Event::Message { data, .. } => frames.push(counters(&data)),
                Event::Close { code, .. } => close = code,
                Event::Ping(_) | Event::Pong(_) => {}
            }
        }
        (frames, close)
    }

    /// The same, all frames as one sequence.
    pub fn ids(&self, conn: usize) -> Vec<u64> {
        self.got(conn).0.concat()
    }

    pub fn published(&mut self) -> Vec<(u64, Vec<PublishItem>)> {
        self.heard()
            .into_iter()
            .filter_map(|frame| match frame {
                ToSidecar::Publish { seq, messages, .. } => Some((seq, messages)),
                _ => None,
            })
            .collect()
    }
}

pub fn welcome(counter: u64) -> ToWorker {
    ToWorker::Welcome {
        version: push_link::VERSION,
        position: mid(counter),
        software: "test".into(),
    }
}

/// Unmasked frames, as a client reads them: masked with zeros they are what the decoder takes.
pub fn server_frames(bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = bytes;
    // A socket may have stopped anywhere, in the head of a frame too.
    while let Some(&length) = rest.get(1) {
        let extended = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head = 2 + extended;
        let Some(number) = rest.get(2..head) else { break };
        let len = match extended {
            0 => usize::from(length),
            _ => number.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
        };
        if rest.len() < head + len {
            break;
        }
        let mut masked = rest[..head].to_vec();
        masked[1] |= 0x80;
        masked.extend_from_slice(&[0; 4]);
        masked.extend_from_slice(&rest[head..head + len]);
        let mut decoder = Decoder::new();
        decoder
            .feed(&masked, usize::MAX, &mut |event| {
                events.push(event);
                true
            })
            .unwrap();
        rest = &rest[head + len..];
    }
    events
}

/// A client's frame: masked with zeros.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut out = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    out.extend_from_slice(payload);
    out
}

/// The counters in a `ResponseBatch`, found by parsing it by hand: field 1 of fields 1.
pub fn counters(batch: &[u8]) -> Vec<u64> {
    fn fields(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut out = Vec::new();
        while let [tag, rest @ ..] = bytes {
            assert_eq!(tag & 7, 2);
            let (mut len, mut shift, mut at) = (0usize, 0, 0);
            loop {
                len |= usize::from(rest[at] & 127) << shift;
                shift += 7;
                at += 1;
                if rest[at - 1] & 128 == 0 {
                    break;
                }
            }
            out.push((tag >> 3, &rest[at..at + len]));
            bytes = &rest[at + len..];
        }
        out
    }
    let mut out = Vec::new();
    for (_, response) in fields(batch) {
        for (_, messages) in fields(response) {
            for (_, message) in fields(messages) {
                out.push(OutgoingView::parse(message).unwrap().id.counter());
            }
        }
    }
    out
}

/// No session, channel, recovery or publish is left behind.
pub fn assert_empty(world: &World) {
    let counters = world.engine.counters();
    assert_eq!((counters.websockets, counters.polls, counters.channels), (0, 0, 0));
    assert_eq!(world.engine.busy(), 0);
}

pub type Set = BTreeSet<u64>;

/// A `RequestBatch` that asks whether the public channel of `list(&[(n, true)])` is online.
pub fn online_question(n: u8) -> Vec<u8> {
    let id = id(n + 100);
    let signature = verifier().sign_public(&id).unwrap();
    let channel = [&[0x0a, 16], &id[..], &[0x1a, 20], &signature].concat();
    [&[0x0a, 44, 0x12, 42, 0x0a, 40], &channel[..]].concat()
}
