//! What follows from who has subscribed what: online marks, too many connections, statistics.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::redis_server::RedisServer;
use common::sidecar::Sidecar;
use common::worker::{Worker, publishing};
use common::{item, private, public, run, until};
use push_link::{PublishStatus, ToSidecar, ToWorker};
use push_protocol::ChannelKey;
use push_sidecar::exchange::ExchangeOptions;
use redis::Commands as _;
use serde_json::Value;

/// Marks end at once with the last connection.
fn without_grace() -> ExchangeOptions {
    ExchangeOptions { online_grace: Duration::ZERO, ..ExchangeOptions::default() }
}

async fn online(worker: &mut Worker, channels: &[ChannelKey]) -> Vec<bool> {
    worker.send(&ToSidecar::Stats { req: 77, channels: channels.to_vec() }).await;
    worker
        .find(|frame| match frame {
            ToWorker::StatsAnswer { req: 77, ok: true, online } => Some(online.clone()),
            _ => None,
        })
        .await
}

fn mark(server: &RedisServer, prefix: &str, n: u8) -> Option<i64> {
    let key = [prefix.as_bytes(), &[n; 16]].concat();
    let ttl: i64 = redis::cmd("TTL").arg(key).query(&mut server.connect()).expect("a TTL");
    (ttl != -2).then_some(ttl)
}

/// A mark that ends in the middle of a second, as nearly all do that are set for 130 s.
fn set_as_a_reference_process(server: &RedisServer, n: u8) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut set = redis::cmd("SET");
    set.arg(mark_of(n)).arg("1").arg("PXAT").arg((now + 130) * 1000 + 500);
    set.exec(&mut server.connect()).expect("a mark");
}

fn mark_of(n: u8) -> Vec<u8> {
    [&b"channel:online:"[..], &[n; 16]].concat()
}

#[test]
fn every_channel_of_a_connection_is_marked_and_the_mark_ends_with_the_last() {
    run(async {
        let server = RedisServer::start();
        let sidecar = Sidecar::redis_with(&server, without_grace());
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1), public(2), private(3)]).await;
        until("the marks are set", async || mark(&server, "channel:online:", 3).is_some()).await;
        for (prefix, n) in [("channel:online:", 1), ("pubchannel:online:", 2)] {
            let ttl = mark(&server, prefix, n).expect("a mark");
            assert!((128..=130).contains(&ttl), "{ttl}");
        }
        assert_eq!(
            online(&mut worker, &[private(3), private(2), public(2)]).await,
            [true, false, true]
        );
        worker.send(&ToSidecar::Unsubscribe { channels: vec![private(1)] }).await;
        until("the mark is gone", async || mark(&server, "channel:online:", 1).is_none()).await;
        assert_eq!(online(&mut worker, &[private(1), private(3)]).await, [false, true]);
        drop(worker);
        until("all are gone", async || mark(&server, "channel:online:", 3).is_none()).await;
    });
}

#[test]
fn a_channel_lingers_behind_its_last_connection() {
    run(async {
        let sidecar = Sidecar::memory();
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1)]).await;
        worker.send(&ToSidecar::Unsubscribe { channels: vec![private(1)] }).await;
        assert_eq!(online(&mut worker, &[private(1)]).await, [true]);
    });
}

#[test]
fn what_one_host_clears_another_marks_again() {
    run(async {
        let server = RedisServer::start();
        let here = Sidecar::redis_with(&server, without_grace());
        let there = Sidecar::redis_with(&server, without_grace());
        let mut worker = here.worker(1).await;
        let mut other = there.worker(2).await;
        worker.subscribe(1, &[private(1), private(2)]).await;
        other.subscribe(1, &[private(1)]).await;
        until("both are marked", async || mark(&server, "channel:online:", 2).is_some()).await;
        worker.send(&ToSidecar::Unsubscribe { channels: vec![private(1), private(2)] }).await;
        until("one is cleared", async || mark(&server, "channel:online:", 2).is_none()).await;
        until("the other is marked again", async || mark(&server, "channel:online:", 1).is_some())
            .await;
        assert_eq!(online(&mut worker, &[private(1), private(2)]).await, [true, false]);
    });
}

