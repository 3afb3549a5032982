//! What nginx's files say: the socket, the keys, the locations and how many connections there may
//! be. Variables and `if` are not evaluated.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::keys::KeySource;
use crate::migrate::files::Files;
use crate::migrate::finding::Findings as Problems;
use crate::migrate::nginx::tree::{Tree, Visit};

/// What a location does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// Argument of `bx_push`: `sub`, `pub`, `rest`, `stat`.
    pub role: String,
    /// Its path, if it is no expression.
    pub path: String,
    /// Addresses of its server, as `listen` says; without any, `80`.
    pub listens: Vec<String>,
    /// Whether one of them has TLS.
    pub tls: bool,
    /// Those that have it.
    pub tls_listens: Vec<String>,
    /// Its server's first name.
    pub server_name: String,
    /// Whether `allow` or `deny` stand around it.
    pub guarded: bool,
    /// Where it stands.
    pub place: String,
    /// The keys that hold here; the first signs.
    pub keys: Vec<KeySource>,
    /// `bx_push_signature_algorithm`, if it is given.
    pub algorithm: Option<String>,
}

/// See the module.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NginxConf {
    /// `user`.
    pub user: Option<String>,
    /// `worker_processes`; `None`: one, or as many as there are cores.
    pub workers: Option<u64>,
    /// `worker_connections`, 512 by default.
    pub connections: u64,
    /// `worker_rlimit_nofile`.
    pub nofile: Option<u64>,
    /// `bx_push_sidecar`, without `unix:`.
    pub sidecar: Option<PathBuf>,
    /// `bx_push_security_key_file`, all of them.
    pub key_files: Vec<PathBuf>,
    /// Locations with a role.
    pub locations: Vec<Location>,
    /// What could not be read.
    pub problems: Vec<String>,
}

impl NginxConf {
    /// Reads nginx.conf, or its folder, with what it includes.
    pub fn read(files: &dyn Files, path: &Path) -> Self {
        let mut problems = Problems::default();
        let tree = Tree::read(files, path, &mut problems);
        let mut conf = Self { connections: 512, ..Self::default() };
        conf.problems = problems
            .problems()
            .map(|problem| format!("{}: {}", problem.place, problem.text))
            .collect();
        tree.walk(|visit| conf.take(&tree, visit));
        conf
    }

    fn take(&mut self, tree: &Tree, visit: Visit<'_, '_>) {
        let arg = visit.directive.arg();
        match &visit.directive.name[..] {
            "user" if visit.parents.is_empty() => self.user = Some(arg.to_owned()),
            "worker_processes" if visit.parents.is_empty() => self.workers = arg.parse().ok(),
            "worker_rlimit_nofile" if visit.parents.is_empty() => self.nofile = arg.parse().ok(),
            "worker_connections" => self.connections = arg.parse().unwrap_or(self.connections),
            "bx_push_sidecar" => self.sidecar = arg.strip_prefix("unix:").map(PathBuf::from),
            "bx_push_security_key_file" => {
                // As nginx does: relative ones begin at the folder of nginx.conf.
                let path = tree.prefix.join(arg);
                if !self.key_files.contains(&path) {
                    self.key_files.push(path);
                }
            }
            "bx_push" => self.locations.push(location(tree, visit)),
            _ => {}
        }
    }

    /// Locations of a role.
    pub fn of_role(&self, role: &str) -> impl Iterator<Item = &Location> {
        self.locations.iter().filter(move |location| location.role == role)
    }
}

