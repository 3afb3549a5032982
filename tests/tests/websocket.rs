//! The handshake and the frames of a WebSocket (PROTOCOL.md, section 9; RFC 6455).

use std::io;

use push_tests::http1::{Http1, Request};
use push_tests::net::Stream;
use push_tests::wait::soon;
use push_tests::websocket::{self, Mode};
use push_tests::{Channel, Host, Setup, TestResult, WebSocket, both_nginx};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

both_nginx!(
    frames_are_answered_as_the_protocol_wants,
    hostile_frames_end_the_connection,
    a_handshake_may_need_large_buffers,
    wrong_handshakes_are_refused
);

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
            .send(Frame::Close(Some(CloseFrame { code: 3001.into(), reason: "bye".into() })))
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
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
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
        assert_eq!(rest, [&[0x88, 0x02], &u16::to_be_bytes(code)[..]].concat(), "{what}");
    }
    host.publish(&channel, "unharmed").await?;
    assert_eq!(witness.body().await, "unharmed");
    Ok(())
}

/// A WebSocket without a library, for what no library would send.
async fn raw_handshake(host: &Host, channel: &Channel) -> io::Result<BufReader<Stream>> {
    let mut connection = Http1::connect(&host.public()).await?;
    let answer = connection.request(&websocket::handshake(&host.target(channel))).await?;
    assert_eq!(answer.status, 101, "{answer:?}");
    // The answer to the key of RFC 6455, section 1.3.
    assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(answer.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(answer.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
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
        (with("websocket", "7", key), "Missing or invalid Sec-WebSocket-Version header"),
        (with("websocket", "13", "short"), "Missing or invalid Sec-WebSocket-Key header"),
        (with("h2c", "13", key), "Invalid Upgrade header"),
    ];
    for (request, body) in cases {
        let mut connection = Http1::connect(&host.public()).await?;
        let answer = connection.request(&request).await?;
        assert_eq!((answer.status, answer.text()), (400, body));
        assert!(connection.ended().await, "{body}");
    }
    // The first offered subprotocol is taken, compression never.
    let request = websocket::handshake(&target)
        .header("Sec-WebSocket-Protocol", "chat, other")
        .header("Sec-WebSocket-Extensions", "permessage-deflate");
    let answer = Http1::connect(&host.public()).await?.request(&request).await?;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("chat"));
    assert_eq!(answer.header("Sec-WebSocket-Extensions"), None);
    Ok(())
}

async fn a_handshake_may_need_large_buffers(mut setup: Setup) -> TestResult {
    setup.conf.http = "large_client_header_buffers 4 32k;\n".into();
    let host = setup.start()?;
    let channels: Vec<_> = (0..100).map(|_| Channel::new()).collect();
    let list: Vec<_> = channels.iter().map(|channel| channel.signed_pair(&host.key)).collect();
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
