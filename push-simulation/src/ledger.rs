//! Who published what, what was answered, what was stored, and who got what: every promise is
//! checked here, most of them the moment they could be broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use push_protocol::outgoing::OutgoingView;
use push_protocol::{ChannelKey, Mid};
use tokio::time::Instant;

use crate::world::World;

/// One time that a message was stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// The id it was given.
    pub id: Mid,
    /// When.
    pub at: Instant,
    /// The store has lost it since: it was wiped, or went back to an older state.
    pub lost: bool,
}

/// A message of a request.
#[derive(Debug)]
pub struct Message {
    /// Whom it is for.
    pub receivers: Vec<ChannelKey>,
    /// Seconds to keep it; 0: live delivery only.
    pub expiry: u32,
    /// When the request was made.
    pub asked: Instant,
    /// The request.
    pub request: usize,
    /// When it was stored; more than once only behind a loss of the store.
    pub stored: Vec<Stored>,
}

#[derive(Debug, Default)]
struct Asked {
    messages: Vec<u64>,
    answer: Option<u16>,
}

/// A subscriber over all its connections.
#[derive(Debug, Default)]
pub struct Subscriber {
    /// Its channels.
    pub channels: BTreeSet<ChannelKey>,
    /// Where it began: everything behind this id is promised to it.
    pub baseline: Option<Mid>,
    /// Since when its open WebSocket has been sure to get everything.
    covered: Option<Instant>,
    /// Which of its connections that is.
    visit: usize,
    /// What it got, and on which of its connections.
    got: BTreeMap<Mid, usize>,
    last: Option<Mid>,
}

/// One connection of a subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visit {
    /// Whose.
    pub client: usize,
    /// Which.
    pub number: usize,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    messages: BTreeMap<u64, Message>,
    requests: BTreeMap<usize, Asked>,
    subscribers: BTreeMap<usize, Subscriber>,
    highest: Option<Mid>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages of requests answered 200.
    pub answered: u64,
    /// Messages of requests answered 503: surely not stored.
    pub refused: u64,
    /// Messages of requests answered 504, or cut off.
    pub unknown: u64,
    /// Deliveries to subscribers.
    pub delivered: u64,
    /// Deliveries that were promised and did not happen.
    pub lost: u64,
    /// Deliveries that happened again.
    pub doubled: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.doubled += other.doubled;
    }
}

/// The body of a message.
pub fn body(n: u64, padding: usize) -> String {
    format!("{{\"n\":{n},\"p\":\"{}\"}}", "x".repeat(padding))
}

/// The number in a body.
pub fn number_in(body: &str) -> Option<u64> {
    let rest = body.strip_prefix("{\"n\":")?;
    rest.split_once(',')?.0.parse().ok()
}

impl Ledger {
    /// A subscriber that will connect.
    pub fn add_subscriber(&mut self, client: usize, channels: BTreeSet<ChannelKey>) {
        self.subscribers.insert(client, Subscriber { channels, ..Subscriber::default() });
    }

    /// A subscriber, to note what becomes of it.
    pub fn subscriber(&mut self, client: usize) -> &mut Subscriber {
        self.subscribers.entry(client).or_default()
    }

    /// A subscriber begins anew: nothing is sure to reach it before [`Self::covered`].
    pub fn visits(&mut self, client: usize) -> Visit {
        let subscriber = self.subscriber(client);
        subscriber.visit += 1;
        subscriber.covered = None;
        Visit { client, number: subscriber.visit }
    }

    /// From now on this connection is sure to get everything.
    pub fn covered(&mut self, visit: Visit) {
        let subscriber = self.subscriber(visit.client);
        if subscriber.visit == visit.number {
            subscriber.covered = Some(Instant::now());
        }
    }

    /// A message that is going to be published.
    pub fn asked(&mut self, request: usize, receivers: Vec<ChannelKey>, expiry: u32) -> u64 {
        let n = self.messages.len() as u64 + 1;
        let asked = Instant::now();
        self.messages.insert(n, Message { receivers, expiry, asked, request, stored: Vec::new() });
        self.requests.entry(request).or_default().messages.push(n);
        n
    }

    /// The store has just kept and announced a message. `abandoned`: for a process that did not
    /// wait for it any more.
    pub fn stored(&mut self, world: &World, id: Mid, outgoing: &[u8], abandoned: bool) {
        let n = OutgoingView::parse(outgoing).and_then(|view| number_in(view.body));
        let Some((n, message)) = n.and_then(|n| Some((n, self.messages.get_mut(&n)?))) else {
            return world.violation(format!("{id} was stored, and nobody published it"));
        };
        world.note(format_args!("stored {n} as {id}"));
        if message.stored.iter().any(|stored| !stored.lost) {
            world.violation(format!("message {n} was stored twice"));
        }
        // What a process knew of the ids when it asked may be overtaken by a loss of the store.
        let lost = abandoned && self.highest.is_some_and(|highest| id <= highest);
        if lost {
            world.count("straggler behind a loss");
        } else if self.highest.is_some_and(|highest| id <= highest) {
            world.violation(format!("{id} was given out behind {:?}", self.highest));
        }
        self.highest = self.highest.max(Some(id));
        message.stored.push(Stored { id, at: Instant::now(), lost });
        let answer = self.requests.get(&message.request).and_then(|asked| asked.answer);
        if matches!(answer, Some(500 | 503)) {
            world.violation(format!("message {n} was stored behind its answer {answer:?}"));
        }
    }

