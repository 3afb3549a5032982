//! Opening connections, making sure that they listen, and sending messages at a rate.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Bench;
use super::tally::Tally;
use crate::engine::{Engine, SECOND};
use crate::error::{Error, Result};
use crate::population::Random;
use crate::publishers::Job;
use crate::stamp::{PROBE, SHARED};

/// How long nothing may happen before what is missing counts as lost.
const PATIENCE: u64 = 5 * SECOND;
/// How long doubles are waited for.
const AFTERMATH: u64 = SECOND / 2;
/// How long a client stays away that left to return.
const AWAY: u64 = 2 * SECOND;
/// How many connections may fail before a scenario is given up.
const TOO_MANY: usize = 20;

/// Opens connections, so many at a time as `--window` says. Returns how long it took, in seconds.
pub fn open(
    bench: &Bench,
    engine: &mut Engine,
    tally: &mut Tally,
    subscribers: std::ops::Range<u32>,
) -> Result<f64> {
    let began = bench.clock.now();
    let failed = tally.broken.len();
    let mut coming = subscribers;
    while !coming.is_empty() || engine.fleet.opening() > 0 {
        while engine.fleet.opening() < bench.common.window {
            match coming.next() {
                Some(subscriber) => engine.connect(subscriber)?,
                None => break,
            }
        }
        engine.turn(bench.clock.now() + SECOND, tally)?;
        give_up(tally, failed)?;
        bench.check_time()?;
    }
    Ok((bench.clock.now() - began) as f64 / 1e9)
}

/// An error when too many connections failed since there were `before`.
fn give_up(tally: &mut Tally, before: usize) -> Result<()> {
    if tally.broken.len() - before < TOO_MANY {
        return Ok(());
    }
    let ledger = std::mem::replace(&mut tally.ledger, crate::ledger::Ledger::new(0));
    let remarks = ledger.close().remarks.join("; ");
    Err(Error::Server(format!("too many connections fail: {remarks}")))
}

/// Closes all connections and waits until the server has closed them too.
pub fn close_all(bench: &Bench, engine: &mut Engine, tally: &mut Tally) -> Result<()> {
    for subscriber in 0..engine.fleet.len() as u32 {
        engine.close(subscriber);
        // Answers must not pile up, or the server's socket buffers would be what is measured.
        if subscriber % 64 == 63 {
            engine.turn(0, tally)?;
        }
    }
    let until = bench.clock.now() + PATIENCE;
    while engine.fleet.connections() > 0 {
        engine.turn(until, tally)?;
        if bench.clock.now() >= until {
            let left = engine.fleet.connections();
            tally.ledger.remark(format!("{left} connections were not closed by the server"));
            break;
        }
    }
    Ok(())
}

/// Lets the engine turn for a while, in which nothing is to be done.
pub fn rest(bench: &Bench, engine: &mut Engine, tally: &mut Tally, nanoseconds: u64) -> Result<()> {
    let until = bench.clock.now() + nanoseconds;
    while bench.clock.now() < until {
        engine.turn(until, tally)?;
    }
    Ok(())
}

/// Publishes to everybody until everybody has got something: a handshake's end does not say that
/// the subscription has arrived everywhere. It leaves everybody with the id of a message.
pub fn probe(bench: &Bench, engine: &mut Engine, tally: &mut Tally) -> Result<()> {
    let everybody = engine.fleet.len();
    let mut again = 0;
    let mut seen = 0;
    while tally.probes() < everybody {
        let now = bench.clock.now();
        if now >= again && engine.publishers.outstanding() == 0 {
            let (stream, sequence) = (SHARED, PROBE);
            engine.publish(Job { stream, sequence, due: now })?;
            again = now + SECOND / 2;
        }
        engine.turn(again.max(now + SECOND / 100), tally)?;
        if tally.probes() > seen {
            seen = tally.probes();
            again = bench.clock.now() + SECOND / 2;
        }
        bench.check_time().map_err(|error| {
            let reached = tally.probes();
            Error::Server(format!("a message to all reached {reached} of {everybody}: {error}"))
        })?;
    }
    rest(bench, engine, tally, SECOND / 5)
}

/// Messages to everybody.
#[derive(Clone, Copy, Debug)]
pub enum Shared {
    /// None.
    None,
    /// So many, each when the one before has arrived everywhere.
    OneByOne(u32),
    /// So many at a rate per second.
    Rate(u32, f64),
}

/// What is published, and who comes and goes meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// Single messages per second.
    pub own_rate: f64,
    /// Messages to everybody.
    pub shared: Shared,
    /// Subscribers that leave per second, to return with the id of their last message.
    pub churn: f64,
    /// For how long single messages are sent and subscribers leave, in seconds.
    pub duration: f64,
    /// Ends it early.
    pub stop: Option<&'a AtomicBool>,
}

