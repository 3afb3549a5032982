//! Answers of HTTP/1.1, read as far as a load generator needs it.

use std::borrow::Cow;

use memchr::memmem;

/// The longest head that is waited for, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The bytes are no HTTP answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server's answer is not HTTP/1.1")]
pub struct Malformed;

/// A complete answer.
#[derive(PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Its status.
    pub status: u16,
    /// The lines of its head.
    pub lines: &'a [u8],
    /// Its body.
    pub body: Cow<'a, [u8]>,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
    /// Bytes that it took of the input.
    pub len: usize,
}

/// A head: the status, the headers' lines, its length with the empty line.
pub type Head<'a> = (u16, &'a [u8], usize);

/// The head at the front of `data`; `None` while it is not complete.
pub fn head(data: &[u8]) -> Result<Option<Head<'_>>, Malformed> {
    let Some(end) = memmem::find(data, b"\r\n\r\n") else {
        return if data.len() < MAX_HEAD { Ok(None) } else { Err(Malformed) };
    };
    let lines = &data[..end + 2];
    let status = lines
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or(Malformed)?;
    Ok(Some((status, lines, end + 4)))
}

/// The value of the first header of this name (lower case) among the lines of a head.
pub fn header<'a>(lines: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
    })
}

/// A complete answer at the front of `data`, `None` while it is not complete. An answer that ends
/// with its connection is not understood.
pub fn response(data: &[u8]) -> Result<Option<Response<'_>>, Malformed> {
    let Some((status, lines, start)) = head(data)? else {
        return Ok(None);
    };
    let connection = header(lines, b"connection").unwrap_or_default();
    let keep_alive = !connection.eq_ignore_ascii_case(b"close");
    let coding = header(lines, b"transfer-encoding").unwrap_or_default();
    let (body, len) = if coding.eq_ignore_ascii_case(b"chunked") {
        match chunks(&data[start..])? {
            Some((body, len)) => (body, start + len),
            None => return Ok(None),
        }
    } else {
        let len = match header(lines, b"content-length") {
            Some(digits) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or(Malformed)?,
            None if status == 204 || status == 304 => 0,
            None => return Err(Malformed),
        };
        match data[start..].get(..len) {
            Some(body) => (Cow::Borrowed(body), start + len),
            None => return Ok(None),
        }
    };
    Ok(Some(Response { status, lines, body, keep_alive, len }))
}

/// A body, and how many bytes it takes.
type Body<'a> = (Cow<'a, [u8]>, usize);

/// A chunked body. One chunk is borrowed, several are put together.
fn chunks(data: &[u8]) -> Result<Option<Body<'_>>, Malformed> {
    let mut body = Cow::Borrowed(&[][..]);
    let mut at = 0;
    loop {
        let Some(line) = memmem::find(&data[at..], b"\r\n") else {
            return Ok(None);
        };
        let digits = data[at..at + line].split(|byte| *byte == b';').next();
        let len = std::str::from_utf8(digits.unwrap_or_default())
            .ok()
            .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
            .ok_or(Malformed)?;
        let start = at + line + 2;
        let Some(chunk) = data.get(start..start.saturating_add(len)) else {
            return Ok(None);
        };
        match data.get(start + len..start + len + 2) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(_) => return Err(Malformed),
        }
        at = start + len + 2;
        if len == 0 {
            return Ok(Some((body, at)));
        }
        if body.is_empty() {
            body = Cow::Borrowed(chunk);
        } else {
            body.to_mut().extend_from_slice(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_waits_for_more() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        ] {
            for len in 0..text.len() {
                assert_eq!(response(&text[..len]), Ok(None), "{len}");
            }
            let mut more = text.to_vec();
            more.extend_from_slice(b"HTTP/1.1 304");
            let whole = response(&more).unwrap().unwrap();
            assert_eq!((whole.status, &*whole.body), (200, &b"hello"[..]));
            assert_eq!((whole.len, whole.keep_alive), (text.len(), true));
        }
    }

    #[test]
    fn an_answer_may_end_the_connection() {
        let text = b"HTTP/1.1 304 Not Modified\r\nConnection: Close\r\n\r\n";
        let answer = response(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.keep_alive), (304, false));
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert_eq!(response(text), Err(Malformed), "{}", text.escape_ascii());
        }
        assert_eq!(response(&[b'x'; MAX_HEAD]), Err(Malformed));
    }
}
