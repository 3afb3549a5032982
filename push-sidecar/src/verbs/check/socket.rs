//! The socket: whether the daemon can make it, and nginx's workers can use it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::config::Config;
use crate::link_server::{ListenError, Peers, group_id, open_to_all};
use crate::verbs::access::User;
use crate::verbs::findings::Findings;
use crate::verbs::nginx_conf::NginxConf;

const PART: &str = "socket";
/// `sun_path` of unix(7), without its terminating zero.
const MAX_PATH: usize = 107;
const READ_WRITE: u32 = 6;
const WRITE_ENTER: u32 = 3;

pub(super) fn check(config: &Config, nginx: Option<&NginxConf>, findings: &mut Findings) {
    let path = &config.socket;
    let tried = path.display().to_string();
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        let found = format!("{length} bytes, a socket's path has at most {MAX_PATH}");
        return findings.error(
            PART,
            tried,
            found,
            "give socket a shorter path, and bx_push_sidecar the same",
        );
    }
    let gid = match &config.socket_group[..] {
        "" => None,
        name => {
            let Some(gid) = group_id(name) else {
                let remedy = format!(
                    "groupadd --system {name}\nor another socket_group: that of nginx's workers, www-data on Debian"
                );
                return findings.error(
                    PART,
                    tried,
                    ListenError::NoGroup(name.into()).to_string(),
                    remedy,
                );
            };
            Some(gid)
        }
    };
    if !folder(path, &tried, findings) {
        return;
    }
    let own = User::own();
    let (uid, gid, mode) = match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            let remedy = format!("see what it is, and take it away: rm {tried}");
            return findings.error(PART, tried, "exists and is not a socket", remedy);
        }
        Ok(file) if is_listened_on(path) => {
            findings.ok(
                PART,
                &tried,
                format!("somebody listens, mode {:04o}", file.mode() & 0o7777),
            );
            (file.uid(), file.gid(), file.mode())
        }
        found => {
            let left = if found.is_ok() {
                "left by a dead process, will be replaced"
            } else {
                "can be made"
            };
            findings.ok(PART, &tried, left);
            (own.uid, gid.unwrap_or_else(|| own.gids.last().copied().unwrap_or_default()), 0o660)
        }
    };
    if let Some(name) = nginx.and_then(|nginx| nginx.user.as_deref()) {
        workers(config, name, (uid, gid, mode), findings);
    }
}

/// Whether a socket can be made in its folder.
fn folder(path: &Path, tried: &str, findings: &mut Findings) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let shown = folder.display();
    let own = User::own();
    match fs::metadata(folder) {
        Err(error) => {
            let remedy = format!(
                "install -d -m 0755 -o <user of push-sidecar> {shown}\nunder systemd: RuntimeDirectory=, or a line in /etc/tmpfiles.d: d {shown} 0755 push-server push-server -"
            );
            findings.error(PART, tried, format!("its folder {shown}: {error}"), remedy);
        }
        Ok(found) if !found.is_dir() => {
            findings.error(
                PART,
                tried,
                format!("{shown} is not a folder"),
                "give socket another path, and bx_push_sidecar the same",
            );
        }
        Ok(_) if open_to_all(path) => {
            let found = "its folder is writable for everybody: whoever likes could put a socket of his own there";
            findings.error(PART, tried, found, format!("chmod o-w {shown}"));
        }
        // Who listens already needs no new file: systemd, or the daemon that runs.
        Ok(found) if !own.may_file(WRITE_ENTER, &found) && !is_listened_on(path) => {
            let found = format!("user {} may not write to {shown}", own.uid);
            findings.error(
                PART,
                tried,
                found,
                format!("chown {} {shown}\nor run push-sidecar as its owner", own.uid),
            );
        }
        Ok(_) => return true,
    }
    false
}

/// Whether nginx's workers may connect, and are let in.
fn workers(config: &Config, name: &str, socket: (u32, u32, u32), findings: &mut Findings) {
    const PART: &str = "socket for nginx";
    let path = &config.socket;
    let tried = format!("{} by user {name}, as nginx.conf says", path.display());
    let Some(user) = User::named(name) else {
        return findings.warning(
            PART,
            tried,
            "there is no such user here",
            "mend user in nginx.conf, or run check where nginx runs",
        );
    };
    if let Some(folder) = user.stopped_at(path) {
        let shown = folder.display();
        return findings.error(
            PART,
            tried,
            format!("it may not enter {shown}"),
            format!("chmod o+x {shown}\nor give {shown} a group that {name} has"),
        );
    }
    if !user.may(READ_WRITE, socket.0, socket.1, socket.2) {
        let group = user.group();
        let remedy = format!(
            "in push-sidecar.toml: socket_group = \"{group}\"\nunder systemd, in push-sidecar.socket: SocketGroup={group}"
        );
        return findings.error(
            PART,
            tried,
            format!(
                "mode {:04o}, owner {}, group {}: it may not connect",
                socket.2 & 0o7777,
                socket.0,
                socket.1
            ),
            remedy,
        );
    }
    match Peers::named(&config.socket_users) {
        Ok(peers) if !peers.includes(user.uid) => {
            let remedy = format!("in push-sidecar.toml: add \"{name}\" to socket_users");
            findings.error(
                PART,
                tried,
                "it may connect, and would be turned away: not among socket_users",
                remedy,
            );
        }
        _ => findings.ok(PART, tried, "may connect"),
    }
}

/// By the kernel's table: nobody is connected to, which would start a service or disturb it.
fn is_listened_on(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` of the flags in `/proc/net/unix`.
    const ACCEPTS: &str = "00010000";
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = path.to_string_lossy();
    table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(ACCEPTS) && fields.nth(3) == Some(&path)
    })
}
