//! Others on the same Redis: processes of push-server 0.4.0, and a second host of ours.
//!
//! The old processes are played ([`push_tests::neighbour`]), by the recorded commands and bytes.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_tests::channel::{hex, unhex};
use push_tests::host::END;
use push_tests::http1::{self, Request};
use push_tests::neighbour::{Draft, Listener, Mid, Neighbour, private, public};
use push_tests::net::Endpoint;
use push_tests::poll::{from_poll, poll};
use push_tests::proto::{IncomingMessage, OutgoingMessage, Receiver, RequestBatch, Sender};
use push_tests::redis::Redis;
use push_tests::replay;
use push_tests::replay::resp::Connection;
use push_tests::wait::soon;
use push_tests::websocket::Mode;
use push_tests::{Channel, Host, Nginx, Setup, Store, TestResult, WebSocket};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message as Frame;

/// Where everything begins.
const FIRST: Mid = [0; 13];

/// A host with a Redis, and with a setting of its sidecar.
fn host(workers: u32, sidecar: &[(&'static str, &'static str)]) -> io::Result<Host> {
    let mut setup = Setup::new(Nginx::Installed, Store::Redis).workers(workers);
    setup.sidecar = sidecar.to_vec();
    setup.start()
}

fn socket(redis: &Redis) -> PathBuf {
    redis.url().strip_prefix("unix://").expect("a socket").into()
}

fn socket_of(host: &Host) -> PathBuf {
    socket(host.redis.as_ref().expect("a Redis"))
}

/// A text and a binary subscriber of a pair.
async fn subscribers(host: &Host, channel: &Channel) -> io::Result<Vec<WebSocket>> {
    let text = host.subscribe(channel, Mode::Text).await?;
    Ok(vec![text, host.subscribe(channel, Mode::Binary).await?])
}

/// Which of these are online for us.
async fn online(host: &Host, channels: &[&Channel]) -> io::Result<Vec<bool>> {
    let ids: Vec<_> = channels.iter().map(|channel| channel.private.as_str()).collect();
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", ids.join("/"));
    let answer = http1::once(&host.internal(), Request::get(&target)).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(ids.iter().map(|id| answer.text().contains(id)).collect())
}

/// Posts a batch, which must be taken.
async fn post(endpoint: &Endpoint, target: &str, batch: Vec<u8>) -> TestResult {
    let answer = http1::once(endpoint, Request::post(target, batch)).await?;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    Ok(())
}

fn recorded_receivers(list: &Value) -> Vec<Receiver> {
    let bytes = |value: &Value| value.as_str().map(unhex).unwrap_or_default();
    let receiver = |entry: &Value| Receiver {
        id: bytes(&entry["id"]),
        is_private: entry["isPrivate"].as_bool().unwrap_or_default(),
        signature: bytes(&entry["signature"]),
    };
    list.as_array().expect("receivers").iter().map(receiver).collect()
}

