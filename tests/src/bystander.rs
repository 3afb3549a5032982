//! Somebody who does nothing wrong while others do: a publisher and its subscriber, and how long
//! their messages take meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::channel::Channel;
use crate::host::{Host, text_publication};
use crate::http1::Http1;
use crate::latency::Latency;
use crate::wait::soon;
use crate::websocket::{Mode, WebSocket};

/// Between a message and the next.
const PAUSE: Duration = Duration::from_millis(5);

/// Publishes and reads one message after the other until told to stop.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<io::Result<Vec<Duration>>>,
}

impl Bystander {
    /// Begins. `keepalive_requests` of the publishing location must allow for all its requests.
    pub async fn start(host: &Host) -> io::Result<Self> {
        let channel = Channel::new();
        let socket = host.subscribe(&channel, Mode::Text).await?;
        let publisher = Http1::connect(&host.internal()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(carry_on(channel, socket, publisher, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    /// Ends, and tells from publishing to arrival how long each message took. Each has arrived.
    pub async fn end(self) -> io::Result<Latency> {
        self.stop.store(true, Ordering::Relaxed);
        let measured = soon("the bystander ends", self.task).await.expect("no panic")?;
        Ok(Latency::of(measured))
    }
}

async fn carry_on(
    channel: Channel,
    mut socket: WebSocket,
    mut publisher: Http1,
    stop: Arc<AtomicBool>,
) -> io::Result<Vec<Duration>> {
    let mut measured = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let body = measured.len().to_string();
        let started = Instant::now();
        let answer = publisher.request(&text_publication(&[&channel.private], &body, 0)).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(socket.body().await, body);
        measured.push(started.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(measured)
}
