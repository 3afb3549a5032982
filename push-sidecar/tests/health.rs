//! `push-sidecar health`, and what systemd is told: the part that fails, by name, and that it
//! works again.

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::redis_server::RedisServer;
use push_link::{ToSidecar, Versions};
use push_sidecar::health::{Part, Report};
use tempfile::TempDir;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-sidecar"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BX_PUSH_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    command
}

/// A daemon that is quick to notice; its service manager is the test.
struct Daemon {
    child: Child,
    folder: TempDir,
    /// What the manager is told.
    notifications: mpsc::Receiver<String>,
}

impl Daemon {
    fn start(redis: Option<&RedisServer>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let manager = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let (told, notifications) = mpsc::channel();
        // As systemd does, it listens all the time; it ends with the test.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = manager.recv(&mut buffer) {
                let words = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if told.send(words).is_err() {
                    return;
                }
            }
        });
        let mut command = program();
        command.arg("serve").arg("--socket").arg(folder.path().join("s"));
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "2000000");
        for (name, ms) in [
            ("BX_PUSH_REDIS_COMMAND_TIMEOUT_MS", "300"),
            ("BX_PUSH_REDIS_DIAL_TIMEOUT_MS", "300"),
            ("BX_PUSH_REDIS_PROBE_INTERVAL_MS", "100"),
            ("BX_PUSH_REDIS_PROBE_TIMEOUT_MS", "500"),
        ] {
            command.env(name, ms);
        }
        if let Some(server) = redis {
            command.env("BX_PUSH_REDIS", server.url());
        }
        let child = command.stderr(Stdio::null()).spawn().expect("it runs");
        let daemon = Self { child, folder, notifications };
        daemon.told(|words| words.contains("READY=1"));
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn ask(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = program();
        command.arg("health").arg("--socket").arg(self.socket()).args(more);
        let output = command.output().expect("it runs");
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    fn report(&self) -> Report {
        let (_, text) = self.ask(&["--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until a part is, or is not, all right.
    fn until(&self, name: &str, ok: bool) -> Part {
        let started = Instant::now();
        loop {
            let report = self.report();
            let part =
                report.parts.iter().find(|part| part.name == name).expect("the part").clone();
            if part.ok == ok {
                return part;
            }
            assert!(started.elapsed() < PATIENCE, "{}", report.table());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the service manager has been told something.
    fn told(&self, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        let mut heard = Vec::new();
        while started.elapsed() < PATIENCE {
            let words = self.notifications.recv_timeout(PATIENCE).expect("a notification");
            if wanted(&words) {
                return words;
            }
            heard.push(words);
        }
        panic!("not told: {heard:?}");
    }

    /// Says hello as a worker does, and stays.
    fn worker(&self) -> std::os::unix::net::UnixStream {
        use std::io::Write;
        let mut socket = std::os::unix::net::UnixStream::connect(self.socket()).expect("connected");
        let mut hello = Vec::new();
        let software = "test".into();
        ToSidecar::Hello { versions: Versions::OURS, instance: 1, pid: 7, resume: false, software }
            .encode(&mut hello);
        socket.write_all(&hello).expect("said");
        socket
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_healthy_daemon_says_so() {
    let daemon = Daemon::start(None);
    let none = daemon.until("workers", false);
    assert!(none.detail.contains("bx_push_sidecar"), "{none:?}");
    assert_eq!(daemon.ask(&[]).0, Some(1));
    let _worker = daemon.worker();
    daemon.until("workers", true);
    let (status, text) = daemon.ask(&[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("healthy") && text.contains("memory store"), "{text}");
    daemon.told(|words| words.contains("STATUS=healthy"));
    // Twice: it goes on.
    daemon.told(|words| words.contains("WATCHDOG=1"));
    daemon.told(|words| words.contains("WATCHDOG=1"));
}

#[test]
fn who_is_not_there_cannot_be_asked() {
    let folder = TempDir::new().expect("a folder");
    let socket = folder.path().join("s");
    let output = program().arg("health").arg("--socket").arg(&socket).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("does push-sidecar run"), "{text}");
}

#[test]
fn the_part_of_redis_that_fails_is_told_by_name() {
    let mut server = RedisServer::start();
    let daemon = Daemon::start(Some(&server));
    let _worker = daemon.worker();
    for part in ["redis commands", "redis writes", "announcements", "workers"] {
        daemon.until(part, true);
    }
    assert_eq!(daemon.ask(&[]).0, Some(0));

    // A replica: what is announced is heard, nothing can be stored.
    server.query::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    let writes = daemon.until("redis writes", false);
    assert!(writes.problem.is_some_and(|problem| problem.contains("READONLY")));
    assert!(writes.detail.contains("master"), "{}", writes.detail);
    daemon.told(|words| words.contains("STATUS=degraded: ") && words.contains("redis writes"));
    server.query::<()>(&[b"REPLICAOF", b"NO", b"ONE"]);
    daemon.until("redis writes", true);

    server.query::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    let writes = daemon.until("redis writes", false);
    assert!(writes.detail.contains("maxmemory"), "{}", writes.detail);
    server.query::<()>(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    daemon.until("redis writes", true);

    // Open connections, and no word.
    server.query::<()>(&[b"CLIENT", b"PAUSE", b"1500", b"ALL"]);
    daemon.until("announcements", false);
    daemon.until("redis commands", false);
    daemon.until("announcements", true);
    daemon.until("redis commands", true);

    // Nobody may subscribe any more, everything else works.
    server.query::<()>(&[b"ACL", b"SETUSER", b"default", b"-psubscribe"]);
    server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
    // First that the connection was closed, then why there is no other.
    let started = Instant::now();
    loop {
        let problem = daemon.until("announcements", false).problem.expect("a problem");
        if problem.to_lowercase().contains("perm") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{problem}");
    }
    assert!(daemon.until("redis commands", true).ok);
    server.query::<()>(&[b"ACL", b"SETUSER", b"default", b"+psubscribe"]);
    daemon.until("announcements", true);

    server.stop(false);
    daemon.until("redis commands", false);
    daemon.until("announcements", false);
    assert_eq!(daemon.ask(&[]).0, Some(1));
    // A restart of the daemon would not help: the watchdog goes on.
    daemon.told(|words| words.contains("WATCHDOG=1"));
    server.launch();
    for part in ["redis commands", "redis writes", "announcements"] {
        daemon.until(part, true);
    }
    daemon.told(|words| words.contains("STATUS=healthy"));
}
