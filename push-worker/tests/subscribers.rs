//! What subscribers get: live messages, history, the end of polls, closing.

mod support;

use push_link::{FLAG_LATE, ToSidecar, ToWorker};
use push_protocol::frame::Event;
use push_worker::{Format, LastMessageId, Settings};
use support::*;

#[test]
fn a_channel_is_subscribed_once_and_given_up_with_its_last_subscriber() {
    let mut world = World::new();
    let first = world.websocket(1, &[(1, true), (2, false)], None);
    let ToSidecar::Subscribe { seq, channels } = &world.heard()[0] else { panic!() };
    assert_eq!(channels, &[private(1), public(101), private(2)]);
    world.say(&ToWorker::Position { seq: *seq, position: mid(0) });
    let second = world.websocket(2, &[(2, false)], None);
    assert_eq!(world.heard(), []);
    world.engine.ended(&mut world.host, first);
    assert_eq!(world.heard(), [ToSidecar::Unsubscribe { channels: vec![private(1), public(101)] }]);
    world.engine.ended(&mut world.host, second);
    assert_eq!(world.heard(), [ToSidecar::Unsubscribe { channels: vec![private(2)] }]);
    assert!(world.host.sockets[&1].closed && world.host.sockets[&2].closed);
    assert_empty(&world);
}

#[test]
fn a_message_to_several_of_its_channels_comes_once() {
    let mut world = World::new();
    world.websocket(1, &[(1, true), (2, false), (2, false)], None);
    world.deliver(5, &[private(1), public(101), private(2)]);
    world.deliver(6, &[private(2)]);
    assert_eq!(world.got(1).0, [[5], [6]]);
}

#[test]
fn a_public_message_reaches_the_pair_only() {
    let mut world = World::new();
    world.websocket(1, &[(1, true)], None);
    world.websocket(2, &[(1, false)], None);
    world.deliver(5, &[public(101)]);
    assert_eq!((world.ids(1), world.ids(2)), (vec![5], vec![]));
}

#[test]
fn live_messages_wait_for_history_and_nothing_comes_twice() {
    let mut world = World::new();
    world.websocket(1, &[(1, true)], Some(3));
    let req = world.heard_recover();
    world.deliver(6, &[private(1)]);
    world.deliver(7, &[private(1), public(101)]);
    assert_eq!(world.ids(1), [0u64; 0]);
    world.item(req, 4);
    world.item(req, 6);
    world.recovered(req, 7);
    assert_eq!(world.got(1).0, [[4, 6, 7]]);
    world.deliver(8, &[private(1)]);
    assert_eq!(world.ids(1), [4, 6, 7, 8]);
}

#[test]
fn an_empty_history_sends_nothing() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], Some(3));
    let req = world.heard_recover();
    world.recovered(req, 9);
    assert_eq!(world.got(1).0, Vec::<Vec<u64>>::new());
    world.deliver(10, &[private(1)]);
    assert_eq!(world.ids(1), [10]);
}

#[test]
fn a_history_that_cannot_be_read_closes_with_4011() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], Some(3));
    let req = world.heard_recover();
    world.say(&ToWorker::RecoverEnd { req, ok: false, as_of: mid(0) });
    assert_eq!(world.got(1).1, Some(4011));
    world.poll(2, &[(1, false)], Some(3));
    let req = world.heard_recover();
    world.say(&ToWorker::RecoverEnd { req, ok: false, as_of: mid(0) });
    assert_eq!(world.host.answers[&2].status, 400);
    assert_eq!(world.host.answers[&2].body, "4011: Couldn't get last messages.");
}

#[test]
fn a_late_announcement_is_delivered_behind_newer_ones() {
    let mut world = World::new();
    world.websocket(1, &[(1, true)], None);
    world.deliver(5, &[private(1)]);
    world.deliver_flagged(4, &[private(1), public(101)], FLAG_LATE);
    world.deliver(6, &[private(1)]);
    assert_eq!(world.ids(1), [5, 4, 6]);
}

