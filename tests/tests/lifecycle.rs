//! Reload and quit: clients are sent away one after the other and lose nothing, and the worker that
//! leaves is gone in time without using the processor.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use push_tests::http1::{Http1, Request};
use push_tests::process::cpu_time;
use push_tests::wait::{self, soon};
use push_tests::websocket::{Mode, handshake};
use push_tests::{Channel, Host, Setup, TestResult, WebSocket, both_nginx};
use tokio::sync::mpsc;

both_nginx!(
    clients_are_sent_away_one_after_the_other,
    nobody_is_waited_for_longer_than_shutdown_timeout,
    dead_peers_do_not_keep_a_worker,
);

const CLIENTS: usize = 300;
const DRAIN: Duration = Duration::from_secs(3);

/// What a client has to tell.
enum News {
    Message(usize, String),
    /// It was sent away, at that time.
    Away(Instant),
}

async fn clients_are_sent_away_one_after_the_other(mut setup: Setup) -> TestResult {
    setup.conf.http = format!("bx_push_drain_time {}s;", DRAIN.as_secs());
    let mut host = setup.start()?;
    let shared = Channel::new();
    let (tell, mut news) = mpsc::unbounded_channel();
    for number in 0..CLIENTS {
        let own = Channel::new();
        let target = format!("{}/{}", host.target(&own), shared.signed_private(&host.key));
        let socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
        tokio::spawn(client(host.public(), target, socket, number, tell.clone()));
    }
    host.until_online(std::slice::from_ref(&shared)).await?;
    let mut sent = vec!["0".to_owned()];
    host.publish(&shared, "0").await?;

    let old = host.nginx.workers()[0];
    let before = cpu_time(old).expect("it runs");
    let mut used = before;
    host.nginx.reload(|_| ()).await?;
    let started = Instant::now();
    while let Some(time) = cpu_time(old).filter(|_| is_running(old)) {
        used = time;
        let body = sent.len().to_string();
        host.publish(&shared, &body).await?;
        sent.push(body);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(started.elapsed() < DRAIN + wait::SOON, "the old worker stays");
    }
    let took = started.elapsed();
    host.publish(&shared, "end").await?;
    sent.push("end".into());

    let mut got = vec![Vec::new(); CLIENTS];
    let mut away = Vec::new();
    while got.iter().any(|bodies: &Vec<String>| bodies.last().is_none_or(|last| last != "end")) {
        match soon("news of the clients", news.recv()).await.expect("there are clients") {
            News::Message(number, body) => got[number].push(body),
            News::Away(at) => away.push(at),
        }
    }
    for bodies in &got {
        assert_eq!(*bodies, sent);
    }
    assert_eq!(away.len(), CLIENTS);
    away.sort_unstable();
    let spread = away[CLIENTS - 1] - away[0];
    let used = used.saturating_sub(before);
    println!("{CLIENTS} clients sent away over {spread:?}, gone after {took:?}, CPU {used:?}");
    assert!(
        spread > DRAIN * 2 / 3 && took < DRAIN + Duration::from_secs(2),
        "{spread:?}, {took:?}"
    );
    // No storm: in no half second more than a part of them.
    for (number, &at) in away.iter().enumerate() {
        let later =
            away[number..].iter().take_while(|other| other.duration_since(at) < DRAIN / 6).count();
        assert!(later < CLIENTS / 3, "{later} clients within {:?}", DRAIN / 6);
    }
    // Waiting costs nothing; 40 fan-outs and 300 goodbyes do.
    assert!(used < DRAIN / 10, "the draining worker used {used:?}");
    Ok(())
}

/// Reads and comes back with its `mid` whenever it is sent away.
async fn client(
    public: push_tests::net::Endpoint,
    target: String,
    mut socket: WebSocket,
    number: usize,
    tell: mpsc::UnboundedSender<News>,
) {
    loop {
        let news = match socket.next().await {
            Ok(message) => News::Message(number, message.body),
            Err(closed) => {
                assert_eq!(closed.code, 1001, "client {number}: {closed:?}");
                let at = Instant::now();
                let mid = socket.mid.take().expect("it has seen a message");
                let again = format!("{target}&mid={mid}");
                socket = WebSocket::open(&public, &again, Mode::Text).await.expect("taken again");
                socket.mid = Some(mid);
                News::Away(at)
            }
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

/// A zombie has a folder in /proc, too.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

async fn nobody_is_waited_for_longer_than_shutdown_timeout(mut setup: Setup) -> TestResult {
    setup.conf.main = "worker_shutdown_timeout 1s;".into();
    setup.conf.http = "bx_push_drain_time 1h;".into();
    let mut host = setup.start()?;
    let mut channels: Vec<_> = (0..200).map(|_| Channel::new()).collect();
    let mut sockets = Vec::new();
    for channel in &channels {
        sockets.push(WebSocket::open(&host.public(), &host.target(channel), Mode::Text).await?);
    }
    let polled = Channel::new();
    let mut poll = Http1::connect(&host.public()).await?;
    poll.send(&Request::get(&host.target(&polled)).to_bytes()).await?;
    channels.push(polled);
    host.until_online(&channels).await?;

    let started = Instant::now();
    host.nginx.process().signal(Signal::SIGQUIT);
    for socket in &mut sockets {
        assert_eq!(socket.closed().await.code, 1001);
    }
    let status = host.nginx.process().end_by(Signal::SIGQUIT);
    assert!(status.success(), "nginx ended with {status}");
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900), "the spread was cut short: {took:?}");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    Ok(())
}

async fn dead_peers_do_not_keep_a_worker(mut setup: Setup) -> TestResult {
    setup.conf.http = "bx_push_drain_time 200ms;".into();
    let mut host = setup.start()?;
    let channel = Channel::new();
    let mut dead = Vec::new();
    for _ in 0..20 {
        dead.push(open_and_fall_silent(&host, &channel).await?);
    }
    let old = host.nginx.workers()[0];
    let before = cpu_time(old).expect("it runs");
    let mut used = before;
    host.nginx.reload(|_| ()).await?;
    let started = Instant::now();
    wait::until("the old worker has left", wait::SOON, || {
        used = cpu_time(old).unwrap_or(used);
        !is_running(old)
    })
    .await;
    let took = started.elapsed();
    println!("gone after {took:?}, CPU {:?}", used.saturating_sub(before));
    // The time that a peer has to answer our close.
    assert!((4..8).contains(&took.as_secs()), "it took {took:?}");
    assert!(used.saturating_sub(before) < Duration::from_millis(100), "{used:?} after {before:?}");
    Ok(())
}

/// A WebSocket that answers nothing, not even our close.
async fn open_and_fall_silent(host: &Host, channel: &Channel) -> io::Result<Http1> {
    let mut http = Http1::connect(&host.public()).await?;
    let answer = http.request(&handshake(&host.target(channel))).await?;
    assert_eq!(answer.status, 101, "{answer:?}");
    Ok(http)
}
