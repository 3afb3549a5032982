//! What must be as before when all faults are over: counters, files, memory, logs.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use push_tests::Host;
use push_tests::http1::{self, Request};
use push_tests::{memory, nginx};

use crate::fleet::Shared;

/// Files more than at the beginning that pass: connections that are just being closed.
const FILES: i64 = 4;
/// Memory more than at the beginning that passes: half as much again, and so many bytes, since
/// allocators do not give everything back and buffers grow to the size of a burst.
const MEMORY: u64 = 16 << 20;
/// How long things may take to be as before: pings find dead peers, old workers leave.
const LIMIT: Duration = Duration::from_secs(20);

/// What the servers hold beside the clients' connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footprint {
    /// Workers' open files that are no client's connection.
    pub worker_files: i64,
    /// The sidecar's open files.
    pub sidecar_files: i64,
    /// Bytes of user memory of the workers.
    pub worker_memory: u64,
    /// Bytes of user memory of the sidecar.
    pub sidecar_memory: u64,
}

impl Footprint {
    /// As it is now.
    pub fn of(host: &mut Host, shared: &Shared) -> Self {
        let pids = host.nginx.workers();
        let clients =
            shared.websockets.load(Ordering::Relaxed) + shared.polls.load(Ordering::Relaxed);
        let worker_files = pids.iter().map(|pid| files(*pid)).sum::<i64>() - clients as i64;
        let sidecar = host.sidecar.process().pid();
        Self {
            worker_files,
            sidecar_files: files(sidecar),
            worker_memory: memory::proportional_set_size(&pids),
            sidecar_memory: memory::proportional_set_size(&[sidecar]),
        }
    }

    /// What is more than this and more than tolerated.
    fn excess(&self, now: &Self) -> Vec<String> {
        let mut excess = Vec::new();
        for (whose, before, now) in [
            ("the workers", self.worker_files, now.worker_files),
            ("the sidecar", self.sidecar_files, now.sidecar_files),
        ] {
            if now > before + FILES {
                excess.push(format!("files of {whose}: {before} before, {now} now"));
            }
        }
        for (whose, before, now) in [
            ("the workers", self.worker_memory, now.worker_memory),
            ("the sidecar", self.sidecar_memory, now.sidecar_memory),
        ] {
            if now > before + before / 2 + MEMORY {
                excess.push(format!("memory of {whose}: {before} bytes before, {now} now"));
            }
        }
        excess
    }
}

/// Open files of a process; 0 if it has just ended.
fn files(pid: u32) -> i64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as i64)
}

/// What `/server-stat/` says of this host's workers: WebSockets and polls.
async fn counted(host: &Host) -> io::Result<(usize, usize)> {
    let answer = http1::once(&host.internal(), Request::get("/server-stat/")).await?;
    let workers = host.nginx.workers();
    let all: Vec<serde_json::Value> = serde_json::from_slice(&answer.body)?;
    let mut sum = (0, 0);
    for object in all {
        // Those of workers that were killed stay for a while.
        if workers.iter().any(|pid| object["pid"] == *pid) {
            let count = |name: &str| object[name].as_u64().unwrap_or(0) as usize;
            sum = (sum.0 + count("websockets"), sum.1 + count("pollings"));
        }
    }
    Ok(sum)
}

/// Compares until nothing is wrong or time is up: what is wrong then.
pub async fn all(
    host: &mut Host,
    shared: &Shared,
    workers: usize,
    before: &Footprint,
) -> Vec<String> {
    let end = Instant::now() + LIMIT;
    loop {
        let mut wrong = Vec::new();
        let live =
            || (shared.websockets.load(Ordering::Relaxed), shared.polls.load(Ordering::Relaxed));
        match counted(host).await {
            Ok(counted) if counted == live() => {}
            Ok(counted) => wrong.push(format!(
                "/server-stat/ counts {counted:?} WebSockets and polls; there are {:?}",
                live()
            )),
            Err(error) => wrong.push(format!("/server-stat/: {error}")),
        }
        if host.nginx.workers().len() == workers {
            wrong.extend(before.excess(&Footprint::of(host, shared)));
        } else {
            wrong.push(format!("{} workers instead of {workers}", host.nginx.workers().len()));
        }
        if wrong.is_empty() || Instant::now() > end {
            wrong.extend(logged(host));
            return wrong;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What stands in the logs and must not.
fn logged(host: &mut Host) -> Vec<String> {
    let mut bad = nginx::complaints(&host.nginx.error_log());
    bad.retain(|line| !host.caused.iter().any(|caused| line.contains(caused)));
    let sidecar = host.sidecar.process().output();
    bad.extend(sidecar.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_more_passes_and_much_more_does_not() {
        let of = |worker_files, sidecar_files, worker_memory: u64, sidecar_memory: u64| Footprint {
            worker_files,
            sidecar_files,
            worker_memory: worker_memory << 20,
            sidecar_memory: sidecar_memory << 20,
        };
        let before = of(40, 12, 40, 10);
        let excess = |now: Footprint| before.excess(&now).len();
        assert_eq!(excess(of(44, 16, 76, 31)), 0);
        assert_eq!(excess(of(45, 12, 0, 0)), 1);
        assert_eq!(excess(of(0, 17, 0, 0)), 1);
        assert_eq!(excess(of(0, 0, 77, 0)), 1);
        assert_eq!(excess(of(0, 0, 0, 32)), 1);
        assert_eq!(excess(of(900, 900, 900, 900)), 4);
    }

    #[test]
    fn files_of_a_process_are_counted() {
        let before = files(std::process::id());
        let file = fs::File::open("/dev/null");
        assert_eq!(files(std::process::id()), before + 1);
        drop(file);
    }
}
