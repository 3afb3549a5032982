//! A subscriber's stream: in clear, or through OpenSSL with the settings that nginx gives it.

use std::io::{self, Read, Write};
use std::path::Path;

use mio::net::TcpStream;
use openssl::ssl::{
    Ssl, SslAcceptor, SslFiletype, SslMethod, SslMode, SslSessionCacheMode, SslStream,
};

use crate::error::{Error, Result};

/// Bytes in, bytes out.
pub enum Stream {
    /// As they are.
    Clear(TcpStream),
    /// As records of TLS; the handshake is done by the first reads.
    Tls(Box<SslStream<TcpStream>>),
}

impl Stream {
    /// A stream that was accepted, with TLS if there is an acceptor for it.
    pub fn new(stream: TcpStream, tls: Option<&SslAcceptor>) -> io::Result<Self> {
        let Some(tls) = tls else {
            return Ok(Self::Clear(stream));
        };
        let mut ssl = Ssl::new(tls.context())?;
        ssl.set_accept_state();
        Ok(Self::Tls(Box::new(SslStream::new(ssl, stream)?)))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// TLS with this certificate. Buffers are released while a connection is idle, and no sessions are
/// kept.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<SslAcceptor> {
    let make = || {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        builder.set_mode(SslMode::RELEASE_BUFFERS | SslMode::ENABLE_PARTIAL_WRITE);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_num_tickets(0)?;
        Ok(builder.build())
    };
    make().map_err(|error: openssl::error::ErrorStack| {
        Error::Usage(format!("{}, {}: {error}", certificate.display(), key.display()))
    })
}
