//! Reads JSON, and remembers the line of everything in it. As strict as Node.js, which reads the
//! same files, with messages that say what is wrong instead of what was expected.

use std::fmt::Write as _;

/// A value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Counted from 1.
    pub line: usize,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// As it is written.
    Number(String),
    /// Unescaped.
    Text(String),
    /// Its elements.
    Array(Vec<Value>),
    /// Its members, in the order of the file; of several of a name the last counts.
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The line of the name.
    pub line: usize,
    /// What it is set to.
    pub value: Value,
}

/// Why a text is no JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong. Values are not quoted: they may be secret.
    pub text: String,
}

/// Deeper is nonsense.
const MAX_DEPTH: usize = 64;

/// Reads a text.
pub fn parse(text: &str) -> Result<Value, SyntaxError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    if text.starts_with('\u{feff}') {
        return reader.fail(
            "the file begins with a byte order mark, which Node.js refuses: save it without",
        );
    }
    reader.blanks();
    if reader.peek().is_none() {
        return reader.fail("the file is empty");
    }
    let value = reader.value(0)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(value),
        Some('}' | ']') => reader.fail("one closing bracket too many"),
        Some(_) => reader.fail("something stands behind the end of the object"),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn fail<T>(&self, text: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { line: self.line, text: text.into() })
    }

    /// For what cannot begin a value or a name.
    fn unexpected<T>(&self, wanted: &str) -> Result<T, SyntaxError> {
        match self.peek() {
            None => self.fail("the file ends in the middle: a closing bracket is missing"),
            Some('\'') => self.fail("JSON wants double quotes, not single ones"),
            Some('/' | '#') => self.fail("JSON has no comments: take it out"),
            _ => self.fail(format!("{wanted} is missing here")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH}"));
        }
        let line = self.line;
        let kind = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some('"') => Kind::Text(self.string()?),
            Some('-' | '0'..='9') => Kind::Number(self.number()?),
            Some('a'..='z' | 'A'..='Z') => self.word()?,
            _ => return self.unexpected("a value"),
        };
        Ok(Value { kind, line })
    }

    fn word(&mut self) -> Result<Kind, SyntaxError> {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let kind = match &rest[..len] {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            _ => return self.fail("a text must stand in double quotes"),
        };
        self.at += len;
        Ok(kind)
    }

    fn number(&mut self) -> Result<String, SyntaxError> {
        let rest = &self.text[self.at..];
        let of_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let len = rest.find(|c| !of_number(c)).unwrap_or(rest.len());
        let number = &rest[..len];
        // RFC 8259, section 6: `f64` alone would take "1.", "01" and "1_".
        let digits = number.strip_prefix('-').unwrap_or(number);
        let leading = digits.len() > 1
            && digits.starts_with('0')
            && !digits[1..].starts_with(['.', 'e', 'E']);
        let dot = digits.split_once('.').is_some_and(|(before, after)| {
            before.is_empty() || !after.starts_with(|c: char| c.is_ascii_digit())
        });
        if leading
            || dot
            || !digits.starts_with(|c: char| c.is_ascii_digit())
            || number.parse::<f64>().is_err()
        {
            return self.fail("not a number as JSON has them");
        }
        let number = number.to_owned();
        self.at += len;
        Ok(number)
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                None | Some('\n') => {
                    return self.fail("the double quote is not closed in this line");
                }
                Some('\\') => {
                    self.next();
                    text.push(self.escape()?);
                }
                Some(c) if c < ' ' => return self.fail("a control character within a text"),
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        Ok(match self.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let unit = self.hex()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                // The first of a pair.
                if !self.text[self.at..].starts_with("\\u") {
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
                self.at += 2;
                let second = self.hex()?.wrapping_sub(0xdc00);
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (second & 0x3ff);
                char::from_u32(code)
                    .filter(|_| second < 0x400)
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return self.fail("a backslash that JSON does not know: write \\\\"),
        })
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.fail("four hex digits must follow \\u"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.next();
        let mut elements = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some(']') if elements.is_empty() => break,
                Some(']') => return self.fail("a comma too many: nothing follows it"),
                _ => elements.push(self.value(depth + 1)?),
            }
            self.blanks();
            match self.peek() {
                Some(',') => _ = self.next(),
                Some(']') => break,
                _ => return self.unexpected("a comma"),
            }
        }
        self.next();
        Ok(Kind::Array(elements))
    }

    fn object(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.next();
        let mut members: Vec<Member> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some('}') if members.is_empty() => break,
                Some('}') => return self.fail("a comma too many: nothing follows it"),
                Some('"') => {}
                _ => return self.unexpected("a name in double quotes"),
            }
            let line = self.line;
            let name = self.string()?;
            self.blanks();
            if self.peek() != Some(':') {
                return self.unexpected("a colon");
            }
            self.next();
            self.blanks();
            members.push(Member { name, line, value: self.value(depth + 1)? });
            self.blanks();
            match self.peek() {
                Some(',') => _ = self.next(),
                Some('}') => break,
                _ => return self.unexpected("a comma"),
            }
        }
        self.next();
        Ok(Kind::Object(members))
    }
}

