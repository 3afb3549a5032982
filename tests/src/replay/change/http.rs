//! `http.json`.

use super::Change::{Envelopes, NginxPage, Remove, Set};
use super::Instead::{self, Changed, NotPlayed};

pub const INSTEAD: &[(&str, Instead)] = &[
    // Paths that take no role.
    ("sub-no-slash", Changed(&[NginxPage(0, 404)])),
    ("sub-path-case", Changed(&[NginxPage(0, 404)])),
    ("pub-no-slash", Changed(&[NginxPage(0, 404)])),
    ("server-stat-no-slash", Changed(&[NginxPage(0, 404)])),
    ("unknown-root", Changed(&[NginxPage(0, 404)])),
    ("unknown-path", Changed(&[NginxPage(0, 404)])),
    ("upgrade-unknown-path", Changed(&[NginxPage(0, 404)])),
    ("url-too-long", Changed(&[NginxPage(0, 414)])),
    (
        "upgrade-pub-path",
        Changed(&[
            Set(
                "/steps/0/expect/headers",
                r#"{"content-type": "text/plain", "access-control-allow-origin": "*"}"#,
            ),
            Set("/steps/0/expect/body/utf8", r#""4017: No channels found.""#),
        ]),
    ),
    (
        "sub-absolute-form",
        Changed(&[
            Set("/steps/0/expect/status", "400"),
            Set("/steps/0/expect/headers/access-control-expose-headers", r#""Last-Message-Id""#),
            Set("/steps/0/expect/body/utf8", r#""4010: Wrong Channel Id.""#),
        ]),
    ),
    // Each message once, and none too few.
    (
        "mid-duplicate-delivery",
        Changed(&[Remove("/steps/2/expect/body/decoded/responses/0/outgoingMessages/messages/1")]),
    ),
    (
        "mid-duplicate-channel",
        Changed(&[Envelopes("/steps/2/expect/body/utf8", &[("m1", r#""x""#)])]),
    ),
    (
        "history-cap-counts-expired",
        Changed(&[
            Set(
                "/steps/5/expect",
                r#"{"status": 200, "body": {}, "headers":
                    {"content-type": "text/plain", "access-control-allow-origin": "*"}}"#,
            ),
            Envelopes("/steps/5/expect/body/utf8", &[("m1", r#""long""#)]),
        ]),
    ),
    (
        "timeout-expired-last",
        Changed(&[Set("/steps/5/expect/headers/last-message-id", r#""{{mid:m1}}""#)]),
    ),
    // Envelopes that stay whole.
    (
        "pub-body-marker",
        Changed(&[Envelopes("/steps/2/expect/body/utf8", &[("m1", r#""a\u0023!NGINXNME!#b""#)])]),
    ),
    ("bin-empty-body-text", Changed(&[Envelopes("/steps/2/expect/body/utf8", &[("m1", r#""""#)])])),
    // Presence.
    (
        "stats-second-channel",
        Changed(&[Set(
            "/steps/1/expect/body/utf8",
            r#""{\"infos\":[{\"channel\":\"4ad01dda328824f435ca94a32655d431\",\"subscribers\":1},{\"channel\":\"6f548cdbe4eda2eb256634276afdf657\",\"subscribers\":1}]}""#,
        )]),
    ),
    (
        "stats-after-disconnect",
        Changed(&[
            Set("/slow", "true"),
            Set("/steps/3/ms", "12000"),
            Set("/steps/4/expect/body/utf8", r#""{\"infos\":[]}""#),
        ]),
    ),
    (
        "stats-online-ttl",
        Changed(&[
            Set("/steps/3/ms", "12000"),
            Set("/steps/4/expect/body/utf8", r#""{\"infos\":[]}""#),
        ]),
    ),
    (
        "replay-not-online",
        Changed(&[Set(
            "/steps/4/expect/body/utf8",
            r#""{\"infos\":[{\"channel\":\"cfe6445a8aa9272a497d7a1d4ee4da1f\",\"subscribers\":1}]}""#,
        )]),
    ),
    // Checks.
    (
        "rest-odd-length-id",
        Changed(&[
            Set("/steps/0/expect/status", "400"),
            Set("/steps/0/expect/body/utf8", r#""4019: Request has an invalid channel id.""#),
        ]),
    ),
    // Several tenants on one server.
    ("cloud-pub", NotPlayed),
    ("cloud-stats", NotPlayed),
    ("cloud-sub", NotPlayed),
    ("cloud-rest", NotPlayed),
    ("cloud-register-empty", NotPlayed),
    ("cloud-register-no-query", NotPlayed),
    ("cloud-register-too-big", NotPlayed),
    ("cloud-systemctl-empty", NotPlayed),
    ("cloud-systemctl-unsigned", NotPlayed),
    ("cloud-systemctl-bad-json", NotPlayed),
    ("cloud-systemctl-null", NotPlayed),
    ("cloud-systemctl-no-method", NotPlayed),
    ("cloud-systemctl-no-params", NotPlayed),
    ("cloud-systemctl-unknown", NotPlayed),
];
