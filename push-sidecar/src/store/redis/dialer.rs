//! Where connections to Redis come from: an address, or streams that somebody else opens.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// What Redis is talked to over.
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
    pub(super) async fn commands(&self, limit: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        match self {
            Self::Address(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await
            }
            Self::Streams(open) => {
                let info = RedisConnectionInfo::default();
                let dialled = async {
                    let stream = open().await?;
                    MultiplexedConnection::new_with_config(&info, stream, config).await
                };
                let (connection, driver) =
                    timeout(limit, dialled).await.map_err(io::Error::from)??;
                // It ends with the last handle of the connection.
                tokio::task::spawn_local(driver);
                Ok(connection)
            }
        }
    }

    /// A connection for the subscription.
    pub(super) async fn subscription(&self) -> RedisResult<PubSub> {
        match self {
            Self::Address(client) => client.get_async_pubsub().await,
            Self::Streams(open) => {
                PubSub::new(&RedisConnectionInfo::default(), open().await?).await
            }
        }
    }
}
