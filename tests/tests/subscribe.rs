//! Subscribing, by WebSocket and by long poll (PROTOCOL.md, sections 2, 9, 10 and 11).

use std::io;
use std::time::{Duration, Instant};

use prost::Message as _;
use push_tests::http1::{self, Http1, Request, Response};
use push_tests::http2::Http2;
use push_tests::message::{from_binary, from_text};
use push_tests::net::Endpoint;
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::wait::soon;
use push_tests::websocket::{Closed, Mode};
use push_tests::{
    Channel, Host, Key, Message, Nginx, Setup, Store, TestResult, WebSocket, both_nginx, channel,
    matrix,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

matrix!(
    one_location_serves_both,
    an_unanswered_poll_ends_with_the_last_id,
    history_goes_over_into_live_messages,
    a_message_to_several_channels_comes_once,
    a_public_id_reaches_only_those_who_have_the_pair,
    four_workers_share_the_subscribers,
    a_slow_reader_harms_nobody_and_comes_back,
);
both_nginx!(
    a_void_channel_list_is_refused,
    every_key_verifies,
    frames_are_answered_as_the_protocol_wants,
    hostile_frames_end_the_connection,
    a_handshake_may_need_large_buffers,
    everything_works_over_tls,
    everything_works_over_http2,
    other_methods_are_not_served,
    wrong_handshakes_are_refused,
);

/// A poll in the background.
fn poll(endpoint: &Endpoint, target: String) -> JoinHandle<io::Result<Response>> {
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        let mut connection = Http1::connect(&endpoint).await?;
        connection.send(&Request::get(&target).to_bytes()).await?;
        connection.response().await
    })
}

fn from_poll(answer: &Response, mode: Mode) -> Vec<Message> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    match mode {
        Mode::Text => {
            assert_eq!(answer.header("Content-Type"), Some("text/plain"));
            from_text(answer.text())
        }
        Mode::Binary => {
            assert_eq!(
                answer.header("Content-Type"),
                Some("application/octet-stream")
            );
            from_binary(&answer.body)
        }
    }
}

