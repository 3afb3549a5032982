//! What all parts of a run share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use push_sidecar::surroundings::unix_time;
use tokio::time::{Instant, sleep};

use crate::ledger::Ledger;
use crate::pipe::{End, Quality, Wire, connection};
use crate::rng::Rng;
use crate::setup::{Sabotage, Setup};
use crate::trace::Trace;

/// See the module.
pub struct World {
    /// What the seed decided.
    pub setup: Setup,
    /// Who published, was answered, got what.
    pub ledger: RefCell<Ledger>,
    began: Instant,
    rng: RefCell<Rng>,
    trace: Trace,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    violations: RefCell<Vec<String>>,
    sabotage: Cell<Option<Sabotage>>,
    last_name: Cell<usize>,
}

impl World {
    /// It begins now.
    pub fn new(setup: Setup, rng: Rng, trace: Trace, sabotage: Option<Sabotage>) -> Self {
        Self {
            setup,
            ledger: RefCell::default(),
            began: Instant::now(),
            rng: RefCell::new(rng),
            trace,
            counts: RefCell::default(),
            violations: RefCell::default(),
            sabotage: Cell::new(sabotage),
            last_name: Cell::new(0),
        }
    }

    /// Milliseconds since the beginning.
    pub fn ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        unix_time().as_millis() as u64
    }

    /// Notes what happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.trace.note(self.ms(), what);
    }

    /// A promise was not kept.
    pub fn violation(&self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.violations.borrow_mut().push(what);
    }

    /// All promises that were not kept.
    pub fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Counts something.
    pub fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    /// What was counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    /// A number that nothing else in this run is named.
    pub fn name(&self) -> usize {
        self.last_name.set(self.last_name.get() + 1);
        self.last_name.get()
    }

    /// True `permille` times out of 1000.
    pub fn chance(&self, permille: u64) -> bool {
        permille > 0 && self.rng.borrow_mut().chance(permille)
    }

    /// A stream of chance of its own.
    pub fn rng(&self) -> Rng {
        self.rng.borrow_mut().fork()
    }

    /// Waits up to so many milliseconds.
    pub async fn pause(&self, at_most: u64) {
        let ms = self.rng.borrow_mut().range(0, at_most);
        sleep(Duration::from_millis(ms)).await;
    }

    /// A new connection.
    pub fn connect(&self, quality: Quality) -> (End, End, Wire) {
        connection(quality, &mut self.rng.borrow_mut())
    }

    /// Whether this is the moment for the defect that was asked for: once a run, somewhere in its
    /// beginning.
    pub fn sabotage(&self, which: Sabotage) -> bool {
        let now = self.sabotage.get() == Some(which) && self.ms() > 1500 && self.chance(300);
        if now {
            self.note(format_args!("sabotage: {which:?}"));
            self.count("sabotage");
            self.sabotage.set(None);
        }
        now
    }
}
