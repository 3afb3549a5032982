//! Stories for the session target: steps as [`crate::targets::session`] reads them.

use prost::Message as _;
use push_protocol::proto::request::Command;
use push_protocol::proto::{ChannelId, ChannelStatsRequest, Request, RequestBatch};

use super::Found;
use crate::input::put_piece;
use crate::world::World;

/// One story in writing.
#[derive(Clone, Default)]
struct Story(Vec<u8>);

impl Story {
    /// The link comes up and the sidecar welcomes the worker.
    fn begun() -> Self {
        Self::default().step(14, 0, &[0]).step(16, 0, &[15, 0, 200])
    }

    fn step(mut self, what: u8, seat: u8, more: &[u8]) -> Self {
        self.0.extend_from_slice(&[what, seat]);
        self.0.extend_from_slice(more);
        self
    }

    fn piece(mut self, piece: &[u8]) -> Self {
        put_piece(&mut self.0, piece);
        self
    }

    /// A WebSocket on the channels `which`; `how`: format, `mid`. It takes `room` at first.
    fn websocket(self, seat: u8, which: u8, how: u8, room: u8) -> Self {
        let position = [6, 0, 200];
        self.step(0, seat, &[which, how]).step(16, 0, &position).step(2, seat, &[room])
    }

    fn frame(self, seat: u8, first: u8, payload: &[u8]) -> Self {
        self.step(6, seat, &[first]).piece(payload)
    }

    /// A live message for the channels `which`, with the next id.
    fn deliver(self, which: u8, body: &[u8]) -> Self {
        self.step(16, 0, &[0, 0, which, 0, 0, 0]).piece(body)
    }
}

/// Some of what happens in a worker's life.
pub(super) fn all(found: &Found) -> Vec<Vec<u8>> {
    let mut stories = vec![
        // Comes, hears two messages, closes.
        Story::begun()
            .websocket(0, 0x10, 0, 255)
            .deliver(0x10, b"{\"n\":1}")
            .deliver(0x11, b"2")
            .frame(0, 0x88, b"\x03\xe8bye"),
        // Comes back with its mid and is sent what it missed, live messages held meanwhile.
        Story::begun()
            .deliver(1, b"1")
            .websocket(1, 1, 0b110, 255)
            .deliver(1, b"2")
            .step(16, 0, &[4, 0, 0, 0])
            .piece(b"3")
            .step(16, 0, &[5, 0, 0])
            .deliver(1, b"4"),
        // Does not read; is cut off.
        Story::begun()
            .websocket(0, 1, 0, 1)
            .step(16, 0, &[0, 0, 1, 0, 0, 31])
            .piece(&[b'x'; 200])
            .step(16, 0, &[0, 0, 1, 0, 0, 31])
            .piece(&[b'x'; 200])
            .step(9, 0, &[10])
            .deliver(1, b"3")
            .step(9, 0, &[255]),
        // Long polls: one answered, one that waits in vain, one with a mid.
        Story::begun()
            .step(3, 0, &[1, 0])
            .step(3, 1, &[2, 0])
            .step(3, 2, &[1, 6])
            .deliver(1, b"{}")
            .step(13, 0, &[0x10, 0x27])
            .step(16, 0, &[10, 0, 200]),
        // The link breaks under a publish and comes back.
        Story::begun()
            .websocket(0, 0x10, 0, 255)
            .step(14, 0, &[1])
            .step(13, 0, &[0x10, 0x27])
            .step(14, 0, &[0])
            .step(16, 0, &[15, 0, 0])
            .step(16, 0, &[7, 0, 0])
            .deliver(0x10, b"after"),
        // Too many of one channel; a void list; the worker leaves.
        Story::begun()
            .websocket(0, 0x10, 0, 255)
            .websocket(1, 0x10, 0, 255)
            .websocket(2, 0x10, 1, 255)
            .step(16, 0, &[11, 4])
            .step(4, 3, &[255])
            .step(13, 0, &[0x00, 0x10])
            .step(23, 0, &[255]),
        // Fragments, a ping between them, and a fault.
        Story::begun()
            .websocket(0, 0x10, 1, 3)
            .frame(0, 0x01, b"Hel")
            .frame(0, 0x89, b"?")
            .frame(0, 0x80, b"lo")
            .frame(0, 0xc1, b"x"),
    ];
    for body in found.bodies.iter().filter(|body| body.len() < 1000).step_by(6) {
        let body = for_the_world(body).unwrap_or_else(|| body.clone());
        stories.push(
            Story::begun()
                .websocket(0, 0x30, 0, 255)
                .frame(0, 0x82, &body)
                .step(16, 0, &[8, 0, 0, 0, 0])
                .step(16, 0, &[9, 0, 2, 0, 1, 0])
                .step(21, 0, &[])
                .piece(&body)
                .step(16, 0, &[8, 0, 1, 0, 0])
                .step(13, 0, &[0x10, 0x27]),
        );
    }
    // A client asks who is online more often than it may without an answer, and gets them all.
    let question = who_is_online();
    let ask = |story: Story, _| story.frame(0, 0x82, &question).step(16, 0, &[9, 0]).piece(&[1]);
    stories.push((0..60).fold(Story::begun().websocket(0, 0x30, 0, 255), ask));
    stories.into_iter().map(|story| story.0).collect()
}

/// The same request to a public channel of the world's, rightly signed.
fn for_the_world(body: &[u8]) -> Option<Vec<u8>> {
    let mut batch = RequestBatch::decode(body).ok()?;
    let key = World::receivers(0x20)[1];
    let [signature, _] = crate::keys::public_signatures(&key.id);
    for request in &mut batch.requests {
        match &mut request.command {
            Some(Command::IncomingMessages(incoming)) => {
                for receiver in incoming.messages.iter_mut().flat_map(|m| &mut m.receivers) {
                    receiver.id = key.id.to_vec();
                    receiver.is_private = false;
                    receiver.signature.clone_from(&signature);
                }
            }
            Some(Command::ChannelStats(stats)) => {
                for channel in &mut stats.channels {
                    channel.id = key.id.to_vec();
                    channel.is_private = false;
                    channel.signature.clone_from(&signature);
                }
            }
            _ => {}
        }
    }
    Some(batch.encode_to_vec())
}

/// A client's question about a public channel of the world's.
fn who_is_online() -> Vec<u8> {
    let channels = vec![ChannelId::default()];
    let command = Some(Command::ChannelStats(ChannelStatsRequest { channels }));
    let batch = RequestBatch { requests: vec![Request { command }] };
    for_the_world(&batch.encode_to_vec()).expect("a request")
}
