//! Byte streams between the simulated processes: in order, with delays, of limited capacity, and
//! breakable in the ways sockets break.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::rng::Rng;

/// How a stream behaves while nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Bytes that may be on their way in one direction.
    pub capacity: usize,
    /// The longest ordinary delay, milliseconds.
    pub delay: u64,
    /// How many writes out of 1000 are much slower.
    pub slow_permille: u64,
}

/// One direction.
struct Flow {
    quality: Quality,
    rng: Rng,
    /// Bytes, and when they arrive.
    on_their_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    last_arrival: Instant,
    /// When the reader sees the end.
    end: Option<Instant>,
    reader_gone: bool,
    broken: bool,
    /// Nothing arrives any more, and nobody is told.
    swallowed: bool,
    held_until: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn new(quality: Quality, rng: Rng) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            quality,
            rng,
            on_their_way: VecDeque::new(),
            bytes: 0,
            last_arrival: Instant::now(),
            end: None,
            reader_gone: false,
            broken: false,
            swallowed: false,
            held_until: None,
            reader: None,
            writer: None,
        }))
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// When what is written now arrives: behind everything written before.
    fn arrival(&mut self) -> Instant {
        let Quality { delay, slow_permille, .. } = self.quality;
        let slow = self.rng.chance(slow_permille);
        let delay = self.rng.range(0, if slow { delay * 20 + 50 } else { delay });
        self.last_arrival = self.last_arrival.max(Instant::now() + Duration::from_millis(delay));
        self.last_arrival
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.reader_gone || self.end.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = self.quality.capacity.saturating_sub(self.bytes);
        let count = room.min(bytes.len());
        if count > 0 {
            let arrival = self.arrival();
            self.bytes += count;
            self.on_their_way.push_back((arrival, bytes[..count].to_vec()));
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Ok(count)
    }

    fn finish(&mut self) {
        if self.end.is_none() {
            self.end = Some(self.arrival());
            self.wake();
        }
    }
}

type Shared = Arc<Mutex<Flow>>;

fn lock(flow: &Shared) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end that is read from.
pub struct Reader {
    flow: Shared,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reader {
    /// Whether the other end has gone, even if what it said is still to be read.
    pub fn is_abandoned(&self) -> bool {
        lock(&self.flow).end.is_some()
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let shared = Arc::clone(&self.flow);
            let mut flow = lock(&shared);
            if flow.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let next = flow.on_their_way.front().map(|(at, _)| *at).or(flow.end);
            let next = next.filter(|_| !flow.swallowed);
            let Some(at) = next.map(|at| flow.held_until.map_or(at, |held| held.max(at))) else {
                flow.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            if at <= Instant::now() {
                if let Some((_, bytes)) = flow.on_their_way.front_mut() {
                    let count = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..count]);
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        flow.on_their_way.pop_front();
                    }
                    flow.bytes -= count;
                    if let Some(writer) = flow.writer.take() {
                        writer.wake();
                    }
                }
                return Poll::Ready(Ok(()));
            }
            flow.reader = Some(context.waker().clone());
            drop(flow);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut flow = lock(&self.flow);
        flow.reader_gone = true;
        flow.wake();
    }
}

/// The end that is written to.
pub struct Writer(Shared);

impl Writer {
    /// Writes what there is room for at once.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    /// Waits until there is room, or the stream has broken. Does not borrow the writer.
    pub fn room(&self) -> impl Future<Output = ()> + 'static {
        let flow = Arc::downgrade(&self.0);
        poll_fn(move |context| {
            let Some(flow) = flow.upgrade() else { return Poll::Ready(()) };
            let mut flow = lock(&flow);
            if flow.broken || flow.reader_gone || flow.bytes < flow.quality.capacity {
                return Poll::Ready(());
            }
            flow.writer = Some(context.waker().clone());
            Poll::Pending
        })
    }

    /// Nothing more will be written.
    pub fn finish(&self) {
        lock(&self.0).finish();
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut flow = lock(&self.0);
        match flow.write(bytes) {
            Ok(0) if !bytes.is_empty() => {
                flow.writer = Some(context.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One process's end of a connection.
pub struct End {
    /// What the other end says.
    pub reader: Reader,
    /// What is said to it.
    pub writer: Writer,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.finish();
        Poll::Ready(Ok(()))
    }
}

/// What can happen to a connection from outside. Does not keep it open.
#[derive(Clone)]
pub struct Wire([Weak<Mutex<Flow>>; 2]);

impl Wire {
    /// Whether both ends have gone.
    pub fn is_gone(&self) -> bool {
        self.0.iter().all(|flow| flow.strong_count() == 0)
    }

    /// Both ends see a reset; what was on its way is lost.
    pub fn reset(&self) {
        self.each(|flow| {
            flow.broken = true;
            flow.on_their_way.clear();
        });
    }

    /// Nothing arrives any more in either direction, and nobody is told.
    pub fn swallow(&self) {
        self.each(|flow| flow.swallowed = true);
    }

    /// Nothing arrives for a while.
    pub fn hold(&self, time: Duration) {
        let until = Instant::now() + time;
        self.each(|flow| flow.held_until = Some(until));
    }

    /// What was held arrives.
    pub fn release(&self) {
        self.each(|flow| flow.held_until = None);
    }

    fn each(&self, act: impl Fn(&mut Flow)) {
        for flow in self.0.iter().filter_map(Weak::upgrade) {
            let mut flow = lock(&flow);
            act(&mut flow);
            flow.wake();
        }
    }
}

/// A new connection: its two ends, and the wire between them.
pub fn connection(quality: Quality, rng: &mut Rng) -> (End, End, Wire) {
    let (there, back) = (Flow::new(quality, rng.fork()), Flow::new(quality, rng.fork()));
    let end = |reads: &Shared, writes: &Shared| End {
        reader: Reader { flow: Arc::clone(reads), timer: None },
        writer: Writer(Arc::clone(writes)),
    };
    let wire = Wire([Arc::downgrade(&there), Arc::downgrade(&back)]);
    (end(&back, &there), end(&there, &back), wire)
}
