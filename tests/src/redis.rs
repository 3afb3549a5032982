//! A Redis of the test's own, on a Unix socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::wait;

/// What a Redis that was killed comes back with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Persistence {
    /// Nothing.
    #[default]
    None,
    /// Everything that it has answered: an append-only file, synced before each answer.
    Always,
}

/// A running `redis-server`.
pub struct Redis {
    process: Process,
    folder: PathBuf,
    persistence: Persistence,
    hidden: bool,
}

impl Redis {
    /// Starts one whose files are in `folder`, and which keeps nothing on disk.
    pub fn start(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, Persistence::None)
    }

    /// Starts one whose files are in `folder`.
    pub fn start_with(folder: &Path, persistence: Persistence) -> io::Result<Self> {
        let process = Self::spawn(folder, persistence, &[])?;
        let redis = Self { process, folder: folder.to_owned(), persistence, hidden: false };
        redis.wait_ready();
        Ok(redis)
    }

    fn spawn(folder: &Path, persistence: Persistence, options: &[&str]) -> io::Result<Process> {
        let append_only = match persistence {
            Persistence::None => "no",
            Persistence::Always => "yes",
        };
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--daemonize", "no"]);
        command.args(["--appendonly", append_only, "--appendfsync", "always"]);
        command.arg("--unixsocket").arg(folder.join("redis.sock")).arg("--dir").arg(folder);
        command.args(options);
        Process::spawn(&mut command, &folder.join("redis.log"))
    }

    fn wait_ready(&self) {
        // An append-only file is read first.
        wait::until_blocking("Redis answers", 3 * wait::SOON, || {
            self.command(&["PING"]).is_ok_and(|answer| answer.starts_with("+PONG"))
        });
    }

    /// Its address as the sidecar wants it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.folder.join("redis.sock").display())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Redis::kill`]; it comes back with what its [`Persistence`] says.
    pub fn restart(&mut self) -> io::Result<()> {
        self.restart_with(&[])
    }

    /// [`Redis::restart`] with more options.
    pub fn restart_with(&mut self, options: &[&str]) -> io::Result<()> {
        let _ = std::fs::remove_file(self.folder.join("redis.sock"));
        self.process = Self::spawn(&self.folder, self.persistence, options)?;
        self.wait_ready();
        Ok(())
    }

    /// Takes its socket away, so that nobody can connect, or puts it back. Connections stay.
    pub fn hide(&mut self, hidden: bool) -> io::Result<()> {
        let from = self.socket();
        self.hidden = hidden;
        std::fs::rename(from, self.socket())
    }

    /// Bytes of its append-only files.
    pub fn append_only_bytes(&self) -> io::Result<u64> {
        let files = std::fs::read_dir(self.folder.join("appendonlydir"))?;
        files.map(|file| Ok(file?.metadata()?.len())).sum()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(if self.hidden { "redis.sock.hidden" } else { "redis.sock" })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends one command and returns the start of the raw answer, at most 4 KiB of it.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(wait::SOON))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
        }
        stream.write_all(request.as_bytes())?;
        let mut answer = [0; 4096];
        let len = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
    }
}
