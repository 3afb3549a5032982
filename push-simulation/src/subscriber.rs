//! A subscriber that behaves like the pull client: it connects with the last `mid` it saw, by
//! WebSocket or by long poll, and comes back when it was dropped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use push_protocol::channels::ChannelList;
use push_protocol::signature::Verifier;
use push_protocol::{ChannelKey, Mid};
use push_worker::{Format, LastMessageId, Response};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::Cluster;
use crate::pipe::{End, Wire};
use crate::rng::Rng;
use crate::wire::{Frame, binary_messages, client_frame, hex, take_frame, text_messages};
use crate::worker::{Event, Hello};
use crate::world::World;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long a server may be silent, which pings every 15 s.
const SILENCE: Duration = Duration::from_secs(40);
/// How long a poll may take, which is answered after 40 s.
const POLL: Duration = Duration::from_secs(60);

/// What can be done to a subscriber from outside.
#[derive(Default)]
pub struct Control {
    wire: RefCell<Option<Wire>>,
    away_until: Cell<Option<Instant>>,
    stopped: Cell<bool>,
    poke: Notify,
}

impl Control {
    /// Its connection, if it has one.
    pub fn wire(&self) -> Option<Wire> {
        self.wire.borrow().clone()
    }

    /// It hangs up and comes back later.
    pub fn go_away(&self, time: Duration) {
        self.away_until.set(Some(Instant::now() + time));
        self.poke.notify_one();
    }

    /// It comes back now.
    pub fn come_back(&self) {
        self.away_until.set(None);
    }

    /// It hangs up for good.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.poke.notify_one();
    }
}

/// Channels: private ids 1, 2, …, each with the public id 100 more.
fn id(n: u8) -> [u8; 16] {
    [n; 16]
}

/// See the module.
pub struct Subscriber {
    cluster: Rc<Cluster>,
    world: Rc<World>,
    control: Rc<Control>,
    name: usize,
    list: ChannelList,
    format: Format,
    polls: bool,
    mid: Option<Mid>,
    rng: Rng,
}

impl Subscriber {
    /// One that listens to some channels.
    pub fn new(cluster: &Rc<Cluster>, verifier: &Verifier) -> Self {
        let world = Rc::clone(&cluster.world);
        let mut rng = world.rng();
        let name = world.name();
        let all: Vec<u8> = (1..=world.setup.channels as u8).collect();
        let count = rng.range(1, 3) as usize;
        let entries: Vec<String> = rng
            .some(&all, count)
            .into_iter()
            .map(|n| {
                let mut text = hex(&id(n));
                if rng.chance(600) {
                    text = format!("{text}:{}", hex(&id(n + 100)));
                }
                let signature = verifier.sign_text(text.as_bytes()).unwrap_or_default();
                format!("{text}.{signature}")
            })
            .collect();
        let list = ChannelList::for_subscriber(entries.join("/").as_bytes(), verifier)
            .expect("a signed list");
        let channels: BTreeSet<ChannelKey> = list.receivers().collect();
        // Some know where they left off, the others begin now.
        let mid = rng.chance(500).then_some(Mid::ZERO);
        let mut ledger = world.ledger.borrow_mut();
        ledger.add_subscriber(name, channels);
        ledger.subscriber(name).baseline = mid;
        drop(ledger);
        let control = Rc::default();
        cluster.clients.borrow_mut().push(Rc::clone(&control));
        Self {
            cluster: Rc::clone(cluster),
            control,
            name,
            list,
            format: if rng.chance(500) { Format::Text } else { Format::Binary },
            polls: rng.chance(world.setup.polling_permille),
            mid,
            world,
            rng,
        }
    }

    /// Goes on until it is stopped.
    pub async fn run(mut self) {
        let patience = self.rng.range(50, 3000);
        while !self.control.stopped.get() {
            if let Some(until) = self.control.away_until.take() {
                sleep_until(until).await;
            }
            if self.polls {
                self.poll().await;
            } else {
                self.listen().await;
            }
            self.control.wire.take();
            self.world.ledger.borrow_mut().visits(self.name);
            if !self.polls {
                self.world.pause(patience).await;
            }
        }
    }

    fn hello(&self) -> Hello {
        let visit = self.world.ledger.borrow_mut().visits(self.name);
        Hello { channels: self.list.clone(), mid: self.mid, format: self.format, visit }
    }

    fn got(&mut self, messages: Option<Vec<(Mid, String)>>) {
        let Some(messages) = messages else {
            return self.world.violation(format!("client {} cannot read what it got", self.name));
        };
        for (id, body) in messages {
            self.world.ledger.borrow_mut().delivered(&self.world, self.name, id, &body);
            self.mid = Some(id);
        }
    }

