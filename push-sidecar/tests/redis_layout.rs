//! Redis to the byte: what the reference wrote and announced, recorded in the vectors, is what this
//! store writes and announces for the same publishes.

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::redis_server::RedisServer;
use common::{item, private, public, run, token};
use push_link::PublishItem;
use push_protocol::notification::parse_notification;
use push_protocol::{ChannelKey, Mid};
use push_sidecar::store::redis::{RedisOptions, RedisStore, layout};
use push_sidecar::store::{Store, StoreEvent};
use serde_json::Value;

fn vectors() -> Value {
    let text = include_str!("../../tests/vectors/redis.json");
    serde_json::from_str(text).expect("vectors")
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex");
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("ascii"));
    digits.map(|two| u8::from_str_radix(two, 16).expect("hex")).collect()
}

fn store(server: &RedisServer, channel_ttl: u64) -> (RedisStore, push_sidecar::store::Events) {
    let options = RedisOptions { url: server.url(), channel_ttl, ..RedisOptions::default() };
    RedisStore::open(&options).expect("a store")
}

/// All keys but our own.
fn foreign_keys(server: &RedisServer) -> BTreeSet<Vec<u8>> {
    let keys: Vec<Vec<u8>> = server.query(&[b"KEYS", b"*"]);
    keys.into_iter().filter(|key| !key.starts_with(b"bxpush:")).collect()
}

/// Every recorded announcement, taken apart and published anew under the recorded id.
#[test]
fn publishes_leave_what_the_reference_left() {
    let vectors = vectors();
    let mut replayed = 0;
    for scenario in vectors["scenarios"].as_array().expect("scenarios") {
        for published in scenario["published"].as_array().expect("published") {
            run(replay(scenario, published));
            replayed += 1;
        }
    }
    assert!(replayed >= 10, "{replayed}");
}

async fn replay(scenario: &Value, published: &Value) {
    let name = scenario["id"].as_str().expect("id");
    let payload = unhex(&published["payload_hex"]);
    let announced = parse_notification(&payload).remove(0);
    let rest = Bytes::copy_from_slice(&announced.outgoing[15..]);
    let expiry = published["payload_decoded"]["fields"]["notifications"][0]["ipcMessages"]
        ["messages"][0]["outgoingMessage"]["expiry"]
        .as_u64()
        .expect("expiry");
    let message = PublishItem {
        expiry: expiry as u32,
        label: String::new(),
        receivers: announced
            .receivers
            .iter()
            .map(|r| (r.key, Bytes::copy_from_slice(&r.signature)))
            .collect(),
        rest,
    };

    let server = RedisServer::start();
    let id = announced.id;
    server.query::<()>(&[b"SET", b"server:startdate", id.start().to_string().as_bytes()]);
    server.query::<()>(&[
        b"SET",
        b"server:messagecounter",
        (id.counter() - 1).to_string().as_bytes(),
    ]);
    let channel_ttl = if scenario["server"] == "small" { 50 } else { 86_400 };
    let (store, mut events) = store(&server, channel_ttl);
    let mut listener = server.connect();
    let mut listener = listener.as_pubsub();
    listener.psubscribe("pushserver:*").expect("subscribed");
    assert!(matches!(events.recv().await, Some(StoreEvent::Restored { .. })));

    assert_eq!(store.publish(token(1), vec![message]).await, Ok(vec![id]), "{name}");

    let heard = listener.get_message().expect("a message");
    assert_eq!(heard.get_payload_bytes(), payload, "{name}");
    let channel = heard.get_channel_name();
    let uid = channel.strip_prefix("pushserver:").expect("the reference's prefix");
    assert!((1..=8).contains(&uid.len()), "{uid}");
    assert!(uid.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()), "{uid}");

    let mut expected =
        BTreeSet::from([b"server:startdate".to_vec(), b"server:messagecounter".to_vec()]);
    for key in scenario["keys"].as_array().expect("keys") {
        let escaped = key["key_escaped"].as_str().expect("name");
        if escaped.contains(":online:") {
            continue;
        }
        let raw = unhex(&key["key_hex"]);
        // A list outlives its messages, whatever it is configured to (defect D6 of the reference).
        let least = if key["type"] == "zset" { expiry as i64 } else { 0 };
        compare(&server, name, key, &raw, least);
        expected.insert(raw);
    }
    assert_eq!(foreign_keys(&server), expected, "{name}");
    for (key, value) in [("server:startdate", id.start()), ("server:messagecounter", id.counter())]
    {
        assert_eq!(server.query::<String>(&[b"GET", key.as_bytes()]), value.to_string());
        assert_eq!(server.query::<i64>(&[b"TTL", key.as_bytes()]), -1);
    }
}

