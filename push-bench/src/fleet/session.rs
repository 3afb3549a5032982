//! What one subscriber's connection has been told, and where it stands.

use push_protocol::frame::Opcode;

use super::Observer;
use crate::net::http;
use crate::net::websocket::{self, Control};
use crate::position::{self, Position};
use crate::wire::Wire;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    Upgrading,
    Open,
    Polling,
    /// Waits for the one answer of a connection that is held.
    Asking,
    Held,
    Closing,
}

impl Phase {
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Polling | Self::Held)
    }
}

/// A subscriber without its transport. It outlives connections: the last id stays.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) phase: Phase,
    pub(super) wire: Wire,
    /// What is not a whole frame or answer yet; empty almost always.
    pub(super) carry: Vec<u8>,
    /// The last message seen.
    pub(super) position: Position,
    pub(super) started: u64,
    /// A poll was answered and wants to be asked again.
    pub(super) ask_again: bool,
    /// Another answer that is due: a pong, a close.
    pub(super) reply: Option<Box<Control>>,
    /// Why it is to end.
    pub(super) end: Option<End>,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    Asked,
    Broken(String),
}

impl Session {
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) {
        if self.carry.is_empty() {
            let used = self.take(bytes, subscriber, now, observer);
            self.carry.extend_from_slice(&bytes[used..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(bytes);
            let used = self.take(&carry, subscriber, now, observer);
            if used < carry.len() {
                carry.drain(..used);
                self.carry = carry;
            }
        }
    }

    /// Takes what is complete and returns how many bytes that is.
    fn take(
        &mut self,
        data: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) -> usize {
        let mut used = 0;
        while self.end.is_none() && used < data.len() {
            let rest = &data[used..];
            let step = match self.phase {
                Phase::Connecting => Ok(None),
                Phase::Upgrading => self.upgrade(rest, subscriber, now, observer),
                Phase::Open | Phase::Closing => self.frame(rest, subscriber, now, observer),
                Phase::Polling => self.answer(rest, subscriber, now, observer),
                Phase::Asking => self.hold(rest, subscriber, now, observer),
                Phase::Held => Err("a connection that is held said something".into()),
            };
            match step {
                Ok(Some(len)) => used += len,
                Ok(None) => break,
                Err(why) => self.end = Some(End::Broken(why)),
            }
        }
        used
    }

    fn upgrade(
        &mut self,
        data: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) -> Result<Option<usize>, String> {
        let Some((status, lines, len)) = http::head(data).map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        if status != 101 {
            let body = String::from_utf8_lossy(&data[len..data.len().min(len + 80)]).into_owned();
            return Err(format!("handshake refused: {status} {body}"));
        }
        if http::header(lines, b"sec-websocket-accept") != Some(websocket::ACCEPT) {
            return Err("handshake with a wrong Sec-WebSocket-Accept".into());
        }
        self.phase = Phase::Open;
        observer.opened(subscriber, now - self.started, now);
        Ok(Some(len))
    }

    fn hold(
        &mut self,
        data: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) -> Result<Option<usize>, String> {
        let Some(answer) = http::response(data).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        if answer.status >= 300 || !answer.keep_alive {
            return Err(format!("answered {} and not to be held", answer.status));
        }
        self.phase = Phase::Held;
        observer.opened(subscriber, now - self.started, now);
        Ok(Some(answer.len))
    }

    fn frame(
        &mut self,
        data: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) -> Result<Option<usize>, String> {
        let frame = websocket::frame(data).map_err(|error| error.to_string())?;
        let Some((opcode, payload, len)) = frame else {
            return Ok(None);
        };
        match opcode {
            Opcode::Ping => self.reply = Some(Box::new(Control::new(Opcode::Pong, payload))),
            Opcode::Close => {
                let why = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                self.end = Some(match self.phase {
                    Phase::Closing => End::Asked,
                    _ => End::Broken(format!("closed by the server: {code} {why}")),
                });
            }
            Opcode::Text | Opcode::Binary if self.wire == Wire::Nchan => {
                let (position, body) =
                    position::split_meta(payload).ok_or("a message of nchan without its id")?;
                self.position = position;
                self.messages(body, subscriber, now, observer);
            }
            Opcode::Text | Opcode::Binary => self.messages(payload, subscriber, now, observer),
            _ => {}
        }
        Ok(Some(len))
    }

    fn answer(
        &mut self,
        data: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) -> Result<Option<usize>, String> {
        let answer = http::response(data).map_err(|error| error.to_string())?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        match answer.status {
            200 => {
                if self.wire == Wire::Nchan {
                    let header = |name: &[u8]| http::header(answer.lines, name);
                    self.position = position::of_headers(header(b"last-modified"), header(b"etag"))
                        .ok_or("a poll of nchan was answered without an id")?;
                }
                self.messages(&answer.body, subscriber, now, observer);
            }
            304 => {}
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                return Err(format!("a poll was answered {status} {body}"));
            }
        }
        if !answer.keep_alive {
            return Err("a poll's connection was not kept alive".into());
        }
        self.ask_again = true;
        Ok(Some(answer.len))
    }

    fn messages(
        &mut self,
        payload: &[u8],
        subscriber: u32,
        now: u64,
        observer: &mut impl Observer,
    ) {
        let last = &mut self.position;
        let strangers = self.wire.messages(payload, |mid, stamp| {
            last.advance(mid);
            observer.message(subscriber, stamp, now);
        });
        if strangers > 0 {
            observer.strangers(strangers);
        }
    }
}
