//! Connections, subscriptions, and what can go wrong.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use push_protocol::notification::parse_notification;
use push_protocol::outgoing::OutgoingView;
use push_protocol::{ChannelKey, Mid};
use push_sidecar::store::redis::dialer::{Opening, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Acting, Data, Reply, Scripts, take_command};
use crate::pipe::{End, Reader, Wire, Writer};
use crate::rng::Rng;
use crate::setup::Sabotage;
use crate::world::World;

/// What every announcement channel begins with.
const ANNOUNCEMENTS: &[u8] = b"pushserver:";

/// What waits to be written to one client.
#[derive(Default)]
struct Out {
    bytes: RefCell<Vec<u8>>,
    filled: Notify,
}

impl Out {
    fn put(&self, reply: &Reply) {
        reply.encode(&mut self.bytes.borrow_mut());
        self.filled.notify_one();
    }
}

struct Client {
    host: usize,
    out: Rc<Out>,
    wire: Wire,
    task: AbortHandle,
    channels: Vec<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
    /// Nothing published reaches it any more.
    muted: bool,
}

/// Until when something is wrong.
#[derive(Default)]
struct Trouble(Cell<Option<Instant>>);

impl Trouble {
    fn last(&self, time: Duration) {
        self.0.set(Some(Instant::now() + time));
    }

    fn until(&self) -> Option<Instant> {
        self.0.get().filter(|until| *until > Instant::now())
    }
}

/// See the module above.
pub struct Redis {
    world: Rc<World>,
    acting: Rc<RefCell<Acting>>,
    scripts: RefCell<Scripts>,
    clients: RefCell<BTreeMap<u64, Client>>,
    last_client: Cell<u64>,
    snapshot: RefCell<(Instant, Data)>,
    down: Trouble,
    loading: Trouble,
    read_only: Trouble,
    paused: Trouble,
    /// How many announcements out of 1000 a subscriber does not get.
    dropping: Cell<u64>,
    /// Whoever said what is being done has hung up since.
    abandoned: Cell<bool>,
    /// The first id since the last loss.
    first_since: Cell<Option<Mid>>,
    /// The last ids that hosts have seen, as far as they have said.
    floors: RefCell<BTreeMap<usize, Mid>>,
    /// Somebody has been served who remembers ids of before the last loss.
    witnessed: Cell<bool>,
}

impl Redis {
    /// An empty one.
    pub fn start(world: &Rc<World>, rng: Rng) -> Rc<Self> {
        let data = Data::new(rng);
        let snapshot = (Instant::now(), data.clone());
        let acting = Acting { data, published: Vec::new(), read_only: false };
        let acting = Rc::new(RefCell::new(acting));
        let scripts = Scripts::new(&acting).expect("Lua starts");
        Rc::new(Self {
            world: Rc::clone(world),
            acting,
            scripts: RefCell::new(scripts),
            clients: RefCell::default(),
            last_client: Cell::new(0),
            snapshot: RefCell::new(snapshot),
            down: Trouble::default(),
            loading: Trouble::default(),
            read_only: Trouble::default(),
            paused: Trouble::default(),
            dropping: Cell::new(0),
            abandoned: Cell::new(false),
            first_since: Cell::new(None),
            floors: RefCell::default(),
            witnessed: Cell::new(true),
        })
    }

    /// Dials.
    pub fn open(self: &Rc<Self>, host: usize) -> Opening {
        let this = Rc::clone(self);
        Box::pin(async move {
            this.world.pause(2).await;
            if this.down.until().is_some() {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs, wire) = this.world.connect(this.world.setup.redis_net);
            this.serve(host, ours, wire);
            Ok(Box::new(theirs) as Box<dyn Stream>)
        })
    }

