//! The daemon with its memory store, and a worker that is played at the other end of a link.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use push_link::{PublishItem, PublishStatus, Splitter, ToSidecar, ToWorker, Versions};
use push_protocol::outgoing::{Sender, encode_rest};
use push_protocol::{ChannelKey, Mid};
use push_sidecar::exchange::{Exchange, ExchangeOptions};
use push_sidecar::link_server::run_link;
use push_sidecar::store::memory::MemoryStore;
use push_sidecar::surroundings::Simulated;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::LocalSet;

use super::{body, channel, shared};

/// Publishes under way at a time.
const PUBLISHERS: u32 = 8;
/// Channels that are published to in turn.
const CHANNELS: u32 = 1000;
/// Enough for all that is under way.
const PIPE: usize = 1 << 20;
/// How long an answer may take, under valgrind on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

struct Link {
    stream: DuplexStream,
    splitter: Splitter,
    out: Vec<u8>,
    seq: u64,
    rest: Bytes,
}

impl Link {
    fn put(&mut self, frame: &ToSidecar) {
        frame.encode(&mut self.out);
    }

    async fn flush(&mut self) {
        self.stream.write_all(&self.out).await.expect("the link is there");
        self.out.clear();
    }

    async fn hear(&mut self) -> ToWorker {
        loop {
            if let Some(frame) = self.splitter.next_frame().expect("frames are whole") {
                match ToWorker::decode(frame).expect("frames can be read") {
                    // A few are timed; not what is counted here.
                    ToWorker::Published { .. } => continue,
                    said => return said,
                }
            }
            let buffer = self.splitter.buffer();
            buffer.reserve(64 * 1024);
            let reading = tokio::time::timeout(PATIENCE, self.stream.read_buf(buffer));
            let len = reading.await.expect("the sidecar answers").expect("the link is there");
            assert_ne!(len, 0, "the sidecar has closed the link");
        }
    }

    /// A publish to a channel; returns what names it.
    fn publish(&mut self, to: u32) -> u64 {
        self.seq += 1;
        let item = PublishItem {
            expiry: 600,
            label: "bench".into(),
            receivers: vec![(ChannelKey::private(channel(to)), Bytes::new())],
            rest: self.rest.clone(),
        };
        let seq = self.seq;
        self.put(&ToSidecar::Publish { seq, counted: false, messages: vec![item], at: 1 });
        seq
    }

    /// Publishes as many as there are publishers, and waits until all are answered, and delivered
    /// so many times.
    async fn round(&mut self, first: u32, mut deliveries: u32) {
        for number in first..first + PUBLISHERS {
            self.publish(number % CHANNELS);
        }
        self.flush().await;
        let mut answers = PUBLISHERS;
        while answers + deliveries > 0 {
            match self.hear().await {
                ToWorker::PublishAck { status, .. } => {
                    assert_eq!(status, PublishStatus::Stored);
                    answers -= 1;
                }
                ToWorker::Deliver { .. } => deliveries -= 1,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn subscribe(&mut self, channels: Vec<ChannelKey>) -> Mid {
        self.put(&ToSidecar::Subscribe { seq: 1, channels });
        self.flush().await;
        match self.hear().await {
            ToWorker::Position { position, .. } => position,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for what is newer, and returns how many messages that was.
    async fn recover(&mut self, after: Mid, channels: Vec<ChannelKey>) -> u32 {
        self.put(&ToSidecar::Recover { req: 1, after, channels });
        self.flush().await;
        let mut count = 0;
        loop {
            match self.hear().await {
                ToWorker::RecoverItem { .. } => count += 1,
                ToWorker::RecoverEnd { ok, .. } => {
                    assert!(ok);
                    return count;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Runs a daemon and a link to it. Names and jitter are the same every time.
fn with_link(story: impl AsyncFnOnce(&mut Link)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let _same = Simulated::begin(7, EPOCH);
        let (store, events) = MemoryStore::new(256 << 20, 130);
        let exchange = Exchange::new(store, ExchangeOptions::default());
        tokio::task::spawn_local(Rc::clone(&exchange).run(events));
        tokio::task::spawn_local(Rc::clone(&exchange).keep_presence());
        exchange.ready().await;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (reading, writing) = tokio::io::split(theirs);
        tokio::task::spawn_local(run_link(reading, writing, Rc::clone(&exchange)));
        let rest = encode_rest(&body(), 600, EPOCH.as_secs() as u32, Sender::Backend);
        let mut link = Link {
            stream: ours,
            splitter: Splitter::new(),
            out: Vec::new(),
            seq: 0,
            rest: rest.into(),
        };
        link.put(&ToSidecar::Hello {
            versions: Versions::OURS,
            instance: 7,
            pid: 1,
            resume: false,
            software: "bench".into(),
        });
        link.flush().await;
        let welcome = link.hear().await;
        assert!(matches!(welcome, ToWorker::Welcome { .. }), "{welcome:?}");
        story(&mut link).await;
    });
}

fn three(number: u32) -> Vec<ChannelKey> {
    let (private, public) = (channel(2 * number), channel(2 * number + 1));
    vec![ChannelKey::private(private), ChannelKey::public(public), ChannelKey::private(shared())]
}

/// Channels come and go.
pub fn subscribe(count: u32) {
    with_link(async |link| {
        for number in 0..count {
            link.subscribe(three(number % CHANNELS)).await;
            link.put(&ToSidecar::Unsubscribe { channels: three(number % CHANNELS) });
        }
        link.flush().await;
    });
}

/// Stored, and nobody listens.
pub fn publish(count: u32) {
    with_link(async |link| {
        for round in 0..count.div_ceil(PUBLISHERS) {
            link.round(round * PUBLISHERS, 0).await;
        }
    });
}

/// Stored and delivered.
pub fn unicast(count: u32) {
    with_link(async |link| {
        let all = (0..CHANNELS).map(|number| ChannelKey::private(channel(number)));
        link.subscribe(all.collect()).await;
        for round in 0..count.div_ceil(PUBLISHERS) {
            link.round(round * PUBLISHERS, PUBLISHERS).await;
        }
    });
}

/// Somebody returns, and nothing has happened.
pub fn recover_nothing(count: u32) {
    with_link(async |link| {
        let mut position = Mid::ZERO;
        for number in 0..CHANNELS {
            position = link.subscribe(three(number)).await;
        }
        // There are messages, all of them older. Every other id is a private one's.
        link.round(0, PUBLISHERS / 2).await;
        let newer = link.subscribe(three(0)).await;
        assert!(newer > position);
        for number in 0..count {
            assert_eq!(link.recover(newer, three(number % CHANNELS)).await, 0);
        }
    });
}

/// Somebody returns, and five messages are there.
pub fn recover_five(count: u32) {
    with_link(async |link| {
        let position = link.subscribe(three(0)).await;
        for _ in 0..5 {
            link.publish(0);
        }
        link.flush().await;
        for _ in 0..10 {
            link.hear().await;
        }
        for _ in 0..count {
            assert_eq!(link.recover(position, three(0)).await, 5);
        }
    });
}
