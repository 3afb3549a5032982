//! What the sidecar says to a worker.

use bytes::{BufMut, Bytes};
use push_protocol::{ChannelKey, Mid};

use crate::version::Versions;
use crate::wire::{LinkError, Read, Write, frame};

/// What became of a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PublishStatus {
    /// Stored and announced (now, or earlier under the same token).
    Stored = 0,
    /// Not now, and this attempt has stored nothing; the same publish may be sent again under the
    /// same token.
    Unavailable = 1,
    /// Never: the store refuses it for what it is.
    Refused = 2,
    /// The store broke under it: stored or not. Sent again under the same token it is stored once.
    Unknown = 3,
}

/// A frame from the sidecar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToWorker {
    /// Answer to `Hello`.
    Welcome {
        /// What is spoken from here on.
        version: u16,
        /// The last id that was passed on before this link.
        position: Mid,
        /// The sidecar's version, for logs and statistics.
        software: String,
    },
    /// Answer to a `Hello` the sidecar cannot work with; it closes the link then.
    Refused {
        /// For the log.
        reason: String,
        /// What the sidecar speaks, if it says so.
        versions: Option<Versions>,
    },
    /// Answer to `Subscribe`: the subscription begins behind this id.
    Position {
        /// The `Subscribe`'s.
        seq: u32,
        /// The last id that was passed on before.
        position: Mid,
    },
    /// A live message.
    Deliver {
        /// Its id.
        id: Mid,
        /// [`crate::FLAG_LATE`] or 0.
        flags: u8,
        /// Those of its receivers that this link has subscribed.
        receivers: Vec<ChannelKey>,
        /// The complete `OutgoingMessage` encoding.
        outgoing: Bytes,
    },
    /// One message of an answer to `Recover`, in id order.
    RecoverItem {
        /// The `Recover`'s.
        req: u32,
        /// Its id.
        id: Mid,
        /// The complete `OutgoingMessage` encoding.
        outgoing: Bytes,
    },
    /// The end of an answer to `Recover`.
    RecoverEnd {
        /// The `Recover`'s.
        req: u32,
        /// False: the store answered with an error that will not go away (4011).
        ok: bool,
        /// The items are complete up to this id; live messages go on behind it.
        as_of: Mid,
    },
    /// The resumed link has caught up; live messages go on.
    Resumed {
        /// The last id that was passed on.
        position: Mid,
    },
    /// Answer to `Publish`.
    PublishAck {
        /// The `Publish`'s.
        seq: u64,
        /// What became of it.
        status: PublishStatus,
        /// For the log; empty when stored.
        detail: String,
    },
    /// Answer to `Stats`.
    StatsAnswer {
        /// The `Stats`'.
        req: u32,
        /// False: the store did not answer.
        ok: bool,
        /// One a channel asked, in that order.
        online: Vec<bool>,
    },
    /// Answer to `Ping`.
    Pong,
    /// When was the oldest local connection of a channel opened? Answered by `OldestAnswer`.
    Oldest {
        /// Comes back in the answer.
        req: u32,
        /// The channel.
        channel: ChannelKey,
    },
    /// Close the oldest local connection of a channel: the host has too many of them (4029).
    Evict {
        /// The channel.
        channel: ChannelKey,
    },
    /// What do you hold? Answered by `Report`.
    ReportWanted {
        /// Comes back in the answer.
        req: u32,
    },
    /// Answer to `ServerStats`.
    ServerStatsAnswer {
        /// The `ServerStats`'.
        req: u32,
        /// A JSON array, one object a process (PROTOCOL.md, section 8.3).
        json: Bytes,
    },
    /// Answer to `Control`.
    ControlAnswer {
        /// One object.
        json: Bytes,
    },
    /// Answer to `Newest`.
    NewestAnswer {
        /// The `Newest`'s.
        req: u32,
        /// The greatest id of a message that is stored and alive, if there is one.
        id: Option<Mid>,
    },
    /// What becomes of messages to these channels from now on, and who has the channels? Answered by
    /// `Trace`; asked again and again while somebody looks, and over soon after.
    TraceWanted {
        /// Comes back in the answer.
        req: u32,
        /// The channels.
        channels: Vec<ChannelKey>,
    },
    /// What have you counted? Answered by `Metrics`.
    MetricsWanted {
        /// Comes back in the answer.
        req: u32,
        /// The clients that most waits for are asked for, too.
        slow: bool,
    },
    /// Answer to `Observe`.
    Observation {
        /// The `Observe`'s.
        req: u32,
        /// The text.
        text: Bytes,
    },
    /// One of the messages that were just published here, so that workers can tell how long it took.
    Published {
        /// The message.
        id: Mid,
        /// When its request came to a worker, Unix microseconds.
        at: u64,
    },
}

