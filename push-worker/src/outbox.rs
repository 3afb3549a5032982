//! What waits for a socket that is full.

use std::collections::VecDeque;

use crate::delivery::Shared;

/// Frames in order, the first maybe written in part.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Shared>,
    /// How much of the first is written.
    written: usize,
    /// Bytes that wait.
    bytes: usize,
    /// Nothing follows what waits here.
    pub last: bool,
}

impl Outbox {
    /// One frame of which `written` bytes went out.
    pub fn new(frame: Shared, written: usize) -> Self {
        let bytes = frame.len() - written;
        Self { frames: VecDeque::from([frame]), written, bytes, last: false }
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a frame.
    pub fn push(&mut self, frame: Shared) {
        self.bytes += frame.len();
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
            self.frames.pop_front();
            self.written = 0;
        }
        whole
    }
}
