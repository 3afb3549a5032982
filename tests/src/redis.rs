//! A Redis of the test's own, on a Unix socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::wait;

/// A running `redis-server` that keeps nothing on disk.
pub struct Redis {
    process: Process,
    folder: PathBuf,
}

impl Redis {
    /// Starts one whose files are in `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let redis = Self { process: Self::spawn(folder)?, folder: folder.to_owned() };
        redis.wait_ready();
        Ok(redis)
    }

    fn spawn(folder: &Path) -> io::Result<Process> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--unixsocket").arg(folder.join("redis.sock")).arg("--dir").arg(folder);
        Process::spawn(&mut command, &folder.join("redis.log"))
    }

    fn wait_ready(&self) {
        wait::until_blocking("Redis answers", wait::SOON, || {
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

    /// Starts it again after [`Redis::kill`]; it comes back empty.
    pub fn restart(&mut self) -> io::Result<()> {
        let _ = std::fs::remove_file(self.folder.join("redis.sock"));
        self.process = Self::spawn(&self.folder)?;
        self.wait_ready();
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends one command and returns the start of the raw answer, at most 4 KiB of it.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.folder.join("redis.sock"))?;
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
