//! What `nginx -t` says to each directive, right and wrong.

use std::io;

use push_tests::host::key_file;
use push_tests::{Nginx, nginx};

const KEY: &str = "bx_push_security_key 0123456789abcdef0123456789abcdef;";
const GOOD: &str = "0123456789abcdef0123456789abcdef";
const SIDECAR: &str = "bx_push_sidecar unix:/run/push-server/push-sidecar.sock;";

/// Runs `nginx -t` with both versions; returns what each said.
fn tested(http: &str, files: &[(&str, &str, u32)]) -> io::Result<Vec<(bool, String)>> {
    let mut outcomes = Vec::new();
    for version in [Nginx::Installed, Nginx::Vendored] {
        let folder = tempfile::tempdir()?;
        for (name, text, mode) in files {
            key_file(folder.path(), name, text, *mode)?;
        }
        let path = folder.path().to_str().expect("UTF-8");
        let http = format!("access_log off;\n{}", http.replace("DIR", path));
        let output = nginx::test_conf(version, folder.path(), &http)?;
        let told = String::from_utf8_lossy(&output.stderr).replace(path, "DIR");
        outcomes.push((output.status.success(), told));
    }
    Ok(outcomes)
}

#[track_caller]
fn accepted_with(http: &str, files: &[(&str, &str, u32)]) {
    for (success, told) in tested(http, files).expect("nginx runs") {
        assert!(success, "{http}\n{told}");
        assert!(!told.contains("[warn]"), "{http}\n{told}");
    }
}

#[track_caller]
fn accepted(http: &str) {
    accepted_with(http, &[]);
}

/// `nginx -t` fails, with `message` in an `[emerg]` line.
#[track_caller]
fn refused_with(http: &str, files: &[(&str, &str, u32)], message: &str) {
    for (success, told) in tested(http, files).expect("nginx runs") {
        assert!(!success, "accepted:\n{http}\n{told}");
        let said = told.lines().any(|line| line.contains("[emerg]") && line.contains(message));
        assert!(said, "{http}\nwanted: {message}\ngot: {told}");
    }
}

#[track_caller]
fn refused(http: &str, message: &str) {
    refused_with(http, &[], message);
}

/// A server with this in it.
fn server(text: &str) -> String {
    format!("server {{ listen unix:DIR/test.sock; {text} }}")
}

/// An http block that lacks nothing, with a location that has this in it.
fn location(text: &str) -> String {
    [SIDECAR, KEY, &server(&format!("location /push/ {{ {text} }}"))].join("\n")
}

#[test]
fn roles_are_known_by_name() {
    accepted(&location("bx_push sub;"));
    accepted(&location("bx_push pub;"));
    // The last is a role in builds for tests alone.
    for wrong in ["subscribe", "SUB", "echo"] {
        let conf = location(&format!("bx_push {wrong};"));
        let expected = format!(
            "\"bx_push\" directive has an invalid role \"{wrong}\", \
             known are sub, pub, rest, stat, metrics and status in DIR/nginx.conf:"
        );
        refused(&conf, &expected);
    }
    for wrong in ["bx_push;", "bx_push sub pub;"] {
        refused(&location(wrong), "invalid number of arguments in \"bx_push\" directive");
    }
    refused(&location("bx_push sub; bx_push pub;"), "\"bx_push\" directive is duplicate");
}

#[test]
fn a_role_belongs_into_a_location() {
    let conf = [SIDECAR, KEY, "bx_push sub;"].join("\n");
    refused(&conf, "\"bx_push\" directive is not allowed here");
    let conf = [SIDECAR, KEY, &server("bx_push sub;")].join("\n");
    refused(&conf, "\"bx_push\" directive is not allowed here");
    let conf = location("if ($request_method = POST) { bx_push sub; }");
    refused(&conf, "\"bx_push\" directive is not allowed here");
}

#[test]
fn the_sidecar_is_a_unix_socket_named_once() {
    let with = |sidecar: &str| [sidecar, KEY, &server("location / { bx_push sub; }")].join("\n");
    accepted(&with(SIDECAR));
    for wrong in ["127.0.0.1:9000", "/run/push.sock", "unix:", "unix:relative.sock"] {
        let conf = with(&format!("bx_push_sidecar {wrong};"));
        let expected = format!(
            "\"bx_push_sidecar\" directive has an invalid address \"{wrong}\", want unix:/path"
        );
        refused(&conf, &expected);
    }
    let long = format!("bx_push_sidecar unix:/{};", "x".repeat(107));
    refused(&with(&long), "a socket's path has at most 107 bytes");
    let twice = [SIDECAR, SIDECAR].join("\n");
    refused(&with(&twice), "\"bx_push_sidecar\" directive is duplicate");
    refused(&with("bx_push_sidecar;"), "invalid number of arguments");
    let missing =
        "no \"bx_push_sidecar\" is defined for the \"bx_push sub\" directive in DIR/nginx.conf:";
    refused(&with(""), missing);
    let conf = [KEY, &server(SIDECAR)].join("\n");
    refused(&conf, "\"bx_push_sidecar\" directive is not allowed here");
}

#[test]
fn keys_are_taken_at_every_level() {
    let locations = "location / { bx_push sub; }";
    accepted(&[SIDECAR, KEY, &server(locations)].join("\n"));
    accepted(&[SIDECAR, &server(&[KEY, locations].join("\n"))].join("\n"));
    let inside = format!("location / {{ bx_push sub; {KEY} }}");
    accepted(&[SIDECAR, &server(&inside)].join("\n"));
    // Several, of both kinds: for the time in which a key is replaced.
    let several = [KEY, "bx_push_security_key_file DIR/a;", "bx_push_security_key_file DIR/b;"];
    let conf = [SIDECAR, &several.join("\n"), &server(locations)].join("\n");
    let (first, second) = (format!("{GOOD}\n"), format!("{GOOD}0"));
    accepted_with(&conf, &[("a", &first, 0o600), ("b", &second, 0o400)]);
}

