//! HTTP/1 as it stands on the wire, for clients that are well-behaved and for those that are not.

use std::io;

use futures_util::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::net::{Endpoint, Stream};
use crate::wait::soon;

/// A request to be sent in one piece.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// `GET target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, Vec::new())
    }

    /// `POST target` with a body of known length.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self::new("POST", target, body).header("Content-Length", &length)
    }

    /// Any method.
    pub fn new(method: &str, target: &str, body: Vec<u8>) -> Self {
        Self {
            head: format!("{method} {target}"),
            version: "HTTP/1.1",
            headers: vec![("Host".into(), "localhost".into())],
            body,
        }
    }

    /// As HTTP/1.0.
    #[must_use]
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bytes of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {}\r\n", self.head, self.version);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// E.g. 200.
    pub status: u16,
    /// In the order of arrival.
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

/// One connection, used as often as the server keeps it.
pub struct Http1 {
    stream: BufReader<Stream>,
}

impl Http1 {
    /// Connects.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(endpoint.connect().await?) })
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.to_bytes()).await?;
        soon("an answer", self.response()).await
    }

    /// Reads one answer. Waits as long as it takes.
    pub async fn response(&mut self) -> io::Result<Response> {
        let line = self.line().await?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("no colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        response.body = self.body(&response).await?;
        Ok(response)
    }

    async fn body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.status < 200 || head.status == 204 || head.status == 304 {
            return Ok(body);
        }
        if head.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let size =
                    usize::from_str_radix(&self.line().await?, 16).map_err(io::Error::other)?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).await?;
                self.line().await?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match head.header("Content-Length") {
            Some(length) => {
                body.resize(length.parse().map_err(io::Error::other)?, 0);
                self.stream.read_exact(&mut body).await?;
            }
            None => {
                self.stream.read_to_end(&mut body).await?;
            }
        }
        Ok(body)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads whatever comes, to the end of the connection.
    pub async fn rest(&mut self, rest: &mut Vec<u8>) -> io::Result<()> {
        self.stream.read_to_end(rest).await.map(drop)
    }

    /// Whether the server has ended the connection, with nothing more to read.
    pub async fn ended(&mut self) -> bool {
        let rest = soon("the end of the connection", self.stream.fill_buf()).await;
        rest.is_ok_and(<[u8]>::is_empty)
    }

    /// Whether the server has ended the connection, or said something unasked, so far as is known
    /// without waiting: no good for another request.
    pub fn is_stale(&mut self) -> bool {
        self.stream.fill_buf().now_or_never().is_some()
    }

    /// Gives the stream back, for what HTTP does not cover.
    pub fn into_stream(self) -> BufReader<Stream> {
        self.stream
    }
}

/// One request on a connection of its own.
pub async fn once(endpoint: &Endpoint, request: Request) -> io::Result<Response> {
    Http1::connect(endpoint).await?.request(&request.header("Connection", "close")).await
}
