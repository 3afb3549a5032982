//! The wire of Redis: RESP2, and of RESP3 what a subscriber gets.

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// A word.
    Status(&'static str),
    /// Why not; begins with a code.
    Error(String),
    /// Several.
    Array(Vec<Reply>),
    /// What a subscriber gets unasked (RESP3).
    Push(Vec<Reply>),
}

impl Reply {
    /// `OK`
    pub const OK: Self = Self::Status("OK");

    /// Bytes.
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(bytes.into())
    }

    /// A number as text, the way keys hold it.
    pub fn number(number: u64) -> Self {
        Self::Bulk(number.to_string().into_bytes())
    }

    /// Appends it as it travels.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::Int(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Self::Bulk(bytes) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Status(word) => out.extend_from_slice(format!("+{word}\r\n").as_bytes()),
            Self::Error(error) => out.extend_from_slice(format!("-{error}\r\n").as_bytes()),
            Self::Array(replies) => several(b'*', replies, out),
            Self::Push(replies) => several(b'>', replies, out),
        }
    }
}

fn several(kind: u8, replies: &[Reply], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(format!("{}\r\n", replies.len()).as_bytes());
    for reply in replies {
        reply.encode(out);
    }
}

/// Takes one complete command off the front of what has come; `None`: more is needed.
pub fn take_command(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let count = header(input, &mut at, b'*')?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let len = header(input, &mut at, b'$')?;
        parts.push(input.get(at..at + len)?.to_vec());
        at += len + 2;
    }
    if at > input.len() {
        return None;
    }
    input.drain(..at);
    Some(parts)
}

fn header(input: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let rest = input.get(*at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(rest[0], kind, "the client speaks RESP arrays of bulk strings");
    *at += end + 2;
    std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_when_they_are_complete() {
        let whole = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n";
        for cut in 0..23 {
            assert_eq!(take_command(&mut whole[..cut].to_vec()), None);
        }
        let mut input = whole.to_vec();
        assert_eq!(take_command(&mut input), Some(vec![b"GET".to_vec(), b"a\r\nb".to_vec()]));
        assert_eq!(take_command(&mut input), Some(vec![b"PING".to_vec()]));
        assert_eq!(take_command(&mut input), None);
    }

    #[test]
    fn replies_travel_as_redis_writes_them() {
        let reply = Reply::Array(vec![Reply::Int(-1), Reply::Nil, Reply::bulk("ab"), Reply::OK]);
        let mut out = Vec::new();
        reply.encode(&mut out);
        assert_eq!(out, b"*4\r\n:-1\r\n$-1\r\n$2\r\nab\r\n+OK\r\n");
    }
}