    // WebSocket ---------------------------------------------------------------------------------

    async fn listen(&mut self) {
        self.world.pause(self.world.setup.client_net.delay).await;
        let Some(worker) = self.cluster.any_worker(&mut self.rng) else { return };
        let (ours, theirs, wire) = self.world.connect(self.world.setup.client_net);
        *self.control.wire.borrow_mut() = Some(wire);
        let mid = self.mid.map_or("nothing".to_owned(), |mid| mid.to_string());
        self.world.note(format_args!(
            "client {} connects to worker {} behind {mid}",
            self.name, worker.name
        ));
        worker.send(Event::Handshake(theirs, self.hello()));
        let control = Rc::clone(&self.control);
        tokio::select! {
            biased;
            () = control.poke.notified() => {}
            reason = self.session(ours) => {
                self.world.note(format_args!("client {} is off: {reason}", self.name));
            }
        }
    }

    async fn session(&mut self, End { mut reader, writer }: End) -> &'static str {
        let mut status = [0; 3];
        match timeout(HANDSHAKE, reader.read_exact(&mut status)).await {
            Ok(Ok(_)) if &status == b"101" => {}
            Ok(Ok(_)) => return "refused",
            Ok(Err(_)) => return "dropped before it was answered",
            Err(_) => return "not answered",
        }
        self.world.note(format_args!("client {} is on", self.name));
        let mut input = Vec::new();
        loop {
            match timeout(SILENCE, reader.read_buf(&mut input)).await {
                Ok(Ok(0)) => return "the stream ended",
                Ok(Err(_)) => return "the connection broke",
                Err(_) => return "silence",
                Ok(Ok(_)) => {}
            }
            while let Some(Frame { opcode, payload }) = take_frame(&mut input) {
                let answer = match opcode {
                    1 => {
                        self.got(text_messages(&payload));
                        continue;
                    }
                    2 => {
                        self.got(binary_messages(&payload));
                        continue;
                    }
                    8 => {
                        let _ = writer.try_write(&client_frame(8, &payload));
                        self.world.count("closed by the server");
                        return "closed by the server";
                    }
                    9 => client_frame(10, &payload),
                    _ => {
                        self.world.violation(format!("client {} got opcode {opcode}", self.name));
                        return "an odd frame";
                    }
                };
                if writer.try_write(&answer).is_err() {
                    return "the connection broke";
                }
            }
            // Some take their time.
            if self.rng.chance(20) {
                let ms = self.rng.range(10, 2000);
                sleep(Duration::from_millis(ms)).await;
            }
        }
    }

    // Long poll ---------------------------------------------------------------------------------

    async fn poll(&mut self) {
        self.world.pause(self.world.setup.client_net.delay).await;
        let Some(worker) = self.cluster.any_worker(&mut self.rng) else {
            return self.world.pause(1000).await;
        };
        let (answer, answered) = oneshot::channel();
        let request = self.world.name();
        // Nothing travels on it: it stands for the connection that may break.
        let (mut broken, _theirs, wire) = self.world.connect(self.world.setup.client_net);
        *self.control.wire.borrow_mut() = Some(wire);
        let mid = self.mid.map_or("nothing".to_owned(), |mid| mid.to_string());
        self.world
            .note(format_args!("client {} polls worker {} behind {mid}", self.name, worker.name));
        worker.send(Event::Poll(request, self.hello(), answer));
        let control = Rc::clone(&self.control);
        let delay = self.rng.range(0, self.world.setup.client_net.delay);
        let answered = async {
            let response = timeout(POLL, answered).await.ok()?.ok()?;
            sleep(Duration::from_millis(delay)).await;
            Some(response)
        };
        let mut nothing = [0; 1];
        let response = tokio::select! {
            biased;
            _ = broken.reader.read(&mut nothing) => None,
            () = control.poke.notified() => None,
            response = answered => response,
        };
        match response {
            Some(response) => self.answered(response).await,
            None => worker.send(Event::HungUp(request)),
        }
    }

    async fn answered(&mut self, response: Response) {
        match response.status {
            200 => self.got(match self.format {
                Format::Text => text_messages(&response.body),
                Format::Binary => binary_messages(&response.body),
            }),
            304 => {
                if let Some(LastMessageId::Is(mid)) = response.last_message_id {
                    self.mid = Some(mid);
                    let mut ledger = self.world.ledger.borrow_mut();
                    ledger.subscriber(self.name).baseline.get_or_insert(mid);
                }
            }
            _ => self.world.pause(2000).await,
        }
    }
}
