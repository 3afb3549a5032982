//! Clients that say more than can be listened to, or make the worker keep too much: they wait, or
//! go, and nobody else does.

mod support;

use push_link::{PublishStatus, ToSidecar, ToWorker};
use push_protocol::frame::Event;
use push_worker::{SessionId, Settings};
use support::*;

/// The payloads of the pongs that a WebSocket got.
fn pongs(world: &World, conn: usize) -> Vec<Vec<u8>> {
    let events = server_frames(&world.host.sockets[&conn].written);
    let pong = |event| if let Event::Pong(data) = event { Some(data) } else { None };
    events.into_iter().filter_map(pong).collect()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A client's publication to a public channel, as a frame.
fn publication(to: u8, text: &str) -> Vec<u8> {
    let signature = verifier().sign_public(&id(to)).unwrap();
    let receiver = [field(1, &id(to)), field(3, &signature)].concat();
    let message = [field(1, &receiver), field(3, text.as_bytes())].concat();
    client_frame(2, &field(1, &field(1, &field(1, &message))))
}

fn say(world: &mut World, session: SessionId, bytes: &[u8]) -> bool {
    world.engine.received(&mut world.host, session, bytes)
}

#[test]
fn a_few_pings_are_all_answered_in_order() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    let pings: Vec<u8> = (0..10).flat_map(|n| client_frame(9, &[n])).collect();
    assert!(say(&mut world, id, &pings));
    assert_eq!(pongs(&world, 1), (0..10).map(|n| vec![n]).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_pings_waits_for_its_turns_and_others_do_not() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.websocket(2, &[(2, false)], None);
    let flood: Vec<u8> = (0..10_000_u16).flat_map(|n| client_frame(9, &n.to_be_bytes())).collect();
    assert!(!say(&mut world, id, &flood), "it is not to be read on");
    assert!(!world.engine.reads(&mut world.host, id));
    let at_once = pongs(&world, 1).len();
    assert!(at_once < 50, "{at_once} pongs in a turn");

    // What comes meanwhile for others is delivered meanwhile.
    world.deliver(1, &[private(2)]);
    assert_eq!(world.ids(2), [1]);

    world.run();
    assert!(world.engine.reads(&mut world.host, id));
    assert_eq!(world.host.sockets[&1].wanted, 1);
    let pongs = pongs(&world, 1);
    assert_eq!(pongs.last().unwrap()[..], 9_999_u16.to_be_bytes());
    let counters = world.engine.counters();
    assert_eq!(pongs.len() as u64 + counters.merged_pings, 10_000);
    assert_eq!((counters.postponed, counters.waiting), (1, 0));
}

#[test]
fn many_floods_share_a_turn_and_each_gets_on() {
    let mut world = World::new();
    let ids: Vec<_> = (0..100).map(|conn| world.websocket(conn, &[(1, false)], None)).collect();
    let flood: Vec<u8> = (0..500_u16).flat_map(|n| client_frame(9, &n.to_be_bytes())).collect();
    for &id in &ids {
        if world.engine.reads(&mut world.host, id) {
            say(&mut world, id, &flood);
        }
    }
    let answered: usize = (0..100).map(|conn| pongs(&world, conn).len()).sum();
    assert!(answered < 600, "{answered} pongs in a turn");
    // Who was not read has been noted, too: nobody is forgotten.
    world.run();
    for &id in &ids {
        assert!(world.engine.reads(&mut world.host, id));
    }
    assert!((0..100).all(|conn| world.host.sockets[&conn].wanted == 1));
}

#[test]
fn who_asks_much_waits_for_answers() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, true)], None);
    world.heard();
    let flood: Vec<u8> = (0..100).flat_map(|n| publication(101, &n.to_string())).collect();
    say(&mut world, id, &flood);
    world.run();
    let published = world.published();
    assert_eq!(published.len(), 32);
    assert!(!world.engine.reads(&mut world.host, id));
    // Its pong may be behind what is not read: it is not cut off for that.
    world.pass(250_000);
    // They were given up after five seconds; the rest came in their places, and was, too.
    assert!(!world.host.sockets[&1].closed);
    world.run();
    assert!(world.published().len() >= 32);
    assert_eq!(world.engine.counters().silent, 0);
}

