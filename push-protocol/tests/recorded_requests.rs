//! What of `http.json` and `websocket.json` can be told of requests without a socket: every channel
//! list, body, client frame and upgrade in them goes through this crate's functions.

mod common;

use std::collections::HashMap;

use common::{body, list, stats_of, steps, text, unbase64, vectors, verifier};
use push_protocol::channels::ChannelList;
use push_protocol::frame::{Decoder, Event};
use push_protocol::handshake;
use push_protocol::query::Query;
use push_protocol::request::{self, Command, Limits};
use push_protocol::signature::{Algorithm, Verifier};
use push_protocol::{ApiError, ChannelKey, hex};
use serde_json::Value;

const NOW: u32 = 1_795_408_161;

/// How a server is set up.
struct Server {
    verifier: Verifier,
    limits: Limits,
}

fn server(vectors: &Value, name: &str) -> Server {
    let settings = &vectors["servers"][name];
    let algorithm = settings["algorithm"].as_str().map_or(Algorithm::Sha1, |a| a.parse().unwrap());
    let defaults = Limits::default();
    let limit = |value: &Value, default| value.as_u64().unwrap_or(default);
    let limits = &settings["limits"];
    Server {
        verifier: verifier(algorithm, text(&vectors["security_key"])),
        limits: Limits {
            max_messages: limit(&limits["maxMessagesPerRequest"], defaults.max_messages as u64)
                as usize,
            max_channels: limit(&limits["maxChannelsPerRequest"], defaults.max_channels as u64)
                as usize,
            message_ttl: limit(&settings["storage"]["messageTTL"], 86_400) as u32,
        },
    }
}

/// A target's query, behind its first `?`.
fn args(target: &str) -> &[u8] {
    target.split_once('?').map_or("", |(_, args)| args).as_bytes()
}

/// The route of a target: the last folder of its path.
fn route(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    ["/pub/", "/rest/", "/sub/", "/subws/"]
        .into_iter()
        .find(|route| path.strip_prefix("/bitrix").unwrap_or(path).starts_with(route))
        .unwrap_or_default()
}

fn subscriber(query: &Query<'_>, server: &Server) -> Option<ChannelList> {
    ChannelList::for_subscriber(query.channel_id.as_deref()?, &server.verifier)
}

fn backend(query: &Query<'_>, server: &Server) -> Option<ChannelList> {
    ChannelList::for_backend(query.channel_id.as_deref()?, &server.verifier)
}

/// Every POST on pub and rest.
#[test]
fn posts_are_answered_as_recorded() {
    let (mut texts, mut carried_out, mut refused) = (0, 0, 0);
    for file in ["http.json", "websocket.json"] {
        let vectors = vectors(file);
        for (case, step, name) in steps(&vectors) {
            let (request, expect) = (&step["request"], &step["expect"]);
            let target = request["target"].as_str().unwrap_or_default();
            let status = expect["status"].as_u64();
            let ours = matches!(route(target), "/pub/" | "/rest/");
            // 404: no such path there; 413: before anything is read.
            if request["method"] != "POST" || !ours || matches!(status, Some(404 | 413)) {
                continue;
            }
            let (server, query) = (server(&vectors, name), Query::parse(args(target)));
            let (body, id) = (body(request, "body"), &case["id"]);
            let answer = if route(target) == "/rest/" {
                let public_id = subscriber(&query, &server).and_then(|list| list.public_id());
                request::client(&body, &server.limits, &server.verifier, public_id, NOW)
            } else if query.binary {
                request::trusted(&body, &server.limits, NOW)
            } else {
                assert_eq!((status, text(&expect["body"]["utf8"])), (Some(200), ""), "{id}");
                texts += 1;
                continue;
            };
            match answer {
                Err(error) => {
                    assert_eq!(status, Some(u64::from(error.http_status())), "{id}");
                    assert_eq!(text(&expect["body"]["utf8"]), error.to_string(), "{id}");
                    refused += 1;
                }
                Ok(Command::Publish(_)) => {
                    assert_eq!((status, text(&expect["body"]["utf8"])), (Some(200), ""), "{id}");
                    carried_out += 1;
                }
                Ok(Command::ChannelStats(keys)) => {
                    let answered = &expect["body"]["decoded"]["responses"][0]["channelStats"];
                    let answered = list(&answered["channels"]).iter();
                    let answered: Vec<_> = answered.map(|c| text(&c["id"]).to_owned()).collect();
                    let asked: Vec<_> = keys.iter().map(|key| hex::encode(&key.id)).collect();
                    assert_eq!(answered, asked, "{id}");
                    carried_out += 1;
                }
                Ok(Command::ServerStats) => {
                    let answered = &expect["body"]["decoded"]["responses"][0]["serverStats"];
                    assert_eq!(answered["json"], "{{server_stats_json}}", "{id}");
                    carried_out += 1;
                }
            }
        }
    }
    assert_eq!((texts, carried_out, refused), (94, 26, 24));
}

