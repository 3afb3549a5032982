//! How far a subscriber has come, in the words of its server.

use push_protocol::Mid;

/// What a returning client names, so that it is sent what is newer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Position {
    /// Nothing was seen yet.
    #[default]
    Nowhere,
    /// The id of the last message (PROTOCOL.md, section 5).
    Mid(Mid),
    /// nchan's id of the last message, `TIME:TAG`, with a tag for each of several channels.
    Token(Box<str>),
}

impl Position {
    /// Takes an id if it is newer.
    pub fn advance(&mut self, mid: Option<Mid>) {
        if let Some(mid) = mid
            && !matches!(self, Self::Mid(last) if *last >= mid)
        {
            *self = Self::Mid(mid);
        }
    }

    /// Appends it as it stands in a query; nothing when nothing was seen.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nowhere => {}
            Self::Mid(mid) => out.extend_from_slice(&mid.to_digits()),
            Self::Token(token) => out.extend_from_slice(token.as_bytes()),
        }
    }
}

/// What nchan's subprotocol `ws+meta.nchan` puts in front of a body: lines, an empty one at the end.
/// Returns the id and the body.
pub fn split_meta(payload: &[u8]) -> Option<(Position, &[u8])> {
    let end = memchr::memmem::find(payload, b"\n\n")?;
    let mut lines = payload[..end].split(|byte| *byte == b'\n');
    let id = lines.find_map(|line| line.strip_prefix(b"id: "))?;
    Some((token(std::str::from_utf8(id).ok()?)?, &payload[end + 2..]))
}

/// The same of a poll, whose answer has it in two headers.
pub fn of_headers(modified: Option<&[u8]>, tag: Option<&[u8]>) -> Option<Position> {
    let date = std::str::from_utf8(modified?).ok()?;
    let seconds = chrono::DateTime::parse_from_rfc2822(date).ok()?.timestamp();
    let tag = std::str::from_utf8(tag?).ok()?;
    token(&format!("{seconds}:{tag}"))
}

/// Goes into a request target as it is, so it may hold nothing that would end one.
fn token(text: &str) -> Option<Position> {
    let harmless = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'&');
    (harmless && !text.is_empty()).then(|| Position::Token(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::Token(text.into())
    }

    #[test]
    fn ids_only_advance() {
        let mut position = Position::default();
        position.advance(None);
        assert_eq!(position, Position::Nowhere);
        let mid = |counter| Mid::new(1_795_406_332, counter);
        for (next, expected) in [(2, 2), (1, 2), (3, 3)] {
            position.advance(Some(mid(next)));
            assert_eq!(position, Position::Mid(mid(expected)));
        }
    }

    #[test]
    fn both_forms_of_nchan_are_one() {
        let payload = b"id: 1795406332:[0],-,-\ncontent-type: text/plain\n\nbody\n\nmore";
        let (position, body) = split_meta(payload).unwrap();
        assert_eq!((position, body), (at("1795406332:[0],-,-"), &b"body\n\nmore"[..]));
        assert_eq!(split_meta(b"body"), None);
        let date = &b"Mon, 23 Nov 2026 11:18:52 GMT"[..];
        assert_eq!(of_headers(Some(date), Some(b"[0],-,-")), Some(at("1795432732:[0],-,-")));
        assert_eq!(of_headers(Some(date), Some(b"a b")), None);
        assert_eq!(of_headers(None, Some(b"1")), None);
    }
}
