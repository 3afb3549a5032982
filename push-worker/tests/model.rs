//! Any interleaving of connecting, leaving with a `mid`, slow sockets, a breaking link and
//! publishing: every client gets every message of its channels once, in order.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use push_link::{ToSidecar, ToWorker};
use push_protocol::ChannelKey;
use push_worker::SessionId;
use support::*;

/// What the link promises, done in the simplest way.
#[derive(Default)]
struct Sidecar {
    /// Every message, by counter from 1: its receivers.
    log: Vec<Vec<ChannelKey>>,
    subscribed: BTreeSet<ChannelKey>,
    /// Messages up to this counter have been put on the link.
    sent: u64,
    up: bool,
    /// So many frames more, then the link breaks.
    frames_left: usize,
}

struct Client {
    channels: Vec<(u8, bool)>,
    conn: usize,
    session: Option<SessionId>,
    got: Vec<u64>,
    /// The newest id it has seen, or where the world stood when it first came.
    last: u64,
    since: u64,
}

impl Sidecar {
    fn receivers(&self, counter: u64) -> Vec<ChannelKey> {
        let all = &self.log[counter as usize - 1];
        all.iter().filter(|key| self.subscribed.contains(key)).copied().collect()
    }

    /// Says something, unless the link breaks before.
    fn say(&mut self, world: &mut World, frame: &ToWorker) {
        if self.frames_left == 0 {
            return self.cut(world);
        }
        self.frames_left -= 1;
        world.say(frame);
    }

    fn cut(&mut self, world: &mut World) {
        if self.up {
            world.link_down();
            self.up = false;
        }
    }

    fn reconnect(&mut self, world: &mut World) {
        if !self.up {
            world.pass(3_000);
            world.link_up();
            self.up = true;
        }
    }

    /// Hears the worker out and answers; live messages up to `until` go first.
    fn serve(&mut self, world: &mut World, until: u64) {
        if !self.up {
            return;
        }
        for frame in world.heard() {
            match frame {
                ToSidecar::Hello { .. } => {
                    self.subscribed.clear();
                    self.sent = self.log.len() as u64;
                    self.say(world, &welcome(self.log.len() as u64));
                }
                ToSidecar::Subscribe { seq, channels } => {
                    self.subscribed.extend(channels);
                    self.say(world, &ToWorker::Position { seq, position: mid(self.sent) });
                }
                ToSidecar::Unsubscribe { channels } => {
                    for key in channels {
                        self.subscribed.remove(&key);
                    }
                }
                ToSidecar::Resume { after } => {
                    self.deliver(world, after.counter(), self.log.len() as u64);
                    self.say(world, &ToWorker::Resumed { position: mid(self.sent) });
                }
                ToSidecar::Recover { req, after, channels } => {
                    let as_of = self.log.len() as u64;
                    self.deliver(world, self.sent, as_of);
                    for counter in after.counter() + 1..=as_of {
                        if self.log[counter as usize - 1].iter().any(|key| channels.contains(key)) {
                            let outgoing = message(counter).into();
                            self.say(
                                world,
                                &ToWorker::RecoverItem { req, id: mid(counter), outgoing },
                            );
                        }
                    }
                    self.say(world, &ToWorker::RecoverEnd { req, ok: true, as_of: mid(as_of) });
                }
                ToSidecar::Ping => self.say(world, &ToWorker::Pong),
                other => panic!("{other:?}"),
            }
        }
        self.deliver(world, self.sent, until);
    }

