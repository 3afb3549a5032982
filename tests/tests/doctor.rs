//! `push-sidecar doctor`: green where all is well, and a line with the remedy for each thing that is
//! wrong, with nginx as the proxy in front.

use std::fs;
use std::path::PathBuf;

use push_tests::host::key_file;
use push_tests::{Host, Nginx, Setup, Store, TestResult, ports, sidecar, verb, wait};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The host, with a server block `front` in its nginx: the proxy in front.
struct Front {
    host: Host,
    front: String,
}

/// A host without and one with a proxy in front.
fn setup() -> Setup {
    let mut setup = Setup::new(Nginx::Installed, Store::Memory);
    // The lists of 100 channels that the installed files have room for.
    setup.conf.http += "large_client_header_buffers 4 16k;";
    setup
}

const RIGHT: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
     proxy_set_header Connection \"upgrade\"; proxy_read_timeout 300s;";

/// A proxy in front with these lines in its server block and in its locations.
async fn behind(server: &str, locations: &str) -> std::io::Result<Front> {
    let setup = setup();
    let (front, back) = (ports::free(), ports::free());
    let mut setup = setup;
    setup.conf.servers = format!(
        "server {{ listen {back}; location /bitrix/subws/ {{ bx_push sub; }} location /bitrix/sub/ {{ bx_push sub; }} }}
         server {{ listen {front}; {server}
             location /bitrix/subws/ {{ {locations} proxy_pass http://{back}; }}
             location /bitrix/sub/ {{ {locations} proxy_pass http://{back}; }}
         }}"
    );
    Ok(Front { host: started(setup).await?, front: format!("http://{front}/") })
}

/// What the doctor says, none of which is a secret.
struct Told {
    status: i32,
    findings: Vec<Value>,
}

impl Told {
    async fn of(host: &Host, arguments: &[&str]) -> std::io::Result<Self> {
        let conf = host.folder().join("nginx.conf").display().to_string();
        let start = ["doctor", "--json", "--nginx", &conf, "--outside", "127.0.0.3"];
        let ended = verb::run(&[&start[..], arguments].concat()).await?;
        assert!(!ended.out.contains(&host.key.0), "a key is told: {}", ended.out);
        let object: Value = serde_json::from_str(&ended.out)
            .map_err(|error| std::io::Error::other(format!("{error}: {ended:?}")))?;
        let findings = object["findings"].as_array().cloned().unwrap_or_default();
        Ok(Self { status: ended.status, findings })
    }

    /// Whether all is well, and these parts were looked at.
    #[track_caller]
    fn is_green(&self, parts: &[&str]) {
        assert_eq!(self.status, 0, "{:#?}", self.findings);
        let bad = self
            .findings
            .iter()
            .find(|finding| matches!(finding["level"].as_str(), Some("error" | "warning")));
        assert_eq!(bad, None);
        for part in parts {
            let of_part = self.findings.iter().filter(|finding| finding["part"] == *part);
            let ok = of_part.filter(|finding| finding["level"] == "ok").count();
            assert!(ok > 0, "{part}: {:#?}", self.findings);
        }
    }

    /// Whether a part has a line of that level with these words, and the remedy.
    #[track_caller]
    fn has(&self, part: &str, level: &str, found: &str, remedy: &str) {
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("").to_owned();
        let fits = |finding: &&Value| {
            text(finding, "part") == part
                && text(finding, "level") == level
                && text(finding, "found").contains(found)
                && text(finding, "remedy").contains(remedy)
        };
        assert!(
            self.findings.iter().any(|finding| fits(&finding)),
            "no {part} {level} with \"{found}\" and \"{remedy}\": {:#?}",
            self.findings
        );
        assert_eq!(
            self.status,
            i32::from(self.findings.iter().any(|finding| finding["level"] == "error"))
        );
    }
}

/// Starts a host and waits until nginx is linked, as it is when an operator has typed the command.
async fn started(setup: Setup) -> std::io::Result<Host> {
    let host = setup.start()?;
    let socket = sidecar::socket(host.folder()).display().to_string();
    wait::soon("nginx is linked", async {
        while verb::run(&["health", "--socket", &socket]).await?.status != 0 {}
        Ok(host)
    })
    .await
}

/// The portal's settings, with the values that are given instead.
fn settings(host: &Host, changed: &[(&str, &str)]) -> std::io::Result<PathBuf> {
    let publish = format!("http://{}/bitrix/pub/", host.nginx.addresses.internal);
    let mut values = vec![
        ("path_to_listener", "http://#DOMAIN#/bitrix/sub/"),
        ("path_to_listener_secure", "https://#DOMAIN#/bitrix/sub/"),
        ("path_to_modern_listener", "http://#DOMAIN#/bitrix/sub/"),
        ("path_to_modern_listener_secure", "https://#DOMAIN#/bitrix/sub/"),
        ("path_to_websocket", "ws://#DOMAIN#/bitrix/subws/"),
        ("path_to_websocket_secure", "wss://#DOMAIN#/bitrix/subws/"),
        ("path_to_publish_web", "http://#DOMAIN#/bitrix/rest/"),
        ("path_to_publish_web_secure", "https://#DOMAIN#/bitrix/rest/"),
        ("path_to_publish", &publish),
        ("nginx_version", "4"),
        ("nginx", "Y"),
        ("nginx_headers", "N"),
        ("websocket", "Y"),
        ("signature_algo", "sha1"),
        ("signature_key", &host.key.0),
    ];
    for (name, value) in changed {
        values.retain(|(known, _)| known != name);
        values.push((name, value));
    }
    let given = values.iter().filter(|(_, value)| !value.is_empty());
    let lines: Vec<_> =
        given.map(|(name, value)| format!("      '{name}' => '{value}',\n")).collect();
    let lines = lines.concat();
    let text =
        format!("<?php\nreturn [\n  'pull' => [\n    'value' => [\n{lines}    ],\n  ],\n];\n");
    let file = host.folder().join(".settings.php");
    fs::write(&file, text)?;
    Ok(file)
}

#[tokio::test]
async fn an_installation_without_a_portal_is_green() -> TestResult {
    let host = started(setup()).await?;
    let told = Told::of(&host, &[]).await?;
    told.is_green(&["nginx", "daemon", "key file", "publish", "clock", "internal address"]);
    told.is_green(&["WebSocket", "long poll", "long request line", "trusted paths"]);
    told.has("portal settings", "skipped", "give --settings", "");
    told.has("idle", "skipped", "--idle 150", "");
    told.has("certificate", "skipped", "no server_name", "");
    // No line is without what was tried.
    assert!(
        told.findings
            .iter()
            .all(|finding| finding["tried"].as_str().is_some_and(|tried| !tried.is_empty()))
    );
    Ok(())
}

#[tokio::test]
async fn a_portal_behind_a_proxy_that_is_right_is_green() -> TestResult {
    let Front { host, front } = behind("large_client_header_buffers 4 16k;", RIGHT).await?;
    let file = settings(&host, &[])?.display().to_string();
    let told =
        Told::of(&host, &["--public", &front, "--settings", &file, "--idle", "2", "--strict"])
            .await?;
    told.is_green(&["portal settings", "portal's key", "publish", "WebSocket", "long poll"]);
    told.is_green(&["long request line", "trusted paths", "idle WebSocket", "idle long poll"]);
    Ok(())
}

#[tokio::test]
async fn a_proxy_in_front_that_is_wrong_is_told_what_to_add() -> TestResult {
    // As the proxy of a plain site is: neither headers, nor HTTP/1.1.
    let Front { host, front } = behind("large_client_header_buffers 4 8k;", "").await?;
    let told = Told::of(&host, &["--public", &front]).await?;
    told.has(
        "WebSocket",
        "error",
        "answered as a long poll, with 200 instead of 101",
        "proxy_set_header Upgrade $http_upgrade;",
    );
    told.has("long poll", "ok", "the message came", "");
    told.has("long request line", "warning", "answered 414", "large_client_header_buffers 4 16k;");
    drop(host);

    // The headers, and HTTP/1.0.
    let lines = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
    let Front { host, front } = behind("large_client_header_buffers 4 1k;", lines).await?;
    let told = Told::of(&host, &["--public", &front]).await?;
    let line = "large_client_header_buffers 4 16k;";
    told.has("long request line", "error", "answered 414", line);
    told.has("WebSocket", "error", "", "proxy_http_version 1.1;");
    drop(host);

    // Nothing may be quiet for longer than a second.
    let lines = RIGHT.replace("300s", "1s");
    let Front { host, front } = behind("large_client_header_buffers 4 16k;", &lines).await?;
    let told = Told::of(&host, &["--public", &front, "--idle", "4"]).await?;
    told.has("WebSocket", "ok", "the message came", "");
    told.has("idle WebSocket", "error", "cut after 1 s", "proxy_read_timeout 300s;");
    told.has("idle long poll", "error", "answered 504", "proxy_read_timeout 300s;");
    drop(host);

    // The site answers everything, and what it must not.
    let (site, internal) = (ports::free(), ports::free());
    let mut setup = setup();
    setup.conf.servers = format!(
        "server {{ listen {internal}; location /bitrix/pub/ {{ bx_push pub; }}
            location /server-stat/ {{ bx_push stat; }} }}
         server {{ listen {site}; default_type text/html; location / {{ return 200 \"<html>a shop\"; }}
            location /bitrix/pub/ {{ proxy_pass http://{internal}; }}
            location /server-stat/ {{ proxy_pass http://{internal}; }} }}"
    );
    let host = started(setup).await?;
    let told = Told::of(&host, &["--public", &format!("http://{site}/")]).await?;
    told.has("WebSocket", "error", "<html>a shop", "location ^~ /bitrix/subws/ { bx_push sub;");
    told.has("long poll", "error", "<html>a shop", "");
    told.has(
        "trusted paths",
        "error",
        "may publish to everybody",
        "location /bitrix/pub/ { return 404; }",
    );
    told.has("trusted paths", "error", "", "location /server-stat/ { return 404; }");
    Ok(())
}

#[tokio::test]
async fn settings_of_the_portal_that_do_not_fit_are_named_by_line() -> TestResult {
    let host = started(setup()).await?;
    let public = format!("http://{}/", host.nginx.addresses.public);
    let run = async |changed: &[(&str, &str)]| {
        let file = settings(&host, changed)?.display().to_string();
        Told::of(&host, &["--public", &public, "--settings", &file]).await
    };
    run(&[]).await?.is_green(&["portal settings", "portal's key"]);
    let told = run(&[("signature_key", "another-key-0123456789abcdefghijkl")]).await?;
    told.has("portal's key", "error", "4010", ".settings.php:19)");
    told.has("WebSocket", "error", "4010", "signature_key");
    told.has("long poll", "error", "4010", "signature_key");
    let blank = format!("{} ", host.key.0);
    run(&[("signature_key", &blank)]).await?.has(
        "portal's key",
        "error",
        "blanks at its ends",
        "key-0",
    );
    run(&[("signature_key", "")]).await?.has(
        "portal's key",
        "error",
        "signs nothing",
        "'signature_key' =>",
    );
    run(&[("signature_algo", "sha256")]).await?.has(
        "portal's key",
        "error",
        "the server has sha1",
        "'signature_algo' => 'sha1',",
    );
    let told =
        run(&[("nginx_version", "5"), ("nginx", "N"), ("nginx_headers", "Y"), ("websocket", "N")])
            .await?;
    told.has("portal settings", "error", "another protocol", "'nginx_version' => '4',");
    told.has("portal settings", "error", "uses no push server", "'nginx' => 'Y',");
    told.has("portal settings", "error", "versions 1 and 2", "'nginx_headers' => 'N',");
    told.has("portal settings", "warning", "poll instead", "'websocket' => 'Y',");
    let told = run(&[
        ("path_to_websocket_secure", "wss://#DOMAIN#/other/"),
        ("path_to_websocket", "http://#DOMAIN#/bitrix/subws/"),
    ])
    .await?;
    told.has(
        "portal settings",
        "error",
        "no location with bx_push sub takes /other/",
        "location /other/ { bx_push sub;",
    );
    told.has(
        "portal settings",
        "error",
        "does not begin with ws://",
        "'ws://#DOMAIN#/bitrix/subws/'",
    );
    let told = run(&[
        ("path_to_publish", "http://127.0.0.1:1/bitrix/pub/"),
        ("path_to_modern_listener", ""),
    ])
    .await?;
    told.has("publish", "error", "cannot connect to 127.0.0.1:1", "systemctl status nginx");
    told.has("portal settings", "warning", "not set", "'path_to_modern_listener' =>");
    told.has("long poll", "skipped", "nothing can be published", "");
    let told = Told::of(&host, &["--settings", "/nothing/.settings.php"]).await?;
    told.has("portal settings", "error", "No such file", "bitrix/.settings.php");
    Ok(())
}

#[tokio::test]
async fn certificates_are_named() -> TestResult {
    let host = started(setup()).await?;
    let address = host.nginx.addresses.public_tls.to_string();
    // Its issuer is nobody's.
    let told = Told::of(&host, &["--public", "https://localhost/", "--connect", &address]).await?;
    told.has("certificate", "error", "issuer", "fullchain.pem");
    // All the same the rest is looked at.
    told.has("WebSocket", "ok", "the message came", "");
    told.has("long poll", "ok", "the message came", "");
    // Trusted, for its name, and for another one.
    let conf = host.folder().join("nginx.conf").display().to_string();
    for (name, found) in
        [("localhost", "TLS, with a certificate"), ("portal.example", "is for another name: ")]
    {
        let public = format!("https://{name}/");
        let arguments = [
            "doctor",
            "--nginx",
            &conf,
            "--outside",
            "127.0.0.3",
            "--public",
            &public,
            "--connect",
            &address,
        ];
        let ended = verb::run_with(&arguments, &host.nginx.certificate().file, "").await?;
        assert!(ended.out.contains(found), "{}", ended.out);
        assert_eq!(ended.status, i32::from(name != "localhost"));
    }
    let told = Told::of(&host, &["--public", &format!("https://{}/", host.nginx.addresses.public)])
        .await?;
    told.has("connection", "error", "TLS", "listen");
    Ok(())
}

#[tokio::test]
async fn what_is_open_to_others_is_told() -> TestResult {
    for (guard, open) in [("", true), ("deny all;", false)] {
        let mut setup = setup();
        let port = ports::free().port();
        setup.conf.servers =
            format!("server {{ listen {port}; location /bitrix/pub/ {{ bx_push pub; {guard} }} }}");
        let host = started(setup).await?;
        let told = Told::of(&host, &[]).await?;
        if open {
            let line = format!("listen 127.0.0.1:{port};");
            told.has("internal address", "error", "may publish to everybody", &line);
        } else {
            told.is_green(&["internal address"]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_does_not_run_is_told() -> TestResult {
    let mut host = started(setup()).await?;
    key_file(host.folder(), "key-0", "one\ntwo\n", 0o600)?;
    host.sidecar.kill();
    let told = Told::of(&host, &[]).await?;
    told.has("daemon", "error", "does push-sidecar run", "journalctl -u push-sidecar");
    told.has("key file", "error", "more than one key", "as root");
    told.has("publish", "error", "answered 503", "push-sidecar health");
    told.has("WebSocket", "skipped", "without a key", "");
    let empty = host.folder().join("empty.conf");
    fs::write(&empty, "events {}\nhttp {}\n")?;
    let arguments = [
        "doctor",
        "--nginx",
        &empty.display().to_string(),
        "--outside",
        "127.0.0.3",
        "--internal",
        "http://127.0.0.1:1/",
    ];
    let ended = verb::run(&arguments).await?;
    assert_eq!(ended.status, 1);
    for line in [
        "no location with bx_push",
        "include snippets/bx-push-locations.conf;",
        "cannot connect to 127.0.0.1:1",
        "skipped  public address",
    ] {
        assert!(ended.out.contains(line), "{line}: {}", ended.out);
    }
    assert_eq!(verb::run(&["doctor", "--public", "portal"]).await?.status, 2);
    Ok(())
}

/// A server of bytes that says the same to everybody, or passes on what another one says, late.
async fn middleman(
    to: Option<std::net::SocketAddr>,
    words: &'static str,
) -> std::io::Result<std::net::SocketAddr> {
    const LATE: std::time::Duration = std::time::Duration::from_millis(1_300);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let mut buffer = vec![0; 65536];
                let Some(to) = to else {
                    // A request, or the beginning of one.
                    let _ = from_client.read(&mut buffer).await?;
                    return to_client.write_all(words.as_bytes()).await;
                };
                let server = tokio::net::TcpStream::connect(to).await?;
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_client, &mut to_server).await },
                );
                loop {
                    let count = from_server.read(&mut buffer).await?;
                    if count == 0 {
                        return to_client.shutdown().await;
                    }
                    tokio::time::sleep(LATE).await;
                    to_client.write_all(&buffer[..count]).await?;
                }
            });
        }
    });
    Ok(address)
}

#[tokio::test]
async fn what_holds_messages_back_is_told() -> TestResult {
    let host = started(setup()).await?;
    let front = middleman(Some(host.nginx.addresses.public), "").await?;
    let told = Told::of(&host, &["--public", &format!("http://{front}/")]).await?;
    told.has("WebSocket", "warning", "ms after it was published", "proxy_buffering off;");
    told.has("long poll", "warning", "ms after it was published", "proxy_buffering off;");
    Ok(())
}

#[tokio::test]
async fn clocks_that_differ_are_told() -> TestResult {
    let host = started(setup()).await?;
    let words =
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2020 04:29:21 GMT\r\nContent-Length: 0\r\n\r\n";
    let internal = middleman(None, words).await?;
    let internal = format!("http://{internal}/");
    let nobody = "http://127.0.0.1:1/";
    let told = Told::of(&host, &["--internal", &internal, "--public", nobody]).await?;
    told.has("clock", "warning", "s from the one here", "timedatectl set-ntp true");
    told.has("connection", "error", "cannot connect to 127.0.0.1:1", "systemctl status nginx");
    Ok(())
}

#[tokio::test]
async fn each_portal_on_a_host_has_its_key() -> TestResult {
    let mut setup = setup();
    let (other, folder) = (ports::free(), tempfile::tempdir()?);
    let file = key_file(folder.path(), "other", "the-key-of-another-portal-0123456789", 0o600)?;
    setup.conf.servers = format!(
        "server {{ listen {other}; server_name other.example; bx_push_security_key_file {};
             location /bitrix/subws/ {{ bx_push sub; }} location /bitrix/sub/ {{ bx_push sub; }} }}",
        file.display()
    );
    let host = started(setup).await?;
    let told = Told::of(&host, &[]).await?;
    told.is_green(&["WebSocket"]);
    let walked = told.findings.iter().filter(|finding| finding["part"] == "WebSocket").count();
    assert_eq!(walked, 2, "{:#?}", told.findings);
    // The settings of either portal fit.
    for key in [&host.key.0[..], "the-key-of-another-portal-0123456789"] {
        let file = settings(&host, &[("signature_key", key)])?.display().to_string();
        Told::of(&host, &["--settings", &file]).await?.is_green(&["portal's key", "WebSocket"]);
    }
    Ok(())
}
