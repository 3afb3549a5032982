//! What waits for a socket that is full.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use crate::tally::Tally;

/// Bytes that wait in, or pass through, any number of sockets.
#[derive(Clone, Debug)]
pub struct Shared(Rc<Frame>);

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    /// In how many outboxes it waits: its memory counts once.
    waiting: Cell<usize>,
}

impl From<Vec<u8>> for Shared {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Rc::new(Frame { bytes, waiting: Cell::new(0) }))
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Shared {
    fn begin_waiting(&self, tally: &Tally) {
        if self.0.waiting.replace(self.0.waiting.get() + 1) == 0 {
            tally.add(self.0.bytes.capacity());
        }
    }

    fn end_waiting(&self, tally: &Tally) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        if self.0.waiting.get() == 0 {
            tally.subtract(self.0.bytes.capacity());
        }
    }
}

/// Frames in order, the first maybe written in part.
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Shared>,
    /// How much of the first is written.
    written: usize,
    /// Bytes that wait.
    bytes: usize,
    tally: Tally,
    /// Nothing follows what waits here.
    pub last: bool,
}

impl Outbox {
    /// One frame of which `written` bytes went out.
    pub fn new(frame: Shared, written: usize, tally: &Tally) -> Self {
        let mut outbox =
            Self { frames: VecDeque::new(), written, bytes: 0, tally: tally.clone(), last: false };
        outbox.push(frame);
        outbox.bytes -= written;
        outbox
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a frame.
    pub fn push(&mut self, frame: Shared) {
        self.bytes += frame.len();
        frame.begin_waiting(&self.tally);
        self.frames.push_back(frame);
    }

    /// What to write next.
    pub fn head(&self) -> Option<&[u8]> {
        self.frames.front().map(|frame| &frame[self.written..])
    }

    /// `count` bytes of [`Self::head`] were written; true if that was all of it.
    pub fn advance(&mut self, count: usize) -> bool {
        self.written += count;
        self.bytes -= count;
        let whole = self.frames.front().is_some_and(|frame| frame.len() == self.written);
        if whole {
            if let Some(frame) = self.frames.pop_front() {
                frame.end_waiting(&self.tally);
            }
            self.written = 0;
        }
        whole
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for frame in &self.frames {
            frame.end_waiting(&self.tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_several_outboxes_counts_once() {
        let tally = Tally::default();
        let frame = Shared::from(vec![0; 1000]);
        let mut one = Outbox::new(frame.clone(), 400, &tally);
        let two = Outbox::new(frame.clone(), 0, &tally);
        assert_eq!((one.bytes(), two.bytes(), tally.bytes()), (600, 1000, 1000));
        one.push(vec![0; 10].into());
        assert_eq!(tally.bytes(), 1010);
        assert!(!one.advance(100));
        assert!(one.advance(500));
        assert_eq!((one.bytes(), tally.bytes()), (10, 1010));
        drop(two);
        assert_eq!(tally.bytes(), 10);
        drop(one);
        assert_eq!(tally.bytes(), 0);
    }
}
