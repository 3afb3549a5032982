//! A worker: clients that say and do anything, a sidecar that says anything, a link that breaks.

use push_protocol::request::{Limits, trusted};
use push_protocol::{ApiError, Mid, request::Command};
use push_worker::Format;

use super::frame::masked;
use crate::input::Input;
use crate::world::{SEATS, Seat, World};

/// Steps of a story.
const MAX_STEPS: usize = 400;

/// * No panic, whatever clients and sidecar say; the host's contract is kept (see [`World`]).
/// * What waits for a client that does not read is bounded.
/// * What clients see are whole frames, a close frame last; every request is answered once.
/// * When all have gone nothing is left behind, and the worker does not spin.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
        world.settle();
    }
    world.end();
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let what = input.byte();
    let seat = usize::from(input.byte()) % SEATS;
    match what % 24 {
        0 | 1 => {
            let (which, how) = (input.byte(), input.byte());
            let format = if how & 1 == 0 { Format::Binary } else { Format::Text };
            world.open_websocket(seat, which, mid(how), format);
            if what % 24 == 1 {
                world.settle();
                world.attach(seat, None);
            }
        }
        2 => world.attach(seat, room(input.byte())),
        3 => {
            let (which, how) = (input.byte(), input.byte());
            world.open_poll(seat, which, mid(how));
        }
        4 => world.reject(seat, room(input.byte())),
        5 => world.received(seat, input.piece()),
        6..=8 => {
            let first = input.byte();
            world.received(seat, &masked(first, input.piece()));
        }
        9 | 10 => world.make_room(seat, room(input.byte())),
        11 => {
            if let Seat::Open(_, conn) = world.seats[seat]
                && let Some(socket) = world.host.sockets.get_mut(&conn.0)
            {
                socket.broken = true;
            }
        }
        12 => world.hang_up(seat, seat.is_multiple_of(2)),
        13 => world.pass(u64::from(input.number()) % 20_000),
        14 => link(world, input.byte()),
        15 => {
            if world.sidecar.up {
                world.engine.link_received(&mut world.host, input.piece());
            }
        }
        16..=19 => {
            let said = world.sidecar.next(input);
            let mut bytes = Vec::new();
            said.encode(&mut bytes);
            if world.sidecar.up {
                world.engine.link_received(&mut world.host, &bytes);
            }
        }
        20 => {
            world.engine.run(&mut world.host);
        }
        21 => match trusted(input.piece(), &Limits::default(), 1_795_408_173) {
            Ok(Command::Publish(messages)) => world.publish(messages),
            Ok(Command::ChannelStats(keys)) => world.ask(Some(keys), Format::Binary),
            Ok(Command::ServerStats) => world.ask(None, Format::Text),
            Err(ApiError::WrongRequestData) => world.abandon(),
            Err(_) => {}
        },
        22 => match world.seats[seat] {
            Seat::Open(id, _) | Seat::Poll(id, _) => world.engine.cut(&mut world.host, id),
            _ => {}
        },
        _ => {
            let how = input.byte();
            if how > 250 {
                world.engine.leave_all(&mut world.host, u64::from(255 - how) * 1_000);
            }
        }
    }
}

fn link(world: &mut World, how: u8) {
    if how & 1 == 0 {
        if std::mem::take(&mut world.host.connecting) {
            world.sidecar.connect();
            world.engine.link_up(&mut world.host);
        }
    } else if world.sidecar.up || std::mem::take(&mut world.host.connecting) {
        world.sidecar.up = false;
        world.engine.link_down(&mut world.host);
    }
}

/// How much a socket takes.
fn room(how: u8) -> Option<usize> {
    (how < 250).then_some(usize::from(how) * 16)
}

/// Where a client left off.
fn mid(how: u8) -> Option<Mid> {
    (how & 2 != 0).then(|| Mid::new(1_795_406_332, u64::from(how >> 2)))
}
