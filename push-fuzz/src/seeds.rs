//! Where fuzzing starts: inputs made from what was recorded (`tests/vectors`) and from the sample
//! configuration, so that a fuzzer need not find out by chance what a channel list looks like.
//!
//! They are kept in `fuzz/seeds`; `cargo run -p push-fuzz -- seeds` writes them anew, and a test
//! fails when those that come of the vectors are not what the vectors give.

mod stories;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use push_link::{PublishItem, PublishStatus, ToSidecar, ToWorker, Versions};
use push_protocol::outgoing::OutgoingView;
use push_protocol::proto::{RequestBatch, request::Command};
use push_protocol::query::form_decode;
use push_protocol::{ChannelKey, Mid, hex};
use serde_json::Value;

use crate::input::put_piece;
use crate::keys;
use crate::targets::frame::masked;

/// Seeds of one target at most: a start needs variety, not numbers.
const MAX_SEEDS: usize = 48;

/// Bytes of a seed at most.
const MAX_BYTES: usize = 4096;

/// The files of `tests/vectors`, the sample of the sidecar's configuration and that of a portal.
#[derive(Debug)]
pub struct Sources {
    /// The files' values.
    pub vectors: Vec<Value>,
    /// `nginx-conf/push-sidecar.toml`
    pub configuration: String,
    /// A portal's `.settings.php`
    pub portal: String,
}

/// The seeds of each target, by target and name.
pub fn all(sources: &Sources) -> BTreeMap<&'static str, BTreeMap<String, Vec<u8>>> {
    let found = Found::in_all(&sources.vectors);
    let of = |target: &'static str, inputs: Vec<Vec<u8>>| {
        let mut seen = BTreeSet::new();
        let fresh = inputs.into_iter().filter(|i| i.len() <= MAX_BYTES && seen.insert(i.clone()));
        // Few enough, and from everywhere in the files.
        let fresh: Vec<Vec<u8>> = fresh.collect();
        let step = fresh.len().div_ceil(MAX_SEEDS).max(1);
        let named = fresh.into_iter().step_by(step).enumerate();
        (target, named.map(|(n, input)| (format!("{n:02}"), input)).collect())
    };
    BTreeMap::from([
        of("query", found.queries.clone()),
        of("channels", channels(&found)),
        of("request", requests(&found)),
        of("outgoing", found.messages.iter().chain(&found.announcements).cloned().collect()),
        of("frame", frames(&found)),
        of("session", stories::all(&found)),
        of("link", links(&found)),
        of("envelope", envelopes(&found)),
        of("config", configurations(&sources.configuration)),
        of("portal", portals(&sources.portal)),
    ])
}

/// What the vectors hold, sorted by what it is.
#[derive(Debug, Default)]
pub struct Found {
    queries: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    /// `RequestBatch`es and what was sent in their place.
    bodies: Vec<Vec<u8>>,
    texts: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
    announcements: Vec<Vec<u8>>,
    /// What was written to a socket as it is.
    raw: Vec<Vec<u8>>,
}

