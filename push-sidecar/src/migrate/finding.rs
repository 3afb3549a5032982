//! What is told of a setting.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// A line of a file; line 0 is the file as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file as the installation names it.
    pub file: Rc<str>,
    /// Counted from 1.
    pub line: usize,
}

impl Place {
    /// A line of a file.
    pub fn new(file: &Rc<str>, line: usize) -> Self {
        Self { file: Rc::clone(file), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// What becomes of a setting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Something to look at before the portal is moved.
    Dangerous,
    /// Not known here: nothing is done about it.
    Unknown,
    /// The same, in our words.
    Translated,
    /// The same as before.
    TakenOver,
    /// Nothing stands in its place.
    Obsolete,
}

impl Verdict {
    /// All, in the order of the summary.
    pub const ALL: [Self; 5] =
        [Self::Dangerous, Self::Unknown, Self::Translated, Self::TakenOver, Self::Obsolete];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dangerous => "dangerous",
            Self::Unknown => "unknown",
            Self::Translated => "translated",
            Self::TakenOver => "taken over",
            Self::Obsolete => "obsolete",
        })
    }
}

/// A setting that was found, and what becomes of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Where it stands.
    pub place: Place,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Its name, and its value if that may be shown.
    pub setting: String,
    /// What it became, or why it is nothing here, or what to do.
    pub became: String,
}

/// What cannot be worked with: nothing is written before it is mended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.file.is_empty() {
            return f.write_str(&self.text);
        }
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Everything that is told, and what must not be told.
#[derive(Default, Debug)]
pub struct Findings {
    list: BTreeSet<Finding>,
    problems: BTreeSet<Problem>,
    secrets: BTreeSet<String>,
}

impl Findings {
    /// Tells what becomes of a setting. Telling it twice is telling it once: a file may be included
    /// by several others.
    pub fn add(
        &mut self,
        place: Place,
        verdict: Verdict,
        setting: impl Into<String>,
        became: impl Into<String>,
    ) {
        let (setting, became) = (setting.into(), became.into());
        self.list.insert(Finding { place, verdict, setting, became });
    }

    /// Tells what cannot be worked with.
    pub fn problem(&mut self, place: Place, text: impl Into<String>) {
        self.problems.insert(Problem { place, text: text.into() });
    }

    /// Something that must never be shown.
    pub fn secret(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.secrets.insert(secret.to_owned());
        }
    }

    /// By place.
    pub fn list(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter()
    }

    /// By place.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// A text without the secrets that were found, in case one stands where nobody looks for it.
    /// What is shorter than a dozen characters may be an ordinary word, such as a folder's name.
    pub fn redact(&self, text: &str) -> String {
        let mut longest_first: Vec<_> = self.secrets.iter().filter(|s| s.len() >= 12).collect();
        longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest_first.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// How a secret is shown.
pub fn hidden(secret: &str) -> String {
    format!("({} characters, not shown)", secret.chars().count())
}

/// Whether a name says that its value is nobody's business.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "pass", "secret", "token", "auth"].iter().any(|word| name.contains(word))
}