#[test]
fn a_void_list_is_closed_with_4010() {
    let mut world = World::new();
    world.host.sockets.entry(1).or_default();
    let conn = push_worker::Conn(1);
    let id = world.engine.reject_websocket(&mut world.host, conn, world.settings);
    let events = server_frames(&world.host.sockets[&1].written);
    assert_eq!(
        events,
        [Event::Close { code: Some(4010), reason: b"4010: Wrong Channel Id.".to_vec() }]
    );
    assert!(world.host.sockets[&1].finished && !world.host.sockets[&1].closed);
    // The peer answers, then it is closed.
    world.engine.received(&mut world.host, id, &client_frame(8, &4010u16.to_be_bytes()));
    assert!(world.host.sockets[&1].closed);
    assert_empty(&world);
}

#[test]
fn a_peer_that_does_not_answer_our_close_is_cut_off() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.engine.received(&mut world.host, id, &[0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(world.got(1).1, Some(1002));
    world.pass(4_999);
    assert!(!world.host.sockets[&1].closed);
    world.pass(1);
    assert!(world.host.sockets[&1].closed);
    assert_empty(&world);
}

#[test]
fn a_close_is_answered_with_its_code_and_reason() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.engine.received(&mut world.host, id, &client_frame(8, b"\x03\xe8bye"));
    let events = server_frames(&world.host.sockets[&1].written);
    assert_eq!(events, [Event::Close { code: Some(1000), reason: b"bye".to_vec() }]);
    assert!(world.host.sockets[&1].closed);
    assert_empty(&world);
}

#[test]
fn pings_are_answered_and_sent_and_a_silent_peer_is_cut_at_the_second() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.engine.received(&mut world.host, id, &client_frame(9, b"alive"));
    world.pass(120_000);
    world.engine.received(&mut world.host, id, &client_frame(10, b"ws ping"));
    world.pass(120_000);
    let events = server_frames(&world.host.sockets[&1].written);
    let ping = Event::Ping(b"ws ping".to_vec());
    assert_eq!(events, [Event::Pong(b"alive".to_vec()), ping.clone(), ping]);
    assert!(!world.host.sockets[&1].closed);
    world.pass(120_000);
    assert!(world.host.sockets[&1].closed);
    assert_eq!(world.got(1).1, None);
}

#[test]
fn a_poll_is_answered_by_one_live_message() {
    let mut world = World::new();
    world.poll(1, &[(1, true)], None);
    world.deliver(5, &[private(1)]);
    world.deliver(6, &[private(1)]);
    let answer = &world.host.answers[&1];
    assert_eq!(answer.status, 200);
    let body = std::str::from_utf8(&answer.body).unwrap();
    assert!(body.contains("\"id\":5,") && !body.contains("\"id\":6,"), "{body}");
    assert_empty(&world);
}

#[test]
fn a_poll_with_mid_gets_history_at_once() {
    let mut world = World::new();
    world.poll(1, &[(1, true)], Some(3));
    let req = world.heard_recover();
    world.item(req, 4);
    world.item(req, 5);
    world.recovered(req, 5);
    let body = std::str::from_utf8(&world.host.answers[&1].body).unwrap();
    assert!(body.contains("\"id\":4,") && body.contains("\"id\":5,"), "{body}");
    assert_empty(&world);
}

#[test]
fn the_end_of_a_poll_tells_where_to_go_on() {
    let mut world = World::new();
    world.poll(1, &[(1, false)], Some(3));
    let req = world.heard_recover();
    world.recovered(req, 9);
    world.poll(2, &[(1, false)], None);
    world.poll(3, &[(1, false)], None);
    world.pass(40_000);
    assert_eq!(world.host.answers[&1].status, 304);
    assert_eq!(world.host.answers[&1].last_message_id, Some(LastMessageId::Is(mid(3))));
    let reqs: Vec<u32> = world
        .heard()
        .iter()
        .filter_map(|f| if let ToSidecar::Newest { req, .. } = f { Some(*req) } else { None })
        .collect();
    world.say(&ToWorker::NewestAnswer { req: reqs[0], id: Some(mid(8)) });
    world.say(&ToWorker::NewestAnswer { req: reqs[1], id: None });
    assert_eq!(world.host.answers[&2].last_message_id, Some(LastMessageId::Is(mid(8))));
    assert_eq!(world.host.answers[&3].last_message_id, Some(LastMessageId::Empty));
    assert_empty(&world);
}

