//! What is published, to whom, and what is refused (PROTOCOL.md, sections 4, 5 and 8).

use prost::Message as _;
use push_tests::channel::unhex;
use push_tests::host::text_publication;
use push_tests::http1::{self, Http1, Request};
use push_tests::proto::{
    ChannelStatsRequest, Command, IncomingMessage, Receiver, RequestBatch, ResponseBatch,
};
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Setup, TestResult, WebSocket, both_nginx, matrix};

matrix!(
    text_is_kept_as_long_as_its_header_says,
    a_batch_is_published_in_order,
    a_bad_batch_is_refused_as_a_whole
);
both_nginx!(
    odd_text_publications_are_taken,
    a_hundred_channels_get_one_message,
    statistics_tell_who_is_online,
    a_client_may_ask_who_is_online_all_day,
    many_publishers_at_once
);

fn receiver(channel: &Channel) -> Receiver {
    Receiver { id: unhex(&channel.private), is_private: true, signature: Vec::new() }
}

fn message(receivers: Vec<Receiver>, body: &str) -> IncomingMessage {
    IncomingMessage { receivers, body: body.into(), expiry: 60 }
}

fn binary(batch: &RequestBatch) -> Request {
    Request::post("/bitrix/pub/?binaryMode=true&hostname=localhost", batch.encode_to_vec())
}

async fn text_is_kept_as_long_as_its_header_says(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);
    // None, zero, nonsense and negative are not kept; digits in front are read.
    let cases = [
        ("start", Some("60")),
        ("none", None),
        ("zero", Some("0")),
        ("nonsense", Some("soon")),
        ("negative", Some("-5")),
        ("digits in front", Some(" +30abc")),
        ("cut to a day", Some("99999999")),
    ];
    for (body, expiry) in cases {
        let mut request = Request::post(&target, body);
        if let Some(expiry) = expiry {
            request = request.header("Message-Expiry", expiry);
        }
        let answer = http1::once(&host.internal(), request).await?;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        assert!(answer.body.is_empty());
        assert_eq!(socket.body().await, body, "live messages come, kept or not");
    }
    let mut again = WebSocket::open(
        &host.public(),
        &format!("{}&mid={}", host.target(&channel), "0".repeat(26)),
        Mode::Binary,
    )
    .await?;
    host.publish(&channel, "live").await?;
    for body in ["start", "digits in front", "cut to a day", "live"] {
        assert_eq!(again.body().await, body);
    }
    Ok(())
}

async fn a_batch_is_published_in_order(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let (own, shared) = (Channel::new(), Channel::new());
    let list = format!("{}/{}", own.signed_pair(&host.key), shared.signed_private(&host.key));
    let target = format!("/bitrix/subws/?CHANNEL_ID={list}");
    let mut sockets = [
        WebSocket::open(&host.public(), &target, Mode::Binary).await?,
        WebSocket::open(&host.public(), &target, Mode::Text).await?,
    ];
    host.until_online(&[own.clone(), shared.clone()]).await?;

    let public = Receiver { id: unhex(&own.public), is_private: false, signature: Vec::new() };
    let both = vec![receiver(&own), receiver(&shared)];
    let mut messages = vec![
        message(both, "to both"),
        message(vec![public], "to the public id"),
        message(vec![receiver(&shared)], "Привет \u{1f980}"),
    ];
    messages.extend((3..100).map(|number| message(vec![receiver(&own)], &number.to_string())));
    let bodies: Vec<_> = messages.iter().map(|message| message.body.clone()).collect();
    let answer = http1::once(&host.internal(), binary(&RequestBatch::publish(messages))).await?;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");

    for socket in &mut sockets {
        let mut last = String::new();
        for body in &bodies {
            let message = soon("a message", socket.next()).await.expect("open");
            assert_eq!(&message.body, body);
            assert!(message.mid > last, "{} after {last}", message.mid);
            last = message.mid;
        }
    }
    // No messages at all is fine.
    let answer = http1::once(&host.internal(), binary(&RequestBatch::publish(Vec::new()))).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(())
}

async fn a_bad_batch_is_refused_as_a_whole(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let good = || message(vec![receiver(&channel)], "must not come");
    let batch = |messages| RequestBatch::publish(messages).encode_to_vec();
    let odd = Receiver { id: vec![1; 15], is_private: true, signature: Vec::new() };
    let cases = [
        (Vec::new(), "4013: Wrong Request Data."),
        (b"rubbish".to_vec(), "4013: Wrong Request Data."),
        (RequestBatch::default().encode_to_vec(), "4013: Wrong Request Data."),
        (batch(vec![good(); 101]), "4016: Request exceeded the maximum number of messages."),
        (batch(vec![good(), message(Vec::new(), "")]), "4017: No channels found."),
        (
            batch(vec![good(), message(vec![receiver(&channel); 101], "")]),
            "4018: Request exceeded the maximum number of channels.",
        ),
        (batch(vec![good(), message(vec![odd], "")]), "4019: Request has an invalid channel id."),
    ];
    for (body, expected) in cases {
        let request = Request::post("/bitrix/pub/?binaryMode=true", body);
        let answer = http1::once(&host.internal(), request).await?;
        assert_eq!((answer.status, answer.text()), (400, expected));
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    }
    host.publish(&channel, "next").await?;
    assert_eq!(socket.body().await, "next");
    Ok(())
}

