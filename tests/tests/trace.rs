//! `push-sidecar trace`: where a message went.

use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Nginx, Setup, Store, TestResult, sidecar, verb, wait};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

struct Told {
    status: i32,
    object: Value,
}

async fn trace(host: &Host, arguments: &[&str]) -> std::io::Result<Told> {
    let socket = sidecar::socket(host.folder()).display().to_string();
    let start = ["trace", "--json", "--socket", &socket];
    let ended = verb::run(&[&start[..], arguments].concat()).await?;
    let object = serde_json::from_str(&ended.out)
        .map_err(|error| std::io::Error::other(format!("{error}: {ended:?}")))?;
    Ok(Told { status: ended.status, object })
}

async fn a_message_is_followed(store: Store) -> TestResult {
    let host = Setup::new(Nginx::Installed, store).workers(2).start()?;
    let (channel, stranger) = (Channel::new(), Channel::new());
    let pair = format!("{}:{}", channel.private, channel.public);
    let mut sockets = Vec::new();
    for mode in [Mode::Text, Mode::Text, Mode::Binary] {
        sockets.push(host.subscribe(&channel, mode).await?);
    }
    host.publish(&channel, "\"before\"").await?;
    let mid = sockets[0].next().await.map_err(|closed| format!("{closed:?}"))?.mid;

    // What is stored, and who is there.
    let told = trace(&host, &["--channel", &pair]).await?;
    assert_eq!(told.status, 0);
    let message = &told.object["messages"][0];
    assert_eq!(message["mid"], *mid);
    assert_eq!((&message["expiry"], &message["sender"]), (&60.into(), &"backend".into()));
    assert!((50..=60).contains(&message["left"].as_u64().unwrap_or(0)), "{message}");
    let receiver: Value = format!("private:{}", channel.private).into();
    assert_eq!(message["receivers"], Value::Array(vec![receiver.clone()]));
    assert!(message["passed"].is_u64(), "{message}");
    let workers = message["workers"].as_array().ok_or("no workers")?;
    assert!((1..=2).contains(&workers.len()), "{message}");
    let sum = |told: &Told, name: &str| -> u64 {
        let workers = told.object["workers"].as_array().into_iter().flatten();
        workers.filter_map(|worker| worker[name].as_u64()).sum()
    };
    assert_eq!((sum(&told, "text"), sum(&told, "binary"), sum(&told, "polls")), (2, 1, 0));
    let channels = told.object["channels"].as_array().ok_or("no channels")?;
    assert!(channels.iter().all(|channel| channel["online"] == true), "{channels:?}");

    // The same by its id alone, in words.
    let by_mid = trace(&host, &["--mid", &mid]).await?;
    assert_eq!((by_mid.status, &by_mid.object["channels"][0]["channel"]), (0, &receiver));
    assert_eq!(sum(&by_mid, "text"), 2, "its receivers' subscribers now");
    let socket = sidecar::socket(host.folder()).display().to_string();
    let words = verb::run(&["trace", "--socket", &socket, "--mid", &mid]).await?;
    for part in ["by backend, 8 bytes", "s left of 60", "passed on at", "online, workers"] {
        assert!(words.out.contains(part), "{part}: {}", words.out);
    }

    // A message that nobody here listens to, one that is not kept, and one that never was.
    let to = |channel: &Channel, expiry| {
        let id = channel.private.clone();
        let host = &host;
        async move { host.post(&[&id], "1", expiry).await }
    };
    assert_eq!(to(&stranger, 60).await?.status, 200);
    let told = trace(&host, &["--channel", &stranger.private]).await?;
    let message = &told.object["messages"][0];
    assert_eq!(
        (&message["passed"], &message["forgotten"]),
        (&Value::Null, &false.into()),
        "{message}"
    );
    assert_eq!(told.object["channels"][0]["online"], false);
    assert_eq!(to(&channel, 0).await?.status, 200);
    let mid = {
        let message = sockets[0].next().await.map_err(|closed| format!("{closed:?}"))?;
        message.mid
    };
    let told = trace(&host, &["--mid", &mid]).await?;
    let message = &told.object["messages"][0];
    assert_eq!((&message["expiry"], &message["left"]), (&0.into(), &Value::Null), "{message}");
    let never = format!("{}0000000000000000", "1".repeat(10));
    let told = trace(&host, &["--mid", &never]).await?;
    assert_eq!((told.status, &told.object["messages"][0]["known"]), (1, &false.into()));
    let odd = verb::run(&["trace", "--socket", &socket, "--mid", "17"]).await?;
    assert_eq!((odd.status, odd.err.contains("26 decimal digits")), (2, true), "{}", odd.err);
    Ok(())
}

#[tokio::test]
async fn a_message_is_followed_in_memory() -> TestResult {
    a_message_is_followed(Store::Memory).await
}

#[tokio::test]
async fn a_message_is_followed_in_redis() -> TestResult {
    a_message_is_followed(Store::Redis).await
}

#[tokio::test]
async fn what_comes_is_told_while_somebody_looks() -> TestResult {
    let host = Setup::new(Nginx::Installed, Store::Memory).start()?;
    let channel = Channel::new();
    let mut sockets = Vec::new();
    for mode in [Mode::Text, Mode::Binary] {
        sockets.push(host.subscribe(&channel, mode).await?);
    }
    let socket = sidecar::socket(host.folder()).display().to_string();
    let arguments = ["trace", "--json", "--socket", &socket, "--follow", "--timeout", "20"];
    let arguments = [&arguments[..], &["--channel", &channel.private]].concat();
    let mut child = verb::command(&arguments).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = wait::soon("how things stand", lines.next_line()).await?.ok_or("a line")?;
    assert!(first.contains("\"messages\":[]"), "{first}");
    host.publish(&channel, "\"now\"").await?;
    let line = wait::soon("the delivery", lines.next_line()).await?.ok_or("a line")?;
    let object: Value = serde_json::from_str(&line)?;
    assert_eq!((&object["text"], &object["binary"]), (&1.into(), &1.into()), "{line}");
    assert!(object["took"].as_u64().is_some_and(|ms| ms < 5_000), "{line}");
    assert_eq!(object["worker"], host.nginx.workers()[0]);
    let mid = sockets[0].next().await.map_err(|closed| format!("{closed:?}"))?.mid;
    assert_eq!(object["mid"], mid);
    Ok(())
}
