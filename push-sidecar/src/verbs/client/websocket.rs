//! A browser's WebSocket.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hyper::body::Bytes;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use url::Url;

use super::dial::{Dialler, Failure, Stream};
use super::http::Answer;
use super::messages::{self, Received};

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum Refused {
    /// No connection, or no answer.
    Failure(Failure),
    /// Another answer than 101.
    Answer(Box<Answer>),
}

/// An open one.
pub struct WebSocket(WebSocketStream<Box<dyn Stream>>);

/// What comes.
#[derive(Debug)]
pub enum Event {
    /// Messages, at least one.
    Messages(Vec<Received>),
    /// Something that is no message of a push server.
    Odd(String),
    /// A ping of the server; it is answered.
    Ping,
    /// The server closes.
    Closed {
        /// Its code; 1005: none, 1006: the connection ended without a word.
        code: u16,
        /// Its words.
        reason: String,
    },
}

impl WebSocket {
    /// Opens one at `target`, path and query, of that host.
    pub async fn open(
        dialler: &Dialler,
        url: &Url,
        target: &str,
        patience: Duration,
    ) -> Result<Self, Refused> {
        let stream = dialler.dial(url).await.map_err(Refused::Failure)?;
        let address = format!("ws://{}{target}", super::dial::authority(url));
        let request = address
            .into_client_request()
            .map_err(|error| Refused::Failure(Failure::Address(error.to_string())))?;
        let start = Instant::now();
        let opening = tokio_tungstenite::client_async(request, stream);
        match tokio::time::timeout(patience, opening).await {
            Err(_) => {
                Err(Refused::Failure(Failure::Silent { what: "answer to the handshake", patience }))
            }
            Ok(Ok((socket, _))) => Ok(Self(socket)),
            Ok(Err(Error::Http(answer))) => {
                let (head, body) = answer.into_parts();
                Err(Refused::Answer(Box::new(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: Bytes::from(body.unwrap_or_default()),
                    took: start.elapsed(),
                })))
            }
            Ok(Err(error)) => Err(Refused::Failure(Failure::Ended(format!(
                "the WebSocket's handshake failed: {error}"
            )))),
        }
    }

    /// The next event. Waits as long as it takes.
    pub async fn next(&mut self) -> Event {
        loop {
            let bytes = match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return told(messages::text(text.as_str()), || text.as_str().to_owned());
                }
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_))) => return Event::Ping,
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (CloseCode::into(frame.code), frame.reason.as_str().to_owned())
                    });
                    return Event::Closed { code, reason };
                }
                Some(Err(error)) => return Event::Closed { code: 1006, reason: error.to_string() },
                None => return Event::Closed { code: 1006, reason: String::new() },
            };
            return told(messages::binary(&bytes), || format!("{} bytes", bytes.len()));
        }
    }

    /// Says goodbye; whether it is heard does not matter.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.close(None)).await;
    }
}

fn told(messages: Option<Vec<Received>>, what: impl FnOnce() -> String) -> Event {
    match messages {
        Some(messages) => Event::Messages(messages),
        None => Event::Odd(what().chars().take(100).collect()),
    }
}
