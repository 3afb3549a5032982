//! The recorded verdicts on channel strings, replayed over real HTTP and WebSockets.

use std::fs;
use std::time::Duration;

use push_tests::http1::{self, Http1, Request};
use push_tests::wait::soon;
use push_tests::{Key, Setup, TestResult, both_nginx, builds, websocket};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

both_nginx!(channel_strings_get_the_recorded_verdicts);

fn vectors() -> Value {
    let file = builds::repository().join("tests/vectors/signatures.json");
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("JSON")
}

async fn channel_strings_get_the_recorded_verdicts(mut setup: Setup) -> TestResult {
    let vectors = vectors();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    setup.keys = vec![Key(text(&vectors["security_key"]))];
    // Some of the strings are long.
    setup.conf.http = "large_client_header_buffers 4 32k;\n".into();
    let host = setup.start()?;
    let cases = vectors["channel_strings"].as_array().expect("an array").clone();
    assert!(cases.len() > 50, "{} cases", cases.len());

    let mut tasks = JoinSet::new();
    for case in cases {
        let (public, internal) = (host.public(), host.internal());
        tasks.spawn(async move {
            let id = text(&case["id"]);
            let query = format!("?CHANNEL_ID={}", text(&case["raw_query_value"]));
            let accepted = match text(&case["sub"]).as_str() {
                "accept" => true,
                "reject" => false,
                other => panic!("{id}: verdict {other}"),
            };
            // A poll that is accepted is held; one that is not is answered at once.
            let mut poll = Http1::connect(&public).await.expect("connects");
            poll.send(&Request::get(&format!("/bitrix/sub/{query}")).to_bytes())
                .await
                .expect("is sent");
            // A WebSocket that is accepted answers pings; one that is not is closed. Without a
            // library, which would put the query into a form of its own.
            let mut socket = Http1::connect(&public).await.expect("connects");
            let handshake = websocket::handshake(&format!("/bitrix/subws/{query}"));
            let answer = socket.request(&handshake).await.expect("an answer");
            assert_eq!(answer.status, 101, "{id}: {answer:?}");
            let mut socket = socket.into_stream();
            if accepted {
                socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.expect("is sent");
                let mut pong = [0; 2];
                soon(&id, socket.read_exact(&mut pong)).await.expect("still open");
                assert_eq!(pong, [0x8a, 0], "{id}: a pong");
                let held = tokio::time::timeout(Duration::ZERO, poll.response()).await;
                assert!(held.is_err(), "{id}: the poll was answered: {held:?}");
            } else {
                let mut close = Vec::new();
                soon(&id, socket.read_to_end(&mut close)).await.expect("a close");
                let expected = [b"\x88\x19\x0f\xaa", &b"4010: Wrong Channel Id."[..]].concat();
                assert_eq!(close, expected, "{id}");
                let answer = soon(&id, poll.response()).await.expect("an answer");
                assert_eq!(
                    (answer.status, answer.text()),
                    (400, "4010: Wrong Channel Id."),
                    "{id}"
                );
            }
            // The backend's rule, shown by its statistics.
            let request = Request::get(&format!("/bitrix/pub/{query}"));
            let answer = http1::once(&internal, request).await.expect("an answer");
            match text(&case["pub"]).as_str() {
                "accept" => assert_eq!(answer.status, 200, "{id}: {answer:?}"),
                "reject" => {
                    let expected = (400, "4017: No channels found.");
                    assert_eq!((answer.status, answer.text()), expected, "{id}");
                }
                other => panic!("{id}: verdict {other}"),
            }
            // The clients' rule, shown by an empty request: what is wrong first is the list, then
            // the request.
            let request = Request::post(&format!("/bitrix/rest/{query}"), "");
            let answer = http1::once(&public, request).await.expect("an answer");
            let expected = match text(&case["rest"]).as_str() {
                "accept" => "4013: Wrong Request Data.",
                "reject" => "4012: Public Channel Id is Required.",
                other => panic!("{id}: verdict {other}"),
            };
            assert_eq!((answer.status, answer.text()), (400, expected), "{id}");
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome?;
    }
    Ok(())
}
