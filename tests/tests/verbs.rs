//! `push-sidecar sign`, `publish` and `listen` against a whole host.

use std::path::Path;

use push_tests::host::key_file;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Nginx, Setup, Store, TestResult, verb};
use tokio::io::{AsyncBufReadExt, BufReader};

fn setup() -> Setup {
    Setup::new(Nginx::Installed, Store::Memory)
}

fn conf(host: &Host) -> String {
    host.folder().join("nginx.conf").display().to_string()
}

/// A subscriber that is listening, and its lines.
struct Listener {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Listener {
    async fn start(host: &Host, channel: &Channel, arguments: &[&str]) -> std::io::Result<Self> {
        let (conf, pair) = (conf(host), format!("{}:{}", channel.private, channel.public));
        let arguments = [&["listen", "--nginx", &conf], arguments, &[&pair[..]]].concat();
        let mut command = verb::command(&arguments);
        command.env("SSL_CERT_FILE", &host.nginx.certificate().file);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        host.until_online(std::slice::from_ref(channel)).await?;
        Ok(Self { child, lines })
    }

    async fn line(&mut self) -> String {
        let line = push_tests::wait::soon("a line", self.lines.next_line()).await;
        line.expect("text").expect("a line")
    }

    async fn status(mut self) -> Option<i32> {
        push_tests::wait::soon("its end", self.child.wait()).await.expect("a child").code()
    }
}

#[tokio::test]
async fn a_list_is_signed_as_a_portal_does() -> TestResult {
    let host = setup().start()?;
    let (channel, other, conf) = (Channel::new(), Channel::new(), conf(&host));
    let pair = format!("{}:{}", channel.private, channel.public);
    let signed = verb::run(&["sign", "--nginx", &conf, &pair, &other.private]).await?;
    let expected = [channel.signed_pair(&host.key), other.signed_private(&host.key)].join("/");
    assert_eq!((signed.status, signed.out.trim_end()), (0, &expected[..]), "{}", signed.err);
    // By a file of its own, and what is signed already.
    let key = host.folder().join("key-0").display().to_string();
    let again = verb::run(&["sign", "--key-file", &key, "--nginx", "/nothing", &expected]).await?;
    assert_eq!(again.out.trim_end(), expected);
    let public = verb::run(&["sign", "--nginx", &conf, "--public", &channel.public]).await?;
    let raw = push_tests::channel::hex(&channel.public_signature(&host.key));
    assert_eq!(public.out.trim_end(), raw);
    // Nobody finds a key in what went wrong.
    let secret = key_file(host.folder(), "two", "a-secret\nb-secret\n", 0o600)?;
    let two = secret.display().to_string();
    let wrong = verb::run(&["sign", "--key-file", &two, &channel.private]).await?;
    assert_eq!(wrong.status, 1);
    assert!(
        wrong.err.contains("more than one key") && !wrong.err.contains("secret"),
        "{}",
        wrong.err
    );
    Ok(())
}

#[tokio::test]
async fn what_is_published_is_heard_by_every_transport() -> TestResult {
    let host = setup().start()?;
    let channel = Channel::new();
    // nginx.conf names the listener with TLS first: no name, so the certificate is not its own.
    let tls = format!("https://localhost:{}/", host.nginx.addresses.public_tls.port());
    let clear = format!("http://{}/", host.nginx.addresses.public);
    let connect = host.nginx.addresses.public_tls.to_string();
    let mut listeners = Vec::new();
    for arguments in [
        &["--url", &clear][..],
        &["--url", &clear, "--poll", "--binary"],
        &["--url", &tls, "--connect", &connect, "--json"],
    ] {
        let arguments = [arguments, &["--count", "2"]].concat();
        let ids = Channel { private: Channel::new().private, public: channel.public.clone() };
        listeners.push((ids.clone(), Listener::start(&host, &ids, &arguments).await?));
    }
    let (conf, public) = (conf(&host), format!("public:{}", channel.public));
    let file = host.folder().join("message");
    std::fs::write(&file, "{\"from\":\"file\"}\n")?;
    let file = file.display().to_string();
    // A binary publication to the public id, and a text one to all private ids.
    let sent =
        verb::run(&["publish", "--nginx", &conf, "--text", "one\ntwo", "--expiry", "60", &public])
            .await?;
    assert_eq!(sent.status, 0, "{}", sent.err);
    assert!(sent.out.starts_with("taken by http://127.0.0.1:"), "{}", sent.out);
    let privates: Vec<&str> = listeners.iter().map(|(ids, _)| &ids.private[..]).collect();
    let arguments =
        [&["publish", "--nginx", &conf, "--file", &file, "--expiry", "60"], &privates[..]].concat();
    assert_eq!(verb::run(&arguments).await?.status, 0);
    let mids: Vec<String> = {
        let (_, first) = &mut listeners[0];
        let lines = [first.line().await, first.line().await];
        assert!(lines[0].ends_with(" one\\ntwo"), "{lines:?}");
        assert!(lines[1].ends_with(" {\"from\":\"file\"}"), "{lines:?}");
        lines.iter().map(|line| line[..26].to_owned()).collect()
    };
    let (_, poll) = &mut listeners[1];
    assert_eq!([poll.line().await, poll.line().await].map(|line| line[..26].to_owned()), mids[..]);
    let (_, json) = &mut listeners[2];
    let object: serde_json::Value = serde_json::from_str(&json.line().await)?;
    assert_eq!((&object["mid"], &object["body"]), (&mids[0][..].into(), &"one\ntwo".into()));
    let ids = listeners[0].0.clone();
    for (_, listener) in listeners {
        assert_eq!(listener.status().await, Some(0));
    }
    // What is stored is replayed from an id on, and no more than that.
    let arguments = [
        "listen",
        "--nginx",
        &conf,
        "--url",
        &clear,
        "--mid",
        &mids[0],
        "--count",
        "1",
        &ids.private,
    ];
    let replayed = verb::run(&arguments).await?;
    assert_eq!(replayed.out, format!("{} {{\"from\":\"file\"}}\n", mids[1]), "{}", replayed.err);
    Ok(())
}

#[tokio::test]
async fn a_publication_is_read_from_the_standard_input() -> TestResult {
    let host = setup().start()?;
    let channel = Channel::new();
    let mut socket = host.subscribe(&channel, Mode::Text).await?;
    let url = format!("https://localhost:{}/bitrix/pub/", host.nginx.addresses.internal_tls.port());
    let arguments = ["publish", "--url", &url, "--json", &channel.private];
    let trust = &host.nginx.certificate().file;
    let sent = verb::run_with(&arguments, trust, "from a pipe\n").await?;
    assert_eq!(sent.status, 0, "{sent:?}");
    assert!(sent.out.starts_with("{\"answer\":\"taken by https://localhost:"), "{}", sent.out);
    assert_eq!(socket.body().await, "from a pipe");
    // The same without trust: the certificate is named, and what to do.
    let sent = verb::run_with(&arguments, Path::new("/dev/null"), "x").await?;
    assert_eq!(sent.status, 2, "{sent:?}");
    assert!(sent.out.contains("does not trust"), "{}", sent.out);
    assert!(sent.out.contains("fullchain.pem"), "{}", sent.out);
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_named_with_its_remedy() -> TestResult {
    let mut host = setup().start()?;
    let (channel, conf) = (Channel::new(), conf(&host));
    let wrong = key_file(host.folder(), "wrong", "another-key-0123456789abcdefghijkl", 0o600)?;
    let wrong = wrong.display().to_string();
    let clear = format!("http://{}/", host.nginx.addresses.public);
    for poll in [&["--poll"][..], &[]] {
        let arguments =
            [&["listen", "--url", &clear, "--key-file", &wrong], poll, &[&channel.private[..]]];
        let ended = verb::run(&arguments.concat()).await?;
        assert_eq!(ended.status, 2);
        assert!(ended.err.contains("4010") && ended.err.contains("signature_key"), "{}", ended.err);
        assert!(!ended.err.contains(&channel.private), "signed ids are passwords: {}", ended.err);
    }
    let late = ["listen", "--nginx", &conf, "--url", &clear, "--timeout", "1", &channel.private];
    assert_eq!(verb::run(&late).await?.status, 0, "the time is over");
    assert_eq!(verb::run(&[&late[..], &["--count", "1"]].concat()).await?.status, 1);
    let public = format!("{clear}bitrix/pub/");
    let ended = verb::run(&["publish", "--url", &public, "--text", "x", &channel.private]).await?;
    assert_eq!(ended.status, 1);
    assert!(
        ended.err.contains("answered 404") && ended.err.contains("bx_push pub"),
        "{}",
        ended.err
    );
    let nobody = ["publish", "--url", "http://127.0.0.1:1/", "--text", "x", &channel.private];
    assert_eq!(verb::run(&nobody).await?.status, 2);
    let odd = verb::run(&["publish", "--nginx", &conf, "--text", "x", "public:x"]).await?;
    assert_eq!((odd.status, odd.err.contains("32 lower-case hex")), (2, true), "{}", odd.err);
    // A link that is gone.
    host.sidecar.kill();
    let ended = verb::run(&["publish", "--nginx", &conf, "--text", "x", &channel.private]).await?;
    assert_eq!(ended.status, 1, "{}", ended.err);
    assert!(
        ended.err.contains("answered 503") && ended.err.contains("push-sidecar health"),
        "{}",
        ended.err
    );
    Ok(())
}
