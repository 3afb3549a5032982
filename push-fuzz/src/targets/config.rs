//! The sidecar's configuration: a TOML file and the environment.

use std::collections::HashMap;

use push_sidecar::config::{Config, KEYS, hide_password};

/// * Any file and any environment give a configuration or an error that names the setting.
/// * One that is accepted can be shown, its options made, and what is shown is read again as the
///   same, but for the password, which is not shown.
///
/// The input is a file; behind a zero byte come `NAME=value` of the environment, each ended by one.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let file = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let environment: HashMap<String, String> = parts
        .filter_map(|part| {
            let text = String::from_utf8_lossy(part);
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect();

    let Ok(mut config) = Config::from_toml(&file) else { return };
    if let Err(error) = config.override_by(|name| environment.get(name).cloned()) {
        let text = error.to_string();
        assert!(KEYS.iter().any(|key| text.contains(key.variable)), "{text} names no variable");
        return;
    }
    if let Err(error) = config.check() {
        let text = error.to_string();
        assert!(KEYS.iter().any(|key| text.contains(key.name)), "{text} names no setting");
        return;
    }
    let _ = (config.redis_options(), config.exchange_options());
    let shown = config.to_string();
    let again = Config::from_toml(&shown).expect("what is shown can be read");
    let mut expected = config.clone();
    expected.redis.url = hide_password(&config.redis.url);
    assert_eq!(again, expected);
    assert_eq!(again.to_string(), shown);
    no_password(&config.redis.url, &expected.redis.url);
}

/// The usual form of an URL with a password does not show it.
fn no_password(url: &str, shown: &str) {
    let Some((_, rest)) = url.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return };
    let Some((_, password)) = user.split_once(':') else { return };
    if password.len() >= 4 && url.matches(password).count() == 1 {
        assert!(!shown.contains(password), "{shown}");
    }
}
