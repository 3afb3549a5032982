//! `push-sidecar check`, right and wrong.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::redis_server::RedisServer;
use common::watched::{Daemon, program};
use push_sidecar::verbs::findings::{Finding, Level};
use tempfile::TempDir;

/// Runs it; its status and what it says, of which nothing goes unread.
fn check(arguments: &[&str]) -> (i32, Vec<Finding>) {
    let output = program().arg("check").arg("--json").args(arguments).output().expect("it runs");
    let told = String::from_utf8(output.stdout).expect("text");
    let object: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|error| {
        panic!("{error}: {told}{}", String::from_utf8_lossy(&output.stderr))
    });
    let findings = serde_json::from_value(object["findings"].clone()).expect("findings");
    (output.status.code().expect("a status"), findings)
}

/// The one line about a part.
#[track_caller]
fn part<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    let mut of_part = findings.iter().filter(|finding| finding.part == name);
    let found = of_part.next().unwrap_or_else(|| panic!("no {name}: {findings:?}"));
    assert_eq!(of_part.next(), None, "{findings:?}");
    found
}

#[track_caller]
fn is(findings: &[Finding], name: &str, level: Level, found: &str, remedy: &str) {
    let finding = part(findings, name);
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.found.contains(found), "{finding:?}");
    assert!(finding.remedy.as_deref().unwrap_or("").contains(remedy), "{finding:?}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_usual_redis_passes_and_what_it_may_lose_is_told() {
    let redis = RedisServer::start();
    let folder = TempDir::new().expect("a folder");
    let (socket, url) = (folder.path().join("s"), redis.url());
    let arguments = ["--socket", path(&socket), "--redis", &url];

    // The test's own saves nothing.
    let (status, findings) = check(&arguments);
    assert_eq!(status, 0, "{findings:?}");
    is(&findings, "redis persistence", Level::Warning, "both off", "appendonly yes");
    assert_eq!(check(&[&arguments[..], &["--strict"]].concat()).0, 1);

    let set = |name: &str, value: &str| {
        let () = redis.query(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]);
    };
    set("appendonly", "yes");
    let (status, findings) = check(&[&arguments[..], &["--strict"]].concat());
    assert_eq!(status, 0, "{findings:?}");
    for name in ["redis", "redis version", "redis writes", "redis memory", "clock"] {
        is(&findings, name, Level::Ok, "", "");
    }
    assert!(!socket.exists(), "nothing is made");

    set("maxmemory", "100mb");
    set("maxmemory-policy", "allkeys-lru");
    let (status, findings) = check(&arguments);
    assert_eq!(status, 0);
    is(&findings, "redis memory", Level::Warning, "Redis drops", "maxmemory-policy noeviction");

    set("maxmemory-policy", "noeviction");
    set("maxmemory", "1mb");
    let (status, findings) = check(&arguments);
    assert_eq!(status, 1, "{findings:?}");
    is(&findings, "redis memory", Level::Warning, "publishes get 503", "CONFIG SET maxmemory 2mb");
    is(&findings, "redis writes", Level::Error, "OOM", "more maxmemory");
}

#[test]
fn a_replica_and_a_password_are_told_apart_from_a_redis_that_is_away() {
    let mut redis = RedisServer::start();
    let folder = TempDir::new().expect("a folder");
    let (socket, url) = (folder.path().join("s"), redis.url());
    let arguments = ["--socket", path(&socket), "--redis", &url, "--before-start"];

    let () = redis.query(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    let (status, findings) = check(&arguments);
    assert_eq!(status, 1);
    is(&findings, "redis writes", Level::Error, "read only replica", "its master");
    let () = redis.query(&[b"REPLICAOF", b"NO", b"ONE"]);

    let () = redis.query(&[b"CONFIG", b"SET", b"requirepass", b"a-secret"]);
    let (status, findings) = check(&arguments);
    assert_eq!(status, 1, "no waiting helps: {findings:?}");
    is(&findings, "redis", Level::Error, "NOAUTH", "user:password@");
    let wrong = format!("{url}?pass=not-the-secret");
    let (status, findings) = check(&["--socket", path(&socket), "--redis", &wrong]);
    assert_eq!(status, 1);
    let told = part(&findings, "redis");
    assert!(!format!("{told:?}").contains("not-the-secret"), "{told:?}");
    assert!(told.tried.ends_with("?pass=***"), "{told:?}");
    let right = format!("{url}?pass=a-secret");
    assert_eq!(check(&["--socket", path(&socket), "--redis", &right]).0, 0);

    redis.stop(false);
    let (status, findings) = check(&arguments);
    assert_eq!(status, 0, "the daemon waits for it: {findings:?}");
    is(&findings, "redis", Level::Warning, "503", "systemctl status redis-server");
    let (status, findings) = check(&arguments[..4]);
    assert_eq!(status, 1);
    is(&findings, "redis", Level::Error, "", "systemctl status redis-server");
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let folder = TempDir::new().expect("a folder");
    let silent = folder.path().join("redis");
    let _listener = UnixListener::bind(&silent).expect("a socket");
    let file = folder.path().join("push-sidecar.toml");
    let text = format!(
        "socket = '{}'\n[redis]\nurl = 'unix://{}'\ncommand_timeout_ms = 100\n",
        path(&folder.path().join("s")),
        path(&silent)
    );
    fs::write(&file, text).expect("written");
    let (status, findings) = check(&["--config", path(&file)]);
    assert_eq!(status, 1);
    assert_eq!(part(&findings, "redis").level, Level::Error);
}

#[test]
fn a_configuration_that_is_wrong_is_all_that_is_told() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("push-sidecar.toml");
    for (text, told) in [
        ("sokket = 'x'", "unknown field `sokket`"),
        ("[redis]\nurl = 'http://x'", "redis.url: must begin with unix://, redis:// or rediss://"),
        ("socket_users = ['nobody-of-that-name']", "there is no user \"nobody-of-that-name\""),
        ("[log]\nlevel = 'loud'", "\"loud\" is none of error, warn, info, debug, trace"),
    ] {
        fs::write(&file, text).expect("written");
        let (status, findings) = check(&["--config", path(&file), "--before-start"]);
        assert_eq!((status, findings.len()), (1, 1), "{findings:?}");
        is(&findings, "configuration", Level::Error, told, "docs/en/sidecar.md");
    }
    let (status, findings) = check(&["--config", path(&folder.path().join("none"))]);
    assert_eq!(status, 1);
    is(&findings, "configuration", Level::Error, "No such file", "");
}

