//! HTTP/2 over TLS.

use std::io;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::task::JoinHandle;

use crate::http1::Response;
use crate::net::Endpoint;
use crate::wait::soon;

/// One connection with any number of requests on it.
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl Http2 {
    /// Connects; the endpoint's TLS must offer `h2`.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let stream = endpoint.connect().await?;
        let (requests, connection) =
            h2::client::handshake(stream).await.map_err(io::Error::other)?;
        let connection = tokio::spawn(async move {
            // How it ends shows in the requests.
            let _ = connection.await;
        });
        Ok(Self { requests, connection })
    }

    /// Sends a request and waits for its answer, as long as it takes.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> io::Result<Response> {
        let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(io::Error::other)?;
        let mut ready = self.requests.clone().ready().await.map_err(io::Error::other)?;
        let (answer, mut out) =
            ready.send_request(request, body.is_empty()).map_err(io::Error::other)?;
        if !body.is_empty() {
            out.send_data(body.into(), true).map_err(io::Error::other)?;
        }
        let (head, mut incoming) = answer.await.map_err(io::Error::other)?.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = soon("the rest of the body", incoming.data()).await {
            let chunk = chunk.map_err(io::Error::other)?;
            incoming.flow_control().release_capacity(chunk.len()).map_err(io::Error::other)?;
            body.extend_from_slice(&chunk);
        }
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Response { status: head.status.as_u16(), headers, body })
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
