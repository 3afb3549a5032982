//! One subscriber, behaving as the portal's client does: it keeps the newest `mid` it has seen and,
//! when its connection is gone, comes back with it after a while.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use push_tests::http1::{Http1, Request};
use push_tests::message::{Message, from_binary, from_text};
use push_tests::net::Endpoint;
use push_tests::websocket::{first_frame, handshake};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::fleet::{Order, Shared};
use crate::ledger::Subscriber;
use crate::random::Random;

/// How long a handshake may take; a client of ours gives up then and tries again.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Longest wait before the next attempt, milliseconds.
const BACKOFF: u64 = 1_000;
/// Room for so many bytes at least is made before each reading.
const READ: usize = 16 << 10;

/// See the module.
pub struct Client {
    /// Its number.
    pub number: Subscriber,
    /// Where it connects.
    pub address: SocketAddr,
    /// What it asks for, without a `mid`.
    pub target: String,
    /// Messages come as protobuf.
    pub binary: bool,
    /// The newest id it has seen, 26 digits.
    pub mid: String,
    /// What it is told.
    pub orders: watch::Receiver<Order>,
    /// Where it writes down what happens.
    pub shared: Arc<Shared>,
    /// Its own.
    pub random: Random,
    /// By long polls instead of a WebSocket.
    pub polls: bool,
}

/// Counts as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection is no more.
enum End {
    /// It was never established, or a poll was refused.
    TurnedAway(String),
    /// It ended by itself.
    Dropped(String),
}

impl Client {
    /// Connects again and again, until told to end.
    pub async fn live(mut self) {
        let mut failures = 0;
        if self.polls {
            self.shared.ledger().polls(self.number);
        }
        loop {
            let order = *self.orders.borrow_and_update();
            match order {
                Order::End => return,
                Order::Leave => {
                    self.shared.ledger().away(self.number);
                    if self.orders.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Order::Stay { spread } => {
                    let backoff = if failures == 0 { 0 } else { (50 << failures).min(BACKOFF) };
                    let wait = self.random.below(spread.max(backoff) + 1);
                    if wait > 0 {
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                    }
                }
            }
            let mut orders = self.orders.clone();
            let mut connected = false;
            let end = tokio::select! {
                end = self.connection(&mut connected) => end,
                _ = orders.wait_for(|order| !matches!(order, Order::Stay { .. })) => continue,
            };
            failures = if connected { 0 } else { failures + 1 };
            match end {
                End::TurnedAway(why) => self.shared.turned_away(self.number, &why),
                End::Dropped(why) => self.shared.dropped(self.number, &why),
            }
            self.shared.ledger().away(self.number);
        }
    }

    async fn connection(&mut self, connected: &mut bool) -> End {
        let shared = Arc::clone(&self.shared);
        if self.polls {
            return self.poll(&shared, connected).await;
        }
        let opened = tokio::time::timeout(HANDSHAKE, self.open()).await;
        let (mut socket, rest) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return End::TurnedAway(error.to_string()),
            Err(_) => return End::TurnedAway("no answer to a handshake".into()),
        };
        *connected = true;
        let _counted = Counted::new(&shared.websockets);
        match self.read(&mut socket, rest).await {
            Ok(why) => End::Dropped(why),
            Err(error) => End::Dropped(error.to_string()),
        }
    }

    fn request(&self) -> String {
        format!("{}&mid={}", self.target, self.mid)
    }

    /// An open WebSocket, and what came behind the handshake's answer.
    async fn open(&self) -> io::Result<(TcpStream, Vec<u8>)> {
        let mut socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        socket.write_all(&handshake(&self.request()).to_bytes()).await?;
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                if !bytes.starts_with(b"HTTP/1.1 101 ") {
                    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    return Err(io::Error::other(String::from_utf8_lossy(line)));
                }
                let rest = bytes.split_off(end + 4);
                return Ok((socket, rest));
            }
            read_some(&mut socket, &mut bytes).await?;
        }
    }

    /// Reads until the connection ends, and says how.
    async fn read(&mut self, socket: &mut TcpStream, mut bytes: Vec<u8>) -> io::Result<String> {
        loop {
            let (mut at, mut messages) = (0, Vec::new());
            let mut control = None;
            while let Some((opcode, payload)) = first_frame(&bytes[at..]) {
                let (start, end) = (at + payload.start, at + payload.end);
                at = end;
                let payload = &bytes[start..end];
                match opcode {
                    1 | 2 => messages.extend(self.decode(opcode == 2, payload)),
                    _ => control = Some((opcode, payload.to_vec())),
                }
            }
            bytes.drain(..at);
            self.take(&messages);
            match control {
                Some((8, payload)) => {
                    let code = payload
                        .get(..2)
                        .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    // The closing handshake; the server may not wait for it.
                    let _ = socket.write_all(&masked(8, &payload)).await;
                    return Ok(format!("closed with {code}"));
                }
                Some((9, payload)) => socket.write_all(&masked(10, &payload)).await?,
                _ => {}
            }
            read_some(socket, &mut bytes).await?;
        }
    }

    fn decode(&self, binary: bool, payload: &[u8]) -> Vec<Message> {
        assert_eq!(binary, self.binary, "the form of a frame");
        if binary {
            from_binary(payload)
        } else {
            from_text(std::str::from_utf8(payload).expect("a text frame is UTF-8"))
        }
    }

    fn take(&mut self, messages: &[Message]) {
        let Some(last) = messages.last() else { return };
        self.shared.received(self.number, messages);
        self.mid.clone_from(&last.mid);
    }

    /// Polls on one connection for as long as the server keeps it, and says how it ended.
    async fn poll(&mut self, shared: &Shared, connected: &mut bool) -> End {
        let endpoint = Endpoint::clear(self.address);
        let mut http = match Http1::connect(&endpoint).await {
            Ok(http) => http,
            Err(error) => return End::TurnedAway(error.to_string()),
        };
        loop {
            let request = Request::get(&self.request());
            let polling = async {
                http.send(&request.to_bytes()).await?;
                let _counted = Counted::new(&shared.polls);
                http.response().await
            };
            let answer = match polling.await {
                Ok(answer) => answer,
                Err(error) => return End::Dropped(error.to_string()),
            };
            match answer.status {
                200 => {
                    let messages = self.decode(self.binary, &answer.body);
                    self.take(&messages);
                }
                304 => {}
                status => return End::TurnedAway(format!("a poll was answered {status}")),
            }
            *connected = true;
            if let Some(mid) = answer.header("Last-Message-Id").filter(|mid| mid.len() == 26) {
                mid.clone_into(&mut self.mid);
            }
            if answer.header("Connection") == Some("close") {
                // In good order: the next one goes over another connection.
                match Http1::connect(&endpoint).await {
                    Ok(next) => http = next,
                    Err(error) => return End::TurnedAway(error.to_string()),
                }
            }
        }
    }
}

async fn read_some(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        socket.readable().await?;
        bytes.reserve(READ);
        match socket.try_read_buf(bytes) {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut"));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A short frame as a client sends it (RFC 6455, section 5.3), masked with zeroes.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}
