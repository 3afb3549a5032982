//! What `push-sidecar migrate` makes of old installations is taken by nginx, and serves.

use prost::Message as _;
use push_tests::channel::unhex;
use push_tests::host::{text_publication, until_online};
use push_tests::http1::{self, Http1, Request};
use push_tests::migrated::{Installation, Sample};
use push_tests::net::Endpoint;
use push_tests::poll::{from_poll, poll};
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::websocket::{self, Mode};
use push_tests::{Channel, Nginx, TestResult, WebSocket};

#[tokio::test]
async fn a_documented_portal_is_served_by_the_installed_nginx() -> TestResult {
    documented(Nginx::Installed).await
}

#[tokio::test]
async fn a_documented_portal_is_served_by_nginx_1_28() -> TestResult {
    documented(Nginx::Vendored).await
}

async fn documented(nginx: Nginx) -> TestResult {
    let portal = Installation::start(Sample::Documented, nginx)?;
    let internal = Endpoint::clear(portal.internal);
    let channel = Channel::new();
    let pair = channel.signed_pair(&portal.key);

    // By every address that the old files name.
    let mut sockets = Vec::new();
    for address in [portal.public, portal.mobile, portal.internal] {
        for (path, mode) in [("/bitrix/subws/", Mode::Text), ("/bitrix/sub/", Mode::Binary)] {
            let binary = if mode == Mode::Binary { "&binaryMode=true" } else { "" };
            let target = format!("{path}?CHANNEL_ID={pair}{binary}");
            sockets.push(WebSocket::open(&Endpoint::clear(address), &target, mode).await?);
        }
    }
    until_online(&internal, std::slice::from_ref(&channel)).await?;
    let waiting = poll(
        &Endpoint::clear(portal.public),
        format!("/bitrix/sub/?CHANNEL_ID={}", channel.signed_private(&portal.key)),
    );
    let publication = text_publication(&[&channel.private], "{\"a\":1}", 60);
    assert_eq!(http1::once(&internal, publication).await?.status, 200);
    for socket in &mut sockets {
        assert_eq!(socket.body().await, "{\"a\":1}");
    }
    // The poll may have come after the message: then it waits for the next one.
    let publication = text_publication(&[&channel.private], "{\"a\":2}", 60);
    assert_eq!(http1::once(&internal, publication).await?.status, 200);
    let answer = waiting.await??;
    assert!(answer.status == 200 && answer.text().contains("{\"a\":"), "{answer:?}");
    let mid = sockets[0].mid.clone().expect("the first message's id");
    let missed = format!("/bitrix/sub/?CHANNEL_ID={pair}&mid={mid}");
    let answer = poll(&Endpoint::clear(portal.public), missed).await??;
    assert_eq!(from_poll(&answer, Mode::Text).len(), 1, "{answer:?}");

    // What clients publish goes by the pub processes' location.
    let message = IncomingMessage {
        receivers: vec![Receiver {
            id: unhex(&channel.public),
            is_private: false,
            signature: channel.public_signature(&portal.key),
        }],
        body: "\"from a client\"".into(),
        expiry: 60,
    };
    let batch = RequestBatch::publish(vec![message]).encode_to_vec();
    let answer = http1::once(
        &Endpoint::clear(portal.public),
        Request::post(&format!("/bitrix/rest/?CHANNEL_ID={pair}"), batch),
    )
    .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    for socket in &mut sockets {
        assert_eq!(socket.body().await, "{\"a\":2}");
        assert_eq!(socket.body().await, "\"from a client\"");
    }

    // Trusted paths are not public.
    for path in ["/bitrix/pub/", "/server-stat/"] {
        for address in [portal.public, portal.mobile] {
            let answer = http1::once(&Endpoint::clear(address), Request::post(path, "x")).await?;
            assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
        }
    }
    let answer = http1::once(&internal, Request::get("/server-stat")).await?;
    assert!(answer.status == 200 && answer.text().starts_with("[{"), "{answer:?}");
    // A header of the old server block.
    let answer = http1::once(&Endpoint::clear(portal.mobile), Request::get("/nothing")).await?;
    assert_eq!(answer.status, 403);
    assert!(!portal.conf.contains("nodejs"), "{}", portal.conf);
    Ok(())
}

#[tokio::test]
async fn an_installation_with_a_history_is_served() -> TestResult {
    for nginx in [Nginx::Installed, Nginx::Vendored] {
        let portal = Installation::start(Sample::Field, nginx)?;
        let (public, internal) = (Endpoint::clear(portal.public), Endpoint::clear(portal.internal));
        let channel = Channel::new();
        let pair = channel.signed_pair(&portal.key);
        let target = format!("/bitrix/subws/?CHANNEL_ID={pair}");
        let mut socket = WebSocket::open(&public, &target, Mode::Text).await?;
        until_online(&internal, std::slice::from_ref(&channel)).await?;
        let publication = text_publication(&[&channel.private], "\"x\"", 60);
        assert_eq!(http1::once(&internal, publication).await?.status, 200);
        assert_eq!(socket.body().await, "\"x\"");

        // The condition that stayed in the location still works, and the location with it.
        let mut page = Http1::connect(&public).await?;
        let handshake = websocket::handshake(&target).header("Origin", "http://other.example");
        let answer = page.request(&handshake).await?;
        assert_eq!(answer.status, 101, "{answer:?}");

        // 2 MiB are the old limit.
        for (size, status) in [(2 << 20, 200), ((2 << 20) + 1, 413)] {
            let publication = text_publication(&[&channel.private], &"x".repeat(size), 60);
            assert_eq!(http1::once(&internal, publication).await?.status, status);
        }
    }
    Ok(())
}
