//! Links over a real Unix socket, in this process; for both stores.

mod common;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use common::redis_server::RedisServer;
use common::worker::{Worker, publishing, subscribing};
use common::{item, private, public, run};
use push_link::{PublishStatus, ToSidecar, ToWorker, VERSION};
use push_protocol::Mid;
use push_sidecar::exchange::{Exchange, ExchangeOptions};
use push_sidecar::link_server::{self, ListenError, Socket};
use push_sidecar::store::memory::MemoryStore;
use push_sidecar::store::redis::{RedisOptions, RedisStore, Timing};
use push_sidecar::store::{Events, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A sidecar in this process.
struct Sidecar {
    socket: PathBuf,
    _folder: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Sidecar {
    fn start<S: Store + 'static>(store: S, events: Events, options: ExchangeOptions) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("sidecar.sock");
        let listener = Socket::bind(&socket, None).expect("a socket");
        let exchange = Exchange::new(store, options);
        let running = Rc::clone(&exchange);
        let tasks = vec![
            tokio::task::spawn_local(async move { running.run(events).await }),
            tokio::task::spawn_local(async move {
                link_server::serve(&listener.listener, &exchange).await;
            }),
        ];
        Self { socket, _folder: folder, tasks }
    }

    fn memory() -> Self {
        let (store, events) = MemoryStore::new(64 << 20, 130);
        Self::start(store, events, ExchangeOptions::default())
    }

    fn redis(server: &RedisServer) -> Self {
        let ms = Duration::from_millis;
        let options = RedisOptions {
            url: server.url(),
            command_timeout: ms(500),
            timing: Timing { dial: ms(500), probe_every: ms(50), probe_patience: ms(500) },
            ..RedisOptions::default()
        };
        let (store, events) = RedisStore::open(&options).expect("a store");
        Self::start(store, events, ExchangeOptions::default())
    }

    async fn worker(&self, instance: u64) -> Worker {
        Worker::connect(&self.socket, instance, false).await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

macro_rules! with_both_stores {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::run(async { super::$name(super::Sidecar::memory()).await }) })*
        }
        mod redis {
            $(#[test] fn $name() {
                let server = super::RedisServer::start();
                super::run(async { super::$name(super::Sidecar::redis(&server)).await })
            })*
        }
    };
}

with_both_stores! {
    what_is_published_is_delivered_in_order_and_acknowledged
    each_link_gets_what_it_has_subscribed
    a_subscription_begins_at_its_position
    a_publish_that_is_sent_again_is_delivered_once
    recovered_and_live_messages_fit_together
    a_resumed_link_misses_nothing_and_repeats_nothing
    a_recover_on_a_resuming_link_waits_its_turn
    online_is_what_has_a_link
    the_newest_message_alive_is_told
    large_messages_pass
    a_link_that_breaks_the_rules_is_closed
}

async fn what_is_published_is_delivered_in_order_and_acknowledged(sidecar: Sidecar) {
    let mut worker = sidecar.worker(1).await;
    worker.subscribe(1, &[private(1)]).await;
    for seq in 0..200 {
        let messages = vec![item(0, &[private(1)], "1"), item(60, &[private(1)], "2")];
        worker.send(&publishing(seq, messages)).await;
    }
    let mut last = worker.position;
    for _ in 0..400 {
        let (id, late, receivers) = worker.delivery().await;
        assert!(id > last && !late);
        assert_eq!(receivers, [private(1)]);
        last = id;
    }
    for seq in 0..200 {
        let acked = worker.skipped.iter().any(|frame| {
            matches!(frame, ToWorker::PublishAck { seq: s, status: PublishStatus::Stored, .. } if *s == seq)
        });
        assert!(acked || worker.ack(seq).await.0 == PublishStatus::Stored);
    }
}

async fn each_link_gets_what_it_has_subscribed(sidecar: Sidecar) {
    let (mut a, mut b) = (sidecar.worker(1).await, sidecar.worker(2).await);
    a.subscribe(1, &[private(1), public(1), private(2)]).await;
    b.subscribe(1, &[private(2)]).await;
    a.publish(1, vec![item(0, &[public(1), private(1), private(2), private(3)], "1")]).await;
    let (first, _, receivers) = a.delivery().await;
    assert_eq!(receivers, [private(1), private(2), public(1)]);
    assert_eq!(b.delivery().await, (first, false, vec![private(2)]));
    a.send(&ToSidecar::Unsubscribe { channels: vec![private(2)] }).await;
    a.publish(2, vec![item(0, &[private(2)], "2"), item(0, &[private(1)], "3")]).await;
    assert_eq!(a.delivery().await.0.counter(), first.counter() + 2);
    assert_eq!(b.delivery().await.0.counter(), first.counter() + 1);
}

