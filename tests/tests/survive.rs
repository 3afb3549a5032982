//! What clients notice when a part of the host goes away: nothing, or as little as can be.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use push_tests::host::text_publication;
use push_tests::http1::{self, Http1, Request};
use push_tests::net::Endpoint;
use push_tests::poll::poll;
use push_tests::wait::{self, soon};
use push_tests::websocket::{Closed, Mode};
use push_tests::{Channel, Host, Nginx, Setup, Store, TestResult, WebSocket, both_nginx, matrix};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

both_nginx!(
    a_killed_sidecar_loses_nothing_with_redis,
    a_killed_redis_loses_no_connection,
    publishers_are_told_to_retry,
);
matrix!(
    a_reload_loses_nothing,
    a_stopped_sidecar_costs_no_connection,
    a_stopped_nginx_says_goodbye,
);

const SUBSCRIBERS: usize = 40;

/// What publishers were answered.
#[derive(Default, Debug)]
struct Published {
    /// The bodies answered with 200.
    stored: Vec<String>,
    /// The bodies answered with 503: not published, and never to be.
    refused: Vec<String>,
    /// The bodies answered with 504, or not at all: published once or not.
    unknown: usize,
}

/// Publishes to the channels in turn, about 200 messages a second, until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<io::Result<Published>>>,
}

impl Traffic {
    fn start(host: &Host, channels: &[Channel]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = (0..4)
            .map(|publisher| {
                let (endpoint, stop) = (host.internal(), stop.clone());
                let ids: Vec<_> = channels.iter().map(|channel| channel.private.clone()).collect();
                tokio::spawn(publish_until(endpoint, stop, publisher, ids))
            })
            .collect();
        Self { stop, publishers }
    }

    async fn end(self) -> io::Result<Published> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Published::default();
        for publisher in self.publishers {
            let published = soon("a publisher ends", publisher).await.expect("no panic")?;
            all.stored.extend(published.stored);
            all.refused.extend(published.refused);
            all.unknown += published.unknown;
        }
        Ok(all)
    }
}

async fn publish_until(
    endpoint: Endpoint,
    stop: Arc<AtomicBool>,
    publisher: usize,
    ids: Vec<String>,
) -> io::Result<Published> {
    let mut published = Published::default();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        tick.tick().await;
        let to = (publisher + number * 4) % ids.len();
        // The body tells whom it is for.
        let body = format!("{to}:{publisher}:{number}");
        let request = text_publication(&[&ids[to]], &body, 600).header("Connection", "close");
        // A reload may close a connection that has not got its answer; then the outcome is open.
        let answer = match Http1::connect(&endpoint).await {
            Ok(mut connection) => connection.request(&request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) if answer.status == 200 => published.stored.push(body),
            Ok(answer) if answer.status == 504 => published.unknown += 1,
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                let after = answer.header("Retry-After").expect("Retry-After");
                assert!(after.parse::<u32>().is_ok(), "Retry-After: {after}");
                published.refused.push(body);
            }
            Err(_) => published.unknown += 1,
        }
    }
    Ok(published)
}

/// Reads one subscriber until told to stop, and passes on what arrives.
fn collect(
    mut socket: WebSocket,
    subscriber: usize,
    to: mpsc::UnboundedSender<(usize, Result<String, Closed>)>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let arrived = socket.next().await;
            let ended = arrived.is_err();
            let arrived = arrived.map(|message| message.body);
            if to.send((subscriber, arrived)).is_err() || ended {
                return;
            }
        }
    })
}

/// Takes from `arrived` until all of `published.stored` has come; then compares: each once, to
/// the one it was for, and no connection closed.
async fn expect_all(
    arrived: &mut mpsc::UnboundedReceiver<(usize, Result<String, Closed>)>,
    published: &Published,
) {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut missing: std::collections::HashSet<_> = published.stored.iter().cloned().collect();
    let mut take = |subscriber: usize, body: Result<String, Closed>| {
        let body = body.unwrap_or_else(|closed| panic!("connection {subscriber}: {closed:?}"));
        assert!(body.starts_with(&format!("{subscriber}:")), "{body} came to {subscriber}");
        missing.remove(&body);
        *counts.entry(body).or_default() += 1;
        missing.len()
    };
    let everything = async {
        let mut left = published.stored.len();
        while left > 0 {
            let (subscriber, body) = arrived.recv().await.expect("subscribers are read");
            left = take(subscriber, body);
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(20), everything).await;
    while let Ok((subscriber, body)) = arrived.try_recv() {
        take(subscriber, body);
    }
    assert!(
        outcome.is_ok(),
        "{} of {} did not come, e.g. {:?}",
        missing.len(),
        published.stored.len(),
        missing.iter().take(5).collect::<Vec<_>>()
    );
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "came twice: {twice:?}");
    let refused: Vec<_> =
        published.refused.iter().filter(|body| counts.contains_key(*body)).collect();
    assert!(refused.is_empty(), "came in spite of 503: {refused:?}");
}