#[tokio::test]
async fn the_played_process_is_the_recorded_one() -> TestResult {
    let folder = tempfile::tempdir()?;
    let redis = Redis::start(folder.path())?;
    let mut look = Connection::open(&socket(&redis)).await?;
    let recorded = replay::file("redis.json");
    let mut played = 0;
    for scenario in recorded["scenarios"].as_array().expect("scenarios") {
        let Some(published) = scenario["published"].get(0) else { continue };
        let message = &published["payload_decoded"]["fields"]["notifications"][0]["ipcMessages"]["messages"]
            [0];
        let outgoing = &message["outgoingMessage"];
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let number = |value: &Value| value.as_u64().expect("a number") as u32;
        let sender = outgoing["sender"]["id"].as_str().map(unhex).unwrap_or_default();
        let client = outgoing["sender"]["type"] == "CLIENT";
        let draft = Draft {
            receivers: recorded_receivers(&message["receivers"]),
            body: text(&outgoing["body"]),
            expiry: number(&outgoing["expiry"]),
            created: number(&outgoing["created"]),
            sender: Sender { r#type: if client { 1 } else { 2 }, id: sender },
        };
        let mid = text(&outgoing["id"]);
        let before = mid[10..].parse::<u64>()? - 1;
        look.command(&[b"SET", b"server:startdate", &mid.as_bytes()[..10]]).await?;
        look.command(&[b"SET", b"server:messagecounter", before.to_string().as_bytes()]).await?;

        let uid = text(&published["channel"]).replace("pushserver:", "");
        let mut neighbour = Neighbour::start(&socket(&redis), &uid).await?;
        let mut listener = Listener::start(&socket(&redis), "somebody").await?;
        let given = neighbour.publish(&draft).await?;
        assert_eq!(hex(&given), mid, "{}", scenario["id"]);
        assert_eq!(hex(&draft.announcement(&given)), text(&published["payload_hex"]));
        let announced = soon("the announcement", listener.next()).await?.remove(0);
        assert_eq!((announced.uid, hex(&announced.message.id)), (uid, mid));
        for key in scenario["keys"].as_array().expect("keys") {
            let name = unhex(&text(&key["key_hex"]));
            if name.starts_with(b"message:") {
                let value = look.command(&[b"GET", &name]).await?.bytes();
                assert_eq!(hex(&value), text(&key["value_hex"]), "{}", scenario["id"]);
            } else if key["type"] == "zset" {
                let members = look.command(&[b"ZRANGE", &name, b"0", b"-1"]).await?.list();
                assert_eq!(members.len(), 1, "{}", scenario["id"]);
            }
        }
        // What came before and behind it belongs to a connection, or to a reader.
        let commands = scenario["commands_in_order"].as_array().expect("commands");
        let names: Vec<_> = commands.iter().map(|command| text(&command[0])).collect();
        let begin = names.iter().position(|name| name == "incr").expect("an id is taken");
        assert_eq!(names[begin..][..neighbour.sent.len()], neighbour.sent, "{}", scenario["id"]);
        played += 1;
    }
    assert!(played >= 10, "{played} scenarios");
    Ok(())
}

#[tokio::test]
async fn what_it_publishes_reaches_our_subscribers() -> TestResult {
    let host = host(2, &[])?;
    let mut neighbour = Neighbour::start(&socket_of(&host), "2wzeqrlu").await?;
    let (channel, other) = (Channel::new(), Channel::new());
    let mut sockets = subscribers(&host, &channel).await?;
    // A subscriber of the private id alone has no part in what is for the public one.
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", channel.signed_private(&host.key));
    sockets.push(WebSocket::open(&host.public(), &target, Mode::Binary).await?);
    let again = format!("{}&mid={}", host.target(&channel), hex(&FIRST));
    let waiting = poll(&host.public(), again.replace("subws", "sub"));

    let pair = [private(&channel), public(&channel)];
    let signed = Receiver { signature: channel.public_signature(&host.key), ..public(&channel) };
    let client = Sender { r#type: 1, id: unhex(&other.public) };
    let drafts = [
        Draft::new(&[private(&channel)], "\"stored\"", 60),
        Draft::new(&pair, "\"to a pair\"", 60),
        Draft::new(&[public(&channel)], "\"to the public id\"", 60),
        Draft::new(&[private(&other), private(&channel)], "\"to two\"", 60),
        Draft::new(&[private(&channel)], "\"live only\"", 0),
        Draft { sender: client, ..Draft::new(&[signed], "\"of a client\"", 60) },
        Draft::new(&[private(&other)], "\"not for us\"", 60),
    ];
    let mut mids = Vec::new();
    for draft in &drafts {
        mids.push(hex(&neighbour.publish(draft).await?));
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        for (draft, mid) in drafts.iter().zip(&mids) {
            let for_it = |to: &Receiver| {
                *to == private(&channel) || number < 2 && to.id == unhex(&channel.public)
            };
            if draft.receivers.iter().any(for_it) {
                let message = soon("a message", socket.next()).await.expect("open");
                assert_eq!(
                    (&message.body, &message.mid),
                    (&draft.body, mid),
                    "subscriber {number}"
                );
            }
        }
    }
    let answer = soon("the poll", waiting).await??;
    // Live or from history, whichever comes first.
    assert_eq!(from_poll(&answer, Mode::Text)[0].body, drafts[0].body);
    assert_eq!(host.rest(&channel, &mut sockets).await?, vec![Vec::<String>::new(); 3]);

    // And whoever comes later gets what was stored, once.
    let bodies = |wanted: fn(&Draft) -> bool| -> Vec<String> {
        drafts[..6].iter().filter(|draft| wanted(draft)).map(|draft| draft.body.clone()).collect()
    };
    for mode in [Mode::Text, Mode::Binary] {
        let target = format!("{}&mid={}", host.target(&channel), hex(&FIRST));
        let mut late = WebSocket::open(&host.public(), &target, mode).await?;
        for body in bodies(|draft| draft.expiry > 0) {
            assert_eq!(late.body().await, body);
        }
        assert_eq!(late.body().await, END);
    }
    Ok(())
}

#[tokio::test]
async fn what_we_publish_reaches_its_subscribers() -> TestResult {
    let host = host(2, &[])?;
    let socket = socket_of(&host);
    let mut listener = Listener::start(&socket, "2wzeqrlu").await?;
    let mut reader = Neighbour::start(&socket, "2wzeqrlu").await?;
    let (channel, sender) = (Channel::new(), Channel::new());
    let signed = Receiver { signature: channel.public_signature(&host.key), ..public(&channel) };
    let batch = |receivers: Vec<Receiver>, body: &str, expiry| {
        let message = IncomingMessage { receivers, body: body.into(), expiry };
        prost::Message::encode_to_vec(&RequestBatch::publish(vec![message]))
    };

    // A text to a pair and a private id, kept; a text that is not kept; a batch; a client by rest; a
    // client by WebSocket.
    let text = format!("{}/{}", channel.signed_pair(&host.key), sender.private);
    assert_eq!(host.post(&[&text], "\"text\"", 60).await?.status, 200);
    assert_eq!(host.post(&[&channel.private], "\"live only\"", 0).await?.status, 200);
    let bin = batch(vec![public(&channel)], "\"batch\"", 60);
    post(&host.internal(), "/bitrix/pub/?binaryMode=true", bin).await?;
    let bin = batch(vec![signed.clone()], "\"rest\"", 60);
    post(&host.public(), &host.target(&sender).replace("subws", "rest"), bin).await?;
    let mut client = WebSocket::open(&host.public(), &host.target(&sender), Mode::Binary).await?;
    client.send(Frame::binary(batch(vec![signed.clone()], "\"websocket\"", 0))).await?;

    let backend = Sender { r#type: 2, id: Vec::new() };
    let by_client = Sender { r#type: 1, id: unhex(&sender.public) };
    let to_three = vec![private(&channel), public(&channel), private(&sender)];
    let expected = [
        (to_three, "\"text\"", 60, &backend),
        (vec![private(&channel)], "\"live only\"", 0, &backend),
        (vec![public(&channel)], "\"batch\"", 60, &backend),
        (vec![signed.clone()], "\"rest\"", 60, &by_client),
        (vec![signed], "\"websocket\"", 0, &by_client),
    ];
    let mut announced: Vec<OutgoingMessage> = Vec::new();
    for (receivers, body, expiry, sender) in expected {
        let messages = soon("an announcement", listener.next()).await?;
        let [message] = <[_; 1]>::try_from(messages).expect("one message each");
        assert_ne!(message.uid, "2wzeqrlu");
        assert_eq!(message.receivers, receivers, "{body}");
        let message = message.message;
        assert_eq!((message.body.as_str(), message.expiry), (body, expiry));
        assert_eq!(message.sender.as_ref(), Some(sender), "{body}");
        assert!(message.created.abs_diff(Draft::new(&[], "", 0).created) < 10, "{message:?}");
        announced.push(message);
    }
    assert!(announced.is_sorted_by(|a, b| a.id < b.id), "{announced:?}");

    // What it reads from the history is what was kept, in the same bytes.
    let kept: Vec<_> = announced.iter().filter(|message| message.expiry > 0).cloned().collect();
    let first = <Mid>::try_from(&*kept[0].id).expect("13 bytes");
    let pair = [private(&channel), public(&channel)];
    // The first is listed under both ids, and 0.4.0 sends it twice (D14).
    let mut read = reader.history(&pair, &FIRST).await?;
    read.dedup();
    assert_eq!(read, kept);
    let mut read = reader.history(&pair, &first).await?;
    read.dedup();
    assert_eq!(read, kept[1..]);
    Ok(())
}

#[tokio::test]
async fn online_marks_agree() -> TestResult {
    let host = host(2, &[("BX_PUSH_ONLINE_GRACE", "1")])?;
    let mut neighbour = Neighbour::start(&socket_of(&host), "2wzeqrlu").await?;

    // One of its connections is online for us.
    let (theirs, nobodys) = (Channel::new(), Channel::new());
    neighbour.mark_online(&[private(&theirs), public(&theirs)]).await?;
    assert_eq!(online(&host, &[&theirs, &nobodys]).await?, [true, false]);

    // One of ours is online for it, by all its ids; soon after its end no more.
    let (ours, second) = (Channel::new(), Channel::new());
    let ids = [private(&ours), public(&ours), private(&second), public(&second)];
    let target = format!("{}/{}", host.target(&ours), second.signed_pair(&host.key));
    let socket = WebSocket::open(&host.public(), &target, Mode::Binary).await?;
    until_marks(&mut neighbour, &ids, true).await?;
    drop(socket);
    until_marks(&mut neighbour, &ids, false).await?;
    assert_eq!(online(&host, &[&ours, &second, &theirs]).await?, [false, false, true]);
    Ok(())
}

/// Waits until the neighbour takes these channels for online, or for offline.
async fn until_marks(neighbour: &mut Neighbour, ids: &[Receiver], online: bool) -> TestResult {
    soon("the marks", async {
        while neighbour.online(ids).await? != vec![online; ids.len()] {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_of_its_own_keeps_a_channel_online() -> TestResult {
    let host = host(1, &[("BX_PUSH_ONLINE_GRACE", "1")])?;
    let mut neighbour = Neighbour::start(&socket_of(&host), "2wzeqrlu").await?;
    // A user has a page by the old server and one by ours, which he closes.
    let (channel, witness) = (Channel::new(), Channel::new());
    let ids = [private(&channel), public(&channel)];
    let target = format!("{}/{}", host.target(&channel), witness.signed_pair(&host.key));
    let socket = WebSocket::open(&host.public(), &target, Mode::Text).await?;
    until_marks(&mut neighbour, &ids, true).await?;
    // In one of a hundred cases its mark could be taken for one of ours.
    while !(50..900).contains(&SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_millis()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    neighbour.mark_online(&ids).await?;
    drop(socket);
    until_marks(&mut neighbour, &[private(&witness), public(&witness)], false).await?;
    assert_eq!(neighbour.online(&ids).await?, [true, true]);
    assert_eq!(online(&host, &[&channel]).await?, [true]);
    Ok(())
}