async fn one_location_serves_both(setup: Setup) -> TestResult {
    let host = setup.start()?;
    for mode in [Mode::Text, Mode::Binary] {
        let channels: Vec<_> = (0..4).map(|_| Channel::new()).collect();
        let binary = if mode == Mode::Binary {
            "&binaryMode=true"
        } else {
            ""
        };
        let target = |path: &str, channel: &Channel| {
            format!(
                "{path}?CHANNEL_ID={}{binary}",
                channel.signed_pair(&host.key)
            )
        };
        let public = host.public();
        let ws_target = |path: &str, channel: &Channel| {
            format!("{path}?CHANNEL_ID={}", channel.signed_private(&host.key))
        };
        let mut sockets = [
            WebSocket::open(&public, &ws_target("/bitrix/subws/", &channels[0]), mode).await?,
            WebSocket::open(&public, &ws_target("/bitrix/sub/", &channels[1]), mode).await?,
        ];
        let polls = [
            poll(&public, target("/bitrix/subws/", &channels[2])),
            poll(&public, target("/bitrix/sub/", &channels[3])),
        ];
        host.until_online(&channels).await?;

        let ids: Vec<_> = channels
            .iter()
            .map(|channel| channel.private.as_str())
            .collect();
        assert_eq!(host.post(&ids, r#"{"a":1}"#, 0).await?.status, 200);

        let mut arrived = Vec::new();
        for socket in &mut sockets {
            arrived.push(soon("a message", socket.next()).await.expect("still open"));
        }
        for poll in polls {
            arrived.extend(from_poll(&soon("an answer", poll).await??, mode));
        }
        assert_eq!(arrived.len(), 4);
        assert!(
            arrived.iter().all(|message| message.body == r#"{"a":1}"#),
            "{arrived:?}"
        );
        assert!(
            arrived.iter().all(|message| message.mid == arrived[0].mid),
            "{arrived:?}"
        );
    }
    Ok(())
}

async fn a_void_channel_list_is_refused(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let (good, other) = (Channel::new(), Channel::new());
    let (signed, pair) = (good.signed_private(&host.key), good.signed_pair(&host.key));
    let stranger = Key("another key".into());
    let void = [
        String::new(),
        "CHANNEL_ID=".into(),
        format!("channel_id={signed}"),
        format!("CHANNEL_ID={}", good.private),
        format!("CHANNEL_ID={}:{}", good.private, good.public),
        format!("CHANNEL_ID={}", good.signed_private(&stranger)),
        format!("CHANNEL_ID={}", good.signed_pair(&stranger)),
        format!("CHANNEL_ID={}", signed.to_uppercase()),
        format!("CHANNEL_ID={}", &signed[..signed.len() - 1]),
        format!("CHANNEL_ID={pair}0"),
        // The signature of one channel does not open another.
        format!(
            "CHANNEL_ID={}.{}",
            other.private,
            host.key.sign(&good.private)
        ),
        // One bad segment voids the whole list.
        format!("CHANNEL_ID={signed}/"),
        format!("CHANNEL_ID={signed}/{}", other.private),
    ];
    for query in void {
        let answer = http1::once(
            &host.public(),
            Request::get(&format!("/bitrix/sub/?{query}")),
        )
        .await?;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert_eq!(answer.text(), "4010: Wrong Channel Id.", "{query}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));

        let target = format!("/bitrix/subws/?{query}");
        let mut socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
        let expected = Closed {
            code: 4010,
            reason: "4010: Wrong Channel Id.".into(),
        };
        assert_eq!(socket.closed().await, expected, "{query}");
    }
    Ok(())
}

async fn every_key_verifies(mut setup: Setup) -> TestResult {
    let (new, old) = (Key("the-new-key".into()), Key("the-old-key".into()));
    setup.keys = vec![new.clone(), old.clone()];
    let host = setup.start()?;
    for key in [&new, &old] {
        let channel = Channel::new();
        for signed in [channel.signed_private(key), channel.signed_pair(key)] {
            let target = format!("/bitrix/subws/?CHANNEL_ID={signed}");
            let mut socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
            host.until_online(std::slice::from_ref(&channel)).await?;
            host.publish(&channel, "1").await?;
            assert_eq!(socket.body().await, "1");
        }
    }
    let target = format!(
        "/bitrix/subws/?CHANNEL_ID={}",
        Channel::new().signed_pair(&Key("older".into()))
    );
    let mut socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
    assert_eq!(socket.closed().await.code, 4010);
    Ok(())
}

async fn history_goes_over_into_live_messages(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut first = host.subscribe(&channel, Mode::Text).await?;
    for number in 0..5 {
        host.publish(&channel, &number.to_string()).await?;
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(soon("a message", first.next()).await.expect("open"));
    }
    assert!(
        seen.windows(2).all(|pair| pair[0].mid < pair[1].mid),
        "{seen:?}"
    );

    // With a mid: what is newer, then what is published from now on.
    let target = format!("{}&mid={}", host.target(&channel), seen[1].mid);
    for mode in [Mode::Text, Mode::Binary] {
        let mut again = WebSocket::open(&host.public(), &target, mode).await?;
        for old in &seen[2..] {
            assert_eq!(&soon("a message", again.next()).await.expect("open"), old);
        }
        let answer = http1::once(&host.public(), Request::get(&target)).await?;
        assert_eq!(from_poll(&answer, Mode::Text), &seen[2..]);
    }
    // Without one, or with one that is none: live messages alone.
    let bad_mid = format!("{}&mid={}0", host.target(&channel), seen[1].mid);
    let mut fresh = [
        WebSocket::open(&host.public(), &host.target(&channel), Mode::Text).await?,
        WebSocket::open(&host.public(), &bad_mid, Mode::Text).await?,
        WebSocket::open(&host.public(), &target, Mode::Text).await?,
    ];
    for old in &seen[2..] {
        assert_eq!(
            &soon("a message", fresh[2].next()).await.expect("open"),
            old
        );
    }
    host.publish(&channel, "live").await?;
    for socket in &mut fresh {
        assert_eq!(socket.body().await, "live");
    }
    assert_eq!(first.body().await, "live");
    Ok(())
}

async fn a_message_to_several_channels_comes_once(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let (own, shared) = (Channel::new(), Channel::new());
    let list = format!(
        "{}/{}/{}",
        own.signed_pair(&host.key),
        shared.signed_private(&host.key),
        // Named twice.
        shared.signed_private(&host.key)
    );
    let target = format!("/bitrix/subws/?CHANNEL_ID={list}");
    let mut socket = WebSocket::open(&host.public(), &target, Mode::Binary).await?;
    host.until_online(&[own.clone(), shared.clone()]).await?;

    let pair = own.signed_pair(&host.key);
    assert_eq!(
        host.post(&[&pair, &shared.private], "once", 60)
            .await?
            .status,
        200
    );
    host.publish(&shared, "then").await?;
    let first = soon("a message", socket.next()).await.expect("open");
    assert_eq!(first.body, "once");
    assert_eq!(socket.body().await, "then");

    // The replay does not repeat itself either.
    let before = format!("{:026}", first.mid.parse::<u128>()? - 1);
    let again = format!("{target}&mid={before}");
    let mut socket = WebSocket::open(&host.public(), &again, Mode::Binary).await?;
    host.publish(&shared, "end").await?;
    for body in ["once", "then", "end"] {
        assert_eq!(socket.body().await, body);
    }
    Ok(())
}

async fn a_public_id_reaches_only_those_who_have_the_pair(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut with_pair = host.subscribe(&channel, Mode::Binary).await?;
    let target = format!(
        "/bitrix/subws/?CHANNEL_ID={}",
        channel.signed_private(&host.key)
    );
    let mut private_only = WebSocket::open(&host.public(), &target, Mode::Binary).await?;

    let message = |private: bool, body: &str| IncomingMessage {
        receivers: vec![Receiver {
            id: channel::unhex(if private {
                &channel.private
            } else {
                &channel.public
            }),
            is_private: private,
            signature: Vec::new(),
        }],
        body: body.into(),
        expiry: 60,
    };
    let batch = RequestBatch::publish(vec![message(false, "public"), message(true, "private")]);
    let request = Request::post("/bitrix/pub/?binaryMode=true", batch.encode_to_vec());
    assert_eq!(http1::once(&host.internal(), request).await?.status, 200);
    assert_eq!(with_pair.body().await, "public");
    assert_eq!(with_pair.body().await, "private");
    assert_eq!(private_only.body().await, "private");
    Ok(())
}

async fn frames_are_answered_as_the_protocol_wants(setup: Setup) -> TestResult {
    use tokio_tungstenite::tungstenite::Message as Frame;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    let host = setup.start()?;
    for mode in [Mode::Text, Mode::Binary] {
        let channel = Channel::new();
        let mut socket = host.subscribe(&channel, mode).await?;
        socket.ping(b"").await?;
        socket.ping(&[7; 125]).await?;
        // In text mode what a client says is read and ignored.
        if mode == Mode::Text {
            socket.send(Frame::text("hello")).await?;
            socket.send(Frame::binary(vec![1, 2, 3])).await?;
        }
        host.publish(&channel, "still here").await?;
        assert_eq!(socket.body().await, "still here");
        socket
            .send(Frame::Close(Some(CloseFrame {
                code: 3001.into(),
                reason: "bye".into(),
            })))
            .await?;
        assert_eq!(socket.closed().await.code, 3001);
    }
    Ok(())
}

/// The bytes of a masked frame.
fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first_byte, 0x80 | payload.len() as u8];
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

async fn hostile_frames_end_the_connection(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let mut huge = vec![0x82, 0xff];
    huge.extend(1_048_577_u64.to_be_bytes());
    huge.extend([0; 4]);
    let cases = [
        ("an unmasked frame", vec![0x81, 0x01, b'a'], 1002),
        ("a reserved opcode", masked(0x83, b"a"), 1002),
        ("a reserved bit", masked(0xc1, b"a"), 1002),
        ("a fragmented ping", masked(0x09, b"a"), 1002),
        ("a continuation of nothing", masked(0x80, b"a"), 1002),
        ("text that is none", masked(0x81, &[0xff, 0xfe]), 1007),
        ("a message above the limit", huge, 1009),
    ];
    let channel = Channel::new();
    let mut witness = host.subscribe(&channel, Mode::Text).await?;
    for (what, bytes, code) in cases {
        let mut stream = raw_handshake(&host, &Channel::new()).await?;
        stream.write_all(&bytes).await?;
        let mut rest = Vec::new();
        soon("the end of the connection", stream.read_to_end(&mut rest)).await?;
        assert_eq!(
            rest,
            [&[0x88, 0x02], &u16::to_be_bytes(code)[..]].concat(),
            "{what}"
        );
    }
    host.publish(&channel, "unharmed").await?;
    assert_eq!(witness.body().await, "unharmed");
    Ok(())
}

fn handshake(target: &str) -> Request {
    Request::get(target)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A WebSocket without a library, for what no library would send.
async fn raw_handshake(
    host: &Host,
    channel: &Channel,
) -> io::Result<tokio::io::BufReader<push_tests::net::Stream>> {
    let mut connection = Http1::connect(&host.public()).await?;
    let answer = connection
        .request(&handshake(&host.target(channel)))
        .await?;
    assert_eq!(answer.status, 101, "{answer:?}");
    // The answer to the key of RFC 6455, section 1.3.
    assert_eq!(
        answer.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(
        answer
            .header("Upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
    assert!(
        answer
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    Ok(connection.into_stream())
}

async fn wrong_handshakes_are_refused(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let target = host.target(&Channel::new());
    let with = |upgrade: &str, version: &str, key: &str| {
        Request::get(&target)
            .header("Connection", "Upgrade")
            .header("Upgrade", upgrade)
            .header("Sec-WebSocket-Version", version)
            .header("Sec-WebSocket-Key", key)
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let cases = [
        (
            with("websocket", "7", key),
            "Missing or invalid Sec-WebSocket-Version header",
        ),
        (
            with("websocket", "13", "short"),
            "Missing or invalid Sec-WebSocket-Key header",
        ),
        (with("h2c", "13", key), "Invalid Upgrade header"),
    ];
    for (request, body) in cases {
        let mut connection = Http1::connect(&host.public()).await?;
        let answer = connection.request(&request).await?;
        assert_eq!((answer.status, answer.text()), (400, body));
        assert!(connection.ended().await, "{body}");
    }
    // The first offered subprotocol is taken, compression never.
    let request = handshake(&target)
        .header("Sec-WebSocket-Protocol", "chat, other")
        .header("Sec-WebSocket-Extensions", "permessage-deflate");
    let answer = Http1::connect(&host.public())
        .await?
        .request(&request)
        .await?;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(answer.header("Sec-WebSocket-Extensions"), None);
    Ok(())
}

async fn a_handshake_may_need_large_buffers(mut setup: Setup) -> TestResult {
    setup.conf.http = "large_client_header_buffers 4 32k;\n".into();
    let host = setup.start()?;
    let channels: Vec<_> = (0..100).map(|_| Channel::new()).collect();
    let list: Vec<_> = channels
        .iter()
        .map(|channel| channel.signed_pair(&host.key))
        .collect();
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", list.join("/"));
    for endpoint in [host.public(), host.public_tls(&["http/1.1"])] {
        let mut socket = WebSocket::open(&endpoint, &target, Mode::Text).await?;
        host.until_online(&channels).await?;
        for channel in [&channels[0], &channels[99]] {
            host.publish(channel, &channel.private).await?;
            assert_eq!(socket.body().await, channel.private);
        }
        socket.ping(b"after large buffers").await?;
    }
    Ok(())
}

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
                let request = push_tests::host::text_publication(&[&channel.private], body, 60);
                assert_eq!(http1::once(&internal, request).await?.status, 200);
                assert_eq!(socket.body().await, body);
            }
            let mid = format!(
                "{:026}",
                socket.mid.as_deref().expect("a mid").parse::<u128>()? - 1
            );
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
    let (first, second) = (
        host.target(&channels[0]),
        host.target(&channels[1]) + "&binaryMode=true",
    );
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
        internal
            .request("POST", &target, &headers, large.clone().into_bytes())
            .await
    };
    let ((first, second), published) = soon("polls and a publication", async {
        tokio::join!(polls, publish)
    })
    .await;
    assert_eq!(published?.status, 200);
    let (text, binary) = (
        from_poll(&first?, Mode::Text),
        from_poll(&second?, Mode::Binary),
    );
    assert_eq!(text, binary);
    assert_eq!(text[0].body, large);

    // A poll that its client gives up leaves the connection usable.
    let idle = host.target(&Channel::new());
    tokio::select! {
        answer = public.request("GET", &idle, &[], Vec::new()) => panic!("{answer:?}"),
        outcome = host.until_online(&channels) => outcome?,
    }
    let answer = public
        .request("GET", "/bitrix/sub/?CHANNEL_ID=bad", &[], Vec::new())
        .await?;
    assert_eq!(
        (answer.status, answer.text()),
        (400, "4010: Wrong Channel Id.")
    );
    Ok(())
}

async fn an_unanswered_poll_ends_with_the_last_id(mut setup: Setup) -> TestResult {
    setup.conf.sub = "bx_push_poll_timeout 2s;".into();
    let host = setup.start()?;
    let (silent, quiet) = (Channel::new(), Channel::new());
    let mut reader = host.subscribe(&quiet, Mode::Text).await?;
    host.publish(&quiet, "1").await?;
    let mid = soon("a message", reader.next()).await.expect("open").mid;

    let started = Instant::now();
    let polls = [
        (poll(&host.public(), host.target(&silent)), String::new()),
        (poll(&host.public(), host.target(&quiet)), mid.clone()),
        (
            poll(&host.public(), format!("{}&mid={mid}", host.target(&quiet))),
            mid.clone(),
        ),
    ];
    for (poll, last) in polls {
        let answer = soon("the end of a poll", poll).await??;
        assert!(
            started.elapsed() > Duration::from_secs(2),
            "after {:?}",
            started.elapsed()
        );
        assert_eq!(answer.status, 304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("Last-Message-Id").unwrap_or_default(), last);
        assert_eq!(
            answer.header("Expires"),
            Some("Thu, 01 Jan 1973 11:11:01 GMT")
        );
        assert_eq!(
            answer.header("Access-Control-Expose-Headers"),
            Some("Last-Message-Id")
        );
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    }
    Ok(())
}

/// The default, in real time.
#[tokio::test]
async fn a_poll_is_held_for_40_seconds() -> TestResult {
    let host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    let started = Instant::now();
    let answer = poll(&host.public(), host.target(&Channel::new())).await??;
    let held = started.elapsed().as_secs_f32();
    assert_eq!(answer.status, 304);
    assert!((40.0..42.0).contains(&held), "held for {held} s");
    Ok(())
}

async fn other_methods_are_not_served(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let target = host.target(&Channel::new());
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = Request::new(method, &target, Vec::new());
        let answer = http1::once(&host.public(), request).await?;
        assert_eq!(answer.status, 404, "{method}: {answer:?}");
        assert!(answer.body.is_empty(), "{method}: {answer:?}");
    }
    let answer = http1::once(&host.public(), Request::post(&target, "body")).await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    let answer = http1::once(&host.public(), Request::new("OPTIONS", &target, Vec::new())).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    assert!(
        answer
            .header("Access-Control-Allow-Methods")
            .is_some_and(|list| list.contains("GET"))
    );
    Ok(())
}

async fn four_workers_share_the_subscribers(setup: Setup) -> TestResult {
    let host = setup.workers(4).start()?;
    let shared = Channel::new();
    let mut sockets = Vec::new();
    let mut channels = Vec::new();
    for number in 0..60 {
        let channel = Channel::new();
        let list = format!(
            "/bitrix/subws/?CHANNEL_ID={}/{}",
            channel.signed_pair(&host.key),
            shared.signed_private(&host.key)
        );
        let mode = if number % 2 == 0 {
            Mode::Text
        } else {
            Mode::Binary
        };
        sockets.push(WebSocket::open(&host.public(), &list, mode).await?);
        channels.push(channel);
    }
    host.until_online(&channels).await?;
    for number in 0..10 {
        host.publish(&shared, &number.to_string()).await?;
    }
    for (socket, channel) in sockets.iter_mut().zip(&channels) {
        host.publish(channel, &channel.private).await?;
        for number in 0..10 {
            assert_eq!(socket.body().await, number.to_string());
        }
        assert_eq!(socket.body().await, channel.private);
    }
    Ok(())
}

async fn a_slow_reader_harms_nobody_and_comes_back(setup: Setup) -> TestResult {
    // Together more than the kernel buffers and the server's own limit hold, while the history
    // of a channel (100 messages) still has them all.
    const MESSAGES: usize = 90;
    const SIZE: usize = 300_000;
    let host = setup.start()?;
    let channel = Channel::new();
    let stream = host.public().connect_narrow(4096).await?;
    let mut slow = WebSocket::open_on(stream, &host.target(&channel), Mode::Text).await?;
    let mut quick = host.subscribe(&channel, Mode::Text).await?;

    let body = |number: usize| format!("{number:0SIZE$}");
    for number in 0..MESSAGES {
        host.publish(&channel, &body(number)).await?;
        assert_eq!(
            quick
                .body()
                .await
                .trim_start_matches('0')
                .parse()
                .unwrap_or(0),
            number
        );
    }
    // Only now does the slow one read: it has been cut off on the way ...
    let mut seen = 0;
    let closed = loop {
        match soon("a message or the end", slow.next()).await {
            Ok(message) => {
                assert_eq!(
                    message.body.trim_start_matches('0').parse().unwrap_or(0),
                    seen
                );
                seen += 1;
            }
            Err(closed) => break closed,
        }
    };
    assert!(seen < MESSAGES, "everything fitted into the buffers");
    assert!(seen > 0, "closed before anything: {closed:?}");
    // ... and comes back to what it has missed.
    let target = format!("{}&mid={}", host.target(&channel), slow.mid.expect("a mid"));
    let mut again = WebSocket::open(&host.public(), &target, Mode::Text).await?;
    for number in seen..MESSAGES {
        assert_eq!(
            again
                .body()
                .await
                .trim_start_matches('0')
                .parse()
                .unwrap_or(0),
            number
        );
    }
    Ok(())
}
