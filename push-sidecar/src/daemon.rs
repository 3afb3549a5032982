//! The daemon from start to end.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::config::{Config, hide_password};
use crate::exchange::Exchange;
use crate::link_server::{self, ListenError, Peers, Socket};
use crate::logging;
use crate::store::memory::MemoryStore;
use crate::store::redis::RedisStore;
use crate::store::{Events, Store, StoreError};

/// For publishes to finish, and again for links to take what is queued.
const DRAIN: Duration = Duration::from_secs(2);
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// Why the daemon could not start. Its text is the error message.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A user that is not there.
    #[error("socket_users: {0}")]
    Users(String),
    /// The store's configuration is of no use.
    #[error("{0}")]
    Store(StoreError),
    /// The process id cannot be written.
    #[error("{}: {error}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system refuses what every process is given.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(config: &Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        if let Some(options) = config.redis_options() {
            tracing::info!(url = hide_password(&options.url), "store: redis");
            let (store, events) = RedisStore::open(&options).map_err(StartError::Store)?;
            serve(config, store, events).await
        } else {
            tracing::info!(max_bytes = config.memory.max_bytes, "store: memory");
            let (store, events) =
                MemoryStore::new(config.memory.max_bytes, config.online_seconds());
            serve(config, store, events).await
        }
    }))
}

async fn serve<S: Store + 'static>(
    config: &Config,
    store: S,
    events: Events,
) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let socket = if let Some(socket) = Socket::from_environment()? {
        tracing::info!("the socket is the service manager's");
        socket
    } else {
        let group = Some(&config.socket_group[..]).filter(|group| !group.is_empty());
        tracing::info!(socket = %config.socket.display(), "making the socket");
        Socket::bind(&config.socket, group)?
    };
    let peers = Peers::named(&config.socket_users).map_err(StartError::Users)?;
    let _pid_file = PidFile::write(&config.pid_file)?;
    let exchange = Exchange::new(store, config.exchange_options());
    tokio::task::spawn_local(Rc::clone(&exchange).run(events));
    tokio::task::spawn_local(Rc::clone(&exchange).keep_presence());
    tokio::task::spawn_local(Rc::clone(&exchange).keep_statistics());
    tokio::task::spawn_local(Rc::clone(&exchange).keep_samples());
    exchange.watch_also(socket.watch());
    let watchdog = sd_notify::watchdog_enabled().is_some();
    let told = RefCell::new(String::new());
    tokio::task::spawn_local(Rc::clone(&exchange).watch(move |line| {
        // A loop that turns is all that a restart could mend; Redis is not.
        if watchdog {
            notify(&[NotifyState::Watchdog]);
        }
        if *told.borrow() != line {
            line.clone_into(&mut told.borrow_mut());
            notify(&[NotifyState::Status(line)]);
        }
    }));
    notify(&[NotifyState::Ready]);
    tracing::info!("listening");
    tokio::select! {
        () = link_server::serve(&socket.listener, &peers, &exchange) => {}
        () = keep_house(&exchange) => {}
        _ = terminate.recv() => tracing::info!("SIGTERM, draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT, draining"),
    }
    notify(&[NotifyState::Stopping]);
    // Nobody new: the file goes first, so that workers wait for the next sidecar.
    drop(socket);
    exchange.drain(DRAIN).await;
    tracing::info!("ended");
    Ok(())
}

async fn keep_house<S: Store + 'static>(exchange: &Rc<Exchange<S>>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        exchange.store().housekeeping();
        logging::tell_left_out();
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Without systemd nothing happens; with it, a failure shows there.
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// The process id, as long as it lives.
struct PidFile(PathBuf);

impl PidFile {
    /// Nothing is written for an empty path.
    fn write(path: &Path) -> Result<Option<Self>, StartError> {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| StartError::PidFile { path: path.to_owned(), error })?;
        Ok(Some(Self(path.to_owned())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // It may have been removed by somebody else.
        let _ = std::fs::remove_file(&self.0);
    }
}
