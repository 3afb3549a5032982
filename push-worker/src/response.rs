//! Answers to HTTP requests (PROTOCOL.md, sections 4, 5, 8, 10).

use bytes::Bytes;
use push_protocol::{ApiError, Mid};

/// The `Content-Type` of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentType {
    /// `text/plain`
    Text,
    /// `application/octet-stream`
    Binary,
    /// Prometheus' text format, for operators alone.
    Metrics,
    /// `application/json`, for operators alone.
    Json,
    /// `text/html`, for operators alone.
    Html,
}

/// The `Last-Message-Id` of a 304.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastMessageId {
    /// There is no stored message: the header stands there without a value.
    Empty,
    /// The newest, or the `mid` the client gave.
    Is(Mid),
}

/// An answer. Every answer carries `Access-Control-Allow-Origin: *`, unless it is for operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The type of the body; also sent with an empty one.
    pub content_type: ContentType,
    /// The body.
    pub body: Bytes,
    /// `Access-Control-Expose-Headers: Last-Message-Id`.
    pub expose_last_message_id: bool,
    /// `Last-Message-Id`, and with it `Expires: Thu, 01 Jan 1973 11:11:01 GMT`.
    pub last_message_id: Option<LastMessageId>,
    /// The answer to a preflight: `Access-Control-Allow-Methods` and `-Headers`.
    pub preflight: bool,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
}

impl Response {
    /// Whether it is for operators alone: no other site's page may read it, nobody keeps it.
    pub fn is_confidential(&self) -> bool {
        matches!(self.content_type, ContentType::Metrics | ContentType::Json | ContentType::Html)
    }

    /// A bare one with `text/plain`.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            content_type: ContentType::Text,
            body: Bytes::new(),
            expose_last_message_id: false,
            last_message_id: None,
            preflight: false,
            retry_after: None,
        }
    }

    /// 200 with a body.
    pub fn ok(content_type: ContentType, body: impl Into<Bytes>) -> Self {
        Self { content_type, body: body.into(), ..Self::new(200) }
    }

    /// An error on pub and rest.
    pub fn error(error: ApiError) -> Self {
        Self { body: error.to_string().into(), ..Self::new(error.http_status()) }
    }

    /// An error on sub.
    pub fn sub_error(error: ApiError) -> Self {
        Self { expose_last_message_id: true, ..Self::error(error) }
    }

    /// 304 of a poll that waited in vain.
    pub fn nothing_new(last: LastMessageId) -> Self {
        Self { expose_last_message_id: true, last_message_id: Some(last), ..Self::new(304) }
    }

    /// 503: nothing was done, it may be tried again in a second.
    pub fn unavailable() -> Self {
        Self {
            body: Bytes::from_static(b"The push sidecar is not reachable, try again."),
            retry_after: Some(1),
            ..Self::new(503)
        }
    }

    /// 504: the time is up, and whether it was done is not known.
    pub fn unknown() -> Self {
        Self {
            body: Bytes::from_static(
                b"The push store did not answer in time. The message may have been stored.",
            ),
            ..Self::new(504)
        }
    }

    /// The answer to a preflight (`OPTIONS`).
    pub fn preflight() -> Self {
        Self { preflight: true, ..Self::new(200) }
    }
}
