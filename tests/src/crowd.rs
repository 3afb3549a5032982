//! Thousands of subscribers by WebSocket, read as cheaply as can be.
//!
//! A crowd shares the machine with the servers that it measures: what its clients spend is missing
//! there. So one thread reads all sockets, notes the time, and looks at nothing but the frames'
//! heads; messages are decoded afterwards.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::message::{Message, from_binary, from_text};
use crate::wait;
use crate::websocket::{self, first_frame};

/// Open WebSockets, numbered from 0 in the order of their opening.
pub struct Crowd {
    epoll: Epoll,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    socket: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
}

/// A frame as it arrived.
pub struct Arrival {
    /// Whose.
    pub subscriber: usize,
    /// When its last byte was read.
    pub at: Instant,
    text: bool,
    payload: Vec<u8>,
}

impl Arrival {
    /// The one message in it.
    ///
    /// # Panics
    ///
    /// If there are several, or none.
    pub fn message(&self) -> Message {
        let mut messages = if self.text {
            from_text(std::str::from_utf8(&self.payload).expect("UTF-8"))
        } else {
            from_binary(&self.payload)
        };
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, subscribers: Vec::new() })
    }

    /// Opens one more, on `target`.
    pub fn open(&mut self, address: SocketAddr, target: &str) -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(wait::SOON))?;
        socket.write_all(&websocket::handshake(target).to_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        // Byte by byte: what follows the head is a frame already.
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        socket.set_nonblocking(true)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.subscribers.len() as u64);
        self.epoll.add(&socket, event)?;
        self.subscribers.push(Subscriber { socket, partial: Vec::new() });
        Ok(())
    }

    /// Reads until `count` frames have arrived.
    ///
    /// # Panics
    ///
    /// If they do not within `limit`, or if a connection closes.
    pub fn collect(&mut self, count: usize, limit: Duration) -> io::Result<Vec<Arrival>> {
        let end = Instant::now() + limit;
        let mut arrivals = Vec::with_capacity(count);
        let mut events = [EpollEvent::empty(); 256];
        let mut buffer = vec![0; 64 << 10];
        while arrivals.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = EpollTimeout::try_from(left).map_err(io::Error::other)?;
            let ready = self.epoll.wait(&mut events, timeout)?;
            assert!(ready > 0, "{} of {count} frames within {limit:?}", arrivals.len());
            for event in &events[..ready] {
                let number = event.data() as usize;
                let subscriber = &mut self.subscribers[number];
                let len = subscriber.socket.read(&mut buffer)?;
                let at = Instant::now();
                assert!(len > 0, "connection {number} was cut");
                subscriber.partial.extend_from_slice(&buffer[..len]);
                while let Some((opcode, payload)) = first_frame(&subscriber.partial) {
                    assert!(matches!(opcode, 1 | 2), "a frame with opcode {opcode}");
                    let end = payload.end;
                    let payload = subscriber.partial[payload].to_vec();
                    subscriber.partial.drain(..end);
                    arrivals.push(Arrival { subscriber: number, at, text: opcode == 1, payload });
                }
            }
        }
        Ok(arrivals)
    }
}
