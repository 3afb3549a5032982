//! What meets a fan-out that is under way, since it goes out in pieces.

mod support;

use push_link::FLAG_LATE;
use support::*;

/// More sessions on one channel than are served in a turn; the last of them asks for history behind
/// `mid` 3. Answers its connection and the request.
fn crowd(world: &mut World) -> (usize, u32) {
    const CROWD: usize = 600;
    for conn in 0..CROWD {
        world.websocket(conn, &[(1, false)], None);
    }
    world.websocket(CROWD, &[(1, false), (2, false)], Some(3));
    (CROWD, world.heard_recover())
}

/// The sidecar counts everything it has put on the link before as told: a history may be complete
/// up to a message that is still on its way to the session.
#[test]
fn a_history_that_is_complete_before_a_fan_out_has_come_loses_nothing() {
    let mut world = World::new();
    let (conn, req) = crowd(&mut world);
    world.deliver(5, &[private(1)]);
    world.deliver(6, &[private(1)]);
    world.item(req, 4);
    world.recovered(req, 6);
    world.deliver(7, &[private(1)]);
    world.run();
    assert_eq!(world.ids(conn), [4, 5, 6, 7]);
    assert_eq!(world.ids(0), [5, 6, 7]);
}

#[test]
fn a_late_message_that_is_brought_forward_does_not_come_again() {
    let mut world = World::new();
    let (conn, req) = crowd(&mut world);
    world.recovered(req, 3);
    world.deliver(9, &[private(2)]);
    world.deliver_flagged(5, &[private(1)], FLAG_LATE);
    world.deliver(10, &[private(2)]);
    assert_eq!(world.ids(conn), [9, 5, 10]);
    world.run();
    assert_eq!(world.ids(conn), [9, 5, 10]);
    assert_eq!(world.ids(0), [5]);
}
