//! The text form of a message (PROTOCOL.md, section 7.1).

use memchr::memmem;

use crate::date::{digits, http_date};
use crate::outgoing::OutgoingView;

const START: &[u8] = b"#!NGINXNMS!#";
const END: &[u8] = b"#!NGINXNME!#";
/// What both marks begin with; a body must not hold it.
const MARK: &[u8] = b"#!NGINXNM";

/// Bytes of an envelope beside the body, at most.
const FRAME: usize = 160;

/// A message may be this many seconds older or younger than its expiry allows before its `created`
/// counts as nonsense.
const SLACK: u64 = 86_400;

/// Appends the envelope of a message. Several in a row need nothing between them.
///
/// * `time` is the moment the message was published, `tag` the last three digits of now.
/// * The body stands there as it is, but for two things that would break the framing: an empty one
///   is written as `""`, and the `#` of a mark within it as `\u0023`, which is the same to JSON.
pub fn write_envelope(out: &mut Vec<u8>, message: &OutgoingView<'_>, now_unix_ms: u64) {
    out.reserve(FRAME + message.body.len());
    out.extend_from_slice(START);
    out.extend_from_slice(b"{\"id\":");
    put_decimal(out, message.id.counter());
    out.extend_from_slice(b",\"mid\":\"");
    out.extend_from_slice(&message.id.to_digits());
    out.extend_from_slice(b"\",\"channel\":\"-\",\"tag\":\"");
    let mut tag = [0; 3];
    digits(&mut tag, (now_unix_ms % 1000) as u32);
    out.extend_from_slice(&tag);
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(&http_date(published(message, now_unix_ms / 1000)));
    out.extend_from_slice(b"\",\"text\":");
    put_body(out, message.body.as_bytes());
    out.push(b'}');
    out.extend_from_slice(END);
}

/// When the message was published, Unix seconds. A reference process may have spoilt `created`
/// (defect D8); what cannot be is taken for now.
fn published(message: &OutgoingView<'_>, now: u64) -> u32 {
    let created = u64::from(message.created);
    let oldest = now.saturating_sub(u64::from(message.expiry) + SLACK);
    if (oldest..=now + SLACK).contains(&created) {
        message.created
    } else {
        u32::try_from(now).unwrap_or(u32::MAX)
    }
}

fn put_body(out: &mut Vec<u8>, body: &[u8]) {
    if body.is_empty() {
        out.extend_from_slice(b"\"\"");
        return;
    }
    let mut rest = body;
    // A '#' is rare in JSON, a mark all but never there.
    while let Some(mark) = memmem::find(rest, MARK) {
        out.extend_from_slice(&rest[..mark]);
        out.extend_from_slice(b"\\u0023");
        rest = &rest[mark + 1..];
    }
    out.extend_from_slice(rest);
}

fn put_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    loop {
        start -= 1;
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mid;

    const NOW: u64 = 1_795_408_161;

    fn envelope(message: &OutgoingView<'_>, now_ms: u64) -> String {
        let mut out = Vec::new();
        write_envelope(&mut out, message, now_ms);
        String::from_utf8(out).unwrap()
    }

    fn message(body: &str) -> OutgoingView<'_> {
        let id = Mid::new(1_795_406_332, 3072);
        OutgoingView { id, body, expiry: 0, created: NOW as u32, sender: None }
    }

    #[test]
    fn the_documented_example() {
        assert_eq!(
            envelope(&message("{\"a\":1}"), NOW * 1000 + 493),
            "#!NGINXNMS!#{\"id\":3072,\"mid\":\"17954063320000000000003072\",\"channel\":\"-\",\
             \"tag\":\"493\",\"time\":\"Mon, 23 Nov 2026 04:29:21 GMT\",\"text\":{\"a\":1}}#!NGINXNME!#"
        );
    }

    #[test]
    fn the_time_is_that_of_publishing() {
        let stored = OutgoingView { expiry: 600, ..message("1") };
        assert!(envelope(&stored, (NOW + 4) * 1000).contains("04:29:21 GMT"));
    }

    #[test]
    fn a_spoilt_created_is_not_shown() {
        for created in [0, 111_934_964, u32::MAX] {
            let spoilt = OutgoingView { created, ..message("1") };
            assert!(envelope(&spoilt, NOW * 1000).contains("Mon, 23 Nov 2026 04:29:21 GMT"));
        }
    }

    #[test]
    fn a_body_cannot_break_the_framing() {
        let text = |body| {
            let whole = envelope(&message(body), NOW * 1000);
            let (_, text) = whole.split_once("\"text\":").unwrap();
            text.strip_suffix("}#!NGINXNME!#").unwrap().to_owned()
        };
        assert_eq!(text("\"a#!NGINXNME!#b\""), r#""a\u0023!NGINXNME!#b""#);
        assert_eq!(text("\"#!NGINXNMS!##!NGINXNME!#\""), r#""\u0023!NGINXNMS!#\u0023!NGINXNME!#""#);
        assert_eq!(text("\"##!NGINXN#!NGINX\""), "\"##!NGINXN#!NGINX\"");
        assert_eq!(text("not json"), "not json");
        assert_eq!(text(""), "\"\"");
    }
}
