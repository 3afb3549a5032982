//! What programs say, as it stands in their source: format strings, whose gaps match anything.

use std::ops::Range;

/// A string of the source, in the pieces between its gaps.
#[derive(PartialEq, Eq, Debug)]
pub struct Message(Vec<String>);

/// Less text than this proves nothing, bytes without the gaps.
const TELLING: usize = 12;

impl Message {
    fn new(text: &str) -> Option<Self> {
        let mut pieces = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    pieces.last_mut()?.push(c);
                }
                '{' => {
                    chars.find(|&c| c == '}')?;
                    pieces.push(String::new());
                }
                c => pieces.last_mut()?.push(c),
            }
        }
        let text: usize = pieces.iter().map(String::len).sum();
        (text >= TELLING).then_some(Self(pieces))
    }

    /// Where in a line its pieces stand, if the line says this.
    fn places(&self, line: &str) -> Option<Vec<Range<usize>>> {
        let mut from = 0;
        let mut places = Vec::new();
        for piece in &self.0 {
            let start = from + line[from..].find(&piece[..])?;
            from = start + piece.len();
            places.push(start..from);
        }
        Some(places)
    }
}

/// What share of a line is the text of messages, percent: what stands in gaps is anybody's guess.
pub fn share(line: &str, messages: &[Message]) -> usize {
    let mut known = vec![false; line.len()];
    for place in messages.iter().filter_map(|message| message.places(line)).flatten() {
        known[place].fill(true);
    }
    100 * known.iter().filter(|&&known| known).count() / line.len().max(1)
}

/// The strings of a Rust source that say enough to be recognized.
pub fn messages(source: &str) -> Vec<Message> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (start, behind) = (&rest[at..], &rest[..at]);
        if start.starts_with("//") {
            rest = start.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let (true, Some(end)) = (start.starts_with('"'), raw_end(behind)) {
            let (text, behind) = start[1..].split_once(&end[..]).unwrap_or_default();
            found.extend(Message::new(text));
            rest = behind;
        } else if let Some(start) = start.strip_prefix('"') {
            let (text, behind) = string(start);
            found.extend(Message::new(&text));
            rest = behind;
        } else if let Some(behind) = start.strip_prefix("'\"'") {
            rest = behind;
        } else {
            rest = &start[1..];
        }
    }
    found
}

/// What ends the raw string that begins behind this, if it is one.
fn raw_end(behind: &str) -> Option<String> {
    let start = behind.trim_end_matches('#');
    start.ends_with('r').then(|| format!("\"{}", &behind[start.len()..]))
}

/// A string's text, and what stands behind its end.
fn string(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &source[at + 1..]),
            '\\' => match chars.next() {
                // The line goes on behind the blanks.
                Some((_, '\n')) => {
                    let blanks = chars.as_str().len() - chars.as_str().trim_start().len();
                    if blanks > 0 {
                        chars.nth(blanks - 1);
                    }
                }
                Some((_, 'n')) => text.push('\n'),
                Some((_, other)) => text.push(other),
                None => break,
            },
            c => text.push(c),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_strings_match_what_they_print() {
        let source = r#"
            // "not this one, it is a comment"
            let c = '"';
            log(format_args!("can't read the key file \"{}\": {error}", path));
            log("one line \
                 goes on here");
            x("short", r"a raw \ string", "one that follows");
        "#;
        let messages = messages(source);
        assert_eq!(messages.len(), 4, "{messages:?}");
        let share = |line: &str| share(line, &messages);
        assert!(share("[emerg] can't read the key file \"/k\": No such file") > 50);
        assert_eq!(share("one line goes on here"), 100);
        assert_eq!(share("can't read the key file"), 0);
        assert_eq!(share("short"), 0);
    }
}
