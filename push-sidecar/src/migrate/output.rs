//! The files that are written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::finding::{Findings, hidden};
use super::nginx::location::limit_lines;
use super::nginx::role::Role;
use super::nginx::{Changes, shown};
use super::settings::{
    CHANNEL_TTL, Limit, MAX_PAYLOAD, ONLINE_DELTA, ONLINE_TTL, Redis, Settings, Slot, size,
};
use super::{paths, report, steps};

/// A file to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Where it goes on the machine; or a name alone, for what is to be read.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// What is shown in its place, if it is secret.
    pub shown: Option<String>,
    /// Whether it takes the place of a file of the old installation.
    pub replaces: bool,
}

impl Output {
    fn new(path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: text.into(), mode: 0o644, shown: None, replaces: false }
    }

    /// Its path below the folder that is written to.
    pub fn relative(&self) -> &Path {
        self.path.strip_prefix("/").unwrap_or(&self.path)
    }

    /// Whether it goes to a place on the machine.
    pub fn is_installed(&self) -> bool {
        self.path.is_absolute()
    }
}

/// Everything, in the order in which it is put into place.
pub fn all(settings: &Settings, changes: &Changes, findings: &Findings) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (number, key) in settings.keys.iter().enumerate() {
        let mut output =
            Output::new(changes.prefix.join(paths::key_file(number)), format!("{}\n", key.value));
        output.mode = 0o640;
        output.shown = Some(hidden(&key.value));
        outputs.push(output);
    }
    outputs.push(sidecar(settings));
    if let Some(path) = &changes.load_module {
        outputs.push(Output::new(path, "# The module loads only into the nginx version that it was built for.\nload_module modules/ngx_http_bx_push_module.so;\n"));
    }
    outputs.push(Output::new(&changes.http_conf, http_conf(settings, changes)));
    if !changes.roles.contains(&Role::Sub) {
        outputs.push(Output::new(
            changes.prefix.join(paths::LOCATIONS_CONF),
            locations(settings, changes),
        ));
    }
    for (path, bytes) in &changes.files {
        let mut output = Output::new(path, bytes.clone());
        output.replaces = true;
        outputs.push(output);
    }
    let switch = steps::switch(settings, changes, &outputs);
    let rollback = steps::rollback(&outputs);
    outputs.push(Output::new("SWITCH.md", switch));
    outputs.push(Output::new("ROLLBACK.md", rollback));
    outputs.push(Output::new("REPORT.txt", report::text(findings)));
    outputs
}

/// push-sidecar.toml.
fn sidecar(settings: &Settings) -> Output {
    let mut text = format!(
        "# Written by `push-sidecar migrate`. What is not here has its default.\n\n\
         # The Unix socket that nginx's workers connect to; mode 0660.\nsocket = {}\n",
        toml_text(paths::SOCKET)
    );
    if let Some(group) = &settings.group {
        _ = write!(
            text,
            "# The group of nginx's workers.\nsocket_group = {}\n",
            toml_text(&group.value)
        );
    }
    let before_redis = text.clone();
    let redis = |url: &dyn Fn(&Redis) -> String| {
        match &settings.redis {
        Some(redis) => format!("\n[redis]\nurl = {}\n", toml_text(&url(&redis.value))),
        None => "\n# No Redis was found: messages are kept in memory, and are gone with the process.\n#[redis]\n#url = \"unix:///run/redis/redis.sock\"\n".into(),
    }
    };
    let mut storage = String::new();
    let mut number = |slot: &Slot<u64>, limit: &Limit| {
        if let Some(at) = slot.as_ref().filter(|at| at.value != limit.default) {
            let name = limit.directive.trim_start_matches("storage.");
            _ = writeln!(storage, "{name} = {}", at.value);
        }
    };
    number(&settings.channel_ttl, &CHANNEL_TTL);
    number(&settings.online_ttl, &ONLINE_TTL);
    number(&settings.online_delta, &ONLINE_DELTA);
    if !storage.is_empty() {
        storage.insert_str(0, "\n# Seconds.\n[storage]\n");
    }
    let mut output =
        Output::new(paths::SIDECAR_TOML, before_redis.clone() + &redis(&Redis::url) + &storage);
    let secret = settings
        .redis
        .as_ref()
        .is_some_and(|at| matches!(&at.value, Redis::Tcp { password: Some(_), .. }));
    if secret {
        output.mode = 0o640;
        output.shown = Some(before_redis + &redis(&Redis::shown) + &storage);
    }
    output
}

