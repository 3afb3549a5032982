//! What `bx_push metrics` and `bx_push status` tell, and that it moves as it must.

use std::collections::BTreeSet;

use prost::Message as _;
use push_tests::channel::unhex;
use push_tests::http1::{self, Request};
use push_tests::poll::poll;
use push_tests::proto::{IncomingMessage, Receiver, RequestBatch};
use push_tests::wait::{self, soon};
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Scrape, Setup, Store, TestResult, WebSocket, both_nginx, matrix};

matrix!(numbers_move_as_they_must);
both_nginx!(
    sums_do_not_go_back_when_workers_leave,
    a_worker_without_a_sidecar_tells_what_it_knows,
    who_does_not_read_is_counted,
    only_reading_is_answered,
    a_part_that_fails_is_named,
    a_full_memory_store_tells,
);

const PUBLISHES: &str = "bx_push_publishes_total";
const RECOVERIES: &str = "bx_push_recoveries_total";

async fn scrape(host: &Host) -> std::io::Result<Scrape> {
    Scrape::of(&host.internal()).await
}

/// Waits until so many workers are linked, and tell so.
async fn linked(host: &Host, workers: u64) -> Scrape {
    soon("the workers' links", async {
        loop {
            let now = scrape(host).await.expect("a scrape");
            if now.get("bx_push_workers", &[]) == Some(workers as f64) {
                return now;
            }
        }
    })
    .await
}

async fn numbers_move_as_they_must(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let channel = Channel::new();
    let before = linked(&host, 2).await;
    assert_eq!(before.number("bx_push_connections", &[]), 0);
    assert_eq!(before.number("bx_push_link_up", &[]), 1);
    assert_eq!(before.number("bx_push_build_info", &[("sidecar", env!("CARGO_PKG_VERSION"))]), 1);
    assert!(before.get("bx_push_healthy", &[("part", "workers")]) == Some(1.0));
    assert!(before.families().values().all(|count| *count == 1), "{}", before.text);

    let mut text = host.subscribe(&channel, Mode::Text).await?;
    let mut binary = host.subscribe(&channel, Mode::Binary).await?;
    for number in 0..7 {
        host.publish(&channel, &format!("\"{number}\"")).await?;
    }
    for number in 0..3 {
        host.post(&[&channel.private], &format!("\"live {number}\""), 0).await?;
    }
    for socket in [&mut text, &mut binary] {
        for _ in 0..10 {
            socket.body().await;
        }
    }
    // One that does not verify, one that is no batch.
    let forged = format!("/bitrix/sub/?CHANNEL_ID={}.{}", channel.private, "0".repeat(40));
    assert_eq!(http1::once(&host.public(), Request::get(&forged)).await?.status, 400);
    let receivers = vec![Receiver { id: unhex("00"), is_private: true, signature: Vec::new() }];
    let odd = IncomingMessage { receivers, body: "odd".into(), expiry: 0 };
    let odd = RequestBatch::publish(vec![odd]).encode_to_vec();
    let odd = Request::post("/bitrix/pub/?binaryMode=true", odd);
    assert_eq!(http1::once(&host.internal(), odd).await?.status, 400);
    // One that returns, and has missed one; one that has missed nothing.
    let mid = text.mid.clone().expect("a message has an id");
    host.publish(&channel, "\"missed\"").await?;
    text.body().await;
    let last = text.mid.clone().expect("a message has an id");
    let returning = |mid| format!("{}&mid={mid}", host.target(&channel));
    let mut again = WebSocket::open(&host.public(), &returning(mid), Mode::Binary).await?;
    assert_eq!(again.body().await, "\"missed\"");
    let another = WebSocket::open(&host.public(), &returning(last), Mode::Binary).await?;
    wait_for(&host, RECOVERIES, &[("result", "nothing_new")], 1).await;
    drop((again, another));
    binary.body().await;
    let waiting = poll(&host.public(), host.target(&channel).replace("subws", "sub"));
    let polls = |now: &Scrape| now.number("bx_push_connections", &[("transport", "poll")]);
    let mut after = scrape(&host).await?;
    soon("the poll", async {
        while polls(&after) == 0 {
            after = scrape(&host).await.expect("a scrape");
        }
    })
    .await;
    let difference = |name: &str, labels: &[(&str, &str)]| {
        after.number(name, labels) - before.number(name, labels)
    };
    for (format, count) in [("json", 1), ("protobuf", 1)] {
        let labels = [("transport", "websocket"), ("format", format)];
        wait_for(&host, "bx_push_connections", &labels, count).await;
    }
    assert_eq!(difference("bx_push_connections_opened_total", &[("transport", "websocket")]), 4);
    assert_eq!(difference(PUBLISHES, &[("result", "stored")]), 8);
    assert_eq!(difference(PUBLISHES, &[("result", "live")]), 3);
    assert_eq!(difference(PUBLISHES, &[("result", "400")]), 1);
    assert_eq!(difference(PUBLISHES, &[("result", "503")]), 0);
    assert_eq!(difference("bx_push_publish_duration_seconds", &[]), 11);
    assert_eq!(difference("bx_push_signature_failures_total", &[]), 1);
    assert_eq!(difference("bx_push_recoveries_asked_total", &[]), 2);
    assert_eq!(difference(RECOVERIES, &[("result", "history")]), 1);
    assert_eq!(difference(RECOVERIES, &[("result", "nothing_new")]), 1);
    assert_eq!(difference("bx_push_recovered_messages_total", &[]), 1);
    // 11 to each of the two that stayed, and one that was missed.
    assert_eq!(difference("bx_push_deliveries_total", &[]), 23);
    assert_ne!(difference("bx_push_delivery_latency_seconds", &[]), 0);
    assert!(after.number("bx_push_worker_channels", &[]) > 0);
    let redis = after.number("bx_push_redis_command_duration_seconds", &[]);
    assert_eq!(redis > 0, host.redis.is_some(), "{redis}");
    host.publish(&channel, "\"for the poll\"").await?;
    assert_eq!(waiting.await??.status, 200);
    Ok(())
}

