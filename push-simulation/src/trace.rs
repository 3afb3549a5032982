//! What happened, as a hash that two runs of a seed share, and as lines to read.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};

/// See the module.
#[derive(Default)]
pub struct Trace {
    hash: Cell<u64>,
    lines: Cell<u64>,
    aloud: bool,
    line: RefCell<String>,
}

impl Trace {
    /// `aloud`: every line goes to standard output as well.
    pub fn new(aloud: bool) -> Self {
        Self { hash: Cell::new(0xcbf2_9ce4_8422_2325), aloud, ..Self::default() }
    }

    /// Notes something that happened `ms` after the beginning.
    pub fn note(&self, ms: u64, what: fmt::Arguments<'_>) {
        let mut line = self.line.borrow_mut();
        line.clear();
        let _ = write!(line, "{:>6}.{:03} {what}", ms / 1000, ms % 1000);
        // Fowler, Noll and Vo's FNV-1a.
        let hash = line.bytes().fold(self.hash.get(), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.hash.set(hash);
        self.lines.set(self.lines.get() + 1);
        if self.aloud {
            println!("{line}");
        }
    }

    /// The hash of all lines up to now.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines.get()
    }
}
