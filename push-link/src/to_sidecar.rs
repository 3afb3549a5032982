//! What a worker says to the sidecar.

use bytes::{BufMut, Bytes};
use push_protocol::{ChannelKey, Mid};

use crate::trace::Traced;
use crate::version::Versions;
use crate::wire::{LinkError, Read, Write, frame};

/// One message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishItem {
    /// Seconds to keep, already clamped; 0 is live delivery only.
    pub expiry: u32,
    /// The label of the daily counters.
    pub label: String,
    /// Whom it is for, with the raw signature a client gave (empty for a backend's).
    pub receivers: Vec<(ChannelKey, Bytes)>,
    /// Everything of the `OutgoingMessage` encoding but the id.
    pub rest: Bytes,
}

/// A client that something waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slow {
    /// The first of its channels.
    pub channel: ChannelKey,
    /// Bytes that wait.
    pub bytes: u64,
    /// When it came, Unix microseconds.
    pub opened: u64,
}

/// A frame from a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToSidecar {
    /// First frame of a link.
    Hello {
        /// What the worker speaks.
        versions: Versions,
        /// Random, one per worker process; with a publish's `seq` it makes the publish's token.
        instance: u64,
        /// The worker's process id.
        pid: u32,
        /// The link replaces one that broke: live messages are held back until `Resume`.
        resume: bool,
        /// The module's version, for logs and statistics.
        software: String,
    },
    /// Channels that got their first local subscriber. Answered by `Position`.
    Subscribe {
        /// Comes back in the answer.
        seq: u32,
        /// The channels.
        channels: Vec<ChannelKey>,
    },
    /// Channels that lost their last local subscriber.
    Unsubscribe {
        /// The channels.
        channels: Vec<ChannelKey>,
    },
    /// Behind the `Subscribe`s of a resumed link: send what the broken link missed.
    Resume {
        /// The last id the worker received.
        after: Mid,
    },
    /// A subscriber came with a `mid`: answered by `RecoverItem`s and `RecoverEnd`.
    Recover {
        /// Comes back in the answers.
        req: u32,
        /// Everything after this id.
        after: Mid,
        /// The subscriber's receivers.
        channels: Vec<ChannelKey>,
    },
    /// Store and announce, all or nothing. Answered by `PublishAck`.
    Publish {
        /// Comes back in the answer; with `Hello.instance` the token that makes it unique.
        seq: u64,
        /// It is an `incomingMessages` request for the daily counters (PROTOCOL.md, section 8.3).
        counted: bool,
        /// In order; each gets an id of its own.
        messages: Vec<PublishItem>,
        /// When the request came, Unix microseconds; 0: not told. Sidecars of version 1 pass over it.
        at: u64,
    },
    /// Which of these channels are online? Answered by `StatsAnswer`.
    Stats {
        /// Comes back in the answer.
        req: u32,
        /// The channels.
        channels: Vec<ChannelKey>,
    },
    /// Instead of `Hello`: an operator's question, one object of JSON. Answered by `ControlAnswer`,
    /// behind which the connection ends.
    Control {
        /// The question.
        request: String,
    },
    /// Are you there? Answered by `Pong`.
    Ping,
    /// A private channel has more than one local connection, or had: how many now. A channel that
    /// is subscribed and not spoken of has one.
    Connections {
        /// The channel.
        channel: ChannelKey,
        /// Its local connections.
        count: u32,
        /// If a subscriber with a pair has just come: the connections the channel may have on this
        /// host; else 0. One too many is answered by `Evict` (PROTOCOL.md, section 9.4).
        limit: u32,
    },
    /// Answer to `Oldest`.
    OldestAnswer {
        /// The `Oldest`'s.
        req: u32,
        /// When the oldest local connection was opened, Unix microseconds; `u64::MAX` if there is
        /// none any more.
        opened: u64,
    },
    /// Answer to `ReportWanted`: what this worker holds.
    Report {
        /// The `ReportWanted`'s.
        req: u32,
        /// WebSockets that are open.
        websockets: u32,
        /// Long polls that wait.
        polls: u32,
        /// Different private ids with a connection.
        channels: u32,
        /// `maxPayload`, `maxConnPerChannel`, `maxMessagesPerRequest`, `maxChannelsPerRequest`.
        limits: [u64; 4],
    },
    /// The statistics of all processes of the store. Answered by `ServerStatsAnswer`.
    ServerStats {
        /// Comes back in the answer.
        req: u32,
    },
    /// Which is the newest message alive of these channels? Answered by `NewestAnswer`.
    Newest {
        /// Comes back in the answer.
        req: u32,
        /// The channels.
        channels: Vec<ChannelKey>,
    },
    /// Answer to `TraceWanted`.
    Trace {
        /// The `TraceWanted`'s.
        req: u32,
        /// WebSockets in text mode, WebSockets in binary mode and long polls that have any of the
        /// channels now.
        subscribers: [u32; 3],
        /// Bytes that wait for them.
        waiting: u64,
        /// What came for the channels since they are traced, oldest first.
        deliveries: Vec<Traced>,
    },
    /// Answer to `MetricsWanted`: what this worker has counted.
    Metrics {
        /// The `MetricsWanted`'s; 0: nobody asked, the worker is leaving.
        req: u32,
        /// A `push_metrics::Report`.
        now: Vec<u64>,
        /// The same as this worker last told it on an earlier link.
        before: Vec<u64>,
        /// The clients that most waits for, if that was asked.
        slow: Vec<Slow>,
    },
    /// How does all of it do? Answered by `Observation`.
    Observe {
        /// Comes back in the answer.
        req: u32,
        /// For a page, in JSON; else for Prometheus.
        page: bool,
    },
}

