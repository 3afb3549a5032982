//! What a proxy in front may do to requests that are longer, quieter or more trusted than others.

use std::time::{Duration, Instant};

use super::Ground;
use super::walk::{self, Channel, PATIENCE};
use crate::verbs::client::dial::{Dialler, Failure};
use crate::verbs::client::http::{Answer, Ask};
use crate::verbs::client::nonsense::{self, Asked};
use crate::verbs::client::websocket::{Event, WebSocket};
use crate::verbs::findings::Findings;
use crate::verbs::sites::Site;

/// Channels of a long list: what nginx-conf/ has room for.
const MANY: usize = 100;
/// Channels of a list that no user goes without.
const SOME: usize = 20;

/// Polls with lists of channels: of many, whose request line has more than 10 KiB, and if that does
/// not pass of some.
pub async fn long_list(ground: &Ground, site: &Site, dialler: &Dialler, told: &mut Findings) {
    const PART: &str = "long request line";
    let tried = |count| format!("{count} channels at {}{}", site.url, &site.poll[1..]);
    if ground.signer.is_none() || !ground.publishes {
        return told.skipped(
            PART,
            tried(MANY),
            "needs a key, and an internal address that answers",
        );
    }
    let (found, remedy) = match passes(ground, site, dialler, MANY).await {
        Ok(bytes) => return told.ok(PART, tried(MANY), format!("{bytes} bytes pass")),
        Err(problem) => problem,
    };
    match passes(ground, site, dialler, SOME).await {
        Ok(_) => told.warning(PART, tried(MANY), format!("{found}; {SOME} pass"), remedy),
        Err((found, remedy)) => told.error(PART, tried(SOME), found, remedy),
    }
}

/// Bytes of the request, or what came instead and the remedy.
async fn passes(
    ground: &Ground,
    site: &Site,
    dialler: &Dialler,
    count: usize,
) -> Result<usize, (String, String)> {
    let channels: Vec<Channel> = (0..count).map_while(|_| Channel::new(ground)).collect();
    let Some(first) = channels.first() else {
        return Err(("no key".into(), String::new()));
    };
    let list: Vec<&str> = channels.iter().map(|channel| &channel.signed[..]).collect();
    let target = format!("{}?CHANNEL_ID={}", site.poll, list.join("/"));
    let bytes = target.len();
    let polling = Ask::get(&site.url, target, 2 * PATIENCE).ask(dialler);
    tokio::select! {
        answer = polling => Err(match answer {
            Ok(answer) => {
                (nonsense::shown(&answer), nonsense::remedy(Asked::Poll, &site.poll, &answer))
            }
            // Some hang up in the middle of a request that is too long.
            Err(failure) => {
                let lines = nonsense::HEADER_LINES;
                let remedy = format!("in the http block, and on any proxy in front, add:\n{lines}");
                (failure.to_string(), remedy)
            }
        }),
        online = walk::until_online(ground, first) => if online {
            Ok(bytes)
        } else {
            let remedy = "see nginx's error log, there and on any proxy in front";
            Err(("neither refused nor subscribed".into(), remedy.into()))
        },
    }
}

/// Asks the public address for what only the portal may ask.
pub async fn trusted_paths(ground: &Ground, site: &Site, dialler: &Dialler, told: &mut Findings) {
    const PART: &str = "trusted paths";
    let publishing = ground.internal.path();
    let mut open = false;
    for (path, target) in [
        (publishing, format!("{publishing}?CHANNEL_ID={}", "0".repeat(32))),
        ("/server-stat/", "/server-stat/".to_owned()),
    ] {
        let answer = Ask::get(&site.url, target, PATIENCE).ask(dialler).await;
        let Ok(answer) = answer else { continue };
        let statistics = answer.status == 200 && contains(&answer, "\"processUniqueId\"");
        if walk::is_statistics(&answer) || statistics {
            open = true;
            told.error(
                PART,
                format!("{path} at {}", site.url),
                "answers: whoever reaches it may publish to everybody, or sees who is online",
                format!("take the location out of the public server block; on a proxy in front:\nlocation {path} {{ return 404; }}"),
            );
        }
    }
    if !open {
        told.ok(
            PART,
            format!("{publishing} and /server-stat/ at {}", site.url),
            "do not answer there",
        );
    }
}

fn contains(answer: &Answer, text: &str) -> bool {
    String::from_utf8_lossy(&answer.body).contains(text)
}

/// Keeps a WebSocket and a long poll quiet for so long.
pub async fn idle(
    ground: &Ground,
    site: &Site,
    dialler: &Dialler,
    seconds: u32,
    told: &mut Findings,
) {
    let time = Duration::from_secs(seconds.into());
    let [first, second] = [Channel::new(ground), Channel::new(ground)];
    let (Some(first), Some(second)) = (first, second) else {
        return told.skipped("idle", site.url.as_str(), "without a key nothing can be signed");
    };
    let (websocket, poll) = tokio::join!(
        quiet_websocket(site, dialler, &first, time),
        quiet_poll(site, dialler, &second, time)
    );
    for (part, path, came) in
        [("idle WebSocket", &site.websocket, websocket), ("idle long poll", &site.poll, poll)]
    {
        let tried = format!("{}{}, quiet for {seconds} s", site.url, &path[1..]);
        match came {
            Ok(found) => told.ok(part, tried, found),
            Err(found) => told.error(
                part,
                tried,
                found,
                format!(
                    "in the location for {path} of the proxy in front add:\n{}",
                    nonsense::TIMEOUT_LINES
                ),
            ),
        }
    }
}

async fn quiet_websocket(
    site: &Site,
    dialler: &Dialler,
    channel: &Channel,
    time: Duration,
) -> Result<String, String> {
    let target = format!("{}?CHANNEL_ID={}", site.websocket, channel.signed);
    let mut socket = WebSocket::open(dialler, &site.url, &target, PATIENCE)
        .await
        .map_err(|_| "does not open, see \"WebSocket\"".to_owned())?;
    let start = Instant::now();
    let mut pings = 0;
    let waiting = async {
        loop {
            match socket.next().await {
                Event::Ping => pings += 1,
                Event::Closed { code, .. } => return code,
                Event::Messages(_) | Event::Odd(_) => {}
            }
        }
    };
    if let Ok(code) = tokio::time::timeout(time, waiting).await {
        return Err(format!("cut after {} s ({code})", seconds(start.elapsed())));
    }
    socket.close().await;
    Ok(format!("still open, {pings} pings of the server came"))
}

async fn quiet_poll(
    site: &Site,
    dialler: &Dialler,
    channel: &Channel,
    time: Duration,
) -> Result<String, String> {
    let target = format!("{}?CHANNEL_ID={}", site.poll, channel.signed);
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let start = Instant::now();
        match Ask::get(&site.url, &target[..], left).ask(dialler).await {
            Ok(answer) if answer.status == 304 => {}
            Ok(answer) => {
                return Err(format!(
                    "{} after {} s",
                    nonsense::shown(&answer),
                    seconds(start.elapsed())
                ));
            }
            Err(Failure::Silent { what: "answer", .. }) => {
                return Ok("waits, or ended with 304 as it should".into());
            }
            Err(failure) => return Err(format!("{failure} after {} s", seconds(start.elapsed()))),
        }
    }
}

/// To the nearest: a proxy's time began a moment before ours.
fn seconds(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs()
}
