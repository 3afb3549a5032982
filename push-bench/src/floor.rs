//! The floor: a server that accepts WebSockets and writes the frames a push server would write,
//! with one write(2) each, in a loop. It checks nothing, stores nothing, recovers nothing; what it
//! costs is what the kernel costs.
//!
//! Over TLS it writes with OpenSSL, as nginx does, so that what is compared is the server and not the
//! library that encrypts.
//!
//! Subscribers and publishers use the same port. A publish reaches the subscribers that named its
//! channel.

mod stream;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use openssl::ssl::SslAcceptor;
use push_protocol::envelope::write_envelope;
use push_protocol::frame::{Decoder, Event as Said, Opcode, encode};
use push_protocol::handshake::accept_key;
use push_protocol::outgoing::{OutgoingView, Sender, batch_of, encode_rest, with_id};
use push_protocol::query::Query;
use push_protocol::{ChannelId, Mid, hex};

use self::stream::Stream;
use crate::engine::allow_files;
use crate::error::{Error, Result};
use crate::net::http::header;
use crate::options::Floor as Options;

const LISTENER: Token = Token(usize::MAX - 1);
/// A request may have this many bytes: a body of 1 MiB and its head.
const MAX_REQUEST: usize = 1_100_000;
/// File descriptors to begin with; a floor for 50,000 subscribers.
const FILES: usize = 60_000;

