//! Links while Redis, its subscription or a neighbour on it do not do their part.

mod common;

use std::iter::once;

use common::redis_server::RedisServer;
use common::sidecar::Sidecar;
use common::worker::{Worker, publishing, subscribing};
use common::{item, private, public, run};
use push_link::{PublishStatus, ToSidecar, ToWorker, Versions};
use push_protocol::Mid;
use push_protocol::notification::announcement_head;
use push_protocol::outgoing::with_id;

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
            // The sidecar may learn of the end by this very publish.
            let in_vain = [PublishStatus::Unavailable, PublishStatus::Unknown];
            assert!(in_vain.contains(&status), "{detail}");
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
            let outgoing = with_id(id, &item(0, &[], "theirs").rest);
            let key = private(1);
            let head = announcement_head(once((&key, &[][..])), outgoing.len());
            let payload = [head, outgoing].concat();
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
                versions: Versions::OURS,
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
        let early = worker.skipped.iter().any(|frame| matches!(frame, ToWorker::Welcome { .. }));
        assert!(!early, "{:?}", worker.skipped);
        server.launch();
        assert!(matches!(worker.answer().await, ToWorker::Welcome { .. }));
        assert!(matches!(worker.answer().await, ToWorker::Position { seq: 1, .. }));
        let (status, _) = worker.publish(1, vec![item(0, &[private(1)], "1")]).await;
        assert_eq!(status, PublishStatus::Stored);
        worker.delivery().await;
    });
}

/// A store that was emptied does not make the `mid` of a client impossible that has just been sent
/// its message.
#[test]
fn a_history_of_an_emptied_store_is_as_of_what_was_sent() {
    let server = RedisServer::start();
    run(async {
        let sidecar = Sidecar::redis(&server);
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1)]).await;
        worker.publish(1, vec![item(60, &[private(1)], "1")]).await;
        let (id, ..) = worker.delivery().await;
        server.query::<()>(&[b"FLUSHALL"]);
        let (history, as_of) = worker.recover(1, id, &[private(1)]).await;
        assert!(history.is_empty() && as_of >= id, "{as_of} after {id}");
    });
}