fn compare(server: &RedisServer, name: &str, key: &Value, raw: &[u8], least: i64) {
    let ttl: i64 = server.query(&[b"TTL", raw]);
    let recorded = key["ttl_seconds"].as_i64().expect("ttl").max(least);
    assert!((recorded - 1..=recorded).contains(&ttl), "{name}: {ttl} for {recorded}");
    match key["type"].as_str() {
        Some("string") => {
            assert_eq!(server.query::<Vec<u8>>(&[b"GET", raw]), unhex(&key["value_hex"]), "{name}");
        }
        Some("zset") => {
            let members: Vec<(Vec<u8>, String)> =
                server.query(&[b"ZRANGE", raw, b"0", b"-1", b"WITHSCORES"]);
            let recorded: Vec<(Vec<u8>, String)> = key["members"]
                .as_array()
                .expect("members")
                .iter()
                .map(|m| (unhex(&m["member_hex"]), m["score"].as_str().expect("score").to_owned()))
                .collect();
            assert_eq!(members, recorded, "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// A key's name and what the rest of it is.
type Prefix = (&'static [u8], fn([u8; 16]) -> ChannelKey);

#[test]
fn online_marks_are_the_references() {
    let vectors = vectors();
    let server = RedisServer::start();
    let mut compared = 0;
    for scenario in vectors["scenarios"].as_array().expect("scenarios") {
        for key in scenario["keys"].as_array().expect("keys") {
            let raw = unhex(&key["key_hex"]);
            let prefixes: [Prefix; 2] = [
                (b"channel:online:", ChannelKey::private),
                (b"pubchannel:online:", ChannelKey::public),
            ];
            for (prefix, make) in prefixes {
                let Some(id) = raw.strip_prefix(prefix) else {
                    continue;
                };
                let online_ttl = if scenario["server"] == "small" { 25 } else { 130 };
                run(async {
                    let options =
                        RedisOptions { url: server.url(), online_ttl, ..RedisOptions::default() };
                    let (store, _events) = RedisStore::open(&options).expect("a store");
                    store.mark_online(&[make(id.try_into().expect("16 bytes"))]).await
                })
                .expect("marked");
                compare(&server, "online", key, &raw, 0);
                compared += 1;
            }
        }
    }
    assert!(compared >= 6, "{compared}");
}

/// Defect D6 of the reference: there a list's life was not prolonged.
#[test]
fn a_lists_life_is_prolonged_with_each_message() {
    let server = RedisServer::start();
    run(async {
        let (store, _events) = store(&server, 40);
        let list = layout::list(&private(1));
        let ttl = || server.query::<i64>(&[b"TTL", &list]);
        let publish =
            |seq, expiry| store.publish(token(seq), vec![item(expiry, &[private(1)], "1")]);
        publish(1, 10).await.expect("stored");
        assert!((39..=40).contains(&ttl()));
        server.query::<i64>(&[b"EXPIRE", &list, b"5"]);
        publish(2, 10).await.expect("stored");
        // A sixteenth ahead.
        assert!((41..=42).contains(&ttl()));
        publish(3, 160).await.expect("stored");
        assert!((169..=170).contains(&ttl()));
        publish(4, 10).await.expect("stored");
        assert!((169..=170).contains(&ttl()), "not shortened");
        server.query::<i64>(&[b"EXPIRE", &list, b"41"]);
        publish(5, 10).await.expect("stored");
        assert!((40..=41).contains(&ttl()), "there is time");
    });
}

#[test]
fn expired_members_do_not_fill_a_busy_list() {
    let server = RedisServer::start();
    run(async {
        let (store, _events) = store(&server, 86_400);
        for round in 0..40 {
            let items = (0..100).map(|_| item(60, &[public(1)], "1")).collect();
            let ids = store.publish(token(round), items).await.expect("stored");
            let mut command = redis::cmd("DEL");
            for id in ids {
                command.arg(layout::message(id));
            }
            command.exec(&mut server.connect()).expect("expired");
        }
        let members: usize = server.query(&[b"ZCARD", &layout::list(&public(1))]);
        assert!(members < 1000, "{members} of 4000");
    });
}

/// Defect D17 of the reference: after a flush ids went back.
#[test]
fn ids_rise_over_a_flush() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = store(&server, 60);
        assert!(matches!(events.recv().await, Some(StoreEvent::Restored { .. })));
        let mut last = Mid::ZERO;
        for seq in 0..6 {
            let ids = store.publish(token(seq), vec![item(60, &[private(1)], "1")]).await;
            let id = ids.expect("stored")[0];
            assert!(id > last, "{id} after {last}");
            let Some(StoreEvent::Announced(announced)) = events.recv().await else { panic!() };
            assert_eq!(announced.id, id);
            let start: String = server.query(&[b"GET", b"server:startdate"]);
            let counter: String = server.query(&[b"GET", b"server:messagecounter"]);
            assert_eq!((start, counter), (id.start().to_string(), id.counter().to_string()));
            last = id;
            match seq {
                0 => server.query::<()>(&[b"FLUSHALL"]),
                2 => server.query::<()>(&[b"SET", b"server:messagecounter", b"3"]),
                3 => server.query::<()>(&[b"SET", b"server:startdate", b"1000000000"]),
                _ => {}
            }
        }
    });
}

#[test]
fn a_reference_process_counts_on() {
    let server = RedisServer::start();
    run(async {
        let (store, _events) = store(&server, 60);
        let publish = |seq| store.publish(token(seq), vec![item(0, &[private(1)], "1")]);
        let before = publish(1).await.expect("stored")[0];
        let theirs: u64 = server.query(&[b"INCR", b"server:messagecounter"]);
        let after = publish(2).await.expect("stored")[0];
        assert_eq!([before.counter() + 1, theirs + 1], [theirs, after.counter()]);
    });
}

/// Messages of a neighbour that are stored but in nobody's log are found in the lists.
#[test]
fn missed_messages_of_a_neighbour_are_found() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = store(&server, 60);
        let Some(StoreEvent::Restored { position }) = events.recv().await else { panic!() };
        let publish = |seq| store.publish(token(seq), vec![item(60, &[private(1)], "1")]);
        let ours = publish(1).await.expect("stored")[0];
        let theirs = Mid::new(ours.start(), server.query(&[b"INCR", b"server:messagecounter"]));
        let outgoing = push_protocol::outgoing::with_id(theirs, &item(60, &[], "2").rest);
        server.query::<()>(&[b"SETEX", &layout::message(theirs), b"60", &outgoing]);
        for key in [private(1), public(2)] {
            server.query::<i64>(&[b"ZADD", &layout::list(&key), b"0", theirs.as_bytes()]);
        }
        let last = publish(2).await.expect("stored")[0];
        let missed = store.missed(vec![private(1), public(2)], position, None).await.expect("read");
        assert_eq!(missed.messages.iter().map(|m| m.id).collect::<Vec<_>>(), [ours, theirs, last]);
        assert_eq!(missed.messages[1].receivers, [private(1), public(2)]);
        assert_eq!(missed.messages[1].outgoing, outgoing);
    });
}

