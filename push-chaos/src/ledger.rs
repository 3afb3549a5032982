//! What was published, what was answered, what arrived: and what of it does not fit together.
//!
//! | answer | what must arrive |
//! |---|---|
//! | 200 | at every subscriber of its channels, once |
//! | 503 | nothing |
//! | 504, or none | nothing or, once, at every subscriber |
//!
//! At each subscriber ids rise, through reconnects too.

use std::fmt;

/// A message's number, from 0 in the order of publishing.
pub type Number = u32;

/// A subscriber's number, from 0.
pub type Subscriber = u32;

/// Which subscribers a message is for: a count and a way to number them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audience {
    /// The first of them.
    pub first: Subscriber,
    /// From one to the next.
    pub step: u32,
    /// How many there are.
    pub count: u32,
}

impl Audience {
    /// Just this one.
    pub fn one(subscriber: Subscriber) -> Self {
        Self { first: subscriber, step: 1, count: 1 }
    }

    fn place(&self, subscriber: Subscriber) -> Option<u32> {
        let offset = subscriber.checked_sub(self.first)?;
        (offset % self.step == 0 && offset / self.step < self.count).then_some(offset / self.step)
    }

    fn at(&self, place: u32) -> Subscriber {
        self.first + place * self.step
    }
}

/// How a publish was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// 200: stored and announced.
    Stored,
    /// 503: surely not stored.
    Refused,
    /// 504: nobody knows.
    Unknown,
    /// The connection ended without an answer: nobody knows either.
    None,
}

#[derive(Debug)]
struct Record {
    audience: Audience,
    /// It is not kept: who was not there has missed it.
    live_only: bool,
    answer: Option<Answer>,
    /// The id under which it arrived.
    mid: Option<[u8; 13]>,
    /// Who has got it, by their places in the audience.
    arrived: Vec<u64>,
    count: u32,
}

/// What has to arrive at whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// Everybody gets everything, whether connected all the time or not. What is not kept reaches
    /// those who were.
    All,
    /// History is lost on purpose: who was connected all the time gets everything.
    Connected,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    /// Numbers below are of stretches that are closed.
    closed: Number,
    messages: Vec<Record>,
    subscribers: Vec<State>,
    /// Deliveries of messages answered 200 that have not come so far.
    awaited: u64,
    figures: Figures,
    examples: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    last: [u8; 13],
    /// Was not connected all the time of this stretch.
    away: bool,
    /// Is never connected all the time.
    polls: bool,
}

/// The sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Messages answered 200, 503, 504 and not at all.
    pub stored: u64,
    /// See [`Figures::stored`].
    pub refused: u64,
    /// See [`Figures::stored`].
    pub unknown: u64,
    /// See [`Figures::stored`].
    pub unanswered: u64,
    /// Messages that reached a subscriber they were for.
    pub delivered: u64,
    /// Messages answered 200, or that reached others, missing at a subscriber.
    pub lost: u64,
    /// Messages that reached the same subscriber again.
    pub doubled: u64,
    /// Messages that came after one with a higher id.
    pub misordered: u64,
    /// Messages answered 503 that came all the same.
    pub ghosts: u64,
    /// Messages that came to somebody they were not for, in another form, or under a second id.
    pub wrong: u64,
}

impl Figures {
    /// Whether everything was kept.
    pub fn is_good(&self) -> bool {
        [self.lost, self.doubled, self.misordered, self.ghosts, self.wrong] == [0; 5]
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.stored, other.stored),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.unanswered, other.unanswered),
            (&mut self.delivered, other.delivered),
            (&mut self.lost, other.lost),
            (&mut self.doubled, other.doubled),
            (&mut self.misordered, other.misordered),
            (&mut self.ghosts, other.ghosts),
            (&mut self.wrong, other.wrong),
        ] {
            *sum += more;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.stored + self.refused + self.unknown + self.unanswered;
        write!(
            f,
            "messages {published} (200: {}, 503: {}, 504: {}, no answer: {}), delivered {}, \
             lost {}, doubled {}, misordered {}, 503 but delivered {}, wrong {}",
            self.stored,
            self.refused,
            self.unknown,
            self.unanswered,
            self.delivered,
            self.lost,
            self.doubled,
            self.misordered,
            self.ghosts,
            self.wrong
        )
    }
}

/// Violations that are told in full.
const EXAMPLES: usize = 10;

impl Ledger {
    /// For so many subscribers.
    pub fn new(subscribers: usize) -> Self {
        Self {
            closed: 0,
            messages: Vec::new(),
            subscribers: vec![State::default(); subscribers],
            awaited: 0,
            figures: Figures::default(),
            examples: Vec::new(),
        }
    }

    /// A message is about to be published.
    pub fn publish(&mut self, audience: Audience, live_only: bool) -> Number {
        self.messages.push(Record {
            audience,
            live_only,
            answer: None,
            mid: None,
            arrived: vec![0; audience.count.div_ceil(64) as usize],
            count: 0,
        });
        self.closed + (self.messages.len() - 1) as Number
    }

    /// Its publish was answered.
    pub fn answered(&mut self, number: Number, answer: Answer) {
        let record = &mut self.messages[(number - self.closed) as usize];
        assert!(record.answer.replace(answer).is_none(), "message {number} is answered twice");
        if answer == Answer::Stored {
            self.awaited += u64::from(record.audience.count - record.count);
        }
    }