async fn a_subscription_begins_at_its_position(sidecar: Sidecar) {
    let (mut a, mut b) = (sidecar.worker(1).await, sidecar.worker(2).await);
    a.subscribe(1, &[private(1)]).await;
    for seq in 0..50 {
        b.send(&publishing(seq, vec![item(0, &[private(1), private(2)], "1")])).await;
        if seq == 25 {
            a.send(&subscribing(2, vec![private(2)])).await;
        }
    }
    let mut position = None;
    for _ in 0..50 {
        let (id, receivers) = loop {
            match a.next().await {
                ToWorker::Position { position: at, .. } => position = Some(at),
                ToWorker::Deliver { id, receivers, .. } => break (id, receivers),
                other => panic!("{other:?}"),
            }
        };
        let expected = if position.is_some_and(|at| id > at) { 2 } else { 1 };
        assert_eq!(receivers.len(), expected, "{id} at {position:?}");
    }
}

async fn a_publish_that_is_sent_again_is_delivered_once(sidecar: Sidecar) {
    let mut worker = sidecar.worker(7).await;
    worker.subscribe(1, &[private(1)]).await;
    let messages = vec![item(0, &[private(1)], "1")];
    worker.publish(5, messages.clone()).await;
    worker.delivery().await;
    drop(worker);
    let mut again = Worker::connect(&sidecar.socket, 7, false).await;
    again.subscribe(1, &[private(1)]).await;
    assert_eq!(again.publish(5, messages.clone()).await.0, PublishStatus::Stored);
    assert_eq!(again.publish(6, messages.clone()).await.0, PublishStatus::Stored);
    let (id, ..) = again.delivery().await;
    // Another worker's fifth publish is another publish.
    let mut other = sidecar.worker(8).await;
    other.publish(5, messages).await;
    assert_eq!(again.delivery().await.0.counter(), id.counter() + 1);
    again.ping().await;
    assert_eq!(again.skipped_deliveries(), []);
}

/// Invariant 3: held live messages and the answer, each id once, are everything after the mid.
async fn recovered_and_live_messages_fit_together(sidecar: Sidecar) {
    let (mut a, mut b) = (sidecar.worker(1).await, sidecar.worker(2).await);
    let start = a.position;
    for seq in 0..300 {
        b.send(&publishing(seq, vec![item(60, &[private(1)], "1")])).await;
    }
    a.send(&subscribing(1, vec![private(1)])).await;
    a.send(&ToSidecar::Recover { req: 9, after: start, channels: vec![private(1)] }).await;
    let (mut live, mut items) = (Vec::new(), Vec::new());
    let (mut position, mut as_of) = (None, None);
    while live.last().or(items.last()).is_none_or(|id: &Mid| id.counter() < start.counter() + 300)
        || as_of.is_none()
    {
        match a.next().await {
            ToWorker::Position { position: at, .. } => position = Some(at),
            ToWorker::Deliver { id, .. } => {
                assert!(as_of.is_none_or(|at| id > at), "behind the end nothing older comes");
                live.push(id);
            }
            ToWorker::RecoverItem { id, req: 9, .. } => items.push(id),
            ToWorker::RecoverEnd { req: 9, ok: true, as_of: at } => as_of = Some(at),
            other => panic!("{other:?}"),
        }
    }
    let (position, as_of) = (position.expect("subscribed"), as_of.expect("recovered"));
    assert!(as_of >= position && items.iter().all(|id| *id <= as_of));
    let merged: std::collections::BTreeSet<u64> =
        items.iter().chain(&live).map(|id| id.counter() - start.counter()).collect();
    // Of what was read the hundred newest, then everything.
    let read = as_of.counter() - start.counter();
    let from = (read.saturating_sub(100) + 1).min(position.counter() - start.counter() + 1);
    assert_eq!(merged, (from..=300).collect());
}