type Arrivals = mpsc::UnboundedReceiver<(usize, Result<String, Closed>)>;

/// Subscribers in both modes, being read.
async fn subscribers(host: &Host) -> io::Result<(Vec<Channel>, Arrivals)> {
    let (to, arrived) = mpsc::unbounded_channel();
    let channels: Vec<_> = (0..SUBSCRIBERS).map(|_| Channel::new()).collect();
    for (number, channel) in channels.iter().enumerate() {
        let mode = if number % 2 == 0 { Mode::Text } else { Mode::Binary };
        let socket = WebSocket::open(&host.public(), &host.target(channel), mode).await?;
        collect(socket, number, to.clone());
    }
    host.until_online(&channels).await?;
    Ok((channels, arrived))
}

/// Publishes until it is taken again.
async fn until_published(host: &Host, channel: &Channel, body: &str) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while host.post(&[&channel.private], body, 600).await?.status != 200 {
        assert!(Instant::now() < end, "publishing does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn a_killed_sidecar_loses_nothing_with_redis(mut setup: Setup) -> TestResult {
    setup.store = Store::Redis;
    let mut host = setup.workers(2).start()?;
    let (channels, mut arrived) = subscribers(&host).await?;
    let traffic = Traffic::start(&host, &channels);
    for away in [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(6)] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        host.sidecar.kill();
        tokio::time::sleep(away).await;
        host.sidecar.restart()?;
        // Recovered: somebody who is no subscriber of this test gets through.
        until_published(&host, &Channel::new(), "probe").await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let published = traffic.end().await?;
    println!("{} stored, {} refused", published.stored.len(), published.refused.len());
    assert!(published.stored.len() > 200, "{} stored", published.stored.len());
    assert!(!published.refused.is_empty(), "six seconds without a sidecar, and nobody was refused");
    expect_all(&mut arrived, &published).await;
    Ok(())
}

async fn a_killed_redis_loses_no_connection(mut setup: Setup) -> TestResult {
    setup.store = Store::Redis;
    let mut host = setup.workers(2).start()?;
    let (channels, mut arrived) = subscribers(&host).await?;
    // What was answered before the end of Redis has been delivered.
    let traffic = Traffic::start(&host, &channels);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let before = traffic.end().await?;
    assert!(before.refused.is_empty(), "{before:?}");
    expect_all(&mut arrived, &before).await;

    let redis = host.redis.as_mut().expect("the store is Redis");
    redis.kill();
    let started = Instant::now();
    let answer = host.post(&[&channels[0].private], "0:lost", 60).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("Retry-After").is_some());
    assert!(started.elapsed() < Duration::from_secs(7), "answered after {:?}", started.elapsed());
    host.redis.as_mut().expect("the store is Redis").restart()?;
    until_published(&host, &Channel::new(), "probe").await?;

    // Redis came back empty; connections are the old ones and messages come again.
    let traffic = Traffic::start(&host, &channels);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let after = traffic.end().await?;
    assert!(after.stored.len() > 50, "{after:?}");
    expect_all(&mut arrived, &after).await;
    Ok(())
}

async fn publishers_are_told_to_retry(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "before").await?;
    assert_eq!(socket.body().await, "before");

    host.sidecar.kill();
    for target in ["/bitrix/pub/?binaryMode=true", "/bitrix/pub/?CHANNEL_ID="] {
        // What needs no sidecar is answered without one.
        let answer = http1::once(&host.internal(), Request::post(target, "rubbish")).await?;
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    }
    let started = Instant::now();
    let answer = host.post(&[&channel.private], "refused", 60).await?;
    let waited = started.elapsed();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("Retry-After").is_some_and(|after| after.parse::<u32>().is_ok()));
    assert!(waited < Duration::from_secs(6), "answered after {waited:?}");

    // One that is waiting when the sidecar comes back is published.
    let (endpoint, id) = (host.internal(), channel.private.clone());
    let waiting = tokio::spawn(async move {
        http1::once(&endpoint, text_publication(&[&id], "waited", 60)).await
    });
    // The client's own connection is untouched meanwhile.
    socket.ping(b"no sidecar").await?;
    host.sidecar.restart()?;
    assert_eq!(soon("an answer", waiting).await??.status, 200);
    assert_eq!(socket.body().await, "waited");
    Ok(())
}

/// 503 says that a publish was surely not stored, 504 that nobody can tell.
#[tokio::test]
async fn publishers_are_told_what_is_known() -> TestResult {
    let mut host = Setup::new(Nginx::Installed, Store::Redis).start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "before").await?;
    assert_eq!(socket.body().await, "before");
    // Redis takes what it is told, and does it too late.
    host.redis.as_ref().expect("a Redis").command(&["CLIENT", "PAUSE", "6500", "ALL"])?;
    let answer = host.post(&[&channel.private], "carried out behind the answer", 60).await?;
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(socket.body().await, "carried out behind the answer");
    // Redis is not there at all.
    host.redis.as_mut().expect("a Redis").kill();
    let answer = host.post(&[&channel.private], "never", 60).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    host.redis.as_mut().expect("a Redis").restart()?;
    until_published(&host, &channel, "after").await?;
    assert_eq!(socket.body().await, "after");
    Ok(())
}

