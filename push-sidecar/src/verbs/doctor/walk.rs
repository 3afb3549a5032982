//! The way of a message: published inside, received outside.

use std::cell::Cell;
use std::time::{Duration, Instant};

use push_protocol::hex;

use super::Ground;
use crate::surroundings::random_bits;
use crate::verbs::client::dial::{Dialler, Failure};
use crate::verbs::client::http::{Answer, Ask};
use crate::verbs::client::messages;
use crate::verbs::client::nonsense::{self, Asked};
use crate::verbs::client::websocket::{Event, Refused, WebSocket};
use crate::verbs::findings::Findings;
use crate::verbs::keys;
use crate::verbs::publish::Receivers;
use crate::verbs::sites::Site;

/// How long anything may take that takes milliseconds when all is well.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a publication may take: without a daemon workers wait for it, and then answer 503.
const PUBLICATION: Duration = Duration::from_secs(15);
/// After how long a handshake without an answer is taken for a poll that waits.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// From publishing to receiving: more is held back by something.
const LATE: Duration = Duration::from_secs(1);
/// Clocks further apart are told.
const CLOCK: i64 = 2;

/// A channel that nobody else has.
pub struct Channel {
    /// Its private id, 32 digits.
    pub private: String,
    /// `private:public`, signed.
    pub signed: String,
}

impl Channel {
    /// A fresh one; `None`: there is no key to sign with.
    pub fn new(ground: &Ground) -> Option<Self> {
        let id = || {
            let bits = (u128::from(random_bits()) << 64) | u128::from(random_bits());
            hex::encode(&bits.to_be_bytes())
        };
        let private = id();
        let signed = keys::signed(&format!("{private}:{}", id()), ground.signer.as_ref()?).ok()?;
        Some(Self { private, signed })
    }
}

/// Publishes to the private id of a channel.
pub async fn post(ground: &Ground, channel: &str, body: &str) -> Result<Answer, Failure> {
    let receivers = Receivers::listed(vec![channel.to_owned()]);
    let dialler = Dialler { patience: PATIENCE, ..Dialler::default() };
    receivers.publish(&dialler, &ground.internal, body.to_owned(), 0, PUBLICATION).await
}

/// What the internal address says of channels.
pub async fn online(ground: &Ground, channel: &str) -> Result<Answer, Failure> {
    let target = format!("{}?CHANNEL_ID={channel}", ground.internal.path());
    Ask::get(&ground.internal, target, PATIENCE).ask(&Dialler::default()).await
}

/// Whether an answer is that of a location with `bx_push pub` to a question for statistics.
pub fn is_statistics(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.starts_with(b"{\"infos\":")
}

/// Publishes to a channel without subscribers; whether it was taken.
pub async fn publish(ground: &Ground, told: &mut Findings) -> bool {
    const PART: &str = "publish";
    let tried = ground.internal.to_string();
    match post(ground, &"0".repeat(32), "\"doctor\"").await {
        Ok(answer) if answer.status == 200 => {
            told.ok(PART, tried, format!("taken in {} ms", answer.took.as_millis()));
            clock("clock", ground.internal.as_str(), &answer, told);
            true
        }
        Ok(answer) => {
            let remedy = nonsense::remedy(Asked::Publish, ground.internal.path(), &answer);
            told.error(PART, tried, nonsense::shown(&answer), remedy);
            false
        }
        Err(failure) => {
            told.error(PART, tried, failure.to_string(), failure.remedy());
            false
        }
    }
}

/// Compares clocks by the answer's date.
fn clock(part: &str, tried: &str, answer: &Answer, told: &mut Findings) {
    let Ok(date) = chrono::DateTime::parse_from_rfc2822(answer.header("date")) else {
        return told.skipped(part, tried, "the answer has no date");
    };
    let off = (chrono::Utc::now().timestamp() - date.timestamp()).abs();
    if off > CLOCK {
        told.warning(
            part,
            tried,
            format!("its clock is {off} s from the one here"),
            "messages would end too early or too late; on both machines:\ntimedatectl set-ntp true",
        );
    } else {
        told.ok(part, tried, format!("within {CLOCK} s of the one here"));
    }
}

