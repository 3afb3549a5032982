//! The portal's `.settings.php`: its section `pull` against what nginx serves.

use std::path::Path;

use push_protocol::signature::Verifier;

use super::key::ServerKey;
use super::shown;
use crate::migrate::files::{Disk, Files};
use crate::migrate::nginx::survey;
use crate::migrate::portal::php::{self, Entry};
use crate::verbs::findings::Findings;
use crate::verbs::keys::{self, Secret};
use crate::verbs::nginx_conf::NginxConf;
use crate::verbs::sites;

const PART: &str = "portal settings";
/// Where the same is set by hand.
const PAGE: &str =
    "or in the administration: Settings, System settings, Module settings, Push and Pull";

/// The settings of module pull.
pub struct Portal {
    file: String,
    entries: Vec<Entry>,
}

impl Portal {
    /// Reads the file; `None`: it tells nothing of push.
    pub fn read(path: &Path, told: &mut Findings) -> Option<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let file = shown(&path);
        let read = match Disk::new(Path::new("/")).read(&path) {
            Ok(read) => read,
            Err(error) => {
                told.error(
                    PART,
                    file,
                    error,
                    "run this as root, and give …/bitrix/.settings.php of the portal",
                );
                return None;
            }
        };
        let mut entries = php::entries(&String::from_utf8_lossy(&read.bytes));
        entries.retain(|entry| entry.path.first().is_some_and(|first| first == "pull"));
        if entries.is_empty() {
            told.skipped(PART, file, "no section 'pull': the portal keeps these settings in its database; compare them on the page of module pull with docs/en/sidecar.md");
            return None;
        }
        Some(Self { file, entries })
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        // Of a name that is there twice PHP takes the last.
        self.entries.iter().rev().find(|entry| entry.path.last().is_some_and(|last| last == name))
    }

    /// A setting as it is written; `None` also for what PHP has to evaluate.
    pub fn value(&self, name: &str) -> Option<String> {
        self.entry(name)?.value.clone()
    }

    /// The path of an address.
    pub fn path(&self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        let path = survey::target(&value).1.split('?').next().unwrap_or_default();
        (!path.is_empty()).then(|| path.to_owned())
    }

    fn place(&self, name: &str) -> String {
        self.entry(name)
            .map_or_else(|| self.file.clone(), |entry| format!("{}:{}", self.file, entry.line))
    }

    fn line(&self, name: &str, value: &str) -> String {
        format!("{}:\n'{name}' => '{value}',\n{PAGE}; then restart PHP", self.place(name))
    }

    /// Tells what does not fit; one line if everything does.
    pub fn check(&self, conf: &NginxConf, told: &mut Findings) {
        let before = told.list().len();
        let tried = |name: &str| format!("{name} in {}", self.place(name));
        for entry in self.entries.iter().filter(|entry| entry.value.is_none()) {
            let name = entry.path.last().map_or("", String::as_str);
            told.skipped(
                PART,
                tried(name),
                "PHP has to evaluate it: see for yourself that it fits",
            );
        }
        let evaluated = |name: &str| self.entry(name).is_some_and(|entry| entry.value.is_none());
        for (name, right, wrong) in [
            ("nginx", "Y", "the portal uses no push server"),
            (
                "nginx_version",
                "4",
                "clients speak another protocol; 4 is \"Bitrix Push server 2.0\"",
            ),
        ] {
            let value = self.value(name);
            if value.as_deref() != Some(right) && !evaluated(name) {
                let value = value.map_or("not set".into(), |value| format!("'{value}'"));
                told.error(PART, tried(name), format!("{value}: {wrong}"), self.line(name, right));
            }
        }
        if self.value("websocket").as_deref() == Some("N") {
            told.warning(
                PART,
                tried("websocket"),
                "'N': browsers poll instead of using WebSockets",
                self.line("websocket", "Y"),
            );
        }
        if self.value("nginx_headers").as_deref() == Some("Y") {
            told.error(
                PART,
                tried("nginx_headers"),
                "'Y' belongs to server versions 1 and 2",
                self.line("nginx_headers", "N"),
            );
        }
        self.addresses(conf, told);
        if told.list().len() == before {
            told.ok(PART, &self.file, "server version 4, and addresses that nginx serves");
        }
    }

    fn addresses(&self, conf: &NginxConf, told: &mut Findings) {
        for (name, role, usual, must) in [
            ("path_to_websocket", "sub", "ws://#DOMAIN#/bitrix/subws/", true),
            ("path_to_websocket_secure", "sub", "wss://#DOMAIN#/bitrix/subws/", true),
            ("path_to_listener", "sub", "http://#DOMAIN#/bitrix/sub/", false),
            ("path_to_listener_secure", "sub", "https://#DOMAIN#/bitrix/sub/", false),
            ("path_to_modern_listener", "sub", "http://#DOMAIN#/bitrix/sub/", true),
            ("path_to_modern_listener_secure", "sub", "https://#DOMAIN#/bitrix/sub/", true),
            ("path_to_publish_web", "rest", "http://#DOMAIN#/bitrix/rest/", false),
            ("path_to_publish_web_secure", "rest", "https://#DOMAIN#/bitrix/rest/", false),
            ("path_to_publish", "pub", sites::INTERNAL, true),
        ] {
            let tried = format!("{name} in {}", self.place(name));
            let remedy = self.line(name, usual);
            let Some(value) = self.value(name) else {
                if must && self.entry(name).is_none() {
                    told.warning(PART, tried, "not set", remedy);
                }
                continue;
            };
            let (scheme, usual_scheme) = (scheme(&value), scheme(usual));
            // The internal one may be whatever the portal reaches.
            if scheme != usual_scheme && role != "pub" {
                told.error(
                    PART,
                    tried,
                    format!("'{value}' does not begin with {usual_scheme}://"),
                    remedy,
                );
                continue;
            }
            let path = self.path(name).unwrap_or_default();
            // By an expression anything may be taken.
            let served =
                conf.of_role(role).any(|at| at.path.is_empty() || path.starts_with(&at.path));
            if !served && conf.of_role(role).next().is_some() {
                told.error(PART, tried, format!("'{value}': no location with bx_push {role} takes {path}"), format!("{remedy}\nor, in nginx.conf:\nlocation {path} {{ bx_push {role}; access_log off; }}"));
            }
        }
    }

    /// Who signs like the portal, if that is known.
    pub fn signer(&self) -> Option<Verifier> {
        let key = Secret(self.value("signature_key").filter(|key| !key.is_empty())?);
        let name = self.value("signature_algo").unwrap_or_else(|| "sha1".into());
        Some(keys::signer(name.parse().ok()?, &key))
    }

    /// Compares the keys. The server has one at least.
    pub fn compare_key(&self, server: &ServerKey, told: &mut Findings) {
        const PART: &str = "portal's key";
        let place = self.place("signature_key");
        let name = self.value("signature_algo").unwrap_or_else(|| "sha1".into());
        if name.parse() != Ok(server.algorithm) {
            let tried = format!("signature_algo in {}", self.place("signature_algo"));
            let right = server.algorithm.name();
            let found = format!("'{name}', but the server has {right}");
            told.error(PART, tried, found, self.line("signature_algo", right));
        }
        let tried = format!("signature_key in {place}");
        let (file, own) = &server.keys[0];
        let Some(key) = self.value("signature_key").map(Secret) else {
            let (found, remedy) = if self.entry("signature_key").is_some() {
                ("PHP has to evaluate it", "compare it with the key file by hand".to_owned())
            } else {
                let remedy = format!(
                    "add to section 'pull' of {}:\n'signature_key' => '…', with the content of {file}",
                    self.file
                );
                ("not set: the portal signs nothing", remedy)
            };
            return told.error(PART, tried, found, remedy);
        };
        if let Some(place) = server.verifies(&keys::signer(server.algorithm, &key)) {
            return told.ok(PART, tried, format!("signs what the key of {place} verifies"));
        }
        let blanks = key.0.trim() == own.0.trim();
        let hint = if blanks { " (but for blanks at its ends)" } else { "" };
        told.error(
            PART,
            tried,
            format!("not the key of {file}{hint}: WebSockets are closed with 4010 again and again"),
            format!("put the portal's signature_key ({place}) into {file}, then: systemctl reload nginx\nor the content of {file} into {place}, {PAGE}"),
        );
    }
}

fn scheme(address: &str) -> &str {
    address.split_once("://").map_or("", |(scheme, _)| scheme)
}
