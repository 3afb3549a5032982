//! Clients as they are: the portal's pull client under Node, and the demo page in a browser,
//! served by `make run`'s own script.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use push_tests::host;
use push_tests::http1::{self, Request};
use push_tests::net::Endpoint;
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{
    Channel, Host, Key, Setup, TestResult, WebSocket, both_nginx, builds, matrix, ports,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

matrix!(the_pull_client_survives_a_sidecar_restart);
both_nginx!(the_pull_client_survives_a_reload);

/// The pull client in a process of its own.
struct PullClient {
    child: Child,
    // Closing it ends the client.
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl PullClient {
    fn start(host: &Host, channel: &Channel, shared: &Channel, polling: bool) -> Self {
        let key = &host.key;
        let given = json!({
            "address": host.nginx.addresses.public.to_string(),
            "polling": polling,
            "private": channel.signed_pair(key),
            "public": channel.public,
            "publicSignature": push_tests::channel::hex(&channel.public_signature(key)),
            "shared": shared.signed_private(key),
        });
        let mut child = Command::new("node")
            .arg(builds::repository().join("tests/node/pull.mjs"))
            .arg(given.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let input = child.stdin.take();
        Self {
            child,
            input,
            lines,
        }
    }

    /// The next thing the client tells, of what a user would notice.
    async fn next(&mut self) -> Value {
        loop {
            let line = soon("a line of the pull client", self.lines.next_line()).await;
            let line = line.expect("readable").expect("the pull client still runs");
            let told: Value = serde_json::from_str(&line).expect("JSON");
            if told["event"] != "asked" {
                return told;
            }
        }
    }

    async fn expect(&mut self, expected: Value) {
        assert_eq!(self.next().await, expected);
    }

    async fn expect_message(&mut self, number: u32) -> String {
        let told = self.next().await;
        assert_eq!(told["event"], "message", "{told}");
        assert_eq!(told["params"]["number"], number, "{told}");
        told["mid"].as_str().expect("a mid").to_owned()
    }

    async fn end(mut self) -> TestResult {
        self.input.take();
        let status = soon("the pull client ends", self.child.wait()).await?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

fn portal_message(number: u32) -> String {
    let params = json!({ "number": number });
    json!({"module_id": "tests", "command": "hello", "params": params, "extra": {}}).to_string()
}

async fn started(host: &Host, channel: &Channel, shared: &Channel, polling: bool) -> PullClient {
    let mut client = PullClient::start(host, channel, shared, polling);
    client
        .expect(json!({"event": "status", "status": "connect"}))
        .await;
    client
        .expect(json!({"event": "status", "status": "online"}))
        .await;
    let transport = if polling { "poll" } else { "ws" };
    client
        .expect(json!({"event": "started", "transport": transport}))
        .await;
    client
}

async fn the_pull_client_survives_a_sidecar_restart(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let shared = Channel::new();
    for polling in [false, true] {
        let channel = Channel::new();
        let mut client = started(&host, &channel, &shared, polling).await;
        host.until_online(std::slice::from_ref(&channel)).await?;
        host.publish(&channel, &portal_message(1)).await?;
        let first = client.expect_message(1).await;
        host.publish(&shared, &portal_message(2)).await?;
        assert!(client.expect_message(2).await > first);

        host.sidecar.kill();
        host.sidecar.restart()?;
        // Publishing waits for the workers to be back; the client must notice nothing at all.
        host.publish(&channel, &portal_message(3)).await?;
        client.expect_message(3).await;
        client.end().await?;
    }
    Ok(())
}

async fn the_pull_client_survives_a_reload(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let (channel, shared) = (Channel::new(), Channel::new());
    let mut client = started(&host, &channel, &shared, false).await;
    host.until_online(std::slice::from_ref(&channel)).await?;
    host.publish(&channel, &portal_message(1)).await?;
    client.expect_message(1).await;
    host.nginx.reload(|_| ()).await?;
    // Published while the client may be away: it comes back with its mid.
    host.publish(&channel, &portal_message(2)).await?;
    loop {
        let told = client.next().await;
        match told["event"].as_str() {
            Some("status") => {}
            Some("message") => {
                assert_eq!(told["params"]["number"], 2, "{told}");
                break;
            }
            _ => panic!("{told}"),
        }
    }
    client.end().await
}

/// `scripts/run.sh`, as `make run` starts it.
struct Run {
    child: Child,
    folder: tempfile::TempDir,
    public: std::net::SocketAddr,
    internal: std::net::SocketAddr,
}

impl Run {
    async fn start(
        redis: Option<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let folder = tempfile::Builder::new().prefix("push-run-").tempdir()?;
        let (public, internal) = (ports::free(), ports::free());
        let mut child = Command::new(builds::repository().join("scripts/run.sh"))
            .env("BX_PUSH_DIR", folder.path())
            .env("BX_PUSH_PUBLIC", public.to_string())
            .env("BX_PUSH_INTERNAL", internal.to_string())
            .env("BX_PUSH_WORKERS", "2")
            .env("BX_PUSH_REDIS", redis.unwrap_or_default())
            .env_remove("BX_PUSH_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        while let Some(line) = soon("run.sh gets ready", lines.next_line()).await? {
            if line == "Ctrl-C stops it." {
                return Ok(Self {
                    child,
                    folder,
                    public,
                    internal,
                });
            }
        }
        Err("run.sh ended before it was ready".into())
    }

    fn pid(&self, name: &str) -> i32 {
        let file = self.folder.path().join(format!("{name}.pid"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        text.trim().parse().expect("a pid")
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs") as i32;
        signal::kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for the script's end; nothing of it may be left.
    async fn ended(mut self, pids: [i32; 2]) -> Option<i32> {
        let status = soon("run.sh ends", self.child.wait())
            .await
            .expect("its status");
        for pid in pids {
            assert!(
                !std::path::Path::new(&format!("/proc/{pid}")).exists(),
                "{pid} is left over"
            );
        }
        for name in ["nginx.pid", "push-sidecar.pid", "push-sidecar.sock"] {
            assert!(
                !self.folder.path().join(name).exists(),
                "{name} is left over"
            );
        }
        status.code()
    }
}

#[tokio::test]
async fn make_run_serves_what_it_says() -> TestResult {
    let run = Run::start(None).await?;
    let pids = [run.pid("nginx"), run.pid("push-sidecar")];
    let key_file = run.folder.path().join("security.key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key_file)?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let key = Key(std::fs::read_to_string(&key_file)?.trim_end().to_owned());
    assert!(key.0.len() >= 32);

    let (public, internal) = (Endpoint::clear(run.public), Endpoint::clear(run.internal));
    let channel = Channel::new();
    let mut sockets = Vec::new();
    for path in ["/bitrix/subws/", "/bitrix/sub/"] {
        let target = format!("{path}?CHANNEL_ID={}", channel.signed_pair(&key));
        sockets.push(WebSocket::open(&public, &target, Mode::Text).await?);
    }
    host::until_online(&internal, std::slice::from_ref(&channel)).await?;
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.private);
    let answer = http1::once(&internal, Request::post(&target, r#"{"a":1}"#)).await?;
    assert_eq!(answer.status, 200);
    for socket in &mut sockets {
        assert_eq!(socket.body().await, r#"{"a":1}"#);
    }

    // Publishing is for the backend alone.
    for path in ["/bitrix/pub/", "/bitrix/rest/"] {
        let answer = http1::once(&public, Request::post(path, "x")).await?;
        assert_eq!(answer.status, 404, "{path}");
    }
    // The demo's way in leads to its own channels only.
    for path in ["nonsense", "", &channel.private] {
        let target = format!("/demo/publish/{path}?CHANNEL_ID={}", channel.private);
        let answer = http1::once(&public, Request::post(&target, "x")).await?;
        assert_eq!(answer.status, 404, "{path}");
    }
    let answer = http1::once(&public, Request::get("/demo/publish/all")).await?;
    assert_eq!(answer.status, 403);
    let target = format!(
        "/demo/publish/all?CHANNEL_ID={}&binaryMode=true",
        channel.private
    );
    assert_eq!(
        http1::once(&public, Request::post(&target, "x"))
            .await?
            .status,
        200
    );
    let config = http1::once(&public, Request::get("/demo/config.json")).await?;
    assert!(
        !config.text().contains(&key.0),
        "the key stays on the server"
    );

    run.signal(Signal::SIGINT);
    assert_eq!(run.ended(pids).await, Some(0));
    for mut socket in sockets {
        assert_eq!(socket.closed().await.code, 1001);
    }
    Ok(())
}

#[tokio::test]
async fn make_run_ends_when_a_part_of_it_ends() -> TestResult {
    for (name, other) in [("nginx", "push-sidecar"), ("push-sidecar", "nginx")] {
        let run = Run::start(None).await?;
        let pids = [run.pid(name), run.pid(other)];
        let signal = if name == "nginx" {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        signal::kill(Pid::from_raw(pids[0]), signal)?;
        assert_eq!(run.ended(pids).await, Some(1), "after the end of {name}");
    }
    Ok(())
}

#[tokio::test]
async fn make_run_refuses_what_is_not_safe_or_not_free() -> TestResult {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.to_string();
    let cases = [
        (
            "BX_PUSH_INTERNAL",
            "0.0.0.0:8895",
            "must be a loopback address",
        ),
        (
            "BX_PUSH_INTERNAL",
            "192.0.2.1:8895",
            "must be a loopback address",
        ),
        ("BX_PUSH_INTERNAL", "8895", "want host:port"),
        ("BX_PUSH_PUBLIC", "127.0.0.1:99999", "no such port"),
        ("BX_PUSH_PUBLIC", &taken, "is taken by another process"),
        ("BX_PUSH_WORKERS", "many", "want a number or auto"),
    ];
    for (name, value, expected) in cases {
        let folder = tempfile::tempdir()?;
        let output = Command::new(builds::repository().join("scripts/run.sh"))
            .env("BX_PUSH_DIR", folder.path())
            .env("BX_PUSH_PUBLIC", ports::free().to_string())
            .env("BX_PUSH_INTERNAL", ports::free().to_string())
            .env("BX_PUSH_WORKERS", "1")
            .env(name, value)
            .output();
        let output = soon("run.sh refuses", output).await?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}={value}");
        assert!(
            told.contains(expected) && told.contains(value),
            "{name}={value}: {told}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_demo_page_works_in_a_browser() -> TestResult {
    let run = Run::start(None).await?;
    let pids = [run.pid("nginx"), run.pid("push-sidecar")];
    let output = Command::new("node")
        .arg(builds::repository().join("tests/node/page.mjs"))
        .arg(run.public.to_string())
        .arg(builds::folder().join("screenshots"))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(90), output).await??;
    let told = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.ends_with("passed\n"),
        "{told}{error}"
    );
    for name in ["demo-light", "demo-dark", "demo-phone"] {
        let file = builds::folder().join(format!("screenshots/{name}.png"));
        assert!(
            std::fs::metadata(&file)?.len() > 10_000,
            "{} shows something",
            file.display()
        );
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.ended(pids).await, Some(0));
    Ok(())
}
