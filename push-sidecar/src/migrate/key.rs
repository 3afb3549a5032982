//! What is told of a security key. The key itself never is.

use super::finding::{Findings, Place, Verdict, hidden};
use super::paths;
use super::settings::Settings;

/// The module takes no longer file.
const MAX_KEY: usize = 4096;
/// What is shorter can be found by trying; the module warns of it too.
const SHORT_KEY: usize = 32;

/// Tells of a key that is in force somewhere.
pub fn tell(findings: &mut Findings, place: &Place, name: &str, key: &str, settings: &Settings) {
    findings.secret(key);
    let setting = format!("{name} = {}", hidden(key));
    let mut danger = |text: String| findings.add(place.clone(), Verdict::Dangerous, &setting, text);
    if key.is_empty() {
        danger("an empty key: everybody could sign; push-server makes one up at its start instead, which the portal does not know. Nothing is taken from here".into());
        return;
    }
    if key.len() < SHORT_KEY {
        danger(format!(
            "less than {SHORT_KEY} characters can be found by trying: after the move take a key of 128 Latin letters and digits, here and in the portal"
        ));
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        danger("has characters other than Latin letters and digits, which not every installation reads the same: compare it with signature_key of the portal".into());
    }
    if let Some(first) = settings.keys.first().filter(|first| first.value != key) {
        danger(format!(
            "is not the key of {}: both are accepted, each from a file of its own. Find out which one the portal has as signature_key, and take the other one out of {}",
            first.place,
            paths::HTTP_CONF,
        ));
    }
    if key.len() > MAX_KEY || key.contains(['\n', '\r', '\0']) || key.trim_end() != key {
        findings.problem(place.clone(), format!("{name} cannot be kept in a key file: a key is one line of at most {MAX_KEY} bytes without a blank at its end. Set another key here and in the portal first"));
        return;
    }
    let number = settings.keys.iter().position(|known| known.value == key).unwrap_or(0);
    findings.add(
        place.clone(),
        Verdict::Translated,
        setting,
        format!("bx_push_security_key_file {}; (mode 0640)", paths::key_file(number)),
    );
}

/// Tells if a file with a key can be read by everybody.
pub fn tell_mode(findings: &mut Findings, place: Place, mode: Option<u32>) {
    if let Some(mode) = mode.filter(|mode| mode & 0o004 != 0) {
        findings.add(
            place,
            Verdict::Dangerous,
            format!("file mode {mode:04o}"),
            "everybody on this machine can read the key in this file, and with it listen to every channel: chmod 0640, and change the key after the move",
        );
    }
}
