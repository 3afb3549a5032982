//! The program itself: its options, signals, files, and what a kill leaves behind.

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use common::redis_server::RedisServer;
use common::worker::{Worker, publishing, subscribing};
use common::{PATIENCE, item, private, run, until};
use push_link::{PublishStatus, ToSidecar, ToWorker};
use tempfile::TempDir;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-sidecar"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BX_PUSH_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
    command
}

fn output(args: &[&str]) -> Output {
    command().args(args).output().expect("it runs")
}

/// A sidecar process; ended with the test.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    fn start(folder: TempDir, redis: Option<&RedisServer>) -> Self {
        Self::start_logging(folder, redis, Stdio::piped())
    }

    fn start_logging(folder: TempDir, redis: Option<&RedisServer>, log: Stdio) -> Self {
        let mut command = command();
        command.arg("serve").arg("--socket").arg(folder.path().join("s"));
        command.arg("--pid-file").arg(folder.path().join("pid"));
        if let Some(server) = redis {
            command.env("BX_PUSH_REDIS", server.url());
        }
        command.env("BX_PUSH_LOG_FORMAT", "json").stderr(log);
        let daemon = Self { child: command.spawn().expect("it runs"), folder };
        let started = Instant::now();
        let is_up = || {
            let pid = std::fs::read_to_string(daemon.folder.path().join("pid"));
            // The pid file comes behind the socket.
            pid.is_ok_and(|pid| pid.ends_with('\n'))
                && std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok()
        };
        while !is_up() {
            assert!(started.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
        log
    }

    /// Ends it without notice; the folder stays.
    fn kill(mut self) -> TempDir {
        self.signal("-KILL");
        self.wait();
        std::mem::replace(&mut self.folder, TempDir::new().expect("a folder"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_and_version_are_told() {
    let help = output(&["serve", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success());
    for option in ["--config", "--socket", "--redis", "--pid-file"] {
        assert!(text.contains(option), "{text}");
    }
    let version = output(&["--version"]);
    let expected = format!("push-sidecar {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&version.stdout), expected);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("c.toml");
    std::fs::write(
        &file,
        "socket = \"/file\"\npid_file = \"/file\"\n[redis]\nurl = \"redis://a:secret@file\"\n",
    )
    .expect("written");
    let shown = command()
        .args(["config", "--socket", "/flag", "--config"])
        .arg(&file)
        .env("BX_PUSH_SOCKET", "/environment")
        .env("BX_PUSH_PID_FILE", "/environment")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    for line in
        ["socket = \"/flag\"", "pid_file = \"/environment\"", "url = \"redis://a:***@file\""]
    {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("secret"));
}

#[test]
fn a_configuration_of_no_use_ends_it_with_a_message() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "\n[link]\nqueue = 1\n").expect("written");
    for verb in ["serve", "config"] {
        let refused = output(&[verb, "--config", file.to_str().expect("text")]);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1));
        for part in ["push-sidecar: ", "c.toml", "line 3", "`queue`", "`gap_hold_ms`"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let refused = output(&["serve", "--socket", "/no/such/folder/s"]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && text.contains("/no/such/folder/s"), "{text}");
}

#[test]
fn a_folder_open_to_all_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).expect("a mode");
    let socket = folder.path().join("s");
    let refused = output(&["serve", "--socket", socket.to_str().expect("text")]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && text.contains("writable for everybody"), "{text}");
    assert!(!socket.exists());
}

#[test]
fn a_second_one_on_the_same_socket_is_refused() {
    let daemon = Daemon::start(TempDir::new().expect("a folder"), None);
    let refused = output(&["serve", "--socket", daemon.socket().to_str().expect("text")]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("another push-sidecar"), "{text}");
    assert!(std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok());
}

#[test]
fn it_ends_on_sigterm_and_leaves_no_files() {
    for signal in ["-TERM", "-INT"] {
        let mut daemon = Daemon::start(TempDir::new().expect("a folder"), None);
        let socket = daemon.socket();
        let pid = std::fs::read_to_string(daemon.folder.path().join("pid")).expect("a pid file");
        assert_eq!(pid.trim(), daemon.child.id().to_string());
        run(async {
            let mut worker = Worker::connect(&socket, 1, false).await;
            worker.subscribe(1, &[private(0xaa)]).await;
            worker.publish(1, vec![item(60, &[private(0xaa)], "secret body")]).await;
            daemon.signal(signal);
            while worker.try_answer().await.is_some() {}
        });
        let started = Instant::now();
        assert!(daemon.wait().success());
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(std::fs::read_dir(daemon.folder.path()).expect("a folder").count(), 0);
        let log = daemon.log();
        assert!(log.lines().count() >= 4 && log.lines().all(|line| line.starts_with('{')), "{log}");
        assert!(!log.contains("aaaa") && !log.contains("secret"), "{log}");
    }
}

/// The disk of its log is full.
#[test]
fn it_serves_without_a_log() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let folder = TempDir::new().expect("a folder");
    let mut daemon = Daemon::start_logging(folder, None, full.into());
    let socket = daemon.socket();
    run(async {
        let mut worker = Worker::connect(&socket, 1, false).await;
        worker.subscribe(1, &[private(1)]).await;
        worker.publish(1, vec![item(60, &[private(1)], "1")]).await;
    });
    daemon.signal("-TERM");
    assert!(daemon.wait().success());
}

/// Publishes under way are finished; new ones are put off.
#[test]
fn a_drain_finishes_what_is_under_way() {
    let server = RedisServer::start();
    let mut daemon = Daemon::start(TempDir::new().expect("a folder"), Some(&server));
    let socket = daemon.socket();
    run(async {
        let mut worker = Worker::connect(&socket, 1, false).await;
        worker.subscribe(1, &[private(1)]).await;
        server.query::<()>(&[b"CLIENT", b"PAUSE", b"500", b"ALL"]);
        worker.send(&publishing(1, vec![item(60, &[private(1)], "1")])).await;
        worker.ping().await;
        daemon.signal("-TERM");
        let mut seq = 1;
        let mut put_off = None;
        while put_off.is_none() {
            // Until the signal has arrived publishes are taken.
            seq += 1;
            worker.send(&publishing(seq, vec![item(60, &[private(1)], "2")])).await;
            worker.ping().await;
            put_off = worker.skipped.iter().find_map(|frame| match frame {
                ToWorker::PublishAck { status: PublishStatus::Unavailable, detail, .. } => {
                    Some(detail.clone())
                }
                _ => None,
            });
        }
        assert_eq!(put_off.as_deref(), Some("shutting down"));
        assert_eq!(worker.ack(1).await.0, PublishStatus::Stored);
        while worker.try_answer().await.is_some() {}
    });
    assert!(daemon.wait().success());
}

/// Every acknowledged message is delivered exactly once, live-only ones too, though the sidecar is
/// killed under traffic and publishes are sent again.
#[test]
fn a_kill_under_traffic_loses_nothing() {
    let server = RedisServer::start();
    let mut folder = TempDir::new().expect("a folder");
    let mut received = Vec::new();
    let mut next_seq = 0;
    let mut unacknowledged: Vec<u64> = Vec::new();
    let message =
        |seq: u64| vec![item(if seq.is_multiple_of(2) { 60 } else { 0 }, &[private(1)], "1")];
    for round in 0..4 {
        let daemon = Daemon::start(folder, Some(&server));
        run(async {
            let mut worker = Worker::connect(&daemon.socket(), 42, round > 0).await;
            worker.send(&subscribing(1, vec![private(1)])).await;
            if let Some(after) = received.last() {
                worker.send(&ToSidecar::Resume { after: *after }).await;
            }
            // What was not acknowledged is sent again under its token.
            let again = unacknowledged.clone();
            let fresh: Vec<u64> = (next_seq..next_seq + 100).collect();
            next_seq += 100;
            unacknowledged.extend(&fresh);
            for seq in again.into_iter().chain(fresh) {
                worker.send(&publishing(seq, message(seq))).await;
            }
            let last_round = round == 3;
            // Killed in the middle; in the last round everything arrives.
            while if last_round {
                received.len() < next_seq as usize || !unacknowledged.is_empty()
            } else {
                received.len() < next_seq as usize - 60
            } {
                match worker.answer().await {
                    ToWorker::Deliver { id, .. } => received.push(id),
                    ToWorker::PublishAck { seq, status: PublishStatus::Stored, .. } => {
                        unacknowledged.retain(|s| *s != seq);
                    }
                    ToWorker::Position { .. } | ToWorker::Resumed { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        folder = daemon.kill();
        assert!(Path::new(&folder.path().join("s")).exists(), "a killed sidecar leaves its socket");
    }
    assert_eq!(received.len(), 400);
    assert!(received.windows(2).all(|w| w[1].counter() == w[0].counter() + 1), "in order, once");
}

#[test]
fn statistics_are_left_where_the_references_processes_look() {
    let server = RedisServer::start();
    let daemon = Daemon::start(TempDir::new().expect("a folder"), Some(&server));
    run(async {
        let mut worker = Worker::connect(&daemon.socket(), 1, false).await;
        let req = worker
            .find(|frame| match frame {
                ToWorker::ReportWanted { req } => Some(*req),
                _ => None,
            })
            .await;
        let report =
            ToSidecar::Report { req, websockets: 7, polls: 0, channels: 2, limits: [1, 2, 3, 4] };
        worker.send(&report).await;
        until("they are there", async || {
            let left: Vec<String> = server.query(&[b"HVALS", b"stats"]);
            left.len() == 1 && left[0].contains("\"websockets\":7")
        })
        .await;
    });
}

#[test]
fn a_socket_of_systemd_is_used_and_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("given");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    // The shell puts the socket at descriptor 3 and becomes the sidecar.
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" serve";
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_push-sidecar")])
        .env_remove("BX_PUSH_REDIS")
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    run(async {
        let mut worker = Worker::connect(&path, 1, false).await;
        worker.subscribe(1, &[private(1)]).await;
    });
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(killed.success() && child.wait().expect("ended").success());
    assert!(path.exists());
}
