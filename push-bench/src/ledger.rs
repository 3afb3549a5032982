//! Every subscriber's account of every stream: what came, what came twice, what came late, what
//! never came.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;

use crate::stamp::SHARED;

/// What a received message turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// Came for the first time.
    New,
    /// Came before.
    Double,
    /// Came for the first time, behind a younger one.
    Late,
    /// Is not for this subscriber, or was never published.
    Foreign,
}

/// The account of one run. Each subscriber has two streams: everybody's and its own.
#[derive(Debug)]
pub struct Ledger {
    /// Per subscriber the next sequence number of the shared and of its own stream.
    next: Vec<[u32; 2]>,
    /// What was jumped over, by subscriber and stream; empty while all is well.
    holes: HashMap<(u32, bool), Vec<Range<u32>>>,
    /// How many were published to everybody.
    shared: u32,
    /// How many were published to each subscriber's own channel.
    own: Vec<u32>,
    /// Publishes that were refused or not answered: they may have been delivered or not.
    unsure: HashSet<(u32, u32)>,
    verdict: Verdict,
}

/// The sums of a [`Ledger`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Messages that the server took.
    pub published: u64,
    /// Deliveries that these should have given.
    pub expected: u64,
    /// Deliveries seen, each once.
    pub delivered: u64,
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries that came again.
    pub doubled: u64,
    /// Deliveries that came behind a younger one of their stream.
    pub misordered: u64,
    /// Deliveries to somebody else, or of what was never published.
    pub misdirected: u64,
    /// Publishes that the server did not take.
    pub refused: u64,
    /// Connections that ended without being asked to.
    pub broken: u64,
    /// What else went wrong, in words; a few of each kind.
    pub remarks: Vec<String>,
}

impl Verdict {
    /// Whether everything came, once, in order.
    pub fn is_good(&self) -> bool {
        let bad =
            [self.lost, self.doubled, self.misordered, self.misdirected, self.refused, self.broken];
        bad.iter().all(|count| *count == 0) && self.remarks.is_empty()
    }

    /// Adds another's counts to these.
    pub fn merge(&mut self, other: Self) {
        self.published += other.published;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.misordered += other.misordered;
        self.misdirected += other.misdirected;
        self.refused += other.refused;
        self.broken += other.broken;
        self.remarks.extend(other.remarks);
    }

    /// Notes a mishap in words, if there are not too many already.
    pub fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.remarks.len() < 10 && !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }
}

impl Ledger {
    /// For so many subscribers.
    pub fn new(subscribers: usize) -> Self {
        Self {
            next: vec![[1; 2]; subscribers],
            holes: HashMap::new(),
            shared: 0,
            own: vec![0; subscribers],
            unsure: HashSet::new(),
            verdict: Verdict::default(),
        }
    }

    /// The sequence number of the next message of a stream, which is published now.
    pub fn publish(&mut self, stream: u32) -> u32 {
        let count = match stream {
            SHARED => &mut self.shared,
            _ => &mut self.own[stream as usize - 1],
        };
        *count += 1;
        *count
    }

    /// The server did not take a message; whether it is delivered is open.
    pub fn refused(&mut self, stream: u32, sequence: u32) {
        self.unsure.insert((stream, sequence));
        self.verdict.refused += 1;
    }

    /// A connection ended by itself.
    pub fn broken(&mut self, why: &str) {
        self.verdict.broken += 1;
        self.verdict.remark(format!("a connection ended: {why}"));
    }

