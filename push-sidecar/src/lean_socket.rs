//! A Unix socket that wakes nobody for nothing.
//!
//! The kernel reports room in a Unix socket each time its peer has read something. A socket that is
//! registered for writing, as tokio's are, so wakes the daemon once more for every message. This one
//! is registered for reading; for writing a second time, and only while it is full.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Read at once at most, bytes.
const READ: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub struct LeanSocket {
    /// What is read from.
    pub reading: Reading,
    /// What is written to.
    pub writing: Writing,
}

/// The half that is read from.
#[derive(Debug)]
pub struct Reading(AsyncFd<UnixStream>);

/// The half that is written to.
#[derive(Debug)]
pub struct Writing {
    stream: UnixStream,
    /// While it is full, under another descriptor: an epoll instance takes each but once.
    full: Option<AsyncFd<UnixStream>>,
}

impl LeanSocket {
    /// Takes over a connected socket.
    pub fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let stream = stream.into_std()?;
        let writing = Writing { stream: stream.try_clone()?, full: None };
        Ok(Self { reading: Reading(watch(stream, Interest::READABLE)?), writing })
    }
}

#[expect(
    deprecated,
    reason = "it is so for types whose descriptor may change, a socket's does not; its successor is unsafe"
)]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl Writing {
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.full.is_none() {
            self.full = Some(watch(self.stream.try_clone()?, Interest::WRITABLE)?);
        }
        if let Some(full) = &self.full {
            ready!(full.poll_write_ready(context))?.clear_ready();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_written(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_room(context))?;
                }
                written => {
                    self.full = None;
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncRead for Reading {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            // Room has to be cleared first, so not all of it is used at once.
            let room = buffer.initialize_unfilled_to(buffer.remaining().min(READ));
            let Ok(read) = ready.try_io(|stream| stream.get_ref().read(room)) else { continue };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    // What did not fill the buffer has emptied the socket.
                    if count > 0 && count < room.len() {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Writing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(context, |mut stream| stream.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

impl AsyncRead for LeanSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reading).poll_read(context, buffer)
    }
}

impl AsyncWrite for LeanSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writing).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writing).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Many times what a socket holds, so both ends have to wait.
    #[test]
    fn more_than_fits_arrives_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (one, other) = tokio::net::UnixStream::pair().expect("a pair");
            let (mut one, mut other) =
                (LeanSocket::new(one).expect("watched"), LeanSocket::new(other).expect("watched"));
            let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
            for round in 0..2 {
                let writing = async {
                    one.write_all(&sent).await.expect("written");
                    assert!(one.writing.full.is_none(), "watched for room without need");
                };
                let reading = async {
                    let mut read = vec![0; sent.len()];
                    other.read_exact(&mut read).await.expect("read");
                    read
                };
                let ((), read) = tokio::join!(writing, reading);
                assert!(read == sent, "round {round}");
            }
            drop(one);
            assert_eq!(other.read(&mut [0; 8]).await.expect("the end"), 0);
        });
    }
}
