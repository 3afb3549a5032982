//! The nginx files with everything they include.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::parser::{self, Directive};
use crate::migrate::files::{File, Files};
use crate::migrate::finding::{Findings, Place, Verdict};

/// A file and what is in it.
#[derive(Debug)]
pub struct Source {
    /// As it was read.
    pub file: File,
    /// Its path, for [`Place`].
    pub name: Rc<str>,
    /// Its directives; none if it is broken.
    pub directives: Vec<Directive>,
}

/// A directive's file and first byte: the same wherever the file is included.
pub type Id = (usize, usize);

/// All files.
#[derive(Default, Debug)]
pub struct Tree {
    /// Each once, however often it is included.
    pub sources: Vec<Source>,
    /// Where reading begins: nginx.conf, or fragments that nothing includes.
    pub roots: Vec<usize>,
    /// Whether the roots are fragments, without nginx.conf around them.
    pub fragments: bool,
    /// The folder that relative paths begin at.
    pub prefix: PathBuf,
    includes: BTreeMap<Id, Vec<usize>>,
}

/// What is visited: a directive and the blocks around it, outermost first.
#[derive(Clone, Copy)]
pub struct Visit<'a, 'v> {
    /// Its file.
    pub source: usize,
    /// The directive.
    pub directive: &'a Directive,
    /// The blocks around it, with their files.
    pub parents: &'v [(usize, &'a Directive)],
}

impl Visit<'_, '_> {
    /// Which directive it is.
    pub fn id(&self) -> Id {
        (self.source, self.directive.span.start)
    }
}

/// Includes within includes; nginx itself ends when it runs out of files.
const MAX_INCLUDES: usize = 12;
/// Visits of one walk: files that include each other in many ways come to an end.
const MAX_VISITS: usize = 500_000;

impl Tree {
    /// Reads nginx.conf, or in a folder without one all files `*.conf`, and what they include.
    pub fn read(files: &dyn Files, path: &Path, findings: &mut Findings) -> Self {
        let mut tree = Self::default();
        if files.is_folder(path) {
            path.clone_into(&mut tree.prefix);
            let main = path.join("nginx.conf");
            let fragments = files.glob(&path.join("*.conf"));
            if fragments.contains(&main) {
                let read = tree.load(files, &main, findings);
                tree.roots.extend(read);
            } else {
                tree.fragments = true;
                if fragments.is_empty() {
                    let place = Place { file: path.display().to_string().into(), line: 0 };
                    findings.problem(place, "no *.conf file in this folder: give nginx.conf, or a folder with nginx's files");
                }
                for fragment in &fragments {
                    let read = tree.load(files, fragment, findings);
                    tree.roots.extend(read);
                }
                let included: Vec<usize> = tree.includes.values().flatten().copied().collect();
                tree.roots.retain(|root| !included.contains(root));
            }
        } else {
            path.parent().unwrap_or(Path::new("/")).clone_into(&mut tree.prefix);
            let read = tree.load(files, path, findings);
            tree.roots.extend(read);
            let outermost = |source: &usize| {
                let names = tree.sources[*source].directives.iter().map(|d| &d.name[..]);
                names.into_iter().any(|name| matches!(name, "events" | "http"))
            };
            tree.fragments = !tree.roots.iter().any(outermost);
        }
        tree
    }

    /// Reads a file and what it includes, if that has not been done.
    fn load(&mut self, files: &dyn Files, path: &Path, findings: &mut Findings) -> Option<usize> {
        if let Some(known) = self.sources.iter().position(|source| source.file.path == path) {
            return Some(known);
        }
        let name: Rc<str> = path.display().to_string().into();
        let file = match files.read(path) {
            Ok(file) => file,
            Err(error) => {
                findings.problem(Place::new(&name, 0), format!("cannot be read: {error}"));
                return None;
            }
        };
        let directives = parser::parse(&file.bytes).unwrap_or_else(|error| {
            findings.problem(Place::new(&name, error.line), error.text);
            Vec::new()
        });
        let index = self.sources.len();
        self.sources.push(Source { file, name, directives: directives.clone() });
        let mut left: Vec<&Directive> = directives.iter().rev().collect();
        while let Some(directive) = left.pop() {
            left.extend(directive.inside().iter().rev());
            if directive.name == "include" {
                self.include(files, index, directive, findings);
            }
        }
        Some(index)
    }

    fn include(
        &mut self,
        files: &dyn Files,
        source: usize,
        directive: &Directive,
        findings: &mut Findings,
    ) {
        let pattern = directive.arg();
        let place = Place::new(&self.sources[source].name, directive.line);
        if pattern.contains('$') {
            findings.add(
                place,
                Verdict::Unknown,
                directive.shown(),
                "variables are not evaluated: what is in these files is not taken into account",
            );
            return;
        }
        let mut found = files.glob(&self.prefix.join(pattern));
        if found.is_empty() && !super::super::glob::has_signs(pattern) {
            // In a copy the files may all lie in one folder.
            let own = self.sources[source].file.path.parent().unwrap_or(Path::new("/"));
            let beside = Path::new(pattern).file_name().map(|name| own.join(name));
            found = beside.map(|path| files.glob(&path)).unwrap_or_default();
            match found.first() {
                Some(path) => findings.add(
                    place,
                    Verdict::TakenOver,
                    directive.shown(),
                    format!(
                        "read from {}: there is no such file below {}",
                        path.display(),
                        self.prefix.display()
                    ),
                ),
                None => findings.add(
                    place,
                    Verdict::Unknown,
                    directive.shown(),
                    "there is no such file: what would be in it is not taken into account",
                ),
            }
        }
        let loaded = found.iter().filter_map(|path| self.load(files, path, findings)).collect();
        self.includes.insert((source, directive.span.start), loaded);
    }

