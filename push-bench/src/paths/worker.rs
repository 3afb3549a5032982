//! The engine, with a host that takes everything and a sidecar that is played.

use std::fmt;
use std::rc::Rc;

use push_link::{PublishStatus, ToWorker, VERSION};
use push_protocol::channels::ChannelList;
use push_protocol::hex::encode_id;
use push_protocol::outgoing::{Sender, encode_rest, with_id};
use push_protocol::request::{Limits, text};
use push_protocol::{ChannelKey, Mid};
use push_worker::{
    Broken, Conn, Engine, Format, Host, Level, Request, Response, SessionId, Settings, SettingsId,
    Subscriber,
};

use super::{body, channel, shared, verifier};

const START: u64 = 1_795_406_332;
/// Subscribers of a fan-out.
const CROWD: u32 = 1000;

/// Sockets that always have room, and requests that are forgotten.
#[derive(Default)]
struct Silence {
    written: u64,
    upgrades: u64,
    answered: u64,
    wants_run: bool,
}

impl Host for Silence {
    fn now(&self) -> u64 {
        1_000
    }
    fn unix_ms(&self) -> u64 {
        START * 1_000
    }
    fn write(&mut self, _: Conn, bytes: &[u8]) -> Result<usize, Broken> {
        self.written += 1;
        Ok(bytes.len())
    }
    fn finish_writes(&mut self, _: Conn) {}
    fn close(&mut self, _: Conn) {}
    fn read_more(&mut self, _: Conn) {}
    fn upgrade(&mut self, _: Request) {
        self.upgrades += 1;
    }
    fn respond(&mut self, _: Request, response: Response) {
        assert_eq!(response.status, 200);
        self.answered += 1;
    }
    fn connect_link(&mut self) {}
    fn wake_link(&mut self) {}
    fn close_link(&mut self) {
        panic!("the link is to be closed");
    }
    fn wake_run(&mut self) {
        self.wants_run = true;
    }
    fn log(&mut self, _: Level, _: fmt::Arguments<'_>) {}
}

struct Worker {
    engine: Engine,
    host: Silence,
    settings: SettingsId,
    lists: Rc<push_protocol::signature::Verifier>,
    frame: Vec<u8>,
    counter: u64,
    /// How many questions the engine has numbered.
    asked: u32,
}

impl Worker {
    fn new() -> Self {
        let lists = Rc::new(verifier());
        let mut engine = Engine::new(7, 1, "bench");
        let settings = Settings { verifier: Rc::clone(&lists), ..Settings::default() };
        let settings = engine.add_settings(settings);
        let mut host = Silence::default();
        engine.start(&mut host);
        engine.link_up(&mut host);
        let mut worker =
            Self { engine, host, settings, lists, frame: Vec::new(), counter: 1, asked: 0 };
        worker.hear(&ToWorker::Welcome {
            version: VERSION,
            position: Mid::new(START, 1),
            software: "bench".into(),
        });
        worker.say();
        worker
    }

    /// The sidecar says something.
    fn hear(&mut self, said: &ToWorker) {
        self.frame.clear();
        said.encode(&mut self.frame);
        self.engine.link_received(&mut self.host, &self.frame);
    }

    /// What is to be said to the sidecar is gone.
    fn say(&mut self) -> usize {
        let len = self.engine.link_output().len();
        self.engine.link_sent(len);
        len
    }

    /// A subscriber with a pair and the shared channel.
    fn subscriber(&self, number: u32, mid: Option<Mid>) -> Subscriber {
        let mut list = Vec::with_capacity(200);
        let mut pair = [b':'; 65];
        pair[..32].copy_from_slice(&encode_id(&channel(2 * number)));
        pair[33..].copy_from_slice(&encode_id(&channel(2 * number + 1)));
        for (at, text) in [&pair[..], &encode_id(&shared())].into_iter().enumerate() {
            list.extend_from_slice(if at > 0 { b"/" } else { b"" });
            list.extend_from_slice(text);
            list.push(b'.');
            let signature = self.lists.sign_text(text).expect("there is a key");
            list.extend_from_slice(signature.as_bytes());
        }
        let channels = ChannelList::for_subscriber(&list, &self.lists).expect("it is signed");
        Subscriber { channels, mid, format: Format::Binary, settings: self.settings }
    }

