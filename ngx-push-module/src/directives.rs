//! The directives: names, contexts, what may stand in them.

use std::ffi::CStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use push_worker::Level;

use crate::location::{Key, LocationConf, MainConf, Role};
use crate::ngx::conf::{Conf, HTTP, LOCATION, SERVER};

/// A directive. Each takes exactly one argument.
pub struct Directive {
    /// Its name.
    pub name: &'static CStr,
    /// Where it may stand: [`HTTP`], [`SERVER`], [`LOCATION`].
    pub contexts: usize,
    /// What it sets.
    pub set: Set,
}

/// What a directive sets. An error is the end of the message to the administrator, which begins
/// with the directive's name and ends with the place.
#[derive(Clone, Copy)]
pub enum Set {
    /// Something of the http block.
    Main(fn(&Conf<'_>, &mut MainConf, &[u8]) -> Result<(), String>),
    /// Something of a level.
    Level(fn(&Conf<'_>, &mut LocationConf, &[u8]) -> Result<(), String>),
}

/// Contexts of what is inherited.
const LEVELS: usize = HTTP | SERVER | LOCATION;

/// All of them.
pub const DIRECTIVES: &[Directive] = &[
    level(c"bx_push", LOCATION, role),
    main(c"bx_push_sidecar", sidecar),
    main(c"bx_push_drain_time", |_, main, value| {
        once(&mut main.drain_time, milliseconds(value, 0, HOUR)?)
    }),
    main(c"bx_push_max_queue_total", |_, main, value| {
        once(&mut main.max_queue_total, size(value, 1 << 20, 64 << 30)?)
    }),
    level(c"bx_push_security_key", LEVELS, key),
    level(c"bx_push_security_key_file", LEVELS, key_file),
    level(c"bx_push_signature_algorithm", LEVELS, |_, conf, value| {
        let name = String::from_utf8_lossy(value);
        let algorithm = name.parse().map_err(|error| format!("has an {error}"))?;
        once(&mut conf.algorithm, algorithm)
    }),
    level(c"bx_push_max_payload", LEVELS, |_, conf, value| {
        once(&mut conf.max_payload, size(value, 1024, 32 << 20)?)
    }),
    level(c"bx_push_max_messages_per_request", LEVELS, |_, conf, value| {
        once(&mut conf.max_messages, number(value, 1, 10_000)?)
    }),
    level(c"bx_push_max_channels_per_request", LEVELS, |_, conf, value| {
        once(&mut conf.max_channels, number(value, 1, 10_000)?)
    }),
    level(c"bx_push_max_connections_per_channel", LEVELS, |_, conf, value| {
        once(&mut conf.max_connections, number(value, 1, 1_000_000)? as u32)
    }),
    level(c"bx_push_poll_timeout", LEVELS, |_, conf, value| {
        once(&mut conf.poll_timeout, milliseconds(value, 1_000, DAY)?)
    }),
    level(c"bx_push_ping_interval", LEVELS, |_, conf, value| {
        once(&mut conf.ping_interval, milliseconds(value, 1_000, DAY)?)
    }),
    level(c"bx_push_message_ttl", LEVELS, |_, conf, value| {
        let ttl = milliseconds(value, 1_000, 365 * DAY)? / 1_000;
        once(&mut conf.message_ttl, ttl as u32)
    }),
    level(c"bx_push_max_queue", LEVELS, |_, conf, value| {
        once(&mut conf.max_queue, size(value, 64 << 10, 1 << 30)?)
    }),
];

const HOUR: u64 = 3600 * 1_000;
const DAY: u64 = 24 * HOUR;

const fn main(
    name: &'static CStr,
    set: fn(&Conf<'_>, &mut MainConf, &[u8]) -> Result<(), String>,
) -> Directive {
    Directive { name, contexts: HTTP, set: Set::Main(set) }
}

const fn level(
    name: &'static CStr,
    contexts: usize,
    set: fn(&Conf<'_>, &mut LocationConf, &[u8]) -> Result<(), String>,
) -> Directive {
    Directive { name, contexts, set: Set::Level(set) }
}

fn role(conf: &Conf<'_>, level: &mut LocationConf, value: &[u8]) -> Result<(), String> {
    let Some(role) = Role::from_name(value) else {
        return Err(format!(
            "has an invalid role \"{}\", known are sub, pub, rest, stat, metrics and status",
            String::from_utf8_lossy(value)
        ));
    };
    once(&mut level.role, (role, conf.place()))?;
    let main = conf.main_conf().ok_or("is not within an http block")?;
    let mut main = main.borrow_mut();
    main.first_role.get_or_insert_with(|| (role, conf.place()));
    conf.take_over_location()
}

/// A Unix socket's path has room for this many bytes and a zero.
const MAX_SOCKET_PATH: usize = 107;

fn sidecar(_: &Conf<'_>, main: &mut MainConf, value: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(value);
    let Some(path) = value.strip_prefix(b"unix:").filter(|path| path.starts_with(b"/")) else {
        return Err(format!("has an invalid address \"{shown}\", want unix:/path"));
    };
    if path.len() > MAX_SOCKET_PATH || path.ends_with(b"/") || path.contains(&0) {
        return Err(format!(
            "has an invalid address \"{shown}\", a socket's path has at most {MAX_SOCKET_PATH} bytes"
        ));
    }
    once(&mut main.sidecar, PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// A key below this length can be found by trying.
const SHORT_KEY: usize = 32;

fn key(conf: &Conf<'_>, level: &mut LocationConf, value: &[u8]) -> Result<(), String> {
    add_key(conf, level, "bx_push_security_key", value)
}

fn key_file(conf: &Conf<'_>, level: &mut LocationConf, value: &[u8]) -> Result<(), String> {
    let path = conf.full_name(value)?;
    let (bytes, mode) = read_key(&path)
        .map_err(|error| format!("can't read the key file \"{}\": {error}", path.display()))?;
    if mode & 0o004 != 0 {
        conf.log(
            Level::Warn,
            format_args!(
                "the key file \"{}\" is readable by everyone, its mode should be 0600",
                path.display()
            ),
        );
    }
    let key = bytes.trim_ascii_end();
    if key.is_empty() {
        return Err(format!("names an empty key file \"{}\"", path.display()));
    }
    if key.contains(&b'\n') {
        return Err(format!(
            "names a key file with several lines, \"{}\": give each key a file of its own",
            path.display()
        ));
    }
    add_key(conf, level, "bx_push_security_key_file", key)
}

/// What is longer is not a key file.
const MAX_KEY_FILE: u64 = 4096;

/// The file's content and mode.
fn read_key(path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    let file = fs::File::open(path)?;
    let meta = file.metadata()?;
    if meta.len() > MAX_KEY_FILE {
        return Err(std::io::Error::other(format!("larger than {MAX_KEY_FILE} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes)?;
    Ok((bytes, meta.mode()))
}

fn add_key(
    conf: &Conf<'_>,
    level: &mut LocationConf,
    directive: &str,
    key: &[u8],
) -> Result<(), String> {
    if key.is_empty() {
        return Err("has an empty key".into());
    }
    if key.len() < SHORT_KEY {
        conf.log(
            Level::Warn,
            format_args!("\"{directive}\" gives a key of less than {SHORT_KEY} characters"),
        );
    }
    level.keys.push(Rc::new(Key::from(key)));
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() {
        return Err("is duplicate".into());
    }
    Ok(())
}

/// A number in nginx's notation of sizes: `16k`, `1m`.
fn size(value: &[u8], min: usize, max: usize) -> Result<usize, String> {
    let size = Conf::parse_size(value).ok_or_else(|| invalid(value))?;
    within(value, size, min, max, "bytes")
}

/// A number in nginx's notation of times: `40s`, `500ms`, `1d`.
fn milliseconds(value: &[u8], min: u64, max: u64) -> Result<u64, String> {
    let time = Conf::parse_milliseconds(value).ok_or_else(|| invalid(value))?;
    within(value, time, min, max, "milliseconds")
}

fn number(value: &[u8], min: usize, max: usize) -> Result<usize, String> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    within(value, number.ok_or_else(|| invalid(value))?, min, max, "")
}

fn invalid(value: &[u8]) -> String {
    format!("has an invalid value \"{}\"", String::from_utf8_lossy(value))
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    text: &[u8],
    value: T,
    min: T,
    max: T,
    unit: &str,
) -> Result<T, String> {
    if (min <= value) && (value <= max) {
        return Ok(value);
    }
    Err(format!("{}, want {min} to {max} {unit}", invalid(text)).trim_end().to_owned())
}
