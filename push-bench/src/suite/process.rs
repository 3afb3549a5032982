//! A process of a measurement: started with its output in a file, ended by its id.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// How long a process may take to be ready, or to end when it was told to.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// A running process. It is ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    /// Starts it. Its output goes to `NAME.log` in `dir`, its id to `NAME.pid`, by which a script
    /// can end it if this program cannot.
    pub fn start(dir: &Path, name: &str, command: &mut Command) -> Result<Self> {
        let (log, pid_file) = (dir.join(format!("{name}.log")), dir.join(format!("{name}.pid")));
        let file = File::create(&log).map_err(Error::io(log.display().to_string()))?;
        let also = file.try_clone().map_err(Error::io(name))?;
        command.stdin(Stdio::null()).stdout(file).stderr(also);
        let child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        fs::write(&pid_file, child.id().to_string()).map_err(Error::io(name))?;
        Ok(Self { name: name.to_owned(), child, log, pid_file })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` says so; an error when the process ends before.
    pub fn await_ready(&mut self, ready: impl Fn(&Self) -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready(self) {
            let ended = self.child.try_wait().map_err(Error::io(self.name.clone()))?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                return Err(Error::Server(format!(
                    "{} does not start:\n{}",
                    self.name,
                    self.said()
                )));
            }
            thread::sleep(STEP);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(STEP);
        }
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// An address on loopback that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(Error::io("a free port"))
}

/// Whether somebody listens there.
pub fn listening(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
