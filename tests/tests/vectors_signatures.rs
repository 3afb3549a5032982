//! `signatures.json`: what each place makes of a channel string, of a receiver's raw signature, and
//! of signatures by other keys and algorithms.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use push_tests::channel::unhex;
use push_tests::host::{Host, key_file};
use push_tests::net::Endpoint;
use push_tests::nginx::test_conf;
use push_tests::replay::case::Case;
use push_tests::replay::player::Servers;
use push_tests::replay::run;
use push_tests::replay::{differences, file, security_key};
use push_tests::{Channel, Key, Nginx, Setup, TestResult, matrix, ports};
use serde_json::{Value, json};

const FILE: &str = "signatures.json";

matrix!(channel_strings, receiver_signatures, signatures);

/// One server for each key and algorithm.
struct Keyed {
    _host: Host,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Servers for Keyed {
    fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::clear(self.addresses[name])
    }
}

/// Starts servers by these names with these keys and algorithms.
fn start(mut setup: Setup, keys: &[(String, &str, &str)]) -> std::io::Result<Keyed> {
    let folder = tempfile::tempdir()?;
    let mut addresses = BTreeMap::new();
    for (number, (name, key, algorithm)) in keys.iter().enumerate() {
        let address = ports::free();
        let file = key_file(folder.path(), &format!("key-{number}"), key, 0o600)?;
        let block = format!(
            "server {{
                listen {address};
                bx_push_security_key_file {};
                bx_push_signature_algorithm {algorithm};
                location /sub/ {{ bx_push sub; }}
                location /pub/ {{ bx_push pub; }}
                location /rest/ {{ bx_push rest; }}
            }}\n",
            file.display()
        );
        setup.conf.servers += &block;
        addresses.insert(name.clone(), address);
    }
    // Some of the strings are long.
    setup.conf.http += "large_client_header_buffers 4 32k;\n";
    Ok(Keyed { _host: setup.start()?, addresses })
}

async fn play(cases: Vec<Value>, servers: Keyed) -> TestResult {
    let cases: Vec<Case> =
        cases.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
    let count = cases.len();
    let report = run::report(&run::play(cases, Arc::new(servers)).await);
    let failed = report.lines().count();
    assert!(failed == 0, "{failed} of {count} vectors:\n{report}");
    Ok(())
}