async fn a_resumed_link_misses_nothing_and_repeats_nothing(sidecar: Sidecar) {
    let mut publisher = sidecar.worker(2).await;
    let mut worker = sidecar.worker(1).await;
    worker.subscribe(1, &[private(1), public(1)]).await;
    let mut received = Vec::new();
    let mut seq = 0;
    let mut sent = 0;
    for round in 0..6 {
        for n in 0..40 {
            // Live-only ones too: also those must come.
            let key = if n % 3 == 0 { public(1) } else { private(1) };
            let messages = vec![item(60 * (n % 2), &[key], "1")];
            publisher.send(&publishing(seq, messages)).await;
            seq += 1;
            sent += 1;
        }
        // Some are received before the link breaks, some while it is away, some while it resumes.
        for _ in 0..10 {
            received.push(worker.delivery().await.0);
        }
        let after = received.last().copied().expect("received");
        drop(worker);
        if round % 2 == 0 {
            publisher.ack(seq - 1).await;
        }
        worker = Worker::connect(&sidecar.socket, 1, true).await;
        worker.subscribe(2, &[private(1)]).await;
        worker.subscribe(3, &[public(1)]).await;
        worker.ping().await;
        assert_eq!(worker.skipped_deliveries(), [], "held until it resumes");
        publisher.send(&publishing(seq, vec![item(0, &[private(1)], "1")])).await;
        seq += 1;
        sent += 1;
        worker.send(&ToSidecar::Resume { after }).await;
        worker.find(|frame| matches!(frame, ToWorker::Resumed { .. }).then_some(())).await;
    }
    while received.len() < sent {
        received.push(worker.delivery().await.0);
    }
    assert!(received.windows(2).all(|w| w[1].counter() == w[0].counter() + 1));
    worker.ping().await;
    assert_eq!(worker.skipped_deliveries(), []);
}

async fn a_recover_on_a_resuming_link_waits_its_turn(sidecar: Sidecar) {
    let mut first = sidecar.worker(1).await;
    let start = first.position;
    first.publish(1, vec![item(60, &[private(1)], "1")]).await;
    drop(first);
    let mut worker = Worker::connect(&sidecar.socket, 1, true).await;
    worker.subscribe(1, &[private(1)]).await;
    worker.send(&ToSidecar::Recover { req: 3, after: start, channels: vec![private(1)] }).await;
    worker.send(&ToSidecar::Resume { after: start }).await;
    let kinds =
        [worker.next().await, worker.next().await, worker.next().await, worker.next().await];
    assert!(
        matches!(
            kinds,
            [
                ToWorker::Deliver { .. },
                ToWorker::Resumed { .. },
                ToWorker::RecoverItem { req: 3, .. },
                ToWorker::RecoverEnd { req: 3, ok: true, .. }
            ]
        ),
        "{kinds:?}"
    );
}

async fn online_is_what_has_a_link(sidecar: Sidecar) {
    let (mut a, mut b) = (sidecar.worker(1).await, sidecar.worker(2).await);
    a.subscribe(1, &[private(1), public(1)]).await;
    let asked = vec![private(1), private(2), public(1), public(2)];
    b.send(&ToSidecar::Stats { req: 4, channels: asked }).await;
    let online = b
        .find(|frame| match frame {
            ToWorker::StatsAnswer { req: 4, ok: true, online } => Some(online.clone()),
            _ => None,
        })
        .await;
    assert_eq!(online, [true, false, true, false]);
}

async fn the_newest_message_alive_is_told(sidecar: Sidecar) {
    let mut worker = sidecar.worker(1).await;
    let mut newest = Vec::new();
    for req in 0..2 {
        worker.send(&ToSidecar::Newest { req, channels: vec![private(1), public(1)] }).await;
        let id = worker
            .find(|frame| match frame {
                ToWorker::NewestAnswer { id, .. } => Some(*id),
                _ => None,
            })
            .await;
        newest.push(id);
        let messages =
            [private(1), public(1), private(2)].map(|key| item(60, &[key], "1")).to_vec();
        worker.publish(u64::from(req), messages).await;
    }
    let start = worker.position.counter();
    assert_eq!(newest[0], None);
    assert_eq!(newest[1].map(|id| id.counter()), Some(start + 2));
}

async fn large_messages_pass(sidecar: Sidecar) {
    let (mut a, mut b) = (sidecar.worker(1).await, sidecar.worker(2).await);
    for worker in [&mut a, &mut b] {
        worker.subscribe(1, &[private(1)]).await;
    }
    let body = "x".repeat(1 << 20);
    for seq in 0..10 {
        a.send(&publishing(seq, vec![item(60, &[private(1)], &body)])).await;
    }
    let expected = item(60, &[], &body).rest;
    for worker in [&mut a, &mut b] {
        for _ in 0..10 {
            let outgoing = worker
                .find(|frame| match frame {
                    ToWorker::Deliver { outgoing, .. } => Some(outgoing.clone()),
                    _ => None,
                })
                .await;
            assert!(outgoing.ends_with(&expected));
        }
    }
}

async fn a_link_that_breaks_the_rules_is_closed(sidecar: Sidecar) {
    let hello = |version| ToSidecar::Hello {
        version,
        instance: 1,
        pid: 1,
        resume: false,
        software: "test".into(),
    };
    let mut worker = sidecar.worker(1).await;
    worker.send(&hello(VERSION)).await;
    assert_eq!(worker.try_next().await, None);
}

