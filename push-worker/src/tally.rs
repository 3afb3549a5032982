//! How much memory waits for, or comes from, clients that do not keep pace. Everything that takes
//! part of it gives it back when it is dropped, so that the sum cannot go wrong.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that wait in the whole worker.
#[derive(Clone, Debug, Default)]
pub struct Tally(Rc<Cell<usize>>);

impl Tally {
    /// The sum.
    pub fn bytes(&self) -> usize {
        self.0.get()
    }

    pub fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }

    pub fn subtract(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes);
    }
}

/// A part of it.
#[derive(Debug)]
pub struct Weight {
    tally: Tally,
    bytes: usize,
}

impl Weight {
    /// None yet.
    pub fn new(tally: &Tally) -> Self {
        Self { tally: tally.clone(), bytes: 0 }
    }

    /// How much it is.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it this much.
    pub fn set(&mut self, bytes: usize) {
        self.tally.add(bytes);
        self.tally.subtract(self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}
