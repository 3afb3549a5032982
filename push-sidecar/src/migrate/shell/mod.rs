//! Reads the settings of push-server's start script: assignments as bash takes them. Nothing is
//! executed; what would have to be is reported.

use std::collections::BTreeMap;

/// A variable that is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// The line in which the assignment begins.
    pub line: usize,
}

/// What a variable is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// This text.
    Text(String),
    /// The result of something that only a shell can tell: what kind of thing it is.
    NotEvaluated(&'static str),
}

/// What a settings file should not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Odd {
    /// Where.
    pub line: usize,
    /// What. Values are not quoted: they may be secret.
    pub text: String,
}

/// A settings file, read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settings {
    /// In the order of the file: of several for a variable the last counts.
    pub assignments: Vec<Assignment>,
    /// What else there is.
    pub odd: Vec<Odd>,
}

/// Reads a file. The error is the one thing that leaves nothing to go on with: a quote that is
/// never closed.
pub fn parse(text: &str) -> Result<Settings, Odd> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { chars: text.chars().collect(), at: 0, line: 1, known: BTreeMap::new() };
    let mut settings = Settings::default();
    if let Some(line) = text.split('\n').position(|line| line.ends_with('\r')) {
        settings.odd.push(Odd {
            line: line + 1,
            text: "lines end with CR LF: bash takes the CR for a part of the value, and so may \
                   the running server; here it is left out"
                .into(),
        });
        reader.chars.retain(|&c| c != '\r');
    }
    while reader.command(&mut settings)? {}
    Ok(settings)
}