impl Found {
    fn in_all(vectors: &[Value]) -> Self {
        let mut found = Self::default();
        for value in vectors {
            found.walk(value);
        }
        found
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str() {
                        Some(text) => self.take(name, text, members),
                        None => self.walk(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, name: &str, text: &str, of: &serde_json::Map<String, Value>) {
        let base64 = || STANDARD.decode(text).unwrap_or_default();
        match name {
            "target" => {
                if let Some((_, query)) = text.split_once('?') {
                    let mid = query.replace("{{mid:m1}}", "17954063320000000000003072");
                    self.queries.push(mid.into_bytes());
                }
            }
            "raw_query_value" | "channel_string" => {
                self.lists.push(form_decode(text.as_bytes()).into_owned());
                self.queries.push(format!("CHANNEL_ID={text}&binaryMode=true").into_bytes());
            }
            "data_base64" if of.get("op").is_some_and(|op| op == "ws_send_raw") => {
                self.raw.push(base64());
            }
            "body_base64" | "data_base64" => self.bodies.push(base64()),
            "body_utf8" | "data_utf8" => self.texts.push(text.as_bytes().to_vec()),
            "payload_hex" => self.announcements.push(unhex(text)),
            "value_hex" if OutgoingView::parse(&unhex(text)).is_some() => {
                self.messages.push(unhex(text));
            }
            "hex" => match of.get("message").and_then(Value::as_str) {
                Some("RequestBatch") => self.bodies.push(unhex(text)),
                Some("OutgoingMessage") => self.messages.push(unhex(text)),
                Some("NotificationBatch") => self.announcements.push(unhex(text)),
                _ => {}
            },
            _ => {}
        }
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let mut bytes = vec![0; digits.len() / 2];
    hex::decode_into(digits.as_bytes(), &mut bytes).map(|()| bytes).unwrap_or_default()
}

/// The recorded lists, and the same with marks in place of signatures.
fn channels(found: &Found) -> Vec<Vec<u8>> {
    let marked = found.lists.iter().step_by(5).enumerate().map(|(n, list)| {
        let mark = if n % 2 == 0 { keys::SIGN } else { keys::SIGN_OLD };
        let ids = |s: &[u8]| s.split(|&byte| byte == b'.').next().unwrap_or_default().to_vec();
        let segments =
            list.split(|&byte| byte == b'/').map(|s| [&ids(s), &b"."[..], mark].concat());
        segments.collect::<Vec<_>>().join(&b'/')
    });
    let marked: Vec<_> = marked.collect();
    found.lists.iter().cloned().chain(marked).collect()
}

/// The recorded bodies, and the same with marks in place of signatures.
fn requests(found: &Found) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (n, body) in found.bodies.iter().enumerate() {
        all.push([&[(n % 4) as u8], &body[..]].concat());
        if let Ok(mut batch) = RequestBatch::decode(&body[..]) {
            for request in &mut batch.requests {
                if let Some(Command::IncomingMessages(incoming)) = &mut request.command {
                    for receiver in incoming.messages.iter_mut().flat_map(|m| &mut m.receivers) {
                        receiver.signature = keys::SIGN.to_vec();
                    }
                }
            }
            all.push([&[0], &batch.encode_to_vec()[..]].concat());
        }
    }
    all
}

/// What clients sent, in frames: whole, in fragments with a ping between them, and what was
/// written to the socket as it is.
fn frames(found: &Found) -> Vec<Vec<u8>> {
    let head = |n: usize| [4, n as u8 % 9, 1, 7, 200];
    let mut all: Vec<Vec<u8>> = found.raw.iter().map(|raw| [&head(3)[..], raw].concat()).collect();
    for (n, body) in found.bodies.iter().chain(&found.texts).enumerate().step_by(4) {
        let (front, back) = body.split_at(body.len() / 2);
        let opcode = 1 + (n % 2) as u8;
        let close = masked(0x88, b"\x03\xe8bye");
        all.push([&head(n)[..], &masked(0x80 | opcode, body), &masked(0x8a, b"ws ping")].concat());
        let fragments = [masked(opcode, front), masked(0x89, b"?"), masked(0x80, back), close];
        all.push([&head(n)[..], &fragments.concat()].concat());
    }
    all
}

fn links(found: &Found) -> Vec<Vec<u8>> {
    let mid = Mid::new(1_795_406_332, 3072);
    let channels = vec![ChannelKey::private([1; 16]), ChannelKey::public([2; 16])];
    let channel = channels[0];
    let outgoing = bytes::Bytes::from(found.messages.first().cloned().unwrap_or_default());
    let (software, seq, req) = (String::from("push"), 7, 9);
    let item = PublishItem {
        expiry: 60,
        label: "im".into(),
        receivers: vec![(channel, bytes::Bytes::new()), (channels[1], vec![3; 20].into())],
        rest: outgoing.clone(),
    };
    let to_sidecar = [
        ToSidecar::Hello {
            versions: Versions::OURS,
            instance: 5,
            pid: 4,
            resume: true,
            software: software.clone(),
        },
        ToSidecar::Subscribe { seq, channels: channels.clone() },
        ToSidecar::Unsubscribe { channels: channels.clone() },
        ToSidecar::Resume { after: mid },
        ToSidecar::Recover { req, after: mid, channels: channels.clone() },
        ToSidecar::Publish { seq: 7, counted: true, messages: vec![item], at: 9 },
        ToSidecar::Stats { req, channels: channels.clone() },
        ToSidecar::Ping,
        ToSidecar::Connections { channel, count: 3, limit: 2 },
        ToSidecar::OldestAnswer { req, opened: 1 },
        ToSidecar::Report { req, websockets: 1, polls: 2, channels: 3, limits: [4; 4] },
        ToSidecar::ServerStats { req },
        ToSidecar::Newest { req, channels: channels.clone() },
    ];
    let to_worker = [
        ToWorker::Welcome { version: 1, position: mid, software },
        ToWorker::Refused { reason: "no".into(), versions: None },
        ToWorker::Position { seq, position: mid },
        ToWorker::Deliver { id: mid, flags: 0, receivers: channels, outgoing: outgoing.clone() },
        ToWorker::RecoverItem { req, id: mid, outgoing },
        ToWorker::RecoverEnd { req, ok: true, as_of: mid },
        ToWorker::Resumed { position: mid },
        ToWorker::PublishAck { seq: 7, status: PublishStatus::Refused, detail: "full".into() },
        ToWorker::StatsAnswer { req, ok: true, online: vec![true, false] },
        ToWorker::Pong,
        ToWorker::Oldest { req, channel },
        ToWorker::Evict { channel },
        ToWorker::ReportWanted { req },
        ToWorker::ServerStatsAnswer { req, json: bytes::Bytes::from_static(b"[]") },
        ToWorker::NewestAnswer { req, id: Some(mid) },
    ];
    let framed = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = vec![3, 1, 9];
        encode(&mut out);
        out
    };
    let there = to_sidecar.iter().map(|frame| framed(&|out| frame.encode(out)));
    let back = to_worker.iter().map(|frame| framed(&|out| frame.encode(out)));
    let together = framed(&|out| to_worker.iter().for_each(|frame| frame.encode(out)));
    there.chain(back).chain([together]).collect()
}

fn envelopes(found: &Found) -> Vec<Vec<u8>> {
    let marks = [&b"\"#!NGINXNME!#\""[..], b"\"##!NGINXNMS!#\"", b"{\"a\":\"#!NGINXNM\"}"];
    let bodies = found.texts.iter().map(Vec::as_slice).chain(marks);
    let bodies: Vec<&[u8]> = bodies.collect();
    let envelope = |bodies: &[&[u8]]| {
        let mut out = 1_795_408_161_493_u64.to_le_bytes().to_vec();
        for body in bodies {
            out.extend_from_slice(&7u16.to_le_bytes());
            out.extend_from_slice(&3072u64.to_le_bytes());
            out.extend_from_slice(&600u16.to_le_bytes());
            out.extend_from_slice(&1_795_408_161_u64.to_le_bytes());
            put_piece(&mut out, body);
        }
        out
    };
    bodies.chunks(1).chain(bodies.chunks(3)).map(envelope).collect()
}

fn configurations(sample: &str) -> Vec<Vec<u8>> {
    // The sample shows each key with its default, commented out.
    let uncommented = sample.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.contains(" = ") && !key.starts_with(' ') => key,
        _ => line,
    });
    let lines: Vec<&str> =
        uncommented.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut all = vec![lines.join("\n").into_bytes()];
    // Each section alone.
    for section in lines.join("\n").split("\n[").skip(1) {
        all.push(format!("[{section}\n").into_bytes());
    }
    let url = "[redis]\nurl = \"redis://user:pass-word@127.0.0.1:6379/3?pass=x\"\n";
    all.push(url.as_bytes().to_vec());
    for key in push_sidecar::config::KEYS {
        for value in ["7000000", "unix:///run/redis.sock?db=1", "18446744073709551615"] {
            all.push(format!("\0{}={value}", key.variable).into_bytes());
        }
    }
    all
}

fn portals(sample: &str) -> Vec<Vec<u8>> {
    let mut all = vec![sample.into()];
    // In the other spelling, and what such files have besides.
    all.push(sample.replace("array(", "[").replace(')', "]").into());
    for line in [
        "<?php // comment\nreturn array('pull' => array('value' => array('a' => \"b\\$c\\n\", ), 'readonly' => false));",
        "<?php\n# comment ' \"\n/* ) */ $x = ['a' => 1 + 2, 'b' => getenv('KEY'), 'c' => \"$key\", 'd' => 'it\\'s \\\\'];",
        "<?php return ['x' => <<<EOT\n'y' => 1\nEOT\n, 'z' => [[['w' => null]]]]; ?>\n'html' => 1",
    ] {
        all.push(line.into());
    }
    // Each setting alone.
    for line in sample.lines().filter(|line| line.contains("' => '")) {
        all.push(format!("<?php return ['pull' => ['value' => [{}]]];", line.trim()).into());
    }
    all
}
