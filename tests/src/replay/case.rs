//! The recorded cases as data: `tests/vectors/README.md` tells what they mean.
//!
//! Unknown fields are errors everywhere, so that nothing in the files can be overlooked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// A recorded case: steps to be done in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique within its file.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// The server that steps address which name none.
    pub server: String,
    /// Its channels with their signatures; the steps have them spelt out.
    pub channels: BTreeMap<String, Value>,
    /// What is done and expected.
    pub steps: Vec<Step>,
    /// It takes 23 to 245 seconds.
    #[serde(default)]
    pub slow: bool,
    /// The reference does this, a better implementation should not.
    #[serde(default)]
    pub defect: bool,
}

/// One step.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Sends a request and waits for the answer.
    Http {
        /// Instead of the case's.
        server: Option<String>,
        /// What is sent.
        request: Request,
        /// Milliseconds to wait; 5000 unless given.
        timeout_ms: Option<u64>,
        /// Any answer will do without it.
        expect: Option<Answer>,
    },
    /// Sends a request in the background.
    HttpStart {
        /// Instead of the case's.
        server: Option<String>,
        /// By which it is waited for.
        name: String,
        /// What is sent.
        request: Request,
        /// Milliseconds after which it is given up.
        timeout_ms: u64,
        /// Milliseconds until it is registered; 80 unless given.
        settle_ms: Option<u64>,
    },
    /// Waits for a request in the background.
    HttpWait {
        /// Which.
        name: String,
        /// As given when it was started.
        #[serde(rename = "timeout_ms")]
        _timeout_ms: Option<u64>,
        /// Whether the time it took is expected.
        #[serde(default, rename = "after_s")]
        _after_s: bool,
        /// The answer, or none.
        expect: Waited,
    },
    /// Opens a WebSocket.
    WsOpen {
        /// Instead of the case's.
        server: Option<String>,
        /// By which it is called.
        #[serde(default)]
        conn: String,
        /// Path and query.
        target: String,
        /// Subprotocols offered.
        #[serde(default)]
        protocols: Vec<String>,
        /// Headers of the handshake.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Whether `permessage-deflate` is offered.
        #[serde(default)]
        offer_deflate: bool,
        /// Whether the server's pings are answered.
        #[serde(default = "yes")]
        auto_pong: bool,
        /// It must be upgraded without it.
        expect: Option<Handshake>,
    },
    /// Sends a message.
    WsSend {
        /// On which connection.
        #[serde(default)]
        conn: String,
        /// In which kind of frame.
        opcode: Opcode,
        /// The payload …
        data_base64: Option<String>,
        /// … or as text …
        data_utf8: Option<String>,
        /// … or as a byte many times over.
        data_repeat: Option<Repeat>,
        /// Into how many frames it is cut.
        fragments: Option<usize>,
    },
    /// Writes bytes to the socket as they are.
    WsSendRaw {
        /// On which connection.
        conn: String,
        /// The bytes.
        data_base64: String,
    },
    /// The next message.
    WsRecv {
        /// On which connection.
        conn: String,
        /// Milliseconds it may take.
        within_ms: u64,
        /// What it must be.
        expect: Frame,
    },
    /// The next messages, in whichever frames; not in the files but put in place of receipts whose
    /// frames are another matter here.
    WsRecvJoined {
        /// On which connection.
        conn: String,
        /// Milliseconds each frame may take.
        within_ms: u64,
        /// What the frames must be, put together.
        expect: Frame,
    },
    /// No message.
    WsSilence {
        /// On which connection.
        conn: String,
        /// Milliseconds of silence.
        for_ms: u64,
        /// Always `{"nothing": true}`.
        #[serde(rename = "expect")]
        _expect: IgnoredAny,
    },
    /// Waits for the end of the connection.
    WsClosed {
        /// Which.
        conn: String,
        /// Milliseconds it may take.
        within_ms: u64,
        /// As the client sees it.
        expect: Closed,
    },
    /// The client starts to close.
    WsClose {
        /// Which connection.
        conn: String,
        /// With this code, or bare.
        code: Option<u16>,
        /// What stands beside the code.
        #[serde(default)]
        reason: String,
    },
    /// The client pings.
    WsPing {
        /// On which connection.
        conn: String,
        /// The payload.
        data_utf8: String,
        /// The pong.
        expect: Pong,
    },
    /// The server pings.
    WsExpectPing {
        /// On which connection.
        conn: String,
        /// Milliseconds it may take.
        within_ms: u64,
        /// Which ping since the opening, from 1.
        nth: usize,
        /// What and when.
        expect: Ping,
    },
    /// Nothing happens.
    Sleep {
        /// Milliseconds.
        ms: u64,
    },
}

