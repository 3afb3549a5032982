//! The pure parts together, in any order of events: announcements that come out of order, late or
//! not at all, streams and links that break. Each worker ends up with every message for its
//! channels, once, in id order.

use bytes::Bytes;
use proptest::prelude::*;
use push_protocol::{ChannelKey, Mid};
use push_sidecar::catch_up::CatchUp;
use push_sidecar::router::{Delivery, LinkId, Outlet, Router};
use push_sidecar::sequencer::Gap;
use push_sidecar::store::{Announced, Missed, StoreEvent};

const HOLD: u64 = 250;
const CHANNELS: u8 = 4;

fn mid(n: u64) -> Mid {
    Mid::new(1_800_000_000, n)
}

fn key(n: u8) -> ChannelKey {
    ChannelKey::private([n; 16])
}

#[derive(Clone, Debug)]
enum Step {
    /// A message is stored; its announcement is on its way.
    Publish(Vec<u8>),
    /// An id is given out and never used.
    Skip,
    /// One of the announcements on their way arrives.
    Arrive(prop::sample::Index),
    /// The announcements on their way are lost with the stream.
    BreakStream,
    RestoreStream,
    /// The store answers what it was asked.
    Answer,
    BreakLink(prop::sample::Index),
    /// The link comes back, and is sent what it missed.
    Resume(prop::sample::Index),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = || any::<prop::sample::Index>();
    let step = prop_oneof![
        8 => prop::collection::vec(0..CHANNELS, 1..4).prop_map(Step::Publish),
        1 => Just(Step::Skip),
        8 => index().prop_map(Step::Arrive),
        1 => Just(Step::BreakStream),
        2 => Just(Step::RestoreStream),
        3 => Just(Step::Answer),
        1 => index().prop_map(Step::BreakLink),
        2 => index().prop_map(Step::Resume),
        2 => (1..400_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..150)
}

/// A worker: what it listens to, and what it has received.
struct Worker {
    channels: Vec<ChannelKey>,
    link: Option<LinkId>,
    received: Vec<(Mid, bool)>,
}

/// Everything that was sent, by link.
#[derive(Default)]
struct Wire(Vec<(LinkId, Mid, bool)>);

impl Outlet for Wire {
    type Waiter = ();

    fn deliver(&mut self, link: LinkId, id: Mid, late: bool, _: &[ChannelKey], _: &Bytes) {
        self.0.push((link, id, late));
    }

    fn reached(&mut self, (): ()) {}

    fn overflow(&mut self, _: LinkId) {
        panic!("nothing is that large here");
    }
}

struct World {
    now: u64,
    last: u64,
    stored: Vec<Announced>,
    on_their_way: Vec<Announced>,
    whole: bool,
    router: Router<()>,
    asked: Option<Gap>,
    workers: Vec<Worker>,
}

impl World {
    fn new() -> Self {
        let mut router = Router::new(HOLD, 1 << 30);
        router.event(0, StoreEvent::Restored { position: mid(0) }, &mut Wire::default());
        let listening: [&[u8]; 3] = [&[0], &[1, 2], &[0, 2, 3]];
        let workers = listening.map(|channels| {
            let channels: Vec<ChannelKey> = channels.iter().map(|n| key(*n)).collect();
            let link = router.add_link(false);
            router.subscribe(link, &channels);
            Worker { channels, link: Some(link), received: Vec::new() }
        });
        Self {
            now: 0,
            last: 0,
            stored: Vec::new(),
            on_their_way: Vec::new(),
            whole: true,
            router,
            asked: None,
            workers: workers.into(),
        }
    }

    fn event(&mut self, event: StoreEvent) {
        let mut wire = Wire::default();
        let gap = self.router.event(self.now, event, &mut wire);
        self.asked = gap.or(self.asked);
        self.hand_out(wire);
    }

    fn hand_out(&mut self, wire: Wire) {
        for (link, id, late) in wire.0 {
            let worker = self.workers.iter_mut().find(|worker| worker.link == Some(link));
            worker.expect("sent to links that are there").received.push((id, late));
        }
    }

