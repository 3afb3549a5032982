//! [`Query`]: against the form decoder of crate `form_urlencoded`, and against its own words.

use std::borrow::Cow;

use push_protocol::Mid;
use push_protocol::query::{Query, form_decode};

/// * Names, values and which of several counts are what `form_urlencoded` says they are.
/// * A parameter that is unknown, or stands behind a known one, changes nothing.
/// * What was understood, written anew, is understood alike.
pub fn run(bytes: &[u8]) {
    let query = Query::parse(bytes);
    assert_eq!(lossy(query.channel_id.as_deref()), first(bytes, "CHANNEL_ID"));
    let mid = first(bytes, "mid").and_then(|digits| Mid::from_digits(digits.as_bytes()));
    assert_eq!(query.mid, mid);
    assert_eq!(query.binary, first(bytes, "binaryMode").as_deref() == Some("true"));

    let more = [b"unknown=1&", bytes, b"&binaryMode=x&CHANNEL_ID=late&mid=00"].concat();
    let with_more = Query::parse(&more);
    if bytes.contains(&b'?') {
        assert_eq!(with_more, query);
    } else {
        assert_eq!(with_more.mid, query.mid);
        assert_eq!(with_more.binary, query.binary);
        let late = query.channel_id.clone().or(Some(Cow::Borrowed(b"late")));
        assert_eq!(with_more.channel_id, late);
    }

    let written = write(&query);
    assert_eq!(Query::parse(written.as_bytes()), query);

    let once = form_decode(bytes);
    assert!(once.len() <= bytes.len());
    let encoded: String = form_urlencoded::byte_serialize(&once).collect();
    assert_eq!(form_decode(encoded.as_bytes()), once);
}

/// The first parameter of that name, as the other decoder reads it.
fn first(bytes: &[u8], name: &str) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == b'?').unwrap_or(bytes.len());
    let mut all = form_urlencoded::parse(&bytes[..end]);
    all.find_map(|(n, value)| (n == name).then(|| value.into_owned()))
}

fn lossy(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn write(query: &Query<'_>) -> String {
    let mut out = String::new();
    if let Some(value) = &query.channel_id {
        out.push_str("CHANNEL_ID=");
        out.extend(form_urlencoded::byte_serialize(value));
    }
    if let Some(mid) = query.mid {
        out.push_str("&mid=");
        out.push_str(&mid.to_string());
    }
    if query.binary {
        out.push_str("&binaryMode=true");
    }
    out
}