/// Waits until a series has this value.
async fn wait_for(host: &Host, name: &str, labels: &[(&str, &str)], value: u64) {
    soon(name, async {
        while scrape(host).await.expect("a scrape").number(name, labels) != value {}
    })
    .await;
}

async fn sums_do_not_go_back_when_workers_leave(setup: Setup) -> TestResult {
    let mut host = setup.workers(2).start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    for _ in 0..5 {
        host.publish(&channel, "\"one\"").await?;
        socket.body().await;
    }
    drop(socket);
    let old: BTreeSet<u32> = host.nginx.workers().into_iter().collect();
    host.nginx.reload(|_| ()).await?;
    wait::until("the old workers are gone", wait::SOON, || {
        host.nginx.workers().iter().all(|pid| !old.contains(pid)) && host.nginx.workers().len() == 2
    })
    .await;
    linked(&host, 2).await;
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "\"two\"").await?;
    socket.body().await;
    let now = scrape(&host).await?;
    assert_eq!(now.number(PUBLISHES, &[("result", "stored")]), 6);
    assert_eq!(now.number("bx_push_deliveries_total", &[]), 6);
    assert_eq!(now.number("bx_push_connections", &[]), 1);

    // The next sidecar counts from its own start, and what happened without one.
    host.sidecar.kill();
    host.caused.push("push sidecar at unix:".into());
    wait_for(&host, "bx_push_link_up", &[], 0).await;
    host.sidecar.restart()?;
    let now = linked(&host, 2).await;
    assert_eq!(now.number(PUBLISHES, &[("result", "stored")]), 0);
    assert_eq!(now.number("bx_push_connections", &[]), 1);
    assert!(now.number("bx_push_link_failures_total", &[]) >= 2);
    Ok(())
}

async fn a_worker_without_a_sidecar_tells_what_it_knows(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "\"one\"").await?;
    socket.body().await;
    let whole = linked(&host, 1).await;
    host.sidecar.kill();
    host.caused.push("push sidecar at unix:".into());
    wait_for(&host, "bx_push_link_up", &[], 0).await;
    let alone = scrape(&host).await?;
    let worker = host.nginx.workers()[0].to_string();
    let worker = [("worker", &worker[..])];
    assert_eq!(alone.number("bx_push_deliveries_total", &worker), 1);
    assert_eq!(alone.number("bx_push_connections", &worker), 1);
    // What it tells of itself must not be taken for what all had.
    let unlabelled = |name| {
        whole.text.contains(&format!("\n{name} ")) && !alone.text.contains(&format!("\n{name} "))
    };
    assert!(unlabelled("bx_push_deliveries_total"), "{}", alone.text);
    let status = http1::once(&host.internal(), Request::get("/status/?format=json")).await?;
    assert!(status.text().starts_with("{\"link_up\":false"), "{status:?}");
    Ok(())
}

async fn a_part_that_fails_is_named(mut setup: Setup) -> TestResult {
    setup.store = Store::Redis;
    let mut host = setup.start()?;
    linked(&host, 1).await;
    let parts = ["redis commands", "redis writes", "announcements"].map(|part| [("part", part)]);
    for part in &parts {
        wait_for(&host, "bx_push_healthy", part, 1).await;
    }
    host.redis.as_mut().expect("the store is Redis").kill();
    for part in &parts {
        wait_for(&host, "bx_push_healthy", part, 0).await;
    }
    assert_eq!(scrape(&host).await?.number("bx_push_healthy", &[("part", "workers")]), 1);
    host.redis.as_mut().expect("the store is Redis").restart()?;
    for part in &parts {
        wait_for(&host, "bx_push_healthy", part, 1).await;
    }
    Ok(())
}

