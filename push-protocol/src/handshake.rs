//! The opening handshake of a WebSocket (RFC 6455 section 4.2; PROTOCOL.md, section 9.1).

use sha1::{Digest, Sha1};

/// What RFC 6455 section 1.3 has appended to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`; `None` when that is not the
/// base64 of 16 bytes.
pub fn accept_key(key: &[u8]) -> Option<[u8; 28]> {
    let (digits, padding) = key.split_at_checked(22)?;
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if padding != b"==" || !digits.iter().all(is_digit) {
        return None;
    }
    let digest: [u8; 20] = Sha1::new().chain_update(key).chain_update(GUID).finalize().into();
    Some(base64(&digest))
}

/// 20 bytes make 27 digits and one `=`.
fn base64(bytes: &[u8; 20]) -> [u8; 28] {
    let mut out = [b'='; 28];
    for (four, three) in out.chunks_exact_mut(4).zip(bytes.chunks(3)) {
        let group = three.iter().fold(0, |group, &byte| group << 8 | u32::from(byte));
        let group = group << (8 * (3 - three.len()));
        for (i, digit) in four.iter_mut().take(three.len() + 1).enumerate() {
            *digit = BASE64[(group >> (18 - 6 * i)) as usize & 63];
        }
    }
    out
}

/// Why an upgrade is refused. Answered with `Content-Type: text/html` and `Connection: close`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{}", self.body())]
pub enum Refusal {
    /// Not the exact sub path.
    Path,
    /// Another method than GET.
    Method,
    /// `Upgrade` names something else than `websocket`.
    Upgrade,
    /// `Sec-WebSocket-Key` is missing or malformed.
    Key,
    /// `Sec-WebSocket-Version` is neither 8 nor 13.
    Version,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            _ => 400,
        }
    }

    /// The body, exactly.
    pub const fn body(self) -> &'static str {
        match self {
            Self::Path => "Bad Request",
            Self::Method => "Invalid HTTP method",
            Self::Upgrade => "Invalid Upgrade header",
            Self::Key => "Missing or invalid Sec-WebSocket-Key header",
            Self::Version => "Missing or invalid Sec-WebSocket-Version header",
        }
    }
}

/// Checks the headers of an upgrade request and gives the value of `Sec-WebSocket-Accept`. The
/// method and the path are the caller's to check.
pub fn accept(
    upgrade: &[u8],
    key: Option<&[u8]>,
    version: Option<&[u8]>,
) -> Result<[u8; 28], Refusal> {
    if !upgrade.eq_ignore_ascii_case(b"websocket") {
        return Err(Refusal::Upgrade);
    }
    let accept = key.and_then(accept_key).ok_or(Refusal::Key)?;
    match version {
        Some(b"13" | b"8") => Ok(accept),
        _ => Err(Refusal::Version),
    }
}

/// The subprotocol to answer with: the first one offered in `Sec-WebSocket-Protocol`, if it is a
/// token (RFC 9110 section 5.6.2).
pub fn first_subprotocol(header: &[u8]) -> Option<&[u8]> {
    let first = header.split(|&byte| byte == b',').next()?.trim_ascii();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!first.is_empty() && first.iter().all(is_token)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept_key(KEY).as_ref(), Some(ACCEPT));
    }

    #[test]
    fn a_key_is_the_base64_of_16_bytes() {
        for bad in [
            &b""[..],
            b"short",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQQ=",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub25jZ-==",
            b"dGhlIHNhbXBsZSBub25jZQQQ",
        ] {
            assert_eq!(accept_key(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn each_header_has_its_refusal() {
        let check = |upgrade: &str, key, version| accept(upgrade.as_bytes(), key, version);
        assert_eq!(check("WebSocket", Some(KEY), Some(b"13")), Ok(*ACCEPT));
        assert_eq!(check("websocket", Some(KEY), Some(b"8")), Ok(*ACCEPT));
        assert_eq!(check("h2c", Some(KEY), Some(b"13")), Err(Refusal::Upgrade));
        assert_eq!(check("websocket", None, Some(b"13")), Err(Refusal::Key));
        assert_eq!(check("websocket", Some(b"short"), Some(b"7")), Err(Refusal::Key));
        for version in [None, Some(&b"7"[..]), Some(b""), Some(b"013"), Some(b"13, 8")] {
            assert_eq!(check("websocket", Some(KEY), version), Err(Refusal::Version));
        }
        assert_eq!(Refusal::Method.status(), 405);
        assert_eq!(Refusal::Key.status(), 400);
    }

    #[test]
    fn the_first_offered_subprotocol_is_taken() {
        assert_eq!(first_subprotocol(b"one, two"), Some(&b"one"[..]));
        assert_eq!(first_subprotocol(b" v1.bx "), Some(&b"v1.bx"[..]));
        for bad in [&b""[..], b",one", b"a b", b"a\r\nb"] {
            assert_eq!(first_subprotocol(bad), None);
        }
    }
}
