//! What portals' pages do with the pull client beyond listening: they publish to each other, poll,
//! and move to other channels. The test is the portal.

use std::process::Stdio;

use push_tests::wait::soon;
use push_tests::{Channel, Host, Key, Setup, TestResult, both_nginx, builds, channel, matrix};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

matrix!(clients_publish_to_each_other, polls_miss_nothing_and_repeat_nothing);
both_nginx!(channels_are_replaced, a_configuration_expires, wrong_channels_make_it_ask_anew);

/// A user of the portal: what `pull.config.get` answers him.
#[derive(Clone)]
struct User {
    id: u32,
    channel: Channel,
    shared: Channel,
    polling: bool,
}

impl User {
    fn new(id: u32, shared: &Channel, polling: bool) -> Self {
        Self { id, channel: Channel::new(), shared: shared.clone(), polling }
    }

    fn config(&self, host: &Host) -> Value {
        let address = host.nginx.addresses.public;
        let both = |scheme: &str, path: &str| format!("{scheme}://{address}/bitrix/{path}/");
        json!({
            "server": {
                "version": 4, "server_enabled": true, "mode": "personal", "hostname": "",
                "config_timestamp": 0, "websocket_enabled": !self.polling,
                "websocket": both("ws", "subws"), "websocket_secure": both("wss", "subws"),
                "long_polling": both("http", "sub"), "long_pooling_secure": both("https", "sub"),
                "publish_enabled": true,
                "publish": both("http", "rest"), "publish_secure": both("https", "rest"),
            },
            "api": {"revision_web": 19, "revision_mobile": 3},
            "channels": {
                "private": private_channel(&self.channel, &host.key),
                "shared": lasting(json!({"id": self.shared.signed_private(&host.key), "type": "shared"})),
            },
            "publicChannels": {},
        })
    }

    /// His entry in `pull.channel.public.list`.
    fn public(&self, key: &Key) -> Value {
        let signature = channel::hex(&self.channel.public_signature(key));
        lasting(
            json!({"user_id": self.id, "public_id": self.channel.public, "signature": signature}),
        )
    }
}

fn private_channel(channel: &Channel, key: &Key) -> Value {
    let signature = channel::hex(&channel.public_signature(key));
    let public = format!("{}.{signature}", channel.public);
    lasting(json!({"id": channel.signed_pair(key), "public_id": public, "type": "private"}))
}

/// Valid for as long as the tests are of interest.
fn lasting(mut entry: Value) -> Value {
    entry["start"] = "2020-01-01T00:00:00+00:00".into();
    entry["end"] = "2999-01-01T00:00:00+00:00".into();
    entry
}

/// The pull client in a process of its own.
struct Client {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Ids of all messages that the server has sent, in the order of their arrival.
    arrived: Vec<String>,
    /// What else was noticed.
    noticed: Vec<Value>,
}

impl Client {
    async fn start(host: &Host, user: &User) -> Self {
        let mut client = Self::prepare(&user.config(host)).await;
        client.tell(json!({"do": "start", "userId": user.id})).await;
        client.until_online().await;
        client
    }

    async fn prepare(config: &Value) -> Self {
        let mut child = Command::new("node")
            .arg(builds::repository().join("tests/node/sdk_client.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let input = child.stdin.take().expect("piped");
        let mut client = Self { child, input, lines, arrived: Vec::new(), noticed: Vec::new() };
        client.answer("config", json!({"do": "config", "config": config})).await;
        client
    }

    async fn tell(&mut self, command: Value) {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.expect("the client reads");
    }

    /// Tells what the portal answers from now on, and waits until the client's side knows.
    async fn answer(&mut self, what: &str, command: Value) {
        self.tell(command).await;
        self.until("the portal's answer is known", |told| told["did"] == what).await;
    }

    /// Waits for something that the client notices; what comes before is put aside.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = soon(what, self.lines.next_line()).await.expect("readable");
            let told: Value =
                serde_json::from_str(&line.expect("the client still runs")).expect("JSON");
            let event = told["event"].as_str().expect("an event");
            assert!(event != "error" && event != "warning", "{told}, waiting for {what}");
            if event == "arrived" {
                let mids = told["mids"].as_array().expect("a list").iter();
                self.arrived.extend(mids.map(|mid| mid.as_str().expect("a mid").to_owned()));
            }
            self.noticed.push(told.clone());
            if wanted(&told) {
                return told;
            }
        }
    }

    async fn until_online(&mut self) {
        self.until("online", |told| told["status"] == "online").await;
    }