async fn a_full_memory_store_tells(mut setup: Setup) -> TestResult {
    const BOUND: u64 = 64 << 10;
    const DROPPED: &str = "bx_push_sidecar_store_dropped_total";
    setup.sidecar.push(("BX_PUSH_MEMORY_MAX_BYTES", "65536"));
    let mut host = setup.start()?;
    let (early, late) = (Channel::new(), Channel::new());
    let body = format!("\"{}\"", "x".repeat(1000));
    host.publish(&early, &body).await?;
    assert_eq!(linked(&host, 1).await.number(DROPPED, &[]), 0);
    for _ in 0..100 {
        host.publish(&late, &body).await?;
    }
    let now = scrape(&host).await?;
    let (bytes, dropped) =
        (now.number("bx_push_sidecar_store_bytes", &[]), now.number(DROPPED, &[]));
    assert!((BOUND / 2..=BOUND).contains(&bytes), "{bytes}");
    // Each costs its body and some more.
    assert!((101 - BOUND / 1000..101).contains(&dropped), "{dropped}");
    let told = || host.sidecar.process().output().contains("raise memory.max_bytes");
    wait::until("a line in the log", wait::SOON, told).await;
    Ok(())
}

async fn who_does_not_read_is_counted(mut setup: Setup) -> TestResult {
    setup.conf.sub = "bx_push_max_queue 64k;".into();
    let host = setup.start()?;
    let channel = Channel::new();
    let stream = host.public().connect_narrow(4096).await?;
    let stalled = WebSocket::open_on(stream, &host.target(&channel), Mode::Text).await?;
    host.until_online(std::slice::from_ref(&channel)).await?;
    let body = format!("\"{}\"", "x".repeat(300_000));
    let (mut waited, mut slow) = (0, 0);
    soon("it is cut off", async {
        while slow == 0 {
            host.post(&[&channel.private], &body, 0).await.expect("an answer");
            let now = scrape(&host).await.expect("a scrape");
            waited = waited.max(now.number("bx_push_queue_bytes", &[("queue", "clients")]));
            slow = now.number("bx_push_drops_total", &[("reason", "slow")]);
        }
    })
    .await;
    assert_eq!(slow, 1);
    drop(stalled);
    Ok(())
}

async fn only_reading_is_answered(setup: Setup) -> TestResult {
    let host = setup.start()?;
    for (target, kind) in [
        ("/metrics/", "text/plain; version=0.0.4; charset=utf-8"),
        ("/status/", "text/html; charset=utf-8"),
        ("/status/?format=json", "application/json"),
    ] {
        let answer = http1::once(&host.internal(), Request::get(target)).await?;
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(kind)), "{target}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        // Any site's page could read it otherwise, in the browser of an administrator.
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        let policy = answer.header("Content-Security-Policy");
        assert_eq!(
            policy.is_some_and(|policy| policy.contains("default-src 'none'")),
            target == "/status/"
        );
        let request = Request::post(target, "");
        assert_eq!(http1::once(&host.internal(), request).await?.status, 405, "{target}");
        let head = Request::new("HEAD", target, Vec::new()).http10();
        let mut connection = push_tests::http1::Http1::connect(&host.internal()).await?;
        connection.send(&head.to_bytes()).await?;
        let mut rest = Vec::new();
        soon("the end", connection.rest(&mut rest)).await?;
        let head = String::from_utf8_lossy(&rest);
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    }
    Ok(())
}

#[tokio::test]
async fn the_guides_tell_of_what_is_told() -> TestResult {
    let host = Setup::new(push_tests::Nginx::Installed, push_tests::Store::Memory).start()?;
    let told: BTreeSet<String> = linked(&host, 1).await.families().into_keys().collect();
    for language in ["en", "ru"] {
        let guide = push_tests::builds::repository().join(format!("docs/{language}/metrics.md"));
        let guide = std::fs::read_to_string(guide)?;
        let rows = guide.lines().filter_map(|line| line.strip_prefix("| `bx_push_"));
        let rows = rows.filter_map(|row| Some(format!("bx_push_{}", row.split('`').next()?)));
        assert_eq!(rows.collect::<BTreeSet<_>>(), told, "{language}");
    }
    Ok(())
}

