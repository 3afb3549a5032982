//! The documentation is true and whole: links lead somewhere, both languages say the same,
//! directives are told as the source has them, nginx takes what is shown, programs say what is quoted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use push_tests::docs::markdown::{Block, Document};
use push_tests::docs::nginx_root::{NginxRoot, whole};
use push_tests::docs::{files, quotes};
use push_tests::{Nginx, builds};
use push_worker::Settings;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The guides of a language, by their names.
fn guides(language: &str) -> BTreeMap<String, Document> {
    let folder = builds::repository().join("docs").join(language);
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let found = files(&folder, "md");
    found.iter().map(|path| (name(path).expect("a name"), Document::parse(&read(path)))).collect()
}

/// Fails with all of them.
#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let texts = files(builds::repository(), "md");
    assert!(texts.len() > 20, "{texts:?}");
    let mut problems = Vec::new();
    for path in &texts {
        let document = Document::parse(&read(path));
        for (line, link) in &document.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().expect("a folder").join(file)
            };
            let place = format!("{}:{line}: {link}", path.display());
            if !target.exists() {
                problems.push(format!("{place}: there is no such file"));
            } else if !anchor.is_empty() {
                let anchors = Document::parse(&read(&target)).anchors;
                if !anchors.iter().any(|known| known == anchor) {
                    problems.push(format!("{place}: no such heading; there are {anchors:?}"));
                }
            }
        }
    }
    none(&problems);
}

/// A block without its comments, which are in the reader's language.
fn without_comments(block: &Block) -> String {
    let strip = |line: &str| {
        let comment = line.find(" #").or_else(|| line.trim_start().starts_with('#').then_some(0));
        line[..comment.unwrap_or(line.len())].trim_end().to_owned()
    };
    let lines: Vec<String> = block.text.lines().map(strip).collect();
    lines.join("\n")
}

#[test]
fn both_languages_say_the_same() {
    let (english, russian) = (guides("en"), guides("ru"));
    let mut problems = Vec::new();
    for name in english.keys().chain(russian.keys()) {
        let (Some(en), Some(ru)) = (english.get(name), russian.get(name)) else {
            problems.push(format!("{name} is there in one language only"));
            continue;
        };
        let levels = |document: &Document| -> Vec<usize> {
            document.headings.iter().map(|(level, _)| *level).collect()
        };
        if levels(en) != levels(ru) {
            let (en, ru) = (&en.headings, &ru.headings);
            problems.push(format!("{name}: other headings\n  {en:?}\n  {ru:?}"));
        }
        if en.blocks.len() != ru.blocks.len() {
            let (en, ru) = (en.blocks.len(), ru.blocks.len());
            problems.push(format!("{name}: {en} blocks in English, {ru} in Russian"));
        }
        for (en, ru) in en.blocks.iter().zip(&ru.blocks) {
            if en.info != ru.info || without_comments(en) != without_comments(ru) {
                problems.push(format!(
                    "{name}: the block of line {} differs from that of line {} in Russian",
                    en.line, ru.line
                ));
            }
        }
        if en.rows().count() != ru.rows().count() {
            let (en, ru) = (en.rows().count(), ru.rows().count());
            problems.push(format!("{name}: {en} rows of tables in English, {ru} in Russian"));
        }
    }
    none(&problems);
}

/// Name and contexts of each directive, as `directives.rs` has them.
fn directives() -> Vec<(String, &'static str)> {
    let source = read(&builds::repository().join("ngx-push-module/src/directives.rs"));
    let table = source.split_once("pub const DIRECTIVES").expect("the table").1;
    let table = table.split_once("\n];").expect("its end").0;
    let mut found = Vec::new();
    for line in table.lines() {
        let line = line.trim_start();
        let Some((kind, rest)) = line.split_once("(c\"") else { continue };
        let (name, rest) = rest.split_once('"').expect("a name");
        let contexts = match (kind, rest) {
            ("main", _) => "http",
            ("level", rest) if rest.starts_with(", LOCATION") => "location",
            ("level", rest) if rest.starts_with(", LEVELS") => "http, server, location",
            _ => panic!("not known what this means: {line}"),
        };
        found.push((name.to_owned(), contexts));
    }
    assert!(found.len() >= 15, "{found:?}");
    found
}

/// A size as nginx.conf has it.
fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{}m", bytes >> 20)
    } else {
        format!("{}k", bytes >> 10)
    }
}

/// A time as nginx.conf has it: days if they are whole, or else seconds.
fn time(seconds: u64) -> String {
    if seconds.is_multiple_of(86_400) {
        format!("{}d", seconds / 86_400)
    } else {
        format!("{seconds}s")
    }
}