    fn open(&mut self, number: u32, subscriber: Subscriber) -> SessionId {
        let request = Request(number as usize);
        let (id, at_once) = self.engine.begin_websocket(&mut self.host, request, subscriber);
        self.say();
        // The engine numbers its questions: a subscription, if it takes one, and a recovery.
        let seq = self.asked + 1;
        self.asked += if at_once { 1 } else { 2 };
        if !at_once {
            let position = Mid::new(START, self.counter);
            let before = self.host.upgrades;
            self.hear(&ToWorker::Position { seq, position });
            assert_eq!(self.host.upgrades, before + 1);
        }
        assert!(self.engine.attach(&mut self.host, id, Conn(number as usize)));
        id
    }

    fn close(&mut self, id: SessionId) {
        self.engine.ended(&mut self.host, id);
        self.engine.forget(&mut self.host, id);
        self.say();
    }

    fn deliver(&mut self, to: ChannelKey, rest: &[u8]) {
        self.counter += 1;
        let id = Mid::new(START, self.counter);
        let outgoing = with_id(id, rest).into();
        self.hear(&ToWorker::Deliver { id, flags: 0, receivers: vec![to], outgoing });
        while std::mem::take(&mut self.host.wants_run) {
            self.host.wants_run = self.engine.run(&mut self.host);
        }
    }
}

/// WebSockets come and go, one at a time; another one holds the shared channel. Signing and
/// verifying, as [`super::protocol::read_handshake`] counts, is left out.
pub fn handshake(count: u32) {
    let mut worker = Worker::new();
    let holder = worker.subscriber(count, None);
    worker.open(count, holder);
    let list = worker.subscriber(0, None).channels;
    for number in 0..count {
        let (format, settings) = (Format::Binary, worker.settings);
        let one = Subscriber { channels: list.clone(), mid: None, format, settings };
        let id = worker.open(number, one);
        worker.close(id);
    }
    assert_eq!(worker.host.upgrades, u64::from(count) + 1);
}

fn rest() -> Vec<u8> {
    encode_rest(&body(), 600, START as u32, Sender::Backend)
}

/// As many deliveries, rounded up to whole messages.
pub fn fanout(count: u32) {
    let mut worker = Worker::new();
    for number in 0..CROWD {
        let one = worker.subscriber(number, None);
        worker.open(number, one);
    }
    let (rest, before) = (rest(), worker.host.written);
    let messages = count.div_ceil(CROWD);
    for _ in 0..messages {
        worker.deliver(ChannelKey::private(shared()), &rest);
    }
    assert_eq!(worker.host.written - before, u64::from(messages * CROWD));
}

/// Messages to single ones.
pub fn unicast(count: u32) {
    let mut worker = Worker::new();
    for number in 0..CROWD {
        let one = worker.subscriber(number, None);
        worker.open(number, one);
    }
    let (rest, before) = (rest(), worker.host.written);
    for number in 0..count {
        worker.deliver(ChannelKey::private(channel(2 * (number * 7 % CROWD))), &rest);
    }
    assert_eq!(worker.host.written - before, u64::from(count));
}

/// Messages that are taken, stored and answered.
pub fn publish(count: u32) {
    let mut worker = Worker::new();
    let (body, limits) = (body(), Limits::default());
    for number in 0..count {
        let to = std::iter::once(ChannelKey::private(channel(number % CROWD)));
        let message = text(to, body.as_bytes(), Some(b"600"), &limits, START as u32);
        let request = Request(number as usize);
        let seq = worker.engine.publish(&mut worker.host, request, false, vec![message]);
        assert!(worker.say() > 300);
        worker.hear(&ToWorker::PublishAck {
            seq,
            status: PublishStatus::Stored,
            detail: String::new(),
        });
    }
    assert_eq!(worker.host.answered, u64::from(count));
}

/// Clients return while others hold their channels: another tab, or the page before.
pub fn recover(count: u32) {
    let mut worker = Worker::new();
    let holder = worker.subscriber(0, None);
    worker.open(0, holder);
    let list = worker.subscriber(0, None).channels;
    let as_of = Mid::new(START, 1);
    let (rest, before) = (rest(), worker.host.written);
    for number in 0..count {
        let (format, settings) = (Format::Binary, worker.settings);
        let mid = Some(Mid::new(START, 0));
        let one = Subscriber { channels: list.clone(), mid, format, settings };
        let id = worker.open(number + 1, one);
        let req = worker.asked;
        worker.hear(&ToWorker::RecoverEnd { req, ok: true, as_of });
        worker.deliver(ChannelKey::private(shared()), &rest);
        worker.close(id);
    }
    // The message behind it comes to those whose history is known to be complete, and to the holder.
    assert_eq!(worker.host.written - before, 2 * u64::from(count));
}
