//! Many at once: order, latency and memory.
//!
//! These run alone (see `.config/nextest.toml`): figures of a busy machine say nothing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use push_tests::crowd::Crowd;
use push_tests::host::text_publication;
use push_tests::latency::Latency;
use push_tests::{Channel, Host, Setup, TestResult, matrix, memory, wait};

matrix!(a_thousand_subscribers_get_everything_at_once, an_idle_websocket_costs_little);

const SUBSCRIBERS: usize = 1_000;
const SINGLES: usize = 1_000;
const SINGLES_PER_SECOND: u32 = 200;
const BROADCASTS: usize = 200;
/// Bytes of a message.
const BODY: usize = 300;
/// What 99 of 100 messages must stay below.
const P99: Duration = Duration::from_millis(10);
/// Latency is measured again when something else has kept the machine busy; a slow server fails
/// each time. What arrives, and in which order, must be right in every round.
const ROUNDS: usize = 5;

/// Lets this process and those it starts have as many files open as is allowed.
fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

async fn a_thousand_subscribers_get_everything_at_once(mut setup: Setup) -> TestResult {
    raise_file_limit()?;
    // All is published on one connection, of which nginx expects no more than 1000 requests.
    setup.conf.publishing = "keepalive_requests 100000;".into();
    let host = setup.workers(2).start()?;
    let mut audience = Audience::open(&host).await?;
    let mut rounds = 0;
    let (singles, fan_out) = loop {
        let singles = audience.singles()?;
        println!("{SINGLES} single messages at {SINGLES_PER_SECOND}/s: {singles}");
        let fan_out = audience.broadcasts()?;
        println!("{BROADCASTS} broadcasts to {SUBSCRIBERS}: {fan_out}");
        rounds += 1;
        if rounds == ROUNDS || (singles.percentile(99) < P99 && fan_out.percentile(99) < P99) {
            break (singles, fan_out);
        }
    };
    audience.nothing_is_left()?;
    assert!(singles.percentile(99) < P99, "single messages: {singles}");
    assert!(fan_out.percentile(99) < P99, "broadcasts: {fan_out}");
    Ok(())
}

/// A thousand subscribers, half of them in binary mode, each on a pair of its own and on the
/// shared channel; and a publisher in a thread of its own.
struct Audience {
    crowd: Crowd,
    channels: Vec<Channel>,
    shared: Channel,
    /// The newest message id that each has seen.
    last: Vec<String>,
    publisher: Publisher,
}

impl Audience {
    async fn open(host: &Host) -> io::Result<Self> {
        let shared = Channel::new();
        let channels: Vec<_> = (0..SUBSCRIBERS).map(|_| Channel::new()).collect();
        let signed = shared.signed_private(&host.key);
        let mut crowd = Crowd::new()?;
        for (number, channel) in channels.iter().enumerate() {
            let mode = if number % 2 == 0 { "&binaryMode=true" } else { "" };
            let target = format!("{}/{signed}{mode}", host.target(channel));
            crowd.open(host.nginx.addresses.public, &target)?;
        }
        host.until_online(&channels).await?;
        let publisher = Publisher::start(host)?;
        Ok(Self { crowd, channels, shared, last: vec![String::new(); SUBSCRIBERS], publisher })
    }

    /// One message to each subscriber in turn, at a steady rate.
    fn singles(&mut self) -> io::Result<Latency> {
        let start = Instant::now();
        for number in 0..SINGLES {
            let to = &self.channels[number % SUBSCRIBERS];
            let due = start + Duration::from_secs(1) * number as u32 / SINGLES_PER_SECOND;
            self.publisher.publish(to, number, due);
        }
        let limit = Duration::from_secs(20);
        let arrivals = self.crowd.collect(SINGLES, limit)?;
        let published: Vec<_> = self.publisher.published.iter().take(SINGLES).collect();
        let mut late = Vec::with_capacity(SINGLES);
        for arrival in arrivals {
            let message = arrival.message();
            let number: usize = message.body.trim_end().parse().expect("a number");
            assert_eq!(arrival.subscriber, number % SUBSCRIBERS, "message {number} went astray");
            self.is_newer(arrival.subscriber, message.mid);
            late.push(arrival.at - published[number]);
        }
        Ok(Latency::of(late))
    }