    fn serve(self: &Rc<Self>, host: usize, end: End, wire: Wire) {
        let id = self.last_client.get() + 1;
        self.last_client.set(id);
        let out = Rc::new(Out::default());
        let this = Rc::clone(self);
        let End { reader, writer } = end;
        let output = Rc::clone(&out);
        let task = tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                () = write(&output, writer) => {}
                () = this.read(id, reader, &output) => {}
            }
            this.clients.borrow_mut().remove(&id);
        });
        let task = task.abort_handle();
        let (channels, patterns) = (Vec::new(), Vec::new());
        let client = Client { host, out, wire, task, channels, patterns, muted: false };
        self.clients.borrow_mut().insert(id, client);
    }

    async fn read(&self, id: u64, mut reader: Reader, out: &Out) {
        let mut input = Vec::new();
        while reader.read_buf(&mut input).await.is_ok_and(|count| count > 0) {
            while let Some(command) = take_command(&mut input) {
                if let Some(until) = self.paused.until() {
                    sleep_until(until).await;
                }
                self.abandoned.set(reader.is_abandoned());
                self.command(id, &command, out);
            }
        }
    }

    fn command(&self, id: u64, command: &[Vec<u8>], out: &Out) {
        let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
        let rest = &command[1..];
        if self.loading.until().is_some() {
            let error = "LOADING Redis is loading the dataset in memory";
            return out.put(&Reply::Error(error.into()));
        }
        {
            let mut acting = self.acting.borrow_mut();
            acting.data.now = self.world.unix_ms();
            acting.read_only = self.read_only.until().is_some();
        }
        match &*name {
            "SUBSCRIBE" | "PSUBSCRIBE" => return self.subscribe(id, &name, rest, out),
            "CLIENT" => out.put(&Reply::OK),
            "HELLO" => {
                assert_eq!(rest.first().map(Vec::as_slice), Some(&b"3"[..]), "asked for RESP3");
                out.put(&Reply::Array(Vec::new()));
            }
            "EVAL" | "EVALSHA" => {
                let reply = if name == "EVAL" {
                    self.scripts.borrow_mut().run_text(&rest[0], &rest[1..])
                } else {
                    self.scripts.borrow().run_known(&rest[0], &rest[1..])
                };
                if !matches!(reply, Reply::Error(_)) {
                    self.witnessed.set(true);
                    self.note_floor(id, rest);
                }
                out.put(&reply);
            }
            _ => {
                let reply = self.acting.borrow_mut().call(command);
                out.put(&reply);
            }
        }
        self.hand_out();
    }

    fn subscribe(&self, id: u64, name: &str, names: &[Vec<u8>], out: &Out) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&id) else { return };
        let pattern = name == "PSUBSCRIBE";
        let list = if pattern { &mut client.patterns } else { &mut client.channels };
        list.extend_from_slice(names);
        for name in names {
            let kind = if pattern { "psubscribe" } else { "subscribe" };
            let replies = vec![Reply::bulk(kind), Reply::bulk(&name[..]), Reply::Int(1)];
            out.put(&Reply::Push(replies));
        }
    }

    /// What was published goes to the subscribers, in order.
    fn hand_out(&self) {
        let published = std::mem::take(&mut self.acting.borrow_mut().published);
        for (channel, payload) in published {
            let announced = channel.starts_with(ANNOUNCEMENTS);
            let lose = announced && self.note(&payload);
            for client in self.clients.borrow().values() {
                if client.muted || lose {
                    continue;
                }
                if client.channels.contains(&channel) {
                    let message = [Reply::bulk("message"), Reply::bulk(&channel[..])];
                    client
                        .out
                        .put(&Reply::Push([&message[..], &[Reply::bulk(&payload[..])]].concat()));
                }
                for pattern in &client.patterns {
                    let stem = pattern.strip_suffix(b"*").unwrap_or(pattern);
                    if !channel.starts_with(stem) {
                        continue;
                    }
                    if announced && self.world.chance(self.dropping.get()) {
                        self.world.count("announcement dropped");
                        continue;
                    }
                    client.out.put(&Reply::Push(vec![
                        Reply::bulk("pmessage"),
                        Reply::bulk(&pattern[..]),
                        Reply::bulk(&channel[..]),
                        Reply::bulk(&payload[..]),
                    ]));
                }
            }
        }
    }

    /// What is announced has just been stored. True: it shall be lost.
    fn note(&self, payload: &[u8]) -> bool {
        let mut lose = false;
        for announced in parse_notification(payload) {
            let id = announced.id;
            if announced.receivers.is_empty() {
                // An id that nobody shall wait for.
                continue;
            }
            self.first_since.set(self.first_since.get().or(Some(id)));
            let mut ledger = self.world.ledger.borrow_mut();
            ledger.stored(&self.world, id, &announced.outgoing, self.abandoned.get());
            let view = OutgoingView::parse(&announced.outgoing);
            if view.is_some_and(|view| view.expiry > 1000) {
                lose |= self.world.sabotage(Sabotage::Lose);
                if lose || self.world.sabotage(Sabotage::Vanish) {
                    self.acting.borrow_mut().data.remove(&message_key(id));
                }
            }
        }
        lose
    }

    /// Whether a stored message is there, and in its receivers' queues.
    pub fn holds(&self, id: Mid, receivers: &[ChannelKey]) -> bool {
        let mut acting = self.acting.borrow_mut();
        acting.data.now = self.world.unix_ms();
        acting.data.has(&message_key(id))
            && receivers.iter().all(|key| {
                let list = push_sidecar::store::redis::layout::list(key);
                acting.data.has_member(&list, id.as_bytes())
            })
    }

    // Trouble -----------------------------------------------------------------------------------

    /// Ends and comes back after a while; then it loads for a while.
    pub fn crash(&self, away: Duration, loading: Duration) {
        for client in std::mem::take(&mut *self.clients.borrow_mut()).into_values() {
            client.task.abort();
        }
        self.acting.borrow_mut().published.clear();
        self.scripts.borrow_mut().flush();
        self.down.last(away);
        self.loading.last(away + loading);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.acting.borrow_mut().data.clear();
        self.lost_since(None);
    }

    /// Remembers how things stand, for [`Self::go_back`].
    pub fn save(&self) {
        let data = self.acting.borrow().data.clone();
        *self.snapshot.borrow_mut() = (Instant::now(), data);
    }

    /// Forgets what came since it was last saved.
    pub fn go_back(&self) {
        let (saved, data) = self.snapshot.borrow().clone();
        self.acting.borrow_mut().data = data;
        self.lost_since(Some(saved));
    }

    fn lost_since(&self, saved: Option<Instant>) {
        self.world.ledger.borrow_mut().lost_since(saved);
        self.witnessed.set(false);
        self.first_since.set(None);
    }

    /// A probe tells what a host knows of the ids.
    fn note_floor(&self, client: u64, script: &[Vec<u8>]) {
        let [_, _, start, counter, channel, ..] = script else { return };
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        if channel.starts_with(b"bxpush:probe:")
            && let (Some(start), Some(counter)) = (number(start), number(counter))
            && let Some(client) = self.clients.borrow().get(&client)
        {
            self.floors.borrow_mut().insert(client.host, Mid::new(start, counter));
        }
    }

    /// A host's sidecar starts: it knows nothing, and takes nothing for granted.
    pub fn forget_host(&self, host: usize) {
        self.floors.borrow_mut().remove(&host);
    }

    /// Whether every sidecar that remembers ids knows of those behind the last loss. Another loss
    /// before is more than can be made good: who was told of the first goes on from there.
    pub fn is_known(&self) -> bool {
        let first = self.first_since.get();
        self.floors.borrow().values().all(|floor| first.is_none_or(|first| *floor >= first))
    }

    /// Whether a sidecar that remembers the ids has been served since the last loss.
    pub fn is_witnessed(&self) -> bool {
        self.witnessed.get()
    }

    /// `SCRIPT FLUSH`
    pub fn flush_scripts(&self) {
        self.scripts.borrow_mut().flush();
    }

    /// Answers READONLY for a while.
    pub fn turn_read_only(&self, time: Duration) {
        self.read_only.last(time);
    }

    /// Answers LOADING for a while.
    pub fn load(&self, time: Duration) {
        self.loading.last(time);
    }

    /// `CLIENT PAUSE`
    pub fn pause(&self, time: Duration) {
        self.paused.last(time);
    }

    /// Refuses new connections for a while.
    pub fn refuse(&self, time: Duration) {
        self.down.last(time);
    }

    /// So many announcements out of 1000 do not reach a subscriber.
    pub fn drop_announcements(&self, permille: u64) {
        self.dropping.set(permille);
    }

    /// `CLIENT KILL TYPE pubsub`
    pub fn kill_subscriptions(&self) {
        self.subscriptions(|client| client.task.abort());
        self.clients.borrow_mut().retain(|_, client| client.patterns.is_empty());
    }

    /// Subscriptions stay open, and nothing comes over them.
    pub fn mute_subscriptions(&self) {
        self.subscriptions(|client| client.muted = true);
    }

    /// All connections see a reset.
    pub fn reset_connections(&self) {
        self.clients.borrow().values().for_each(|client| client.wire.reset());
    }

    /// Nothing arrives on any connection for a while.
    pub fn hold_connections(&self, time: Duration) {
        self.clients.borrow().values().for_each(|client| client.wire.hold(time));
    }

    /// All is well again.
    pub fn heal(&self) {
        for trouble in [&self.down, &self.loading, &self.read_only, &self.paused] {
            trouble.0.set(None);
        }
        self.dropping.set(0);
        self.clients.borrow().values().for_each(|client| client.wire.release());
    }

    fn subscriptions(&self, act: impl FnMut(&mut Client)) {
        let mut clients = self.clients.borrow_mut();
        clients.values_mut().filter(|client| !client.patterns.is_empty()).for_each(act);
    }
}

async fn write(out: &Out, mut writer: Writer) {
    loop {
        let bytes = std::mem::take(&mut *out.bytes.borrow_mut());
        if bytes.is_empty() {
            out.filled.notified().await;
        } else if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn message_key(id: Mid) -> Vec<u8> {
    push_sidecar::store::redis::layout::message(id)
}