    /// Notes a mishap in words.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.verdict.remark(text);
    }

    /// How many deliveries came, each once.
    pub fn delivered(&self) -> u64 {
        self.verdict.delivered
    }

    /// A subscriber has got a message.
    pub fn received(&mut self, subscriber: u32, stream: u32, sequence: u32) -> Receipt {
        let is_own = stream != SHARED;
        let published = match stream {
            SHARED => self.shared,
            _ if stream == subscriber + 1 => self.own[subscriber as usize],
            _ => 0,
        };
        let receipt = if sequence == 0 || sequence > published {
            Receipt::Foreign
        } else {
            self.account(subscriber, is_own, sequence)
        };
        match receipt {
            Receipt::New => self.verdict.delivered += 1,
            Receipt::Late => {
                self.verdict.delivered += 1;
                self.verdict.misordered += 1;
            }
            Receipt::Double => self.verdict.doubled += 1,
            Receipt::Foreign => self.verdict.misdirected += 1,
        }
        receipt
    }

    fn account(&mut self, subscriber: u32, is_own: bool, sequence: u32) -> Receipt {
        let next = &mut self.next[subscriber as usize][usize::from(is_own)];
        if sequence >= *next {
            let jumped = *next..sequence;
            *next = sequence + 1;
            if !jumped.is_empty() {
                self.holes.entry((subscriber, is_own)).or_default().push(jumped);
            }
            return Receipt::New;
        }
        let Some(holes) = self.holes.get_mut(&(subscriber, is_own)) else {
            return Receipt::Double;
        };
        let Some(at) = holes.iter().position(|hole| hole.contains(&sequence)) else {
            return Receipt::Double;
        };
        let hole = holes.swap_remove(at);
        let parts = [hole.start..sequence, sequence + 1..hole.end];
        holes.extend(parts.into_iter().filter(|part| !part.is_empty()));
        Receipt::Late
    }

    /// What a subscriber has missed up to now, of both its streams.
    pub fn missing(&self, subscriber: u32) -> u64 {
        let [shared, own] = self.next[subscriber as usize];
        let tails = [
            (SHARED, shared..self.shared + 1),
            (subscriber + 1, own..self.own[subscriber as usize] + 1),
        ];
        let mut missing = 0;
        for (stream, tail) in tails {
            let holes = self.holes.get(&(subscriber, stream != SHARED));
            let holes = holes.into_iter().flatten().cloned();
            for range in holes.chain([tail]) {
                missing += range.len() as u64 - self.unsure_within(stream, &range);
            }
        }
        missing
    }

    fn unsure_within(&self, stream: u32, range: &Range<u32>) -> u64 {
        if self.unsure.is_empty() {
            return 0;
        }
        let within = |&sequence: &u32| self.unsure.contains(&(stream, sequence));
        range.clone().filter(within).count() as u64
    }

    /// How many subscribers have missed nothing up to now.
    pub fn complete(&self) -> usize {
        let all = 0..self.next.len() as u32;
        all.filter(|subscriber| self.missing(*subscriber) == 0).count()
    }

    /// The sums, with what has not come by now as lost.
    pub fn close(mut self) -> Verdict {
        let own: u64 = self.own.iter().map(|count| u64::from(*count)).sum();
        let subscribers = self.next.len() as u64;
        self.verdict.published = own + u64::from(self.shared) - self.unsure.len() as u64;
        self.verdict.lost = (0..subscribers as u32).map(|one| self.missing(one)).sum();
        self.verdict.expected = self.verdict.delivered + self.verdict.lost;
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Receipt::{Double, Late, New};

    fn with(shared: u32, own: &[u32]) -> Ledger {
        let mut ledger = Ledger::new(own.len());
        for _ in 0..shared {
            ledger.publish(SHARED);
        }
        for (subscriber, count) in own.iter().enumerate() {
            for _ in 0..*count {
                ledger.publish(subscriber as u32 + 1);
            }
        }
        ledger
    }

    #[test]
    fn all_once_in_order_is_good() {
        let mut ledger = with(2, &[1, 0]);
        for (subscriber, stream, sequence) in
            [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (1, 0, 2)]
        {
            assert_eq!(ledger.received(subscriber, stream, sequence), Receipt::New);
        }
        assert_eq!(ledger.complete(), 2);
        let verdict = ledger.close();
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.published, verdict.expected, verdict.delivered), (3, 5, 5));
    }

    #[test]
    fn what_never_came_is_lost_wherever_it_stood() {
        let mut ledger = with(5, &[0]);
        for sequence in [2, 4] {
            ledger.received(0, SHARED, sequence);
        }
        assert_eq!(ledger.missing(0), 3);
        let verdict = ledger.close();
        assert_eq!((verdict.lost, verdict.expected, verdict.misordered), (3, 5, 0));
        assert!(!verdict.is_good());
    }

    #[test]
    fn late_and_double_are_told_apart() {
        let mut ledger = with(5, &[0]);
        let came = [1, 5, 3, 3, 5, 2, 4, 4].map(|sequence| ledger.received(0, SHARED, sequence));
        assert_eq!(came, [New, New, Late, Double, Double, Late, Late, Double]);
        let verdict = ledger.close();
        assert_eq!((verdict.lost, verdict.doubled, verdict.misordered), (0, 3, 3));
    }

    #[test]
    fn a_neighbours_message_is_misdirected() {
        let mut ledger = with(0, &[1, 1]);
        assert_eq!(ledger.received(0, 2, 1), Receipt::Foreign);
        assert_eq!(ledger.received(0, 1, 2), Receipt::Foreign);
        assert_eq!(ledger.received(0, SHARED, 1), Receipt::Foreign);
        assert_eq!(ledger.close().misdirected, 3);
    }

    #[test]
    fn a_refused_publish_is_not_also_lost() {
        let mut ledger = with(3, &[0]);
        ledger.refused(SHARED, 2);
        ledger.refused(SHARED, 3);
        ledger.received(0, SHARED, 1);
        ledger.received(0, SHARED, 3);
        let verdict = ledger.close();
        assert_eq!((verdict.lost, verdict.refused, verdict.published), (0, 2, 1));
        assert!(!verdict.is_good());
    }
}
