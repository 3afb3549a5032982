//! Reads the arrays of a portal's `.settings.php`: names, values, lines. Nothing is executed.

/// A name with a value that is no array.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The names of the arrays around it, outermost first, and its own.
    pub path: Vec<String>,
    /// A text, or a number or word as it is written; `None` for something that PHP has to
    /// evaluate.
    pub value: Option<String>,
    /// The line of its name.
    pub line: usize,
}

/// Deeper is nonsense.
const MAX_DEPTH: usize = 64;

#[derive(PartialEq, Debug)]
enum Token {
    Text(String),
    Word(String),
    Arrow,
    Comma,
    Open,
    Close,
    Other,
}

/// All entries of all arrays, as far as they can be told apart.
pub fn entries(text: &str) -> Vec<Entry> {
    let tokens = tokens(text);
    let mut entries = Vec::new();
    // The names of the arrays that are open; `None` for one without a name.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut name: Option<(String, usize)> = None;
    let mut value: Option<Option<String>> = None;
    let mut end_of_value = |open: &[Option<String>],
                            name: &mut Option<(String, usize)>,
                            value: &mut Option<Option<String>>| {
        if let (Some((name, line)), Some(value)) = (name.take(), value.take()) {
            let mut path: Vec<String> = open.iter().flatten().cloned().collect();
            path.push(name);
            entries.push(Entry { path, value, line });
        }
        *name = None;
        *value = None;
    };
    for (index, (token, line)) in tokens.iter().enumerate() {
        match token {
            Token::Text(text) | Token::Word(text) => {
                let next = tokens.get(index + 1).map(|(token, _)| token);
                if next == Some(&Token::Arrow) {
                    name = Some((text.clone(), *line));
                    value = None;
                } else if next == Some(&Token::Open) && matches!(token, Token::Word(_)) {
                    // `array(`, or a function.
                } else if value.is_none() {
                    value = Some(Some(text.clone()));
                } else {
                    value = Some(None);
                }
            }
            Token::Arrow => {}
            Token::Open => {
                if open.len() >= MAX_DEPTH {
                    break;
                }
                let before = index.checked_sub(1).map(|before| &tokens[before].0);
                let call = matches!(before, Some(Token::Word(word)) if word != "array");
                if call || value.is_some() {
                    // A function's value, or an element of what stands before.
                    value = Some(None);
                    end_of_value(&open, &mut name, &mut value);
                }
                open.push(name.take().map(|(name, _)| name));
                value = None;
            }
            Token::Comma => end_of_value(&open, &mut name, &mut value),
            Token::Close => {
                end_of_value(&open, &mut name, &mut value);
                open.pop();
            }
            Token::Other => value = Some(None),
        }
    }
    entries
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let starts = |at: usize, with: &str| {
        with.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c))
    };
    while let Some(&c) = chars.get(at) {
        let begin = line;
        let token = match c {
            '\'' | '"' => {
                at += 1;
                let (value, end) = quoted(&chars[at..], c);
                line += chars[at..at + end].iter().filter(|&&inner| inner == '\n').count();
                at += end;
                value.map_or(Token::Other, Token::Text)
            }
            '#' => {
                while chars.get(at + 1).is_some_and(|&c| c != '\n') {
                    at += 1;
                }
                at += 1;
                continue;
            }
            '/' if starts(at, "//") => {
                while chars.get(at).is_some_and(|&c| c != '\n') {
                    at += 1;
                }
                continue;
            }
            '/' if starts(at, "/*") => {
                at += 2;
                while at < chars.len() && !starts(at, "*/") {
                    line += usize::from(chars[at] == '\n');
                    at += 1;
                }
                at += 2;
                continue;
            }
            '=' if starts(at, "=>") => {
                at += 1;
                Token::Arrow
            }
            ',' => Token::Comma,
            '(' | '[' => Token::Open,
            ')' | ']' => Token::Close,
            _ if c.is_alphanumeric() || c == '_' => {
                let begin = at;
                while chars
                    .get(at + 1)
                    .is_some_and(|&c| c.is_alphanumeric() || matches!(c, '_' | '.'))
                {
                    at += 1;
                }
                Token::Word(chars[begin..=at].iter().collect())
            }
            _ if c.is_whitespace() => {
                line += usize::from(c == '\n');
                at += 1;
                continue;
            }
            _ => Token::Other,
        };
        tokens.push((token, begin));
        at += 1;
    }
    tokens
}

