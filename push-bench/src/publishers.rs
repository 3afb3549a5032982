//! The backends: keep-alive connections with one publish under way on each.

use std::collections::VecDeque;
use std::io;
use std::io::Write as _;

use mio::event::Event;
use mio::{Registry, Token};
use prost::Message as _;
use push_protocol::hex::encode_id;
use push_protocol::proto;

use crate::error::{Error, Result};
use crate::fleet::Observer;
use crate::net::timer::Clock;
use crate::net::{Transport, http};
use crate::options::PublishFormat;
use crate::population::Population;
use crate::stamp::Stamp;
use crate::target::Target;

/// What bodies look like.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    /// Tells this run's messages from others'.
    pub run: u32,
    /// Bytes each.
    pub len: usize,
    /// Seconds they are kept.
    pub expiry: u32,
}

/// A message to publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    /// Where it goes.
    pub stream: u32,
    /// Its number there.
    pub sequence: u32,
    /// When it was due, by the generator's clock.
    pub due: u64,
}

/// How a publish went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What was published.
    pub job: Job,
    /// The HTTP status; 0: the connection ended without one.
    pub status: u16,
    /// When it was written.
    pub sent: u64,
    /// When the answer was read.
    pub at: u64,
}

#[derive(Debug, Default)]
struct Publisher {
    transport: Option<Transport>,
    connected: bool,
    under_way: Option<(Job, u64)>,
    queue: VecDeque<Job>,
    carry: Vec<u8>,
}

