//! The link: publishing over it, its breaking, its coming back.

mod support;

use push_link::{PublishStatus, ToSidecar, ToWorker, Versions};
use push_protocol::request::{self, Limits};
use push_worker::{Format, LastMessageId, Request};
use support::*;

fn publish(world: &mut World, request: usize, channel: u8) -> u64 {
    let message = request::text(
        [private(channel)].into_iter(),
        b"{}",
        Some(b"60"),
        &Limits::default(),
        1_795_408_173,
    );
    world.engine.publish(&mut world.host, Request(request), false, vec![message])
}

fn ack(world: &mut World, seq: u64, status: PublishStatus) {
    world.say(&ToWorker::PublishAck { seq, status, detail: String::new() });
}

#[test]
fn a_publisher_is_answered_when_the_message_is_stored() {
    let mut world = World::new();
    publish(&mut world, 1, 1);
    let published = world.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].1[0].receivers, [(private(1), bytes::Bytes::new())]);
    assert!(world.host.answers.is_empty());
    ack(&mut world, published[0].0, PublishStatus::Stored);
    assert_eq!(world.host.answers[&1].status, 200);
    ack(&mut world, published[0].0, PublishStatus::Stored);
    assert_empty(&world);
}

#[test]
fn a_publish_without_receivers_is_nothing_to_do() {
    let mut world = World::new();
    let limits = Limits::default();
    let message = request::text([].into_iter(), b"x", None, &limits, 1);
    world.engine.publish(&mut world.host, Request(1), false, vec![message]);
    assert_eq!(world.host.answers[&1].status, 200);
    assert_eq!(world.heard(), []);
}

#[test]
fn a_publish_under_way_is_sent_again_under_the_same_token() {
    let mut world = World::new();
    publish(&mut world, 1, 1);
    publish(&mut world, 2, 2);
    let before = world.published();
    world.link_down();
    publish(&mut world, 3, 3);
    world.pass(3_000);
    assert_eq!(world.host.connects, 2);
    world.link_up();
    let after = world.published();
    assert_eq!(after[..2], before);
    assert_eq!(after.len(), 3);
    for (seq, _) in after {
        ack(&mut world, seq, PublishStatus::Stored);
    }
    assert!(world.host.answers.values().all(|answer| answer.status == 200));
    assert_eq!(world.host.answers.len(), 3);
}

#[test]
fn without_a_sidecar_a_publisher_hears_503_after_five_seconds() {
    let mut world = World::new();
    world.link_down();
    publish(&mut world, 1, 1);
    world.pass(4_999);
    assert!(world.host.answers.is_empty());
    world.pass(1);
    assert_eq!(world.host.answers[&1].status, 503);
    assert_eq!(world.host.answers[&1].retry_after, Some(1));
}

#[test]
fn what_may_have_been_stored_is_answered_504() {
    let mut world = World::new();
    // The link breaks under the first; the store breaks under the second, and says "not now" then;
    // the third is still on the link; the fourth was surely not stored.
    publish(&mut world, 1, 1);
    world.link_down();
    world.link_up();
    for request in 2..=4 {
        publish(&mut world, request, 1);
    }
    let seqs: Vec<u64> = world.published().into_iter().map(|(seq, _)| seq).collect();
    ack(&mut world, seqs[0], PublishStatus::Unavailable);
    ack(&mut world, seqs[1], PublishStatus::Unknown);
    ack(&mut world, seqs[3], PublishStatus::Unavailable);
    world.pass(100);
    ack(&mut world, seqs[0], PublishStatus::Unavailable);
    ack(&mut world, seqs[1], PublishStatus::Unavailable);
    ack(&mut world, seqs[3], PublishStatus::Unavailable);
    world.link_down();
    world.pass(4_900);
    let statuses = [1, 2, 3, 4].map(|request| world.host.answers[&request].status);
    assert_eq!(statuses, [504, 504, 504, 503]);
}

