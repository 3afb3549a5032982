//! Child processes that do not outlive their test.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait;

/// A child whose output goes to a file. Dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn spawn(command: &mut Command, log: &Path) -> io::Result<Self> {
        Self::spawn_on(command, Stdio::null(), log)
    }

    /// [`Process::spawn`] with something on its standard input.
    pub fn spawn_on(command: &mut Command, input: Stdio, log: &Path) -> io::Result<Self> {
        let out: File = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(input)
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far; nothing if that went to a device.
    pub fn output(&self) -> String {
        read_log(&self.log)
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended just now, which is what every caller wants anyway.
        let _ = signal::kill(Pid::from_raw(self.pid() as i32), signal);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Sends `signal` and waits for the end, by force after 10 seconds. Returns the status.
    pub fn end_by(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        wait::until_blocking("the process ends", wait::SOON + Duration::from_secs(5), || {
            self.ended().is_some()
        });
        self.ended().expect("it has ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// The text of a log file; nothing if it is missing or a device, some of which never end.
pub fn read_log(path: &Path) -> String {
    if path.is_file() { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// The processor time that a process has used, in user mode and for it in the kernel; `None` when
/// it is gone. Counted in ticks of 10 ms.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; `utime` and `stime` are the 12th and 13th behind.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Some(Duration::from_millis((ticks.next()?.ok()? + ticks.next()?.ok()?) * 10))
}