/// Redis does not separate announcements by database.
#[test]
fn each_database_is_a_store_of_its_own() {
    let server = RedisServer::start();
    run(async {
        let mut stores = Vec::new();
        for database in [0, 1, 2] {
            let url = format!("{}?db={database}", server.url());
            let options = RedisOptions { url, ..RedisOptions::default() };
            let (store, mut events) = RedisStore::open(&options).expect("a store");
            assert!(matches!(events.recv().await, Some(StoreEvent::Restored { .. })));
            stores.push((store, events));
        }
        for (n, (store, _)) in stores.iter().enumerate() {
            let message = item(60, &[private(n as u8)], "1");
            let ids = store.publish(token(1), vec![message]).await;
            assert_eq!(ids.expect("stored")[0].counter(), 1);
        }
        for (n, (_, events)) in stores.iter_mut().enumerate() {
            let Some(StoreEvent::Announced(announced)) = events.recv().await else {
                panic!("not announced");
            };
            assert_eq!(announced.receivers, [private(n as u8)]);
        }
    });
}

/// A second loss before everybody has learned of the first: ids still rise, with time.
#[test]
fn ids_go_on_with_the_time_since_the_start_date() {
    let server = RedisServer::start();
    run(async {
        let start = 1_700_000_000;
        server.query::<()>(&[b"SET", b"server:startdate", start.to_string().as_bytes()]);
        let (store, _events) = store(&server, 60);
        let publish = |seq| store.publish(token(seq), vec![item(60, &[private(1)], "1")]);
        let before = publish(1).await.expect("stored")[0];
        assert_eq!((before.start(), before.counter()), (start, 1));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let elapsed = now.expect("a clock").as_secs() - start;
        for seq in 2..4 {
            server.query::<()>(&[b"FLUSHALL"]);
            let after = publish(seq).await.expect("stored")[0];
            assert_eq!(after.start(), start);
            assert!(after.counter() >= elapsed * 1_000_000, "{after}");
        }
    });
}

/// What is for others is told by its id: whoever comes for it later finds it, so its announcement
/// is no news to them.
#[test]
fn missed_messages_of_others_are_named() {
    let server = RedisServer::start();
    run(async {
        let (store, mut events) = store(&server, 60);
        let Some(StoreEvent::Restored { position }) = events.recv().await else { panic!() };
        let messages = vec![item(60, &[private(1)], "1"), item(0, &[private(2)], "2")];
        let ids = store.publish(token(1), messages).await.expect("stored");
        let missed = store.missed(vec![private(2)], position, None).await.expect("read");
        assert_eq!(missed.messages.iter().map(|m| m.id).collect::<Vec<_>>(), ids[1..]);
        assert_eq!(missed.others, ids[..1]);
        let missed = store.missed(vec![], position, None).await.expect("read");
        assert!(missed.messages.is_empty() && missed.others == ids, "{missed:?}");
    });
}
