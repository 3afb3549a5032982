//! `push-sidecar health`, and what systemd is told.

mod common;

use std::fs;
use std::time::Duration;

use common::watched::{Daemon, program};
use push_sidecar::link_server::Socket;
use tempfile::TempDir;

#[test]
fn a_healthy_daemon_says_so() {
    let daemon = Daemon::memory();
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
fn what_cannot_be_asked_is_not_called_degraded() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("push-sidecar.toml");
    fs::write(&file, "sokket = \"x\"\n").expect("written");
    let output = program().arg("health").arg("--config").arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sokket"));
}

#[test]
fn a_loop_that_does_not_turn_is_told() {
    let daemon = Daemon::memory();
    let _worker = daemon.worker();
    daemon.healthy();
    daemon.freeze(true);
    // It reports every half second; the manager's patience ends after WatchdogSec.
    daemon.falls_silent(Duration::from_millis(1_500));
    let (status, text) = daemon.ask(&[]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("no answer within 5 s"), "{text}");

    daemon.freeze(false);
    // The loop knows how late it was, and forgets it.
    daemon.told(|words| words.contains("WATCHDOG=1"));
    let part = daemon.until("event loop", false);
    assert!(part.detail.contains("CPU"), "{part:?}");
    daemon.told(|words| words.contains("STATUS=degraded: event loop: "));
    daemon.until("event loop", true);
    daemon.told(|words| words.contains("STATUS=healthy"));
}

#[test]
fn a_socket_that_nobody_finds_is_told() {
    let daemon = Daemon::memory();
    let _worker = daemon.worker();
    daemon.until("socket", true);
    daemon.healthy();
    daemon.told(|words| words.contains("STATUS=healthy"));
    let aside = daemon.socket().with_extension("aside");
    fs::rename(daemon.socket(), &aside).expect("renamed");
    // Who asks does not find it either, the service manager is told.
    assert_eq!(daemon.ask(&[]).0, Some(2));
    daemon.told(|words| words.contains("STATUS=degraded: socket: "));
    fs::rename(&aside, daemon.socket()).expect("renamed");
    daemon.told(|words| words.contains("STATUS=healthy"));
    daemon.healthy();
}

#[test]
fn a_socket_of_the_next_daemon_is_left_alone() {
    common::run(async {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("s");
        let first = Socket::bind(&path, None).expect("a socket");
        let watch = first.watch();
        assert_eq!(watch().problem, None);
        fs::remove_file(&path).expect("removed");
        assert!(watch().problem.is_some_and(|problem| problem.contains("No such file")));
        let second = Socket::bind(&path, None).expect("a socket");
        assert!(watch().problem.is_some_and(|problem| problem.contains("another process's")));
        drop(first);
        assert_eq!(watch().problem, None, "it was closed, which is no trouble");
        assert!(path.exists() && second.watch()().problem.is_none());
        drop(second);
        assert!(!path.exists());
    });
}
