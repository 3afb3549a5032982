//! What an operator does with the files: `SWITCH.md` and `ROLLBACK.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::nginx::role::Role;
use super::nginx::{Changes, shown};
use super::output::Output;
use super::paths;
use super::settings::{Redis, Settings};

/// Where the old files are kept while the portal is moved.
const BACKUP: &str = "/var/backups/bx-push";

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

/// How to move the portal.
pub fn switch(settings: &Settings, changes: &Changes, outputs: &[Output]) -> String {
    let group = settings.group.as_ref().map_or("www-data", |group| &group.value);
    let mut text = String::from(
        "# Switching to bx-push\n\n\
         Run this as root, in the folder of this file. Until step 4 nothing changes for anybody, and push-server keeps\n\
         running until step 6. The way back is in ROLLBACK.md. Read REPORT.txt first: what it calls dangerous, above all.\n\n\
         ## 1. Keep what is there\n\nRunning this twice does no harm: what is kept is not replaced.\n\n```sh\n",
    );
    let replaced: Vec<_> = outputs.iter().filter(|output| output.replaces).collect();
    _ = writeln!(text, "mkdir -p -m 0700 {BACKUP}");
    let kept = |output: &Output| format!("{BACKUP}{}", shown(&output.path));
    let parent = |output: &&Output| Path::new(&kept(output)).parent().map(shown);
    let folders: BTreeSet<String> = replaced.iter().filter_map(parent).collect();
    for folder in folders {
        _ = writeln!(text, "mkdir -p {}", quoted(&folder));
    }
    for output in &replaced {
        let (from, to) = (quoted(&shown(&output.path)), quoted(&kept(output)));
        _ = writeln!(text, "cp -n -L --preserve=all {from} {to}");
    }
    text += "```\n\n## 2. Put the new files into their places\n\n```sh\n";
    for output in outputs {
        let (from, to) = (quoted(&shown(output.relative())), quoted(&shown(&output.path)));
        if output.replaces {
            // In place: a link to a file in sites-available stays a link.
            _ = writeln!(text, "cp --no-preserve=all {from} {to}");
        } else {
            let owner = if output.shown.is_some() {
                format!("-o root -g {} ", quoted(group))
            } else {
                String::new()
            };
            _ = writeln!(text, "install -D {owner}-m {:04o} {from} {to}", output.mode);
        }
    }
    text += "```\n\n";
    if changes.fragments {
        _ = writeln!(
            text,
            "nginx.conf was not among the files that were read. See that it has `include {};` in its http block and{} at\nits top, or write these lines.\n",
            shown(&changes.http_conf),
            changes
                .load_module
                .as_ref()
                .map_or(String::new(), |path| format!(" `include {};`", shown(path))),
        );
    }
    if !changes.roles.contains(&Role::Sub) {
        _ = writeln!(
            text,
            "No location that leads to push-server's sub processes was found. Write `include {};` into each server\nblock that browsers reach the portal by.\n",
            paths::LOCATIONS_CONF,
        );
    }
    match settings.redis.as_ref().map(|at| &at.value) {
        Some(Redis::Socket(path)) => {
            _ = writeln!(
                text,
                "The user that push-sidecar runs as must be allowed to write to {path}: `ls -l {0}` names the group,\n`usermod -aG GROUP USER` brings the user in.\n",
                quoted(path)
            );
        }
        Some(Redis::Tcp { .. }) => {}
        None => {
            text += "No Redis was found, so that old and new server share nothing: what is published in step 4 reaches the clients of\nthe new server only, and what was stored before is gone. Do it when few are there.\n\n";
        }
    }
    _ = write!(
        text,
        "## 3. Start the daemon, beside push-server\n\n```sh\n\
         push-sidecar config --config {toml}\n\
         systemctl enable --now push-sidecar\n\
         systemctl is-active push-sidecar\n```\n\n\
         ## 4. Have nginx take it\n\n```sh\n\
         nginx -t && systemctl reload nginx\n```\n\n\
         If `nginx -t` complains, nothing has happened yet: do steps 2 and 3 of ROLLBACK.md. From here on new connections are served by\n\
         the module, and publications are stored before they are answered. Clients that were connected stay on push-server,\n\
         which gets every message by Redis.\n\n\
         ## 5. Look\n\n```sh\n\
         curl -s http://127.0.0.1:8895/server-stat/ | head -c 600; echo\n\
         tail -n 20 /var/log/nginx/error.log\n\
         journalctl -u push-sidecar -n 20 --no-pager\n```\n\n\
         The statistics list nginx's workers. In the browser's network view a request to …/bitrix/subws/?CHANNEL_ID=… is\n\
         answered 101 and stays open. Closed with 4010 again and again: the key is not the portal's.\n\n\
         ## 6. Let the old server go\n\n\
         Its clients come back by themselves, to the module, and ask for what they missed. The seconds are for publications that\n\
         it has answered and not stored yet.\n\n```sh\n\
         sleep 10\n\
         systemctl stop push-server\n\
         systemctl disable push-server\n```\n\n\
         nginx's old workers end when their last connection does. Keep push-server installed, and {BACKUP}, until you are sure.\n",
        toml = paths::SIDECAR_TOML,
    );
    text
}

/// How to go back.
pub fn rollback(outputs: &[Output]) -> String {
    let mut text = String::from(
        "# Going back to push-server\n\n\
         Run this as root, in this order: push-server runs before anybody is sent to it. Messages are in the same Redis, so that\n\
         clients ask push-server for what they missed.\n\n\
         ## 1. Start push-server\n\n```sh\n\
         systemctl enable --now push-server\n\
         systemctl is-active push-server\n\
         ss -ltn | grep -E ':(8010|9010) '\n```\n\n\
         Go on when its ports are there.\n\n\
         ## 2. Put the old files back\n\n```sh\n",
    );
    for output in outputs.iter().filter(|output| output.replaces) {
        let path = shown(&output.path);
        _ = writeln!(
            text,
            "cp --preserve=all {} {}",
            quoted(&format!("{BACKUP}{path}")),
            quoted(&path)
        );
    }
    // The key and the daemon's configuration are needed until the last worker has left.
    let in_nginx =
        |output: &&Output| !output.replaces && output.path.extension().is_some_and(|e| e == "conf");
    for output in outputs.iter().filter(in_nginx) {
        _ = writeln!(text, "rm -f {}", quoted(&shown(&output.path)));
    }
    text += "```\n\nLines that were written into nginx's files by hand (an `include` of bx-push) go, too.\n\n\
         ## 3. Have nginx take them\n\n```sh\n\
         nginx -t && systemctl reload nginx\n```\n\n\
         The module closes its WebSockets with 1001 and answers its polls: clients come back at once, now to push-server.\n\n\
         ## 4. Stop the daemon when nginx's old workers are gone\n\n```sh\n\
         while pgrep -f 'nginx: worker process is shutting down' >/dev/null; do sleep 1; done\n\
         systemctl disable --now push-sidecar\n";
    for output in outputs
        .iter()
        .filter(|output| output.is_installed() && !output.replaces && !in_nginx(output))
    {
        _ = writeln!(text, "rm -f {}", quoted(&shown(&output.path)));
    }
    // A later switch begins with the files of that day.
    _ = writeln!(text, "rm -rf {BACKUP}");
    text += "```\n\nNothing of push-server itself was changed, and what bx-push keeps in Redis beside its keys (bxpush:…) ends by itself.\n";
    text
}
