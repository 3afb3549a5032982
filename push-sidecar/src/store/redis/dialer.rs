//! Where connections to Redis come from: an address, or streams that somebody else opens.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisResult,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::lean_socket::LeanSocket;

/// A byte stream, in clear or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>>>>;

/// See the module.
#[derive(Clone)]
pub enum Dialer {
    /// The system's sockets.
    Address(Rc<Client>),
    /// Any streams, to a Redis without a password, database 0.
    Streams(Rc<dyn Fn() -> Opening>),
}

impl Dialer {
    /// The number of the database.
    pub fn database(&self) -> i64 {
        match self {
            Self::Address(client) => client.get_connection_info().redis_settings().db(),
            Self::Streams(_) => 0,
        }
    }

    /// A connection for commands. `limit`: of dialling, and of each command from sending to answer.
    pub(super) async fn commands(&self, limit: Duration) -> RedisResult<Dialled> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(limit));
        self.dial(limit, config, ProtocolVersion::RESP2).await
    }

    /// A connection for commands and subscriptions, and what comes of the latter. `limit`: of
    /// dialling; `patience`: of each command.
    pub(super) async fn subscription(
        &self,
        limit: Duration,
        patience: Duration,
    ) -> RedisResult<(Dialled, UnboundedReceiver<PushInfo>)> {
        let (pushes, receiver) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(patience))
            .set_push_sender(pushes);
        Ok((self.dial(limit, config, ProtocolVersion::RESP3).await?, receiver))
    }

    async fn dial(
        &self,
        limit: Duration,
        config: AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> RedisResult<Dialled> {
        let config = config.set_connection_timeout(Some(limit));
        let dialled = async {
            match self {
                Self::Address(client) => {
                    let info = client.get_connection_info();
                    let redis = info.redis_settings().clone().set_protocol(protocol);
                    let ConnectionAddr::Unix(path) = info.addr() else {
                        let client = Client::open(info.clone().set_redis_settings(redis))?;
                        let dialled = client.get_multiplexed_async_connection_with_config(&config);
                        return Ok(Dialled { connection: dialled.await?, _driver: None });
                    };
                    let socket = LeanSocket::new(UnixStream::connect(path).await?)?;
                    Dialled::on(socket, &redis, config).await
                }
                Self::Streams(open) => {
                    let redis = RedisConnectionInfo::default().set_protocol(protocol);
                    Dialled::on(open().await?, &redis, config).await
                }
            }
        };
        timeout(limit, dialled).await.map_err(io::Error::from)?
    }
}

/// A connection.
#[derive(Clone)]
pub(super) struct Dialled {
    pub(super) connection: MultiplexedConnection,
    /// What reads and writes for it, if that is ours.
    _driver: Option<Rc<Driver>>,
}

impl Dialled {
    async fn on(
        stream: impl Stream + 'static,
        info: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let (connection, driver) =
            MultiplexedConnection::new_with_config(info, stream, config).await?;
        let driver = Rc::new(Driver(tokio::task::spawn_local(driver)));
        Ok(Self { connection, _driver: Some(driver) })
    }
}

/// A task that ends with the last one who waits for an answer: a connection that was given up is
/// closed, whether Redis answers or not.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