#[test]
fn an_impossible_mid_does_not_silence_a_subscriber() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], Some(1_000_000));
    let req = world.heard_recover();
    world.deliver(5, &[private(1)]);
    world.recovered(req, 5);
    world.deliver(6, &[private(1)]);
    assert_eq!(world.ids(1), [5, 6]);
}

#[test]
fn a_reader_that_stops_is_cut_off_alone() {
    let mut world = World::with(&Settings { max_queue: 200, ..Settings::default() });
    world.websocket(1, &[(1, false)], None);
    world.websocket(2, &[(1, false)], None);
    world.host.sockets.get_mut(&1).unwrap().room = Some(10);
    for n in 1..=10 {
        world.deliver(n, &[private(1)]);
    }
    assert!(world.host.sockets[&1].closed);
    assert_eq!(world.ids(2), (1..=10).collect::<Vec<_>>());
    assert_eq!(world.engine.counters().slow, 1);
}

#[test]
fn what_waits_goes_out_in_order_when_there_is_room() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.host.sockets.get_mut(&1).unwrap().room = Some(7);
    for n in 1..=5 {
        world.deliver(n, &[private(1)]);
    }
    while world.ids(1).len() < 5 {
        world.host.sockets.get_mut(&1).unwrap().room = Some(11);
        world.engine.writable(&mut world.host, id);
    }
    assert_eq!(world.ids(1), [1, 2, 3, 4, 5]);
}

#[test]
fn a_broken_socket_costs_itself_only() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], None);
    world.websocket(2, &[(1, false)], None);
    world.host.sockets.get_mut(&1).unwrap().broken = true;
    world.deliver(1, &[private(1)]);
    assert!(world.host.sockets[&1].closed);
    assert_eq!(world.ids(2), [1]);
    assert_eq!(world.engine.counters().websockets, 1);
}

#[test]
fn a_big_fan_out_is_cut_up_and_keeps_every_session_in_order() {
    let mut world = World::new();
    for conn in 0..1000 {
        let own = 2 + (conn % 50) as u8;
        world.websocket(conn, &[(1, false), (own, false)], None);
    }
    world.deliver(1, &[private(1)]);
    // Nothing has gone out yet; a later message brings the earlier one along.
    world.deliver(2, &[private(10)]);
    world.deliver(3, &[private(1), private(11)]);
    world.deliver(4, &[private(11)]);
    assert_eq!(world.ids(8), [1, 2]);
    assert_eq!(world.ids(9), [1, 3, 4]);
    assert_eq!(world.ids(0), [0u64; 0]);
    assert!(world.engine.run(&mut world.host));
    let done = (0..1000).filter(|&conn| !world.ids(conn).is_empty()).count();
    assert!((64..=108).contains(&done), "{done}");
    world.run();
    for conn in 0..1000 {
        let expected: &[u64] = match conn % 50 {
            8 => &[1, 2, 3],
            9 => &[1, 3, 4],
            _ => &[1, 3],
        };
        assert_eq!(world.ids(conn), expected, "{conn}");
    }
}

#[test]
fn who_leaves_or_comes_during_a_fan_out_is_treated_right() {
    let mut world = World::new();
    let ids: Vec<_> = (0..600).map(|conn| world.websocket(conn, &[(1, false)], None)).collect();
    world.deliver(1, &[private(1)]);
    world.engine.run(&mut world.host);
    for id in &ids[300..400] {
        world.engine.ended(&mut world.host, *id);
    }
    for conn in 1000..1100 {
        world.websocket(conn, &[(1, false)], None);
    }
    world.run();
    world.deliver(2, &[private(1)]);
    world.run();
    for conn in (0..300).chain(400..600) {
        assert_eq!(world.ids(conn), [1, 2], "{conn}");
    }
    for conn in 1000..1100 {
        assert_eq!(world.ids(conn), [2], "{conn}");
    }
}

