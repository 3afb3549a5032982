use std::io::Write;

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, |_| None)
}

fn load_with(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Config::load(Some(file.path()), environment)
}

#[test]
fn nothing_set_is_the_default() {
    assert_eq!(load("").expect("valid"), Config::default());
    Config::default().check().expect("usable");
}

/// The sample shows every key with its default: uncommented, it is the default configuration.
#[test]
fn the_sample_file_shows_every_key_with_its_default() {
    let sample = include_str!("../../../nginx-conf/push-sidecar.toml");
    let uncommented: String = sample
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|l| l.contains(" = ") && !l.starts_with(' '))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(load(&uncommented).expect("valid"), Config::default());
    let shown: toml::Table = uncommented.parse().expect("toml");
    let known: toml::Table =
        toml::to_string(&Config::default()).expect("toml").parse().expect("toml");
    let keys = |table: &toml::Table| {
        let mut keys: Vec<String> = Vec::new();
        for (name, value) in table {
            match value {
                toml::Value::Table(t) => keys.extend(t.keys().map(|k| format!("{name}.{k}"))),
                _ => keys.push(name.clone()),
            }
        }
        keys.sort();
        keys
    };
    assert_eq!(keys(&shown), keys(&known));
    let mut variables: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    variables.sort();
    assert_eq!(variables, keys(&known));
    for key in KEYS {
        assert!(sample.contains(&format!(" {}\n", key.variable)), "{}", key.variable);
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
    let error =
        load("socket = \"/x\"\n\n[link]\nqueue_byte = 7\n").expect_err("refused").to_string();
    assert!(error.contains("line 4"), "{error}");
    assert!(error.contains("`queue_byte`") && error.contains("`queue_bytes`"), "{error}");
    assert!(error.contains("gap_hold_ms"), "{error}");
    let error = load("sokcet = 1\n").expect_err("refused").to_string();
    assert!(error.contains("line 1") && error.contains("socket_group"), "{error}");
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    let error = load("[redis]\ncommand_timeout_ms = \"4s\"\n").expect_err("refused").to_string();
    assert!(error.contains("line 2") && error.contains("4s"), "{error}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = |name: &str| match name {
        "BX_PUSH_SOCKET" => Some("/from/environment".to_owned()),
        "BX_PUSH_LINK_GAP_HOLD_MS" => Some("90".to_owned()),
        "BX_PUSH_LOG_FORMAT" => Some("json".to_owned()),
        _ => None,
    };
    let config =
        load_with("socket = \"/from/file\"\npid_file = \"/p\"", environment).expect("valid");
    assert_eq!(config.socket, Path::new("/from/environment"));
    assert_eq!(config.pid_file, Path::new("/p"));
    assert_eq!(config.link.gap_hold_ms, 90);
    assert_eq!(config.log.format, LogFormat::Json);
    let error = load_with("", |name| (name == "BX_PUSH_CHANNEL_TTL").then(|| "1d".to_owned()))
        .expect_err("refused")
        .to_string();
    assert!(error.starts_with("BX_PUSH_CHANNEL_TTL: \"1d\""), "{error}");
}

#[test]
fn passwords_are_not_shown() {
    for (url, shown) in [
        ("redis://user:secret@host:1/2", "redis://user:***@host:1/2"),
        ("rediss://:p@ss@host", "rediss://:***@host"),
        ("unix:///run/r.sock?db=1&pass=secret", "unix:///run/r.sock?db=1&pass=***"),
        ("redis://host:1", "redis://host:1"),
    ] {
        assert_eq!(hide_password(url), shown);
        let mut config = Config::default();
        config.redis.url = url.into();
        assert!(!config.to_string().contains("secret"));
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let refused = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("refused").to_string()
    };
    assert!(refused(|c| c.log.level = "loud".into()).starts_with("log.level: \"loud\""));
    assert!(refused(|c| c.redis.url = "localhost:6379".into()).starts_with("redis.url: "));
    assert!(refused(|c| c.link.queue_bytes = 10).starts_with("link.queue_bytes: "));
    // Together with online_delta it would overflow; TOML could not show it.
    let error = refused(|c| c.storage.online_ttl = u64::MAX);
    assert_eq!(error, "storage.online_ttl: must be 315360000 at most");
    assert!(refused(|c| c.redis.dial_timeout_ms = u64::MAX).contains("86400000 at most"));
}
