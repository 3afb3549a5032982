//! The nginx files that lead to push-server's processes.
//!
//! | module | what |
//! |---|---|
//! | [`parser`], [`tree`] | files into directives, with what they include |
//! | [`survey`], [`role`] | which of them are about push-server, and what a location is for |
//! | [`location`], [`server`] | what becomes of each directive |
//! | [`edit`] | files changed only where they must be |

pub mod edit;
pub mod location;
pub mod parser;
pub mod role;
pub mod server;
pub mod survey;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use edit::Edits;
use role::{Hint, Role};
use survey::Survey;
use tree::Tree;

use super::finding::{Findings, Verdict};
use super::paths;
use super::settings::Settings;

/// The changed files, and what the rest of the output must know of them.
#[derive(Debug)]
pub struct Changes {
    /// Files with other content than before, by their paths in the installation.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The roles that have a location.
    pub roles: BTreeSet<Role>,
    /// nginx's folder.
    pub prefix: PathBuf,
    /// Where the http block's directives go.
    pub http_conf: PathBuf,
    /// Where `load_module` goes; none: into nginx.conf.
    pub load_module: Option<PathBuf>,
    /// Whether nginx.conf itself was not there, so that nobody knows what it includes.
    pub fragments: bool,
    /// Directives that the http block has already, and must not have twice.
    pub http_has: BTreeSet<String>,
    /// Literal beginnings of the paths that locations take, with their roles.
    pub paths: Vec<(String, Role)>,
}

impl Changes {
    /// For an installation without nginx files.
    pub fn nothing() -> Self {
        let prefix = PathBuf::from("/etc/nginx");
        Self {
            files: Vec::new(),
            roles: BTreeSet::new(),
            http_conf: prefix.join("conf.d").join(paths::HTTP_CONF),
            load_module: Some(prefix.join("modules-enabled").join(paths::LOAD_MODULE_CONF)),
            prefix,
            fragments: true,
            http_has: BTreeSet::new(),
            paths: Vec::new(),
        }
    }
}

/// The changes of all files, by their number in the tree.
pub type AllEdits = BTreeMap<usize, Edits>;

/// Tells what becomes of nginx's files, and changes them.
pub fn change(tree: &Tree, settings: &mut Settings, findings: &mut Findings) -> Changes {
    let survey = Survey::make(tree, settings);
    if let Some(place) = &survey.moved {
        findings.problem(place.clone(), "directives of bx_push: these files have been moved already. Give those of the old installation (--nginx), as they were before");
    }
    if let Some(group) = &survey.group {
        settings.group = Some(group.clone());
        let setting = format!("user … {}", group.value);
        let text = format!("stays; socket_group = \"{}\" in {}", group.value, paths::SIDECAR_TOML);
        findings.add(group.place.clone(), Verdict::TakenOver, setting, text);
    }
    for (source, directive) in &survey.push_stream {
        findings.add(tree.place(*source, directive), Verdict::Unknown, directive.shown(), "of the nginx-push-stream-module, which portals use with server versions 1 and 2: stays as it is");
    }
    let mut edits = AllEdits::new();
    let mut dropped = BTreeSet::new();
    let mut roles = BTreeSet::new();
    let mut served = Vec::new();
    for (_, location, hint) in survey.push_locations() {
        let place = tree.place(location.source, location.directive);
        let Hint::One(role) = hint else {
            let why = match hint {
                Hint::Several => {
                    "several roles in one location, which has one here: write a location for each of them first"
                }
                _ => {
                    "leads to push-server, but neither its path nor the ports behind it tell for what: write bx_push with its role into it by hand"
                }
            };
            findings.add(
                place,
                Verdict::Dangerous,
                location.directive.shown(),
                format!("stays as it is: {why}"),
            );
            continue;
        };
        roles.insert(role);
        served.push((role::literal(&location.directive.args), role));
        location::change(
            tree,
            &survey,
            location,
            role,
            settings,
            &mut edits,
            &mut dropped,
            findings,
        );
    }
    server::change_servers(tree, &survey, &mut edits, findings);
    server::change_upstreams(tree, &survey, &dropped, &mut edits, findings);
    server::tell_maps(tree, &survey, &dropped, findings);
    let http_has = server::tell_http(tree, &survey, findings);
    let moved = !roles.is_empty() || !tree.fragments;
    let (http_conf, load_module) = if moved {
        server::change_main(tree, &survey, &mut edits)
    } else {
        let nothing = Changes::nothing();
        (tree.prefix.join("conf.d").join(paths::HTTP_CONF), nothing.load_module)
    };
    let files = edits
        .into_iter()
        .filter(|(_, edits)| !edits.is_empty())
        .map(|(source, edits)| {
            let file = &tree.sources[source].file;
            (file.path.clone(), edits.apply(&file.bytes))
        })
        .collect();
    Changes {
        files,
        roles,
        prefix: tree.prefix.clone(),
        http_conf,
        load_module,
        fragments: tree.fragments,
        http_has,
        paths: served,
    }
}

/// A path for the output: as it is written in nginx's files.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
