//! `protobuf.json`: what was sent to the reference gets its answer, and what the reference announces
//! reaches our subscribers. That each sample is decoded as recorded is a matter of push-protocol.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use push_tests::channel::unhex;
use push_tests::replay::case::{Case, Step};
use push_tests::replay::player::Player;
use push_tests::replay::resp::Connection;
use push_tests::replay::site::Site;
use push_tests::replay::{file, run, security_key};
use push_tests::{Channel, Key, Nginx, Setup, Store, TestResult, matrix};
use serde_json::{Value, json};

matrix!(requests);

fn samples(message: &str, source: &str) -> Vec<Value> {
    let recorded = file("protobuf.json");
    let wanted = |sample: &&Value| {
        let from = sample["source"].as_str().expect("a source");
        sample["message"] == message && from.starts_with(source)
    };
    recorded["samples"].as_array().expect("samples").iter().filter(wanted).cloned().collect()
}

/// The key is that of all files.
fn key() -> Key {
    Key(security_key(&file("http.json")).to_owned())
}

/// The answer that a sample's source tells, e.g. `sent to the reference on the pub path, answered
/// 400 4013: Wrong Request Data.`
fn answer(sample: &Value) -> Value {
    let source = sample["source"].as_str().expect("a source");
    let (_, answer) = source.split_once(", answered ").expect("an answer");
    let (status, error) = answer.split_at(3);
    let request = &sample["decoded"]["requests"][0];
    let asks = ["channelStats", "serverStats"].iter().find(|&&name| !request[name].is_null());
    let (content_type, body) = match (status, asks) {
        ("200", Some(&name)) => (
            "application/octet-stream",
            json!({"type": "ResponseBatch", "decoded": {"responses": [{name: statistics(name, request)}]}}),
        ),
        ("200", None) => ("text/plain", json!({"utf8": ""})),
        _ => ("text/plain", json!({"utf8": error.trim()})),
    };
    json!({
        "status": status.parse::<u16>().expect("a status"),
        "headers": {"content-type": content_type, "access-control-allow-origin": "*"},
        "body": body,
    })
}

/// The answer to a request for statistics, nobody being online.
fn statistics(name: &str, request: &Value) -> Value {
    if name == "serverStats" {
        return json!({"json": "{{server_stats_json}}"});
    }
    let asked = request[name]["channels"].as_array().expect("channels").iter();
    let channels: Vec<_> = asked
        .map(|channel| json!({"id": channel["id"], "isPrivate": channel["isPrivate"] == true}))
        .collect();
    json!({"channels": channels})
}

async fn requests(setup: Setup) -> TestResult {
    let key = key();
    let site = Arc::new(Site::start(&setup, &key.0)?);
    let mut cases = Vec::new();
    for (number, sample) in samples("RequestBatch", "sent").iter().enumerate() {
        let source = sample["source"].as_str().expect("a source");
        let target = if source.contains("rest path") {
            format!("/rest/?CHANNEL_ID={}", Channel::new().signed_pair(&key))
        } else {
            "/pub/?binaryMode=true".to_owned()
        };
        let body = BASE64_STANDARD.encode(unhex(sample["hex"].as_str().expect("hex")));
        let request = json!({"method": "POST", "target": target, "body_base64": body});
        let step = json!({"op": "http", "request": request, "expect": answer(sample)});
        let case: Case = serde_json::from_value(json!({
            "id": format!("sample {number} ({source})"),
            "title": "", "server": "all", "channels": {}, "steps": [step],
        }))?;
        cases.push(case);
    }
    assert!(cases.len() >= 15, "{} samples", cases.len());
    let outcomes = run::play(cases, site).await;
    let report = run::report(&outcomes);
    assert!(report.is_empty(), "of {} samples:\n{report}", outcomes.len());
    Ok(())
}

/// A reference process on the same Redis announces messages; who has a receiver gets them.
#[tokio::test]
async fn announcements() -> TestResult {
    let key = key();
    let site = Site::start(&Setup::new(Nginx::Installed, Store::Redis), &key.0)?;
    let url = site.redis("all").expect("a Redis").url();
    let socket = url.strip_prefix("unix://").expect("a socket");
    let mut redis = Connection::open(Path::new(socket)).await?;
    let samples = samples("NotificationBatch", "captured");
    assert!(samples.len() >= 3, "{} samples", samples.len());
    for sample in samples {
        let notification = &sample["decoded"]["notifications"][0];
        let message = &notification["ipcMessages"]["messages"][0];
        let mut player = Player::new(&site, "all");
        let receivers = message["receivers"].as_array().expect("receivers");
        for (number, receiver) in receivers.iter().enumerate() {
            let id = receiver["id"].as_str().expect("an id").to_owned();
            let mut channel = Channel::new();
            if receiver["isPrivate"] == true {
                channel.private = id;
            } else {
                channel.public = id;
            }
            let target = format!("/sub/?binaryMode=true&CHANNEL_ID={}", channel.signed_pair(&key));
            let open = json!({"op": "ws_open", "conn": number.to_string(), "target": target});
            player.step(&serde_json::from_value(open)?).await?;
        }
        let payload = unhex(sample["hex"].as_str().expect("hex"));
        redis.command(&[b"PUBLISH", b"pushserver:2wzeqrlu", &payload]).await?;
        let outgoing = json!({"messages": [message["outgoingMessage"]]});
        for number in 0..receivers.len() {
            let step: Step = serde_json::from_value(json!({
                "op": "ws_recv",
                "conn": number.to_string(),
                "within_ms": Duration::from_secs(5).as_millis(),
                "expect": {
                    "opcode": "binary",
                    "type": "ResponseBatch",
                    "decoded": {"responses": [{"outgoingMessages": outgoing}]},
                },
            }))?;
            player.step(&step).await?;
        }
    }
    Ok(())
}
