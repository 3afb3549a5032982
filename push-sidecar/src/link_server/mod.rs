//! The Unix socket that workers connect to.

mod link;
mod peers;
mod socket;

use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;

pub use link::run as run_link;
pub use peers::Peers;
pub use socket::{ListenError, Socket, group_id, open_to_all};

use crate::exchange::Exchange;
use crate::lean_socket::LeanSocket;
use crate::store::Store;

/// Accepts links, for ever; each runs as a task of its own.
pub async fn serve<S: Store + 'static>(
    listener: &UnixListener,
    peers: &Peers,
    exchange: &Rc<Exchange<S>>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(stranger) = peers.check(&stream) {
                    tracing::error!("a connection to the socket is turned away: {stranger}");
                    continue;
                }
                let exchange = Rc::clone(exchange);
                tokio::task::spawn_local(async move {
                    match LeanSocket::new(stream) {
                        Ok(LeanSocket { reading, writing }) => {
                            run_link(reading, writing, exchange).await;
                        }
                        Err(error) => {
                            tracing::error!(%error, "cannot watch a link; raise LimitNOFILE= of the unit");
                        }
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: links that end free some.
                tracing::error!(%error, "cannot accept a link; raise LimitNOFILE= of the unit");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