    /// Messages to all. Each is published when the one before has reached everybody, so that its
    /// latency is its own.
    fn broadcasts(&mut self) -> io::Result<Latency> {
        let mut late = Vec::with_capacity(BROADCASTS * SUBSCRIBERS);
        for number in 0..BROADCASTS {
            self.publisher.publish(&self.shared, number, Instant::now());
            let arrivals = self.crowd.collect(SUBSCRIBERS, wait::SOON)?;
            let published = self.publisher.published.recv().expect("the publisher runs");
            for arrival in arrivals {
                let message = arrival.message();
                assert_eq!(
                    message.body.trim_end(),
                    number.to_string(),
                    "to {}",
                    arrival.subscriber
                );
                self.is_newer(arrival.subscriber, message.mid);
                late.push(arrival.at - published);
            }
        }
        Ok(Latency::of(late))
    }

    /// The next that everybody sees is one last message: nothing came a second time.
    fn nothing_is_left(&mut self) -> io::Result<()> {
        self.publisher.publish(&self.shared, usize::MAX, Instant::now());
        for arrival in self.crowd.collect(SUBSCRIBERS, wait::SOON)? {
            assert_eq!(arrival.message().body.trim_end(), usize::MAX.to_string());
        }
        Ok(())
    }

    /// In order, and none twice: what a subscriber gets is newer than what it has got before.
    fn is_newer(&mut self, subscriber: usize, mid: String) {
        let last = &mut self.last[subscriber];
        assert!(mid > *last, "to {subscriber}: {mid} after {last}");
        *last = mid;
    }
}

/// Publishes what it is told, on one connection, in a thread of its own.
struct Publisher {
    orders: Sender<(Instant, Vec<u8>)>,
    /// When each publication was sent.
    published: Receiver<Instant>,
}

impl Publisher {
    fn start(host: &Host) -> io::Result<Self> {
        let mut connection = TcpStream::connect(host.nginx.addresses.internal)?;
        connection.set_nodelay(true)?;
        let (orders, to_do) = channel::<(Instant, Vec<u8>)>();
        let (done, published) = channel();
        thread::spawn(move || {
            let mut answer = [0; 1024];
            for (due, request) in to_do {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let at = Instant::now();
                connection.write_all(&request).expect("is sent");
                let len = connection.read(&mut answer).expect("an answer");
                let answer = String::from_utf8_lossy(&answer[..len]);
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                if done.send(at).is_err() {
                    return;
                }
            }
        });
        Ok(Self { orders, published })
    }

    fn publish(&self, to: &Channel, number: usize, due: Instant) {
        let request = text_publication(&[&to.private], &format!("{number:<BODY$}"), 60);
        self.orders.send((due, request.to_bytes())).expect("the publisher runs");
    }
}

async fn an_idle_websocket_costs_little(setup: Setup) -> TestResult {
    const SOCKETS: usize = 5_000;
    const LIMIT: u64 = 2_048;
    raise_file_limit()?;
    let mut host = setup.start()?;
    let shared = Channel::new().signed_private(&host.key);
    // What is allocated once and for all is not what a WebSocket costs.
    let warm = open_idle(&host, &shared, 200).await?;
    let pids = host.pids();
    let before = memory::proportional_set_size(&pids);
    let idle = open_idle(&host, &shared, SOCKETS).await?;
    let after = memory::proportional_set_size(&pids);
    let each = after.saturating_sub(before) / SOCKETS as u64;
    println!("{SOCKETS} idle WebSockets: {each} bytes each, {before} bytes before");
    assert!(each < LIMIT, "{each} bytes for each idle WebSocket");
    drop((warm, idle));
    Ok(())
}

/// Opens WebSockets on a pair and a shared channel each, and leaves them alone.
async fn open_idle(host: &Host, shared: &str, count: usize) -> io::Result<Crowd> {
    let channels: Vec<_> = (0..count).map(|_| Channel::new()).collect();
    let mut crowd = Crowd::new()?;
    for channel in &channels {
        let target = format!("{}/{shared}&binaryMode=true", host.target(channel));
        crowd.open(host.nginx.addresses.public, &target)?;
    }
    host.until_online(&channels).await?;
    Ok(crowd)
}
