//! The recorded vectors, read for a replay.
#![allow(dead_code)]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use push_protocol::ChannelKey;
use push_protocol::proto::{self, response};
use push_protocol::signature::{Algorithm, Verifier};
use serde_json::Value;

/// A file of `tests/vectors`, which has the format this reader knows.
pub fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let vectors: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(vectors["format"], 1, "{name}");
    vectors
}

/// The elements of an array.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| panic!("no array: {value}"), Vec::as_slice)
}

/// A string.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}"))
}

/// Bytes from hex.
pub fn unhex(digits: &str) -> Vec<u8> {
    let mut bytes = vec![0; digits.len() / 2];
    push_protocol::hex::decode_into(digits.as_bytes(), &mut bytes).unwrap();
    bytes
}

/// Bytes from base64.
pub fn unbase64(digits: &str) -> Vec<u8> {
    STANDARD.decode(digits).unwrap()
}

/// One that knows `key`.
pub fn verifier(algorithm: Algorithm, key: &str) -> Verifier {
    let mut verifier = Verifier::new(algorithm);
    verifier.add_key(key.as_bytes());
    verifier
}

/// The bytes of a body that is given as `{prefix}_utf8`, `{prefix}_base64` or `{prefix}_repeat`.
pub fn body(of: &Value, prefix: &str) -> Vec<u8> {
    if let Some(utf8) = of[format!("{prefix}_utf8")].as_str() {
        return utf8.as_bytes().to_vec();
    }
    if let Some(digits) = of[format!("{prefix}_base64")].as_str() {
        return unbase64(digits);
    }
    let repeat = &of[format!("{prefix}_repeat")];
    match (repeat["byte"].as_u64(), repeat["count"].as_u64()) {
        (Some(byte), Some(count)) => vec![byte as u8; count as usize],
        _ => Vec::new(),
    }
}

/// The steps of all cases that a better implementation should follow, each with the name of its
/// server. The multi-tenant mode is not served; at `front` and `internal` nginx itself answers some.
pub fn steps(vectors: &Value) -> impl Iterator<Item = (&Value, &Value, &str)> {
    let cases = list(&vectors["cases"]).iter().filter(|case| case["defect"] != true);
    cases
        .flat_map(|case| list(&case["steps"]).iter().map(move |step| (case, step)))
        .map(|(case, step)| {
            let server = step["server"].as_str().unwrap_or_else(|| text(&case["server"]));
            (case, step, server)
        })
        .filter(|(_, _, server)| *server != "cloud")
}

/// What a `ResponseBatch` with one channelStats says.
pub fn stats_of(wire: &[u8]) -> Vec<(ChannelKey, bool)> {
    let mut batch = proto::ResponseBatch::decode(wire).unwrap();
    let Some(response::Command::ChannelStats(stats)) = batch.responses.remove(0).command else {
        panic!("no channelStats");
    };
    let entry = |channel: &proto::ChannelStats| {
        let id = channel.id.as_slice().try_into().unwrap();
        let key = if channel.is_private { ChannelKey::private(id) } else { ChannelKey::public(id) };
        (key, channel.is_online)
    };
    stats.channels.iter().map(entry).collect()
}
