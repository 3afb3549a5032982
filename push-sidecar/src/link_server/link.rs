//! One link: a worker's connection.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use push_link::{PublishStatus, Splitter, ToSidecar, ToWorker, Versions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::exchange::{Exchange, Peer, Report, Seen};
use crate::store::Store;

/// Read at once, bytes. Frames are slices of this, so it also bounds what a small frame that is kept
/// holds on to.
const READ: usize = 64 * 1024;
/// There is room for so much at least, bytes, when the stream is read.
const READ_AT_LEAST: usize = READ / 8;
/// How long a new connection may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// Frames kept at most until the store has been reached; a worker that has more comes back later.
const EARLY: usize = 100_000;

/// Runs the link on a stream's halves to its end.
pub async fn run<S: Store + 'static>(
    reading: impl AsyncRead + Unpin,
    writing: impl AsyncWrite + Unpin,
    exchange: Rc<Exchange<S>>,
) {
    let mut input = Input { stream: reading, splitter: Splitter::new() };
    let hello = match timeout(HELLO, input.frame()).await {
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a connection that is no link; does bx_push_sidecar alone name this socket?");
            return;
        }
        Err(_) => {
            tracing::warn!(
                "a connection that says nothing; does bx_push_sidecar alone name this socket?"
            );
            return;
        }
    };
    if let ToSidecar::Control { request } = hello {
        let json = exchange.control(&request).await.into();
        return last_words(input, writing, &ToWorker::ControlAnswer { json }).await;
    }
    let ToSidecar::Hello { versions, instance, pid, resume, software } = hello else {
        return refuse(input, writing, "a link begins with Hello").await;
    };
    let ours = Versions::OURS;
    let Some(version) = ours.choose(versions) else {
        let reason = format!(
            "{software} speaks link version {versions}, push-sidecar {} speaks {ours}: install both \
             of one release and restart both",
            env!("CARGO_PKG_VERSION")
        );
        return refuse(input, writing, &reason).await;
    };
    let peer = exchange.add_link(instance, resume);
    let id = peer.id;
    exchange.name_link(id, pid);
    exchange.linked(&peer, pid, &software, version);
    tracing::info!(link = id, worker_pid = pid, software, resume, "link up");
    let mut link = Link { exchange, peer: Rc::clone(&peer), version, requests: JoinSet::new() };
    let reason = tokio::select! {
        biased;
        ended = peer.outbox.write_to(writing) => match ended {
            Ok(reason) => reason.to_owned(),
            Err(error) => error.to_string(),
        },
        ended = link.read(&mut input) => match ended {
            Ok(()) => "closed by the worker".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    link.exchange.remove_link(&peer);
    tracing::info!(link = id, worker_pid = pid, reason, "link down");
}

struct Input<R> {
    stream: R,
    splitter: Splitter,
}

impl<R: AsyncRead + Unpin> Input<R> {
    /// The next frame; `None` at the end of the stream.
    async fn frame(&mut self) -> io::Result<Option<ToSidecar>> {
        loop {
            let frame = self.splitter.next_frame().map_err(io::Error::other)?;
            if let Some(frame) = frame {
                return ToSidecar::decode(frame).map(Some).map_err(io::Error::other);
            }
            make_room(self.splitter.buffer());
            // Not `try_read`: this one knows that a short read has emptied the socket.
            if self.stream.read_buf(self.splitter.buffer()).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Frames are slices of what they were read into, and those that wait keep all of it: as many as can
/// be share one buffer.
fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() - buffer.len() < READ_AT_LEAST {
        buffer.reserve(READ);
    }
}

struct Link<S> {
    exchange: Rc<Exchange<S>>,
    peer: Rc<Peer>,
    /// What is spoken.
    version: u16,
    /// Reads under way; they end with the link. Publishes do not.
    requests: JoinSet<()>,
}

impl<S: Store + 'static> Link<S> {
    async fn read(&mut self, input: &mut Input<impl AsyncRead + Unpin>) -> io::Result<()> {
        for frame in self.wait_for_store(input).await? {
            self.handle(frame)?;
        }
        let mut turn = 0_u32;
        while let Some(frame) = input.frame().await? {
            self.handle(frame)?;
            while self.requests.try_join_next().is_some() {}
            turn += 1;
            if turn.is_multiple_of(64) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Until the store has been reached for the first time there is no order to take part in: the
    /// welcome waits. Answers what came meanwhile; publishes have been put off.
    async fn wait_for_store(
        &mut self,
        input: &mut Input<impl AsyncRead + Unpin>,
    ) -> io::Result<Vec<ToSidecar>> {
        let mut early = Vec::new();
        loop {
            let frame = tokio::select! {
                biased;
                () = self.exchange.ready() => {
                    self.exchange.welcome(&self.peer, self.version);
                    return Ok(early);
                }
                frame = input.frame() => frame?,
            };
            match frame {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(ToSidecar::Ping) => self.peer.outbox.send(&ToWorker::Pong),
                Some(ToSidecar::Publish { seq, .. }) => {
                    self.peer.outbox.send(&ToWorker::PublishAck {
                        seq,
                        status: PublishStatus::Unavailable,
                        detail: "the store has not been reached yet".into(),
                    });
                }
                Some(_) if early.len() == EARLY => {
                    return Err(io::Error::other("too much said before the store was reached"));
                }
                Some(frame) => early.push(frame),
            }
        }
    }

    fn handle(&mut self, frame: ToSidecar) -> io::Result<()> {
        let (exchange, peer) = (Rc::clone(&self.exchange), Rc::clone(&self.peer));
        match frame {
            ToSidecar::Hello { .. } | ToSidecar::Control { .. } => {
                return Err(io::Error::other("a second first frame"));
            }
            ToSidecar::Subscribe { seq, channels } => exchange.subscribe(&peer, seq, &channels),
            ToSidecar::Unsubscribe { channels } => exchange.unsubscribe(&peer, &channels),
            ToSidecar::Resume { after } => {
                self.spawn(async move { exchange.resume(peer, after).await });
            }
            ToSidecar::Recover { req, after, channels } => {
                self.spawn(async move { exchange.recover(peer, req, after, channels).await });
            }
            ToSidecar::Publish { seq, counted, messages, at } => {
                exchange.publish(peer, seq, counted, messages, at);
            }
            ToSidecar::Connections { channel, count, limit } => {
                exchange.connections(&peer, channel, count, limit);
            }
            ToSidecar::OldestAnswer { req, opened } => exchange.oldest_answer(&peer, req, opened),
            ToSidecar::Trace { req, subscribers, waiting, deliveries } => {
                let seen = Seen { subscribers, waiting, deliveries };
                exchange.traced(peer.id, req, seen);
            }
            ToSidecar::Report { websockets, polls, channels, limits, .. } => {
                let report = Report { websockets, polls, channels, limits };
                exchange.reported(peer.id, report);
            }
            ToSidecar::ServerStats { req } => {
                exchange.count_request(peer.id, "serverStats");
                self.spawn(async move { exchange.server_stats(peer, req).await });
            }
            ToSidecar::Stats { req, channels } => {
                exchange.count_request(peer.id, "channelStats");
                self.spawn(async move { exchange.stats(peer, req, channels).await });
            }
            ToSidecar::Newest { req, channels } => {
                self.spawn(async move { exchange.newest(peer, req, channels).await });
            }
            ToSidecar::Metrics { req, now, before, slow } => {
                exchange.told(&peer, req, &now, &before, slow);
            }
            ToSidecar::Observe { req, page } => {
                self.spawn(async move { exchange.observe(peer, req, page).await });
            }
            ToSidecar::Ping => peer.outbox.send(&ToWorker::Pong),
        }
        Ok(())
    }

    fn spawn(&mut self, request: impl Future<Output = ()> + 'static) {
        self.requests.spawn_local(request);
    }
}

/// How long a worker that is refused may take to hear it.
const REFUSING: Duration = Duration::from_secs(1);

async fn refuse(
    input: Input<impl AsyncRead + Unpin>,
    stream: impl AsyncWrite + Unpin,
    reason: &str,
) {
    tracing::warn!(reason, "link refused");
    let versions = Some(Versions::OURS);
    let refused = ToWorker::Refused { reason: reason.to_owned(), versions };
    last_words(input, stream, &refused).await;
}

/// Says this, and ends the connection.
async fn last_words(
    mut input: Input<impl AsyncRead + Unpin>,
    mut stream: impl AsyncWrite + Unpin,
    words: &ToWorker,
) {
    let mut frame = Vec::new();
    words.encode(&mut frame);
    let told = async {
        stream.write_all(&frame).await?;
        stream.shutdown().await?;
        // What it goes on saying is read, so that its socket does not break before it has heard.
        let mut rest = [0; 4096];
        while input.stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // It may have gone already, and need not be told.
    let _ = timeout(REFUSING, told).await;
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn frames_that_wait_share_their_buffers() {
        const FRAME: usize = 1_000;
        let (mut buffer, mut waiting, mut buffers) = (BytesMut::new(), Vec::new(), 0);
        for _ in 0..1_000 {
            let before = buffer.capacity();
            make_room(&mut buffer);
            buffers += usize::from(buffer.capacity() > before);
            assert!(buffer.capacity() >= READ_AT_LEAST);
            buffer.put_bytes(0, FRAME);
            waiting.push(buffer.split_to(FRAME).freeze());
        }
        assert!(buffers <= 2 * waiting.len() * FRAME / READ, "{buffers} buffers");
    }
}
