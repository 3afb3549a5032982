//! Every option and key is told in the documentation, in both languages, with the same default.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use push_sidecar::cli::Cli;
use push_sidecar::config::{Config, KEYS};

/// A guide and the words that it has for values that cannot be shown.
struct Guide {
    language: &'static str,
    empty: &'static str,
    text: String,
}

fn guides() -> [Guide; 2] {
    [("en", "empty"), ("ru", "пусто")].map(|(language, empty)| {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let text = fs::read_to_string(docs.join(language).join("sidecar.md")).expect("the guide");
        Guide { language, empty, text }
    })
}

impl Guide {
    /// The cells of the rows that begin with `cell`.
    fn rows(&self, cell: &str) -> impl Iterator<Item = Vec<&str>> {
        let start = format!("| {cell} |");
        let rows = self.text.lines().filter(move |line| line.starts_with(&start));
        rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
    }

    /// Whether an option stands in backticks, alone or with its value.
    fn tells(&self, option: &str) -> bool {
        [" ", "`"].iter().any(|end| self.text.contains(&format!("`{option}{end}")))
    }
}

/// A default as the tables show it: text in backticks, numbers bare.
fn shown(value: &toml::Value, empty: &str) -> String {
    match value {
        toml::Value::String(text) if text.is_empty() => empty.to_owned(),
        toml::Value::String(text) => format!("`{text}`"),
        toml::Value::Array(_) => format!("`{value}`"),
        other => other.to_string(),
    }
}

#[test]
fn every_key_is_told_with_its_variable_and_default() {
    let text = toml::to_string(&Config::default()).expect("the defaults are TOML");
    let defaults: toml::Table = text.parse().expect("the defaults are TOML");
    let mut problems = String::new();
    for guide in guides() {
        for key in KEYS {
            let value = key.name.split('.').fold(None, |table: Option<&toml::Value>, part| {
                table.map_or_else(|| defaults.get(part), |table| table.get(part))
            });
            let default = shown(value.expect("every key has a default"), guide.empty);
            let wanted = [format!("`{}`", key.name), format!("`{}`", key.variable), default];
            let told: Vec<Vec<&str>> = guide.rows(&wanted[0]).collect();
            if !told.iter().any(|row| row.iter().zip(&wanted).all(|(cell, want)| cell == want)) {
                let language = guide.language;
                _ = writeln!(problems, "docs/{language}: wanted {wanted:?}, found {told:?}");
            }
        }
    }
    assert!(problems.is_empty(), "\n{problems}");
}

#[test]
fn every_verb_and_option_is_told() {
    let command = Cli::command();
    let mut problems = String::new();
    let mut count = 0;
    for guide in guides() {
        let language = guide.language;
        for verb in command.get_subcommands() {
            let name = verb.get_name();
            if !guide.text.contains(&format!("push-sidecar {name}")) {
                _ = writeln!(problems, "docs/{language}: no push-sidecar {name}");
            }
            for option in verb.get_arguments() {
                let id = option.get_id();
                count += 1;
                if let Some(long) = option.get_long()
                    && !guide.tells(&format!("--{long}"))
                {
                    _ = writeln!(problems, "docs/{language}: {name}: no `--{long}`");
                }
                if let Some(variable) = option.get_env().and_then(|name| name.to_str())
                    && !guide.tells(variable)
                {
                    _ = writeln!(problems, "docs/{language}: {name}: no `{variable}`");
                }
                for default in option.get_default_values() {
                    let default = default.to_string_lossy();
                    let told = |line: &str| {
                        option.get_long().is_none_or(|long| line.contains(&format!("--{long}")))
                            && line.split(['`', ' ', ',', ';', ':']).any(|word| word == default)
                    };
                    // A flag that is not set needs no word.
                    if default != "false" && !guide.text.lines().any(told) {
                        _ = writeln!(
                            problems,
                            "docs/{language}: {name}: default {default} of {id}"
                        );
                    }
                }
            }
        }
    }
    assert!(count > 40, "{count}");
    assert!(problems.is_empty(), "\n{problems}");
}
