//! Security keys, for signing as a portal does. A key is never shown, nor taken from the command
//! line, where everybody on the machine could read it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use push_protocol::signature::{Algorithm, Verifier};

use super::nginx_conf::NginxConf;
use crate::migrate::files::Disk;
use crate::migrate::nginx::tree::{Tree, Visit};

/// Where nginx's files are if nothing else is said.
const NGINX: &str = "/etc/nginx";
/// The module takes no longer file.
const MAX_KEY_FILE: u64 = 4096;

/// A key that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key as nginx.conf gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySource {
    /// `bx_push_security_key_file`.
    pub file: Option<PathBuf>,
    /// `bx_push_security_key`.
    pub inline: Option<Secret>,
    /// Where the directive stands.
    pub place: String,
}

impl KeySource {
    /// From one of the two directives.
    pub fn of(tree: &Tree, visit: Visit<'_, '_>) -> Self {
        let arg = visit.directive.arg();
        let place = tree.place(visit.source, visit.directive).to_string();
        if visit.directive.name == "bx_push_security_key_file" {
            // As nginx does: relative ones begin at the folder of nginx.conf.
            return Self { file: Some(tree.prefix.join(arg)), inline: None, place };
        }
        Self { file: None, inline: Some(Secret(arg.to_owned())), place }
    }

    /// The key itself; the error is a text for a person.
    pub fn read(&self) -> Result<Secret, String> {
        match (&self.inline, &self.file) {
            (Some(key), _) => Ok(key.clone()),
            (None, Some(file)) => read_file(file),
            (None, None) => Err("no key".into()),
        }
    }

    /// Where the key is.
    pub fn shown(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => self.place.clone(),
        }
    }
}

/// Reads a key file as the module does: one line, blanks at its end do not count.
pub fn read_file(path: &Path) -> Result<Secret, String> {
    let failed = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE + 1).read_to_string(&mut text))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                failed(&"only others may read the key: run this as root")
            }
            _ => failed(&error),
        })?;
    let key = text.trim_end_matches(|c: char| c.is_ascii_whitespace());
    if key.is_empty() {
        return Err(failed(&"is empty"));
    }
    if text.len() as u64 > MAX_KEY_FILE || key.contains('\n') {
        return Err(failed(&"holds more than one key: a line, and nothing else"));
    }
    Ok(Secret(key.to_owned()))
}

/// Options of the verbs that sign.
#[derive(Args, Debug, Default, Clone)]
pub struct Options {
    /// A file with the key that signs; without it that of the module, as nginx.conf names it.
    #[arg(long, value_name = "FILE", env = "BX_PUSH_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// nginx.conf or its folder, where key and addresses are looked up [default: /etc/nginx]
    #[arg(long, value_name = "PATH")]
    pub nginx: Option<PathBuf>,
    /// sha1, sha256 or sha512; without it what nginx.conf says, or sha1.
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<Algorithm>,
}

impl Options {
    /// nginx.conf, if there is one.
    pub fn nginx_conf(&self) -> Option<(PathBuf, NginxConf)> {
        let path = match &self.nginx {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            None => NGINX.into(),
        };
        (self.nginx.is_some() || path.exists())
            .then(|| (path.clone(), NginxConf::read(&Disk::new(Path::new("/")), &path)))
    }

    /// Who signs; the error is a text for a person.
    pub fn signer(&self) -> Result<Verifier, String> {
        let conf = self.nginx_conf();
        let location = conf.as_ref().and_then(|(_, conf)| conf.of_role("sub").next());
        let key = match (&self.key_file, location) {
            (Some(file), _) => read_file(file)?,
            (None, Some(location)) => match location.keys.first() {
                Some(source) => source.read()?,
                None => {
                    return Err(format!(
                        "{}: no bx_push_security_key_file holds here; give --key-file",
                        location.place
                    ));
                }
            },
            (None, None) => {
                let looked =
                    conf.map_or_else(|| NGINX.into(), |(path, _)| path.display().to_string());
                return Err(format!(
                    "{looked}: no location with \"bx_push sub\", so no key is known; give --key-file FILE, or --nginx PATH of the nginx.conf that has one"
                ));
            }
        };
        let algorithm = match (self.algorithm, location.and_then(|at| at.algorithm.as_deref())) {
            (Some(algorithm), _) => algorithm,
            (None, Some(name)) => name.parse().map_err(|error| format!("{error}"))?,
            (None, None) => Algorithm::default(),
        };
        Ok(signer(algorithm, &key))
    }
}

/// Who signs with that key.
pub fn signer(algorithm: Algorithm, key: &Secret) -> Verifier {
    let mut signer = Verifier::new(algorithm);
    signer.add_key(key.0.as_bytes());
    signer
}

/// A list of channels whose entries are all signed: what is signed already stays as it is. The
/// error is a text for a person (PROTOCOL.md, section 2.1).
pub fn signed(list: &str, signer: &Verifier) -> Result<String, String> {
    let entries: Result<Vec<String>, String> = list
        .split('/')
        .map(|entry| match shape(entry)? {
            (_, true) => Ok(entry.to_owned()),
            (text, false) => {
                let signature = signer.sign_text(text.as_bytes()).ok_or("no key")?;
                Ok(format!("{text}.{signature}"))
            }
        })
        .collect();
    Ok(entries?.join("/"))
}

/// What of an entry is signed, and whether it carries a signature.
pub fn shape(entry: &str) -> Result<(&str, bool), String> {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = |id: &str| id.len() == 32 && hex(id);
    let (text, signature) = match entry.split_once('.') {
        Some((text, signature)) => (text, Some(signature)),
        None => (entry, None),
    };
    let right = match text.split_once(':') {
        Some((private, public)) => id(private) && id(public),
        None => id(text),
    };
    if !right || signature.is_some_and(|text| !(32..=128).contains(&text.len()) || !hex(text)) {
        return Err(format!(
            "\"{text}\" is no channel: 32 lower-case hex digits, or two times that with a colon between, and a dot and a signature if it is signed"
        ));
    }
    Ok((text, signature.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "80e28956d1be17f866cb56c227a58736";

    #[test]
    fn key_files_are_read_as_the_module_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        for (text, key) in [
            ("k\n", Some("k")),
            ("k \r\n", Some("k")),
            (" k", Some(" k")),
            ("", None),
            ("a\nb\n", None),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(read_file(&file).ok(), key.map(|key| Secret(key.into())), "{text:?}");
        }
        std::fs::write(&file, "k".repeat(4097)).expect("written");
        assert!(read_file(&file).is_err());
        assert!(read_file(&folder.path().join("none")).is_err());
    }

    #[test]
    fn entries_are_signed_once() {
        let signer = signer(Algorithm::Sha1, &Secret("k".into()));
        let pair = format!("{ID}:{ID}");
        for text in [ID, &pair] {
            let entry = signed(text, &signer).expect("signed");
            let list =
                push_protocol::channels::ChannelList::for_subscriber(entry.as_bytes(), &signer);
            assert!(list.is_some(), "{entry}");
            assert_eq!(signed(&entry, &signer), Ok(entry));
        }
        let upper = ID.to_uppercase();
        for bad in
            ["", "x", &ID[1..], &upper, &format!("{ID}:"), &format!("{ID}/"), &format!("{ID}.x")]
        {
            assert!(signed(bad, &signer).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_never_shown() {
        let source =
            KeySource { file: None, inline: Some(Secret("secret".into())), place: "x:1".into() };
        assert!(!format!("{source:?}").contains("secret"));
    }
}