const WELCOME: u8 = 129;
const REFUSED: u8 = 130;
const POSITION: u8 = 131;
const DELIVER: u8 = 132;
const RECOVER_ITEM: u8 = 133;
const RECOVER_END: u8 = 134;
const RESUMED: u8 = 135;
const PUBLISH_ACK: u8 = 136;
const STATS_ANSWER: u8 = 137;
const PONG: u8 = 138;
const NEWEST_ANSWER: u8 = 139;
const OLDEST: u8 = 140;
const EVICT: u8 = 141;
const REPORT_WANTED: u8 = 142;
const SERVER_STATS_ANSWER: u8 = 143;
const CONTROL_ANSWER: u8 = 144;
const TRACE_WANTED: u8 = 145;
const METRICS_WANTED: u8 = 146;
const OBSERVATION: u8 = 147;
const PUBLISHED: u8 = 148;

/// The `Deliver` frame in front of `outgoing_len` bytes of `OutgoingMessage`, so that one encoded
/// message can be sent to many links without being copied for each.
pub fn deliver_frame(
    id: Mid,
    flags: u8,
    receivers: &[ChannelKey],
    outgoing_len: usize,
    out: &mut Vec<u8>,
) {
    let fields = 1 + 13 + 1 + 4 + receivers.len() * 17;
    out.reserve(4 + fields);
    out.put_u32_le((fields + outgoing_len) as u32);
    out.put_u8(DELIVER);
    out.mid(id);
    out.put_u8(flags);
    out.keys(receivers);
}

/// The `RecoverItem` frame in front of `outgoing_len` bytes of `OutgoingMessage`.
pub fn recover_item_frame(req: u32, id: Mid, outgoing_len: usize, out: &mut Vec<u8>) {
    out.put_u32_le((1 + 4 + 13 + outgoing_len) as u32);
    out.put_u8(RECOVER_ITEM);
    out.put_u32_le(req);
    out.mid(id);
}