/// The value of a constant that no other crate can see.
fn constant(file: &str, name: &str) -> u64 {
    let source = read(&builds::repository().join(file));
    let line = source.lines().find(|line| line.contains(&format!("const {name}:")));
    let value = line.and_then(|line| line.split_once("= ")).expect("the constant").1;
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().expect("a number");
    let value = value.trim_end_matches(';');
    value.split_once("<<").map_or_else(|| number(value), |(n, bits)| number(n) << number(bits))
}

/// The default of each directive that has one.
fn defaults() -> BTreeMap<&'static str, String> {
    let settings = Settings::default();
    let limits = &settings.limits;
    BTreeMap::from([
        ("bx_push_signature_algorithm", "sha1".to_owned()),
        (
            "bx_push_drain_time",
            time(constant("ngx-push-module/src/location.rs", "DRAIN_TIME") / 1_000),
        ),
        (
            "bx_push_max_queue_total",
            size(constant("push-worker/src/engine/relief.rs", "MAX_TOTAL") as usize),
        ),
        ("bx_push_max_payload", size(settings.max_payload)),
        ("bx_push_max_messages_per_request", limits.max_messages.to_string()),
        ("bx_push_max_channels_per_request", limits.max_channels.to_string()),
        ("bx_push_max_connections_per_channel", settings.max_connections.to_string()),
        ("bx_push_poll_timeout", time(settings.poll_timeout / 1_000)),
        ("bx_push_ping_interval", time(settings.ping_interval / 1_000)),
        ("bx_push_message_ttl", time(limits.message_ttl.into())),
        ("bx_push_max_queue", size(settings.max_queue)),
    ])
}

#[test]
fn every_directive_is_told_as_the_source_has_it() {
    let defaults = defaults();
    let mut problems = Vec::new();
    for (language, names) in
        [("en", ["Syntax", "Default", "Context"]), ("ru", ["Синтаксис", "Умолчание", "Контекст"])]
    {
        let guides = guides(language);
        let guide = &guides["directives.md"];
        for (directive, contexts) in directives() {
            let Some(section) = guide.section(&directive) else {
                problems.push(format!("docs/{language}/directives.md: no section {directive}"));
                continue;
            };
            let value = |name: &str| {
                let line = format!("| {name} | ");
                let row = section.iter().find_map(|row| row.strip_prefix(&line[..]));
                row.map_or("", |row| row.trim_end_matches('|').trim())
            };
            let default =
                defaults.get(&directive[..]).map_or("–".to_owned(), |d| format!("`{d}`"));
            let told = names.map(value);
            if !told[0].starts_with(&format!("`{directive} "))
                || told[1] != default
                || told[2] != contexts
            {
                problems.push(format!(
                    "docs/{language}/directives.md: {directive}: says {told:?}, wanted default {default}, context {contexts}"
                ));
            }
            let shown = |block: &Block| {
                block.info.starts_with("nginx") && block.text.contains(&format!("{directive} "))
            };
            if !guide.blocks.iter().any(shown) {
                problems.push(format!("docs/{language}/directives.md: no example of {directive}"));
            }
        }
        // And nothing that is not there.
        for (_, heading) in &guide.headings {
            let known = directives().iter().any(|(name, _)| name == heading);
            if heading.starts_with("bx_push") && !known {
                problems.push(format!("docs/{language}/directives.md: there is no {heading}"));
            }
        }
    }
    none(&problems);
}

/// A number as the guides write it: `64k`, `1d`, 100; in bytes, milliseconds, or itself.
fn value(text: &str, unit: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match (unit, &text[digits.len()..]) {
        ("bytes", "k") => 1 << 10,
        ("bytes", "m") => 1 << 20,
        ("bytes", "g") => 1 << 30,
        ("milliseconds", "") if digits == "0" => 1,
        ("milliseconds", "s") => 1_000,
        ("milliseconds", "h") => 3_600_000,
        ("milliseconds", "d") => 86_400_000,
        ("", "") => 1,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? * factor)
}

