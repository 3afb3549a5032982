//! Redis as it stands on the wire (RESP 2): enough to look at what a server has written.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// What Redis answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A status.
    Status(String),
    /// A number.
    Number(i64),
    /// Bytes, or none.
    Bytes(Option<Vec<u8>>),
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// The number.
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("a number is expected: {other:?}"),
        }
    }

    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(Some(bytes)) => bytes,
            Self::Status(status) => status.into_bytes(),
            other => panic!("bytes are expected: {other:?}"),
        }
    }

    /// The entries.
    pub fn list(self) -> Vec<Self> {
        match self {
            Self::List(list) => list,
            other => panic!("a list is expected: {other:?}"),
        }
    }
}

/// A connection to a Redis on a Unix socket.
pub struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects.
    pub async fn open(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(socket).await?) })
    }

    /// Sends one command and reads its answer.
    pub async fn command(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.stream.write_all(&request).await?;
        self.reply().await
    }

    /// Subscribes to all channels that match a pattern.
    pub async fn subscribe(&mut self, pattern: &str) -> io::Result<()> {
        self.command(&[b"PSUBSCRIBE", pattern.as_bytes()]).await.map(drop)
    }

    /// The channel and the payload of the next announcement.
    pub async fn announcement(&mut self) -> io::Result<(String, Vec<u8>)> {
        let [_, _, channel, payload] = <[Reply; 4]>::try_from(self.reply().await?.list())
            .map_err(|list| io::Error::other(format!("no announcement: {list:?}")))?;
        Ok((String::from_utf8_lossy(&channel.bytes()).into_owned(), payload.bytes()))
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        match kind {
            "+" => Ok(Reply::Status(rest.to_owned())),
            ":" => Ok(Reply::Number(number()?)),
            "$" => {
                let Ok(len) = usize::try_from(number()?) else {
                    return Ok(Reply::Bytes(None));
                };
                let mut bytes = vec![0; len + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(len);
                Ok(Reply::Bytes(Some(bytes)))
            }
            "*" => {
                let mut list = Vec::new();
                for _ in 0..number()? {
                    list.push(Box::pin(self.reply()).await?);
                }
                Ok(Reply::List(list))
            }
            _ => Err(io::Error::other(line.to_owned())),
        }
    }
}
