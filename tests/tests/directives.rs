//! What `nginx -t` says to each directive, right and wrong.

use std::io;

use push_tests::host::key_file;
use push_tests::{Nginx, nginx};

const KEY: &str = "bx_push_security_key 0123456789abcdef;";
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
        let said = told
            .lines()
            .any(|line| line.contains("[emerg]") && line.contains(message));
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
    [
        SIDECAR,
        KEY,
        &server(&format!("location /push/ {{ {text} }}")),
    ]
    .join("\n")
}

#[test]
fn roles_are_known_by_name() {
    accepted(&location("bx_push sub;"));
    accepted(&location("bx_push pub;"));
    for wrong in ["", "subscribe", "SUB", "sub pub"] {
        let conf = location(&format!("bx_push {wrong};"));
        let expected = if wrong.contains(' ') || wrong.is_empty() {
            "invalid number of arguments in \"bx_push\" directive"
        } else {
            wrong
        };
        refused(&conf, expected);
    }
    refused(
        &location("bx_push sub; bx_push pub;"),
        "\"bx_push\" directive is duplicate",
    );
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
    refused(&with("bx_push_sidecar 127.0.0.1:9000;"), "bx_push_sidecar");
    refused(&with("bx_push_sidecar /run/push.sock;"), "unix:");
    refused(&with("bx_push_sidecar unix:;"), "bx_push_sidecar");
    let long = format!("bx_push_sidecar unix:/{};", "x".repeat(120));
    refused(&with(&long), "bx_push_sidecar");
    let twice = [SIDECAR, SIDECAR].join("\n");
    refused(&with(&twice), "\"bx_push_sidecar\" directive is duplicate");
    refused(&with("bx_push_sidecar;"), "invalid number of arguments");
    refused(&with(""), "bx_push_sidecar");
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
    let several = [
        KEY,
        "bx_push_security_key_file DIR/a;",
        "bx_push_security_key_file DIR/b;",
    ];
    let conf = [SIDECAR, &several.join("\n"), &server(locations)].join("\n");
    accepted_with(&conf, &[("a", "first\n", 0o600), ("b", "second", 0o400)]);
}

#[test]
fn a_location_that_checks_signatures_needs_a_key() {
    let conf = [SIDECAR, &server("location /push/ { bx_push sub; }")].join("\n");
    refused(&conf, "bx_push_security_key");
    // One that trusts everybody does not.
    accepted(&[SIDECAR, &server("location /push/ { bx_push pub; }")].join("\n"));
    refused(
        &location("bx_push sub; bx_push_security_key \"\";"),
        "bx_push_security_key",
    );
}

#[test]
fn a_key_file_must_be_there_hold_a_key_and_be_private() {
    let conf = [
        SIDECAR,
        "bx_push_security_key_file DIR/key;",
        &server("location / { bx_push sub; }"),
    ]
    .join("\n");
    accepted_with(&conf, &[("key", "0123456789abcdef\n", 0o600)]);
    refused(&conf, "DIR/key");
    for empty in ["", "\n", "  \r\n"] {
        refused_with(&conf, &[("key", empty, 0o600)], "DIR/key");
    }
    // A key that everybody can read works, but not without a word.
    for (success, told) in tested(&conf, &[("key", "0123456789abcdef", 0o644)]).expect("runs") {
        assert!(success, "{told}");
        let warned = told
            .lines()
            .any(|line| line.contains("[warn]") && line.contains("DIR/key"));
        assert!(warned, "{told}");
    }
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