fn case(id: &str, server: &str, steps: &[Value]) -> Value {
    json!({"id": id, "title": "", "server": server, "channels": {}, "steps": steps})
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn accepted(verdict: &Value) -> bool {
    match text(verdict) {
        "accept" => true,
        "reject" => false,
        other => panic!("verdict {other}"),
    }
}

fn error(status: u16, body: &str) -> Value {
    json!({
        "status": status,
        "headers": {"content-type": "text/plain", "access-control-allow-origin": "*"},
        "body": {"utf8": body},
    })
}

/// Subscribing with this value: by a poll, which is held, and by a WebSocket, which stays open.
fn subscribing(value: &str, accepted: bool) -> Vec<Value> {
    let target = format!("/sub/?CHANNEL_ID={value}");
    let request = json!({"method": "GET", "target": target});
    let start = json!({"op": "http_start", "name": "p", "timeout_ms": 5000, "request": request});
    let open = json!({"op": "ws_open", "conn": "x", "target": target});
    let (poll, socket) = if accepted {
        let expect = json!({"pong": "alive"});
        let ping = json!({"op": "ws_ping", "conn": "x", "data_utf8": "alive", "expect": expect});
        (json!({"no_answer_within_ms": 700}), ping)
    } else {
        let mut answer = error(400, "4010: Wrong Channel Id.");
        answer["headers"]["access-control-expose-headers"] = json!("Last-Message-Id");
        let expect = json!({"code": 4010, "reason": "4010: Wrong Channel Id."});
        (answer, json!({"op": "ws_closed", "conn": "x", "within_ms": 2000, "expect": expect}))
    };
    vec![start, open, socket, json!({"op": "http_wait", "name": "p", "expect": poll})]
}

async fn channel_strings(setup: Setup) -> TestResult {
    let recorded = file(FILE);
    let strings = recorded["channel_strings"].as_array().expect("channel strings");
    assert!(strings.len() > 60, "{} strings", strings.len());
    let mut cases = Vec::new();
    for string in strings {
        let value = text(&string["raw_query_value"]);
        let mut steps = subscribing(value, accepted(&string["sub"]));
        let expect = if accepted(&string["pub"]) {
            error(200, "{\"infos\":[{{any}}]}")
        } else {
            error(400, "4017: No channels found.")
        };
        let request = json!({"method": "GET", "target": format!("/pub/?CHANNEL_ID={value}")});
        steps.push(json!({"op": "http", "request": request, "expect": expect}));
        let expect = if accepted(&string["rest"]) {
            error(400, "4013: Wrong Request Data.")
        } else {
            error(400, "4012: Public Channel Id is Required.")
        };
        let target = format!("/rest/?CHANNEL_ID={value}");
        let request = json!({"method": "POST", "target": target, "body_utf8": ""});
        steps.push(json!({"op": "http", "request": request, "expect": expect}));
        cases.push(case(text(&string["id"]), "all", &steps));
    }
    play(cases, start(setup, &[("all".into(), security_key(&recorded), "sha1")])?).await
}

/// A field of a message, the message in it being short.
fn field(number: u8, inner: &[u8]) -> Vec<u8> {
    assert!(inner.len() < 128, "a length of one byte");
    [&[number << 3 | 2, inner.len() as u8], inner].concat()
}

/// A client with the channel `pair` asks after a public id, by this signature.
fn asking(pair: &str, public_id: &str, signature: Option<&str>, accepted: bool) -> Value {
    // An empty signature is written as such, which a library would not do.
    let signature = signature.map_or_else(Vec::new, |signature| field(3, &unhex(signature)));
    let channel = [field(1, &unhex(public_id)), signature].concat();
    let channel_stats = field(1, &channel);
    let batch = field(1, &field(2, &channel_stats));
    let expect = if accepted {
        let stats = json!({"channels": [{"id": public_id, "isOnline": "{{any}}"}]});
        json!({
            "status": 200,
            "headers": {
                "content-type": "application/octet-stream",
                "access-control-allow-origin": "*",
            },
            "body": {
                "type": "ResponseBatch",
                "decoded": {"responses": [{"channelStats": stats}]},
            },
        })
    } else {
        error(400, "4021: Channel has an invalid signature.")
    };
    let body = BASE64_STANDARD.encode(batch);
    let target = format!("/rest/?CHANNEL_ID={pair}");
    let request = json!({"method": "POST", "target": target, "body_base64": body});
    json!({"op": "http", "request": request, "expect": expect})
}

async fn receiver_signatures(setup: Setup) -> TestResult {
    let recorded = file(FILE);
    let b = &recorded["channels"]["b"];
    let [private, public, signature] =
        ["private_id", "public_id", "pair_signature"].map(|name| text(&b[name]));
    let pair = format!("{private}:{public}.{signature}");
    let vectors = recorded["receiver_signatures"].as_array().expect("signatures");
    assert!(vectors.len() >= 16, "{} signatures", vectors.len());
    let cases = vectors.iter().map(|vector| {
        let signature = vector["signature_hex"].as_str();
        let accepted = accepted(&vector["expected"]);
        let step = asking(&pair, text(&vector["public_id"]), signature, accepted);
        case(text(&vector["id"]), "all", &[step])
    });
    let cases = cases.collect();
    play(cases, start(setup, &[("all".into(), security_key(&recorded), "sha1")])?).await
}

/// Key and algorithm of a signature, and why there is no server with them.
fn terms(vector: &Value) -> (&str, &str, Option<&str>) {
    let key = text(&vector["security_key"]);
    let algorithm = vector["algorithm"].as_str().unwrap_or("sha1");
    let refused = match algorithm {
        "sha1" | "sha256" | "sha512" if key.is_empty() => Some("empty-key"),
        "sha1" | "sha256" | "sha512" => None,
        other => Some(other),
    };
    (key, algorithm, refused)
}

async fn signatures(setup: Setup) -> TestResult {
    let recorded = file(FILE);
    let vectors = recorded["signatures"].as_array().expect("signatures");
    assert!(vectors.len() >= 42, "{} signatures", vectors.len());
    let mut keys: Vec<(String, &str, &str)> = Vec::new();
    let mut cases = Vec::new();
    for (number, vector) in vectors.iter().enumerate() {
        let (key, algorithm, None) = terms(vector) else { continue };
        let server = format!("{algorithm} {key}");
        if !keys.iter().any(|(known, ..)| *known == server) {
            keys.push((server.clone(), key, algorithm));
        }
        let steps = if vector["kind"] == "public" {
            let pair = Channel::new().signed_pair(&Key(key.to_owned()));
            let signature = vector["expected"].as_str();
            vec![asking(&pair, text(&vector["public_id"]), signature, true)]
        } else {
            let (signed, signature) = (text(&vector["input"]), text(&vector["expected"]));
            subscribing(&format!("{signed}.{signature}"), true)
        };
        cases.push(case(&format!("signature {number}, {server}"), &server, &steps));
    }
    assert!(keys.len() >= 5, "{} keys", keys.len());
    play(cases, start(setup, &keys)?).await
}

/// Keys and algorithms that a configuration cannot have are listed, and `nginx -t` says so.
#[test]
fn terms_that_are_refused_are_listed() {
    let recorded = file(FILE);
    let vectors = recorded["signatures"].as_array().expect("signatures");
    let refused: BTreeMap<_, _> = vectors
        .iter()
        .map(terms)
        .filter_map(|(key, algorithm, refused)| Some((refused?, (key, algorithm))))
        .collect();
    let listed = differences::listed(FILE);
    assert!(refused.keys().eq(listed.keys()), "{refused:?}");
    for (why, (key, algorithm)) in refused {
        let folder = tempfile::tempdir().expect("a folder");
        let file = key_file(folder.path(), "key", key, 0o600).expect("is written");
        let http = format!(
            "bx_push_sidecar unix:/sidecar.sock; bx_push_security_key_file {};
            bx_push_signature_algorithm {algorithm}; server {{ location / {{ bx_push sub; }} }}",
            file.display()
        );
        let outcome = test_conf(Nginx::Installed, folder.path(), &http).expect("nginx runs");
        assert!(!outcome.status.success(), "{why}: {outcome:?}");
    }
}
