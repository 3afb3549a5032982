//! What `push-sidecar health` and systemd are told of Redis: the part that fails, by name, within the
//! time that docs/en/sidecar.md gives, and that it works again.

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::redis_server::RedisServer;
use common::silent_proxy::SilentProxy;
use common::watched::{COMMAND_TIMEOUT, Daemon, PROBE_INTERVAL, PROBE_TIMEOUT};
use push_sidecar::health::Part;

/// How long each part's trouble may go unnoticed.
const COMMANDS: Duration = COMMAND_TIMEOUT.saturating_add(PROBE_INTERVAL);
const WRITES: Duration = COMMANDS;
const ANNOUNCEMENTS: Duration = PROBE_TIMEOUT.saturating_add(PROBE_INTERVAL);

fn problem(part: Part) -> String {
    part.problem.expect("it does not work")
}

#[test]
fn dead_redis_is_told_and_nothing_of_it_is_called_good() {
    let mut server = RedisServer::start();
    server.stop(false);
    let daemon = Daemon::redis(&server.url());
    let _worker = daemon.worker();
    // Never reached: nothing is known of writes, so they are not called good.
    for part in ["redis commands", "redis writes", "announcements"] {
        daemon.fails(part, COMMANDS);
    }
    server.launch();
    daemon.healthy();
    daemon.told(|words| words.contains("STATUS=healthy"));

    server.stop(false);
    daemon.fails("redis commands", COMMANDS);
    daemon.fails("redis writes", WRITES);
    daemon.fails("announcements", ANNOUNCEMENTS);
    assert_eq!(daemon.ask(&[]).0, Some(1));
    daemon.told(|words| words.contains("STATUS=degraded: redis commands: "));
    // A restart of the daemon would not help: the watchdog goes on.
    daemon.told(|words| words.contains("WATCHDOG=1"));
    server.launch();
    daemon.healthy();
    daemon.told(|words| words.contains("STATUS=healthy"));
}

#[test]
fn refused_writes_are_told_with_the_reason() {
    let server = RedisServer::start();
    let daemon = Daemon::redis(&server.url());
    let _worker = daemon.worker();
    daemon.healthy();
    // Dialled before the trouble: under MISCONF even PING is refused.
    let mut operator = server.connect();
    let mut set = |name: &str, value: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(name).arg(value).exec(&mut operator).expect("set");
    };
    let writes_fail = |reason: &str, remedy: &str| {
        let part = daemon.fails("redis writes", WRITES);
        assert!(part.detail.contains(remedy), "{part:?}");
        assert!(part.problem.as_ref().is_some_and(|text| text.contains(reason)), "{part:?}");
        // The others do their work.
        for name in ["redis commands", "announcements"] {
            daemon.until(name, true);
        }
        daemon.told(|words| words.contains("STATUS=degraded: redis writes: "));
    };

    server.query::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    writes_fail("READONLY", "master");
    server.query::<()>(&[b"REPLICAOF", b"NO", b"ONE"]);
    daemon.healthy();

    set("maxmemory", "1");
    writes_fail("OOM", "maxmemory");
    set("maxmemory", "0");
    daemon.healthy();

    set("min-replicas-to-write", "1");
    writes_fail("NOREPLICAS", "min-replicas-to-write");
    set("min-replicas-to-write", "0");
    daemon.healthy();

    // It cannot save over a folder.
    let dump = server.folder().join("dump.rdb");
    fs::create_dir(&dump).expect("made");
    set("save", "3600 1");
    server.query::<()>(&[b"BGSAVE"]);
    writes_fail("MISCONF", "disk");
    fs::remove_dir(&dump).expect("removed");
    set("save", "");
    daemon.healthy();
}

#[test]
fn a_redis_that_answers_nothing_or_busy_is_told() {
    let server = RedisServer::start();
    let daemon = Daemon::redis(&server.url());
    let _worker = daemon.worker();
    daemon.healthy();

    // Open connections, and no word.
    server.query::<()>(&[b"CLIENT", b"PAUSE", b"1500", b"ALL"]);
    daemon.fails("redis commands", COMMANDS);
    daemon.fails("announcements", ANNOUNCEMENTS);
    daemon.healthy();

    // A script that does not end: every answer is BUSY.
    server.query::<()>(&[b"CONFIG", b"SET", b"busy-reply-threshold", b"50"]);
    let mut caller = server.connect();
    let script = thread::spawn(move || {
        redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut caller).expect_err("killed")
    });
    daemon.fails("redis commands", COMMANDS);
    // At first that there was no answer, then what it is.
    let started = Instant::now();
    loop {
        let part = daemon.until("redis commands", false);
        if part.detail.contains("SCRIPT KILL") {
            assert!(problem(part).contains("BUSY"));
            break;
        }
        assert!(started.elapsed() < PATIENCE, "never BUSY: {part:?}");
    }
    daemon.fails("announcements", ANNOUNCEMENTS);
    // The test's own dial says more than the command, which Redis would refuse.
    let mut killer = redis::Client::open(server.url()).expect("a URL").get_connection();
    let killed = killer.as_mut().map(|killer| redis::cmd("SCRIPT").arg("KILL").exec(killer));
    killed.expect("dialled").expect("killed");
    script.join().expect("ended");
    daemon.healthy();
}

#[test]
fn a_subscription_that_cannot_be_had_is_told() {
    let server = RedisServer::start();
    let daemon = Daemon::redis(&server.url());
    let _worker = daemon.worker();
    daemon.healthy();

    // Nobody may subscribe any more, everything else works.
    server.query::<()>(&[b"ACL", b"SETUSER", b"default", b"-psubscribe"]);
    server.query::<i64>(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
    daemon.fails("announcements", ANNOUNCEMENTS);
    // First that the connection was closed, then why there is no other.
    let started = Instant::now();
    while !problem(daemon.until("announcements", false)).to_lowercase().contains("perm") {
        assert!(started.elapsed() < PATIENCE, "the reason is never told");
    }
    for name in ["redis commands", "redis writes"] {
        daemon.until(name, true);
    }
    // No probe looks now; what becomes of writes is known all the same.
    server.query::<()>(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    let part = daemon.until("redis writes", false);
    assert!(part.detail.contains("master"), "{part:?}");
    daemon.until("redis commands", true);
    server.query::<()>(&[b"REPLICAOF", b"NO", b"ONE"]);
    daemon.until("redis writes", true);
    server.query::<()>(&[b"ACL", b"SETUSER", b"default", b"+psubscribe"]);
    daemon.healthy();
}

#[test]
fn a_silent_subscription_is_told() {
    let server = RedisServer::start();
    let proxy = SilentProxy::start(server.socket());
    let daemon = Daemon::redis(&proxy.url());
    let _worker = daemon.worker();
    daemon.healthy();

    proxy.set_silent(true);
    let part = daemon.fails("announcements", ANNOUNCEMENTS);
    assert!(part.detail.contains("by itself"), "{part:?}");
    for name in ["redis commands", "redis writes"] {
        daemon.until(name, true);
    }
    daemon.told(|words| words.contains("STATUS=degraded: announcements: "));
    proxy.set_silent(false);
    daemon.healthy();
    daemon.told(|words| words.contains("STATUS=healthy"));
}
