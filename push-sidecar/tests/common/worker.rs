//! The worker's end of a link, for tests.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use push_link::{PublishItem, PublishStatus, Splitter, ToSidecar, ToWorker, Versions};
use push_protocol::{ChannelKey, Mid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::PATIENCE;

pub fn subscribing(seq: u32, channels: Vec<ChannelKey>) -> ToSidecar {
    ToSidecar::Subscribe { seq, channels }
}

pub fn publishing(seq: u64, messages: Vec<PublishItem>) -> ToSidecar {
    ToSidecar::Publish { seq, counted: true, messages, at: 0 }
}

pub struct Worker {
    stream: UnixStream,
    splitter: Splitter,
    /// Frames that were read while looking for another kind.
    pub skipped: VecDeque<ToWorker>,
    pub position: Mid,
}

impl Worker {
    /// Without a word.
    pub async fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.expect("the sidecar listens");
        Self { stream, splitter: Splitter::new(), skipped: VecDeque::new(), position: Mid::ZERO }
    }

    pub async fn connect(socket: &Path, instance: u64, resume: bool) -> Self {
        let mut worker = Self::open(socket).await;
        let hello = ToSidecar::Hello {
            versions: Versions::OURS,
            instance,
            pid: std::process::id(),
            resume,
            software: "test".into(),
        };
        worker.send(&hello).await;
        match worker.answer().await {
            ToWorker::Welcome { position, .. } => worker.position = position,
            other => panic!("not welcome: {other:?}"),
        }
        worker
    }

    pub async fn send(&mut self, frame: &ToSidecar) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).await.expect("sent");
    }

    /// The next frame; `None` when the sidecar has closed the link.
    pub async fn try_next(&mut self) -> Option<ToWorker> {
        let reading = async {
            loop {
                if let Some(frame) = self.splitter.next_frame().expect("frames") {
                    return Some(ToWorker::decode(frame).expect("a frame"));
                }
                match self.stream.read_buf(self.splitter.buffer()).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the sidecar says nothing")
    }

    pub async fn next(&mut self) -> ToWorker {
        self.try_next().await.expect("the link is open")
    }

    /// The next frame but questions for statistics, which may come at any time.
    pub async fn try_answer(&mut self) -> Option<ToWorker> {
        loop {
            let frame = self.try_next().await;
            if !matches!(frame, Some(ToWorker::ReportWanted { .. })) {
                return frame;
            }
        }
    }

    pub async fn answer(&mut self) -> ToWorker {
        self.try_answer().await.expect("the link is open")
    }

    /// The next frame that `pick` takes; others are kept in `skipped`.
    pub async fn find<T>(&mut self, mut pick: impl FnMut(&ToWorker) -> Option<T>) -> T {
        loop {
            let frame = self.next().await;
            if let Some(found) = pick(&frame) {
                return found;
            }
            self.skipped.push_back(frame);
        }
    }

    pub async fn subscribe(&mut self, seq: u32, channels: &[ChannelKey]) -> Mid {
        self.send(&subscribing(seq, channels.to_vec())).await;
        self.find(|frame| match frame {
            ToWorker::Position { seq: s, position } if *s == seq => Some(*position),
            _ => None,
        })
        .await
    }

    pub async fn publish(
        &mut self,
        seq: u64,
        messages: Vec<PublishItem>,
    ) -> (PublishStatus, String) {
        self.send(&publishing(seq, messages)).await;
        self.ack(seq).await
    }

    pub async fn ack(&mut self, seq: u64) -> (PublishStatus, String) {
        self.find(|frame| match frame {
            ToWorker::PublishAck { seq: s, status, detail } if *s == seq => {
                Some((*status, detail.clone()))
            }
            _ => None,
        })
        .await
    }

    /// The ids of an answer to `Recover`, and up to where it is complete.
    pub async fn recover(
        &mut self,
        req: u32,
        after: Mid,
        channels: &[ChannelKey],
    ) -> (Vec<Mid>, Mid) {
        self.send(&ToSidecar::Recover { req, after, channels: channels.to_vec() }).await;
        let mut items = Vec::new();
        let as_of = self
            .find(|frame| match frame {
                ToWorker::RecoverItem { req: r, id, .. } if *r == req => {
                    items.push(*id);
                    None
                }
                ToWorker::RecoverEnd { req: r, ok, as_of } if *r == req => {
                    assert!(ok);
                    Some(*as_of)
                }
                _ => None,
            })
            .await;
        (items, as_of)
    }

    /// The next live message: id, late, receivers.
    pub async fn delivery(&mut self) -> (Mid, bool, Vec<ChannelKey>) {
        let deliver = |frame: &ToWorker| match frame {
            ToWorker::Deliver { id, flags, receivers, .. } => {
                Some((*id, *flags != 0, receivers.clone()))
            }
            _ => None,
        };
        if let Some(at) = self.skipped.iter().position(|frame| deliver(frame).is_some()) {
            return self.skipped.remove(at).as_ref().and_then(deliver).expect("a delivery");
        }
        self.find(deliver).await
    }

    /// The `OutgoingMessage` of the next live message.
    pub async fn delivered_bytes(&mut self) -> Bytes {
        let deliver = |frame: &ToWorker| match frame {
            ToWorker::Deliver { outgoing, .. } => Some(outgoing.clone()),
            _ => None,
        };
        if let Some(at) = self.skipped.iter().position(|frame| deliver(frame).is_some()) {
            return self.skipped.remove(at).as_ref().and_then(deliver).expect("a delivery");
        }
        self.find(deliver).await
    }

    /// Asks for a pong: everything the sidecar had queued before has arrived then.
    pub async fn ping(&mut self) {
        self.send(&ToSidecar::Ping).await;
        self.find(|frame| matches!(frame, ToWorker::Pong).then_some(())).await;
    }

    /// Live messages that have been read while looking for something else.
    pub fn skipped_deliveries(&self) -> Vec<Mid> {
        let ids = self.skipped.iter().filter_map(|frame| match frame {
            ToWorker::Deliver { id, .. } => Some(*id),
            _ => None,
        });
        ids.collect()
    }
}
