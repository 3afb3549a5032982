//! `websocket.json`.

use super::Change::{Envelopes, Join, NginxPage, Remove, Set};
use super::Instead::{self, Changed, NotPlayed};

/// Nothing comes on that connection.
const SILENCE: &str =
    r#"{"op": "ws_silence", "conn": "x", "for_ms": 1000, "expect": {"nothing": true}}"#;

pub const INSTEAD: &[(&str, Instead)] = &[
    // Paths that take no role, and roles that are not for WebSockets.
    ("no-slash", Changed(&[NginxPage(0, 404)])),
    ("split-sub-path", Changed(&[NginxPage(0, 404)])),
    (
        "other-path",
        Changed(&[
            Set(
                "/steps/0/expect/headers",
                r#"{"content-type": "text/plain", "access-control-allow-origin": "*"}"#,
            ),
            Set("/steps/0/expect/body/utf8", r#""4017: No channels found.""#),
        ]),
    ),
    // No window of 400 ms.
    ("batch-text", Changed(&[Set("/steps/8/within_ms", "250"), Join(7)])),
    ("batch-binary", Changed(&[Set("/steps/8/within_ms", "250"), Join(7)])),
    ("batch-one-request", Changed(&[Join(2)])),
    // Public ids reach those who hold the pair, and nobody else.
    ("private-only-gets-public-by-neighbour", Changed(&[Set("/steps/4", SILENCE)])),
    ("public-mapping-survives", Changed(&[Set("/steps/6", SILENCE)])),
    // Messages are what was published, each once, and none too few.
    (
        "created-spoilt",
        Changed(&[Set(
            "/steps/4/expect/decoded/responses/0/outgoingMessages/messages/0/created",
            r#""{{epoch_s}}""#,
        )]),
    ),
    ("twice-private-public", Changed(&[Set("/steps/3", SILENCE)])),
    ("twice-two-channels", Changed(&[Set("/steps/3", SILENCE)])),
    (
        "mid-duplicate",
        Changed(&[Remove("/steps/3/expect/decoded/responses/0/outgoingMessages/messages/1")]),
    ),
    (
        "ping-pending-loses-messages",
        Changed(&[
            Set(
                "/steps/3",
                r#"{"op": "ws_recv", "conn": "x", "within_ms": 1500, "expect": {"opcode": "text"}}"#,
            ),
            Envelopes("/steps/3/expect/utf8", &[("m1", r#""lost""#)]),
        ]),
    ),
    // Presence.
    (
        "stats-second-channel-offline",
        Changed(&[
            Set(
                "/steps/1/expect/body/decoded/responses/0/channelStats/channels/2/isOnline",
                "true",
            ),
            Set(
                "/steps/1/expect/body/decoded/responses/0/channelStats/channels/3/isOnline",
                "true",
            ),
        ]),
    ),
    (
        "stats-after-close",
        Changed(&[
            Set("/slow", "true"),
            Set("/steps/3/ms", "12000"),
            Set("/steps/4/expect/body/utf8", r#""{\"infos\":[]}""#),
        ]),
    ),
    // Several tenants on one server.
    ("cloud-refused", NotPlayed),
];