async fn a_stopped_sidecar_costs_no_connection(setup: Setup) -> TestResult {
    let redis = setup.store == Store::Redis;
    let mut host = setup.workers(2).start()?;
    let (channels, mut arrived) = subscribers(&host).await?;
    let traffic = Traffic::start(&host, &channels);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = host.sidecar.process().end_by(Signal::SIGTERM);
    assert!(status.success(), "push-sidecar ended with {status}");
    host.sidecar.restart()?;
    until_published(&host, &Channel::new(), "probe").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut published = traffic.end().await?;
    if !redis {
        // The memory store ends with its sidecar: only what came afterwards is certain.
        until_published(&host, &channels[0], "0:last").await?;
        published = Published { stored: vec!["0:last".into()], ..Published::default() };
    }
    expect_all(&mut arrived, &published).await;
    Ok(())
}

async fn a_reload_loses_nothing(setup: Setup) -> TestResult {
    let mut host = setup.workers(2).start()?;
    let channels: Vec<_> = (0..SUBSCRIBERS).map(|_| Channel::new()).collect();
    let mut sockets = Vec::new();
    for channel in &channels {
        sockets.push(WebSocket::open(&host.public(), &host.target(channel), Mode::Text).await?);
    }
    host.until_online(&channels).await?;
    // Each has seen something, so that it can come back with a mid.
    for channel in &channels {
        host.publish(channel, "start").await?;
    }
    for socket in &mut sockets {
        assert_eq!(socket.body().await, "start");
    }

    // The poll of a client that waits while its worker ends is answered, one way or another.
    let polled = Channel::new();
    let mut poll = Http1::connect(&host.public()).await?;
    poll.send(&Request::get(&host.target(&polled)).to_bytes()).await?;
    host.until_online(std::slice::from_ref(&polled)).await?;

    let traffic = Traffic::start(&host, &channels);
    let (to, mut arrived) = mpsc::unbounded_channel();
    let returns = Arc::new(AtomicUsize::new(0));
    for (number, (socket, channel)) in sockets.into_iter().zip(&channels).enumerate() {
        let client = Client { public: host.public(), target: host.target(channel), number };
        tokio::spawn(client.come_back(socket, to.clone(), returns.clone()));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    host.nginx.reload(|conf| conf.workers = 3).await?;
    wait::until("every client has come back", wait::SOON, || {
        returns.load(Ordering::Relaxed) >= SUBSCRIBERS
    })
    .await;
    let answer = soon("the poll's end", poll.response()).await?;
    assert!(matches!(answer.status, 200 | 304), "{answer:?}");

    tokio::time::sleep(Duration::from_millis(300)).await;
    let published = traffic.end().await?;
    assert!(published.stored.len() > 50, "{} stored", published.stored.len());
    expect_all(&mut arrived, &published).await;
    Ok(())
}

/// Somebody who comes back.
struct Client {
    public: Endpoint,
    target: String,
    number: usize,
}

impl Client {
    /// Reads; whenever the server says 1001, comes back with the last mid and reads on. It may
    /// meet the old worker a second time: that one listens until it has heard of the reload.
    async fn come_back(
        self,
        mut socket: WebSocket,
        to: mpsc::UnboundedSender<(usize, Result<String, Closed>)>,
        returns: Arc<AtomicUsize>,
    ) {
        loop {
            match socket.next().await {
                Ok(message) => {
                    if to.send((self.number, Ok(message.body))).is_err() {
                        return;
                    }
                }
                Err(closed) if closed.code == 1001 => {
                    let mid = socket.mid.take().expect("it has seen a message");
                    let target = format!("{}&mid={mid}", self.target);
                    let again = WebSocket::open(&self.public, &target, Mode::Text).await;
                    socket = again.expect("the new workers take it");
                    socket.mid = Some(mid);
                    returns.fetch_add(1, Ordering::Relaxed);
                }
                Err(closed) => {
                    let _ = to.send((self.number, Err(closed)));
                    return;
                }
            }
        }
    }
}

async fn a_stopped_nginx_says_goodbye(setup: Setup) -> TestResult {
    let mut host = setup.workers(2).start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let polled = Channel::new();
    let poll = poll(&host.public(), host.target(&polled));
    host.until_online(std::slice::from_ref(&polled)).await?;

    host.nginx.process().signal(Signal::SIGQUIT);
    assert_eq!(socket.closed().await.code, 1001);
    let answer = soon("the poll's end", poll).await??;
    assert!(matches!(answer.status, 200 | 304), "{answer:?}");
    // Nobody has to be waited for.
    let stopped = Instant::now();
    let status = host.nginx.process().end_by(Signal::SIGQUIT);
    assert!(status.success(), "nginx ended with {status}");
    assert!(stopped.elapsed() < Duration::from_secs(3), "it took {:?}", stopped.elapsed());
    Ok(())
}
