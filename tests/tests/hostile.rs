//! Slow and hostile clients: each costs its own connection only. Meanwhile somebody else's messages
//! flow, as fast as ever, and the worker's memory stays within its limits.
//!
//! These run alone (see `.config/nextest.toml`): latency on a busy machine says nothing.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use prost::Message as _;
use push_tests::bystander::Bystander;
use push_tests::http1::{self, Http1, Request};
use push_tests::net::Stream;
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::wait::{self, soon};
use push_tests::websocket::{Mode, handshake};
use push_tests::{Channel, Host, Setup, TestResult, WebSocket, both_nginx, memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

both_nginx!(
    readers_that_stop_are_cut_off,
    floods_of_frames_are_held_back,
    bytes_come_one_by_one_or_never,
    wrong_frames_cost_their_connection,
    peers_that_vanish_are_noticed,
    publishers_that_stall_are_given_up,
    bombs_are_refused,
    nothing_is_injected_into_logs,
);

/// What 99 of 100 messages of somebody else must stay below. A turn of the event loop that is not
/// bounded takes several times that.
const P99: Duration = Duration::from_millis(100);

/// More than what is limited: allocators keep some of what they are given back.
const SLACK: u64 = 24 << 20;

/// Whether nginx runs under sanitizers: slower by far, and it keeps what was freed for a while.
fn is_sanitized() -> bool {
    std::env::var_os("ASAN_OPTIONS").is_some()
}

fn start(mut setup: Setup, http: &str) -> io::Result<Host> {
    setup.conf.http = http.into();
    setup.conf.publishing = "keepalive_requests 1000000; client_body_timeout 1s;".into();
    setup.start()
}

/// The bystander has not noticed anything.
async fn unharmed(what: &str, bystander: Bystander) -> io::Result<()> {
    let latency = bystander.end().await?;
    println!("{what}: {latency}");
    let bound = if is_sanitized() { 20 * P99 } else { P99 };
    assert!(latency.percentile(99) < bound, "{what}: {latency}");
    Ok(())
}

/// What the worker has counted, told when it ended.
fn counted(host: &mut Host, name: &str) -> u64 {
    assert_eq!(host.nginx.stop(), [""; 0]);
    let log = host.nginx.error_log();
    let line = log.lines().rfind(|line| line.contains("push module: delivered="));
    let line = line.unwrap_or_else(|| panic!("no counters in\n{log}"));
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn worker_memory(host: &Host) -> u64 {
    memory::proportional_set_size(&host.nginx.workers())
}

/// A WebSocket without a library, for what no library would send.
async fn raw(host: &Host, target: &str) -> io::Result<BufReader<Stream>> {
    let mut connection = Http1::connect(&host.public()).await?;
    let answer = connection.request(&handshake(target)).await?;
    assert_eq!(answer.status, 101, "{answer:?}");
    Ok(connection.into_stream())
}

/// Reads until `end` has come, and returns it with all that stood in front of it.
async fn until_seen(stream: &mut BufReader<Stream>, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    while !seen.windows(end.len()).any(|window| window == end) {
        seen.push(soon("a byte", stream.read_u8()).await?);
    }
    Ok(seen)
}

/// A frame of a client, masked with zeros.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

async fn readers_that_stop_are_cut_off(setup: Setup) -> TestResult {
    let mut host = start(setup, "bx_push_max_queue 1m; bx_push_max_queue_total 4m;")?;
    let bystander = Bystander::start(&host).await?;
    let channels: Vec<_> = (0..30).map(|_| Channel::new()).collect();
    let mut stalled = Vec::new();
    for channel in &channels {
        let stream = host.public().connect_narrow(4096).await?;
        stalled.push(WebSocket::open_on(stream, &host.target(channel), Mode::Text).await?);
    }
    host.until_online(&channels).await?;
    let before = worker_memory(&host);
    let body = "x".repeat(900_000);
    let mut peak = before;
    // 135 MB for those who do not read a byte; sockets take some of it.
    for round in 0..5 {
        for channel in &channels {
            let answer = host.post(&[&channel.private], &format!("{round}{body}"), 0).await?;
            assert_eq!(answer.status, 200);
        }
        peak = peak.max(worker_memory(&host));
    }
    unharmed("readers that stop", bystander).await?;
    let grown = peak.saturating_sub(before);
    println!("memory has grown by {grown} bytes");
    assert!(is_sanitized() || grown < (4 << 20) + SLACK, "memory has grown by {grown} bytes");
    assert!(host.nginx.error_log().contains("bx_push_max_queue_total is 4194304"));
    drop(stalled);
    let (crowded, slow) = (counted(&mut host, "crowded"), counted(&mut host, "slow"));
    println!("{crowded} cut off for the worker's limit, {slow} for their own");
    assert!(crowded >= 8 && crowded + slow <= 30, "{crowded}, {slow}");
    Ok(())
}

/// What floods.
fn floods(host: &Host, channel: &Channel) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let receiver = Receiver {
        id: push_tests::channel::unhex(&channel.public),
        is_private: false,
        signature: channel.public_signature(&host.key),
    };
    let message =
        IncomingMessage { receivers: vec![receiver], body: "\"flood\"".into(), expiry: 0 };
    let batch = RequestBatch::publish(vec![message]).encode_to_vec();
    vec![
        ("pings", "", frame(0x89, b"?")),
        ("pongs", "", frame(0x8a, b"")),
        ("texts", "", frame(0x81, b"hello")),
        ("fragments", "", [frame(0x01, b"a"), frame(0x80, b"b")].concat()),
        ("publications", "&binaryMode=true", frame(0x82, &batch)),
    ]
}

async fn floods_of_frames_are_held_back(setup: Setup) -> TestResult {
    const EACH: usize = 2;
    const FRAMES: usize = 10_000;
    let mut host = start(setup, "")?;
    let before = worker_memory(&host);
    let mut peak = before;
    for (what, query, bytes) in floods(&host, &Channel::new()) {
        let bystander = Bystander::start(&host).await?;
        let channel = Channel::new();
        // It publishes to its own channel, and hears itself.
        let bytes = if query.is_empty() {
            bytes
        } else {
            floods(&host, &channel).pop().expect("the last").2
        };
        let threads: Vec<_> = (0..EACH)
            .map(|_| {
                let (address, bytes) = (host.nginx.addresses.public, bytes.clone());
                let target = format!("{}{query}", host.target(&channel));
                thread::spawn(move || flood(address, &target, &bytes, FRAMES))
            })
            .collect();
        let started = Instant::now();
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            peak = peak.max(worker_memory(&host));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for thread in threads {
            thread.join().expect("no panic")?;
        }
        let took = started.elapsed();
        unharmed(&format!("{EACH} x {FRAMES} {what} in {took:?}"), bystander).await?;
    }
    let grown = peak.saturating_sub(before);
    println!("memory has grown by {grown} bytes");
    assert!(is_sanitized() || grown < SLACK, "memory has grown by {grown} bytes");
    assert!(counted(&mut host, "postponed") > 0);
    assert_eq!(counted(&mut host, "malformed"), 0);
    Ok(())
}

/// Half of the frames at once, and the others over a second; reads what comes, to the answer of a
/// last ping.
fn flood(
    address: std::net::SocketAddr,
    target: &str,
    bytes: &[u8],
    frames: usize,
) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(wait::SOON))?;
    socket.write_all(&handshake(target).to_bytes())?;
    let mut reader = socket.try_clone()?;
    let reading = thread::spawn(move || read_to_last_pong(&mut reader));
    socket.write_all(&bytes.repeat(frames / 2))?;
    let piece = bytes.repeat(frames / 2 / 100);
    for _ in 0..100 {
        socket.write_all(&piece)?;
        thread::sleep(Duration::from_millis(10));
    }
    socket.write_all(&frame(0x89, LAST))?;
    reading.join().expect("no panic")
}