impl ToWorker {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome { version, position, software } => frame(out, WELCOME, |o| {
                o.put_u16_le(*version);
                o.mid(*position);
                o.text(software);
            }),
            Self::Refused { reason, versions } => frame(out, REFUSED, |o| {
                o.text(reason);
                if let Some(Versions { lowest, highest }) = versions {
                    o.put_u16_le(*lowest);
                    o.put_u16_le(*highest);
                }
            }),
            Self::Position { seq, position } => frame(out, POSITION, |o| {
                o.put_u32_le(*seq);
                o.mid(*position);
            }),
            Self::Deliver { id, flags, receivers, outgoing } => {
                deliver_frame(*id, *flags, receivers, outgoing.len(), out);
                out.put_slice(outgoing);
            }
            Self::RecoverItem { req, id, outgoing } => {
                recover_item_frame(*req, *id, outgoing.len(), out);
                out.put_slice(outgoing);
            }
            Self::RecoverEnd { req, ok, as_of } => frame(out, RECOVER_END, |o| {
                o.put_u32_le(*req);
                o.put_u8(u8::from(*ok));
                o.mid(*as_of);
            }),
            Self::Resumed { position } => frame(out, RESUMED, |o| o.mid(*position)),
            Self::PublishAck { seq, status, detail } => frame(out, PUBLISH_ACK, |o| {
                o.put_u64_le(*seq);
                o.put_u8(*status as u8);
                o.text(detail);
            }),
            Self::StatsAnswer { req, ok, online } => frame(out, STATS_ANSWER, |o| {
                o.put_u32_le(*req);
                o.put_u8(u8::from(*ok));
                o.put_u32_le(online.len() as u32);
                o.extend(online.iter().map(|&b| u8::from(b)));
            }),
            Self::Pong => frame(out, PONG, |_| ()),
            Self::Oldest { req, channel } => frame(out, OLDEST, |o| {
                o.put_u32_le(*req);
                o.key(channel);
            }),
            Self::Evict { channel } => frame(out, EVICT, |o| o.key(channel)),
            Self::ReportWanted { req } => frame(out, REPORT_WANTED, |o| o.put_u32_le(*req)),
            Self::ServerStatsAnswer { req, json } => frame(out, SERVER_STATS_ANSWER, |o| {
                o.put_u32_le(*req);
                o.put_slice(json);
            }),
            Self::ControlAnswer { json } => frame(out, CONTROL_ANSWER, |o| o.put_slice(json)),
            Self::TraceWanted { req, channels } => frame(out, TRACE_WANTED, |o| {
                o.put_u32_le(*req);
                o.keys(channels);
            }),
            Self::NewestAnswer { req, id } => frame(out, NEWEST_ANSWER, |o| {
                o.put_u32_le(*req);
                o.mid(id.unwrap_or(Mid::ZERO));
            }),
            Self::MetricsWanted { req, slow } => frame(out, METRICS_WANTED, |o| {
                o.put_u32_le(*req);
                o.put_u8(u8::from(*slow));
            }),
            Self::Observation { req, text } => frame(out, OBSERVATION, |o| {
                o.put_u32_le(*req);
                o.put_slice(text);
            }),
            Self::Published { id, at } => frame(out, PUBLISHED, |o| {
                o.mid(*id);
                o.put_u64_le(*at);
            }),
        }
    }

    /// Reads a frame as [`crate::Splitter`] gives it. Bytes behind the known fields are left
    /// alone: a later minor version may add some.
    pub fn decode(mut frame: Bytes) -> Result<Self, LinkError> {
        let kind = frame.u8().ok_or(LinkError::Length(0))?;
        if !(WELCOME..=PUBLISHED).contains(&kind) {
            return Err(LinkError::Kind(kind));
        }
        Self::fields(kind, &mut frame).ok_or(LinkError::Field(kind))
    }

    fn fields(kind: u8, f: &mut Bytes) -> Option<Self> {
        Some(match kind {
            WELCOME => Self::Welcome { version: f.u16()?, position: f.mid()?, software: f.text()? },
            REFUSED => {
                let reason = f.text()?;
                let versions = if f.is_empty() {
                    None
                } else {
                    Some(Versions { lowest: f.u16()?, highest: f.u16()? })
                };
                Self::Refused { reason, versions }
            }
            POSITION => Self::Position { seq: f.u32()?, position: f.mid()? },
            DELIVER => Self::Deliver {
                id: f.mid()?,
                flags: f.u8()?,
                receivers: f.keys()?,
                outgoing: std::mem::take(f),
            },
            RECOVER_ITEM => {
                Self::RecoverItem { req: f.u32()?, id: f.mid()?, outgoing: std::mem::take(f) }
            }
            RECOVER_END => Self::RecoverEnd { req: f.u32()?, ok: f.u8()? != 0, as_of: f.mid()? },
            RESUMED => Self::Resumed { position: f.mid()? },
            PUBLISH_ACK => Self::PublishAck {
                seq: f.u64()?,
                status: match f.u8()? {
                    0 => PublishStatus::Stored,
                    1 => PublishStatus::Unavailable,
                    2 => PublishStatus::Refused,
                    3 => PublishStatus::Unknown,
                    _ => return None,
                },
                detail: f.text()?,
            },
            STATS_ANSWER => {
                let req = f.u32()?;
                let ok = f.u8()? != 0;
                let count = f.u32()? as usize;
                Self::StatsAnswer {
                    req,
                    ok,
                    online: f.raw(count)?.iter().map(|&b| b != 0).collect(),
                }
            }
            OLDEST => Self::Oldest { req: f.u32()?, channel: f.key()? },
            EVICT => Self::Evict { channel: f.key()? },
            REPORT_WANTED => Self::ReportWanted { req: f.u32()? },
            SERVER_STATS_ANSWER => {
                Self::ServerStatsAnswer { req: f.u32()?, json: std::mem::take(f) }
            }
            CONTROL_ANSWER => Self::ControlAnswer { json: std::mem::take(f) },
            TRACE_WANTED => Self::TraceWanted { req: f.u32()?, channels: f.keys()? },
            NEWEST_ANSWER => Self::NewestAnswer {
                req: f.u32()?,
                id: Some(f.mid()?).filter(|id| *id != Mid::ZERO),
            },
            METRICS_WANTED => Self::MetricsWanted { req: f.u32()?, slow: f.u8()? != 0 },
            OBSERVATION => Self::Observation { req: f.u32()?, text: std::mem::take(f) },
            PUBLISHED => Self::Published { id: f.mid()?, at: f.u64()? },
            _ => Self::Pong,
        })
    }
}