#[test]
fn not_now_is_tried_again_within_the_five_seconds() {
    let mut world = World::new();
    publish(&mut world, 1, 1);
    let (seq, _) = world.published()[0];
    ack(&mut world, seq, PublishStatus::Unavailable);
    world.pass(100);
    assert_eq!(world.published().len(), 1);
    ack(&mut world, seq, PublishStatus::Unavailable);
    world.pass(100);
    ack(&mut world, seq, PublishStatus::Stored);
    assert_eq!(world.host.answers[&1].status, 200);
}

#[test]
fn who_hangs_up_has_published_all_the_same() {
    let mut world = World::new();
    let name = publish(&mut world, 1, 1);
    world.engine.abandon(name);
    world.link_down();
    world.pass(3_000);
    world.link_up();
    let (seq, _) = world.published()[0];
    ack(&mut world, seq, PublishStatus::Stored);
    assert!(world.host.answers.is_empty());
    assert_empty(&world);
}

#[test]
fn a_broken_link_is_resumed_where_it_stood_and_clients_notice_nothing() {
    let mut world = World::new();
    world.websocket(1, &[(1, true)], None);
    world.deliver(5, &[private(1)]);
    world.link_down();
    let joined = world.websocket(2, &[(2, false)], Some(3));
    assert_eq!(world.heard(), []);
    world.pass(3_000);
    world.link_up();
    let said = world.heard();
    assert!(matches!(said[0], ToSidecar::Hello { resume: true, .. }), "{said:?}");
    let ToSidecar::Subscribe { channels, .. } = &said[1] else { panic!("{said:?}") };
    assert_eq!(channels.len(), 3);
    assert_eq!(said[2], ToSidecar::Resume { after: mid(5) });
    let ToSidecar::Recover { req, after, .. } = said[3] else { panic!("{said:?}") };
    assert_eq!(after, mid(3));
    world.say(&welcome(9));
    world.say(&ToWorker::Position { seq: 1, position: mid(9) });
    world.deliver(6, &[private(1)]);
    // Broken once more before it has caught up: what comes next starts behind 6.
    world.link_down();
    world.pass(3_000);
    world.link_up();
    let said = world.heard();
    assert!(said.contains(&ToSidecar::Resume { after: mid(6) }), "{said:?}");
    world.say(&welcome(9));
    world.deliver(8, &[private(1), private(2)]);
    world.say(&ToWorker::Resumed { position: mid(9) });
    world.item(req, 7);
    world.item(req, 8);
    world.recovered(req, 9);
    assert_eq!(world.ids(1), [5, 6, 8]);
    assert_eq!(world.ids(2), [7, 8]);
    world.engine.ended(&mut world.host, joined);
}

#[test]
fn an_answer_cut_off_by_the_break_is_not_counted() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], Some(3));
    let req = world.heard_recover();
    world.item(req, 4);
    world.link_down();
    world.pass(3_000);
    world.link_up();
    world.say(&welcome(9));
    world.say(&ToWorker::Resumed { position: mid(9) });
    world.item(req, 4);
    world.item(req, 5);
    world.recovered(req, 9);
    assert_eq!(world.got(1).0, [[4, 5]]);
}

#[test]
fn another_store_with_lower_ids_does_not_silence_anybody() {
    let mut world = World::new();
    world.websocket(1, &[(1, false)], None);
    world.deliver(500, &[private(1)]);
    world.link_down();
    world.pass(3_000);
    world.link_up();
    world.say(&welcome(2));
    world.say(&ToWorker::Resumed { position: mid(2) });
    world.deliver(3, &[private(1)]);
    assert_eq!(world.ids(1), [500, 3]);
}

#[test]
fn a_sidecar_that_falls_silent_is_given_up() {
    let mut world = World::new();
    world.alive = false;
    world.pass(5_000);
    assert_eq!(world.heard(), [ToSidecar::Ping]);
    world.say(&ToWorker::Pong);
    world.pass(5_000);
    assert_eq!(world.heard(), [ToSidecar::Ping]);
    world.pass(10_000);
    assert_eq!(world.host.link_closed, 1);
    world.pass(2_000);
    assert_eq!(world.host.connects, 2);
}

