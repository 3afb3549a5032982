//! Two hosts on one Redis.

use std::io;

use push_tests::http1::{self, Request};
use push_tests::neighbour::{Draft, Neighbour, private};
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Message, Nginx, Setup, Store, TestResult, WebSocket};

/// Two hosts; the second uses the Redis of the first.
fn two_hosts(workers: u32) -> io::Result<(Host, Host)> {
    let settings = vec![("BX_PUSH_ONLINE_GRACE", "1"), ("BX_PUSH_LINK_GAP_HOLD_MS", "5000")];
    let mut setup = Setup::new(Nginx::Installed, Store::Redis).workers(workers);
    setup.sidecar = settings;
    let first = setup.clone().start()?;
    let url = first.redis.as_ref().expect("a Redis").url();
    setup.store = Store::Memory;
    setup.sidecar.push(("BX_PUSH_REDIS", url.leak()));
    setup.nginx = Nginx::Vendored;
    Ok((first, setup.start()?))
}

/// All messages up to the last of the test.
async fn all_of(socket: &mut WebSocket, last: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|message: &Message| message.body != last) {
        messages.push(soon("a message", socket.next()).await.expect("open"));
    }
    messages
}

async fn is_online(host: &Host, channel: &Channel) -> io::Result<bool> {
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);
    let answer = http1::once(&host.internal(), Request::get(&target)).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(answer.text().contains(&channel.private))
}

async fn until_online(host: &Host, channel: &Channel, online: bool) -> io::Result<()> {
    soon("the channel comes or goes", async {
        while is_online(host, channel).await? != online {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(())
    })
    .await
}

/// Messages published on both hosts, and by a push-server 0.4.0 beside them, all at once: each
/// subscriber gets each once, and all in the same order.
async fn one_order(workers: u32) -> TestResult {
    const EACH: usize = 150;
    let (first, second) = two_hosts(workers)?;
    let channel = Channel::new();
    let mut sockets = Vec::new();
    for host in [&first, &second] {
        for mode in [Mode::Text, Mode::Binary, Mode::Text, Mode::Binary] {
            sockets.push(host.subscribe(&channel, mode).await?);
        }
    }
    let socket = first.redis.as_ref().expect("a Redis").url().replace("unix://", "");
    let publish = async |host: &Host, name: &str| -> TestResult {
        for number in 0..EACH {
            // Kept and live only by turns.
            let (body, expiry) = (format!("\"{name} {number}\""), (number % 2 * 60) as u32);
            assert_eq!(host.post(&[&channel.private], &body, expiry).await?.status, 200);
        }
        Ok(())
    };
    let publish_as_neighbour = async || -> TestResult {
        let mut neighbour = Neighbour::start(socket.as_ref(), "2wzeqrlu").await?;
        for number in 0..EACH {
            let body = format!("\"neighbour {number}\"");
            let expiry = (number % 2 * 60) as u32;
            neighbour.publish(&Draft::new(&[private(&channel)], &body, expiry)).await?;
        }
        Ok(())
    };
    let (one, two, three, four) = tokio::join!(
        publish(&first, "first"),
        publish(&second, "second"),
        publish(&second, "third"),
        publish_as_neighbour(),
    );
    for outcome in [one, two, three, four] {
        outcome?;
    }
    second.publish(&channel, "\"end\"").await?;

    let order = all_of(&mut sockets[0], "\"end\"").await;
    assert!(order.is_sorted_by(|a, b| a.mid < b.mid), "ids rise, none is there twice");
    assert_eq!(order.len(), 4 * EACH + 1);
    for socket in &mut sockets[1..] {
        assert_eq!(all_of(socket, "\"end\"").await, order);
    }
    for name in ["first", "second", "third", "neighbour"] {
        let expected: Vec<_> = (0..EACH).map(|number| format!("\"{name} {number}\"")).collect();
        let of_name = |message: &&Message| message.body.starts_with(&format!("\"{name} "));
        let got = order.iter().filter(of_name).map(|message| message.body.clone());
        assert_eq!(got.collect::<Vec<_>>(), expected);
    }
    Ok(())
}

#[tokio::test]
async fn one_order_with_one_worker_each() -> TestResult {
    one_order(1).await
}

#[tokio::test]
async fn one_order_with_four_workers_each() -> TestResult {
    one_order(4).await
}

/// A client that goes from one host to the other goes on where it was.
#[tokio::test]
async fn a_client_moves() -> TestResult {
    let (first, second) = two_hosts(2)?;
    let channel = Channel::new();
    let mut socket = first.subscribe(&channel, Mode::Binary).await?;
    let mut mid = None;
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        if let Some(mid) = &mid {
            let target = format!("{}&mid={mid}", from.target(&channel));
            socket = WebSocket::open(&from.public(), &target, Mode::Binary).await?;
        }
        for (host, number) in [(to, 0), (from, 1)] {
            host.publish(&channel, &format!("\"{round} {number}\"")).await?;
            assert_eq!(socket.body().await, format!("\"{round} {number}\""));
        }
        mid = socket.mid.clone();
        drop(std::mem::replace(&mut socket, second.subscribe(&Channel::new(), Mode::Text).await?));
        // Nobody is there to see these two but in the history.
        for (host, number) in [(from, 2), (to, 3)] {
            host.publish(&channel, &format!("\"{round} {number}\"")).await?;
        }
        let target = format!("{}&mid={}", to.target(&channel), mid.as_deref().expect("a mid"));
        let mut back = WebSocket::open(&to.public(), &target, Mode::Text).await?;
        for number in [2, 3] {
            assert_eq!(back.body().await, format!("\"{round} {number}\""));
        }
        mid = back.mid.clone();
    }
    Ok(())
}

/// Who is connected to one host is online on both, until the last connection is gone.
#[tokio::test]
async fn both_know_who_is_online() -> TestResult {
    let (first, second) = two_hosts(2)?;
    let channel = Channel::new();
    let here = first.subscribe(&channel, Mode::Text).await?;
    until_online(&second, &channel, true).await?;
    let there = second.subscribe(&channel, Mode::Text).await?;
    drop(here);
    // As long as it takes the first to let its own mark go, and longer: still there.
    let witness = Channel::new();
    drop(first.subscribe(&witness, Mode::Text).await?);
    until_online(&second, &witness, false).await?;
    until_online(&first, &channel, true).await?;
    assert!(is_online(&second, &channel).await?);
    drop(there);
    until_online(&first, &channel, false).await?;
    until_online(&second, &channel, false).await?;
    Ok(())
}