#[test]
fn a_socket_that_cannot_be_is_told_with_the_remedy() {
    let folder = TempDir::new().expect("a folder");
    let socket = |path: &Path| check(&["--socket", self::path(path)]);
    let here = folder.path().join("s");

    let (status, findings) = socket(&folder.path().join("none/s"));
    assert_eq!(status, 1);
    is(&findings, "socket", Level::Error, "No such file or directory", "tmpfiles.d");

    fs::write(&here, "").expect("written");
    is(&socket(&here).1, "socket", Level::Error, "exists and is not a socket", "rm ");
    fs::remove_file(&here).expect("removed");

    is(
        &socket(&folder.path().join("x".repeat(120))).1,
        "socket",
        Level::Error,
        "at most 107",
        "shorter",
    );

    drop(UnixListener::bind(&here).expect("a socket"));
    is(&socket(&here).1, "socket", Level::Ok, "left by a dead process", "");

    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
    is(&socket(&here).1, "socket", Level::Error, "writable for everybody", "chmod o-w");

    let file = folder.path().join("push-sidecar.toml");
    fs::write(&file, "socket_group = 'no-such-group'").expect("written");
    let (status, findings) = check(&["--config", path(&file)]);
    assert_eq!(status, 1);
    is(
        &findings,
        "socket",
        Level::Error,
        "no group \"no-such-group\"",
        "groupadd --system no-such-group",
    );
}

#[test]
fn a_running_daemon_is_not_disturbed() {
    let daemon = Daemon::memory();
    let _worker = daemon.worker();
    let (status, findings) = check(&["--socket", path(&daemon.socket())]);
    assert_eq!(status, 0, "{findings:?}");
    is(&findings, "socket", Level::Ok, "somebody listens, mode 0660", "");
    daemon.healthy();
}

#[test]
fn nginx_is_compared() {
    let folder = TempDir::new().expect("a folder");
    let (conf, key) = (folder.path().join("nginx.conf"), folder.path().join("key"));
    let socket = folder.path().join("s");
    let told = |text: &str| {
        let text = text.replace("SOCKET", path(&socket));
        fs::write(&conf, text).expect("written");
        check(&["--socket", path(&socket), "--nginx", path(&conf)])
    };
    fs::write(&key, "x").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");

    let (status, findings) = told(
        "worker_processes 2; events { worker_connections 20000; }\n\
         http { bx_push_sidecar unix:/elsewhere; bx_push_security_key_file key;\n\
         server { listen 8895; location /bitrix/pub/ { bx_push pub; } } }",
    );
    assert_eq!(status, 1);
    let line = format!("bx_push_sidecar unix:{};", path(&socket));
    is(&findings, "nginx", Level::Error, "names /elsewhere", &line);
    is(&findings, "key file", Level::Warning, "everybody on this machine", "chmod 0600");
    is(&findings, "nginx's open files", Level::Warning, "1024", "worker_rlimit_nofile 20064;");
    is(&findings, "internal address", Level::Warning, "listens on 8895", "listen 127.0.0.1:8895;");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let (status, findings) = told(
        "user root; worker_rlimit_nofile 65536; events { worker_connections 20000; }\n\
         http { bx_push_sidecar unix:SOCKET; bx_push_security_key_file key;\n\
         server { listen 127.0.0.1:8895; location /bitrix/pub/ { bx_push pub; } } }",
    );
    assert_eq!(status, 0, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");

    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("set");
    let (status, findings) = told("user nobody; http { bx_push_sidecar unix:SOCKET; }");
    assert_eq!(status, 1);
    is(&findings, "socket for nginx", Level::Error, "it may not enter", "chmod o+x");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let (status, findings) = told("user nobody; http { bx_push_sidecar unix:SOCKET; }");
    assert_eq!(status, 1);
    is(
        &findings,
        "socket for nginx",
        Level::Error,
        "it may not connect",
        "socket_group = \"nogroup\"",
    );

    let (status, findings) = told("http { bx_push_sidecar unix:SOCKET;");
    assert_eq!(status, 1);
    is(&findings, "nginx", Level::Error, "nginx.conf:1:", "nginx -t");
}