/// A value at the end of a path, such as `servers[0].routes.pub`.
#[derive(Clone, PartialEq, Debug)]
pub struct Leaf {
    /// Names; `None` for an element of an array.
    path: Vec<Option<String>>,
    /// As a person writes it.
    pub shown: String,
    /// The line of the name.
    pub line: usize,
    /// An empty array or object, or something that is neither.
    pub kind: Kind,
    /// The line of a later member of the same name, which counts instead.
    pub overridden: Option<usize>,
}

impl Leaf {
    /// Whether the path is this one; `*` is any element.
    pub fn is(&self, path: &str) -> bool {
        let mut names = path.split('.');
        self.path.iter().all(|name| names.next() == Some(name.as_deref().unwrap_or("*")))
            && names.next().is_none()
    }

    /// Whether the path begins like this.
    pub fn is_below(&self, path: &str) -> bool {
        let mut own = self.path.iter();
        path.split('.')
            .all(|name| own.next().is_some_and(|own| own.as_deref().unwrap_or("*") == name))
    }

    /// The last name of the path.
    pub fn name(&self) -> &str {
        self.path.iter().rev().flatten().next().map_or("", String::as_str)
    }

    /// The value, as it is shown to a person.
    pub fn value(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(number) => number.clone(),
            Kind::Text(text) => format!("\"{text}\""),
            Kind::Array(_) => "[]".into(),
            Kind::Object(_) => "{}".into(),
        }
    }
}

/// Everything in a value, in the order of the file.
pub fn leaves(value: &Value) -> Vec<Leaf> {
    fn visit(value: &Value, at: &Leaf, leaves: &mut Vec<Leaf>) {
        match &value.kind {
            Kind::Array(elements) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    let mut below = at.clone();
                    below.path.push(None);
                    _ = write!(below.shown, "[{index}]");
                    below.line = element.line;
                    visit(element, &below, leaves);
                }
            }
            Kind::Object(members) if !members.is_empty() => {
                for (index, member) in members.iter().enumerate() {
                    let mut below = at.clone();
                    let dot = if below.shown.is_empty() { "" } else { "." };
                    _ = write!(below.shown, "{dot}{}", member.name);
                    below.path.push(Some(member.name.clone()));
                    below.line = member.line;
                    let later = members[index + 1..].iter().find(|later| later.name == member.name);
                    below.overridden = below.overridden.or(later.map(|later| later.line));
                    visit(&member.value, &below, leaves);
                }
            }
            kind => leaves.push(Leaf { kind: kind.clone(), ..at.clone() }),
        }
    }
    let at = Leaf {
        path: Vec::new(),
        shown: String::new(),
        line: value.line,
        kind: Kind::Null,
        overridden: None,
    };
    let mut all = Vec::new();
    visit(value, &at, &mut all);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_is_found_with_its_path_and_line() {
        let text = "{\n \"a\": 1,\n \"b\": {\"c\": [true,\n null]}, \"d\": [{\"e\":\"x\\u00e9\\ud83d\\ude00\"}],\n\"a\": {}}";
        let leaves = leaves(&parse(text).expect("JSON"));
        let told: Vec<_> =
            leaves.iter().map(|l| (&l.shown[..], l.value(), l.line, l.overridden)).collect();
        let expected = [
            ("a", "1", 2, Some(5)),
            ("b.c[0]", "true", 3, None),
            ("b.c[1]", "null", 4, None),
            ("d[0].e", "\"xé😀\"", 4, None),
            ("a", "{}", 5, None),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(p, v, l, o)| (*p, (*v).to_owned(), *l, *o)).collect();
        assert_eq!(told, expected);
        assert!(leaves[3].is("d.*.e") && leaves[3].is_below("d.*") && leaves[3].is_below("d"));
        assert!(!leaves[3].is("d.*") && !leaves[3].is_below("d.*.e.f") && !leaves[3].is("d.e"));
        assert_eq!((leaves[3].name(), leaves[1].name()), ("e", "c"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall(text in "[\\[\\]{}:,\"\\\\ntrue01.eE+\\- \n'/u\u{feff}é]{0,60}") {
            let ours = parse(&text);
            // The same texts are JSON as for serde_json, but for lone halves of surrogate pairs
            // and the depth.
            if !text.contains("\\u") {
                let theirs = serde_json::from_str::<serde_json::Value>(&text);
                let out_of_range = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
                prop_assert!(out_of_range || ours.is_ok() == theirs.is_ok(), "{:?} {:?}", ours, theirs);
            }
            if let Ok(value) = ours {
                let _ = leaves(&value);
            }
        }

        #[test]
        fn texts_come_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("JSON");
            prop_assert_eq!(parse(&json).map(|value| value.kind), Ok(Kind::Text(text)));
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let error = parse(&"[".repeat(100_000)).expect_err("refused");
        assert_eq!(error.text, "nested deeper than 64");
    }
}