#[test]
fn attempts_to_connect_become_rarer_but_do_not_end() {
    let mut world = World::new();
    world.link_down();
    for _ in 0..20 {
        let before = world.host.connects;
        world.pass(3_000);
        assert_eq!(world.host.connects, before + 1);
        world.link_down();
    }
}

/// It leaves a sidecar that does not understand it alone, and lets nobody wait for it.
fn is_refused(world: &mut World, parts: &[&str]) {
    let told = world.host.log.pop().unwrap();
    for part in parts {
        assert!(told.contains(part), "{part}: {told}");
    }
    let connects = world.host.connects;
    world.alive = false;
    world.pass(29_000);
    assert_eq!(world.host.connects, connects);
    publish(world, 50, 1);
    assert_eq!(world.host.answers[&50].status, 503);
    world.pass(31_000);
    assert_eq!(world.host.connects, connects + 1);
    // Until it is welcome, nobody waits.
    world.link_up();
    publish(world, 51, 1);
    assert_eq!(world.host.answers[&51].status, 503);
    world.say(&welcome(0));
    publish(world, 52, 1);
    assert!(!world.host.answers.contains_key(&52));
    world.link_down();
    world.pass(3_000);
    assert_eq!(world.host.connects, connects + 2);
}

#[test]
fn a_sidecar_that_refuses_is_asked_again_once_in_a_while() {
    for versions in [None, Some(Versions { lowest: 7, highest: 9 }), Some(Versions::OURS)] {
        let mut world = World::new();
        let reason = "module 9.9 speaks link version 7 to 9".into();
        world.say(&ToWorker::Refused { reason, versions });
        assert_eq!(world.host.link_closed, 1);
        is_refused(&mut world, &["module 9.9 speaks", "test speaks link version 1", "one release"]);
    }
}

#[test]
fn a_welcome_in_a_version_that_is_not_known_is_none() {
    let mut world = World::new();
    let software = "9.9".into();
    world.say(&ToWorker::Welcome { version: 99, position: mid(0), software });
    is_refused(&mut world, &["push-sidecar 9.9 speaks link version 99", "one release"]);
}

#[test]
fn nonsense_on_the_link_ends_it() {
    let mut world = World::new();
    world.engine.link_received(&mut world.host, &[1, 0, 0, 0, 77]);
    assert_eq!(world.host.link_closed, 1);
    world.pass(3_000);
    assert_eq!(world.host.connects, 2);
}

#[test]
fn statistics_are_answered_in_the_form_asked_or_503() {
    let mut world = World::new();
    let asked = vec![private(1), private(2)];
    world.engine.channel_stats(&mut world.host, Request(1), asked.clone(), Format::Text);
    let ToSidecar::Stats { req, .. } = world.heard()[0] else { panic!() };
    world.say(&ToWorker::StatsAnswer { req, ok: true, online: vec![false, true] });
    let body = format!("{{\"infos\":[{{\"channel\":\"{}\",\"subscribers\":1}}]}}", hex(id(2)));
    assert_eq!(world.host.answers[&1].body, body.as_bytes());
    world.engine.channel_stats(&mut world.host, Request(2), asked.clone(), Format::Binary);
    world.link_down();
    assert_eq!(world.host.answers[&2].status, 503);
    world.engine.channel_stats(&mut world.host, Request(3), asked, Format::Binary);
    assert_eq!(world.host.answers[&3].status, 503);
}

#[test]
fn a_poll_that_ends_while_the_link_is_down_keeps_its_place() {
    let mut world = World::new();
    world.deliver(7, &[private(9)]);
    world.poll(1, &[(1, false)], None);
    world.link_down();
    world.pass(40_000);
    assert_eq!(world.host.answers[&1].last_message_id, Some(LastMessageId::Is(mid(7))));
    assert_empty(&world);
}

