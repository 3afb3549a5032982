//! The daemon under test.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::{builds, wait};

/// A running `push-sidecar`.
pub struct Sidecar {
    process: Process,
    folder: PathBuf,
    redis: Option<String>,
    environment: Vec<(&'static str, &'static str)>,
    log: PathBuf,
    /// The socket that is handed to it, as systemd does.
    handed: Option<UnixListener>,
}

/// Does what systemd does for a service with a socket: it is descriptor 3, and the environment says
/// for whom. Here the socket is the standard input.
const HAND_OVER: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 </dev/null"#;

impl Sidecar {
    /// Starts one on the socket `push-sidecar.sock` in `folder`, with the memory store or with
    /// Redis at that address.
    pub fn start(folder: &Path, redis: Option<String>) -> io::Result<Self> {
        Self::start_with(folder, redis, Vec::new())
    }

    /// [`Sidecar::start`] with options from the environment.
    pub fn start_with(
        folder: &Path,
        redis: Option<String>,
        environment: Vec<(&'static str, &'static str)>,
    ) -> io::Result<Self> {
        Self::start_on(folder, redis, environment, None)
    }

    /// [`Sidecar::start_with`] on a socket that stays open, as under systemd's socket activation.
    pub fn activate(
        folder: &Path,
        redis: Option<String>,
        environment: Vec<(&'static str, &'static str)>,
    ) -> io::Result<Self> {
        let handed = UnixListener::bind(socket(folder))?;
        Self::start_on(folder, redis, environment, Some(handed))
    }

    fn start_on(
        folder: &Path,
        redis: Option<String>,
        environment: Vec<(&'static str, &'static str)>,
        handed: Option<UnixListener>,
    ) -> io::Result<Self> {
        let log = folder.join("push-sidecar.log");
        let redis_url = redis.as_deref();
        let process = Self::spawn(folder, redis_url, &environment, &log, handed.as_ref())?;
        let folder = folder.to_owned();
        let mut sidecar = Self { process, folder, redis, environment, log, handed };
        sidecar.wait_ready();
        Ok(sidecar)
    }

    fn spawn(
        folder: &Path,
        redis: Option<&str>,
        environment: &[(&str, &str)],
        log: &Path,
        handed: Option<&UnixListener>,
    ) -> io::Result<Process> {
        let mut command = if handed.is_some() {
            let mut shell = Command::new("sh");
            shell.args(["-c", HAND_OVER]).arg(builds::sidecar());
            shell
        } else {
            Command::new(builds::sidecar())
        };
        // What `make` was given for `make run` is none of the tests' business.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"BX_PUSH_") {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        command.arg("serve").arg("--socket").arg(socket(folder));
        command.arg("--pid-file").arg(folder.join("push-sidecar.pid"));
        if let Some(url) = redis {
            command.args(["--redis", url]);
        }
        let input = match handed {
            Some(listener) => Stdio::from(OwnedFd::from(listener.try_clone()?)),
            None => Stdio::null(),
        };
        Process::spawn_on(&mut command, input, log)
    }

    fn wait_ready(&mut self) {
        wait::until_blocking("push-sidecar takes connections", wait::SOON, || {
            assert!(self.process.ended().is_none(), "push-sidecar: {}", self.process.output());
            UnixStream::connect(socket(&self.folder)).is_ok()
        });
    }

    /// `kill -9`: nothing is tidied up.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after it was killed, on the same socket.
    pub fn restart(&mut self) -> io::Result<()> {
        let (redis, environment) = (self.redis.as_deref(), &self.environment);
        let handed = self.handed.as_ref();
        self.process = Self::spawn(&self.folder, redis, environment, &self.log, handed)?;
        self.wait_ready();
        Ok(())
    }

    /// From the next start on it logs there.
    pub fn log_to(&mut self, log: &Path) {
        log.clone_into(&mut self.log);
    }

    /// The process, for signals and logs.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Where it listens.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("push-sidecar.sock")
}
