//! The loop: one thread, one epoll, one read buffer for subscribers and publishers.

use std::io;

use mio::{Events, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Error, Result};
use crate::fleet::{Fleet, Mode, Observer};
use crate::net::timer::{Clock, Timer};
use crate::population::Population;
use crate::publishers::{Bodies, Job, Publishers};
use crate::target::Target;

/// Bytes read at a time; more than a server sends at once to a client that reads.
const BUFFER: usize = 256 * 1024;
/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;
const TIMER: Token = Token(usize::MAX - 1);
/// One second, in the clock's nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// What an engine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How subscribers listen.
    pub mode: Mode,
    /// Their channels.
    pub population: Population,
    /// How many there are.
    pub subscribers: usize,
    /// Connections that publish.
    pub publishers: usize,
    /// What they publish.
    pub bodies: Bodies,
}

/// Subscribers and publishers with the epoll that drives them.
#[derive(Debug)]
pub struct Engine {
    /// Those who listen.
    pub fleet: Fleet,
    /// Those who publish.
    pub publishers: Publishers,
    /// The program's clock.
    pub clock: Clock,
    poll: Poll,
    events: Events,
    timer: Timer,
    buffer: Box<[u8]>,
}

impl Engine {
    /// Nothing is connected yet.
    pub fn new(target: &Target, setup: Setup, clock: Clock) -> Result<Self> {
        allow_files(setup.subscribers + setup.publishers + 100)?;
        let poll = Poll::new().map_err(Error::io("epoll"))?;
        let timer = Timer::new(poll.registry(), TIMER).map_err(Error::io("timerfd"))?;
        let Setup { mode, population, bodies, .. } = setup;
        let publishers = Publishers::new(target, population, bodies, setup.publishers);
        let fleet = Fleet::new(target, mode, population, setup.subscribers, publishers.len());
        Ok(Self {
            fleet,
            publishers,
            clock,
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Waits for something to happen, but not beyond `until`, and does what is to be done then.
    pub fn turn(&mut self, until: u64, observer: &mut impl Observer) -> Result<()> {
        let now = self.clock.now();
        let timeout = if until <= now {
            Some(std::time::Duration::ZERO)
        } else {
            self.timer.arm(now, until).map_err(Error::io("timerfd"))?;
            None
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::io("epoll")(error)),
        }
        let (registry, buffer, clock) = (self.poll.registry(), &mut *self.buffer, self.clock);
        for event in &self.events {
            match event.token() {
                TIMER => {}
                Token(token) if token < self.publishers.len() => {
                    self.publishers.ready(event, clock, buffer, registry, observer)?;
                }
                Token(_) => self.fleet.ready(event, clock, buffer, registry, observer),
            }
        }
        Ok(())
    }

    /// Begins to connect a subscriber.
    pub fn connect(&mut self, subscriber: u32) -> Result<()> {
        let now = self.clock.now();
        self.fleet.connect(subscriber, now, self.poll.registry()).map_err(Error::io("connecting"))
    }

    /// Closes a subscriber's connection in good order.
    pub fn close(&mut self, subscriber: u32) {
        self.fleet.close(subscriber, self.poll.registry());
    }

    /// Ends a subscriber's connection without a word.
    pub fn drop(&mut self, subscriber: u32) {
        self.fleet.drop(subscriber, self.poll.registry());
    }

    /// Publishes a message.
    pub fn publish(&mut self, job: Job) -> Result<()> {
        self.publishers.publish(job, self.clock, self.poll.registry())
    }
}

/// Raises this process's limit of open files to `wanted` if it is lower. When it cannot be raised
/// that far, it is raised as far as it can.
pub fn allow_files(wanted: usize) -> Result<()> {
    let refused = |error: nix::Error| {
        Error::Usage(format!(
            "{wanted} open files are needed, and this process may not have more than {}: {error}",
            getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard)
        ))
    };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    let wanted = wanted as u64;
    if soft < wanted.min(hard) {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).map_err(refused)?;
    }
    if hard < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).map_err(refused)?;
    }
    Ok(())
}