/// No other frame has it.
const LAST: &[u8] = b"the last ping of a flood";

fn read_to_last_pong(socket: &mut TcpStream) -> io::Result<()> {
    let mut tail = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = io::Read::read(socket, &mut buffer)?;
        if len == 0 {
            return Err(io::Error::other("cut off for flooding"));
        }
        tail.extend_from_slice(&buffer[..len]);
        if tail.windows(LAST.len()).any(|window| window == LAST) {
            return Ok(());
        }
        tail.drain(..tail.len().saturating_sub(LAST.len()));
    }
}

async fn bytes_come_one_by_one_or_never(setup: Setup) -> TestResult {
    let host = start(setup, "client_header_timeout 1s;")?;
    let bystander = Bystander::start(&host).await?;
    let channel = Channel::new();
    // Handshakes that are never finished.
    let mut unfinished = Vec::new();
    for _ in 0..100 {
        let mut connection = Http1::connect(&host.public()).await?;
        connection.send(&handshake(&host.target(&channel)).to_bytes()[..60]).await?;
        unfinished.push(connection);
    }
    // One whose every byte is a segment of its own, frames included.
    let mut slow = Http1::connect(&host.public()).await?;
    for byte in handshake(&host.target(&channel)).to_bytes() {
        slow.send(&[byte]).await?;
    }
    assert_eq!(soon("the handshake", slow.response()).await?.status, 101);
    for byte in [frame(0x89, b"slow"), frame(0x01, b"in "), frame(0x80, b"parts")].concat() {
        slow.send(&[byte]).await?;
    }
    host.until_online(std::slice::from_ref(&channel)).await?;
    host.publish(&channel, "to the slow").await?;
    let mut stream = slow.into_stream();
    let mut got = vec![0; 6];
    soon("the pong", stream.read_exact(&mut got)).await?;
    assert_eq!(got, b"\x8a\x04slow");
    let mut message = vec![0; 60];
    soon("the message", stream.read_exact(&mut message)).await?;
    for connection in &mut unfinished {
        // nginx answers 408, or only closes.
        let mut rest = Vec::new();
        let ended = connection.rest(&mut rest);
        soon("the end of a handshake", ended).await?;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    }
    unharmed("handshakes that are not finished", bystander).await?;
    Ok(())
}