#[test]
fn answers_let_a_client_go_on() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, true)], None);
    world.heard();
    let flood: Vec<u8> = (0..100).flat_map(|n| publication(101, &n.to_string())).collect();
    say(&mut world, id, &flood);
    let mut all = 0;
    for _ in 0..100 {
        world.run();
        for (seq, _) in world.published() {
            all += 1;
            let (status, detail) = (PublishStatus::Stored, String::new());
            world.say(&ToWorker::PublishAck { seq, status, detail });
        }
    }
    assert_eq!(all, 100);
    assert!(world.engine.reads(&mut world.host, id));
    assert_eq!(world.engine.counters().waiting, 0);
}

#[test]
fn answers_about_channels_let_a_client_go_on_too() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, true)], None);
    world.heard();
    for number in 0..100 {
        say(&mut world, id, &client_frame(2, &online_question(1)));
        let [ToSidecar::Stats { req, .. }] = world.heard()[..] else { panic!("not asked") };
        // One in three cannot be told.
        world.say(&ToWorker::StatsAnswer { req, ok: number % 3 > 0, online: vec![true] });
        world.run();
    }
    let answers = server_frames(&world.host.sockets[&1].written);
    assert_eq!(answers.len(), 66);
    assert!(world.engine.reads(&mut world.host, id));
}

#[test]
fn who_costs_most_goes_first_when_too_much_waits() {
    let mut world = World::new();
    world.engine.limit_queues(2_000);
    for conn in 1..=3 {
        world.websocket(conn, &[(conn as u8, false)], None);
        world.host.sockets.get_mut(&conn).unwrap().room = Some(0);
    }
    world.websocket(4, &[(4, false)], None);
    let mut counter = 0;
    let mut deliver = |world: &mut World, channel: u8, times: u32| {
        for _ in 0..times {
            counter += 1;
            world.deliver(counter, &[private(channel)]);
        }
    };
    deliver(&mut world, 1, 5);
    deliver(&mut world, 2, 10);
    assert_eq!(world.engine.counters().crowded, 0);
    deliver(&mut world, 3, 40);
    assert!(world.host.sockets[&3].closed, "the slowest has gone");
    assert!(!world.host.sockets[&1].closed && !world.host.sockets[&2].closed);
    deliver(&mut world, 4, 1);
    assert_eq!(world.ids(4).len(), 1);
    let counters = world.engine.counters();
    assert_eq!((counters.crowded, counters.slow), (1, 0));
    assert!(counters.waiting <= 2_000);
    let told = world.host.log.iter().filter(|line| line.contains("bx_push_max_queue_total"));
    assert_eq!(told.count(), 1);
}

#[test]
fn what_waits_for_many_counts_once() {
    let mut world = World::new();
    world.engine.limit_queues(2_000);
    for conn in 0..200 {
        world.websocket(conn, &[(1, false)], None);
        world.host.sockets.get_mut(&conn).unwrap().room = Some(0);
    }
    for counter in 1..=10 {
        world.deliver(counter, &[private(1)]);
        world.run();
    }
    let counters = world.engine.counters();
    assert_eq!(counters.crowded, 0);
    assert!((100..2_000).contains(&counters.waiting), "{}", counters.waiting);
}

#[test]
fn a_long_list_with_repetitions_is_joined_once_each() {
    let mut world = World::new();
    let channels: Vec<(u8, bool)> =
        (0..1_000_u16).map(|n| (n % 25) as u8).map(|n| (n, n % 2 == 0)).collect();
    world.websocket(1, &channels, None);
    // 25 private ids, and the public ones of 13 pairs.
    assert_eq!(world.engine.counters().channels, 38);
    world.deliver(1, &[private(3), private(24), public(124)]);
    assert_eq!(world.ids(1), [1]);
}

#[test]
fn messages_in_part_count_and_go_with_their_session() {
    let settings = Settings { max_payload: 1 << 20, ..Settings::default() };
    let mut world = World::with(&settings);
    world.engine.limit_queues(3 << 20);
    // A frame of a million bytes of which the last never comes.
    let mut part = vec![0x82, 0xff];
    part.extend_from_slice(&1_000_000_u64.to_be_bytes());
    part.resize(14 + 999_999, 0);
    for conn in 0..10 {
        let id = world.websocket(conn, &[(conn as u8, false)], None);
        for piece in part.chunks(65_536) {
            world.host.now += 1;
            if world.engine.reads(&mut world.host, id) {
                say(&mut world, id, piece);
            }
        }
    }
    let counters = world.engine.counters();
    assert!(counters.waiting <= 3 << 20, "{}", counters.waiting);
    assert!(counters.crowded >= 6, "{counters:?}");
}