/// All publishers of a scenario. Messages of one stream go through one connection, so that the
/// order of publishing is known.
#[derive(Debug)]
pub struct Publishers {
    target: Target,
    population: Population,
    bodies: Bodies,
    publishers: Vec<Publisher>,
    /// Messages queued or under way.
    outstanding: usize,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Publishers {
    /// So many, connected when they are needed. Their tokens begin with 0.
    pub fn new(target: &Target, population: Population, bodies: Bodies, count: usize) -> Self {
        Self {
            target: target.clone(),
            population,
            bodies,
            publishers: (0..count.max(1)).map(|_| Publisher::default()).collect(),
            outstanding: 0,
            request: Vec::with_capacity(bodies.len + 512),
            body: Vec::with_capacity(bodies.len + 128),
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.publishers.len()
    }

    /// Whether there are none, which is never.
    pub fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    /// Messages that wait for their turn or their answer.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Publishes a message, at once if its connection has nothing under way.
    pub fn publish(&mut self, job: Job, clock: Clock, registry: &Registry) -> Result<()> {
        self.outstanding += 1;
        let number = job.stream as usize % self.publishers.len();
        self.publishers[number].queue.push_back(job);
        self.advance(number, clock, registry).map_err(Error::io("publishing"))
    }

    /// Does what the poll says can be done.
    pub fn ready(
        &mut self,
        event: &Event,
        clock: Clock,
        buffer: &mut [u8],
        registry: &Registry,
        observer: &mut impl Observer,
    ) -> Result<()> {
        let number = event.token().0;
        let publisher = &mut self.publishers[number];
        let open = publisher.drive(event, buffer);
        let at = clock.now();
        loop {
            let (status, used, keep_alive) = match http::response(&publisher.carry) {
                Ok(Some(answer)) => (answer.status, answer.len, answer.keep_alive),
                Ok(None) => break,
                Err(error) => return Err(Error::Server(format!("publishing: {error}"))),
            };
            publisher.carry.drain(..used);
            if let Some((job, sent)) = publisher.under_way.take() {
                self.outstanding -= 1;
                observer.answered(Answer { job, status, sent, at });
            }
            if !keep_alive {
                publisher.disconnect(registry);
                break;
            }
        }
        if !matches!(open, Ok(true)) {
            publisher.disconnect(registry);
            if let Some((job, sent)) = publisher.under_way.take() {
                self.outstanding -= 1;
                let status = 0;
                observer.answered(Answer { job, status, sent, at });
                // Without this a server that is down would be asked as fast as it refuses.
                if let Err(error) = open {
                    return Err(Error::io("publishing")(error));
                }
            }
        }
        self.advance(number, clock, registry).map_err(Error::io("publishing"))
    }

    /// Sends the next message of a connection that has none under way.
    fn advance(&mut self, number: usize, clock: Clock, registry: &Registry) -> io::Result<()> {
        let publisher = &mut self.publishers[number];
        if publisher.under_way.is_some() || publisher.queue.is_empty() {
            return Ok(());
        }
        if publisher.transport.is_none() {
            let endpoint = self.target.publish.endpoint;
            let token = Token(number);
            publisher.transport = Some(Transport::connect(&endpoint, None, registry, token)?);
            publisher.connected = false;
        }
        if !publisher.connected {
            return Ok(());
        }
        let Some(job) = publisher.queue.pop_front() else {
            return Ok(());
        };
        let sent = clock.now();
        publisher.under_way = Some((job, sent));
        self.write_request(job, sent);
        match &mut self.publishers[number].transport {
            Some(transport) => transport.write(&self.request),
            None => Ok(()),
        }
    }

    fn write_request(&mut self, job: Job, sent: u64) {
        let channel = self.population.channel(job.stream);
        let stamp =
            Stamp { run: self.bodies.run, stream: job.stream, sequence: job.sequence, sent };
        self.body.clear();
        stamp.write_body(&mut self.body, self.bodies.len);
        if self.target.format == PublishFormat::Binary {
            let body = batch(channel, &self.body, self.bodies.expiry);
            self.body = body;
        }
        let (front, behind) =
            self.target.publish.around("{channel}").expect("the target has been checked");
        let out = &mut self.request;
        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(front.as_bytes());
        out.extend_from_slice(&encode_id(&channel));
        out.extend_from_slice(behind.as_bytes());
        write!(
            out,
            " HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nMessage-Expiry: {}\r\n\
             Content-Length: {}\r\n\r\n",
            self.bodies.expiry,
            self.body.len(),
        )
        .expect("a vector takes everything");
        out.extend_from_slice(&self.body);
    }
}

impl Publisher {
    /// Reads into `carry`; false at the end of the stream.
    fn drive(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(transport) = &mut self.transport else {
            return Ok(true);
        };
        if event.is_writable() {
            if !self.connected {
                transport.connected()?;
                self.connected = true;
            }
            transport.flush()?;
        }
        if !event.is_readable() {
            return Ok(true);
        }
        let carry = &mut self.carry;
        transport.read(buffer, event.is_read_closed(), |bytes| {
            carry.extend_from_slice(bytes);
        })
    }

    fn disconnect(&mut self, registry: &Registry) {
        if let Some(transport) = self.transport.take() {
            transport.reset(registry);
        }
        self.connected = false;
        self.carry.clear();
    }
}

/// A `RequestBatch` with one message.
pub(crate) fn batch(channel: push_protocol::ChannelId, body: &[u8], expiry: u32) -> Vec<u8> {
    let message = proto::IncomingMessage {
        receivers: vec![proto::Receiver {
            id: channel.to_vec(),
            is_private: true,
            ..Default::default()
        }],
        body: String::from_utf8_lossy(body).into_owned(),
        expiry,
        ..Default::default()
    };
    let command = proto::request::Command::IncomingMessages(proto::IncomingMessagesRequest {
        messages: vec![message],
    });
    let request = proto::Request { command: Some(command) };
    proto::RequestBatch { requests: vec![request] }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use push_protocol::channel::ChannelKey;
    use push_protocol::request::{Command, Limits, trusted};

    #[test]
    fn a_server_reads_the_batch() {
        let body = batch([7; 16], b"{\"a\":1}", 30);
        let Ok(Command::Publish(publications)) = trusted(&body, &Limits::default(), 5) else {
            panic!("not a publish");
        };
        let [publication] = &publications[..] else {
            panic!("{publications:?}");
        };
        assert_eq!(publication.expiry, 30);
        assert_eq!(publication.receivers[0].key, ChannelKey::private([7; 16]));
    }
}