/// Dials a site, and looks at its certificate. Who may dial it further, if anybody can.
pub async fn certificate(site: &Site, told: &mut Findings) -> Option<Dialler> {
    const PART: &str = "connection";
    let dialler = Dialler { connect: site.connect, patience: PATIENCE, trusting: false };
    let tried = site.url.to_string();
    let secure = site.url.scheme() == "https";
    match dialler.dial(&site.url).await {
        Ok(_) => {
            told.ok(
                PART,
                tried,
                if secure { "TLS, with a certificate that browsers trust" } else { "open" },
            );
            Some(dialler)
        }
        Err(failure @ Failure::Certificate(_)) => {
            if site.named {
                told.error("certificate", tried, failure.to_string(), failure.remedy());
            } else {
                told.skipped(
                    "certificate",
                    tried,
                    "the server block has no server_name; give --public https://portal.example/",
                );
            }
            // What else is wrong is worth to know.
            Some(Dialler { trusting: true, ..dialler })
        }
        Err(failure) => {
            told.error(PART, tried, failure.to_string(), failure.remedy());
            None
        }
    }
}

/// How a message came, or did not.
enum Came {
    After(Duration),
    /// What happened instead, and the remedy.
    Not(String, String),
}

fn tell(part: &str, tried: String, came: Came, told: &mut Findings) {
    match came {
        Came::After(time) if time > LATE => told.warning(
            part,
            tried,
            format!("the message came {} ms after it was published", time.as_millis()),
            "something in between holds it back; in the location of a proxy in front:\nproxy_buffering off;",
        ),
        Came::After(time) => {
            let ms = time.as_secs_f64() * 1e3;
            told.ok(part, tried, format!("the message came {ms:.1} ms after it was published"));
        }
        Came::Not(found, remedy) => told.error(part, tried, found, remedy),
    }
}

/// Subscribes by WebSocket, publishes, and waits for the message.
pub async fn websocket(ground: &Ground, site: &Site, dialler: &Dialler, told: &mut Findings) {
    const PART: &str = "WebSocket";
    let tried =
        site.url.join(&site.websocket).map_or_else(|_| site.url.to_string(), |url| url.to_string());
    let Some(channel) = Channel::new(ground) else {
        return told.skipped(PART, tried, "without a key nothing can be signed");
    };
    let target = format!("{}?CHANNEL_ID={}", site.websocket, channel.signed);
    let opening = WebSocket::open(dialler, &site.url, &target, PATIENCE);
    tokio::pin!(opening);
    let opened = tokio::select! {
        opened = &mut opening => opened,
        () = tokio::time::sleep(HANDSHAKE) => {
            // A poll is answered by the message; a handshake that only takes long is not.
            let _ = post(ground, &channel.private, "\"doctor\"").await;
            opening.await
        }
    };
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(Refused::Failure(failure)) => {
            return told.error(PART, tried, failure.to_string(), failure.remedy());
        }
        Err(Refused::Answer(answer)) => {
            let found = match messages::text(&String::from_utf8_lossy(&answer.body)) {
                Some(_) => "answered as a long poll, with 200 instead of 101".into(),
                None => nonsense::shown(&answer),
            };
            let remedy = nonsense::remedy(Asked::WebSocket, &site.websocket, &answer);
            return told.error(PART, tried, found, remedy);
        }
    };
    if !ground.publishes {
        return told.skipped(
            PART,
            tried,
            "opened; whether messages come is not known, as nothing can be published",
        );
    }
    let came = received(ground, &channel, &mut socket).await;
    socket.close().await;
    tell(PART, tried, came, told);
}