/// nginx tells the range of a directive when a value is far beyond it.
#[test]
fn every_range_is_told() -> io::Result<()> {
    let root = NginxRoot::new(Nginx::Installed)?;
    let (english, russian) = (guides("en"), guides("ru"));
    let mut problems = Vec::new();
    let mut count = 0;
    for directive in defaults().into_keys() {
        let conf = |value: &str| whole("http", &format!("{directive} {value};\n"));
        let told = ["99999999m", "9999d", "99999999"]
            .iter()
            .filter_map(|value| root.try_out(&conf(value)?).ok()?.err())
            .find_map(|told| Some(told.split_once(", want ")?.1.to_owned()));
        // An algorithm has none.
        let Some(told) = told else { continue };
        let words: Vec<&str> = told.split_whitespace().collect();
        let unit = if words[3] == "in" { "" } else { words[3] };
        let range = (words[0].parse().ok(), words[2].parse().ok());
        count += 1;
        for (language, guides, separator) in [("en", &english, " … "), ("ru", &russian, " до ")]
        {
            let section = guides["directives.md"].section(directive).unwrap_or_default();
            let text = section.join(" ").replace('`', "");
            let is_told = text.match_indices(separator).any(|(at, _)| {
                let (before, behind) = (&text[..at], &text[at + separator.len()..]);
                let word =
                    |word: Option<&str>| value(word?.trim_matches([',', '.', ':', ';']), unit);
                (word(before.split(' ').next_back()), word(behind.split(' ').next())) == range
            });
            if !is_told {
                problems.push(format!(
                    "docs/{language}: {directive}: want {} to {}",
                    words[0], words[2]
                ));
            }
        }
    }
    none(&problems);
    assert!(count >= 10, "{count}");
    Ok(())
}

/// The roles of a location, as `location.rs` names them; the one for tests alone left out.
fn roles() -> Vec<String> {
    let source = read(&builds::repository().join("ngx-push-module/src/location.rs"));
    let names = source.split_once("fn name(self)").expect("the names").1;
    let names = names.split_once("\n    }\n").expect("their end").0;
    let name = |line: &str| Some(line.split_once("=> \"")?.1.split_once('"')?.0.to_owned());
    let roles = names.lines().filter_map(name).filter(|name| name != "echo");
    roles.collect()
}

#[test]
fn every_role_is_told() {
    let roles = roles();
    assert!(roles.len() >= 4, "{roles:?}");
    for language in ["en", "ru"] {
        let guides = guides(language);
        let section = guides["directives.md"].section("bx_push").expect("the section");
        let syntax = format!("`bx_push {};`", roles.join(" \\| "));
        assert!(section.iter().any(|line| line.contains(&syntax)), "{language}: no {syntax}");
        for role in &roles {
            let bullet = format!("- `{role}`");
            assert!(section.iter().any(|line| line.starts_with(&bullet)), "{language}: no {role}");
        }
    }
}

#[test]
fn nginx_takes_what_the_guides_show() -> io::Result<()> {
    let mut problems = Vec::new();
    let mut tried = 0;
    for version in [Nginx::Installed, Nginx::Vendored] {
        let root = NginxRoot::new(version)?;
        for language in ["en", "ru"] {
            for (name, guide) in guides(language) {
                for block in guide.blocks.iter().filter(|block| block.info.starts_with("nginx")) {
                    let place = format!("docs/{language}/{name}:{}", block.line);
                    let mark = block.info.strip_prefix("nginx ").unwrap_or_default();
                    let Some(conf) = whole(mark, &block.text) else {
                        problems.push(format!("{place}: mark it complete, http or server"));
                        continue;
                    };
                    tried += 1;
                    if let Err(told) = root.try_out(&conf)? {
                        problems.push(format!("{place}: {version:?} says\n{told}"));
                    }
                }
            }
        }
    }
    none(&problems);
    assert!(tried > 20, "{tried}");
    Ok(())
}

/// Blocks with the mark `log` are what our programs say, word for word.
#[test]
fn our_programs_say_what_is_quoted() {
    let mut messages = Vec::new();
    for folder in
        ["ngx-push-module/src", "push-worker/src", "push-sidecar/src", "push-protocol/src"]
    {
        for file in files(&builds::repository().join(folder), "rs") {
            messages.extend(quotes::messages(&read(&file)));
        }
    }
    assert!(messages.len() > 500, "{}", messages.len());
    let mut problems = Vec::new();
    let mut quoted = 0;
    for language in ["en", "ru"] {
        for (name, guide) in guides(language) {
            for block in guide.blocks.iter().filter(|block| block.info == "text log") {
                for line in block.text.lines() {
                    quoted += 1;
                    // Paths, numbers, names, and what the system says are not in the source.
                    let share = quotes::share(line, &messages);
                    if share < 45 {
                        let place = format!("docs/{language}/{name}:{}", block.line);
                        problems.push(format!("{place}: {share} % is known of: {line}"));
                    }
                }
            }
        }
    }
    none(&problems);
    assert!(quoted > 40, "{quoted}");
}
