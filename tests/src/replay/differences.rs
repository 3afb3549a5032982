//! What `docs/differences.md` lists.

use std::collections::BTreeMap;
use std::fs;

use crate::builds;

/// Why a recorded case is not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What is so instead.
    pub text: String,
    /// A defect of PROTOCOL.md, section 17, such as `D14`, or `–` if the recording shows none.
    pub defect: String,
}

/// The cases of a file that are listed, by id.
pub fn listed(file: &str) -> BTreeMap<String, Reason> {
    let path = builds::repository().join("docs/differences.md");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text, file)
}

/// Rows of the tables below the heading that names `file`: ids in backquotes, what is so instead,
/// the defect.
fn parse(text: &str, file: &str) -> BTreeMap<String, Reason> {
    let mut listed = BTreeMap::new();
    let mut here = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            here = heading.contains(file);
        }
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [ids, text, defect] = cells[..] else { continue };
        if !here || !ids.starts_with('`') {
            continue;
        }
        let reason = Reason { text: text.into(), defect: defect.into() };
        for id in ids.split(',') {
            let id = id.trim().trim_matches('`').to_owned();
            assert_eq!(listed.insert(id.clone(), reason.clone()), None, "{id} is listed twice");
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_below_the_heading_are_read() {
        let text = "# Differences\n\n## `a.json`\n\n| case | here | defect |\n|---|---|---|\n\
            | `x`, `y-z` | because | D1 |\n| `v` | so | – |\n\n## `b.json`\n\n| `w` | no | D2 |\n";
        let listed = parse(text, "a.json");
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["v", "x", "y-z"]);
        let expected = Reason { text: "because".into(), defect: "D1".into() };
        assert_eq!(listed["y-z"], expected);
    }
}
