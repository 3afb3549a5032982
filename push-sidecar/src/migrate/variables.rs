//! The settings of push-server's start script.

use std::rc::Rc;

use super::files::File;
use super::finding::{Findings, Place, Verdict, hidden, names_a_secret};
use super::key;
use super::paths;
use super::settings::{At, Redis, Settings};
use super::shell::{self, Assignment, Value};

/// A settings file, `/etc/sysconfig/push-server-multi` or `/etc/default/push-server-multi`.
#[derive(Debug)]
pub struct StartScript {
    name: Rc<str>,
    mode: Option<u32>,
    assignments: Vec<Assignment>,
}

impl StartScript {
    /// Reads it. What is no setting is told at once.
    pub fn read(file: &File, findings: &mut Findings) -> Self {
        let name: Rc<str> = file.path.display().to_string().into();
        let settings = shell::parse(&String::from_utf8_lossy(&file.bytes)).unwrap_or_else(|odd| {
            findings.problem(Place::new(&name, odd.line), odd.text);
            shell::Settings::default()
        });
        for odd in settings.odd {
            findings.add(Place::new(&name, odd.line), Verdict::Unknown, "not a setting", odd.text);
        }
        Self { name, mode: file.mode, assignments: settings.assignments }
    }

    /// What counts for a variable: its last value.
    pub fn value(&self, name: &str) -> Option<At<&str>> {
        let assignment = self.assignments.iter().rfind(|assignment| assignment.name == name)?;
        match &assignment.value {
            Value::Text(value) => {
                Some(At { value, place: Place::new(&self.name, assignment.line) })
            }
            Value::NotEvaluated(_) => None,
        }
    }

    /// Takes in what the processes' own files, which were written from these settings, leave open.
    pub fn collect(&self, settings: &mut Settings) {
        if let Some(key) = self.value("SECURITY_KEY") {
            settings.add_key(key.value, key.place);
        }
        let socket = self.value("REDIS_SOCK").filter(|socket| !socket.value.is_empty());
        if let (None, Some(At { value, place })) = (&settings.redis, socket) {
            settings.redis = Some(At { value: Redis::Socket(value.into()), place });
        }
        let group = self.value("GROUP").filter(|group| !group.value.is_empty());
        if let (None, Some(At { value, place })) = (&settings.group, group) {
            settings.group = Some(At { value: value.into(), place });
        }
        for (variable, route) in ROUTES {
            if let Some(path) = self.value(variable).filter(|path| path.value.starts_with('/')) {
                settings.routes.push((path.value.to_owned(), route.to_owned()));
            }
        }
    }

    /// Tells what becomes of each variable.
    pub fn tell(&self, settings: &Settings, findings: &mut Findings) {
        for (index, assignment) in self.assignments.iter().enumerate() {
            let Assignment { name, value, line } = assignment;
            let place = Place::new(&self.name, *line);
            let later = self.assignments[index + 1..].iter().find(|later| later.name == *name);
            let value = match value {
                Value::Text(value) => value,
                Value::NotEvaluated(what) => {
                    let setting = format!("{name} = ({what})");
                    if later.is_none() && matches!(&name[..], "SECURITY_KEY" | "REDIS_SOCK") {
                        findings.problem(place, format!("{name} is {what}, which only a shell can tell: write its value there, in a copy of the file"));
                    } else {
                        findings.add(
                            place,
                            Verdict::Unknown,
                            setting,
                            "not evaluated: what it is set to is not known here",
                        );
                    }
                    continue;
                }
            };
            let secret = name == "SECURITY_KEY" || names_a_secret(name);
            if secret {
                findings.secret(value);
            }
            let shown = if secret { hidden(value) } else { value.clone() };
            let setting = format!("{name} = {shown}");
            if let Some(later) = later {
                let text = format!("set again in line {}: the last one counts", later.line);
                findings.add(place, Verdict::Obsolete, setting, text);
            } else if name == "SECURITY_KEY" {
                key::tell(findings, &place, name, value, settings);
                if !value.is_empty() {
                    key::tell_mode(findings, place, self.mode);
                }
            } else {
                let (verdict, became) = became(name, value, settings);
                findings.add(place, verdict, setting, became);
            }
        }
    }
}

