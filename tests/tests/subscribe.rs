//! Who gets what: channel lists, keys, receivers and history (PROTOCOL.md, sections 2, 7.3 and 11).

use prost::Message as _;
use push_tests::http1::{self, Http1, Request};
use push_tests::net::Endpoint;
use push_tests::poll::{from_poll, poll};
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::wait::soon;
use push_tests::websocket::{self, Closed, Mode};
use push_tests::{Channel, Key, Setup, TestResult, WebSocket, both_nginx, channel, matrix, ports};

matrix!(
    one_location_serves_both,
    history_goes_over_into_live_messages,
    a_message_to_several_channels_comes_once,
    a_public_id_reaches_only_those_who_have_the_pair,
    four_workers_share_the_subscribers,
    a_slow_reader_harms_nobody_and_comes_back
);
both_nginx!(a_void_channel_list_is_refused, every_key_verifies, blocks_keep_the_location);

async fn one_location_serves_both(setup: Setup) -> TestResult {
    let host = setup.start()?;
    for mode in [Mode::Text, Mode::Binary] {
        let channels: Vec<_> = (0..4).map(|_| Channel::new()).collect();
        let binary = if mode == Mode::Binary { "&binaryMode=true" } else { "" };
        let target = |path: &str, channel: &Channel| {
            format!("{path}?CHANNEL_ID={}{binary}", channel.signed_pair(&host.key))
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

        let ids: Vec<_> = channels.iter().map(|channel| channel.private.as_str()).collect();
        assert_eq!(host.post(&ids, r#"{"a":1}"#, 0).await?.status, 200);

        let mut arrived = Vec::new();
        for socket in &mut sockets {
            arrived.push(soon("a message", socket.next()).await.expect("still open"));
        }
        for poll in polls {
            arrived.extend(from_poll(&soon("an answer", poll).await??, mode));
        }
        assert_eq!(arrived.len(), 4);
        assert!(arrived.iter().all(|message| message.body == r#"{"a":1}"#), "{arrived:?}");
        assert!(arrived.iter().all(|message| message.mid == arrived[0].mid), "{arrived:?}");
    }
    Ok(())
}

/// `if` and `limit_except` within a location that is chosen by a regular expression, or by a path.
async fn blocks_keep_the_location(mut setup: Setup) -> TestResult {
    let address = ports::free();
    let condition = "if ($http_origin) { add_header X-Origin $http_origin always; }";
    let exception = "limit_except POST { allow all; }";
    setup.conf.servers = format!(
        "server {{
    listen {address};
    location ~* ^/(one|if)/pattern/ {{ bx_push sub; {condition} }}
    location /if/path/ {{ bx_push sub; {condition} }}
    location ~* ^/(one|except)/pattern/ {{ bx_push sub; {exception} }}
    location /except/path/ {{ bx_push sub; {exception} }}
}}"
    );
    let host = setup.start()?;
    let channel = Channel::new();
    for path in ["/if/Pattern/", "/if/path/", "/except/Pattern/", "/except/path/"] {
        let target = format!("{path}?CHANNEL_ID={}", channel.signed_pair(&host.key));
        for origin in [None, Some("http://other.example")] {
            let mut handshake = websocket::handshake(&target);
            if let Some(origin) = origin {
                handshake = handshake.header("Origin", origin);
            }
            let mut client = Http1::connect(&Endpoint::clear(address)).await?;
            let answer = client.request(&handshake).await?;
            assert_eq!(answer.status, 101, "{path} {origin:?}: {answer:?}");
            let told = origin.filter(|_| path.starts_with("/if/"));
            assert_eq!(answer.header("X-Origin"), told, "{path}");
        }
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
        format!("CHANNEL_ID={}.{}", other.private, host.key.sign(&good.private)),
        // One bad segment voids the whole list.
        format!("CHANNEL_ID={signed}/"),
        format!("CHANNEL_ID={signed}/{}", other.private),
    ];
    for query in void {
        let answer =
            http1::once(&host.public(), Request::get(&format!("/bitrix/sub/?{query}"))).await?;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert_eq!(answer.text(), "4010: Wrong Channel Id.", "{query}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));

        let target = format!("/bitrix/subws/?{query}");
        let mut socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
        let expected = Closed { code: 4010, reason: "4010: Wrong Channel Id.".into() };
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
    let target =
        format!("/bitrix/subws/?CHANNEL_ID={}", Channel::new().signed_pair(&Key("older".into())));
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
    assert!(seen.windows(2).all(|pair| pair[0].mid < pair[1].mid), "{seen:?}");

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
        assert_eq!(&soon("a message", fresh[2].next()).await.expect("open"), old);
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
    assert_eq!(host.post(&[&pair, &shared.private], "once", 60).await?.status, 200);
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
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", channel.signed_private(&host.key));
    let mut private_only = WebSocket::open(&host.public(), &target, Mode::Binary).await?;

    let message = |private: bool, body: &str| IncomingMessage {
        receivers: vec![Receiver {
            id: channel::unhex(if private { &channel.private } else { &channel.public }),
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
        let mode = if number % 2 == 0 { Mode::Text } else { Mode::Binary };
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

    let body = |number: usize| format!("{number}{}", " ".repeat(SIZE));
    let number_of = |body: &str| body.trim_end().parse::<usize>().expect("a number");
    for number in 0..MESSAGES {
        host.publish(&channel, &body(number)).await?;
        assert_eq!(number_of(&quick.body().await), number);
    }
    // Only now does the slow one read: it has been cut off on the way ...
    let mut seen = 0;
    let closed = loop {
        match soon("a message or the end", slow.next()).await {
            Ok(message) => {
                assert_eq!(number_of(&message.body), seen);
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
        assert_eq!(number_of(&again.body().await), number);
    }
    Ok(())
}