/// A text as TOML writes it.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A text as nginx writes it.
fn nginx_path(path: &Path) -> String {
    super::nginx::parser::word(&shown(path))
}

/// What belongs to the http block.
fn http_conf(settings: &Settings, changes: &Changes) -> String {
    let mut text = format!(
        "# Written by `push-sidecar migrate`; belongs to the http block.\n\n\
         # Where push-sidecar listens.\nbx_push_sidecar unix:{};\n\n\
         # The portal's signature_key.",
        paths::SOCKET
    );
    if settings.keys.len() > 1 {
        text += " Several were found, and a signature by any of them is accepted: find out which one the\n# portal has, and take the others out.";
    }
    text.push('\n');
    for (number, key) in settings.keys.iter().enumerate() {
        if settings.keys.len() > 1 {
            _ = writeln!(text, "# found in {}", key.place);
        }
        let file = changes.prefix.join(paths::key_file(number));
        _ = writeln!(text, "bx_push_security_key_file {};", nginx_path(&file));
    }
    if let Some(algorithm) = settings.algorithm.as_ref().filter(|at| at.value != "sha1") {
        _ = writeln!(text, "bx_push_signature_algorithm {};", algorithm.value);
    }
    if !changes.http_has.contains("large_client_header_buffers") {
        text += "\n# A request line may name 100 channels with their signatures.\nlarge_client_header_buffers 4 16k;\n";
    }
    if !changes.http_has.contains("connection_pool_size") {
        text += "\n# What an idle WebSocket keeps of its connection fits: about 120 bytes less for each.\nconnection_pool_size 384;\n";
    }
    if !changes.roles.contains(&Role::Pub) {
        text += "\n# The internal address: whoever reaches /bitrix/pub/ may publish to everybody, so it listens on\n# loopback. The portal's path_to_publish is http://127.0.0.1:8895/bitrix/pub/.\nserver {\n    listen 127.0.0.1:8895;\n    access_log off;\n";
        text += &location("/bitrix/pub/", Role::Pub, settings);
        if !changes.roles.contains(&Role::Stat) {
            text += &location("/server-stat/", Role::Stat, settings);
        }
        text += "    location / {\n        return 404;\n    }\n}\n";
    }
    text
}

/// The public locations, with the paths that portals use.
fn locations(settings: &Settings, changes: &Changes) -> String {
    let mut text = String::from(
        "# Written by `push-sidecar migrate`. Include it in every server block that browsers reach the\n# portal by:  include snippets/bx-push-locations.conf;\n",
    );
    text += &location("/bitrix/subws/", Role::Sub, settings);
    text += &location("/bitrix/sub/", Role::Sub, settings);
    if !changes.roles.contains(&Role::Rest) {
        text += &location("/bitrix/rest/", Role::Rest, settings);
        text += &location("/bitrix/pubweb/", Role::Rest, settings);
    }
    // They are included, not nested.
    text.replace("\n    ", "\n")
}

fn location(path: &str, role: Role, settings: &Settings) -> String {
    let limits = if role == Role::Sub { &settings.sub } else { &settings.publishing };
    let payload = limits.max_payload.as_ref().map_or(MAX_PAYLOAD.default, |at| at.value);
    let mut lines = vec![format!("bx_push {};", role.name())];
    if role != Role::Stat {
        lines.extend(limit_lines(limits, role));
    }
    if matches!(role, Role::Pub | Role::Rest) {
        lines.push(format!("client_max_body_size {};", size(payload)));
    }
    if role == Role::Pub {
        lines.push(format!("client_body_buffer_size {};", size(payload)));
    }
    lines.push("access_log off;".into());
    format!("    location {path} {{\n        {}\n    }}\n", lines.join("\n        "))
}
