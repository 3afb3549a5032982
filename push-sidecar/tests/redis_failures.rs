//! What the Redis store does when Redis does not do its part.

mod common;

use std::time::Duration;

use common::redis_server::RedisServer;
use common::{item, private, run, token, until};
use push_protocol::Mid;
use push_sidecar::store::redis::{RedisOptions, RedisStore, Timing};
use push_sidecar::store::{Caps, Events, Store, StoreError, StoreEvent};

fn options(server: &RedisServer) -> RedisOptions {
    let ms = Duration::from_millis;
    RedisOptions {
        url: server.url(),
        command_timeout: ms(300),
        timing: Timing { dial: ms(500), probe_every: ms(50), probe_patience: ms(300) },
        ..RedisOptions::default()
    }
}

async fn whole(events: &mut Events) -> Mid {
    loop {
        if let Some(StoreEvent::Restored { position }) = events.recv().await {
            return position;
        }
    }
}

async fn lost(events: &mut Events) {
    while !matches!(events.recv().await, Some(StoreEvent::Lost)) {}
}

async fn publish(store: &RedisStore, seq: u64) -> Result<Mid, StoreError> {
    store.publish(token(seq), vec![item(60, &[private(1)], "1")]).await.map(|ids| ids[0])
}

#[test]
fn redis_may_come_later() {
    let mut server = RedisServer::start();
    server.stop(false);
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        let error = publish(&store, 1).await.expect_err("nobody is there");
        assert!(error.is_retryable(), "{error}");
        assert!(store.history(&[private(1)], Mid::ZERO, Caps::NEWEST).await.is_err());
        server.launch();
        whole(&mut events).await;
        until("stored", async || publish(&store, 1).await.is_ok()).await;
    });
}

#[test]
fn a_restart_is_survived_and_ids_rise() {
    let mut server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        let first = whole(&mut events).await;
        let before = publish(&store, 1).await.expect("stored");
        assert!(before > first);
        server.stop(false);
        lost(&mut events).await;
        for _ in 0..2 {
            // Over the connection that has ended, and over none.
            let error = publish(&store, 2).await.expect_err("nobody is there");
            assert!(matches!(error, StoreError::Unavailable(_)), "surely not stored: {error}");
        }
        server.launch();
        // Redis came back empty; the position lies above what was seen all the same.
        let position = whole(&mut events).await;
        assert!(position > before, "{position} after {before}");
        until("stored", async || publish(&store, 2).await.is_ok()).await;
        assert!(publish(&store, 2).await.expect("known") > position);
    });
}

#[test]
fn a_killed_subscription_comes_back_with_a_position() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        for seq in 0..5 {
            let id = publish(&store, seq).await.expect("stored");
            assert_eq!(server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]), 1);
            lost(&mut events).await;
            assert!(whole(&mut events).await >= id);
        }
    });
}

#[test]
fn publishes_share_the_connection_of_the_announcements_and_do_without() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        for seq in 0..3 {
            publish(&store, 2 * seq).await.expect("stored");
            let subscriber: String = server.query(&[b"CLIENT", b"LIST", b"TYPE", b"pubsub"]);
            assert!(subscriber.contains("cmd=eval"), "{subscriber}");
            server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
            lost(&mut events).await;
            publish(&store, 2 * seq + 1).await.expect("stored over the other connection");
            whole(&mut events).await;
        }
    });
}

/// The connection is open and silent: only a probe that does not come tells.
#[test]
fn a_subscription_that_hears_nothing_is_given_up() {
    let server = RedisServer::start();
    run(async {
        let (_store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        server.query::<()>(&[b"CLIENT", b"PAUSE", b"700", b"ALL"]);
        lost(&mut events).await;
        whole(&mut events).await;
    });
}

#[test]
fn an_unknown_outcome_is_stored_once_under_its_token() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        // Sent, but carried out only after the timeout.
        server.query::<()>(&[b"CLIENT", b"PAUSE", b"600", b"ALL"]);
        let error = publish(&store, 7).await.expect_err("timed out");
        assert!(matches!(error, StoreError::Unknown(_)), "{error}");
        until("stored", async || publish(&store, 7).await.is_ok()).await;
        let counter: u64 = server.query(&[b"GET", b"server:messagecounter"]);
        assert_eq!(counter, 1);
    });
}

#[test]
fn what_may_pass_by_itself_is_retryable_and_stores_nothing() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        server.query::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
        let error = publish(&store, 1).await.expect_err("no memory");
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("OOM")), "{error}");
        server.query::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        server.query::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
        let error = publish(&store, 1).await.expect_err("read-only");
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("ReadOnly")));
        server.query::<()>(&[b"REPLICAOF", b"NO", b"ONE"]);
        let id = publish(&store, 1).await.expect("stored");
        assert_eq!(id.counter(), 1);
        // The script is gone from the cache; it is sent again.
        server.query::<()>(&[b"SCRIPT", b"FLUSH"]);
        publish(&store, 2).await.expect("stored");
    });
}

#[test]
fn what_stays_wrong_is_refused_and_hurts_nobody_else() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        let list = push_sidecar::store::redis::layout::list(&private(9));
        server.query::<()>(&[b"SET", &list, b"no list"]);
        let items = [private(1), private(9)].map(|key| item(60, &[key], "1"));
        let bad = store.publish(token(1), items.to_vec());
        let (bad, good) = tokio::join!(bad, publish(&store, 2));
        let error = bad.expect_err("refused");
        assert!(!error.is_retryable() && error.to_string().contains("WRONGTYPE"), "{error}");
        let good = good.expect("stored");
        // All or nothing.
        let receivers = [private(1)];
        let history = store.history(&receivers, Mid::ZERO, Caps::SUBSCRIBER);
        let messages = history.await.expect("read").messages;
        assert_eq!(messages.iter().map(|m| m.0).collect::<Vec<_>>(), [good]);
        // Nobody has to wait for the ids that were given out in vain.
        for (counter, receivers) in [(1, 0), (2, 0), (3, 1)] {
            let Some(StoreEvent::Announced(announced)) = events.recv().await else {
                panic!("not announced");
            };
            assert_eq!(announced.id.counter(), counter);
            assert_eq!(announced.receivers.len(), receivers);
        }
    });
}

#[test]
fn an_url_of_no_use_is_refused() {
    run(async {
        for url in ["", "http://localhost", "redis://host:port"] {
            let options = RedisOptions { url: url.into(), ..RedisOptions::default() };
            let error = RedisStore::open(&options).map(drop).expect_err(url);
            assert!(!error.is_retryable(), "{url}");
        }
    });
}

/// Whoever published has given up by then: nothing may appear out of the blue.
#[test]
fn what_waited_too_long_is_not_carried_out() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = RedisStore::open(&options(&server)).expect("a store");
        whole(&mut events).await;
        server.query::<()>(&[b"CLIENT", b"PAUSE", b"900", b"ALL"]);
        // The first is under way and hangs; the others wait for it.
        let hanging = publish(&store, 1);
        let waiting = async {
            tokio::task::yield_now().await;
            futures_util::future::join_all((2..10).map(|seq| publish(&store, seq))).await
        };
        let (first, others) = tokio::join!(hanging, waiting);
        assert!(matches!(first, Err(StoreError::Unknown(_))), "{first:?}");
        for other in others {
            let error = other.expect_err("given up");
            assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("too long")));
        }
        until("stored", async || publish(&store, 1).await.is_ok()).await;
        assert_eq!(server.query::<u64>(&[b"GET", b"server:messagecounter"]), 1);
    });
}
