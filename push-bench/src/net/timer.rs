//! Time: the generator's clock, and a timer finer than the milliseconds of `epoll_wait`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Nanoseconds since the program began.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero. One program has one clock, or its stamps could not be compared.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Wakes an epoll at a given time.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    /// When it goes off; in the past when it has.
    armed: u64,
}

impl Timer {
    /// A timer that `registry`'s poll is woken by, with this token.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let raw = fd.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        Ok(Self { fd, armed: 0 })
    }

    /// Has it go off at `at` or earlier. Armed for an earlier time it is left alone: a system call
    /// is saved, and waking early does no harm.
    pub fn arm(&mut self, now: u64, at: u64) -> io::Result<()> {
        if self.armed > now && self.armed <= at {
            return Ok(());
        }
        let wait = Duration::from_nanos(at.saturating_sub(now).max(1));
        self.fd
            .set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
        self.armed = at;
        Ok(())
    }
}