#[test]
fn a_location_that_checks_signatures_needs_a_key() {
    for role in ["sub", "pub"] {
        let conf = [SIDECAR, &server(&format!("location /push/ {{ bx_push {role}; }}"))].join("\n");
        let missing = format!(
            "no \"bx_push_security_key\" or \"bx_push_security_key_file\" is defined \
             for the \"bx_push {role}\" directive in DIR/nginx.conf:"
        );
        refused(&conf, &missing);
    }
    let empty = location("bx_push sub; bx_push_security_key \"\";");
    refused(&empty, "\"bx_push_security_key\" directive has an empty key");
}

/// `nginx -t` succeeds, with `message` in a `[warn]` line.
#[track_caller]
fn warned_with(http: &str, files: &[(&str, &str, u32)], message: &str) {
    for (success, told) in tested(http, files).expect("nginx runs") {
        assert!(success, "{http}\n{told}");
        let said = told.lines().any(|line| line.contains("[warn]") && line.contains(message));
        assert!(said, "{http}\nwanted: {message}\ngot: {told}");
    }
}

#[test]
fn a_key_file_must_be_there_hold_a_key_and_be_private() {
    let conf =
        [SIDECAR, "bx_push_security_key_file DIR/key;", &server("location / { bx_push sub; }")]
            .join("\n");
    accepted_with(&conf, &[("key", &format!("{GOOD}\n"), 0o600)]);
    refused(&conf, "can't read the key file \"DIR/key\": No such file or directory");
    for empty in ["", "\n", "  \r\n"] {
        let message = "names an empty key file \"DIR/key\"";
        refused_with(&conf, &[("key", empty, 0o600)], message);
    }
    let two = format!("{GOOD}\n{GOOD}\n");
    refused_with(&conf, &[("key", &two, 0o600)], "names a key file with several lines");
    let large = "x".repeat(5_000);
    refused_with(&conf, &[("key", &large, 0o600)], "larger than 4096 bytes");
    // These work, but not without a word.
    let open = "the key file \"DIR/key\" is readable by everyone, its mode should be 0600";
    warned_with(&conf, &[("key", GOOD, 0o644)], open);
    warned_with(&conf, &[("key", "short", 0o600)], "a key of less than 32 characters");
}

#[test]
fn a_relative_key_file_is_beside_nginx_conf() {
    let conf = [SIDECAR, "bx_push_security_key_file key;", &server("location / { bx_push sub; }")]
        .join("\n");
    accepted_with(&conf, &[("key", GOOD, 0o600)]);
}

#[test]
fn messages_do_not_show_keys() {
    let files = [("key", "a-secret-in-a-file", 0o644)];
    let conf = location(
        "bx_push sub; bx_push_security_key_file DIR/key; bx_push_security_key a-secret-in-the-conf; \
         bx_push oops;",
    );
    for (success, told) in tested(&conf, &files).expect("nginx runs") {
        assert!(!success);
        assert!(!told.contains("a-secret"), "{told}");
    }
}

#[test]
fn limits_have_bounds() {
    let cases = [
        ("bx_push_max_payload", "1k", "512", "1024 to 33554432 bytes"),
        ("bx_push_max_messages_per_request", "1", "0", "1 to 10000"),
        ("bx_push_max_channels_per_request", "10000", "10001", "1 to 10000"),
        ("bx_push_max_connections_per_channel", "3", "0", "1 to 1000000"),
        ("bx_push_poll_timeout", "1s", "500ms", "1000 to 86400000 milliseconds"),
        ("bx_push_ping_interval", "1d", "2d", "1000 to 86400000 milliseconds"),
        ("bx_push_message_ttl", "1h", "0", "milliseconds"),
        ("bx_push_max_queue", "64k", "1k", "65536 to 1073741824 bytes"),
        ("bx_push_signature_algorithm", "sha256", "md5", "bx_push_signature_algorithm"),
    ];
    for (name, good, bad, bounds) in cases {
        accepted(&location(&format!("bx_push sub; {name} {good};")));
        accepted(&[&format!("{name} {good};"), &*location("bx_push sub;")].join("\n"));
        refused(&location(&format!("bx_push sub; {name} {bad};")), bounds);
        refused(&location(&format!("bx_push sub; {name} nonsense;")), name);
        let twice = location(&format!("bx_push sub; {name} {good}; {name} {good};"));
        refused(&twice, &format!("\"{name}\" directive is duplicate"));
    }
}

#[test]
fn what_concerns_a_worker_stands_in_the_http_block() {
    let role = server("location / { bx_push sub; }");
    let with = |directive: &str| [SIDECAR, KEY, directive, &role].join("\n");
    for (name, good, bad, bounds) in [
        ("bx_push_drain_time", ["0", "30s", "1h"], "2h", "0 to 3600000 milliseconds"),
        ("bx_push_max_queue_total", ["1m", "256m", "65536m"], "1k", "1048576 to 68719476736 bytes"),
    ] {
        for value in good {
            accepted(&with(&format!("{name} {value};")));
        }
        let expected =
            format!("\"{name}\" directive has an invalid value \"{bad}\", want {bounds}");
        refused(&with(&format!("{name} {bad};")), &expected);
        let once = format!("{name} {};", good[0]);
        let expected = format!("\"{name}\" directive is duplicate");
        refused(&with(&format!("{once} {once}")), &expected);
        let expected = format!("\"{name}\" directive is not allowed here");
        refused(&[SIDECAR, KEY, &server(&once)].join("\n"), &expected);
    }
}