/// Words of a text that begin as our metrics do, without what Prometheus appends for histograms.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let word = |byte: char| !(byte.is_ascii_alphanumeric() || byte == '_');
    let words = text.split(word).filter(|word| word.starts_with("bx_push_"));
    let plain = |word: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
        base.unwrap_or(word).to_owned()
    };
    words.map(plain).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_there_is() -> TestResult {
    let host = Setup::new(push_tests::Nginx::Installed, push_tests::Store::Memory).start()?;
    let told: BTreeSet<String> = linked(&host, 1).await.families().into_keys().collect();
    let root = push_tests::builds::repository();
    let dashboard =
        std::fs::read_to_string(root.join("packaging/monitoring/grafana-dashboard.json"))?;
    let parsed: serde_json::Value = serde_json::from_str(&dashboard)?;
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    let alerts = std::fs::read_to_string(root.join("packaging/monitoring/alerts.yml"))?;
    // Directives begin like metrics.
    let asked = |text: &str| {
        metrics_in(text)
            .into_iter()
            .filter(|name| !name.starts_with("bx_push_max_") && name != "bx_push_security_key_file")
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(asked(&dashboard), told, "each metric is shown");
    assert!(asked(&alerts).is_subset(&told), "{:?}", asked(&alerts).difference(&told));
    let [rules, remedies, docs] = ["- alert: ", "remedy: ", "docs: "].map(|key| {
        alerts.lines().filter_map(|line| line.trim_start().strip_prefix(key)).collect::<Vec<_>>()
    });
    assert!(rules.len() == remedies.len() && rules.len() == docs.len() && rules.len() > 10);
    for place in docs {
        let (file, anchor) = place.split_once('#').unwrap_or((place, ""));
        let guide = std::fs::read_to_string(root.join(file))?;
        let anchors = guide.lines().filter_map(|line| line.strip_prefix('#'));
        let mut anchors =
            anchors.map(|line| line.trim_matches(['#', ' ']).to_lowercase().replace(' ', "-"));
        assert!(anchor.is_empty() || anchors.any(|known| known == anchor), "{place}");
    }
    Ok(())
}

#[tokio::test]
async fn the_command_shows_what_the_page_shows() -> TestResult {
    let mut host = Setup::new(push_tests::Nginx::Installed, push_tests::Store::Redis).start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "\"one\"").await?;
    socket.body().await;
    linked(&host, 1).await;
    let path = push_tests::sidecar::socket(host.folder());
    let path = path.to_str().expect("UTF-8");
    let json = push_tests::verb::run(&["status", "--socket", path, "--json"]).await?;
    assert_eq!(json.status, 0, "{json:?}");
    let json: serde_json::Value = serde_json::from_str(&json.out)?;
    let page = http1::once(&host.internal(), Request::get("/status/?format=json")).await?;
    let page: serde_json::Value = serde_json::from_str(page.text())?;
    for told in [&json, &page] {
        assert_eq!(told["connections"]["websocket json"], 1);
        assert_eq!(told["publishes"]["stored"], 1);
        assert_eq!(told["deliveries"], 1);
        assert_eq!(told["latency"]["delivery"]["count"], 1);
        assert_eq!(told["workers"].as_array().map(Vec::len), Some(1));
        let shown = told["top_channels"][0]["channel"].as_str().expect("a channel");
        assert_eq!(shown, format!("{}…", &channel.private[..8]));
        assert!(!told.to_string().contains(&channel.private));
    }
    let table = push_tests::verb::run(&["status", "--socket", path]).await?;
    for part in [
        "healthy",
        "connections        1 (websocket json 1)",
        "1 in all (stored 1)",
        "redis commands",
    ] {
        assert!(table.out.contains(part), "{part}\n{}", table.out);
    }
    host.sidecar.kill();
    host.caused.push("push sidecar at unix:".into());
    let nobody = push_tests::verb::run(&["status", "--socket", path]).await?;
    assert_eq!((nobody.status, &nobody.out[..]), (2, ""), "{nobody:?}");
    assert!(nobody.err.contains("does push-sidecar run"), "{nobody:?}");
    Ok(())
}

#[tokio::test]
async fn the_page_shows_in_a_browser() -> TestResult {
    let host = Setup::new(push_tests::Nginx::Installed, push_tests::Store::Redis).start()?;
    linked(&host, 1).await;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    host.publish(&channel, "\"one\"").await?;
    socket.body().await;
    let folder = push_tests::builds::folder().join("screenshots");
    let output = tokio::process::Command::new("node")
        .arg(push_tests::builds::repository().join("tests/node/status.mjs"))
        .arg(host.nginx.addresses.internal.to_string())
        .arg(&folder)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(90), output).await??;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{error}", String::from_utf8_lossy(&output.stdout));
    for name in ["light", "dark", "phone"] {
        assert!(std::fs::metadata(folder.join(format!("status-{name}.png")))?.len() > 10_000);
    }
    Ok(())
}
