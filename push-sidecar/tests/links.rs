//! Links over a real Unix socket, in this process; for both stores.

mod common;

use common::redis_server::RedisServer;
use common::sidecar::Sidecar;
use common::worker::{Worker, publishing, subscribing};
use common::{item, private, public, run};
use push_link::{LOWEST, PublishStatus, ToSidecar, ToWorker, VERSION, Versions};
use push_protocol::Mid;
use push_sidecar::exchange::ExchangeOptions;
use push_sidecar::link_server::{ListenError, Socket};
use push_sidecar::store::memory::MemoryStore;
use tempfile::TempDir;

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
            match a.answer().await {
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
        match a.answer().await {
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
    let kinds = [
        worker.answer().await,
        worker.answer().await,
        worker.answer().await,
        worker.answer().await,
    ];
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
    for seq in 0..10 {
        assert_eq!(a.ack(seq).await.0, PublishStatus::Stored);
    }
    let expected = item(60, &[], &body).rest;
    for worker in [&mut a, &mut b] {
        for _ in 0..10 {
            let outgoing = worker.delivered_bytes().await;
            assert!(outgoing.ends_with(&expected));
        }
    }
}

async fn a_link_that_breaks_the_rules_is_closed(sidecar: Sidecar) {
    let hello = ToSidecar::Hello {
        versions: Versions::OURS,
        instance: 1,
        pid: 1,
        resume: false,
        software: "test".into(),
    };
    let mut worker = sidecar.worker(1).await;
    worker.send(&hello).await;
    assert_eq!(worker.try_answer().await, None);
}

/// What a worker that speaks these hears.
async fn said_to(sidecar: &Sidecar, lowest: u16, highest: u16) -> ToWorker {
    let mut worker = Worker::open(&sidecar.socket).await;
    let hello = ToSidecar::Hello {
        versions: Versions { lowest, highest },
        instance: 1,
        pid: 1,
        resume: false,
        software: "module 9.9".into(),
    };
    worker.send(&hello).await;
    // As workers do, it goes on talking: its socket must not break before it has read the answer.
    worker.send(&subscribing(1, vec![private(1)])).await;
    let answer = worker.answer().await;
    if matches!(answer, ToWorker::Refused { .. }) {
        assert_eq!(worker.try_answer().await, None);
    }
    answer
}

#[test]
fn versions_are_negotiated_or_refused_with_the_remedy() {
    run(async {
        let sidecar = Sidecar::memory();
        for highest in [VERSION, VERSION + 7] {
            let answer = said_to(&sidecar, LOWEST, highest).await;
            assert!(matches!(answer, ToWorker::Welcome { version: VERSION, .. }), "{answer:?}");
        }
        for (lowest, highest) in [(VERSION + 1, VERSION + 2), (0, 0), (0, VERSION)] {
            let answer = said_to(&sidecar, lowest, highest).await;
            let ToWorker::Refused { reason, versions } = answer else { panic!("{answer:?}") };
            assert_eq!(versions, Some(Versions::OURS));
            let theirs = Versions { lowest, highest };
            let ours = Versions::OURS;
            for part in [
                format!("module 9.9 speaks link version {theirs}"),
                format!("push-sidecar {} speaks {ours}", env!("CARGO_PKG_VERSION")),
                "of one release".into(),
            ] {
                assert!(reason.contains(&part), "{part}: {reason}");
            }
        }
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
        while slow.try_answer().await.is_some() {
            received += 1;
        }
        assert!(received < 400, "{received}");
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