/// A thing that happens regularly.
struct Pace {
    next: u64,
    every: u64,
}

impl Pace {
    fn new(now: u64, per_second: f64) -> Self {
        let every = if per_second > 0.0 { (1e9 / per_second) as u64 } else { u64::MAX };
        Self { next: now.saturating_add(every.min(SECOND / 100)), every: every.max(1) }
            .unless(per_second <= 0.0)
    }

    fn unless(mut self, never: bool) -> Self {
        if never {
            self.next = u64::MAX;
        }
        self
    }

    /// When it was due, if it is.
    fn due(&mut self, now: u64) -> Option<u64> {
        let due = self.next;
        (due <= now).then(|| {
            self.next = due.saturating_add(self.every);
            due
        })
    }
}

/// Sends the traffic and waits for its deliveries. Returns how long it took up to the last one, in
/// seconds.
pub fn send(
    bench: &Bench,
    engine: &mut Engine,
    tally: &mut Tally,
    traffic: Traffic<'_>,
) -> Result<f64> {
    let everybody = engine.fleet.len();
    let mut random = Random::new(bench.seed ^ 0x7261_6666);
    let began = bench.clock.now();
    let end = began.saturating_add((traffic.duration * 1e9) as u64);
    let mut own = Pace::new(began, traffic.own_rate);
    let mut churn = Pace::new(began, traffic.churn);
    let (shared_count, shared_rate) = match traffic.shared {
        Shared::None => (0, 0.0),
        Shared::OneByOne(count) => (count, 0.0),
        Shared::Rate(count, rate) => (count, rate),
    };
    let mut shared = Pace::new(began, shared_rate);
    let mut shared_sent = 0;
    let mut away: VecDeque<(u64, u32)> = VecDeque::new();
    let mut expected = 0_u64;
    let (mut progress, mut moved) = (0, began);
    loop {
        let now = bench.clock.now();
        let stopped = traffic.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        let sending = now < end && !stopped;
        while sending && let Some(due) = own.due(now) {
            let stream = 1 + random.below(everybody) as u32;
            let sequence = tally.ledger.publish(stream);
            engine.publish(Job { stream, sequence, due })?;
            expected += 1;
        }
        while sending && churn.due(now).is_some() {
            let subscriber = random.below(everybody) as u32;
            if engine.fleet.is_open(subscriber) {
                engine.drop(subscriber);
                away.push_back((now + AWAY, subscriber));
            }
        }
        away.extend(tally.broken.drain(..).map(|subscriber| (now + AWAY, subscriber)));
        while away.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, subscriber)) = away.pop_front() {
                engine.connect(subscriber)?;
            }
        }
        let is_turn = match traffic.shared {
            // One that does not arrive everywhere is followed when patience is at its end.
            Shared::OneByOne(_) => (shared_sent == 0
                || tally.reached(shared_sent) as usize == everybody
                || now > moved + PATIENCE)
                .then_some(now),
            Shared::Rate(..) if shared_sent < shared_count => shared.due(now),
            Shared::None | Shared::Rate(..) => None,
        };
        if shared_sent < shared_count
            && let Some(due) = is_turn
        {
            let (stream, sequence) = (SHARED, tally.ledger.publish(SHARED));
            engine.publish(Job { stream, sequence, due })?;
            shared_sent = sequence;
            expected += everybody as u64;
            moved = now;
        }
        let delivered = tally.ledger.delivered();
        if delivered != progress {
            (progress, moved) = (delivered, now);
        }
        let all_sent = shared_sent == shared_count && (!sending || traffic.own_rate <= 0.0);
        let all_back = away.is_empty() && engine.fleet.opening() == 0;
        if all_sent && all_back && engine.publishers.outstanding() == 0 {
            if delivered >= expected {
                break;
            }
            if now > moved + PATIENCE {
                break;
            }
        }
        bench.check_time()?;
        tally.answered.clear();
        let mut until = now + SECOND / 10;
        if sending {
            until = until.min(own.next).min(churn.next).min(end);
        }
        if shared_sent < shared_count {
            until = until.min(shared.next);
        }
        if let Some((due, _)) = away.front() {
            until = until.min(*due);
        }
        engine.turn(until, tally)?;
    }
    Ok((tally.latest.max(began + 1) - began) as f64 / 1e9)
}

/// Waits for what must not come: a second copy.
pub fn aftermath(bench: &Bench, engine: &mut Engine, tally: &mut Tally) -> Result<()> {
    rest(bench, engine, tally, AFTERMATH)
}