#[test]
fn server_statistics_are_passed_on_in_both_forms() {
    let mut world = World::new();
    world.websocket(1, &[(1, true), (2, false)], None);
    world.poll(2, &[(2, false)], None);
    world.heard();
    world.say(&ToWorker::ReportWanted { req: 9 });
    let report = ToSidecar::Report {
        req: 9,
        websockets: 1,
        polls: 1,
        channels: 2,
        limits: [1_048_576, 100, 100, 100],
    };
    assert_eq!(world.heard(), [report]);
    for (request, format) in [(3, Format::Text), (4, Format::Binary)] {
        world.engine.server_stats(&mut world.host, Request(request), format);
        let ToSidecar::ServerStats { req } = world.heard()[0] else { panic!() };
        world.say(&ToWorker::ServerStatsAnswer { req, json: "[{}]".into() });
    }
    assert_eq!(world.host.answers[&3].body, "[{}]");
    assert_eq!(world.host.answers[&4].body, &b"\x0a\x08\x1a\x06\x0a\x04[{}]"[..]);
}

#[test]
fn what_becomes_of_messages_is_told_while_somebody_looks() {
    let mut world = World::new();
    world.websocket(1, &[(1, true), (2, false)], None);
    world.poll(2, &[(1, false)], None);
    world.heard();
    let ask = |world: &mut World, req| {
        world.say(&ToWorker::TraceWanted { req, channels: vec![private(1), private(2)] });
        let ToSidecar::Trace { req: answered, subscribers, deliveries, .. } =
            world.heard().pop().expect("an answer")
        else {
            panic!("no trace")
        };
        assert_eq!(answered, req);
        (subscribers, deliveries)
    };
    world.deliver(6, &[private(9)]);
    // Nobody looked before.
    assert_eq!(ask(&mut world, 3), ([0, 1, 1], vec![]));
    world.deliver(7, &[private(1), private(2)]);
    world.deliver(7, &[private(1)]);
    world.deliver(8, &[private(9)]);
    let (subscribers, deliveries) = ask(&mut world, 4);
    assert_eq!(subscribers, [0, 1, 0], "the poll was answered");
    let told: Vec<_> = deliveries
        .iter()
        .map(|d| (d.id, d.text, d.binary, d.polls, d.held, d.had, d.written > 0))
        .collect();
    assert_eq!(
        told,
        [(mid(7), 0, 1, 1, 0, 0, true), (mid(7), 0, 0, 0, 0, 1, false)],
        "the second time it was known"
    );
    // Whoever looks no longer is told nothing.
    world.pass(11_000);
    world.deliver(10, &[private(1)]);
    let (_, deliveries) = ask(&mut world, 5);
    assert_eq!(deliveries, []);
}

#[test]
fn what_is_repeated_is_logged_once_a_minute_with_how_often() {
    let mut world = World::new();
    let lines = |world: &mut World, word: &str| -> Vec<String> {
        let lines = std::mem::take(&mut world.host.log);
        assert!(lines.iter().all(|line| line.contains(word)), "{lines:?}");
        lines
    };
    for _ in 0..5_000 {
        world.engine.refused_channels(&mut world.host);
    }
    let told = lines(&mut world, "4010");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("signature_key") && !told[0].contains("more like this"), "{told:?}");
    world.pass(60_000);
    world.host.log.clear();
    world.engine.refused_channels(&mut world.host);
    world.engine.refused_channels(&mut world.host);
    let told = lines(&mut world, "4010");
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("(4999 more like this since the last line)"), "{told:?}");
    // Each kind has a line of its own.
    world.heard();
    for request in 1..=100 {
        publish(&mut world, request, 1);
        let seq = world.published()[0].0;
        ack(&mut world, seq, PublishStatus::Refused);
    }
    let told = lines(&mut world, "refused a message");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("push-sidecar check"), "{told:?}");
}