    /// A message arrived. `mid`: its id.
    pub fn received(&mut self, subscriber: Subscriber, number: Number, mid: [u8; 13]) {
        let state = &mut self.subscribers[subscriber as usize];
        let rises = mid > state.last;
        state.last = state.last.max(mid);
        let Some(index) = number.checked_sub(self.closed).map(|index| index as usize) else {
            self.figures.wrong += 1;
            return self
                .example(format!("message {number} came to {subscriber} when all was over"));
        };
        let place = self.messages.get(index).and_then(|r| r.audience.place(subscriber));
        let Some(place) = place else {
            self.figures.wrong += 1;
            let text = format!("message {number} came to {subscriber}, who has no part in it");
            return self.example(text);
        };
        let record = &mut self.messages[index];
        let known = *record.mid.get_or_insert(mid);
        let (word, bit) = (&mut record.arrived[place as usize / 64], 1 << (place % 64));
        if *word & bit != 0 {
            self.figures.doubled += 1;
            return self.example(format!("message {number} came to {subscriber} again"));
        }
        *word |= bit;
        record.count += 1;
        self.figures.delivered += 1;
        if record.answer == Some(Answer::Stored) {
            self.awaited -= 1;
        }
        if known != mid {
            self.figures.wrong += 1;
            self.example(format!("message {number} came to {subscriber} under another id"));
        }
        if !rises {
            self.figures.misordered += 1;
            self.example(format!("message {number} came to {subscriber} after a higher id"));
        }
    }

    /// Something else than what was published arrived.
    pub fn spoiled(&mut self, subscriber: Subscriber, what: &str) {
        self.figures.wrong += 1;
        self.example(format!("to {subscriber} came {what}"));
    }

    /// The subscriber is, or was, without a connection.
    pub fn away(&mut self, subscriber: Subscriber) {
        self.subscribers[subscriber as usize].away = true;
    }

    /// The subscriber polls: between two polls it is away.
    pub fn polls(&mut self, subscriber: Subscriber) {
        self.subscribers[subscriber as usize].polls = true;
    }

    /// Deliveries that are owed and have not come so far. Those who were away may never get what is
    /// not kept; see [`Ledger::settled`].
    pub fn awaited(&self) -> u64 {
        self.awaited
    }

    /// How many have been received so far.
    pub fn delivered(&self) -> u64 {
        self.figures.delivered
    }

    /// Whether all that must arrive has arrived.
    pub fn settled(&self, promise: Promise) -> bool {
        self.awaited == 0
            || self.messages.iter().all(|record| self.missing(record, promise).next().is_none())
    }

    /// Those who should have the message and do not.
    fn missing<'a>(
        &'a self,
        record: &'a Record,
        promise: Promise,
    ) -> impl Iterator<Item = Subscriber> + 'a {
        let due = match record.answer {
            Some(Answer::Stored) => true,
            // What has reached one was stored, and everybody's.
            _ => record.count > 0,
        };
        let complete = record.count == record.audience.count;
        let places = if due && !complete { 0..record.audience.count } else { 0..0 };
        places
            .filter(|place| record.arrived[*place as usize / 64] & 1 << (place % 64) == 0)
            .map(|place| record.audience.at(place))
            .filter(move |subscriber| {
                let State { away, polls, .. } = self.subscribers[*subscriber as usize];
                !((away || polls) && (record.live_only || promise == Promise::Connected))
            })
    }

    /// Closes a stretch of traffic, all of which has been answered: its sums, and some of what does
    /// not fit. What arrives of it afterwards counts as wrong.
    pub fn close(&mut self, promise: Promise) -> (Figures, Vec<String>) {
        let mut lost = Vec::new();
        for (index, record) in self.messages.iter().enumerate() {
            lost.extend(self.missing(record, promise).map(|subscriber| (index, subscriber)));
        }
        self.figures.lost = lost.len() as u64;
        for (index, subscriber) in lost.into_iter().take(EXAMPLES) {
            let Record { answer, count, audience, live_only, mid, .. } = &self.messages[index];
            let number = self.closed + index as Number;
            let (of, mid) = (audience.count, mid.map(|mid| push_tests::channel::hex(&mid)));
            let text = format!(
                "message {number} ({answer:?}, live only: {live_only}, mid {mid:?}) did not come to \
                 {subscriber}; {count} of {of} have it"
            );
            self.example(text);
        }
        for index in 0..self.messages.len() {
            let record = &self.messages[index];
            let (answer, count) = (record.answer, record.count);
            match answer.expect("all has been answered") {
                Answer::Stored => self.figures.stored += 1,
                Answer::Refused => self.figures.refused += 1,
                Answer::Unknown => self.figures.unknown += 1,
                Answer::None => self.figures.unanswered += 1,
            }
            if answer == Some(Answer::Refused) && count > 0 {
                self.figures.ghosts += 1;
                let number = self.closed + index as Number;
                self.example(format!("message {number} was answered 503 and came to {count}"));
            }
        }
        // Numbers are not used again: what comes late must not pass for a new message.
        self.closed += self.messages.len() as Number;
        self.messages.clear();
        self.awaited = 0;
        for state in &mut self.subscribers {
            state.away = false;
        }
        (std::mem::take(&mut self.figures), std::mem::take(&mut self.examples))
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
