//! The other end of the link: it notes what the worker asks, and says what the story says.

use push_link::{PublishStatus, Splitter, ToSidecar, ToWorker, VERSION};
use push_protocol::Mid;
use push_protocol::outgoing::{Sender, encode_rest, with_id};
use push_worker::Engine;

use super::{FuzzHost, MAX_PAYLOAD, World};
use crate::input::Input;

/// What a frame has around the largest payload: an envelope, or the batch's fields.
const AROUND: usize = 400;

/// A sidecar that says anything.
#[derive(Debug, Default)]
pub struct Sidecar {
    /// The link is connected.
    pub up: bool,
    /// Bytes of all histories it has sent, as they may be in frames.
    pub history_bytes: usize,
    splitter: Splitter,
    /// Numbers of questions, newest last: of `Subscribe`, of everything else, of `Publish`.
    subscribes: Vec<u32>,
    questions: Vec<u32>,
    publishes: Vec<u64>,
    counter: u64,
    largest: usize,
}

impl Sidecar {
    /// The most bytes a frame for a client may have had.
    pub fn largest_frame(&self) -> usize {
        self.largest.max(MAX_PAYLOAD) * 2 + AROUND
    }

    /// The link is connected anew.
    pub fn connect(&mut self) {
        self.up = true;
        self.splitter = Splitter::new();
    }

    /// Reads what the worker has said: frames that can be read, and nothing while the link is down.
    pub fn hear(&mut self, engine: &mut Engine, host: &mut FuzzHost) {
        if std::mem::take(&mut host.link_closed) {
            self.up = false;
        }
        let output = engine.link_output().to_vec();
        if !self.up {
            return;
        }
        engine.link_sent(output.len());
        self.splitter.extend(&output);
        while let Some(frame) = self.splitter.next_frame().expect("the worker's frames are whole") {
            match ToSidecar::decode(frame).expect("the worker's frames can be read") {
                ToSidecar::Subscribe { seq, .. } => self.subscribes.push(seq),
                ToSidecar::Publish { seq, .. } => self.publishes.push(seq),
                ToSidecar::Recover { req, .. }
                | ToSidecar::Stats { req, .. }
                | ToSidecar::ServerStats { req }
                | ToSidecar::Newest { req, .. } => self.questions.push(req),
                _ => {}
            }
        }
    }

    /// What the story says next, as a frame. Numbers of questions are among those that were asked,
    /// mostly.
    pub fn next(&mut self, input: &mut Input<'_>) -> ToWorker {
        let kind = input.byte();
        let pick = usize::from(input.byte());
        let question = pick_from(&self.questions, pick).unwrap_or(pick as u32);
        match kind % 16 {
            0..=3 => {
                let which = input.byte();
                let flags = input.byte() & 1;
                let id = self.id(input.byte());
                let outgoing = self.message(id, input);
                ToWorker::Deliver { id, flags, receivers: World::receivers(which), outgoing }
            }
            4 => {
                let id = self.id(input.byte());
                let outgoing = self.message(id, input);
                self.history_bytes += outgoing.len() * 2 + AROUND;
                ToWorker::RecoverItem { req: question, id, outgoing }
            }
            5 => {
                let as_of = self.id(input.byte());
                ToWorker::RecoverEnd { req: question, ok: pick & 7 != 7, as_of }
            }
            6 => ToWorker::Position {
                seq: pick_from(&self.subscribes, pick).unwrap_or(pick as u32),
                position: self.id(input.byte()),
            },
            7 => ToWorker::Resumed { position: self.id(input.byte()) },
            8 => ToWorker::PublishAck {
                seq: pick_from(&self.publishes, pick).unwrap_or(pick as u64),
                status: match input.byte() % 3 {
                    0 => PublishStatus::Stored,
                    1 => PublishStatus::Unavailable,
                    _ => PublishStatus::Refused,
                },
                detail: String::from_utf8_lossy(input.piece()).into_owned(),
            },
            9 => ToWorker::StatsAnswer {
                req: question,
                ok: pick & 1 == 0,
                online: input.piece().iter().map(|byte| byte & 1 == 1).collect(),
            },
            10 => ToWorker::NewestAnswer {
                req: question,
                id: (pick & 1 == 0).then(|| self.id(input.byte())),
            },
            11 => ToWorker::Evict { channel: World::receivers(1 << (pick & 7))[0] },
            12 => ToWorker::Oldest { req: question, channel: World::receivers(1 << (pick & 7))[0] },
            13 => {
                ToWorker::ServerStatsAnswer { req: question, json: input.piece().to_vec().into() }
            }
            14 => match pick & 3 {
                0 => ToWorker::ReportWanted { req: question },
                1 => ToWorker::Refused {
                    reason: String::from_utf8_lossy(input.piece()).into(),
                    versions: None,
                },
                2 => ToWorker::TraceWanted {
                    req: question,
                    channels: World::receivers(1 << (pick >> 2 & 7)),
                },
                _ => ToWorker::Pong,
            },
            _ => ToWorker::Welcome {
                version: VERSION,
                position: self.id(input.byte()),
                software: "fuzz".into(),
            },
        }
    }

    /// Mostly the next id; now and then one of before.
    fn id(&mut self, how: u8) -> Mid {
        let back = how.checked_sub(200);
        if back.is_none() {
            self.counter += 1;
        }
        Mid::new(1_795_406_332, self.counter.saturating_sub(back.unwrap_or(0).into()))
    }

    fn message(&mut self, id: Mid, input: &mut Input<'_>) -> bytes::Bytes {
        let how = input.byte();
        let piece = input.piece();
        let bytes = if how == 255 {
            // Not even a message.
            piece.to_vec()
        } else {
            let body = String::from_utf8_lossy(piece).repeat(usize::from(how & 31) + 1);
            with_id(id, &encode_rest(&body, 60, 1_795_408_173, Sender::Backend))
        };
        self.largest = self.largest.max(bytes.len());
        bytes.into()
    }
}

fn pick_from<T: Copy>(list: &[T], pick: usize) -> Option<T> {
    let back = (pick & 15) % (list.len().max(1));
    (pick < 240).then(|| list.iter().rev().nth(back).copied()).flatten()
}
