//! A way to Redis on which subscriptions can fall silent, while commands go through: what a
//! firewall that has forgotten a connection does to one that only listens.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

pub struct SilentProxy {
    folder: TempDir,
    silent: Arc<AtomicBool>,
}

impl SilentProxy {
    /// In front of the Redis whose socket that is. A connection's threads end with
    /// it, the one that accepts with the test's process.
    pub fn start(redis: PathBuf) -> Self {
        let folder = TempDir::new().expect("a folder");
        let silent = Arc::new(AtomicBool::new(false));
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).expect("a socket");
        let shared = Arc::clone(&silent);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if let Ok(server) = UnixStream::connect(&redis) {
                    join(&client, &server, &shared).expect("threads");
                }
            }
        });
        Self { folder, silent }
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("proxy.sock").display())
    }

    /// What subscriptions are sent from now on goes nowhere, or gets there again.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}

fn join(client: &UnixStream, server: &UnixStream, silent: &Arc<AtomicBool>) -> io::Result<()> {
    let subscribes = Arc::new(AtomicBool::new(false));
    let (from, to, mark) = (client.try_clone()?, server.try_clone()?, Arc::clone(&subscribes));
    thread::spawn(move || {
        copy(from, to, |bytes| {
            if bytes.windows(10).any(|word| word.eq_ignore_ascii_case(b"PSUBSCRIBE")) {
                mark.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    let (from, to, silent) = (server.try_clone()?, client.try_clone()?, Arc::clone(silent));
    thread::spawn(move || {
        copy(from, to, |_| !(subscribes.load(Ordering::SeqCst) && silent.load(Ordering::SeqCst)));
    });
    Ok(())
}

fn copy(mut from: UnixStream, mut to: UnixStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if passes(&buffer[..count]) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other direction ends, too.
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