/// Listens there until the process is ended. Prints the address once it does.
pub fn serve(options: &Options) -> Result<()> {
    let address = options.listen;
    if !address.ip().is_loopback() {
        return Err(Error::Usage(format!("{address}: not a loopback address")));
    }
    // With fewer it serves as many as it can.
    let _ = allow_files(FILES);
    let tls = match (&options.tls_certificate, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(stream::acceptor(certificate, key)?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut floor = Floor::listen(address, tls).map_err(Error::io(address.to_string()))?;
    let address = floor.listener.local_addr().map_err(Error::io("listening"))?;
    println!("floor listens on {scheme}://{address}");
    floor.run().map_err(Error::io("floor"))
}

/// A connection, by its place in the table and the place's generation.
type Place = (usize, u32);

struct Connection {
    stream: Stream,
    role: Role,
    /// What the socket had no room for.
    pending: Vec<u8>,
}

enum Role {
    /// Has not said what it is, or publishes: bytes of an incomplete request.
    Http(Vec<u8>),
    WebSocket {
        decoder: Decoder,
        binary: bool,
    },
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    tls: Option<SslAcceptor>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    subscribers: HashMap<ChannelId, Vec<Place>>,
    counter: u64,
    start: u64,
}

/// What a connection wants after it was read from.
enum Wish {
    Nothing,
    Close,
    Subscribe { channels: Vec<ChannelId> },
    Publish { channel: ChannelId, body: Vec<u8> },
}

impl Floor {
    fn listen(address: SocketAddr, tls: Option<SslAcceptor>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            tls,
            slots: Vec::new(),
            free: Vec::new(),
            subscribers: HashMap::new(),
            counter: 0,
            start: unix_time().as_secs(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(place) => self.ready(place, event, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place), interest)?;
            let stream = Stream::new(stream, self.tls.as_ref())?;
            self.slots[place].connection =
                Some(Connection { stream, role: Role::Http(Vec::new()), pending: Vec::new() });
        }
    }

    fn ready(&mut self, place: usize, event: &Event, buffer: &mut [u8]) {
        loop {
            let Some(connection) = &mut self.slots[place].connection else {
                return;
            };
            if event.is_writable() && connection.flush().is_err() {
                return self.close(place);
            }
            if !event.is_readable() {
                return;
            }
            let len = match connection.stream.read(buffer) {
                Ok(0) => return self.close(place),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.close(place),
            };
            match connection.take(&buffer[..len]) {
                Wish::Nothing => {}
                Wish::Close => return self.close(place),
                Wish::Subscribe { channels } => {
                    let me = (place, self.slots[place].generation);
                    for channel in channels {
                        self.subscribers.entry(channel).or_default().push(me);
                    }
                }
                Wish::Publish { channel, body } => {
                    self.publish(channel, &body);
                    if let Some(connection) = &mut self.slots[place].connection {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        let _ = connection.write(answer);
                    }
                }
            }
            // OpenSSL hands out one record at a time, so more may be there.
            if self.tls.is_none() && len < buffer.len() && !event.is_read_closed() {
                return;
            }
        }
    }

    fn close(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        if slot.connection.take().is_some() {
            slot.generation += 1;
            self.free.push(place);
        }
    }

    /// The loop that everything is compared with.
    fn publish(&mut self, channel: ChannelId, body: &[u8]) {
        let Some(places) = self.subscribers.get_mut(&channel) else {
            return;
        };
        self.counter += 1;
        let frames = Frames::new(Mid::new(self.start, self.counter), body);
        let slots = &mut self.slots;
        places.retain(|(place, generation)| {
            let slot = &mut slots[*place];
            if slot.generation != *generation {
                return false;
            }
            if let Some(connection) = &mut slot.connection {
                let binary = matches!(connection.role, Role::WebSocket { binary: true, .. });
                // One that fails is closed when the poll tells so.
                let _ = connection.write(if binary { &frames.binary } else { &frames.text });
            }
            true
        });
    }
}

/// A message as a push server frames it.
struct Frames {
    binary: Vec<u8>,
    text: Vec<u8>,
}

impl Frames {
    fn new(id: Mid, body: &[u8]) -> Self {
        let now = unix_time();
        let body = String::from_utf8_lossy(body);
        let rest = encode_rest(&body, 0, now.as_secs() as u32, Sender::Backend);
        let message = with_id(id, &rest);
        let (mut binary, mut text) = (Vec::new(), Vec::new());
        batch_of(&[&message], &mut binary);
        if let Some(view) = OutgoingView::parse(&message) {
            write_envelope(&mut text, &view, now.as_millis() as u64);
        }
        Self { binary: encode(Opcode::Binary, &binary), text: encode(Opcode::Text, &text) }
    }
}

impl Connection {
    fn take(&mut self, bytes: &[u8]) -> Wish {
        match &mut self.role {
            Role::WebSocket { decoder, .. } => {
                let mut open = true;
                let fed = decoder.feed(bytes, 65_536, &mut |said| {
                    open = !matches!(said, Said::Close { .. });
                    open
                });
                if open && fed.is_ok() {
                    return Wish::Nothing;
                }
                let _ = self.write(&push_protocol::frame::close(1000, ""));
                Wish::Close
            }
            Role::Http(carry) => {
                carry.extend_from_slice(bytes);
                let Some((head, body)) = request(carry) else {
                    return if carry.len() > MAX_REQUEST { Wish::Close } else { Wish::Nothing };
                };
                let (channels, binary) = channels(head);
                if head.starts_with(b"POST ") {
                    let body = body.to_vec();
                    carry.clear();
                    return match channels.first() {
                        Some(channel) => Wish::Publish { channel: *channel, body },
                        None => Wish::Close,
                    };
                }
                let accept = header(head, b"sec-websocket-key").and_then(accept_key);
                let Some(accept) = accept else {
                    return Wish::Close;
                };
                let decoder = Decoder::new();
                self.role = Role::WebSocket { decoder, binary };
                let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: upgrade\r\nSec-WebSocket-Accept: "
                    .to_vec();
                answer.extend_from_slice(&accept);
                answer.extend_from_slice(b"\r\n\r\n");
                match self.write(&answer) {
                    Ok(()) => Wish::Subscribe { channels },
                    Err(_) => Wish::Close,
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.pending.is_empty() && !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !rest.is_empty() {
            self.pending.extend_from_slice(rest);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }
}

/// A complete request: its head's lines and its body.
fn request(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memmem::find(data, b"\r\n\r\n")?;
    let head = &data[..end + 2];
    let len = header(head, b"content-length")
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .unwrap_or(0);
    Some((head, data.get(end + 4..)?.get(..len)?))
}

/// The private ids in a request's `CHANNEL_ID`, and whether it wants binary frames. Signatures are
/// not looked at.
fn channels(head: &[u8]) -> (Vec<ChannelId>, bool) {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let arguments = target.splitn(2, |byte| *byte == b'?').nth(1);
    let query = Query::parse(arguments.unwrap_or_default());
    let list = query.channel_id.unwrap_or_default();
    let ids = list.split(|byte| *byte == b'/');
    let ids = ids.filter_map(|one| hex::decode_id(one.get(..32)?));
    (ids.collect(), query.binary)
}

fn unix_time() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_it_is_whole() {
        let text = b"POST /bitrix/pub/?CHANNEL_ID=00112233445566778899aabbccddeeff HTTP/1.1\r\n\
                     content-length: 4\r\n\r\nbody";
        for len in 0..text.len() {
            assert_eq!(request(&text[..len]), None);
        }
        let (head, body) = request(text).unwrap();
        assert_eq!(body, b"body");
        let id = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(channels(head), (vec![id], false));
    }

    #[test]
    fn pairs_and_signed_ids_are_found() {
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        let head = format!(
            "GET /s?CHANNEL_ID={a}:{b}.{b}{b}/{b}.{a}&binaryMode=true HTTP/1.1\r\nX: y\r\n"
        );
        let expected = vec![[0xaa; 16], [0xbb; 16]];
        assert_eq!(channels(head.as_bytes()), (expected, true));
        assert_eq!(channels(b"GET / HTTP/1.1\r\n"), (vec![], false));
    }
}