/// The variables that name paths, and whose.
const ROUTES: [(&str, &str); 4] =
    [("PUBPATH", "pub"), ("SUBPATH", "sub"), ("SUBWSPATH", "sub"), ("RESTPATH", "rest")];

/// What becomes of a variable other than the key.
fn became(name: &str, value: &str, settings: &Settings) -> (Verdict, String) {
    use Verdict::{Dangerous, Obsolete, Translated, Unknown};
    let obsolete = |text: &str| (Obsolete, text.to_owned());
    let port_base = || {
        if value.parse::<u16>().is_ok() {
            obsolete("no processes and no ports: nginx's workers serve (worker_processes)")
        } else {
            (Dangerous, "not a number: push-server's start script can make no ports of it. Nothing depends on it here".into())
        }
    };
    match name {
        "USER" => (Translated, "User= of push-sidecar.service, which brings a user of its own; that user must reach Redis".into()),
        "GROUP" => match &settings.group {
            Some(group) if group.value == value => {
                (Translated, format!("socket_group = \"{value}\" in {}", paths::SIDECAR_TOML))
            }
            Some(group) => (Translated, format!("socket_group = \"{}\": nginx's workers run with that group ({})", group.value, group.place)),
            None => (Dangerous, "empty: give nginx's group as socket_group".into()),
        },
        "REDIS_SOCK" => match &settings.redis {
            Some(redis) if redis.value == Redis::Socket(value.into()) => {
                (Translated, format!("redis.url = \"{}\" in {}", redis.value.shown(), paths::SIDECAR_TOML))
            }
            Some(redis) => (Dangerous, format!("not where the processes keep their messages: {} has {}, and that is taken. Generate push-server's files anew if this is the right one", redis.place, redis.value.shown())),
            None => (Dangerous, "empty: messages would be kept in memory and be gone with the process".into()),
        },
        "WS_HOST" if !is_loopback(value) => (
            Dangerous,
            "the old server listens on all interfaces: whoever reaches its ports may publish to everybody. Here nginx listens, for /bitrix/pub/ on 127.0.0.1".into(),
        ),
        "WS_HOST" => obsolete("nginx's listen; push-server itself does not honour it and listens on all interfaces"),
        "WS_PORT" => obsolete("nginx's listen"),
        "BASE_SUB" | "BASE_PUB" | "ID_SUB" | "ID_PUB" => port_base(),
        "PUBPATH" | "SUBPATH" | "SUBWSPATH" | "RESTPATH" => {
            let route = ROUTES.iter().find(|(variable, _)| *variable == name).map_or("", |route| route.1);
            if value.starts_with('/') {
                (Translated, format!("a location with bx_push {route}; which serves {value}, where nginx has one"))
            } else {
                (Dangerous, "not a path: it must begin with \"/\". nginx's locations are taken as they are".into())
            }
        }
        "RUN_DIR" => obsolete("the socket is in /run/push-server, which systemd makes; no pid files"),
        "IP_LIST" => obsolete("no debug output by address: nginx's error_log and debug_connection"),
        "HG_DIR" | "CFG_DIR" | "VAR_DIR" => obsolete("no folders of its own: configuration is in /etc, the log in the journal and nginx's error_log"),
        "TMPL_SUB" | "TMPL_PUB" | "PID_SUB" | "PID_PUB" => obsolete("no file per process"),
        "MAX_MEMORY" => obsolete("Node's heap limit: there is no Node.js"),
        "MULTISERVICE" => obsolete("one unit: push-sidecar.service"),
        "NOFILE_LIMITS" => obsolete("nginx holds the connections: worker_rlimit_nofile and worker_connections"),
        "STACK_LIMITS" => obsolete("no process needs it"),
        _ => (Unknown, "not a setting of push-server's start script: nothing is made of it".into()),
    }
}

/// Whether an address is this machine's alone.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