#[test]
fn leaving_says_goodbye() {
    let mut world = World::new();
    let websocket = world.websocket(1, &[(1, false)], None);
    world.poll(2, &[(1, false)], Some(4));
    world.engine.leave_all(&mut world.host, 0);
    assert_eq!(world.got(1).1, Some(1001));
    assert_eq!(world.host.answers[&2].status, 304);
    assert_eq!(world.host.answers[&2].last_message_id, Some(LastMessageId::Is(mid(4))));
    assert_eq!(world.engine.busy(), 1);
    world.engine.received(&mut world.host, websocket, &client_frame(8, &1001u16.to_be_bytes()));
    assert_empty(&world);
}

/// How many WebSockets have been told that the worker leaves.
fn told_to_leave(world: &World) -> usize {
    (0..1000).filter(|&conn| world.got(conn).1 == Some(1001)).count()
}

#[test]
fn who_leaves_tells_one_after_the_other_and_delivers_meanwhile() {
    let mut world = World::new();
    for conn in 0..1000 {
        world.websocket(conn, &[(1, false)], None);
    }
    world.engine.leave_all(&mut world.host, 5_000);
    assert_eq!(told_to_leave(&world), 1);
    world.pass(2_500);
    let told = told_to_leave(&world);
    assert!((490..=510).contains(&told), "{told}");

    // Who has not been told gets what comes, and who comes now is told at once.
    world.deliver(1, &[private(1)]);
    world.run();
    let got = (0..1000).filter(|&conn| world.ids(conn) == [1]).count();
    assert_eq!(got, 1000 - told);
    world.websocket(1000, &[(1, false)], None);
    assert_eq!(world.got(1000).1, Some(1001));
    world.poll(2000, &[(1, false)], None);
    assert_eq!(world.host.answers[&2000].status, 304);

    world.pass(2_500);
    assert_eq!(told_to_leave(&world), 1000);
    // Nobody answers our close: that takes five seconds more, and then nothing is left.
    world.pass(5_000);
    assert_empty(&world);
}

#[test]
fn few_sessions_do_not_keep_a_worker_long() {
    let mut world = World::new();
    for conn in 0..10 {
        world.websocket(conn, &[(1, false)], None);
    }
    world.engine.leave_all(&mut world.host, 60_000);
    world.pass(100);
    let told = (0..10).filter(|&conn| world.got(conn).1 == Some(1001)).count();
    assert_eq!(told, 10);
}

#[test]
fn a_worker_out_of_patience_tells_and_cuts() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.engine.leave_all(&mut world.host, 60_000);
    let late = world.websocket(2, &[(1, false)], None);
    world.engine.cut(&mut world.host, id);
    world.engine.cut(&mut world.host, late);
    assert_eq!((world.got(1).1, world.got(2).1), (Some(1001), Some(1001)));
    assert!(world.host.sockets[&1].closed && world.host.sockets[&2].closed);
    assert_empty(&world);
}

#[test]
fn text_sessions_get_envelopes_and_their_frames_are_ignored() {
    let mut world = World::new();
    world.host.sockets.entry(1).or_default();
    let subscriber = world.subscriber(&[(1, true)], None, Format::Text);
    let request = push_worker::Request(1);
    let (id, _) = world.engine.begin_websocket(&mut world.host, request, subscriber);
    world.engine.attach(&mut world.host, id, push_worker::Conn(1));
    world.engine.received(&mut world.host, id, &client_frame(2, b"nonsense"));
    world.deliver(5, &[private(1)]);
    let events = server_frames(&world.host.sockets[&1].written);
    let [Event::Message { data, .. }] = &events[..] else { panic!("{events:?}") };
    let text = std::str::from_utf8(data).unwrap();
    assert!(text.starts_with("#!NGINXNMS!#{\"id\":5,\"mid\":\"") && text.ends_with("#!NGINXNME!#"));
}

