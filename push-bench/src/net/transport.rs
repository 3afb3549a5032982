//! One connection to a server: non-blocking TCP, with TLS in it if the target wants it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::tls;
use crate::target::Endpoint;

/// A connection. What does not fit into the socket is kept and written when there is room.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pending: Vec<u8>,
}

impl Transport {
    /// Begins to connect, from `source` if it is given. The poll tells when it is writable.
    pub fn connect(
        endpoint: &Endpoint,
        source: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let domain = Domain::for_address(endpoint.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&endpoint.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = if endpoint.tls {
            let name = ServerName::from(endpoint.address.ip());
            let connection =
                ClientConnection::new(tls::config(), name).map_err(io::Error::other)?;
            Some(Box::new(connection))
        } else {
            None
        };
        Ok(Self { stream, tls, pending: Vec::new() })
    }

    /// How the attempt to connect went, once the socket is writable.
    pub fn connected(&self) -> io::Result<()> {
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Writes all of it, now or when there is room.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        let mut rest = bytes;
        while self.pending.is_empty() && !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what is pending. To be called when the socket is writable.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.write(&pending)?;
        }
        Ok(())
    }

    /// Reads what there is through `buffer` and hands it to `take`. Returns false at the end of
    /// the stream. `ended`: the poll has said that the peer sends no more.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        ended: bool,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        if self.tls.is_some() {
            return self.read_tls(buffer, take);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => {
                    take(&buffer[..len]);
                    // A short read has emptied the socket (epoll(7)): no need to be told so.
                    if len < buffer.len() && !ended {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn read_tls(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(false);
        };
        let mut open = true;
        while open {
            match tls.read_tls(&mut self.stream) {
                Ok(0) => open = false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(buffer) {
                    Ok(0) => return Ok(false),
                    Ok(len) => take(&buffer[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Ok(false),
                }
            }
        }
        // The handshake answers what it reads.
        self.flush()?;
        Ok(open)
    }

    /// Ends the connection with a reset, as a client that is gone: no port is left in `TIME_WAIT`.
    pub fn reset(mut self, registry: &Registry) {
        // A socket that is gone already is as good.
        let _ = SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
        let _ = registry.deregister(&mut self.stream);
    }
}
