//! A daemon whose service manager is the test, and which is asked how it does.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use push_link::{ToSidecar, Versions};
use push_sidecar::health::{Part, Report};
use tempfile::TempDir;

use super::PATIENCE;

pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(300);
pub const PROBE_INTERVAL: Duration = Duration::from_millis(100);
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a loaded machine may add to a documented time.
const SLACK: Duration = Duration::from_secs(3);

/// `push-sidecar`, without what the tester's surroundings say.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-sidecar"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BX_PUSH_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    command
}

/// A daemon that is quick to notice; its service manager is the test.
pub struct Daemon {
    child: Child,
    folder: TempDir,
    /// What the manager is told.
    notifications: mpsc::Receiver<String>,
}

impl Daemon {
    /// With the store in memory.
    pub fn memory() -> Self {
        Self::start(None)
    }

    /// With the Redis that listens there.
    pub fn redis(url: &str) -> Self {
        Self::start(Some(url))
    }

    fn start(redis: Option<&str>) -> Self {
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
        for (name, time) in [
            ("BX_PUSH_REDIS_COMMAND_TIMEOUT_MS", COMMAND_TIMEOUT),
            ("BX_PUSH_REDIS_DIAL_TIMEOUT_MS", COMMAND_TIMEOUT),
            ("BX_PUSH_REDIS_PROBE_INTERVAL_MS", PROBE_INTERVAL),
            ("BX_PUSH_REDIS_PROBE_TIMEOUT_MS", PROBE_TIMEOUT),
        ] {
            command.env(name, time.as_millis().to_string());
        }
        if let Some(url) = redis {
            command.env("BX_PUSH_REDIS", url);
        }
        let child = command.stderr(Stdio::null()).spawn().expect("it runs");
        let daemon = Self { child, folder, notifications };
        daemon.told(|words| words.contains("READY=1"));
        daemon
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub fn ask(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = program();
        command.arg("health").arg("--socket").arg(self.socket()).args(more);
        let output = command.output().expect("it runs");
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    pub fn report(&self) -> Report {
        let (_, text) = self.ask(&["--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until a part is, or is not, all right.
    pub fn until(&self, name: &str, ok: bool) -> Part {
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

    /// Waits until a part is known not to work, which takes `within` at most.
    pub fn fails(&self, name: &str, within: Duration) -> Part {
        let started = Instant::now();
        let part = self.until(name, false);
        let took = started.elapsed();
        assert!(took < within + SLACK, "{name}: noticed after {took:?}, not {within:?}: {part:?}");
        part
    }

    /// Waits until all parts work.
    pub fn healthy(&self) {
        let started = Instant::now();
        loop {
            let report = self.report();
            if report.is_healthy() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{}", report.table());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the service manager has been told something.
    pub fn told(&self, wanted: impl Fn(&str) -> bool) -> String {
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

    /// Waits until the service manager has heard nothing for so long; what was said before may
    /// still be on its way.
    pub fn falls_silent(&self, time: Duration) {
        let started = Instant::now();
        while let Ok(words) = self.notifications.recv_timeout(time) {
            assert!(started.elapsed() < PATIENCE, "it goes on: {words}");
        }
    }

    /// Stops its process as it stands, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg(signal).arg(pid).status().expect("it runs");
        assert!(status.success());
        // It is asked for, not done yet.
        let state = || {
            let path = format!("/proc/{}/stat", self.child.id());
            let stat = std::fs::read_to_string(path).expect("it lives");
            stat.rsplit_once(") ").expect("a name").1.starts_with('T')
        };
        let started = Instant::now();
        while state() != frozen {
            assert!(started.elapsed() < PATIENCE, "{signal} has no effect");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Says hello as a worker does, and stays.
    pub fn worker(&self) -> UnixStream {
        let mut socket = UnixStream::connect(self.socket()).expect("connected");
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
