//! `push-sidecar health`, and what systemd is told.

mod common;

use common::watched::{Daemon, program};
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