/// A literal up to the quote that ends it, and how long it is. `None`: PHP puts the value of a
/// variable in, or something of an escape that portals have no use for.
fn quoted(chars: &[char], quote: char) -> (Option<String>, usize) {
    let (mut value, mut at, mut plain) = (String::new(), 0, true);
    while let Some(&c) = chars.get(at).filter(|&&c| c != quote) {
        let next = chars.get(at + 1).copied().filter(|_| c == '\\');
        let escaped = match (quote, next) {
            (_, Some('\\')) => Some('\\'),
            (_, Some(next)) if next == quote => Some(quote),
            ('"', Some('$')) => Some('$'),
            ('"', Some('n')) => Some('\n'),
            ('"', Some('r')) => Some('\r'),
            ('"', Some('t')) => Some('\t'),
            ('"', Some('x' | 'u' | '0'..='7' | 'e' | 'v' | 'f')) => {
                plain = false;
                None
            }
            _ => None,
        };
        // A dollar sign begins a variable only before what can be its name.
        let name = chars.get(at + 1).is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '{'));
        let variable = c == '$' && name || c == '{' && chars.get(at + 1) == Some(&'$');
        plain &= quote != '"' || !variable;
        value.push(escaped.unwrap_or(c));
        at += if escaped.is_some() { 2 } else { 1 };
    }
    (plain.then_some(value), at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arrays_of_both_spellings_are_read() {
        let text = "<?php\n// 'x' => 1,\nreturn array(\n 'a' => array('b' => 'c\\'d', \"e\" => 4,\n 'f' => true),\n \
                    # 'y' => 2\n'pull' => ['value' => ['k' => f('x'), 'l' => 'a' . 'b', 'm' => '',], 'readonly' => false /* , */ ],\n);";
        let told: Vec<_> =
            entries(text).into_iter().map(|e| (e.path.join("."), e.value, e.line)).collect();
        let entry = |path: &str, value: Option<&str>, line| {
            (path.to_owned(), value.map(str::to_owned), line)
        };
        let expected = [
            entry("a.b", Some("c'd"), 4),
            entry("a.e", Some("4"), 4),
            entry("a.f", Some("true"), 5),
            entry("pull.value.k", None, 7),
            entry("pull.value.l", None, 7),
            entry("pull.value.m", Some(""), 7),
            entry("pull.readonly", Some("false"), 7),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_php_would_evaluate_is_not_taken_for_a_text() {
        let value = |literal: &str| {
            let found = entries(&format!("<?php return ['k' => {literal}];"));
            found.into_iter().next().expect("an entry").value
        };
        for (literal, text) in [
            ("\"a\\$b\\n\"", Some("a$b\n")),
            ("\"a $ 5 {x}\"", Some("a $ 5 {x}")),
            ("'a$b{$c}\\n'", Some("a$b{$c}\\n")),
            ("\"a$b\"", None),
            ("\"a{$b}\"", None),
            ("\"a${b}\"", None),
            ("\"\\x41\"", None),
            ("getenv('KEY')", None),
            ("$key", None),
            ("'a' . KEY", None),
        ] {
            assert_eq!(value(literal).as_deref(), text, "{literal}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall(text in "[a'\"=>()\\[\\],#/*\\\\\n ]{0,60}") {
            let _ = entries(&text);
        }
    }
}