/// Every GET on pub: statistics, in text and in binary.
#[test]
fn statistics_are_asked_and_answered_as_recorded() {
    let vectors = vectors("http.json");
    let (mut answered, mut refused) = (0, 0);
    for (case, step, name) in steps(&vectors) {
        let (request, expect) = (&step["request"], &step["expect"]);
        let target = request["target"].as_str().unwrap_or_default();
        if request["method"] != "GET"
            || route(target) != "/pub/"
            || matches!(expect["status"].as_u64(), Some(404 | 431))
        {
            continue;
        }
        // A process that also serves sub refuses an upgrade here before it looks at the query.
        if expect["headers"]["content-type"] == "text/html" {
            continue;
        }
        let (server, query) = (server(&vectors, name), Query::parse(args(target)));
        let (body, id) = (&expect["body"], &case["id"]);
        let list = backend(&query, &server);
        match request::channel_stats(list.as_ref(), &server.limits) {
            Err(error) => {
                assert_eq!(text(&body["utf8"]), error.to_string(), "{id}");
                refused += 1;
            }
            Ok(keys) if query.binary => {
                let wire = unbase64(text(&body["recorded_base64"]));
                let online = stats_of(&wire);
                assert_eq!(online.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys, "{id}");
                assert_eq!(request::channel_stats_batch(&online), wire, "{id}");
                answered += 1;
            }
            Ok(keys) => {
                let recorded = text(&body["utf8"]);
                let online = |key: &ChannelKey| recorded.contains(&hex::encode(&key.id));
                let asked: Vec<_> = keys.iter().map(|key| (*key, online(key))).collect();
                assert_eq!(request::channel_stats_json(&asked), recorded, "{id}");
                answered += 1;
            }
        }
    }
    assert_eq!((answered, refused), (9, 4));
}

/// Every long poll and every WebSocket: a void list is told by 4010, and by nothing else.
#[test]
fn void_lists_are_those_answered_with_4010() {
    let wrong = ApiError::WrongChannelId;
    let (mut accepted, mut void) = (0, 0);
    let mut count = |id: &Value, list: Option<ChannelList>, refused: bool| {
        assert_eq!(list.is_none(), refused, "{id}");
        *(if refused { &mut void } else { &mut accepted }) += 1;
    };
    for file in ["http.json", "websocket.json"] {
        let vectors = vectors(file);
        let closes = steps(&vectors)
            .filter(|(_, step, _)| step["op"] == "ws_closed" && step["expect"]["code"] == 4010)
            .map(|(case, step, _)| {
                assert_eq!(step["expect"]["reason"], wrong.to_string());
                (text(&case["id"]).to_owned(), text(&step["conn"]).to_owned())
            })
            .collect::<Vec<_>>();
        let waits: HashMap<_, _> = steps(&vectors)
            .filter(|(_, step, _)| step["op"] == "http_wait")
            .map(|(case, step, _)| ((text(&case["id"]), text(&step["name"])), &step["expect"]))
            .collect();
        for (case, step, name) in steps(&vectors) {
            let id = text(&case["id"]);
            let (target, refused) = match text(&step["op"]) {
                "ws_open" if step["expect"]["upgraded"] == true => {
                    let conn = text(&step["conn"]);
                    let closed = closes.iter().any(|(case, c)| case == id && c == conn);
                    (&step["target"], closed)
                }
                op @ ("http" | "http_start") if step["request"]["method"] == "GET" => {
                    let expect = match op {
                        "http" => &step["expect"],
                        _ => waits[&(id, text(&step["name"]))],
                    };
                    let upgrade = step["request"]["headers"]["Upgrade"].is_string();
                    if upgrade || expect["status"] == 404 || expect["status"] == 431 {
                        continue;
                    }
                    let refused = expect["body"]["utf8"] == wrong.to_string();
                    (&step["request"]["target"], refused)
                }
                _ => continue,
            };
            if matches!(route(text(target)), "/sub/" | "/subws/") {
                let query = Query::parse(args(text(target)));
                count(&case["id"], subscriber(&query, &server(&vectors, name)), refused);
            }
        }
    }
    assert_eq!((accepted, void), (159, 12));
}

