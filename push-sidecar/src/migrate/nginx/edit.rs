//! Changes to a file that leave the rest of it as it is, byte for byte.

use std::ops::Range;

/// The changes of one file.
#[derive(Clone, Default, Debug)]
pub struct Edits {
    list: Vec<(Range<usize>, String)>,
}

impl Edits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts a text in the place of bytes.
    pub fn replace(&mut self, bytes: Range<usize>, text: impl Into<String>) {
        self.list.push((bytes, text.into()));
    }

    /// Takes a directive out, with its line if it has one for itself.
    pub fn remove(&mut self, file: &[u8], span: &Range<usize>) {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let before = file[..span.start].iter().rev().take_while(blank).count();
        let after = file[span.end..].iter().take_while(blank).count();
        let begins_line = matches!(file[..span.start - before].last(), None | Some(b'\n'));
        let rest = &file[span.end + after..];
        // A comment at the end of the line belongs to the directive.
        let comment = match rest.first() {
            Some(b'#') => rest.iter().take_while(|byte| **byte != b'\n').count(),
            _ => 0,
        };
        let rest = &rest[comment..];
        let line_end =
            if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        let bytes = if begins_line && (line_end > 0 || rest.is_empty()) {
            span.start - before..span.end + after + comment + line_end
        } else {
            span.start..span.end + after
        };
        self.replace(bytes, "");
    }

    /// Puts lines at the beginning of a block, indented as the block's first line is; in a block
    /// of one line, words.
    pub fn insert(&mut self, file: &[u8], inner: &Range<usize>, lines: &[String]) {
        let body = &file[inner.clone()];
        let line = body.iter().position(|byte| *byte == b'\n');
        let text = match line {
            None => format!(" {}", lines.join(" ")),
            Some(end) => {
                let next = &body[end + 1..];
                let indent = next.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                let indent = String::from_utf8_lossy(&next[..indent]);
                let indent = if next[indent.len()..].is_empty() { "    ".into() } else { indent };
                let between = format!("\n{indent}");
                between.clone() + &lines.join(&between)
            }
        };
        self.replace(inner.start..inner.start, text);
    }

    /// The file with the changes. Where two overlap, the outer one counts.
    pub fn apply(mut self, file: &[u8]) -> Vec<u8> {
        // What is only put in comes before what begins at the same byte.
        self.list.sort_by_key(|(bytes, _)| {
            (bytes.start, !bytes.is_empty(), std::cmp::Reverse(bytes.end))
        });
        let mut out = Vec::with_capacity(file.len());
        let mut done = 0;
        for (bytes, text) in &self.list {
            if bytes.start < done {
                continue;
            }
            out.extend_from_slice(&file[done..bytes.start]);
            out.extend_from_slice(text.as_bytes());
            done = bytes.end;
        }
        out.extend_from_slice(&file[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edit: impl Fn(&mut Edits, &dyn Fn(&str) -> Range<usize>)) -> String {
        let mut edits = Edits::default();
        let span = |part: &str| {
            let start = text.find(part).expect("there");
            start..start + part.len()
        };
        edit(&mut edits, &span);
        String::from_utf8(edits.apply(text.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn a_directive_goes_with_its_line() {
        let remove = |text: &str, part: &str| {
            edited(text, |edits, span| edits.remove(text.as_bytes(), &span(part)))
        };
        assert_eq!(remove("{\n  a;\n  b;\n}", "a;"), "{\n  b;\n}");
        assert_eq!(remove("{\r\n  a; # why\r\n  b;\r\n}", "a;"), "{\r\n  b;\r\n}");
        assert_eq!(remove("{ a; b; }", "a;"), "{ b; }");
        assert_eq!(remove("a;", "a;"), "");
    }

    #[test]
    fn lines_come_with_the_blocks_indentation() {
        let lines = ["x;".to_owned(), "y;".to_owned()];
        let insert = |text: &str, inner: &str| {
            edited(text, |edits, span| edits.insert(text.as_bytes(), &span(inner), &lines))
        };
        assert_eq!(insert("{\n\ta;\n}", "\n\ta;\n"), "{\n\tx;\n\ty;\n\ta;\n}");
        assert_eq!(insert("{ a; }", " a; "), "{ x; y; a; }");
    }

    #[test]
    fn what_lies_in_something_that_goes_goes_with_it() {
        let text = "a { b; } c;";
        let out = edited(text, |edits, span| {
            edits.remove(text.as_bytes(), &span("b;"));
            edits.remove(text.as_bytes(), &span("a { b; }"));
            edits.replace(span("c;"), "d;");
        });
        assert_eq!(out, "d;");
    }
}
