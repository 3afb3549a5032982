//! What nginx's files say beside the daemon's: the socket, the keys, the limits.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::config::Config;
use crate::verbs::findings::Findings;
use crate::verbs::nginx_conf::{NginxConf, is_open};

/// Files that a process holds besides its connections: logs, epoll, the link, listeners.
const OTHERS: u64 = 64;

pub(super) fn check(config: &Config, nginx: Option<&NginxConf>, findings: &mut Findings) {
    let workers = nginx.and_then(|nginx| nginx.workers).unwrap_or_else(cores);
    own_files(workers, findings);
    let Some(nginx) = nginx else {
        return findings.skipped("nginx", "nginx.conf", "not given; --nginx /etc/nginx/nginx.conf");
    };
    for problem in &nginx.problems {
        findings.error("nginx", "reading its files", problem, "mend it; nginx -t tells more");
    }
    if !nginx.problems.is_empty() {
        // What is missing may stand in what could not be read.
        return;
    }
    address(config, nginx, findings);
    keys(nginx, findings);
    connections(nginx, workers, findings);
    let open = |listen: &&String| is_open(listen);
    for location in nginx.locations.iter().filter(|l| matches!(&l.role[..], "pub" | "stat")) {
        let tried = format!("{}: bx_push {}", location.place, location.role);
        match location.listens.iter().find(open) {
            Some(listen) if !location.guarded => findings.warning(
                "internal address",
                tried,
                format!("its server listens on {listen}: whoever reaches it may publish to everybody"),
                "listen 127.0.0.1:8895;\nor, for a portal on another machine: allow <its address>; deny all;",
            ),
            _ => findings.ok("internal address", tried, format!("listens on {}", location.listens.join(", "))),
        }
    }
}

/// Each worker has one connection here.
fn own_files(workers: u64, findings: &mut Findings) {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let tried = "limit of open files of this process";
    match soft_limit(&text) {
        Some(limit) if limit < 2 * workers + OTHERS => findings.warning(
            "open files",
            tried,
            format!("{limit}, with {workers} workers of nginx and as many at a reload"),
            format!("in push-sidecar.service: LimitNOFILE={}", 2 * workers + OTHERS),
        ),
        Some(limit) => findings.ok("open files", tried, limit.to_string()),
        None => findings.skipped("open files", tried, "not told by the kernel"),
    }
}

/// The soft limit of open files in `/proc/<pid>/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn address(config: &Config, nginx: &NginxConf, findings: &mut Findings) {
    let wanted = format!("bx_push_sidecar unix:{};", config.socket.display());
    match &nginx.sidecar {
        Some(path) if *path == config.socket => {
            findings.ok("nginx", "bx_push_sidecar", "names this socket");
        }
        Some(path) => findings.error(
            "nginx",
            "bx_push_sidecar",
            format!("names {}, the daemon listens on {}", path.display(), config.socket.display()),
            format!("in nginx's http block: {wanted}"),
        ),
        None => findings.error(
            "nginx",
            "bx_push_sidecar",
            "is missing",
            format!("in nginx's http block: {wanted}"),
        ),
    }
}

fn keys(nginx: &NginxConf, findings: &mut Findings) {
    for path in &nginx.key_files {
        let tried = path.display().to_string();
        match fs::metadata(path) {
            Err(error) => findings.error(
                "key file",
                tried,
                error.to_string(),
                "write the portal's signature_key into it, one line, mode 0600, and reload nginx",
            ),
            Ok(file) if file.mode() & 0o007 != 0 => findings.warning(
                "key file",
                &tried,
                format!(
                    "mode {:04o}: everybody on this machine can sign channels",
                    file.mode() & 0o7777
                ),
                format!("chmod 0600 {tried}"),
            ),
            Ok(_) => findings.ok("key file", tried, "is there, and not for everybody"),
        }
    }
}

fn connections(nginx: &NginxConf, workers: u64, findings: &mut Findings) {
    let wanted = nginx.connections + OTHERS;
    let tried = format!("worker_connections {}, {workers} workers", nginx.connections);
    match nginx.nofile {
        Some(nofile) if nofile >= wanted => {
            findings.ok("nginx's open files", tried, format!("worker_rlimit_nofile {nofile}"));
        }
        Some(nofile) => findings.warning(
            "nginx's open files",
            tried,
            format!("worker_rlimit_nofile {nofile}: a worker runs out of files before it runs out of connections"),
            format!("at the top of nginx.conf: worker_rlimit_nofile {wanted};"),
        ),
        // What systemd and the usual shells give.
        None if wanted > 1024 => findings.warning(
            "nginx's open files",
            tried,
            "no worker_rlimit_nofile: usually a worker may open 1024 files, and refuses who comes then",
            format!("at the top of nginx.conf: worker_rlimit_nofile {wanted};"),
        ),
        None => findings.ok("nginx's open files", tried, "fit into the usual 1024"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::findings::Level;

    #[test]
    fn the_soft_limit_counts() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files  unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn a_worker_needs_a_file_for_each_connection() {
        let level = |connections, nofile| {
            let mut findings = Findings::default();
            let nginx = NginxConf { connections, nofile, ..NginxConf::default() };
            super::connections(&nginx, 2, &mut findings);
            findings.list()[0].level
        };
        assert_eq!(level(512, None), Level::Ok);
        assert_eq!(level(1024, None), Level::Warning);
        assert_eq!(level(20_000, Some(20_000)), Level::Warning);
        assert_eq!(level(20_000, Some(20_064)), Level::Ok);
    }
}
