//! A subscriber by WebSocket.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use crate::http1::Request;
use crate::message::{self, Message};
use crate::net::{Endpoint, Stream};
use crate::proto::{RequestBatch, ResponseBatch};
use crate::wait::soon;

/// In which form messages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Envelopes.
    Text,
    /// Protobuf.
    Binary,
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The close code: 1005 if there was none, 1006 if there was no close frame.
    pub code: u16,
    /// What stood beside the code.
    pub reason: String,
}

/// An open WebSocket.
pub struct WebSocket {
    stream: WebSocketStream<Stream>,
    mode: Mode,
    arrived: VecDeque<Message>,
    /// The last message id seen, with which to come back.
    pub mid: Option<String>,
}

impl WebSocket {
    /// Subscribes by `target`, e.g. `/bitrix/subws/?CHANNEL_ID=…`.
    pub async fn open(endpoint: &Endpoint, target: &str, mode: Mode) -> io::Result<Self> {
        Self::open_on(endpoint.connect().await?, target, mode).await
    }

    /// [`WebSocket::open`] on a connection that is there already.
    pub async fn open_on(stream: Stream, target: &str, mode: Mode) -> io::Result<Self> {
        let binary = if mode == Mode::Binary { "&binaryMode=true" } else { "" };
        let request = format!("ws://localhost{target}{binary}")
            .into_client_request()
            .map_err(io::Error::other)?;
        // A thousand of these must not take 128 KiB each.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let handshake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (stream, _) = soon("a handshake", handshake).await.map_err(io::Error::other)?;
        Ok(Self { stream, mode, arrived: VecDeque::new(), mid: None })
    }

    /// The next message. Waits as long as it takes.
    pub async fn next(&mut self) -> Result<Message, Closed> {
        loop {
            if let Some(message) = self.arrived.pop_front() {
                self.mid = Some(message.mid.clone());
                return Ok(message);
            }
            match self.frame().await? {
                Frame::Text(text) if self.mode == Mode::Text => {
                    self.arrived.extend(message::from_text(text.as_str()));
                }
                Frame::Binary(bytes) if self.mode == Mode::Binary => {
                    self.arrived.extend(message::from_binary(&bytes));
                }
                frame => panic!("in {:?} mode came {frame:?}", self.mode),
            }
        }
    }

    /// The body of the next message, which must come soon.
    pub async fn body(&mut self) -> String {
        match soon("a message", self.next()).await {
            Ok(message) => message.body,
            Err(closed) => panic!("closed instead of a message: {closed:?}"),
        }
    }

    /// Waits for the server to close; no message may come before.
    pub async fn closed(&mut self) -> Closed {
        match soon("a close", self.next()).await {
            Ok(message) => panic!("a message instead of a close: {message:?}"),
            Err(closed) => closed,
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.stream.send(frame).await.map_err(io::Error::other)
    }

    /// Sends a ping and waits for its pong.
    pub async fn ping(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send(Frame::Ping(payload.to_vec().into())).await?;
        match soon("a pong", self.stream.next()).await {
            Some(Ok(Frame::Pong(answer))) if answer == payload => Ok(()),
            other => Err(io::Error::other(format!("{other:?} instead of the pong"))),
        }
    }

    /// Sends a request and waits for its answer, which must be the next frame.
    pub async fn ask(&mut self, batch: &RequestBatch) -> io::Result<ResponseBatch> {
        self.send(Frame::binary(batch.encode_to_vec())).await?;
        match soon("an answer", self.frame()).await {
            Ok(Frame::Binary(bytes)) => ResponseBatch::decode(bytes).map_err(io::Error::other),
            other => Err(io::Error::other(format!("{other:?} instead of an answer"))),
        }
    }

    async fn frame(&mut self) -> Result<Frame, Closed> {
        loop {
            let code_1006 = |reason: String| Closed { code: 1006, reason };
            match self.stream.next().await {
                Some(Ok(Frame::Close(None))) => {
                    return Err(Closed { code: 1005, reason: String::new() });
                }
                Some(Ok(Frame::Close(Some(close)))) => {
                    let (code, reason) = (close.code.into(), close.reason.to_string());
                    // Lets the server's side of the closing handshake end as well.
                    let _ = self.stream.flush().await;
                    return Err(Closed { code, reason });
                }
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                Some(Ok(frame)) => return Ok(frame),
                Some(Err(Error::ConnectionClosed)) | None => return Err(code_1006(String::new())),
                Some(Err(error)) => return Err(code_1006(error.to_string())),
            }
        }
    }
}

/// The request of a handshake, for those who do without a library. Its key is that of RFC 6455,
/// section 1.3.
pub fn handshake(target: &str) -> Request {
    Request::get(target)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The first frame of what was read, if it is complete: its opcode, and where its payload stands
/// (RFC 6455, section 5.2). The next one begins behind it.
///
/// # Panics
///
/// If it is a fragment, masked, or has a reserved bit: no server of ours sends such.
pub fn first_frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let [first, second, ..] = *bytes else { return None };
    assert!(first & 0xf0 == 0x80 && second < 128, "a frame that begins {first:#x} {second:#x}");
    let (head, len) = match second {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, len as usize),
    };
    (bytes.len() >= head + len).then_some((first & 0x0f, head..head + len))
}