    /// What the store knows of some channels in a stretch of ids.
    fn missed(&self, channels: &[ChannelKey], after: Mid, upto: Mid) -> Missed {
        let messages = self.stored.iter().filter(|m| m.id > after && m.id <= upto);
        let messages = messages.filter_map(|m| {
            let theirs = m.receivers.iter().filter(|key| channels.contains(key));
            let receivers: Vec<ChannelKey> = theirs.copied().collect();
            (!receivers.is_empty()).then(|| Announced { receivers, ..m.clone() })
        });
        Missed { messages: messages.collect(), as_of: upto, ..Missed::default() }
    }

    fn answer(&mut self) {
        if let Some(gap) = self.asked.take() {
            let found = self.missed(&self.router.all_channels(), gap.after, gap.upto).messages;
            let mut wire = Wire::default();
            self.router.recovered(gap, found, &mut wire);
            self.hand_out(wire);
        }
    }

    fn poll(&mut self) {
        if let Some(gap) = self.router.poll(self.now) {
            self.asked = Some(gap);
        }
    }

    fn restore(&mut self) {
        if !self.whole {
            self.whole = true;
            self.event(StoreEvent::Restored { position: mid(self.last) });
        }
    }

    /// Everything that is under way comes to its end.
    fn settle(&mut self) {
        self.restore();
        while let Some(announced) = self.on_their_way.pop() {
            self.event(StoreEvent::Announced(announced));
        }
        self.router.wait_for(self.now, mid(self.last), (), &mut Wire::default());
        self.answer();
        self.now += HOLD;
        self.poll();
        self.answer();
    }

    fn break_link(&mut self, which: usize) {
        if let Some(link) = self.workers[which].link.take() {
            self.router.remove_link(link);
        }
    }

    /// As the exchange does it.
    fn resume(&mut self, which: usize) {
        if self.workers[which].link.is_some() {
            return;
        }
        let link = self.router.add_link(true);
        let channels = self.workers[which].channels.clone();
        self.router.subscribe(link, &channels);
        self.workers[which].link = Some(link);
        let after = self.workers[which].received.iter().map(|(id, _)| *id).max().unwrap_or(mid(0));
        let missed = self.missed(&channels, after, mid(self.last));
        // The read is as of the last id: wait for it.
        self.settle();
        let mut catch_up = CatchUp::new(after, missed);
        catch_up.add_held(after, self.router.take_held(link));
        while let Some(Delivery { id, late, .. }) = catch_up.pop() {
            self.workers[which].received.push((id, late));
        }
        self.router.go_live(link);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(channels) => {
                self.last += 1;
                let receivers = channels.iter().map(|n| key(*n)).collect();
                let outgoing = Bytes::new();
                let announced = Announced { id: mid(self.last), receivers, outgoing };
                self.stored.push(announced.clone());
                self.on_their_way.push(announced);
            }
            Step::Skip => self.last += 1,
            Step::Arrive(index) => {
                if !self.on_their_way.is_empty() {
                    let announced = self.on_their_way.remove(index.index(self.on_their_way.len()));
                    self.event(StoreEvent::Announced(announced));
                }
            }
            Step::BreakStream => {
                if self.whole {
                    self.whole = false;
                    self.on_their_way.clear();
                    self.event(StoreEvent::Lost);
                }
            }
            Step::RestoreStream => self.restore(),
            Step::Answer => self.answer(),
            Step::BreakLink(index) => self.break_link(index.index(self.workers.len())),
            Step::Resume(index) => self.resume(index.index(self.workers.len())),
            Step::Wait(ms) => {
                self.now += ms;
                self.poll();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_worker_gets_everything_once_in_order(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for which in 0..world.workers.len() {
            world.resume(which);
        }
        world.settle();
        for worker in &world.workers {
            let expected: Vec<Mid> = world
                .stored
                .iter()
                .filter(|m| m.receivers.iter().any(|key| worker.channels.contains(key)))
                .map(|m| m.id)
                .collect();
            let mut received: Vec<Mid> = worker.received.iter().map(|(id, _)| *id).collect();
            let in_time = worker.received.iter().filter(|(_, late)| !late).map(|(id, _)| *id);
            prop_assert!(in_time.is_sorted());
            received.sort_unstable();
            prop_assert_eq!(received, expected);
        }
    }
}
