//! The portal's `.settings.php`.

use push_sidecar::migrate::portal::php::{self, Entry};

/// * Any file gives entries whose names and lines are in it.
/// * Any text that is written as PHP writes it is read again, behind whatever else is there in
///   comments, in both kinds of quotes.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').count();
    for entry in php::entries(&text) {
        assert!((1..=lines).contains(&entry.line), "{entry:?} of {lines} lines");
        assert!(!entry.path.is_empty(), "{entry:?}");
    }
    let comment: String = text.chars().filter(|&c| c != '*').collect();
    let single = quoted(&text, '\'', &[]);
    let double = quoted(&text, '"', &['$']);
    let file = format!(
        "<?php /*{comment}*/\nreturn array('pull' => ['a' => {single}, {single} => {double},]);"
    );
    let found = php::entries(&file);
    let line = 1 + comment.matches('\n').count() + 1;
    let entry = |name: &str, line| Entry {
        path: vec!["pull".into(), name.to_owned()],
        value: Some(text.clone().into_owned()),
        line,
    };
    let second = line + text.matches('\n').count();
    assert_eq!(found, [entry("a", line), entry(&text, second)], "{file}");
}

/// A literal of PHP.
fn quoted(text: &str, quote: char, also: &[char]) -> String {
    let mut out = String::from(quote);
    for c in text.chars() {
        if c == quote || c == '\\' || also.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}