async fn wrong_frames_cost_their_connection(setup: Setup) -> TestResult {
    let mut host = start(setup, "bx_push_max_payload 64k;")?;
    let bystander = Bystander::start(&host).await?;
    let big = |first: u8, len: u64| {
        let mut head = vec![first, 0xff];
        head.extend(len.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let wrong = [
        ("unmasked", vec![0x81, 0x01, b'a'], 1002),
        ("reserved bits", frame(0xf1, b"a"), 1002),
        ("a compressed frame", frame(0xc1, b"a"), 1002),
        ("a reserved opcode", frame(0x83, b"a"), 1002),
        ("a reserved control opcode", frame(0x8b, b"a"), 1002),
        ("a ping in fragments", frame(0x09, b"a"), 1002),
        ("a ping of 126 bytes", frame(0x89, &[b'a'; 126]), 1002),
        ("a close of one byte", frame(0x88, b"a"), 1002),
        ("a code that may not be sent", frame(0x88, &1006_u16.to_be_bytes()), 1002),
        ("a reason that is no text", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("a continuation of nothing", frame(0x80, b"a"), 1002),
        ("a message within another", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("text that is none", frame(0x81, b"\xc3\x28"), 1007),
        (
            "text cut within a character",
            [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(),
            1007,
        ),
        ("a byte too much", big(0x82, (64 << 10) + 1), 1009),
        ("all bytes there are", big(0x82, u64::MAX), 1009),
        (
            "too much in fragments",
            [frame(0x02, &vec![0; 60_000]), frame(0x80, &vec![0; 6_000])].concat(),
            1009,
        ),
    ];
    let count = wrong.len() as u64;
    for (what, bytes, code) in wrong {
        let mut stream = raw(&host, &host.target(&Channel::new())).await?;
        stream.write_all(&bytes).await?;
        let mut rest = Vec::new();
        soon("the end of the connection", stream.read_to_end(&mut rest)).await?;
        assert_eq!(rest, [&[0x88, 0x02], &u16::to_be_bytes(code)[..]].concat(), "{what}");
    }
    // What looks wrong and is not: control frames between fragments, thousands of empty ones.
    let mut stream = raw(&host, &host.target(&Channel::new())).await?;
    let mut odd = frame(0x01, b"a");
    for _ in 0..5_000 {
        odd.extend(frame(0x00, b""));
    }
    odd.extend([frame(0x89, b"between"), frame(0x8a, b""), frame(0x80, b"z")].concat());
    odd.extend(frame(0x88, &3000_u16.to_be_bytes()));
    stream.write_all(&odd).await?;
    let mut rest = Vec::new();
    soon("the end of the connection", stream.read_to_end(&mut rest)).await?;
    assert_eq!(rest, b"\x8a\x07between\x88\x02\x0b\xb8");
    unharmed("wrong frames", bystander).await?;
    assert_eq!(counted(&mut host, "malformed"), count);
    Ok(())
}

async fn peers_that_vanish_are_noticed(setup: Setup) -> TestResult {
    let mut host = start(setup, "bx_push_ping_interval 1s;")?;
    let bystander = Bystander::start(&host).await?;
    // No FIN, no pong: to a server it is the same whether the cable is cut or nobody answers.
    let mut vanished = Vec::new();
    for _ in 0..20 {
        vanished.push(raw(&host, &host.target(&Channel::new())).await?);
    }
    // One whose socket is full, so that not even the ping goes out.
    let channel = Channel::new();
    let stream = host.public().connect_narrow(4096).await?;
    let full = WebSocket::open_on(stream, &host.target(&channel), Mode::Text).await?;
    host.until_online(std::slice::from_ref(&channel)).await?;
    host.post(&[&channel.private], &"x".repeat(1_000_000), 0).await?;
    let started = Instant::now();
    for stream in &mut vanished {
        let mut rest = Vec::new();
        soon("the end of the connection", stream.read_to_end(&mut rest)).await?;
        assert_eq!(rest, b"\x89\x07ws ping");
    }
    let took = started.elapsed();
    println!("noticed after {took:?}");
    // Two intervals, and what the loop above took before.
    assert!(took < Duration::from_secs(3), "{took:?}");
    let end = Instant::now() + wait::SOON;
    while !is_offline(&host, &channel).await? {
        assert!(Instant::now() < end, "the one with the full socket stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unharmed("peers that vanish", bystander).await?;
    drop(full);
    assert_eq!(counted(&mut host, "silent"), 21);
    Ok(())
}

/// A channel is online for 10 s after its last connection, so that connections are counted instead.
async fn is_offline(host: &Host, _: &Channel) -> io::Result<bool> {
    let answer = http1::once(&host.internal(), Request::get("/server-stat/")).await?;
    // The bystander's is left.
    Ok(answer.text().contains("\"websockets\":1"))
}

async fn publishers_that_stall_are_given_up(setup: Setup) -> TestResult {
    let host = start(setup, "")?;
    let bystander = Bystander::start(&host).await?;
    let mut stalled = Vec::new();
    for number in 0..100 {
        let mut connection = Http1::connect(&host.internal()).await?;
        let head =
            if number % 2 == 0 { "Content-Length: 100000" } else { "Transfer-Encoding: chunked" };
        let request = format!(
            "POST /bitrix/pub/?CHANNEL_ID={} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n5\r\nhello",
            Channel::new().private
        );
        connection.send(request.as_bytes()).await?;
        stalled.push(connection);
    }
    for connection in &mut stalled {
        let mut rest = Vec::new();
        soon("the end of a publisher", connection.rest(&mut rest)).await?;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    }
    unharmed("publishers that stall", bystander).await?;
    Ok(())
}

async fn bombs_are_refused(setup: Setup) -> TestResult {
    let host = start(setup, "large_client_header_buffers 4 512k;")?;
    let bystander = Bystander::start(&host).await?;
    let before = worker_memory(&host);
    let channel = Channel::new();
    let signed = channel.signed_pair(&host.key);

    // Longer than any buffer.
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", "a".repeat(600 << 10));
    for request in [Request::get(&target), handshake(&target)] {
        let answer = http1::once(&host.public(), request).await?;
        assert_eq!(answer.status, 414);
    }
    let bomb = Request::get(&host.target(&channel)).header("X-Bomb", &"b".repeat(600 << 10));
    assert_eq!(http1::once(&host.public(), bomb).await?.status, 400);
    let mut many = Request::get(&host.target(&channel));
    for number in 0..40 {
        many = many.header(&format!("X-Bomb-{number}"), &"b".repeat(60 << 10));
    }
    assert_eq!(http1::once(&host.public(), many).await?.status, 400);

    // A thousand parameters, the last counts; a list with one flaw at its end is void.
    let target = format!("/bitrix/subws/?{}CHANNEL_ID={signed}", "CHANNEL_ID=%&".repeat(1_000));
    drop(raw(&host, &target).await?);
    let list = vec![signed.as_str(); 2_500].join("/");
    for _ in 0..20 {
        let mut void = raw(&host, &format!("/bitrix/subws/?CHANNEL_ID={list}/x")).await?;
        assert_eq!(until_seen(&mut void, b"Wrong Channel Id").await?[2..4], 4010_u16.to_be_bytes());
    }
    // Thousands of channels in one list: the same again and again, and different ones.
    let mut same = raw(&host, &format!("/bitrix/subws/?CHANNEL_ID={list}")).await?;
    let channels: Vec<_> = (0..2_500).map(|_| Channel::new()).collect();
    let all: Vec<_> = channels.iter().map(|channel| channel.signed_private(&host.key)).collect();
    let mut different = raw(&host, &format!("/bitrix/subws/?CHANNEL_ID={}", all.join("/"))).await?;
    host.until_online(&[channel.clone(), channels[2_499].clone()]).await?;
    host.publish(&channel, "only once").await?;
    host.publish(&channel, "the end").await?;
    host.publish(&channels[2_499], "to the last").await?;
    let seen = String::from_utf8_lossy(&until_seen(&mut same, b"the end").await?).into_owned();
    assert_eq!(seen.matches("only once").count(), 1, "{seen}");
    until_seen(&mut different, b"to the last").await?;

    unharmed("bombs", bystander).await?;
    let grown = worker_memory(&host).saturating_sub(before);
    assert!(is_sanitized() || grown < SLACK, "memory has grown by {grown} bytes");
    Ok(())
}

async fn nothing_is_injected_into_logs(setup: Setup) -> TestResult {
    let mut host = start(setup, "")?;
    let evil = "%0a%0d%1b%5b31m2026/01/01 00:00:00 [alert] 1#1: INJECTED".replace(' ', "%20");
    let raw_evil = "\u{1b}[31mINJECTED\u{9b}31m";
    for role in ["/bitrix/subws/", "/bitrix/sub/"] {
        let target = format!("{role}?CHANNEL_ID={evil}&mid={evil}&tag={evil}");
        for request in [Request::get(&target), handshake(&target)] {
            let mut connection = Http1::connect(&host.public()).await?;
            connection
                .request(&request.header("X-Evil", raw_evil).header("Origin", raw_evil))
                .await?;
        }
    }
    let channel = Channel::new();
    let body = "\n2026/01/01 00:00:00 [alert] 1#1: INJECTED \u{1b}[31m\u{0}";
    for target in [
        format!("/bitrix/pub/?CHANNEL_ID={}", channel.private),
        format!("/bitrix/pub/?CHANNEL_ID={evil}"),
        format!("/bitrix/pub/?CHANNEL_ID={}&binaryMode=true", channel.private),
    ] {
        let request = Request::post(&target, body).header("Message-Expiry", raw_evil);
        let answer = http1::once(&host.internal(), request.header("X-Evil", raw_evil)).await?;
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    }
    let mut socket = raw(&host, &host.target(&channel)).await?;
    socket.write_all(&frame(0x88, b"\x03\xe8\nINJECTED\x1b[31m")).await?;
    let mut rest = Vec::new();
    soon("the end of the connection", socket.read_to_end(&mut rest)).await?;
    // And a stranger on the sidecar's socket.
    let mut stranger =
        std::os::unix::net::UnixStream::connect(push_tests::sidecar::socket(host.folder()))?;
    stranger.write_all(&hello(b"\n\x1b[31mINJECTED\xc2\x9b31m"))?;
    wait::until("the sidecar has heard the stranger", wait::SOON, || {
        host.sidecar.process().output().contains("INJECTED")
    })
    .await;
    assert_eq!(host.nginx.stop(), [""; 0]);
    for (whose, log) in
        [("nginx", host.nginx.error_log()), ("push-sidecar", host.sidecar.process().output())]
    {
        for line in log.lines() {
            assert!(!line.chars().any(char::is_control), "{whose}: {line:?}");
            let year = line.starts_with("20");
            assert!(year && !line.contains("[alert]"), "{whose}: {line:?}");
            assert!(!line.starts_with("2026/01/01"), "{whose}: {line:?}");
        }
    }
    Ok(())
}

/// A link's first frame (see push-link), from a worker with that name.
fn hello(software: &[u8]) -> Vec<u8> {
    let mut fields = vec![1];
    fields.extend(1_u16.to_le_bytes());
    fields.extend(7_u64.to_le_bytes());
    fields.extend(1_u32.to_le_bytes());
    fields.push(0);
    fields.extend((software.len() as u16).to_le_bytes());
    fields.extend_from_slice(software);
    [&(fields.len() as u32).to_le_bytes()[..], &fields].concat()
}