    /// The next message that the page is given.
    async fn message(&mut self) -> Value {
        self.until("a message", |told| told["event"] == "message").await
    }

    /// The next message must be one of the backend's with this number.
    async fn expect_number(&mut self, number: u32) {
        let told = self.message().await;
        // The client shows an absent id as an empty one.
        let backend = json!({"type": 2, "id": ""});
        assert_eq!(
            (&told["type"], &told["params"]["number"], &told["sender"]),
            (&"server".into(), &number.into(), &backend),
            "{told}"
        );
    }

    /// How often something was noticed.
    fn count(&self, event: &str, field: &str, value: &str) -> usize {
        let same = |told: &&Value| told["event"] == event && told[field] == value;
        self.noticed.iter().filter(same).count()
    }

    /// Ends the client; the server must have sent `messages` and none twice.
    async fn end(mut self, messages: usize) -> TestResult {
        drop(self.input);
        let status = soon("the client ends", self.child.wait()).await?;
        assert!(status.success(), "{status}");
        assert_eq!(self.arrived.len(), messages, "{:?}", self.arrived);
        assert!(self.arrived.is_sorted_by(|a, b| a < b), "{:?}", self.arrived);
        Ok(())
    }
}

/// A message of the backend.
fn numbered(number: u32) -> String {
    body("tests", "hello", &json!({ "number": number }))
}

fn body(module: &str, command: &str, params: &Value) -> String {
    let extra = json!({"server_name": "portal", "revision_web": 19});
    json!({"module_id": module, "command": command, "params": params, "extra": extra}).to_string()
}

async fn clients_publish_to_each_other(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let shared = Channel::new();
    let users: Vec<_> = [(1, false), (2, false), (3, true)]
        .map(|(id, polling)| User::new(id, &shared, polling))
        .into();
    let [mut first, mut second, mut polling] = [
        Client::start(&host, &users[0]).await,
        Client::start(&host, &users[1]).await,
        Client::prepare(&users[2].config(&host)).await,
    ];
    // A poll counts as online when its first answer is there, or after 5 seconds.
    polling.tell(json!({"do": "start", "userId": 3})).await;
    let channels: Vec<_> = users.iter().map(|user| user.channel.clone()).collect();
    host.until_online(&channels).await?;

    let publics = users.iter().map(|user| (user.id.to_string(), user.public(&host.key)));
    let publics: Value = publics.collect::<serde_json::Map<_, _>>().into();
    let send = |users: Value, command: &str| {
        let params = json!({"said": command});
        json!({"do": "send", "users": users, "module": "tests", "command": command, "params": params, "expiry": 60})
    };
    let check = |told: &Value, sender: &User, command: &str| {
        let sender = json!({"type": 1, "id": sender.channel.public});
        assert_eq!(told["type"], "client", "{told}");
        assert_eq!(told["command"], command, "{told}");
        assert_eq!(told["params"], json!({"said": command}), "{told}");
        assert_eq!(told["sender"], sender, "{told}");
    };

    // Over the WebSocket; the client asks the portal for the others' channels.
    first.answer("channels", json!({"do": "channels", "list": publics})).await;
    first.tell(send(json!([2, 3]), "from-first")).await;
    check(&second.message().await, &users[0], "from-first");
    check(&polling.message().await, &users[0], "from-first");
    first.until("the portal is asked", |told| told["method"] == "pull.channel.public.list").await;

    // A client that polls publishes by /bitrix/rest/.
    polling.answer("channels", json!({"do": "channels", "list": publics})).await;
    polling.tell(send(json!([1, 2, 3]), "from-third")).await;
    check(&first.message().await, &users[2], "from-third");
    check(&second.message().await, &users[2], "from-third");
    check(&polling.message().await, &users[2], "from-third");
    assert_eq!(polling.count("request", "path", "/bitrix/rest/"), 1);
    assert_eq!(first.count("request", "path", "/bitrix/subws/"), 1, "stayed connected");

    // The backend's message comes to all, behind the others.
    host.publish(&shared, &numbered(1)).await?;
    for client in [&mut first, &mut second, &mut polling] {
        client.expect_number(1).await;
    }

    // What clients say is kept: a fourth, whose last message was before all this, gets it.
    let mut late = Client::prepare(&users[1].config(&host)).await;
    late.tell(json!({"do": "start", "userId": 2, "mid": "0".repeat(26)})).await;
    check(&late.message().await, &users[0], "from-first");
    check(&late.message().await, &users[2], "from-third");
    late.expect_number(1).await;

    late.end(3).await?;
    first.end(2).await?;
    second.end(3).await?;
    polling.end(3).await
}