    /// The store has lost what it got after `saved`, or everything.
    pub fn lost_since(&mut self, saved: Option<Instant>) {
        let all = self.messages.values_mut().flat_map(|message| &mut message.stored);
        all.filter(|stored| saved.is_none_or(|saved| stored.at > saved))
            .for_each(|stored| stored.lost = true);
        // An id that was lost before anybody has seen it may be given out again.
        let stored = self.messages.values().flat_map(|message| &message.stored);
        let kept = stored.filter(|stored| !stored.lost).map(|stored| stored.id).max();
        let seen = self.subscribers.values().filter_map(|subscriber| subscriber.last).max();
        self.highest = kept.max(seen);
    }

    /// A request was answered.
    pub fn answered(&mut self, world: &World, request: usize, status: u16) {
        let Some(asked) = self.requests.get_mut(&request) else {
            return world.violation(format!("request {request} was answered, and nobody asked"));
        };
        if asked.answer.replace(status).is_some_and(|before| before != 0) {
            world.violation(format!("request {request} was answered twice"));
        }
        world.note(format_args!("request {request} answered {status}"));
        for n in &asked.messages {
            let stored = self.messages.get(n).is_some_and(|message| !message.stored.is_empty());
            match status {
                200 if !stored => {
                    world.violation(format!("message {n} was answered 200 and is not stored"));
                }
                500 | 503 if stored => {
                    world.violation(format!("message {n} was answered {status} and is stored"));
                }
                200 | 500 | 503 | 504 => {}
                _ => world.violation(format!("message {n} was answered {status}")),
            }
        }
    }

    /// Whoever asked does not wait for the answer any more, or nobody is left to give it.
    pub fn hung_up(&mut self, world: &World, request: usize) {
        world.note(format_args!("request {request} waits no more"));
        if let Some(asked) = self.requests.get_mut(&request) {
            asked.answer.get_or_insert(0);
        }
    }

    /// A subscriber got a message.
    pub fn delivered(&mut self, world: &World, client: usize, id: Mid, body: &str) {
        let n = number_in(body);
        let Some((n, message)) = n.and_then(|n| Some((n, self.messages.get(&n)?))) else {
            return world.violation(format!("client {client} got {body:?}"));
        };
        world.note(format_args!("client {client} got {n}, {id}"));
        let subscriber = self.subscribers.entry(client).or_default();
        if !message.receivers.iter().any(|key| subscriber.channels.contains(key)) {
            world.violation(format!("client {client} got {n}, which is for others"));
        }
        let stored = message.stored.iter().find(|stored| stored.id == id);
        if stored.is_none() {
            world.violation(format!("client {client} got {n} as {id}, which it never was"));
        }
        // A store that has lost everything cannot tell that a `mid` is younger than what it has
        // announced, if its announcements are still on their way to another host.
        let excused = stored.is_some_and(|stored| stored.lost);
        let last = subscriber.last.filter(|last| *last > id);
        match (subscriber.got.insert(id, subscriber.visit), last) {
            (Some(visit), _) if excused && visit != subscriber.visit => {
                world.count("repeated behind a loss");
            }
            (Some(_), _) => {
                world.count("doubled");
                world.violation(format!("client {client} got {n} twice"));
            }
            (None, Some(_)) if excused => world.count("out of order behind a loss"),
            (None, Some(last)) => {
                world.violation(format!("client {client} got {id} behind {last}"));
            }
            (None, None) => {}
        }
        subscriber.last = subscriber.last.max(Some(id));
        subscriber.baseline.get_or_insert(id);
    }

    /// What was promised and has not come: subscribers and messages.
    pub fn missing(&self) -> Vec<(usize, u64)> {
        let mut missing = Vec::new();
        for (n, message) in &self.messages {
            for stored in message.stored.iter().filter(|stored| is_kept(message, stored)) {
                for (client, subscriber) in &self.subscribers {
                    let listens = message.receivers.iter().any(|k| subscriber.channels.contains(k));
                    if listens
                        && !subscriber.got.contains_key(&stored.id)
                        && is_promised(subscriber, message, stored)
                    {
                        missing.push((*client, *n));
                    }
                }
            }
        }
        missing
    }

    /// Messages that were answered 200 and have to be in the store now: ids and receivers.
    pub fn to_be_kept(&self) -> Vec<(u64, Mid, Vec<ChannelKey>)> {
        let answered = |m: &Message| self.requests[&m.request].answer == Some(200) && m.expiry > 0;
        let messages = self.messages.iter().filter(|(_, message)| answered(message));
        let kept = messages.flat_map(|(n, message)| {
            let stored = message.stored.iter().filter(|stored| is_kept(message, stored));
            stored.map(|stored| (*n, stored.id, message.receivers.clone()))
        });
        kept.collect()
    }

    /// Requests that have had no answer.
    pub fn unanswered(&self) -> impl Iterator<Item = usize> + '_ {
        self.requests.iter().filter(|(_, asked)| asked.answer.is_none()).map(|(id, _)| *id)
    }

    /// How many of what.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for asked in self.requests.values() {
            let count = asked.messages.len() as u64;
            match asked.answer {
                Some(200) => figures.answered += count,
                Some(500 | 503) => figures.refused += count,
                _ => figures.unknown += count,
            }
        }
        figures.delivered = self.subscribers.values().map(|s| s.got.len() as u64).sum();
        figures.lost = self.missing().len() as u64;
        figures
    }
}

/// Whether the store has to have it still.
fn is_kept(message: &Message, stored: &Stored) -> bool {
    let seconds = if message.expiry == 0 { u32::MAX } else { message.expiry };
    !stored.lost && stored.at.elapsed() < Duration::from_secs(seconds.into())
}

fn is_promised(subscriber: &Subscriber, message: &Message, stored: &Stored) -> bool {
    // It came back with its `mid`, or could have.
    let history = message.expiry > 0 && subscriber.baseline.is_some_and(|mid| stored.id > mid);
    // It has been there all the time.
    history || subscriber.covered.is_some_and(|since| since < message.asked)
}