    fn deliver(&mut self, world: &mut World, after: u64, until: u64) {
        for counter in after + 1..=until.min(self.log.len() as u64) {
            let receivers = self.receivers(counter);
            if !receivers.is_empty() {
                let outgoing = message(counter).into();
                self.say(
                    world,
                    &ToWorker::Deliver { id: mid(counter), flags: 0, receivers, outgoing },
                );
            }
        }
        self.sent = self.sent.max(until.min(self.log.len() as u64));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Leave(usize),
    Publish(Vec<u8>),
    /// The sidecar hears the worker and delivers all but this many messages.
    Serve(u64),
    Break,
    /// The link breaks in the middle of what the sidecar says.
    BreakAfter(usize),
    Room(usize, usize),
    Run,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0usize..6).prop_map(Step::Connect),
        2 => (0usize..6).prop_map(Step::Leave),
        6 => proptest::collection::vec(1u8..4, 1..3).prop_map(Step::Publish),
        5 => (0u64..3).prop_map(Step::Serve),
        1 => Just(Step::Break),
        2 => (0usize..8).prop_map(Step::BreakAfter),
        3 => (0usize..6, 0usize..200).prop_map(|(client, room)| Step::Room(client, room)),
        2 => Just(Step::Run),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Takes in what a client's socket got.
fn read(world: &World, client: &mut Client) {
    let seen = world.ids(client.conn);
    for id in seen {
        if id > client.last {
            client.got.push(id);
            client.last = id;
        } else {
            assert!(client.got.contains(&id), "{id} came out of order, after {}", client.last);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_client_gets_everything_once_in_order(steps in steps()) {
        let mut world = World::new();
        let mut sidecar = Sidecar { up: true, frames_left: usize::MAX, ..Sidecar::default() };
        let mut next_conn = 100;
        let mut clients: Vec<Client> = (0..6)
            .map(|n| Client {
                channels: match n % 3 { 0 => vec![(1, true), (3, false)], 1 => vec![(2, false)], _ => vec![(1, false), (2, true), (3, false)] },
                conn: 0, session: None, got: Vec::new(), last: 0, since: 0,
            })
            .collect();
        let settle = |world: &mut World, sidecar: &mut Sidecar, clients: &mut [Client]| {
            sidecar.reconnect(world);
            // Twice: the first answers may give rise to more.
            for _ in 0..2 {
                let all = sidecar.log.len() as u64;
                sidecar.serve(world, all);
            }
            world.run();
            for client in clients.iter() {
                if let Some(session) = client.session {
                    world.host.sockets.get_mut(&client.conn).unwrap().room = None;
                    world.engine.writable(&mut world.host, session);
                }
            }
        };
        for step in steps {
            match step {
                Step::Connect(n) if clients[n].session.is_none() => {
                    let client = &mut clients[n];
                    next_conn += 1;
                    client.conn = next_conn;
                    // Who comes for the first time comes with the position of now.
                    if client.last == 0 && client.since == 0 {
                        client.since = sidecar.log.len() as u64;
                        client.last = client.since;
                    }
                    client.session = Some(world.websocket(next_conn, &client.channels, Some(client.last)));
                }
                Step::Leave(n) => {
                    if let Some(session) = clients[n].session.take() {
                        read(&world, &mut clients[n]);
                        world.engine.ended(&mut world.host, session);
                    }
                }
                Step::Publish(channels) => {
                    let mut receivers: Vec<ChannelKey> = channels.iter().map(|&n| private(n)).collect();
                    if channels.len() > 1 {
                        receivers.push(public(101));
                    }
                    sidecar.log.push(receivers);
                }
                Step::Serve(behind) => {
                    let until = (sidecar.log.len() as u64).saturating_sub(behind).max(sidecar.sent);
                    sidecar.reconnect(&mut world);
                    sidecar.serve(&mut world, until);
                }
                Step::Break => sidecar.cut(&mut world),
                Step::BreakAfter(frames) => {
                    sidecar.reconnect(&mut world);
                    sidecar.frames_left = frames;
                    let all = sidecar.log.len() as u64;
                    sidecar.serve(&mut world, all);
                    sidecar.cut(&mut world);
                    sidecar.frames_left = usize::MAX;
                }
                Step::Room(n, room) => {
                    if let Some(session) = clients[n].session {
                        world.host.sockets.get_mut(&clients[n].conn).unwrap().room = Some(room);
                        world.engine.writable(&mut world.host, session);
                    }
                }
                Step::Run => { world.engine.run(&mut world.host); }
                Step::Connect(_) => {}
            }
        }
        settle(&mut world, &mut sidecar, &mut clients);
        for client in &mut clients {
            if client.session.is_none() {
                continue;
            }
            read(&world, client);
            let keys: Vec<ChannelKey> = client
                .channels
                .iter()
                .flat_map(|&(n, pair)| std::iter::once(private(n)).chain(pair.then(|| public(n + 100))))
                .collect();
            let expected: Vec<u64> = (client.since + 1..=sidecar.log.len() as u64)
                .filter(|&c| sidecar.log[c as usize - 1].iter().any(|key| keys.contains(key)))
                .collect();
            prop_assert_eq!(&client.got, &expected);
        }
        // Nothing twice on one connection.
        for conn in world.host.sockets.keys() {
            let ids = world.ids(*conn);
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(ids, sorted);
        }
        let sessions: BTreeMap<usize, SessionId> = clients.iter().filter_map(|c| Some((c.conn, c.session?))).collect();
        for session in sessions.values() {
            world.engine.ended(&mut world.host, *session);
        }
        assert_empty(&world);
    }
}