async fn polls_miss_nothing_and_repeat_nothing(setup: Setup) -> TestResult {
    const MESSAGES: u32 = 120;
    let host = setup.workers(4).start()?;
    let shared = Channel::new();
    let user = User::new(1, &shared, true);
    let mut client = Client::prepare(&user.config(&host)).await;
    client.tell(json!({"do": "start", "userId": 1})).await;
    host.until_online(std::slice::from_ref(&user.channel)).await?;
    // As fast as they are taken: some meet a poll, most come between two.
    for number in 0..MESSAGES {
        let to = if number % 3 == 0 { &shared } else { &user.channel };
        host.publish(to, &numbered(number)).await?;
        if number == 0 {
            // The first one tells the client where it stands.
            client.expect_number(0).await;
        }
    }
    for number in 1..MESSAGES {
        client.expect_number(number).await;
    }
    let polls = client.count("request", "path", "/bitrix/sub/");
    assert!((3..=MESSAGES as usize + 1).contains(&polls), "{polls} polls");

    // And one by one, each when the answer of the last was taken.
    for number in MESSAGES..MESSAGES + 10 {
        host.publish(&user.channel, &numbered(number)).await?;
        client.expect_number(number).await;
    }
    client.end(MESSAGES as usize + 10).await
}

async fn channels_are_replaced(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let shared = Channel::new();
    for polling in [false, true] {
        let user = User::new(1, &shared, polling);
        let mut client = Client::prepare(&user.config(&host)).await;
        client.tell(json!({"do": "start", "userId": 1})).await;
        host.until_online(std::slice::from_ref(&user.channel)).await?;
        host.publish(&user.channel, &numbered(1)).await?;
        client.expect_number(1).await;

        let fresh = Channel::new();
        let replaced = json!({
            "action": "reconnect",
            "channel": {"id": user.channel.private, "type": "private"},
            "new_channel": private_channel(&fresh, &host.key),
        });
        host.publish(&user.channel, &body("pull", "channel_expire", &replaced)).await?;
        // The client comes back after a second, with its last id: nothing is missing.
        host.publish(&fresh, &numbered(2)).await?;
        client.expect_number(2).await;
        host.until_online(std::slice::from_ref(&fresh)).await?;
        host.publish(&user.channel, &numbered(99)).await?;
        host.publish(&fresh, &numbered(3)).await?;
        client.expect_number(3).await;
        assert_eq!(client.count("asked", "method", "pull.config.get"), 1);
        let path = if polling { "/bitrix/sub/" } else { "/bitrix/subws/" };
        assert!(client.count("request", "path", path) >= 2);
        client.end(4).await?;
    }
    Ok(())
}

async fn a_configuration_expires(setup: Setup) -> TestResult {
    let host = setup.workers(2).start()?;
    let shared = Channel::new();
    for command in ["config_expire", "channel_expire"] {
        let old = User::new(1, &shared, false);
        let mut client = Client::start(&host, &old).await;
        let new = User { channel: Channel::new(), ..old.clone() };
        client.answer("config", json!({"do": "config", "config": new.config(&host)})).await;
        let expired = json!({"channel": {"id": old.channel.private, "type": "private"}});
        host.publish(&old.channel, &body("pull", command, &expired)).await?;
        client.until("asked again", |told| told["method"] == "pull.config.get").await;
        host.publish(&new.channel, &numbered(1)).await?;
        client.expect_number(1).await;
        host.publish(&shared, &numbered(2)).await?;
        client.expect_number(2).await;
        client.end(3).await?;
    }
    Ok(())
}

async fn wrong_channels_make_it_ask_anew(setup: Setup) -> TestResult {
    let host = setup.start()?;
    let user = User::new(1, &Channel::new(), false);
    let forged = user.channel.signed_pair(&Key("a-key-that-was-replaced-long-ago".into()));
    let mut config = user.config(&host);
    config["channels"]["private"]["id"] = forged.into();
    let mut client = Client::prepare(&config).await;
    client.tell(json!({"do": "start", "userId": 1, "hasty": true})).await;
    let closed = client.until("a close", |told| told["event"] == "closed").await;
    assert_eq!(
        closed,
        json!({"event": "closed", "code": 4010, "reason": "4010: Wrong Channel Id."})
    );
    client.answer("config", json!({"do": "config", "config": user.config(&host)})).await;
    client.until("asked again", |told| told["method"] == "pull.config.get").await;
    host.until_online(std::slice::from_ref(&user.channel)).await?;
    host.publish(&user.channel, &numbered(1)).await?;
    client.expect_number(1).await;
    client.end(1).await
}