#[test]
fn a_client_request_that_is_wrong_closes_with_its_error() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, false)], None);
    world.engine.received(&mut world.host, id, &client_frame(2, b""));
    assert_eq!(world.got(1).1, Some(4012));
    let id = world.websocket(2, &[(1, true)], None);
    world.engine.received(&mut world.host, id, &client_frame(2, b""));
    assert_eq!(world.got(2).1, Some(4013));
}

/// The numbers of connections that the sidecar hears of.
fn told(world: &mut World) -> Vec<(push_protocol::ChannelKey, u32, u32)> {
    let frames = world.heard_all().into_iter();
    frames
        .filter_map(|frame| match frame {
            ToSidecar::Connections { channel, count, limit } => Some((channel, count, limit)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_sidecar_hears_how_many_connections_a_private_channel_has() {
    let mut world = World::new();
    world.websocket(1, &[(1, true), (2, false)], None);
    assert_eq!(told(&mut world), [(private(1), 1, 100)]);
    let second = world.websocket(2, &[(1, true), (2, false)], None);
    assert_eq!(told(&mut world), [(private(1), 2, 100), (private(2), 2, 0)]);
    world.link_down();
    world.pass(3_000);
    world.link_up();
    let mut all = told(&mut world);
    all.sort_unstable();
    assert_eq!(all, [(private(1), 2, 0), (private(2), 2, 0)]);
    world.engine.ended(&mut world.host, second);
    assert_eq!(told(&mut world), [(private(1), 1, 0), (private(2), 1, 0)]);
}

#[test]
fn the_oldest_connection_is_evicted() {
    let mut world = World::new();
    world.poll(1, &[(1, false)], None);
    world.websocket(2, &[(1, true)], None);
    world.websocket(3, &[(1, true)], None);
    world.heard();
    world.say(&ToWorker::Oldest { req: 5, channel: private(1) });
    world.say(&ToWorker::Oldest { req: 6, channel: private(7) });
    let opened = EPOCH_MS * 1000;
    assert_eq!(
        world.heard(),
        [
            ToSidecar::OldestAnswer { req: 5, opened },
            ToSidecar::OldestAnswer { req: 6, opened: u64::MAX }
        ]
    );
    world.say(&ToWorker::Evict { channel: private(1) });
    assert_eq!(world.host.answers[&1].status, 429);
    assert_eq!(world.host.answers[&1].body, "4029: Too many connections");
    world.say(&ToWorker::Evict { channel: private(1) });
    assert_eq!(world.got(2).1, Some(4029));
    assert_eq!(world.got(3).1, None);
}

fn begin(
    world: &mut World,
    request: usize,
    n: u8,
    after: Option<u64>,
) -> (push_worker::SessionId, bool) {
    let subscriber = world.subscriber(&[(n, true)], after, Format::Binary);
    world.engine.begin_websocket(&mut world.host, push_worker::Request(request), subscriber)
}

fn subscribe_seq(world: &mut World) -> u32 {
    let frames = world.heard();
    let ToSidecar::Subscribe { seq, .. } = frames[0] else { panic!("{frames:?}") };
    seq
}

#[test]
fn a_handshake_waits_for_its_channels_and_misses_nothing_after() {
    let mut world = World::new();
    let (id, ready) = begin(&mut world, 1, 1, None);
    assert!(!ready && world.host.upgrades.is_empty());
    let seq = subscribe_seq(&mut world);
    world.say(&ToWorker::Position { seq, position: mid(4) });
    assert_eq!(world.host.upgrades, [1]);
    // The 101 is on its way, the connection is not detached yet.
    world.deliver(5, &[private(1), public(101)]);
    world.deliver(6, &[private(1)]);
    world.host.sockets.entry(1).or_default();
    assert!(world.engine.attach(&mut world.host, id, push_worker::Conn(1)));
    assert_eq!(world.ids(1), [5, 6]);
    world.deliver(7, &[private(1)]);
    assert_eq!(world.ids(1), [5, 6, 7]);
    // The channels are there now: the next one does not wait.
    assert!(begin(&mut world, 2, 1, None).1);
}

/// The first subscriber's question for the channel is still on its way.
#[test]
fn a_second_subscriber_waits_for_the_channel_as_well() {
    let mut world = World::new();
    assert!(!begin(&mut world, 1, 1, None).1);
    let first = subscribe_seq(&mut world);
    assert!(!begin(&mut world, 2, 1, None).1);
    let second = subscribe_seq(&mut world);
    world.say(&ToWorker::Position { seq: first, position: mid(2) });
    assert_eq!(world.host.upgrades, [1]);
    world.say(&ToWorker::Position { seq: second, position: mid(2) });
    assert_eq!(world.host.upgrades, [1, 2]);
    assert!(begin(&mut world, 3, 1, None).1);
}

/// One of its channels was subscribed before: a message of that one alone, with an id in front of
/// which others of the new channel passed by, would make the client skip those.
#[test]
fn a_subscription_begins_at_one_point_for_all_its_channels() {
    let mut world = World::new();
    begin(&mut world, 1, 1, None);
    let seq = subscribe_seq(&mut world);
    world.say(&ToWorker::Position { seq, position: mid(2) });
    let subscriber = world.subscriber(&[(1, false), (2, false)], None, Format::Binary);
    let request = push_worker::Request(2);
    let (id, _) = world.engine.begin_websocket(&mut world.host, request, subscriber);
    let seq = subscribe_seq(&mut world);
    world.deliver(3, &[private(1)]);
    world.say(&ToWorker::Position { seq, position: mid(4) });
    world.deliver(5, &[private(1)]);
    world.host.sockets.entry(2).or_default();
    world.engine.attach(&mut world.host, id, push_worker::Conn(2));
    assert_eq!(world.ids(2), [5]);
}

#[test]
fn history_may_come_before_the_handshake_is_done() {
    let mut world = World::new();
    let (id, _) = begin(&mut world, 1, 1, Some(3));
    let req = world.heard_recover();
    world.item(req, 4);
    world.recovered(req, 4);
    world.deliver(5, &[private(1)]);
    // Not even a break of the link undoes it.
    world.link_down();
    assert_eq!(world.host.upgrades, [1]);
    world.host.sockets.entry(1).or_default();
    world.engine.attach(&mut world.host, id, push_worker::Conn(1));
    assert_eq!(world.ids(1), [4, 5]);
}

#[test]
fn a_history_that_cannot_be_read_waits_for_the_handshake_too() {
    let mut world = World::new();
    let (id, _) = begin(&mut world, 1, 1, Some(3));
    let req = world.heard_recover();
    world.say(&ToWorker::RecoverEnd { req, ok: false, as_of: mid(0) });
    world.host.sockets.entry(1).or_default();
    world.engine.attach(&mut world.host, id, push_worker::Conn(1));
    assert_eq!(world.got(1).1, Some(4011));
}

#[test]
fn a_handshake_that_is_given_up_leaves_nothing() {
    let mut world = World::new();
    let (id, _) = begin(&mut world, 1, 1, None);
    let seq = subscribe_seq(&mut world);
    world.engine.forget(&mut world.host, id);
    world.say(&ToWorker::Position { seq, position: mid(4) });
    assert!(world.host.upgrades.is_empty());
    assert!(!world.engine.attach(&mut world.host, id, push_worker::Conn(1)));
    assert_empty(&world);
}

#[test]
fn without_a_link_a_handshake_does_not_wait() {
    let mut world = World::new();
    world.link_down();
    assert!(begin(&mut world, 1, 1, None).1);
}

#[test]
fn nothing_goes_out_behind_a_close_frame() {
    let mut world = World::new();
    let id = world.websocket(1, &[(1, true)], None);
    world.heard();
    world.engine.received(&mut world.host, id, &client_frame(2, &online_question(1)));
    let [ToSidecar::Stats { req, .. }] = world.heard()[..] else { panic!("no question") };
    world.engine.received(&mut world.host, id, &client_frame(2, b"no request"));
    assert_eq!(world.got(1), (vec![], Some(4013)));
    let before = world.host.sockets[&1].written.len();
    world.say(&ToWorker::StatsAnswer { req, ok: true, online: vec![true] });
    assert_eq!(world.host.sockets[&1].written.len(), before);
}
