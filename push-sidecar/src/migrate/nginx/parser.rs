//! Reads an nginx configuration file: directives, their arguments and blocks, with lines and with
//! the bytes they take, so that a file can be changed without touching the rest of it. Which
//! directives there are is nobody's business here.

use std::ops::Range;

/// A directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directive {
    /// What it is called.
    pub name: String,
    /// Its arguments, without quotes.
    pub args: Vec<String>,
    /// The line of its name, counted from 1.
    pub line: usize,
    /// Its bytes, from the name to the semicolon or the closing brace.
    pub span: Range<usize>,
    /// If it has a block.
    pub block: Option<Block>,
}

/// What stands between braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The directives.
    pub directives: Vec<Directive>,
    /// The bytes between the braces.
    pub inner: Range<usize>,
}

impl Directive {
    /// The first argument, or nothing.
    pub fn arg(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// The directives of the block.
    pub fn inside(&self) -> &[Self] {
        self.block.as_ref().map_or(&[], |block| &block.directives)
    }

    /// As a person would write it, on one line.
    pub fn shown(&self) -> String {
        let mut text = word(&self.name);
        for arg in &self.args {
            text.push(' ');
            text += &word(arg);
        }
        text
    }
}

/// A word, quoted if it must be.
pub fn word(text: &str) -> String {
    let plain =
        |c: char| !c.is_whitespace() && !matches!(c, ';' | '{' | '}' | '"' | '\'' | '#' | '\\');
    // A backslash is common in patterns and says the same with and without quotes.
    if !text.is_empty() && text.chars().all(|c| plain(c) || c == '\\') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// Why a file is no configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// Deeper is nonsense.
const MAX_DEPTH: usize = 32;

/// Reads a file.
pub fn parse(bytes: &[u8]) -> Result<Vec<Directive>, SyntaxError> {
    let mut reader = Reader { bytes, at: 0, line: 1 };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        reader.at = 3;
    }
    reader.directives(None, 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

/// What a directive is made of.
enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

fn fail<T>(line: usize, text: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError { line, text: text.into() })
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ if byte.is_ascii_whitespace() => _ = self.next(),
                _ => return,
            }
        }
    }

    fn token(&mut self) -> Result<Token, SyntaxError> {
        self.blanks();
        let token = match self.peek() {
            None => return Ok(Token::End),
            Some(b';') => Token::Semicolon,
            Some(b'{') => Token::Open,
            Some(b'}') => Token::Close,
            Some(quote @ (b'"' | b'\'')) => return self.quoted(quote).map(Token::Word),
            Some(_) => return Ok(Token::Word(self.plain())),
        };
        self.at += 1;
        Ok(token)
    }

    fn plain(&mut self) -> String {
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b';' | b'{' => break,
                _ if byte.is_ascii_whitespace() => break,
                b'\\' => {
                    text.extend(self.next());
                    text.extend(self.next());
                    continue;
                }
                b'$' if self.bytes.get(self.at + 1) == Some(&b'{') => {
                    text.extend(self.next());
                }
                _ => {}
            }
            text.extend(self.next());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn quoted(&mut self, quote: u8) -> Result<String, SyntaxError> {
        let line = self.line;
        self.next();
        let mut text = Vec::new();
        loop {
            match self.next() {
                None => return fail(line, "the quote that is opened here is never closed"),
                Some(byte) if byte == quote => break,
                Some(b'\\') => match self.next() {
                    Some(byte @ (b'"' | b'\'' | b'\\')) => text.push(byte),
                    Some(b't') => text.push(b'\t'),
                    Some(b'r') => text.push(b'\r'),
                    Some(b'n') => text.push(b'\n'),
                    Some(byte) => text.extend([b'\\', byte]),
                    None => {}
                },
                Some(byte) => text.push(byte),
            }
        }
        match self.peek() {
            None | Some(b';' | b'{' | b')') => {}
            Some(byte) if byte.is_ascii_whitespace() => {}
            Some(_) => return fail(self.line, "a blank or a semicolon is missing behind a quote"),
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Up to the end of the file or of a block. `opened`: where the block began.
    fn directives(
        &mut self,
        opened: Option<usize>,
        depth: usize,
    ) -> Result<Vec<Directive>, SyntaxError> {
        let mut directives = Vec::new();
        if depth > MAX_DEPTH {
            return fail(self.line, format!("nested deeper than {MAX_DEPTH}"));
        }
        loop {
            self.blanks();
            let (begin, line) = (self.at, self.line);
            match (self.token()?, opened) {
                (Token::End, None) | (Token::Close, Some(_)) => return Ok(directives),
                (Token::End, Some(opened)) => {
                    return fail(
                        opened,
                        "the block that is opened here is never closed: \"}\" is missing",
                    );
                }
                (Token::Close, None) => return fail(line, "\"}\" closes nothing"),
                (Token::Semicolon, _) => return fail(line, "\";\" ends nothing"),
                (Token::Open, _) => return fail(line, "\"{\" stands behind nothing"),
                (Token::Word(name), _) => {
                    directives.push(self.directive(name, begin, line, depth)?);
                }
            }
        }
    }

    fn directive(
        &mut self,
        name: String,
        begin: usize,
        line: usize,
        depth: usize,
    ) -> Result<Directive, SyntaxError> {
        let mut args = Vec::new();
        loop {
            let block = match self.token()? {
                Token::Word(word) => {
                    args.push(word);
                    continue;
                }
                Token::Semicolon => None,
                Token::Open => {
                    let inner = self.at;
                    let directives = if name.ends_with("_by_lua_block") {
                        self.foreign()?;
                        Vec::new()
                    } else {
                        self.directives(Some(line), depth + 1)?
                    };
                    Some(Block { directives, inner: inner..self.at - 1 })
                }
                Token::Close | Token::End => {
                    return fail(
                        line,
                        format!("\"{}\" is not ended by \";\"", crate::migrate::shortened(&name)),
                    );
                }
            };
            return Ok(Directive { name, args, line, span: begin..self.at, block });
        }
    }

    /// Skips a block in another language.
    fn foreign(&mut self) -> Result<(), SyntaxError> {
        let line = self.line;
        let mut depth = 1;
        loop {
            match self.next() {
                None => {
                    return fail(
                        line,
                        "the block that is opened here is never closed: \"}\" is missing",
                    );
                }
                Some(b'{') => depth += 1,
                Some(b'}') => depth -= 1,
                Some(_) => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(directives: &[Directive]) -> String {
        let one = |d: &Directive| match &d.block {
            None => format!("{}:{};", d.line, d.shown()),
            Some(block) => format!("{}:{}{{{}}}", d.line, d.shown(), shown(&block.directives)),
        };
        directives.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn directives_have_names_arguments_blocks_and_lines() {
        for (text, expected) in [
            ("", ""),
            ("# only\n# comments", ""),
            ("a;", "1:a;"),
            ("\n a b  'c d'\n\"e\" ;", "2:a b \"c d\" e;"),
            ("map $a $b { default x; '' 'close'; }", "1:map $a $b{1:default x; 1:\"\" close;}"),
            (
                "server {\n # {\n location ~* ^/x/(.*)$ { a; } }",
                "1:server{3:location ~* ^/x/(.*)${3:a;}}",
            ),
            ("rewrite ^/(.*)$ /${host}x/$1 break;", "1:rewrite ^/(.*)$ \"/${host}x/$1\" break;"),
            ("if ($a ~ \"x{2}\") { return 403; }", "1:if ($a ~ \"x{2}\" ){1:return 403;}"),
            ("log_format a '\"$x\" \\'y\\''\n  \"b\";", "1:log_format a \"\\\"$x\\\" 'y'\" b;"),
            ("a\\;b;", "1:\"a\\;b\";"),
            ("access_by_lua_block { if {} then; } a;", "1:access_by_lua_block{} 1:a;"),
            ("\u{feff}a;", "1:a;"),
            ("a b#c;", "1:a \"b#c\";"),
        ] {
            assert_eq!(shown(&parse(text.as_bytes()).expect("read")), expected, "{text}");
        }
    }

    #[test]
    fn spans_are_what_a_directive_takes() {
        let text = "a b; # x\n c { d; }\n";
        let read = parse(text.as_bytes()).expect("read");
        assert_eq!(&text[read[0].span.clone()], "a b;");
        assert_eq!(&text[read[1].span.clone()], "c { d; }");
        let block = read[1].block.as_ref().expect("a block");
        assert_eq!(&text[block.inner.clone()], " d; ");
        assert_eq!(&text[block.directives[0].span.clone()], "d;");
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        for (text, line, expected) in [
            ("a", 1, "\"a\" is not ended by \";\""),
            ("\nserver {\n a }", 3, "\"a\" is not ended by \";\""),
            (
                "\nserver {\n a;",
                2,
                "the block that is opened here is never closed: \"}\" is missing",
            ),
            ("a;\n}", 2, "\"}\" closes nothing"),
            (";", 1, "\";\" ends nothing"),
            ("{", 1, "\"{\" stands behind nothing"),
            ("a 'b;\n", 1, "the quote that is opened here is never closed"),
            ("a 'b'c;", 1, "a blank or a semicolon is missing behind a quote"),
        ] {
            let error = parse(text.as_bytes()).expect_err("refused");
            assert_eq!((error.line, &error.text[..]), (line, expected), "{text}");
        }
        let error = parse("a{".repeat(100_000).as_bytes()).expect_err("refused");
        assert_eq!(error.text, "nested deeper than 32");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall(bytes in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(b"ab;{}'\"\\# \n$".to_vec()),
                any::<u8>(),
            ],
            0..80,
        )) {
            if let Ok(directives) = parse(&bytes) {
                let mut end = 0;
                for directive in &directives {
                    prop_assert!(directive.span.start >= end && directive.span.end <= bytes.len());
                    end = directive.span.end;
                }
            }
        }

        #[test]
        fn what_is_shown_reads_the_same(words in proptest::collection::vec("[a-z$/.^*~ ;{}'#é\"]{0,8}", 1..5)) {
            let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\\\""));
            let text = words.iter().map(quoted).collect::<Vec<_>>().join(" ") + ";";
            let read = parse(text.as_bytes()).expect("read").remove(0);
            let again = parse((read.shown() + ";").as_bytes()).expect("read").remove(0);
            prop_assert_eq!((&read.name, &read.args), (&again.name, &again.args));
            prop_assert_eq!(&read.name, &words[0]);
        }
    }
}
