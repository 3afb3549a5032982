//! Many at once: order, latency and memory.
//!
//! These run alone (see `.config/nextest.toml`): figures of a busy machine say nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use push_tests::host::text_publication;
use push_tests::http1::Http1;
use push_tests::latency::Latency;
use push_tests::wait::soon;
use push_tests::websocket::{self, Mode};
use push_tests::{Channel, Host, Setup, TestResult, WebSocket, matrix, memory};
use tokio::io::BufReader;
use tokio::sync::mpsc;

matrix!(a_thousand_subscribers_get_everything_at_once, an_idle_websocket_costs_little);

const SUBSCRIBERS: usize = 1_000;
const SINGLES: usize = 1_000;
const SINGLES_PER_SECOND: u64 = 200;
const BROADCASTS: usize = 200;
const BODY: usize = 300;

/// Lets this process and those it starts have as many files open as is allowed.
fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// A message as one subscriber got it.
struct Arrival {
    subscriber: usize,
    body: String,
    mid: String,
    at: Instant,
}

fn body(text: &str) -> String {
    format!("{text:BODY$}")
}

async fn a_thousand_subscribers_get_everything_at_once(setup: Setup) -> TestResult {
    raise_file_limit()?;
    let host = setup.workers(2).start()?;
    let shared = Channel::new();
    let channels: Vec<_> = (0..SUBSCRIBERS).map(|_| Channel::new()).collect();
    let (to, mut arrived) = mpsc::unbounded_channel();
    for (subscriber, channel) in channels.iter().enumerate() {
        let list =
            format!("{}/{}", channel.signed_pair(&host.key), shared.signed_private(&host.key));
        let target = format!("/bitrix/subws/?CHANNEL_ID={list}");
        let mode = if subscriber % 2 == 0 { Mode::Binary } else { Mode::Text };
        let mut socket = WebSocket::open(&host.public(), &target, mode).await?;
        let to = to.clone();
        tokio::spawn(async move {
            loop {
                let message = socket.next().await.expect("no connection closes");
                let (body, mid) = (message.body.trim_end().to_owned(), message.mid);
                if to.send(Arrival { subscriber, body, mid, at: Instant::now() }).is_err() {
                    return;
                }
            }
        });
    }
    host.until_online(&channels).await?;

    let singles = publish_singles(&host, &channels).await?;
    let mut late = Vec::new();
    let mut last_mid = vec![String::new(); SUBSCRIBERS];
    for _ in 0..SINGLES {
        let arrival = soon("a single message", arrived.recv()).await.expect("subscribers read");
        let number: usize = arrival.body.parse()?;
        assert_eq!(arrival.subscriber, number % SUBSCRIBERS, "message {number} went astray");
        assert!(arrival.mid > last_mid[arrival.subscriber], "out of order or twice");
        late.push(arrival.at - singles[number]);
        last_mid[arrival.subscriber] = arrival.mid;
    }
    let latency = Latency::of(late);
    println!("{SINGLES} single messages at {SINGLES_PER_SECOND}/s: {latency}");

    // Each broadcast is published when the one before has reached everybody, so that its latency
    // is its own.
    let mut fan_out = Vec::new();
    let mut publisher = Http1::connect(&host.internal()).await?;
    for number in 0..BROADCASTS {
        let request = text_publication(&[&shared.private], &body(&number.to_string()), 60);
        let published = Instant::now();
        assert_eq!(publisher.request(&request).await?.status, 200);
        let mut seen = vec![false; SUBSCRIBERS];
        for _ in 0..SUBSCRIBERS {
            let arrival = soon("a broadcast", arrived.recv()).await.expect("subscribers read");
            assert_eq!(arrival.body.parse::<usize>()?, number, "to {}", arrival.subscriber);
            assert!(!std::mem::replace(&mut seen[arrival.subscriber], true), "came twice");
            assert!(arrival.mid > last_mid[arrival.subscriber], "out of order");
            last_mid[arrival.subscriber] = arrival.mid;
            fan_out.push(arrival.at - published);
        }
    }
    println!("{BROADCASTS} broadcasts to {SUBSCRIBERS}: {}", Latency::of(fan_out));

    // Nothing comes twice or late: the next thing everybody sees is the last message.
    let request = text_publication(&[&shared.private], &body("end"), 60);
    assert_eq!(publisher.request(&request).await?.status, 200);
    for _ in 0..SUBSCRIBERS {
        let arrival = soon("the last message", arrived.recv()).await.expect("subscribers read");
        assert_eq!(arrival.body, "end");
    }
    assert!(latency.percentile(99) < Duration::from_millis(10), "{latency}");
    Ok(())
}

/// Publishes one message to each channel in turn at a steady rate; tells when each was sent.
async fn publish_singles(host: &Host, channels: &[Channel]) -> io::Result<Vec<Instant>> {
    let mut connection = Http1::connect(&host.internal()).await?;
    let mut published = Vec::with_capacity(SINGLES);
    let start = Instant::now();
    for number in 0..SINGLES {
        let due = start + Duration::from_secs(1) * number as u32 / SINGLES_PER_SECOND as u32;
        tokio::time::sleep_until(due.into()).await;
        let to = &channels[number % channels.len()];
        let request = text_publication(&[&to.private], &body(&number.to_string()), 60);
        published.push(Instant::now());
        assert_eq!(connection.request(&request).await?.status, 200);
    }
    Ok(published)
}

async fn an_idle_websocket_costs_little(setup: Setup) -> TestResult {
    const SOCKETS: usize = 5_000;
    const LIMIT: u64 = 2_048;
    raise_file_limit()?;
    let mut host = setup.start()?;
    let shared = Arc::new(Channel::new().signed_private(&host.key));
    // What is allocated once and for all is not what a WebSocket costs.
    let (warm, _) = open_idle(&host, &shared, 200).await?;
    let pids = host.pids();
    let before = memory::proportional_set_size(&pids);
    let (sockets, channels) = open_idle(&host, &shared, SOCKETS).await?;
    let after = memory::proportional_set_size(&pids);
    let each = after.saturating_sub(before) / SOCKETS as u64;
    println!("{SOCKETS} idle WebSockets: {each} bytes each, {before} bytes before");
    assert!(each < LIMIT, "{each} bytes for each idle WebSocket");

    // They are alive, too.
    host.until_online(&channels[SOCKETS - 1..]).await?;
    drop((warm, sockets));
    Ok(())
}

type Idle = BufReader<push_tests::net::Stream>;

/// Opens WebSockets on a pair and a shared channel each, and leaves them alone.
async fn open_idle(
    host: &Host,
    shared: &str,
    count: usize,
) -> io::Result<(Vec<Idle>, Vec<Channel>)> {
    let mut sockets = Vec::with_capacity(count);
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        let channel = Channel::new();
        let target = format!("{}/{shared}&binaryMode=true", host.target(&channel));
        let mut connection = Http1::connect(&host.public()).await?;
        let request = websocket::handshake(&target);
        assert_eq!(connection.request(&request).await?.status, 101);
        sockets.push(connection.into_stream());
        channels.push(channel);
    }
    host.until_online(&channels).await?;
    Ok((sockets, channels))
}
