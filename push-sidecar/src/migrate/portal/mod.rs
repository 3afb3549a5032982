//! The portal's own settings: section `pull` of its `.settings.php`. They stay as they are; what
//! does not fit to the rest is told.

pub mod php;

use std::rc::Rc;

use php::Entry;

use super::files::File;
use super::finding::{Findings, Place, Verdict, hidden, names_a_secret};
use super::nginx::Changes;
use super::nginx::role::Role;
use super::settings::Settings;

/// `.settings.php`.
#[derive(Debug)]
pub struct Portal {
    name: Rc<str>,
    entries: Vec<Entry>,
}

impl Portal {
    /// Reads it.
    pub fn read(file: &File, findings: &mut Findings) -> Self {
        let name: Rc<str> = file.path.display().to_string().into();
        let mut entries = php::entries(&String::from_utf8_lossy(&file.bytes));
        entries.retain(|entry| entry.path.first().is_some_and(|first| first == "pull"));
        if entries.is_empty() {
            findings.problem(Place::new(&name, 0), "no section 'pull': the portal's settings of push are in its administration then (module pull). Leave --portal out, and compare signature_key there");
        }
        Self { name, entries }
    }

    /// Takes in what nobody else told: a key, if neither the start script nor a process has one.
    pub fn collect(&self, settings: &mut Settings) {
        let own = |entry: &&Entry| entry.path.last().is_some_and(|name| name == "signature_key");
        if let Some(entry) = self.entries.iter().find(own).filter(|_| settings.keys.is_empty()) {
            settings
                .add_key(entry.value.as_deref().unwrap_or(""), Place::new(&self.name, entry.line));
        }
    }

    /// Tells what becomes of each setting.
    pub fn tell(&self, settings: &Settings, changes: &Changes, findings: &mut Findings) {
        for entry in &self.entries {
            let place = Place::new(&self.name, entry.line);
            let name = entry.path.last().map_or("", String::as_str);
            let value = entry.value.as_deref();
            let secret = names_a_secret(name);
            if let (true, Some(value)) = (secret, value) {
                findings.secret(value);
            }
            let shown = match value {
                None => "(something that PHP evaluates)".to_owned(),
                Some(value) if secret => hidden(value),
                Some(value) => format!("'{value}'"),
            };
            let (verdict, text) = match value {
                None => (Verdict::Unknown, "not evaluated: see for yourself that it fits".into()),
                Some(value) => became(name, value, settings, changes),
            };
            findings.add(place, verdict, format!("{} = {shown}", entry.path.join(".")), text);
        }
    }
}

fn became(name: &str, value: &str, settings: &Settings, changes: &Changes) -> (Verdict, String) {
    use Verdict::{Dangerous, TakenOver, Unknown};
    let stays = |text: &str| (TakenOver, format!("stays{text}"));
    match name {
        "signature_key" => match settings.keys.first() {
            Some(key) if key.value == value => stays(": equal to the server's key"),
            Some(key) if settings.keys.iter().any(|key| key.value == value) => (
                Dangerous,
                format!("not the key of {}, but another one that is accepted", key.place),
            ),
            Some(key) => (
                Dangerous,
                format!(
                    "not the server's key ({}): WebSockets open and are closed with 4010 again and again. Make them equal, in the portal or in the key file",
                    key.place
                ),
            ),
            None => (Dangerous, "empty: nobody can subscribe".into()),
        },
        "signature_algo" => {
            let algorithm = settings.algorithm.as_ref().map_or("sha1", |at| &at.value);
            if value == algorithm {
                stays(": equal to the server's algorithm")
            } else {
                (
                    Dangerous,
                    format!(
                        "not the server's algorithm, {algorithm}: no signature fits. Make them equal"
                    ),
                )
            }
        }
        "nginx_version" if value == "4" => {
            stays(": \"Bitrix Push server 2.0\", which is what is served here")
        }
        "nginx_version" => (
            Dangerous,
            "must be 4, \"Bitrix Push server 2.0\": clients speak another protocol otherwise"
                .into(),
        ),
        "path_to_publish" => publish_path(value),
        _ if name.starts_with("path_to_mobile_listener")
            || name.starts_with("path_to_modern_listener")
            || name.starts_with("path_to_listener")
            || name.starts_with("path_to_websocket") =>
        {
            served(value, Role::Sub, changes)
        }
        _ if name.starts_with("path_to_publish_web") => served(value, Role::Rest, changes),
        "nginx" | "push" | "websocket" if value == "N" => {
            (Dangerous, "off: the portal uses no push server".into())
        }
        "nginx_headers" if value == "Y" => {
            (Dangerous, "must be N: it belongs to server versions 1 and 2".into())
        }
        "nginx"
        | "push"
        | "websocket"
        | "nginx_headers"
        | "nginx_command_per_hit"
        | "guest"
        | "readonly"
        | "enabled" => stays(""),
        _ => (Unknown, "stays: the server does not depend on it".into()),
    }
}

/// The path of an address, which may begin with `#DOMAIN#`.
fn path(url: &str) -> &str {
    super::nginx::survey::target(url).1
}

/// Whether a location takes an address.
fn served(url: &str, role: Role, changes: &Changes) -> (Verdict, String) {
    let path = path(url).split('?').next().unwrap_or("");
    // Without locations in nginx's files ours are written, with the customary paths.
    let ours = !changes.roles.contains(&role)
        && match role {
            Role::Sub => ["/bitrix/sub/", "/bitrix/subws/"].contains(&path),
            _ => ["/bitrix/rest/", "/bitrix/pubweb/"].contains(&path),
        };
    let taken = changes
        .paths
        .iter()
        .any(|(known, of)| *of == role && known.len() > 1 && path.starts_with(known.as_str()));
    if ours || taken {
        (Verdict::TakenOver, "stays".into())
    } else {
        (
            Verdict::Dangerous,
            format!(
                "no location with bx_push {} takes {path}: write one, beside the others",
                role.name()
            ),
        )
    }
}

fn publish_path(url: &str) -> (Verdict, String) {
    let host = super::nginx::survey::target(url).0;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if super::variables::is_loopback(name) {
        (Verdict::TakenOver, "stays: nginx listens there on loopback".into())
    } else {
        (
            Verdict::Dangerous,
            format!(
                "the portal publishes to another address, {name}: there nginx must listen with bx_push pub, for the portal's machines alone (allow, deny)"
            ),
        )
    }
}
