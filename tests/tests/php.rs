//! A portal's backend: PHP, with its sockets, its streams and curl.

use std::collections::HashMap;
use std::process::Stdio;

use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Message, Setup, TestResult, WebSocket, builds, matrix};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

matrix!(
    text_in_all_ways,
    text_to_several_hundred_channels,
    batches,
    the_largest_batch,
    online_channels,
);

/// What the last message of a test says: nothing may come before it that is not expected.
const END: &str = "\"end\"";

/// The ways of `text.php`.
const WAYS: [&str; 10] = [
    "socket, 1.0",
    "socket, 1.1",
    "socket, 1.1, 100-continue",
    "socket, 1.0, hung up",
    "socket, 1.1, hung up",
    "stream, 1.0",
    "stream, 1.1",
    "curl, 1.0",
    "curl, 1.1",
    "curl, 1.1, 100-continue",
];

/// Runs a script of `tests/php/` on the host's internal address and returns what it prints.
async fn php(host: &Host, script: &str, mut given: Value) -> Value {
    given["address"] = host.nginx.addresses.internal.to_string().into();
    let mut child = Command::new("php")
        .args(["-d", "display_errors=stderr", "-d", "memory_limit=512M"])
        .arg(builds::repository().join("tests/php").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("php is installed");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(given.to_string().as_bytes()).await.expect("php reads");
    drop(input);
    let output = soon(script, child.wait_with_output()).await.expect("php runs");
    assert!(output.status.success(), "{script}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Fails unless every answer that was waited for says that the messages are stored.
fn all_taken(told: &Value) {
    for post in told.as_array().expect("a list") {
        if !post["answer"].is_null() {
            let stored = json!({"status": 200, "type": "text/plain", "body": ""});
            assert_eq!(post["answer"], stored, "{post}");
        }
    }
}

/// Opens a WebSocket for each channel, in text and binary mode by turns.
async fn subscribe_all(
    host: &Host,
    channels: &[Channel],
) -> Result<Vec<WebSocket>, Box<dyn std::error::Error + Send + Sync>> {
    let mut sockets = Vec::new();
    for (number, channel) in channels.iter().enumerate() {
        let mode = if number % 2 == 0 { Mode::Text } else { Mode::Binary };
        sockets.push(WebSocket::open(&host.public(), &host.target(channel), mode).await?);
    }
    host.until_online(channels).await?;
    Ok(sockets)
}

/// The next messages, as many as are expected; each with an id of its own, in the order of ids.
async fn take(socket: &mut WebSocket, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(soon("a message", socket.next()).await.expect("open"));
    }
    assert!(messages.is_sorted_by(|a, b| a.mid < b.mid), "{messages:?}");
    messages
}

/// Fails if a message came that was not waited for.
async fn nothing_more(host: &Host, channels: &[Channel], sockets: &mut [WebSocket]) -> TestResult {
    for some in channels.chunks(100) {
        let ids: Vec<_> = some.iter().map(|channel| channel.private.as_str()).collect();
        assert_eq!(host.post(&ids, END, 60).await?.status, 200);
    }
    for socket in sockets {
        assert_eq!(socket.body().await, END);
    }
    Ok(())
}

/// A body that is neither ASCII nor short.
fn body(number: usize) -> String {
    let text = format!("Сообщение {number} \u{1f514} a=1&b=%20+ ").repeat(40);
    json!({"module_id": "im", "command": "message", "params": {"text": text}}).to_string()
}

async fn text_in_all_ways(setup: Setup) -> TestResult {
    let host = setup.workers(4).start()?;
    // One channel for each way, and one for all.
    let channels: Vec<_> = (0..=WAYS.len()).map(|_| Channel::new()).collect();
    let mut sockets = subscribe_all(&host, &channels).await?;
    let shared = &channels[WAYS.len()];
    let post = |(number, way): (usize, &&str)| {
        let ids = [&channels[number].private, &shared.private];
        json!({"way": way, "channels": ids, "body": body(number), "expiry": 60})
    };
    let posts: Vec<_> = WAYS.iter().enumerate().map(post).collect();
    let told = php(&host, "text.php", json!({ "posts": posts })).await;
    all_taken(&told);
    let unread = told.as_array().expect("a list").iter().filter(|post| post["answer"].is_null());
    assert_eq!(unread.count(), 2, "{told}");

    let mut all = Vec::new();
    for (number, socket) in sockets[..WAYS.len()].iter_mut().enumerate() {
        let own = take(socket, 1).await.remove(0);
        assert_eq!(own.body, body(number), "{}", WAYS[number]);
        all.push(own);
    }
    // Those who hung up may have been overtaken; otherwise the order is that of publishing.
    all.sort_by(|a, b| a.mid.cmp(&b.mid));
    assert_eq!(take(&mut sockets[WAYS.len()], WAYS.len()).await, all);
    nothing_more(&host, &channels, &mut sockets).await
}

async fn text_to_several_hundred_channels(setup: Setup) -> TestResult {
    let host = setup.workers(4).start()?;
    let channels: Vec<_> = (0..330).map(|_| Channel::new()).collect();
    let mut sockets = subscribe_all(&host, &channels).await?;
    let ids: Vec<_> = channels.iter().map(|channel| &channel.private).collect();
    let ways = ["socket, 1.0", "curl, 1.1", "socket, 1.1, hung up"];
    let post = |(number, way): (usize, &&str)| json!({"way": way, "channels": ids, "body": body(number), "expiry": 60});
    let posts: Vec<_> = ways.iter().enumerate().map(post).collect();
    let told = php(&host, "text.php", json!({ "posts": posts })).await;
    all_taken(&told);
    let requests = told.as_array().expect("a list").iter().map(|post| post["channels"].clone());
    assert_eq!(requests.collect::<Vec<_>>(), [100, 100, 100, 30].repeat(3));

    let expected: Vec<_> = (0..ways.len()).map(body).collect();
    for socket in &mut sockets {
        let bodies = take(socket, ways.len()).await.into_iter().map(|message| message.body);
        assert_eq!(bodies.collect::<Vec<_>>(), expected);
    }
    nothing_more(&host, &channels, &mut sockets).await
}

async fn batches(setup: Setup) -> TestResult {
    const MESSAGES: usize = 260;
    let host = setup.workers(4).start()?;
    let channels: Vec<_> = (0..130).map(|_| Channel::new()).collect();
    let mut sockets = subscribe_all(&host, &channels).await?;
    let mut expected: HashMap<usize, Vec<String>> = HashMap::new();
    let mut messages = Vec::new();
    for number in 0..MESSAGES {
        // From one receiver to all 130, by the private id, by the public one or by both.
        let first = number * 7 % channels.len();
        let count = if number % 50 == 0 { channels.len() } else { 1 + number % 5 };
        let text = json!({"number": number}).to_string();
        // Some 3 MB in all: a request is full before it has 100 messages.
        let repeat = if number % 3 == 0 { 2500 } else { 1 };
        let mut receivers = Vec::new();
        for member in (first..first + count).map(|member| member % channels.len()) {
            let channel = &channels[member];
            match number % 3 {
                0 => receivers.push(json!([channel.private, true])),
                1 => receivers.push(json!([channel.public, false])),
                _ => receivers
                    .extend([json!([channel.private, true]), json!([channel.public, false])]),
            }
            expected.entry(member).or_default().push(text.repeat(repeat));
        }
        // Ids of one channel stay together when a message goes out as several.
        assert!(number % 3 != 2 || receivers.len() <= 100 || receivers.len() % 2 == 0);
        messages
            .push(json!({"receivers": receivers, "body": text, "repeat": repeat, "expiry": 60}));
    }
    let told = php(&host, "batch.php", json!({ "messages": messages })).await;
    all_taken(&told);
    let told = told.as_array().expect("a list");
    let figure = |name: &str| {
        told.iter().map(|post| post[name].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert!(figure("messages").iter().sum::<u64>() > MESSAGES as u64, "some were split: {told:?}");
    assert!(figure("messages").iter().all(|&messages| messages <= 100), "{told:?}");
    assert!(figure("bytes").iter().all(|&bytes| bytes <= 1_048_376), "{told:?}");
    assert!(figure("bytes").iter().any(|&bytes| bytes > 900_000), "{told:?}");

    for (member, socket) in sockets.iter_mut().enumerate() {
        let expected = expected.remove(&member).unwrap_or_default();
        let arrived = take(socket, expected.len()).await.into_iter().map(|message| message.body);
        assert!(arrived.eq(expected), "subscriber {member}");
    }
    nothing_more(&host, &channels, &mut sockets).await
}

async fn the_largest_batch(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let channels: Vec<_> = (0..3).map(|_| Channel::new()).collect();
    let mut sockets = subscribe_all(&host, &channels).await?;
    let receivers: Vec<_> = channels.iter().map(|channel| json!([channel.private, true])).collect();
    let fill = json!({"receivers": receivers, "expiry": 60});
    let told = php(&host, "batch.php", json!({ "fill": fill })).await;
    all_taken(&told);
    assert_eq!(told[0]["bytes"], 1_048_376);
    for socket in &mut sockets {
        let message = take(socket, 1).await.remove(0);
        assert!(message.body.len() > 1_048_000 && message.body.bytes().all(|byte| byte == b'x'));
    }
    nothing_more(&host, &channels, &mut sockets).await
}

async fn online_channels(setup: Setup) -> TestResult {
    let host = setup.workers(4).start()?;
    let channels: Vec<_> = (0..250).map(|_| Channel::new()).collect();
    // Every third is there.
    let present: Vec<_> = channels.iter().step_by(3).cloned().collect();
    let _sockets = subscribe_all(&host, &present).await?;
    let asked: Vec<_> = (channels.iter())
        .flat_map(|channel| [json!([channel.private, true]), json!([channel.public, false])])
        .collect();
    let told = php(&host, "online.php", json!({ "channels": asked })).await;

    let online = |channel: &Channel| present.contains(channel);
    let expected: Vec<_> = (channels.iter())
        .flat_map(|channel| {
            let online = online(channel);
            [json!([channel.private, true, online]), json!([channel.public, false, online])]
        })
        .collect();
    assert_eq!(told["binary"], Value::from(expected));
    let expected: Vec<_> = present.iter().map(|channel| channel.private.clone()).collect();
    assert_eq!(told["text"], Value::from(expected));
    let slowest = told["slowest"].as_f64().expect("seconds");
    assert!(slowest < 1.0, "a page waits {slowest} s");
    Ok(())
}
