//! One HTTP request on a connection of its own.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use url::Url;

use super::dial::{Dialler, Failure, authority};

/// Larger answers are nothing that a push server says.
const MAX_BODY: usize = 16 << 20;
/// Who asks.
pub const AGENT: &str = concat!("push-sidecar/", env!("CARGO_PKG_VERSION"));

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// E.g. 200.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From the request to the end of the answer, dialling not counted.
    pub took: Duration,
}

impl Answer {
    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The beginning of the body in one line.
    pub fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: Vec<&str> = text.split_whitespace().collect();
        line.join(" ").chars().take(100).collect()
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// Scheme, host and port to dial.
    pub url: &'a Url,
    /// Path and query, as they are sent.
    pub target: String,
    /// Besides `Host`, `User-Agent` and `Connection`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is posted.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub patience: Duration,
}

impl<'a> Ask<'a> {
    /// `GET` of a target.
    pub fn get(url: &'a Url, target: impl Into<String>, patience: Duration) -> Self {
        let (method, target) = (Method::GET, target.into());
        Self { method, url, target, headers: Vec::new(), body: Vec::new(), patience }
    }

    /// Asks and waits for the whole answer.
    pub async fn ask(self, dialler: &Dialler) -> Result<Answer, Failure> {
        let patience = self.patience;
        let stream = dialler.dial(self.url).await?;
        let asking = self.ask_on(stream);
        tokio::time::timeout(patience, asking)
            .await
            .unwrap_or(Err(Failure::Silent { what: "answer", patience }))
    }

    async fn ask_on(self, stream: Box<dyn super::dial::Stream>) -> Result<Answer, Failure> {
        let ended = |error: &dyn std::fmt::Display| {
            Failure::Ended(format!("the connection ended before an answer came: {error}"))
        };
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header(HOST, authority(self.url))
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(self.body)))
            .map_err(|error| Failure::Address(error.to_string()))?;
        let start = Instant::now();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ended(&error))?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| ended(&error))?;
            let (head, body) = answer.into_parts();
            let body =
                Limited::new(body, MAX_BODY).collect().await.map_err(|error| ended(&error))?;
            let (status, headers) = (head.status.as_u16(), head.headers);
            Ok(Answer { status, headers, body: body.to_bytes(), took: start.elapsed() })
        }
        .await;
        driver.abort();
        answer
    }
}
