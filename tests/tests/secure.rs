//! Everything once more over TLS, and over HTTP/2 where that is possible.

use push_tests::http1::{self, Request};
use push_tests::http2::Http2;
use push_tests::poll::from_poll;
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Setup, TestResult, WebSocket, both_nginx, host};

both_nginx!(everything_works_over_tls, everything_works_over_http2);

async fn everything_works_over_tls(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    // With and without a protocol offered; the listener has HTTP/2 on either way.
    for protocols in [&[][..], &["http/1.1"][..]] {
        let endpoint = host.public_tls(protocols);
        for mode in [Mode::Text, Mode::Binary] {
            let channel = Channel::new();
            let mut socket = WebSocket::open(&endpoint, &host.target(&channel), mode).await?;
            host.until_online(std::slice::from_ref(&channel)).await?;
            socket.ping(b"over TLS").await?;

            let large = "x".repeat(300_000);
            let internal = host.internal_tls(protocols);
            for body in ["small", &large] {
                let request = host::text_publication(&[&channel.private], body, 60);
                assert_eq!(http1::once(&internal, request).await?.status, 200);
                assert_eq!(socket.body().await, body);
            }
            let mid = format!("{:026}", socket.mid.as_deref().expect("a mid").parse::<u128>()? - 1);
            let target = format!("{}&mid={mid}", host.target(&channel));
            let answer = http1::once(&endpoint, Request::get(&target)).await?;
            assert_eq!(from_poll(&answer, Mode::Text)[0].body, large);
        }
    }
    Ok(())
}

async fn everything_works_over_http2(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channels = [Channel::new(), Channel::new()];
    let public = Http2::connect(&host.public_tls(&["h2"])).await?;
    let internal = Http2::connect(&host.internal_tls(&["h2"])).await?;

    // Two polls wait side by side on one connection.
    let (first, second) =
        (host.target(&channels[0]), host.target(&channels[1]) + "&binaryMode=true");
    let polls = async {
        tokio::join!(
            public.request("GET", &first, &[], Vec::new()),
            public.request("GET", &second, &[], Vec::new()),
        )
    };
    let large = "y".repeat(200_000);
    let publish = async {
        host.until_online(&channels).await?;
        let ids = channels.clone().map(|channel| channel.private).join("/");
        let target = format!("/bitrix/pub/?CHANNEL_ID={ids}");
        let headers = [("message-expiry", "60")];
        internal.request("POST", &target, &headers, large.clone().into_bytes()).await
    };
    let ((first, second), published) =
        soon("polls and a publication", async { tokio::join!(polls, publish) }).await;
    assert_eq!(published?.status, 200);
    let (text, binary) = (from_poll(&first?, Mode::Text), from_poll(&second?, Mode::Binary));
    assert_eq!(text, binary);
    assert_eq!(text[0].body, large);

    // A poll that its client gives up leaves the connection usable.
    let idle = Channel::new();
    let target = host.target(&idle);
    tokio::select! {
        answer = public.request("GET", &target, &[], Vec::new()) => panic!("{answer:?}"),
        outcome = host.until_online(std::slice::from_ref(&idle)) => outcome?,
    }
    let answer = public.request("GET", "/bitrix/sub/?CHANNEL_ID=bad", &[], Vec::new()).await?;
    assert_eq!((answer.status, answer.text()), (400, "4010: Wrong Channel Id."));
    Ok(())
}
