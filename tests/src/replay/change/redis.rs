//! `redis.json`.

use super::Change::{Push, Set};
use super::Instead::{self, Changed};

pub const INSTEAD: &[(&str, Instead)] = &[
    // A list lives as long as the messages in it.
    ("ttl-configured", Changed(&[Set("/keys/0/ttl_seconds", "100")])),
    // Presence.
    (
        "online-two",
        Changed(&[
            Push(
                "/keys",
                r#"{"key_hex": "6368616e6e656c3a6f6e6c696e653aaacdd0c19c46e41774ebc9e20f32a19b",
                    "type": "string", "ttl_seconds": 130, "value_hex": "31"}"#,
            ),
            Push(
                "/keys",
                r#"{"key_hex": "7075626368616e6e656c3a6f6e6c696e653ae62044d12400a00937724ce04f9cce80",
                    "type": "string", "ttl_seconds": 130, "value_hex": "31"}"#,
            ),
        ]),
    ),
];
