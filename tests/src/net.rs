//! Byte streams to the server, in clear or over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// What a client reads from and writes to.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, in clear or over TLS.
pub type Stream = Box<dyn Io>;

/// Where to connect, and how.
#[derive(Clone)]
pub struct Endpoint {
    /// The server's address.
    pub address: SocketAddr,
    /// Over TLS with this configuration, or in clear.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// In clear.
    pub fn clear(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Connects.
    pub async fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        self.secure(tcp).await
    }

    /// Connects with a receive buffer of about `bytes`, so that the server soon feels that nobody
    /// reads.
    pub async fn connect_narrow(&self, bytes: u32) -> io::Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        self.secure(socket.connect(self.address).await?).await
    }

    async fn secure(&self, tcp: TcpStream) -> io::Result<Stream> {
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Ok(Box::new(TlsConnector::from(config.clone()).connect(name, tcp).await?))
            }
        }
    }
}