async fn odd_text_publications_are_taken(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Binary).await?;
    // Nobody to publish to: 200, and nothing happens.
    for query in ["", "?CHANNEL_ID=", "?CHANNEL_ID=nonsense", "?CHANNEL_ID=/"] {
        let request = Request::post(&format!("/bitrix/pub/{query}"), "lost");
        assert_eq!(http1::once(&host.internal(), request).await?.status, 200, "{query}");
    }
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);
    // Invalid UTF-8 is replaced; a signature need only have the right shape.
    let bodies: [(&[u8], &str); 3] =
        [(b"a\xffb", "a\u{fffd}b"), (b"not json", "not json"), (b"#!NGINXNME!#", "#!NGINXNME!#")];
    for (sent, received) in bodies {
        let target = format!("{target}.{}", "0".repeat(40));
        let answer = http1::once(&host.internal(), Request::post(&target, sent)).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(socket.body().await, received);
    }
    Ok(())
}

async fn a_hundred_channels_get_one_message(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channels: Vec<_> = (0..100).map(|_| Channel::new()).collect();
    let mut sockets = Vec::new();
    for channel in &channels {
        sockets.push(WebSocket::open(&host.public(), &host.target(channel), Mode::Text).await?);
    }
    host.until_online(&channels).await?;
    let ids: Vec<_> = channels.iter().map(|channel| channel.private.as_str()).collect();
    assert_eq!(host.post(&ids, "all", 60).await?.status, 200);
    let mut mids = Vec::new();
    for socket in &mut sockets {
        let message = soon("a message", socket.next()).await.expect("open");
        assert_eq!(message.body, "all");
        mids.push(message.mid);
    }
    assert!(mids.iter().all(|mid| *mid == mids[0]), "one message has one id: {mids:?}");
    Ok(())
}

async fn statistics_tell_who_is_online(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let (online, offline) = (Channel::new(), Channel::new());
    let _socket = host.subscribe(&online, Mode::Text).await?;

    let stats = |ids: String| Request::get(&format!("/bitrix/pub/?CHANNEL_ID={ids}"));
    let both = format!("{}/{}", offline.private, online.private);
    let answer = http1::once(&host.internal(), stats(both)).await?;
    assert_eq!(answer.status, 200);
    let expected = format!(r#"{{"infos":[{{"channel":"{}","subscribers":1}}]}}"#, online.private);
    assert_eq!(answer.text(), expected);
    let answer = http1::once(&host.internal(), stats(offline.private.clone())).await?;
    assert_eq!(answer.text(), r#"{"infos":[]}"#);
    let answer = http1::once(&host.internal(), stats("bad".into())).await?;
    assert_eq!((answer.status, answer.text()), (400, "4017: No channels found."));

    let mut batch = RequestBatch::publish(Vec::new());
    let channels = vec![receiver(&offline), receiver(&online)];
    batch.requests[0].command = Some(Command::ChannelStats(ChannelStatsRequest { channels }));
    let answer = http1::once(&host.internal(), binary(&batch)).await?;
    assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"));
    let mut answer = ResponseBatch::decode(&*answer.body)?;
    let stats = answer.responses.remove(0).channel_stats.expect("channelStats").channels;
    let told: Vec<_> = stats.iter().map(|channel| (&channel.id, channel.is_online)).collect();
    assert_eq!(told, [(&unhex(&offline.private), false), (&unhex(&online.private), true)]);
    Ok(())
}

async fn a_client_may_ask_who_is_online_all_day(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let (asker, online, offline) = (Channel::new(), Channel::new(), Channel::new());
    let mut socket = host.subscribe(&asker, Mode::Binary).await?;
    let _other = host.subscribe(&online, Mode::Text).await?;
    let public = |channel: &Channel| Receiver {
        id: unhex(&channel.public),
        is_private: false,
        signature: channel.public_signature(&host.key),
    };
    let mut batch = RequestBatch::publish(Vec::new());
    let channels = vec![public(&online), public(&offline)];
    batch.requests[0].command = Some(Command::ChannelStats(ChannelStatsRequest { channels }));
    for _ in 0..100 {
        let mut answer = socket.ask(&batch).await?;
        let stats = answer.responses.remove(0).channel_stats.expect("channelStats").channels;
        assert_eq!(stats.iter().map(|one| one.is_online).collect::<Vec<_>>(), [true, false]);
    }
    socket.ping(b"still heard").await?;
    host.publish(&asker, "and told").await?;
    assert_eq!(socket.body().await, "and told");
    Ok(())
}

async fn many_publishers_at_once(setup: Setup) -> TestResult {
    const PUBLISHERS: usize = 20;
    const EACH: usize = 50;
    let host = setup.workers(2).start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Binary).await?;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish_numbers(&host, &channel, publisher, EACH)))
        .collect();
    let mut next = [0; PUBLISHERS];
    for _ in 0..PUBLISHERS * EACH {
        let body = socket.body().await;
        let (publisher, number) = body.split_once(':').expect("publisher:number");
        let expected = &mut next[publisher.parse::<usize>()?];
        assert_eq!(number.parse::<usize>()?, *expected, "of publisher {publisher}");
        *expected += 1;
    }
    for publisher in publishers {
        publisher.await??;
    }
    Ok(())
}

fn publish_numbers(
    host: &Host,
    channel: &Channel,
    publisher: usize,
    count: usize,
) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
    let (internal, id) = (host.internal(), channel.private.clone());
    async move {
        let mut connection = Http1::connect(&internal).await?;
        for number in 0..count {
            let request = text_publication(&[&id], &format!("{publisher}:{number}"), 0);
            assert_eq!(connection.request(&request).await?.status, 200);
        }
        Ok(())
    }
}