#[test]
fn another_version_is_refused_with_the_reason() {
    run(async {
        let sidecar = Sidecar::memory();
        let mut worker = Worker::open(&sidecar.socket).await;
        worker
            .send(&ToSidecar::Hello {
                version: VERSION + 1,
                instance: 1,
                pid: 1,
                resume: false,
                software: "9.9".into(),
            })
            .await;
        let ToWorker::Refused { reason } = worker.next().await else { panic!("welcome") };
        assert!(reason.contains("9.9") && reason.contains(&VERSION.to_string()), "{reason}");
        assert_eq!(worker.try_next().await, None);
    });
}

/// A worker that does not read costs its own link only.
#[test]
fn a_link_that_does_not_read_is_closed() {
    run(async {
        let (store, events) = MemoryStore::new(64 << 20, 130);
        let options = ExchangeOptions { queue_bytes: 1 << 20, ..ExchangeOptions::default() };
        let sidecar = Sidecar::start(store, events, options);
        let (mut slow, mut quick) = (sidecar.worker(1).await, sidecar.worker(2).await);
        slow.subscribe(1, &[private(1)]).await;
        quick.subscribe(1, &[private(1)]).await;
        let body = "x".repeat(10_000);
        for seq in 0..400 {
            quick.publish(seq, vec![item(0, &[private(1)], &body)]).await;
        }
        for _ in 0..400 {
            quick.delivery().await;
        }
        let mut received = 0;
        while slow.try_next().await.is_some() {
            received += 1;
        }
        assert!(received < 400, "{received}");
    });
}

/// Nothing is lost and nothing comes twice when the subscription breaks under traffic.
#[test]
fn a_killed_subscription_loses_nothing() {
    let server = RedisServer::start();
    run(async {
        let sidecar = Sidecar::redis(&server);
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1), public(1)]).await;
        let mut publisher = sidecar.worker(2).await;
        let mut last = worker.position;
        for seq in 0..300 {
            let key = if seq % 2 == 0 { public(1) } else { private(1) };
            let expiry = if seq % 3 == 0 { 60 } else { 0 };
            publisher.send(&publishing(seq, vec![item(expiry, &[key], "1")])).await;
            if seq % 50 == 25 {
                server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
            }
            if seq % 60 == 30 {
                // Acknowledged without the subscription.
                publisher.ack(seq).await;
            }
        }
        for n in 0..300 {
            let (id, late, _) = worker.delivery().await;
            assert!(!late);
            assert_eq!(id.counter(), last.counter() + 1, "message {n}");
            last = id;
        }
    });
}

/// Redis goes away and comes back with what it had: what was acknowledged is delivered, once; what
/// was not is answered as retryable, and can be sent again under its token.
#[test]
fn a_redis_restart_loses_nothing_that_was_acknowledged() {
    let mut server = RedisServer::start();
    run(async {
        let sidecar = Sidecar::redis(&server);
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1)]).await;
        for round in 0..3_u64 {
            server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
            for n in 0..20 {
                let (status, _) =
                    worker.publish(round * 100 + n, vec![item(60, &[private(1)], "1")]).await;
                assert_eq!(status, PublishStatus::Stored);
            }
            server.stop(true);
            let (status, detail) =
                worker.publish(round * 100 + 20, vec![item(60, &[private(1)], "1")]).await;
            assert_eq!(status, PublishStatus::Unavailable, "{detail}");
            // Asked while Redis is away, answered when it is back.
            let after = worker.position;
            worker.send(&ToSidecar::Recover { req: 1, after, channels: vec![private(1)] }).await;
            server.launch();
            worker
                .find(|frame| matches!(frame, ToWorker::RecoverEnd { ok: true, .. }).then_some(()))
                .await;
            let mut status = PublishStatus::Unavailable;
            while status != PublishStatus::Stored {
                (status, _) =
                    worker.publish(round * 100 + 20, vec![item(60, &[private(1)], "1")]).await;
            }
        }
        let mut last = worker.position;
        for _ in 0..63 {
            let (id, late, _) = worker.delivery().await;
            assert!(id > last && !late);
            last = id;
        }
        worker.ping().await;
        assert_eq!(worker.skipped_deliveries(), []);
    });
}

