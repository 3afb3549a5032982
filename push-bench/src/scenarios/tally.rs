//! What all scenarios note down while the engine turns.

use crate::fleet::Observer;
use crate::latency::Latency;
use crate::ledger::{Ledger, Receipt};
use crate::publishers::Answer;
use crate::stamp::{PROBE, SHARED, Stamp};

/// How far a message to everybody has come.
#[derive(Clone, Copy, Debug)]
struct Spread {
    first: u64,
    last: u64,
    seen: u32,
}

/// The notes.
#[derive(Debug)]
pub struct Tally {
    run: u32,
    /// Who got what.
    pub ledger: Ledger,
    /// From the first packet to the end of the handshake.
    pub handshakes: Latency,
    /// From the publish to the delivery of single messages.
    pub own: Latency,
    /// The same of messages to everybody, for each delivery.
    pub shared: Latency,
    /// From the publish of a message to everybody to its first delivery.
    pub first: Latency,
    /// The same to its last delivery.
    pub last: Latency,
    /// From the publish to its answer.
    pub answers: Latency,
    /// From when a publish was due to when it was written.
    pub lag: Latency,
    /// Deliveries of what was published while the subscriber was away.
    pub recovered: u64,
    /// When the last delivery came.
    pub latest: u64,
    /// Who has lost its connection without being asked.
    pub broken: Vec<u32>,
    /// Publishes that were answered since the scenario last looked.
    pub answered: Vec<Answer>,
    opened: Vec<u64>,
    done: u64,
    probed: Vec<bool>,
    probes: usize,
    spreads: Vec<Spread>,
    /// Whether late deliveries count as recovered instead of slow.
    returns: bool,
}

impl Tally {
    /// For so many subscribers. `returns`: what was sent before a subscriber's connection was open
    /// is history and has no latency.
    pub fn new(run: u32, subscribers: usize, returns: bool) -> Self {
        Self {
            run,
            ledger: Ledger::new(subscribers),
            handshakes: Latency::default(),
            own: Latency::default(),
            shared: Latency::default(),
            first: Latency::default(),
            last: Latency::default(),
            answers: Latency::default(),
            lag: Latency::default(),
            recovered: 0,
            latest: 0,
            broken: Vec::new(),
            answered: Vec::new(),
            opened: vec![0; subscribers],
            done: 0,
            probed: vec![false; subscribers],
            probes: 0,
            spreads: Vec::new(),
            returns,
        }
    }

    /// How many subscribers have seen a probe.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// How many handshakes were completed.
    pub fn handshakes_done(&self) -> u64 {
        self.done
    }

    /// How many have got this message to everybody.
    pub fn reached(&self, sequence: u32) -> u32 {
        let spread = self.spreads.get(sequence as usize - 1);
        spread.map_or(0, |spread| spread.seen)
    }

    fn spread(&mut self, stamp: Stamp, at: u64) {
        let index = stamp.sequence as usize - 1;
        let none = Spread { first: at - stamp.sent, last: 0, seen: 0 };
        if index >= self.spreads.len() {
            self.spreads.resize(index + 1, none);
        }
        let spread = &mut self.spreads[index];
        if spread.seen == 0 {
            spread.first = at - stamp.sent;
        }
        spread.last = at - stamp.sent;
        spread.seen += 1;
    }

    /// Fills the distributions that need whole messages.
    pub fn finish(&mut self) {
        for spread in self.spreads.iter().filter(|spread| spread.seen > 0) {
            self.first.record(spread.first);
            self.last.record(spread.last);
        }
    }
}

impl Observer for Tally {
    fn opened(&mut self, subscriber: u32, took: u64, at: u64) {
        self.handshakes.record(took);
        self.opened[subscriber as usize] = at;
        self.done += 1;
    }

    fn message(&mut self, subscriber: u32, stamp: Stamp, at: u64) {
        if stamp.run != self.run {
            return;
        }
        if stamp.sequence == PROBE {
            let probed = &mut self.probed[subscriber as usize];
            self.probes += usize::from(!*probed);
            *probed = true;
            return;
        }
        let receipt = self.ledger.received(subscriber, stamp.stream, stamp.sequence);
        if !matches!(receipt, Receipt::New | Receipt::Late) {
            return;
        }
        self.latest = at;
        if self.returns && stamp.sent < self.opened[subscriber as usize] {
            self.recovered += 1;
        } else if stamp.stream == SHARED {
            self.shared.record(at - stamp.sent);
            self.spread(stamp, at);
        } else {
            self.own.record(at - stamp.sent);
        }
    }

    fn gone(&mut self, subscriber: u32, why: Option<&str>) {
        if let Some(why) = why {
            self.ledger.broken(why);
            self.broken.push(subscriber);
        }
    }

    fn answered(&mut self, answer: Answer) {
        let job = answer.job;
        if !(200..300).contains(&answer.status) {
            let text = match answer.status {
                0 => "a publish's connection ended without an answer".to_owned(),
                status => format!("a publish was answered {status}"),
            };
            self.ledger.remark(text);
            if job.sequence != PROBE {
                self.ledger.refused(job.stream, job.sequence);
            }
        }
        if job.sequence != PROBE {
            self.answers.record(answer.at - answer.sent);
            self.lag.record(answer.sent.saturating_sub(job.due));
        }
        self.answered.push(answer);
    }

    fn strangers(&mut self, count: u32) {
        self.ledger.remark(format!("{count} messages came that nobody here published"));
    }
}