fn location(tree: &Tree, visit: Visit<'_, '_>) -> Location {
    let mut found = Location {
        role: visit.directive.arg().to_owned(),
        path: String::new(),
        listens: Vec::new(),
        tls: false,
        tls_listens: Vec::new(),
        server_name: String::new(),
        guarded: false,
        place: tree.place(visit.source, visit.directive).to_string(),
        keys: Vec::new(),
        algorithm: None,
    };
    for (source, parent) in visit.parents {
        if parent.name == "location" {
            let plain = !parent.arg().starts_with('~');
            found.path = if plain { parent.args.last().cloned() } else { None }.unwrap_or_default();
        }
        let is_server = parent.name == "server";
        let mut keys = Vec::new();
        tree.walk_block(*source, parent, |inner| {
            if inner.parents.len() > 1 {
                return;
            }
            match &inner.directive.name[..] {
                "listen" if is_server => {
                    found.listens.push(inner.directive.arg().to_owned());
                    if inner.directive.args.iter().any(|arg| arg == "ssl") {
                        found.tls = true;
                        found.tls_listens.push(inner.directive.arg().to_owned());
                    }
                }
                "server_name" if is_server => {
                    inner.directive.arg().clone_into(&mut found.server_name);
                }
                "allow" | "deny" => found.guarded = true,
                "bx_push_security_key" | "bx_push_security_key_file" => {
                    keys.push(KeySource::of(tree, inner));
                }
                "bx_push_signature_algorithm" => {
                    found.algorithm = Some(inner.directive.arg().to_owned());
                }
                _ => {}
            }
        });
        // As nginx does: keys of an inner level replace those of the outer one.
        if !keys.is_empty() {
            found.keys = keys;
        }
    }
    if found.listens.is_empty() {
        found.listens.push("80".into());
    }
    found
}

/// Whether who listens there can be reached from other machines.
pub fn is_open(listen: &str) -> bool {
    if listen.starts_with("unix:") {
        return false;
    }
    let host = match listen.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        // A port alone means all addresses.
        _ if listen.parse::<u16>().is_ok() => return true,
        _ => listen,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::files::Memory;

    #[test]
    fn what_matters_is_found_wherever_it_is_included() {
        let files = Memory::default()
            .with(
                "/etc/nginx/nginx.conf",
                "user www-data; worker_processes auto; worker_rlimit_nofile 100;\n\
                 events { worker_connections 20000; }\nhttp { include conf.d/*.conf; server {\n\
                 listen 443 ssl; server_name p.example q.example; include snip.conf; } }",
            )
            .with("/etc/nginx/snip.conf", "location /bitrix/sub/ { bx_push sub; }")
            .with(
                "/etc/nginx/conf.d/x.conf",
                "bx_push_sidecar unix:/s; bx_push_security_key_file bx.key;\nserver { listen 8895;\n\
                 location ~ ^/pub { allow 10.0.0.1; deny all; bx_push pub; } }",
            );
        let conf = NginxConf::read(&files, Path::new("/etc/nginx/nginx.conf"));
        assert_eq!(conf.user.as_deref(), Some("www-data"));
        assert_eq!((conf.workers, conf.connections, conf.nofile), (None, 20_000, Some(100)));
        assert_eq!(conf.sidecar, Some("/s".into()));
        assert_eq!(conf.key_files, [PathBuf::from("/etc/nginx/bx.key")]);
        let open = conf.of_role("pub").next().expect("found");
        assert_eq!(
            (&open.path[..], &open.listens[..], open.guarded),
            ("", &["8895".to_owned()][..], true)
        );
        let public = conf.of_role("sub").next().expect("found");
        assert_eq!((&public.path[..], public.tls, public.guarded), ("/bitrix/sub/", true, false));
        assert_eq!(public.server_name, "p.example");
        assert_eq!(public.place, "/etc/nginx/snip.conf:1");
        assert!(conf.problems.is_empty());
    }

    #[test]
    fn addresses_are_open_unless_they_are_loopback() {
        for listen in ["80", "*:80", "0.0.0.0:80", "[::]:80", "10.0.0.1", "portal:80", ""] {
            assert!(is_open(listen), "{listen}");
        }
        for listen in ["127.0.0.1:8895", "[::1]:80", "localhost:80", "127.0.0.1", "unix:/s"] {
            assert!(!is_open(listen), "{listen}");
        }
    }

    #[test]
    fn a_file_that_is_broken_is_told() {
        let files = Memory::default().with("/n/nginx.conf", "http {");
        let conf = NginxConf::read(&files, Path::new("/n/nginx.conf"));
        assert!(conf.problems[0].starts_with("/n/nginx.conf:1: "), "{:?}", conf.problems);
    }
}