/// Two hosts on one Redis: each message reaches both, in the same order.
#[test]
fn two_sidecars_see_one_order() {
    let server = RedisServer::start();
    run(async {
        let (one, two) = (Sidecar::redis(&server), Sidecar::redis(&server));
        let (mut a, mut b) = (one.worker(1).await, two.worker(2).await);
        a.subscribe(1, &[private(1)]).await;
        b.subscribe(1, &[private(1)]).await;
        for seq in 0..200 {
            let messages = vec![item(0, &[private(1)], "1")];
            a.send(&publishing(seq, messages.clone())).await;
            b.send(&publishing(seq, messages)).await;
        }
        let (mut last, start) = (a.position, a.position);
        for _ in 0..400 {
            let id = a.delivery().await;
            assert!(id.0 > last && !id.1);
            assert_eq!(b.delivery().await, id);
            last = id.0;
        }
        assert_eq!(last.counter(), start.counter() + 400);
    });
}

/// A reference process takes an id and announces later, or never.
#[test]
fn a_neighbour_that_announces_late_is_waited_for_then_flagged() {
    let server = RedisServer::start();
    run(async {
        let sidecar = Sidecar::redis(&server);
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1)]).await;
        worker.publish(1, vec![item(0, &[private(1)], "1")]).await;
        let (first, ..) = worker.delivery().await;
        let announce = |id: Mid| {
            let rest = item(0, &[], "theirs").rest;
            let receiver =
                push_protocol::request::Receiver { key: private(1), signature: Vec::new() };
            let mut payload =
                push_protocol::notification::announcement_parts(&[receiver], rest.len());
            payload.extend_from_slice(id.as_bytes());
            payload.extend_from_slice(&rest);
            server.query::<i64>(&[b"PUBLISH", b"pushserver:theirs", &payload]);
        };
        let take = || Mid::new(first.start(), server.query(&[b"INCR", b"server:messagecounter"]));
        // In time: in order.
        let theirs = take();
        worker.publish(2, vec![item(0, &[private(1)], "2")]).await;
        announce(theirs);
        assert_eq!(worker.delivery().await, (theirs, false, vec![private(1)]));
        let (second, late, _) = worker.delivery().await;
        assert!(!late && second > theirs);
        // Too late: nobody waits for ever, and it comes all the same.
        let theirs = take();
        worker.publish(3, vec![item(0, &[private(1)], "3")]).await;
        let (third, late, _) = worker.delivery().await;
        assert!(!late && third > theirs);
        announce(theirs);
        assert_eq!(worker.delivery().await, (theirs, true, vec![private(1)]));
        // Never: a history that is as of such an id is answered.
        let theirs = take();
        let (_, as_of) = worker.recover(1, first, &[private(1)]).await;
        assert_eq!(as_of, theirs);
    });
}

#[test]
fn a_socket_in_use_is_refused_and_a_dead_one_replaced() {
    run(async {
        let sidecar = Sidecar::memory();
        let error = Socket::bind(&sidecar.socket, None).map(drop).expect_err("in use");
        assert!(matches!(error, ListenError::InUse(_)), "{error}");
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let socket = Socket::bind(&path, None).expect("replaced");
        let mode = std::fs::metadata(&path).expect("there");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o660);
        drop(socket);
        assert!(!path.exists());
        std::fs::write(&path, "a file").expect("written");
        let error = Socket::bind(&path, None).map(drop).expect_err("a file");
        assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
        let error = Socket::bind(&folder.path().join("s"), Some("no such group")).map(drop);
        assert!(matches!(error, Err(ListenError::NoGroup(_))));
    });
}

/// Redis is not there yet: workers may connect, are told that publishes must wait, and are welcome
/// when it comes.
#[test]
fn workers_may_come_before_redis() {
    let mut server = RedisServer::start();
    server.stop(false);
    run(async {
        let sidecar = Sidecar::redis(&server);
        let mut worker = Worker::open(&sidecar.socket).await;
        worker
            .send(&ToSidecar::Hello {
                version: VERSION,
                instance: 1,
                pid: 1,
                resume: false,
                software: "test".into(),
            })
            .await;
        worker.send(&subscribing(1, vec![private(1)])).await;
        let (status, _) = worker.publish(1, vec![item(0, &[private(1)], "1")]).await;
        assert_eq!(status, PublishStatus::Unavailable);
        worker.ping().await;
        assert!(worker.skipped.is_empty(), "{:?}", worker.skipped);
        server.launch();
        assert!(matches!(worker.next().await, ToWorker::Welcome { .. }));
        assert!(matches!(worker.next().await, ToWorker::Position { seq: 1, .. }));
        let (status, _) = worker.publish(1, vec![item(0, &[private(1)], "1")]).await;
        assert_eq!(status, PublishStatus::Stored);
        worker.delivery().await;
    });
}