#[test]
fn a_mark_of_a_reference_process_outlives_our_last_connection() {
    run(async {
        let server = RedisServer::start();
        let sidecar = Sidecar::redis_with(&server, without_grace());
        let mut worker = sidecar.worker(1).await;
        // Set before ours, and set behind ours.
        set_as_a_reference_process(&server, 1);
        worker.subscribe(1, &[private(1), private(2), private(3)]).await;
        until("ours are set", async || mark(&server, "channel:online:", 3).is_some()).await;
        set_as_a_reference_process(&server, 2);
        worker.send(&ToSidecar::Unsubscribe { channels: (1..=3).map(private).collect() }).await;
        until("ours are cleared", async || mark(&server, "channel:online:", 3).is_none()).await;
        let all = [private(1), private(2), private(3)];
        assert_eq!(online(&mut worker, &all).await, [true, true, false]);
    });
}

#[test]
fn nothing_is_cleared_while_reference_processes_run() {
    run(async {
        let server = RedisServer::start();
        let sidecar = Sidecar::redis_with(&server, without_grace());
        let mut worker = sidecar.worker(1).await;
        worker.subscribe(1, &[private(1)]).await;
        until("it is marked", async || mark(&server, "channel:online:", 1).is_some()).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let leave = |date: u128| {
            let json = format!(r#"{{"processUniqueId":"sub-18010","date":{date},"websockets":1}}"#);
            server.connect().hset::<_, _, _, ()>("stats", "sub-18010", json).expect("statistics");
        };
        leave(now);
        worker.send(&ToSidecar::Unsubscribe { channels: vec![private(1)] }).await;
        // A question behind it is answered when the marks have long been dealt with.
        worker.subscribe(2, &[private(2)]).await;
        until("it is marked", async || mark(&server, "channel:online:", 2).is_some()).await;
        assert_eq!(online(&mut worker, &[private(1)]).await, [true]);
        // The process ends; that is noticed a second later.
        leave(now - 70_000);
        let end = Instant::now() + Duration::from_secs(10);
        while mark(&server, "channel:online:", 2).is_some() {
            assert!(Instant::now() < end, "nothing is cleared any more");
            worker.send(&ToSidecar::Unsubscribe { channels: vec![private(2)] }).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if mark(&server, "channel:online:", 2).is_some() {
                worker.subscribe(3, &[private(2)]).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
}

#[test]
fn one_connection_too_many_evicts_the_oldest_of_all_workers() {
    run(async {
        let sidecar = Sidecar::memory();
        let (mut one, mut two) = (sidecar.worker(1).await, sidecar.worker(2).await);
        let channel = private(1);
        one.subscribe(1, &[channel]).await;
        two.subscribe(1, &[channel]).await;
        two.send(&ToSidecar::Connections { channel, count: 2, limit: 3 }).await;
        two.ping().await;
        one.send(&ToSidecar::Connections { channel, count: 2, limit: 3 }).await;
        for (worker, opened) in [(&mut one, 20), (&mut two, 10)] {
            let req = worker
                .find(|frame| match frame {
                    ToWorker::Oldest { req, channel: of } if *of == channel => Some(*req),
                    _ => None,
                })
                .await;
            worker.send(&ToSidecar::OldestAnswer { req, opened }).await;
        }
        two.find(|frame| (*frame == ToWorker::Evict { channel }).then_some(())).await;
        one.ping().await;
        assert!(!one.skipped.contains(&ToWorker::Evict { channel }));
    });
}

async fn statistics(asker: &mut Worker, workers: &mut [&mut Worker]) -> Vec<Value> {
    asker.send(&ToSidecar::ServerStats { req: 5 }).await;
    let report = |req, websockets| ToSidecar::Report {
        req,
        websockets,
        polls: 1,
        channels: 3,
        limits: [1024, 10, 20, 30],
    };
    let wanted = |frame: &ToWorker| match frame {
        ToWorker::ReportWanted { req } => Some(*req),
        _ => None,
    };
    let req = asker.find(wanted).await;
    asker.send(&report(req, 1)).await;
    for worker in workers {
        let req = worker.find(wanted).await;
        worker.send(&report(req, 2)).await;
    }
    let json = asker
        .find(|frame| match frame {
            ToWorker::ServerStatsAnswer { req: 5, json } => Some(json.clone()),
            _ => None,
        })
        .await;
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn statistics_name_every_worker_with_what_it_holds_and_has_done() {
    run(async {
        let sidecar = Sidecar::memory();
        let (mut one, mut two) = (sidecar.worker(1).await, sidecar.worker(2).await);
        two.send(&publishing(1, vec![item(0, &[private(1)], "1"), item(0, &[private(1)], "2")]))
            .await;
        two.ack(1).await;
        let text = ToSidecar::Publish {
            seq: 2,
            counted: false,
            at: 0,
            messages: vec![item(0, &[private(1)], "3")],
        };
        two.send(&text).await;
        two.ack(2).await;
        let all = statistics(&mut one, &mut [&mut two]).await;
        assert_eq!(all.len(), 2);
        let of = |websockets: u64| {
            all.iter().find(|object| object["websockets"] == websockets).expect("its object")
        };
        assert_eq!(of(2)["daily"]["messages"]["unknown"], 3);
        assert_eq!(of(2)["daily"]["requests"]["incomingMessages"], 1);
        assert_eq!(of(1)["daily"]["requests"]["serverStats"], 1);
        assert_eq!(of(1)["pollings"], 1);
        assert_eq!(of(1)["channels"], 3);
        assert_eq!(of(1)["clusterMode"], true);
        assert_eq!(of(1)["limits"]["maxPayload"], 1024);
        assert_eq!(of(1)["limits"]["maxChannelsPerRequest"], 30);
        assert_eq!(of(1)["pid"], std::process::id());
    });
}

#[test]
fn statistics_of_other_processes_stand_beside_ours_until_they_are_over() {
    run(async {
        let server = RedisServer::start();
        let sidecar = Sidecar::redis(&server);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
        for (name, age) in [("sub-8010", 5_000), ("sub-8011", 80_000)] {
            let json =
                format!("{{\"processUniqueId\":\"{name}\",\"date\":{}}}", now.as_millis() - age);
            let _: () = redis::cmd("HSET")
                .arg(&["stats", name, &json])
                .query(&mut server.connect())
                .expect("HSET");
        }
        let mut worker = sidecar.worker(1).await;
        let all = statistics(&mut worker, &mut []).await;
        let names: Vec<&str> = all.iter().filter_map(|o| o["processUniqueId"].as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names[1], "sub-8010");
    });
}

#[test]
fn a_publish_that_the_store_does_not_take_is_not_counted() {
    run(async {
        let mut server = RedisServer::start();
        let sidecar = Sidecar::redis(&server);
        let mut worker = sidecar.worker(1).await;
        worker.send(&publishing(1, vec![item(0, &[private(1)], "1")])).await;
        worker.ack(1).await;
        server.stop(false);
        for _ in 0..3 {
            worker.send(&publishing(2, vec![item(0, &[private(1)], "2")])).await;
            let status = worker.ack(2).await.0;
            assert!(matches!(status, PublishStatus::Unavailable | PublishStatus::Unknown));
        }
        let all = statistics(&mut worker, &mut []).await;
        assert_eq!(all[0]["daily"]["messages"]["unknown"], 1);
        assert_eq!(all[0]["daily"]["requests"]["incomingMessages"], 1);
    });
}
