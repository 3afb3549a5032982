//! Reload and quit: clients are sent away one after the other and lose nothing, and the worker that
//! leaves is gone in time without using the processor.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use push_tests::host::text_publication;
use push_tests::http1::{self, Http1, Request};
use push_tests::process::cpu_time;
use push_tests::wait::{self, soon};
use push_tests::websocket::{Mode, handshake};
use push_tests::{Channel, Host, Setup, Store, TestResult, WebSocket, both_nginx, sidecar};
use tokio::sync::mpsc;

both_nginx!(
    clients_are_sent_away_one_after_the_other,
    nobody_is_waited_for_longer_than_shutdown_timeout,
    dead_peers_do_not_keep_a_worker,
    a_socket_that_stays_open_refuses_nobody,
    releases_that_do_not_go_together_say_so,
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

async fn a_socket_that_stays_open_refuses_nobody(mut setup: Setup) -> TestResult {
    setup.store = Store::Redis;
    setup.activated = true;
    let mut host = setup.workers(2).start()?;
    let channel = Channel::new();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(WebSocket::open(&host.public(), &host.target(&channel), Mode::Text).await?);
    }
    host.until_online(std::slice::from_ref(&channel)).await?;
    for round in 0..3 {
        let body = format!("\"{round}\"");
        if round == 1 {
            host.sidecar.process().end_by(Signal::SIGTERM);
        } else {
            host.sidecar.kill();
        }
        // Published while nobody is there, and taken when somebody is.
        let (endpoint, request) =
            (host.internal(), text_publication(&[&channel.private], &body, 60));
        let waiting = tokio::spawn(async move { http1::once(&endpoint, request).await });
        // Time for workers to find out, and to try again: into the socket's queue.
        tokio::time::sleep(Duration::from_millis(400)).await;
        host.sidecar.restart()?;
        assert_eq!(soon("an answer", waiting).await??.status, 200);
        for socket in &mut sockets {
            assert_eq!(socket.body().await, body);
        }
    }
    let log = host.nginx.error_log();
    for said in ["refused", "No such file", "is push-sidecar running"] {
        assert!(!log.contains(said), "{said}: {log}");
    }
    assert!(host.sidecar.process().output().contains("the socket is the service manager's"));
    Ok(())
}

async fn releases_that_do_not_go_together_say_so(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;

    // A module of another release, as the sidecar sees it.
    let path = sidecar::socket(host.folder());
    let newer = tokio::task::spawn_blocking({
        let path = path.clone();
        move || -> io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(wait::SOON))?;
            stream.write_all(&link_frame(&hello(7, 9)))?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        }
    });
    let answer = String::from_utf8_lossy(&newer.await??).into_owned();
    let told = host.sidecar.process().output();
    for said in
        ["module 9.9 speaks link version 7 to 9", "speaks 1 to 2: install both of one release"]
    {
        assert!(answer.contains(said), "{answer}");
        assert!(told.lines().any(|line| line.contains("WARN") && line.contains(said)), "{told}");
    }

    // A sidecar of another release, as the module sees it.
    host.sidecar.process().end_by(Signal::SIGTERM);
    let listener = UnixListener::bind(&path)?;
    let refused = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let (mut link, _) = listener.accept()?;
        let mut fields = vec![130];
        let reason = b"push-sidecar 9.9 speaks 7 to 9";
        fields.extend((reason.len() as u16).to_le_bytes());
        fields.extend_from_slice(reason);
        fields.extend([7, 0, 9, 0]);
        link.write_all(&link_frame(&fields))?;
        link.read_to_end(&mut Vec::new()).map(drop)
    });
    wait::until("the module has understood", wait::SOON, || {
        let log = host.nginx.error_log();
        log.lines().any(|line| {
            line.contains("[error]")
                && line.contains("push-sidecar 9.9 speaks 7 to 9")
                && line.contains("speaks link version 1 to 2. Install both of one release")
        })
    })
    .await;
    soon("the worker lets go", refused).await??;
    // Nobody waits for what will not change, and clients stay.
    let started = Instant::now();
    let answer = host.post(&[&channel.private], "\"no\"", 60).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    socket.ping(b"still here").await?;
    Ok(())
}

/// A frame of the link (see push-link).
fn link_frame(fields: &[u8]) -> Vec<u8> {
    [&(fields.len() as u32).to_le_bytes()[..], fields].concat()
}

/// The first words of a module that speaks these versions.
fn hello(lowest: u16, highest: u16) -> Vec<u8> {
    let software = b"module 9.9";
    let mut fields = vec![1];
    fields.extend(lowest.to_le_bytes());
    fields.extend(7_u64.to_le_bytes());
    fields.extend(1_u32.to_le_bytes());
    fields.push(0);
    fields.extend((software.len() as u16).to_le_bytes());
    fields.extend_from_slice(software);
    fields.extend(highest.to_le_bytes());
    fields
}
