//! `make run`, by its own script, and the demo page in a browser.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use push_tests::host;
use push_tests::http1::{self, Request};
use push_tests::net::Endpoint;
use push_tests::wait::{self, soon};
use push_tests::websocket::Mode;
use push_tests::{Channel, Key, TestResult, WebSocket, builds, ports};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

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
                return Ok(Self { child, folder, public, internal });
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
    async fn ended(&mut self, pids: [i32; 2]) -> Option<i32> {
        let status = soon("run.sh ends", self.child.wait()).await.expect("its status");
        for pid in pids {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left over");
        }
        for name in ["nginx.pid", "push-sidecar.pid", "push-sidecar.sock"] {
            assert!(!self.folder.path().join(name).exists(), "{name} is left over");
        }
        status.code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A failed test ends here before the script does.
        if let Some(pid) = self.child.id() {
            let _ = signal::kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            wait::until_blocking("run.sh ends", wait::SOON, || {
                self.child.try_wait().is_ok_and(|status| status.is_some())
            });
        }
    }
}

#[tokio::test]
async fn make_run_serves_what_it_says() -> TestResult {
    let mut run = Run::start(None).await?;
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

    // Publishing at will is for the backend alone, statistics for administrators.
    for path in ["/bitrix/pub/", "/server-stat/"] {
        let answer = http1::once(&public, Request::post(path, "x")).await?;
        assert!(matches!(answer.status, 404 | 405), "{path}: {answer:?}");
        let answer = http1::once(&public, Request::get(path)).await?;
        assert_eq!(answer.status, 404, "{path}");
    }
    let answer = http1::once(&internal, Request::get("/server-stat/")).await?;
    assert!(answer.status == 200 && answer.text().starts_with("[{"), "{answer:?}");

    // The demo's way in leads to its own channels only.
    for path in ["nonsense", "", &channel.private] {
        let target = format!("/demo/publish/{path}?CHANNEL_ID={}", channel.private);
        let answer = http1::once(&public, Request::post(&target, "x")).await?;
        assert_eq!(answer.status, 404, "{path}");
    }
    let answer = http1::once(&public, Request::get("/demo/publish/all")).await?;
    assert_eq!(answer.status, 403);
    let target = format!("/demo/publish/all?CHANNEL_ID={}&binaryMode=true", channel.private);
    assert_eq!(http1::once(&public, Request::post(&target, "x")).await?.status, 200);
    let config = http1::once(&public, Request::get("/demo/config.json")).await?;
    assert!(!config.text().contains(&key.0), "the key stays on the server");

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
        let mut run = Run::start(None).await?;
        let pids = [run.pid(name), run.pid(other)];
        let signal = if name == "nginx" { Signal::SIGTERM } else { Signal::SIGKILL };
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
        ("BX_PUSH_INTERNAL", "0.0.0.0:8895", "must be a loopback address"),
        ("BX_PUSH_INTERNAL", "192.0.2.1:8895", "must be a loopback address"),
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
        assert!(told.contains(expected) && told.contains(value), "{name}={value}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn the_demo_page_works_in_a_browser() -> TestResult {
    let mut run = Run::start(None).await?;
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
    assert!(output.status.success() && told.ends_with("passed\n"), "{told}{error}");
    for name in ["demo-light", "demo-dark", "demo-phone"] {
        let file = builds::folder().join(format!("screenshots/{name}.png"));
        assert!(std::fs::metadata(&file)?.len() > 10_000, "{} shows something", file.display());
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.ended(pids).await, Some(0));
    Ok(())
}