/// Publishes to a channel, and waits until it comes by an open WebSocket.
async fn received(ground: &Ground, channel: &Channel, socket: &mut WebSocket) -> Came {
    let start = Instant::now();
    let waiting = async {
        loop {
            match socket.next().await {
                Event::Messages(_) => return Came::After(start.elapsed()),
                Event::Ping => {}
                Event::Odd(what) => {
                    return Came::Not(
                        format!("no message, but {what}"),
                        "is this the address of the push server?".into(),
                    );
                }
                Event::Closed { code, reason } => {
                    let found = format!("opened and {}", nonsense::closed(code, &reason));
                    return Came::Not(found, nonsense::close_remedy(code).into());
                }
            }
        }
    };
    let (answer, came) = tokio::join!(
        post(ground, &channel.private, "\"doctor\""),
        tokio::time::timeout(PATIENCE, waiting)
    );
    came.unwrap_or_else(|_| lost(&answer))
}

fn lost(answer: &Result<Answer, Failure>) -> Came {
    match answer {
        Ok(answer) if answer.status == 200 => Came::Not(
            format!("the message was taken, and did not come within {} s", PATIENCE.as_secs()),
            "do both addresses lead to hosts with the same Redis? push-sidecar health on each tells".into(),
        ),
        Ok(answer) => Came::Not(nonsense::shown(answer), "see \"publish\"".into()),
        Err(failure) => Came::Not(failure.to_string(), failure.remedy()),
    }
}

/// Waits for a channel to be subscribed, as the internal address knows it.
pub async fn until_online(ground: &Ground, channel: &Channel) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let answer = online(ground, &channel.private).await;
        let found = answer
            .is_ok_and(|answer| String::from_utf8_lossy(&answer.body).contains(&channel.private));
        if found {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Polls, publishes, and waits for the message.
pub async fn poll(ground: &Ground, site: &Site, dialler: &Dialler, told: &mut Findings) {
    const PART: &str = "long poll";
    let tried =
        site.url.join(&site.poll).map_or_else(|_| site.url.to_string(), |url| url.to_string());
    let Some(channel) = Channel::new(ground) else {
        return told.skipped(PART, tried, "without a key nothing can be signed");
    };
    if !ground.publishes {
        return told.skipped(PART, tried, "nothing can be published, so nothing would come");
    }
    let target = format!("{}?CHANNEL_ID={}", site.poll, channel.signed);
    let polling = Ask::get(&site.url, target, 3 * PATIENCE).ask(dialler);
    let start = Cell::new(None);
    let publishing = async {
        // If it never is, the poll was answered, or tells by its silence.
        until_online(ground, &channel).await;
        start.set(Some(Instant::now()));
        post(ground, &channel.private, "\"doctor\"").await
    };
    tokio::pin!(polling, publishing);
    let (published, answer) = tokio::select! {
        answer = &mut polling => (None, answer),
        published = &mut publishing => {
            let waiting = tokio::time::timeout(PATIENCE, polling).await;
            let answer = waiting.unwrap_or(Err(Failure::Silent { what: "answer", patience: PATIENCE }));
            (Some(published), answer)
        }
    };
    let came = match answer {
        Ok(answer)
            if answer.status == 200
                && messages::text(&String::from_utf8_lossy(&answer.body)).is_some() =>
        {
            clock("clock", site.url.as_str(), &answer, told);
            Came::After(start.get().map_or(Duration::ZERO, |start| start.elapsed()))
        }
        Ok(answer) => {
            Came::Not(nonsense::shown(&answer), nonsense::remedy(Asked::Poll, &site.poll, &answer))
        }
        Err(Failure::Silent { .. }) => {
            published.as_ref().map_or_else(|| Came::Not("no answer".into(), String::new()), lost)
        }
        Err(failure) => Came::Not(failure.to_string(), failure.remedy()),
    };
    tell(PART, tried, came, told);
}
