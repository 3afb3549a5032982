//! The portal's own pull client, under Node.

use std::process::Stdio;

use push_tests::wait::soon;
use push_tests::{Channel, Host, Setup, TestResult, both_nginx, builds, channel, matrix};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

matrix!(the_pull_client_survives_a_sidecar_restart);
both_nginx!(the_pull_client_survives_a_reload);

/// The pull client in a process of its own.
struct PullClient {
    child: Child,
    // Closing it ends the client.
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl PullClient {
    fn start(host: &Host, channel: &Channel, shared: &Channel, polling: bool) -> Self {
        let key = &host.key;
        let given = json!({
            "address": host.nginx.addresses.public.to_string(),
            "polling": polling,
            "private": channel.signed_pair(key),
            "public": channel.public,
            "publicSignature": channel::hex(&channel.public_signature(key)),
            "shared": shared.signed_private(key),
        });
        let mut child = Command::new("node")
            .arg(builds::repository().join("tests/node/pull.mjs"))
            .arg(given.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let input = child.stdin.take();
        Self { child, input, lines }
    }

    /// The next thing the client tells, of what a user would notice.
    async fn next(&mut self) -> Value {
        loop {
            let line = soon("a line of the pull client", self.lines.next_line()).await;
            let line = line.expect("readable").expect("the pull client still runs");
            let told: Value = serde_json::from_str(&line).expect("JSON");
            if told["event"] != "asked" {
                return told;
            }
        }
    }

    async fn expect(&mut self, expected: Value) {
        assert_eq!(self.next().await, expected);
    }

    async fn expect_message(&mut self, number: u32) -> String {
        let told = self.next().await;
        assert_eq!(told["event"], "message", "{told}");
        assert_eq!(told["params"]["number"], number, "{told}");
        told["mid"].as_str().expect("a mid").to_owned()
    }

    async fn end(mut self) -> TestResult {
        self.input.take();
        let status = soon("the pull client ends", self.child.wait()).await?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

fn portal_message(number: u32) -> String {
    let params = json!({ "number": number });
    json!({"module_id": "tests", "command": "hello", "params": params, "extra": {}}).to_string()
}

async fn started(host: &Host, channel: &Channel, shared: &Channel, polling: bool) -> PullClient {
    let mut client = PullClient::start(host, channel, shared, polling);
    client.expect(json!({"event": "status", "status": "connect"})).await;
    client.expect(json!({"event": "status", "status": "online"})).await;
    let transport = if polling { "poll" } else { "ws" };
    client.expect(json!({"event": "started", "transport": transport})).await;
    client
}

async fn the_pull_client_survives_a_sidecar_restart(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let shared = Channel::new();
    for polling in [false, true] {
        let channel = Channel::new();
        let mut client = started(&host, &channel, &shared, polling).await;
        host.until_online(std::slice::from_ref(&channel)).await?;
        host.publish(&channel, &portal_message(1)).await?;
        let first = client.expect_message(1).await;
        host.publish(&shared, &portal_message(2)).await?;
        assert!(client.expect_message(2).await > first);

        host.sidecar.kill();
        host.sidecar.restart()?;
        // Publishing waits for the workers to be back; the client must notice nothing at all.
        host.publish(&channel, &portal_message(3)).await?;
        client.expect_message(3).await;
        client.end().await?;
    }
    Ok(())
}

async fn the_pull_client_survives_a_reload(setup: Setup) -> TestResult {
    let mut host = setup.start()?;
    let (channel, shared) = (Channel::new(), Channel::new());
    let mut client = started(&host, &channel, &shared, false).await;
    host.until_online(std::slice::from_ref(&channel)).await?;
    host.publish(&channel, &portal_message(1)).await?;
    client.expect_message(1).await;
    host.nginx.reload(|_| ()).await?;
    // Published while the client may be away: it comes back with its mid.
    host.publish(&channel, &portal_message(2)).await?;
    loop {
        let told = client.next().await;
        match told["event"].as_str() {
            Some("status") => {}
            Some("message") => {
                assert_eq!(told["params"]["number"], 2, "{told}");
                break;
            }
            _ => panic!("{told}"),
        }
    }
    client.end().await
}