impl Step {
    /// The connection on which it happens, of those that happen on an open one.
    pub fn conn(&self) -> Option<&str> {
        match self {
            Self::WsSend { conn, .. }
            | Self::WsSendRaw { conn, .. }
            | Self::WsRecv { conn, .. }
            | Self::WsRecvJoined { conn, .. }
            | Self::WsSilence { conn, .. }
            | Self::WsClosed { conn, .. }
            | Self::WsClose { conn, .. }
            | Self::WsPing { conn, .. }
            | Self::WsExpectPing { conn, .. } => Some(conn),
            Self::Http { .. }
            | Self::HttpStart { .. }
            | Self::HttpWait { .. }
            | Self::WsOpen { .. }
            | Self::Sleep { .. } => None,
        }
    }
}

fn yes() -> bool {
    true
}

/// A request. `Host`, `Content-Length` and, unless given, `Connection: close` are added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// E.g. `GET`.
    pub method: String,
    /// As it stands on the request line.
    pub target: String,
    /// Those of this case.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `1.0`, or absent for 1.1.
    pub http_version: Option<String>,
    body_utf8: Option<String>,
    body_base64: Option<String>,
    body_repeat: Option<Repeat>,
}

impl Request {
    /// The body, if it has one; it may be empty.
    pub fn body(&self) -> Option<Vec<u8>> {
        bytes(self.body_base64.as_deref(), self.body_utf8.as_deref(), self.body_repeat.as_ref())
    }
}

/// A byte many times over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    byte: u8,
    count: usize,
}

/// Bytes in whichever form they are given.
pub fn bytes(base64: Option<&str>, utf8: Option<&str>, repeat: Option<&Repeat>) -> Option<Vec<u8>> {
    match (base64, utf8, repeat) {
        (Some(base64), None, None) => Some(unbase64(base64)),
        (None, Some(utf8), None) => Some(utf8.as_bytes().to_vec()),
        (None, None, Some(repeat)) => Some(vec![repeat.byte; repeat.count]),
        (None, None, None) => None,
        _ => panic!("bytes are given in two forms"),
    }
}

/// What `text` is the base64 of.
pub fn unbase64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).expect("base64")
}

/// What a request in the background comes to.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Waited {
    /// No answer.
    Nothing(Nothing),
    /// An answer.
    Answer(Answer),
}

/// No answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {
    /// Milliseconds since sending.
    pub no_answer_within_ms: u64,
}

/// An answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// E.g. 200.
    pub status: u16,
    /// Of the compared headers exactly these.
    pub headers: BTreeMap<String, String>,
    /// What it carries.
    pub body: Body,
    /// Seconds since sending, rounded.
    pub after_seconds: Option<u32>,
}

/// What an answer or a message carries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    utf8: Option<String>,
    base64: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    decoded: Option<Value>,
    #[serde(rename = "recorded_base64")]
    _recorded_base64: Option<IgnoredAny>,
}

/// What must be in a body or a message.
#[derive(Debug)]
pub enum Content<'a> {
    /// Text with placeholders.
    Text(&'a str),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A message of push.proto, with placeholders.
    Message {
        /// Its name.
        kind: &'a str,
        /// Its fields.
        decoded: &'a Value,
    },
}

fn content<'a>(
    utf8: Option<&'a String>,
    base64: Option<&'a String>,
    kind: Option<&'a String>,
    decoded: Option<&'a Value>,
) -> Content<'a> {
    match (utf8, base64, kind, decoded) {
        (Some(utf8), None, None, None) => Content::Text(utf8),
        (None, Some(base64), None, None) => Content::Bytes(unbase64(base64)),
        (None, None, Some(kind), Some(decoded)) => Content::Message { kind, decoded },
        other => panic!("no content, or several: {other:?}"),
    }
}

impl Body {
    /// What must be in it.
    pub fn content(&self) -> Content<'_> {
        content(self.utf8.as_ref(), self.base64.as_ref(), self.kind.as_ref(), self.decoded.as_ref())
    }
}

/// The kinds of data frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opcode {
    /// UTF-8.
    Text = 1,
    /// Bytes.
    Binary = 2,
}

/// A message over a WebSocket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// In which kind of frame.
    pub opcode: Opcode,
    utf8: Option<String>,
    base64: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    decoded: Option<Value>,
    #[serde(rename = "recorded_base64")]
    _recorded_base64: Option<IgnoredAny>,
    #[serde(rename = "recorded_ms")]
    _recorded_ms: Option<IgnoredAny>,
}

impl Frame {
    /// What must be in it.
    pub fn content(&self) -> Content<'_> {
        content(self.utf8.as_ref(), self.base64.as_ref(), self.kind.as_ref(), self.decoded.as_ref())
    }
}

/// The answer to a handshake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// 101 or not.
    pub upgraded: bool,
    /// If not.
    pub status: Option<u16>,
    /// Of the compared headers exactly these.
    pub headers: BTreeMap<String, String>,
    /// If not.
    pub body: Option<Body>,
}

/// How a connection ended, as the client sees it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// 1005: a close frame without code; 1006: no close frame.
    pub code: u16,
    /// What stood beside the code.
    pub reason: String,
}

/// The answer to a ping.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pong {
    /// Its payload.
    pub pong: String,
}

/// A ping of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Its payload.
    pub ping_utf8: String,
    /// Seconds, rounded.
    pub seconds_after_open: u32,
}