    /// The place of a directive.
    pub fn place(&self, source: usize, directive: &Directive) -> Place {
        Place::new(&self.sources[source].name, directive.line)
    }

    /// The files that an `include` names.
    pub fn included(&self, id: Id) -> &[usize] {
        self.includes.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Visits every directive, those of included files where they are included.
    pub fn walk<'a>(&'a self, mut visit: impl FnMut(Visit<'a, '_>)) {
        let mut left = MAX_VISITS;
        for &root in &self.roots {
            let mut parents = Vec::new();
            self.walk_list(
                root,
                &self.sources[root].directives,
                &mut parents,
                0,
                &mut left,
                &mut visit,
            );
        }
    }

    /// Visits what is in a block.
    pub fn walk_block<'a>(
        &'a self,
        source: usize,
        directive: &'a Directive,
        mut visit: impl FnMut(Visit<'a, '_>),
    ) {
        let mut parents = vec![(source, directive)];
        let mut left = MAX_VISITS;
        self.walk_list(source, directive.inside(), &mut parents, 0, &mut left, &mut visit);
    }

    fn walk_list<'a>(
        &'a self,
        source: usize,
        list: &'a [Directive],
        parents: &mut Vec<(usize, &'a Directive)>,
        depth: usize,
        left: &mut usize,
        visit: &mut impl FnMut(Visit<'a, '_>),
    ) {
        for directive in list {
            if *left == 0 {
                return;
            }
            *left -= 1;
            visit(Visit { source, directive, parents });
            if depth < MAX_INCLUDES {
                for &file in self.included((source, directive.span.start)) {
                    self.walk_list(
                        file,
                        &self.sources[file].directives,
                        parents,
                        depth + 1,
                        left,
                        visit,
                    );
                }
            }
            if directive.block.is_some() {
                parents.push((source, directive));
                self.walk_list(source, directive.inside(), parents, depth, left, visit);
                parents.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::files::Memory;

    fn visited(tree: &Tree) -> Vec<String> {
        let mut all = Vec::new();
        tree.walk(|visit| {
            let parents: Vec<_> =
                visit.parents.iter().map(|(_, parent)| &parent.name[..]).collect();
            all.push(format!("{}:{}", parents.join("/"), visit.directive.shown()));
        });
        all
    }

    #[test]
    fn included_files_stand_where_they_are_included() {
        let files = Memory::default()
            .with(
                "/etc/nginx/nginx.conf",
                "events {}\nhttp { include conf.d/*.conf; server { include /srv/x.conf; } }",
            )
            .with("/etc/nginx/conf.d/a.conf", "a;")
            .with("/etc/nginx/conf.d/b.conf", "server { include /srv/x.conf; }")
            .with("/etc/nginx/conf.d/.c.conf", "never;")
            .with("/srv/x.conf", "x;");
        let mut findings = Findings::default();
        let tree = Tree::read(&files, Path::new("/etc/nginx"), &mut findings);
        assert_eq!(tree.sources.len(), 4);
        assert!(!tree.fragments);
        let expected = [
            ":events",
            ":http",
            "http:include conf.d/*.conf",
            "http:a",
            "http:server",
            "http/server:include /srv/x.conf",
            "http/server:x",
            "http:server",
            "http/server:include /srv/x.conf",
            "http/server:x",
        ];
        assert_eq!(visited(&tree), expected);
        assert_eq!((findings.list().count(), findings.problems().count()), (0, 0));
    }

    #[test]
    fn a_folder_of_fragments_is_read_as_well() {
        let files = Memory::default()
            .with(
                "/copy/rtc.conf",
                "server { include bx/conf/im.conf; include bx/none.conf; include $x; }",
            )
            .with("/copy/im.conf", "x;")
            .with("/copy/other.json", "{");
        let mut findings = Findings::default();
        let tree = Tree::read(&files, Path::new("/copy"), &mut findings);
        assert!(tree.fragments);
        assert_eq!(visited(&tree)[2], "server:x");
        let told: Vec<_> = findings.list().map(|f| (f.verdict, &f.became[..])).collect();
        assert_eq!(told[0].0, Verdict::Unknown);
        assert!(
            told.iter().any(|(_, text)| text.starts_with("read from /copy/im.conf")),
            "{told:?}"
        );
        assert!(told.iter().any(|(_, text)| text.starts_with("there is no such file")), "{told:?}");
        assert!(
            told.iter().any(|(_, text)| text.starts_with("variables are not evaluated")),
            "{told:?}"
        );
    }

    #[test]
    fn files_that_include_each_other_come_to_an_end() {
        let files = Memory::default()
            .with("/n/nginx.conf", "include a.conf; include a.conf; include nginx.conf; x;")
            .with("/n/a.conf", "include a.conf; include a.conf; include nginx.conf; y;");
        let mut findings = Findings::default();
        let tree = Tree::read(&files, Path::new("/n/nginx.conf"), &mut findings);
        let mut visits = 0;
        tree.walk(|_| visits += 1);
        assert!(visits <= MAX_VISITS);
    }
}
