//! As much of Markdown as our own texts use, read as GitHub does.

use std::collections::HashMap;

/// A fenced block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// What stands behind the fence: a language, and a mark of ours.
    pub info: String,
    /// Its lines.
    pub text: String,
    /// The line of its fence, counted from 1.
    pub line: usize,
}

/// A text, taken apart.
#[derive(Default, Debug)]
pub struct Document {
    /// Level and text of each heading.
    pub headings: Vec<(usize, String)>,
    /// What a link may name behind `#`, in the order of the headings.
    pub anchors: Vec<String>,
    /// Where links lead, with their lines.
    pub links: Vec<(usize, String)>,
    /// The fenced blocks.
    pub blocks: Vec<Block>,
    /// The lines outside of them, each with its number.
    pub lines: Vec<(usize, String)>,
}

impl Document {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut open: Option<(String, Block)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim_start();
            if let Some((fence, mut block)) = open.take() {
                if trimmed.trim_end() == fence {
                    document.blocks.push(block);
                } else {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some((fence, block));
                }
                continue;
            }
            if trimmed.starts_with("```") {
                let ticks = trimmed.chars().take_while(|&c| c == '`').count();
                let info = trimmed[ticks..].trim().to_owned();
                open = Some(("`".repeat(ticks), Block { info, text: String::new(), line: number }));
                continue;
            }
            if let Some((level, heading)) = heading(line) {
                let slug = slug(heading);
                let again = seen.entry(slug.clone()).or_insert(0);
                document.anchors.push(match *again {
                    0 => slug,
                    n => format!("{slug}-{n}"),
                });
                *again += 1;
                document.headings.push((level, heading.to_owned()));
            }
            document.links.extend(links(line).map(|link| (number, link.to_owned())));
            document.lines.push((number, line.to_owned()));
        }
        document
    }

    /// The lines under the heading with this text, up to the next heading of whatever level.
    pub fn section(&self, heading_text: &str) -> Option<Vec<&str>> {
        let mut lines = self.lines.iter().map(|(_, line)| &line[..]);
        lines.find(|line| heading(line).is_some_and(|(_, text)| text == heading_text))?;
        Some(lines.take_while(|line| heading(line).is_none()).collect())
    }

    /// The cells of the table rows outside of blocks.
    pub fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        self.lines.iter().filter_map(|(_, line)| cells(line))
    }
}

/// The cells of a table's row. `\|` is no border.
pub fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = Vec::new();
    let mut start = 0;
    for (at, _) in inner.match_indices('|') {
        if !inner[..at].ends_with('\\') {
            cells.push(inner[start..at].trim());
            start = at + 1;
        }
    }
    cells.push(inner[start..].trim());
    Some(cells)
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.chars().take_while(|&c| c == '#').count();
    let text = line[level..].strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (level, text.trim()))
}

/// GitHub's anchor for a heading.
fn slug(heading: &str) -> String {
    let text = without_links(heading).to_lowercase();
    let kept = text.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, behind)) = link.split_once("](") else { break };
        let Some((_, behind)) = behind.split_once(')') else { break };
        out.push_str(before);
        out.push_str(label);
        rest = behind;
    }
    out + rest
}

/// Where the links of a line lead; what stands between backticks is none.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let code: Vec<(usize, usize)> = code_spans(line);
    line.match_indices("](").filter_map(move |(at, _)| {
        if code.iter().any(|&(from, to)| from < at && at < to) {
            return None;
        }
        let target = line[at + 2..].split([')', ' ']).next()?;
        Some(target)
    })
}

fn code_spans(line: &str) -> Vec<(usize, usize)> {
    let ticks: Vec<usize> = line.match_indices('`').map(|(at, _)| at).collect();
    // A link's label may be code; then the link's own `](` stands outside of it.
    ticks.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        let text = "# One `two`, three!\n\n[a](b.md#c) and `[x](y)` [`z`](w)\n```nginx server\n# [n](o)\nlisten 80;\n```\n## Ключ\n## Ключ\n| a | `b \\| c` |\n";
        let document = Document::parse(text);
        assert_eq!(document.anchors, ["one-two-three", "ключ", "ключ-1"]);
        let links: Vec<&str> = document.links.iter().map(|(_, link)| &link[..]).collect();
        assert_eq!(links, ["b.md#c", "w"]);
        assert_eq!(document.blocks.len(), 1);
        assert_eq!(document.blocks[0].info, "nginx server");
        assert_eq!(document.blocks[0].text, "# [n](o)\nlisten 80;\n");
        let rows: Vec<_> = document.rows().collect();
        assert_eq!(rows, [vec!["a", "`b \\| c`"]]);
        assert_eq!(document.section("Ключ"), Some(vec![]));
    }
}