const DECLARING: [&str; 5] = ["export", "readonly", "declare", "typeset", "local"];

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    /// The variables so far, for `$NAME`.
    known: BTreeMap<String, String>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Skips blanks, continuations and comments; stays in the line.
    fn blanks(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(' ' | '\t'), _) => _ = self.next(),
                (Some('\\'), Some('\n')) => _ = (self.next(), self.next()),
                (Some('#'), _) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn at_end_of_command(&self) -> bool {
        matches!(self.peek(0), None | Some('\n' | ';' | '&' | '|'))
    }

    /// One command: what stands between two line ends or semicolons. `false` at the end.
    fn command(&mut self, settings: &mut Settings) -> Result<bool, Odd> {
        self.blanks();
        if self.peek(0).is_none() {
            return Ok(false);
        }
        let mut declaring = false;
        let mut last_was_empty = None;
        while !self.at_end_of_command() {
            let line = self.line;
            if let Some(name) = self.assigned_name() {
                let blank = matches!(self.peek(0), Some(' ' | '\t'));
                let value = self.word()?;
                if let Value::Text(text) = &value {
                    self.known.insert(name.clone(), text.clone());
                    last_was_empty = (blank && text.is_empty()).then(|| name.clone());
                }
                settings.assignments.push(Assignment { name, value, line });
            } else {
                let odd = self.other_word(declaring, last_was_empty.take())?;
                if odd.is_none() {
                    declaring = true;
                }
                if let Some(text) = odd {
                    settings.odd.push(Odd { line, text });
                    while !self.at_end_of_command() {
                        self.any_word()?;
                        self.blanks();
                    }
                }
            }
            self.blanks();
        }
        self.next();
        Ok(true)
    }

    /// If `NAME=` or `NAME+=` comes: takes it.
    fn assigned_name(&mut self) -> Option<String> {
        let mut len = 0;
        while let Some(c) = self.peek(len)
            && (c == '_' || c.is_ascii_alphabetic() || (len > 0 && c.is_ascii_digit()))
        {
            len += 1;
        }
        if len == 0 || self.peek(len) != Some('=') {
            return None;
        }
        let name = self.chars[self.at..self.at + len].iter().collect();
        self.at += len + 1;
        Some(name)
    }

    /// A word that is no assignment; `None` if one may stand there.
    fn other_word(
        &mut self,
        declaring: bool,
        behind_empty: Option<String>,
    ) -> Result<Option<String>, Odd> {
        let begin = self.at;
        self.any_word()?;
        let word: String = self.chars[begin..self.at].iter().collect();
        if DECLARING.contains(&&word[..]) || declaring {
            return Ok(None);
        }
        self.blanks();
        let name = |word: &str| {
            word.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) && !word.is_empty()
        };
        Ok(Some(if let Some(variable) = behind_empty {
            format!(
                "a blank behind \"{variable}=\" leaves {variable} empty: write {variable}=VALUE"
            )
        } else if name(&word) && self.peek(0) == Some('=') {
            format!("a blank in front of \"=\" sets nothing: write {word}=VALUE")
        } else if name(&word) && matches!(self.peek(0), Some(':')) || word.ends_with(':') {
            "not an assignment: a shell wants NAME=VALUE, not a colon".into()
        } else {
            "not an assignment: commands are not executed, so that what they set is not known"
                .into()
        }))
    }

    /// Skips a word, or a sign that ends words.
    fn any_word(&mut self) -> Result<(), Odd> {
        let begin = self.at;
        self.word()?;
        if self.at == begin {
            self.next();
        }
        Ok(())
    }

    /// The value of a word up to its end.
    fn word(&mut self) -> Result<Value, Odd> {
        let mut text = String::new();
        let mut not_evaluated = None;
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | ')' => break,
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text, &mut not_evaluated)?,
                '\\' => {
                    self.next();
                    if let Some(c) = self.next().filter(|&c| c != '\n') {
                        text.push(c);
                    }
                }
                '$' | '`' => self.expansion(&mut text, &mut not_evaluated)?,
                '(' => {
                    self.balanced('(', ')')?;
                    not_evaluated = Some("an array");
                }
                _ => {
                    self.next();
                    text.push(c);
                }
            }
        }
        Ok(not_evaluated.map_or(Value::Text(text), Value::NotEvaluated))
    }

    fn never_closed(sign: char, line: usize) -> Odd {
        let text = format!(
            "the {} that is opened here is never closed: what follows cannot be told apart",
            match sign {
                '"' => "double quote",
                '\'' => "single quote",
                '`' => "backquote",
                _ => "bracket",
            }
        );
        Odd { line, text }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), Odd> {
        let line = self.line;
        self.next();
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => text.push(c),
                None => return Err(Self::never_closed('\'', line)),
            }
        }
    }

    fn double_quoted(
        &mut self,
        text: &mut String,
        not_evaluated: &mut Option<&'static str>,
    ) -> Result<(), Odd> {
        let line = self.line;
        self.next();
        loop {
            match self.peek(0) {
                None => return Err(Self::never_closed('"', line)),
                Some('"') => {
                    self.next();
                    return Ok(());
                }
                Some('\\') => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c @ ('"' | '\\' | '$' | '`')) => text.push(c),
                        Some(c) => text.extend(['\\', c]),
                    }
                }
                Some('$' | '`') => self.expansion(text, not_evaluated)?,
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    /// `$NAME` and `${NAME}` of variables set above; everything else is not evaluated.
    fn expansion(
        &mut self,
        text: &mut String,
        not_evaluated: &mut Option<&'static str>,
    ) -> Result<(), Odd> {
        let line = self.line;
        if self.next() == Some('`') {
            loop {
                match self.next() {
                    Some('`') => break,
                    Some('\\') => _ = self.next(),
                    Some(_) => {}
                    None => return Err(Self::never_closed('`', line)),
                }
            }
            *not_evaluated = Some("the output of a command");
            return Ok(());
        }
        let name = match self.peek(0) {
            Some('(') => {
                self.balanced('(', ')')?;
                *not_evaluated = Some("the output of a command");
                return Ok(());
            }
            Some('{') => {
                let begin = self.at + 1;
                self.balanced('{', '}')?;
                self.chars[begin..self.at - 1].iter().collect::<String>()
            }
            Some('\'') => {
                self.single_quoted(&mut String::new())?;
                *not_evaluated = Some("a quote of the form $'…'");
                return Ok(());
            }
            _ => {
                let begin = self.at;
                while self.peek(0).is_some_and(|c| c == '_' || c.is_ascii_alphanumeric()) {
                    self.at += 1;
                }
                if self.at == begin {
                    text.push('$');
                    return Ok(());
                }
                self.chars[begin..self.at].iter().collect()
            }
        };
        match self.known.get(&name) {
            Some(value) => text.push_str(value),
            None => *not_evaluated = Some("a variable that is not set above"),
        }
        Ok(())
    }

    /// Skips what stands between brackets, which may be nested.
    fn balanced(&mut self, open: char, close: char) -> Result<(), Odd> {
        let line = self.line;
        let mut depth = 0;
        loop {
            match self.peek(0) {
                None => return Err(Self::never_closed(open, line)),
                Some('\'') => {
                    self.single_quoted(&mut String::new())?;
                    continue;
                }
                Some('\\') => _ = self.next(),
                Some(c) if c == open => depth += 1,
                Some(c) if c == close => depth -= 1,
                Some(_) => {}
            }
            self.next();
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