/// A message as a client sends it: masked, cut into `fragments` frames.
fn client_frames(opcode: u8, data: &[u8], fragments: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let size = data.len().div_ceil(fragments).max(1);
    let count = data.len().div_ceil(size).max(1);
    for i in 0..count {
        let piece = &data[i * size..data.len().min((i + 1) * size)];
        let fin = if i + 1 == count { 0x80 } else { 0 };
        out.push(fin | if i == 0 { opcode } else { 0 });
        match piece.len() {
            len @ ..126 => out.push(0x80 | len as u8),
            len => {
                out.push(0xfe);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        let mask = [0x5a, 0xc3, 0x0f, i as u8];
        out.extend_from_slice(&mask);
        out.extend(piece.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    out
}

/// Every client frame: through the codec, and in binary mode through the request's reader.
#[test]
fn client_frames_are_answered_as_recorded() {
    let vectors = vectors("websocket.json");
    let (mut carried_out, mut ignored, mut refused, mut cut) = (0, 0, 0, 0);
    let mut open: HashMap<(&str, &str), &str> = HashMap::new();
    for (case, step, name) in steps(&vectors) {
        let (id, conn) = (text(&case["id"]), step["conn"].as_str().unwrap_or_default());
        let frames = match text(&step["op"]) {
            "ws_open" => {
                open.insert((id, conn), text(&step["target"]));
                continue;
            }
            "ws_send" => {
                let opcode = if step["opcode"] == "text" { 1 } else { 2 };
                let fragments = step["fragments"].as_u64().unwrap_or(1) as usize;
                client_frames(opcode, &body(step, "data"), fragments)
            }
            "ws_send_raw" => body(step, "data"),
            _ => continue,
        };
        let server = server(&vectors, name);
        let max_payload = vectors["servers"][name]["limits"]["maxPayload"].as_u64();
        let max_payload = max_payload.unwrap_or(1_048_576) as usize;
        let closed = list(&case["steps"])
            .iter()
            .filter(|step| step["op"] == "ws_closed" && step["conn"] == conn)
            .map(|step| (step["expect"]["code"].as_u64().unwrap(), text(&step["expect"]["reason"])))
            .find(|(code, _)| *code != 1000);

        let mut messages = Vec::new();
        let mut on = |event| {
            match event {
                Event::Message { data, .. } => messages.push(data),
                other => panic!("{id}: {other:?}"),
            }
            true
        };
        if let Err(error) = Decoder::new().feed(&frames, max_payload, &mut on) {
            assert_eq!(closed, Some((u64::from(error.close_code()), "")), "{id}");
            cut += 1;
            continue;
        }
        assert_eq!(messages.len(), 1, "{id}");
        let query = Query::parse(args(open[&(id, conn)]));
        if !query.binary {
            assert_eq!(closed, None, "{id}");
            ignored += 1;
            continue;
        }
        let public_id = subscriber(&query, &server).and_then(|list| list.public_id());
        let (message, limits) = (&messages[0], &server.limits);
        match request::client(message, limits, &server.verifier, public_id, NOW) {
            Ok(_) => {
                assert_eq!(closed, None, "{id}");
                carried_out += 1;
            }
            Err(error) => {
                let reason = error.to_string();
                assert_eq!(closed, Some((u64::from(error.code()), reason.as_str())), "{id}");
                refused += 1;
            }
        }
    }
    assert_eq!((carried_out, ignored, refused, cut), (12, 2, 14, 3));
}

/// Every refused upgrade on a path that could be upgraded.
#[test]
fn upgrades_are_refused_as_recorded() {
    let vectors = vectors("http.json");
    let mut count = 0;
    for (case, step, _) in steps(&vectors) {
        let headers = &step["request"]["headers"];
        let Some(upgrade) = headers["Upgrade"].as_str() else {
            continue;
        };
        let expect = &step["expect"];
        if expect["headers"]["content-type"] != "text/html" {
            continue;
        }
        let header = |name: &str| headers[name].as_str().map(str::as_bytes);
        let path = text(&step["request"]["target"]).split('?').next();
        let (key, version) = (header("Sec-WebSocket-Key"), header("Sec-WebSocket-Version"));
        let refusal = match handshake::accept(upgrade.as_bytes(), key, version) {
            _ if path != Some("/sub/") => handshake::Refusal::Path,
            Err(refusal) => refusal,
            Ok(_) => panic!("{}", case["id"]),
        };
        assert_eq!(expect["status"], refusal.status(), "{}", case["id"]);
        assert_eq!(text(&expect["body"]["utf8"]), refusal.body(), "{}", case["id"]);
        count += 1;
    }
    assert_eq!(count, 6);
}
