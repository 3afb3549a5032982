//! How a publication's body may come, and how a publisher may leave (PROTOCOL.md, sections 1.3 and 5.4).

use prost::Message as _;
use push_tests::channel::unhex;
use push_tests::host::text_publication;
use push_tests::http1::{Http1, Request};
use push_tests::http2::Http2;
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Setup, TestResult, both_nginx, matrix};
use tokio::io::AsyncWriteExt;

matrix!(a_publisher_may_hang_up_early);
both_nginx!(
    bodies_come_in_any_framing,
    the_size_of_a_body_is_limited,
    one_connection_carries_many_requests,
    publishing_over_http2
);

async fn a_publisher_may_hang_up_early(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    for round in 0..20 {
        let body = round.to_string();
        let mut request = text_publication(&[&channel.private], &body, 60);
        if round % 2 == 0 {
            request = request.http10();
        }
        let mut connection = host.internal().connect().await?;
        connection.write_all(&request.to_bytes()).await?;
        // As PHP does: written, closed, not read.
        if round % 4 < 2 {
            connection.shutdown().await?;
        }
        drop(connection);
        assert_eq!(socket.body().await, body);
    }
    // What was not sent to its end is not published.
    let request = text_publication(&[&channel.private], "0123456789", 60).to_bytes();
    let mut connection = host.internal().connect().await?;
    connection.write_all(&request[..request.len() - 5]).await?;
    drop(connection);
    host.publish(&channel, "end").await?;
    assert_eq!(socket.body().await, "end");
    Ok(())
}

async fn bodies_come_in_any_framing(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);

    // Chunked, in small and in large pieces.
    for piece in [1, 10, 5_000] {
        let body = "chunked ".repeat(2_000 / 8 * piece.min(10));
        let mut connection = Http1::connect(&host.internal()).await?;
        let head = Request::new("POST", &target, Vec::new()).header("Transfer-Encoding", "chunked");
        connection.send(&head.to_bytes()).await?;
        let mut chunks = Vec::new();
        for chunk in body.as_bytes().chunks(piece) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        connection.send(&chunks).await?;
        assert_eq!(soon("an answer", connection.response()).await?.status, 200);
        assert_eq!(socket.body().await, body);
    }
    // The head alone, then byte by byte.
    let mut connection = Http1::connect(&host.internal()).await?;
    for byte in Request::post(&target, "byte by byte").to_bytes() {
        connection.send(&[byte]).await?;
    }
    assert_eq!(soon("an answer", connection.response()).await?.status, 200);
    assert_eq!(socket.body().await, "byte by byte");

    // Announced first.
    let request = Request::post(&target, "expected").header("Expect", "100-continue").to_bytes();
    let (head, body) = request.split_at(request.len() - "expected".len());
    let mut connection = Http1::connect(&host.internal()).await?;
    connection.send(head).await?;
    assert_eq!(soon("100", connection.response()).await?.status, 100);
    connection.send(body).await?;
    assert_eq!(soon("an answer", connection.response()).await?.status, 200);
    assert_eq!(socket.body().await, "expected");
    Ok(())
}

async fn the_size_of_a_body_is_limited(mut setup: Setup) -> TestResult {
    // nginx's own limit out of the way: the module has one too. With small buffers the bodies go
    // through a temporary file, with large ones through memory.
    setup.conf.publishing = "client_max_body_size 10m;".into();
    for buffer in ["16k", "2m"] {
        let mut setup = setup.clone();
        setup.conf.publishing += &["client_body_buffer_size ", buffer, ";"].concat();
        let host = setup.start()?;
        let channel = Channel::new();
        let mut socket = host.subscribe(&channel, Mode::Text).await?;
        let largest = "z".repeat(1_048_576);
        host.publish(&channel, &largest).await?;
        assert!(socket.body().await == largest, "1 MiB comes back as it was");

        let answer = host.post(&[&channel.private], &(largest + "z"), 60).await?;
        assert_eq!((answer.status, answer.body.len()), (413, 0), "{answer:?}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        host.publish(&channel, "next").await?;
        assert_eq!(socket.body().await, "next");
    }
    Ok(())
}

async fn one_connection_carries_many_requests(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let mut connection = Http1::connect(&host.internal()).await?;
    let request = |number: u32| text_publication(&[&channel.private], &number.to_string(), 0);
    for number in 0..50 {
        assert_eq!(connection.request(&request(number)).await?.status, 200);
        assert_eq!(socket.body().await, number.to_string());
    }
    // Several in one piece, answered one after another.
    let pipelined: Vec<u8> = (50..60).flat_map(|number| request(number).to_bytes()).collect();
    connection.send(&pipelined).await?;
    for number in 50..60 {
        assert_eq!(soon("an answer", connection.response()).await?.status, 200);
        assert_eq!(socket.body().await, number.to_string());
    }
    // An error does not end the connection either.
    let bad = Request::post("/bitrix/pub/?binaryMode=true", "rubbish");
    assert_eq!(connection.request(&bad).await?.status, 400);
    assert_eq!(connection.request(&request(60)).await?.status, 200);
    assert_eq!(socket.body().await, "60");
    Ok(())
}

async fn publishing_over_http2(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let connection = Http2::connect(&host.internal_tls(&["h2"])).await?;
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);
    for number in 0..20 {
        let body = number.to_string().into_bytes();
        let answer = soon("an answer", connection.request("POST", &target, &[], body)).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(socket.body().await, number.to_string());
    }
    let receiver =
        Receiver { id: unhex(&channel.private), is_private: true, signature: Vec::new() };
    let message = IncomingMessage { receivers: vec![receiver], body: "batch".into(), expiry: 0 };
    let batch = RequestBatch::publish(vec![message]);
    let target = "/bitrix/pub/?binaryMode=true";
    let answer = connection.request("POST", target, &[], batch.encode_to_vec());
    assert_eq!(soon("an answer", answer).await?.status, 200);
    assert_eq!(socket.body().await, "batch");
    let answer = connection.request("POST", target, &[], b"rubbish".to_vec());
    assert_eq!(soon("an answer", answer).await?.text(), "4013: Wrong Request Data.");
    Ok(())
}
