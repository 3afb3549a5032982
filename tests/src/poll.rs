//! Long polls.

use std::io;

use tokio::task::JoinHandle;

use crate::http1::{Http1, Request, Response};
use crate::message::{Message, from_binary, from_text};
use crate::net::Endpoint;
use crate::websocket::Mode;

/// A poll in the background, on a connection of its own.
pub fn poll(endpoint: &Endpoint, target: String) -> JoinHandle<io::Result<Response>> {
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        let mut connection = Http1::connect(&endpoint).await?;
        connection.send(&Request::get(&target).to_bytes()).await?;
        connection.response().await
    })
}

/// The messages of its answer.
///
/// # Panics
///
/// Unless it is an answer with messages, in this mode.
pub fn from_poll(answer: &Response, mode: Mode) -> Vec<Message> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    match mode {
        Mode::Text => {
            assert_eq!(answer.header("Content-Type"), Some("text/plain"));
            from_text(answer.text())
        }
        Mode::Binary => {
            assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"));
            from_binary(&answer.body)
        }
    }
}
