//! Publishing a text (PROTOCOL.md, section 5.1).

use super::{Limits, Publication, Receiver, UNKNOWN_LABEL};
use crate::ChannelKey;
use crate::outgoing::{Sender, encode_rest};

/// A text for these receivers. What is not UTF-8 in it becomes U+FFFD. `message_expiry`: the value
/// of the header, if it is there; `now_unix`: seconds.
///
/// Without a receiver or with an empty body nothing is to be published: the caller checks that.
pub fn text(
    receivers: impl Iterator<Item = ChannelKey>,
    body: &[u8],
    message_expiry: Option<&[u8]>,
    limits: &Limits,
    now_unix: u32,
) -> Publication {
    let expiry = message_expiry.map_or(0, |header| parse_expiry(header, limits.message_ttl));
    let body = super::batch::utf8(body);
    Publication {
        receivers: receivers.map(|key| Receiver { key, signature: Vec::new() }).collect(),
        expiry,
        rest: encode_rest(&body, expiry, now_unix, Sender::Backend),
        label: UNKNOWN_LABEL.to_owned(),
    }
}

/// Reads a `Message-Expiry` header: a leading decimal integer, whatever follows it. No digits, zero
/// and negative are 0, above `max` is `max`.
pub fn parse_expiry(header: &[u8], max: u32) -> u32 {
    let digits = header.trim_ascii_start();
    digits
        .strip_prefix(b"+")
        .unwrap_or(digits)
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
        .min(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mid;
    use crate::outgoing::{OutgoingView, with_id};

    #[test]
    fn an_expiry_is_a_leading_integer() {
        for (header, expiry) in [
            ("30", 30),
            ("  30  ", 30),
            ("\t\r\n30", 30),
            ("+30", 30),
            ("30abc", 30),
            ("30.9", 30),
            ("3e5", 3),
            ("0x10", 0),
            ("030", 30),
            ("", 0),
            ("abc", 0),
            ("0", 0),
            ("-5", 0),
            ("+-5", 0),
            ("+ 5", 0),
            ("86400", 86_400),
            ("86401", 86_400),
            ("99999999999999999999999", 86_400),
        ] {
            assert_eq!(parse_expiry(header.as_bytes(), 86_400), expiry, "{header:?}");
        }
        assert_eq!(parse_expiry(b"4294967296", u32::MAX), u32::MAX);
    }

    #[test]
    fn a_text_is_one_message_of_the_backend() {
        let keys = [ChannelKey::private([1; 16]), ChannelKey::public([2; 16])];
        let limits = Limits { message_ttl: 100, ..Limits::default() };
        let publication = text(keys.into_iter(), b"\"\xff\xfe\"", Some(b"500"), &limits, 7);
        assert_eq!(publication.expiry, 100);
        assert_eq!(publication.label, "unknown");
        let receivers: Vec<_> = publication.receivers.iter().map(|r| r.key).collect();
        assert_eq!(receivers, keys);
        let message = with_id(Mid::ZERO, &publication.rest);
        let view = OutgoingView::parse(&message).unwrap();
        assert_eq!((view.body, view.expiry, view.created), ("\"\u{fffd}\u{fffd}\"", 100, 7));
        assert_eq!(view.sender, Some(Sender::Backend));
        assert_eq!(text(keys.into_iter(), b"1", None, &limits, 7).expiry, 0);
    }
}
