//! What waits to be written to one link.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;

use bytes::{Buf, Bytes};
use push_link::{FLAG_LATE, ToWorker, deliver_frame, recover_item_frame};
use push_protocol::{ChannelKey, Mid};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// Payloads up to this size are copied behind their frame's head; larger ones are shared by all
/// links and written from where they are.
const COPY_UP_TO: usize = 2048;
/// The tail becomes a chunk at this size, so that it is never moved when it grows.
const TAIL_FULL: usize = 64 * 1024;
/// Chunks handed to one `writev`.
const SLICES: usize = 64;

/// Frames in order, bounded. Whoever puts frames never waits: a link whose reader is too slow is
/// closed, and the worker comes back and resumes.
pub struct Outbox {
    queue: RefCell<Queue>,
    /// Bytes queued and not yet written.
    bytes: Cell<usize>,
    limit: usize,
    closed: Cell<Option<&'static str>>,
    filled: Notify,
    closing: Notify,
    /// Something was written, or the outbox was closed.
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    tail: Vec<u8>,
}

impl Outbox {
    /// An empty one; `limit` in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            queue: RefCell::default(),
            bytes: Cell::new(0),
            limit,
            closed: Cell::new(None),
            filled: Notify::new(),
            closing: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Queues a frame.
    pub fn send(&self, frame: &ToWorker) {
        self.put(|tail| frame.encode(tail), &Bytes::new());
    }

    /// Queues a live message.
    pub fn deliver(&self, id: Mid, late: bool, receivers: &[ChannelKey], outgoing: &Bytes) {
        let flags = if late { FLAG_LATE } else { 0 };
        self.put(|tail| deliver_frame(id, flags, receivers, outgoing.len(), tail), outgoing);
    }

    /// Queues one message of an answer to `Recover`.
    pub fn recover_item(&self, req: u32, id: Mid, outgoing: &Bytes) {
        self.put(|tail| recover_item_frame(req, id, outgoing.len(), tail), outgoing);
    }

    fn put(&self, head: impl FnOnce(&mut Vec<u8>), payload: &Bytes) {
        if self.closed.get().is_some() {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        let before = queue.tail.len();
        head(&mut queue.tail);
        let added = queue.tail.len() - before + payload.len();
        if payload.len() <= COPY_UP_TO {
            queue.tail.extend_from_slice(payload);
        } else {
            queue.flush_tail();
            queue.chunks.push_back(payload.clone());
        }
        if queue.tail.len() >= TAIL_FULL {
            queue.flush_tail();
        }
        drop(queue);
        self.bytes.set(self.bytes.get() + added);
        if self.bytes.get() > self.limit {
            self.close("the worker does not read fast enough");
        } else {
            self.filled.notify_one();
        }
    }

    /// Gives the link up; what is queued is dropped.
    pub fn close(&self, reason: &'static str) {
        if self.closed.get().is_none() {
            self.closed.set(Some(reason));
            *self.queue.borrow_mut() = Queue::default();
            self.filled.notify_one();
            self.closing.notify_one();
            self.drained.notify_waiters();
        }
    }

    /// Why it was closed, if it was.
    pub fn closed(&self) -> Option<&'static str> {
        self.closed.get()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Waits until bulk answers may be queued: they leave three quarters to live messages.
    pub async fn room(&self) {
        while self.bytes.get() > self.limit / 4 && self.closed.get().is_none() {
            self.drained.notified().await;
        }
    }

    /// Waits until everything is written.
    pub async fn flushed(&self) {
        while self.bytes.get() > 0 && self.closed.get().is_none() {
            self.drained.notified().await;
        }
    }

    /// Writes what is queued, until the outbox is closed (then answers the reason) or the socket
    /// breaks.
    pub async fn write_to(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<&'static str> {
        let mut chunks = VecDeque::new();
        loop {
            if let Some(reason) = self.closed.get() {
                return Ok(reason);
            }
            self.queue.borrow_mut().take(&mut chunks);
            if chunks.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let write = poll_fn(|context| {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count =
                    chunks.iter().take(SLICES).zip(&mut slices).fold(0, |n, (chunk, slice)| {
                        *slice = IoSlice::new(chunk);
                        n + 1
                    });
                Pin::new(&mut stream).poll_write_vectored(context, &slices[..count])
            });
            let written = tokio::select! {
                biased;
                written = write => written,
                () = self.closing.notified() => continue,
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    advance(&mut chunks, count);
                    self.bytes.set(self.bytes.get() - count);
                    self.drained.notify_waiters();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Queue {
    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    fn take(&mut self, into: &mut VecDeque<Bytes>) {
        self.flush_tail();
        into.append(&mut self.chunks);
    }
}

fn advance(chunks: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = chunks.front_mut() {
        if first.len() > count {
            first.advance(count);
            return;
        }
        count -= first.len();
        chunks.pop_front();
    }
}