const HELLO: u8 = 1;
const SUBSCRIBE: u8 = 2;
const UNSUBSCRIBE: u8 = 3;
const RESUME: u8 = 4;
const RECOVER: u8 = 5;
const PUBLISH: u8 = 6;
const STATS: u8 = 7;
const PING: u8 = 8;
const NEWEST: u8 = 9;
const CONNECTIONS: u8 = 10;
const OLDEST_ANSWER: u8 = 11;
const REPORT: u8 = 12;
const SERVER_STATS: u8 = 13;
const CONTROL: u8 = 14;
const TRACE: u8 = 15;
const METRICS: u8 = 16;
const OBSERVE: u8 = 17;

impl ToSidecar {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { versions, instance, pid, resume, software } => frame(out, HELLO, |o| {
                o.put_u16_le(versions.lowest);
                o.put_u64_le(*instance);
                o.put_u32_le(*pid);
                o.put_u8(u8::from(*resume));
                o.text(software);
                o.put_u16_le(versions.highest);
            }),
            Self::Subscribe { seq, channels } => frame(out, SUBSCRIBE, |o| {
                o.put_u32_le(*seq);
                o.keys(channels);
            }),
            Self::Unsubscribe { channels } => frame(out, UNSUBSCRIBE, |o| o.keys(channels)),
            Self::Resume { after } => frame(out, RESUME, |o| o.mid(*after)),
            Self::Recover { req, after, channels } => frame(out, RECOVER, |o| {
                o.put_u32_le(*req);
                o.mid(*after);
                o.keys(channels);
            }),
            Self::Publish { seq, counted, messages, at } => frame(out, PUBLISH, |o| {
                o.put_u64_le(*seq);
                o.put_u8(u8::from(*counted));
                o.put_u32_le(messages.len() as u32);
                for message in messages {
                    o.put_u32_le(message.expiry);
                    o.text(&message.label);
                    o.put_u32_le(message.receivers.len() as u32);
                    for (key, signature) in &message.receivers {
                        o.key(key);
                        o.put_u16_le(signature.len() as u16);
                        o.put_slice(signature);
                    }
                    o.put_u32_le(message.rest.len() as u32);
                    o.put_slice(&message.rest);
                }
                o.put_u64_le(*at);
            }),
            Self::Stats { req, channels } => frame(out, STATS, |o| {
                o.put_u32_le(*req);
                o.keys(channels);
            }),
            Self::Ping => frame(out, PING, |_| ()),
            Self::Control { request } => frame(out, CONTROL, |o| o.text(request)),
            Self::Connections { channel, count, limit } => frame(out, CONNECTIONS, |o| {
                o.key(channel);
                o.put_u32_le(*count);
                o.put_u32_le(*limit);
            }),
            Self::OldestAnswer { req, opened } => frame(out, OLDEST_ANSWER, |o| {
                o.put_u32_le(*req);
                o.put_u64_le(*opened);
            }),
            Self::Report { req, websockets, polls, channels, limits } => frame(out, REPORT, |o| {
                o.put_u32_le(*req);
                o.put_u32_le(*websockets);
                o.put_u32_le(*polls);
                o.put_u32_le(*channels);
                for limit in limits {
                    o.put_u64_le(*limit);
                }
            }),
            Self::ServerStats { req } => frame(out, SERVER_STATS, |o| o.put_u32_le(*req)),
            Self::Newest { req, channels } => frame(out, NEWEST, |o| {
                o.put_u32_le(*req);
                o.keys(channels);
            }),
            Self::Trace { req, subscribers, waiting, deliveries } => frame(out, TRACE, |o| {
                o.put_u32_le(*req);
                for count in subscribers {
                    o.put_u32_le(*count);
                }
                o.put_u64_le(*waiting);
                o.put_u32_le(deliveries.len() as u32);
                for delivery in deliveries {
                    delivery.write(o);
                }
            }),
            Self::Metrics { req, now, before, slow } => frame(out, METRICS, |o| {
                o.put_u32_le(*req);
                o.words(now);
                o.words(before);
                o.put_u32_le(slow.len() as u32);
                for Slow { channel, bytes, opened } in slow {
                    o.key(channel);
                    o.put_u64_le(*bytes);
                    o.put_u64_le(*opened);
                }
            }),
            Self::Observe { req, page } => frame(out, OBSERVE, |o| {
                o.put_u32_le(*req);
                o.put_u8(u8::from(*page));
            }),
        }
    }

    /// Reads a frame as [`crate::Splitter`] gives it. Bytes behind the known fields are left
    /// alone: a later minor version may add some.
    pub fn decode(mut frame: Bytes) -> Result<Self, LinkError> {
        let kind = frame.u8().ok_or(LinkError::Length(0))?;
        if !(HELLO..=OBSERVE).contains(&kind) {
            return Err(LinkError::Kind(kind));
        }
        Self::fields(kind, &mut frame).ok_or(LinkError::Field(kind))
    }

    fn fields(kind: u8, f: &mut Bytes) -> Option<Self> {
        Some(match kind {
            HELLO => {
                let lowest = f.u16()?;
                let (instance, pid, resume) = (f.u64()?, f.u32()?, f.u8()? != 0);
                let software = f.text()?;
                // The first releases spoke one version and did not say this.
                let highest = if f.is_empty() { lowest } else { f.u16()? };
                let versions = Versions { lowest, highest };
                Self::Hello { versions, instance, pid, resume, software }
            }
            SUBSCRIBE => Self::Subscribe { seq: f.u32()?, channels: f.keys()? },
            UNSUBSCRIBE => Self::Unsubscribe { channels: f.keys()? },
            RESUME => Self::Resume { after: f.mid()? },
            RECOVER => Self::Recover { req: f.u32()?, after: f.mid()?, channels: f.keys()? },
            PUBLISH => {
                let seq = f.u64()?;
                let counted = f.u8()? != 0;
                let count = f.u32()?;
                let messages = (0..count).map(|_| publish_item(f)).collect::<Option<_>>()?;
                let at = if f.is_empty() { 0 } else { f.u64()? };
                Self::Publish { seq, counted, messages, at }
            }
            STATS => Self::Stats { req: f.u32()?, channels: f.keys()? },
            CONNECTIONS => {
                Self::Connections { channel: f.key()?, count: f.u32()?, limit: f.u32()? }
            }
            OLDEST_ANSWER => Self::OldestAnswer { req: f.u32()?, opened: f.u64()? },
            REPORT => Self::Report {
                req: f.u32()?,
                websockets: f.u32()?,
                polls: f.u32()?,
                channels: f.u32()?,
                limits: [f.u64()?, f.u64()?, f.u64()?, f.u64()?],
            },
            SERVER_STATS => Self::ServerStats { req: f.u32()? },
            CONTROL => Self::Control { request: f.text()? },
            NEWEST => Self::Newest { req: f.u32()?, channels: f.keys()? },
            TRACE => {
                let (req, subscribers) = (f.u32()?, [f.u32()?, f.u32()?, f.u32()?]);
                let (waiting, count) = (f.u64()?, f.u32()?);
                let deliveries = (0..count).map(|_| Traced::read(f)).collect::<Option<_>>()?;
                Self::Trace { req, subscribers, waiting, deliveries }
            }
            METRICS => {
                let (req, now, before) = (f.u32()?, f.words()?, f.words()?);
                let count = f.u32()?;
                let slow = (0..count)
                    .map(|_| Some(Slow { channel: f.key()?, bytes: f.u64()?, opened: f.u64()? }));
                Self::Metrics { req, now, before, slow: slow.collect::<Option<_>>()? }
            }
            OBSERVE => Self::Observe { req: f.u32()?, page: f.u8()? != 0 },
            _ => Self::Ping,
        })
    }
}

fn publish_item(f: &mut Bytes) -> Option<PublishItem> {
    let expiry = f.u32()?;
    let label = f.text()?;
    let count = f.u32()?;
    let receivers = (0..count)
        .map(|_| {
            let key = f.key()?;
            let len = f.u16()? as usize;
            Some((key, f.raw(len)?))
        })
        .collect::<Option<_>>()?;
    let len = f.u32()? as usize;
    Some(PublishItem { expiry, label, receivers, rest: f.raw(len)? })
}
