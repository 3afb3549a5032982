//! `push-sidecar migrate`: from an installation of push-server 0.4.0 to ours.
//!
//! The old files are read, never written. What comes of them is a report and a folder of files.
//!
//! | module | what |
//! |---|---|
//! | [`shell`], [`json`], [`nginx::parser`] | readers of the old files' languages. Pure |
//! | [`variables`], [`processes`], [`nginx`], [`portal`] | what becomes of each setting. Pure |
//! | [`settings`], [`finding`], [`key`] | what they come to, and what is told. Pure |
//! | [`output`], [`steps`], [`report`], [`paths`] | the files that are written, as text. Pure |
//! | [`files`], [`glob`] | where the old files are read from |
//! | [`command`] | the command line, and writing |

pub mod command;
pub mod files;
pub mod finding;
pub mod glob;
pub mod json;
pub mod key;
pub mod nginx;
pub mod output;
pub mod paths;
pub mod portal;
pub mod processes;
pub mod report;
pub mod settings;
pub mod shell;
pub mod steps;
pub mod variables;

use std::path::{Path, PathBuf};

use files::Files;
use finding::{Findings, Place, Verdict};
use nginx::Changes;
use nginx::tree::Tree;
use output::Output;
use portal::Portal;
use processes::Process;
use settings::Settings;
use variables::StartScript;

/// Where the old installation's files are. Paths as the installation knows them.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    /// The start script's settings; `None`: where they usually are, if they are there.
    pub start_script: Option<PathBuf>,
    /// A file or a folder with `push-server-*.json`; `None`: `CFG_DIR` of the start script.
    pub configs: Option<PathBuf>,
    /// nginx.conf or its folder; `None`: `/etc/nginx`, if it is there.
    pub nginx: Option<PathBuf>,
    /// The portal's `.settings.php`, to compare with.
    pub portal: Option<PathBuf>,
}

/// What comes of them.
#[derive(Debug)]
pub struct Plan {
    /// Every setting, and what is wrong.
    pub findings: Findings,
    /// The files to write; none if there are problems.
    pub outputs: Vec<Output>,
}

/// Where the start script's settings usually are.
const START_SCRIPTS: [&str; 2] =
    ["/etc/sysconfig/push-server-multi", "/etc/default/push-server-multi"];
/// Where the files of the processes are by the documentation.
const CONFIGS: &str = "/etc/push-server";
/// Where nginx's files are.
const NGINX: &str = "/etc/nginx";

/// Reads the old installation and says what it comes to.
pub fn plan(files: &dyn Files, sources: &Sources) -> Plan {
    let mut findings = Findings::default();
    let script = start_script(files, sources, &mut findings);
    let processes = processes(files, sources, script.as_ref(), &mut findings);
    if script.is_none() && processes.is_empty() {
        let text = "found neither push-server-multi (--sysconfig) nor a file push-server-*.json (--configs): nothing to move";
        findings.problem(Place { file: "".into(), line: 0 }, text);
    }
    let mut settings = Settings::default();
    // Where messages are is what the publishing processes say.
    let publishing_first = processes.iter().filter(|process| process.is_publishing());
    for process in
        publishing_first.chain(processes.iter().filter(|process| !process.is_publishing()))
    {
        process.collect(&mut settings);
    }
    if let Some(script) = &script {
        script.collect(&mut settings);
    }
    let tree = match &sources.nginx {
        Some(path) => Some(Tree::read(files, path, &mut findings)),
        None if !files.glob(&Path::new(NGINX).join("nginx.conf")).is_empty() => {
            Some(Tree::read(files, Path::new(NGINX), &mut findings))
        }
        None => None,
    };
    let changes = match &tree {
        Some(tree) => nginx::change(tree, &mut settings, &mut findings),
        None => Changes::nothing(),
    };
    let portal = sources.portal.as_ref().and_then(|path| match files.read(path) {
        Ok(file) => Some(Portal::read(&file, &mut findings)),
        Err(error) => {
            unreadable(&mut findings, path, &error);
            None
        }
    });
    if let Some(portal) = &portal {
        portal.collect(&mut settings);
    }
    if let Some(script) = &script {
        script.tell(&settings, &mut findings);
    }
    for process in &processes {
        process.tell(&settings, &mut findings);
    }
    if let Some(portal) = &portal {
        portal.tell(&settings, &changes, &mut findings);
    }
    check(&settings, script.is_some() || !processes.is_empty(), &mut findings);
    let whole = findings.problems().next().is_none();
    let outputs = if whole { output::all(&settings, &changes, &findings) } else { Vec::new() };
    Plan { findings, outputs }
}

/// What must be known before anything can be written.
fn check(settings: &Settings, found: bool, findings: &mut Findings) {
    if settings.keys.is_empty() && found && findings.problems().next().is_none() {
        let text = "no security key: SECURITY_KEY is empty or missing, and no push-server-*.json has security.key. Give the portal's .settings.php (--portal), or write signature_key of the portal into a copy of push-server-multi";
        findings.problem(Place { file: "".into(), line: 0 }, text);
    }
}

fn unreadable(findings: &mut Findings, path: &Path, error: &str) {
    findings.problem(
        Place { file: path.display().to_string().into(), line: 0 },
        format!("cannot be read: {error}"),
    );
}

fn start_script(
    files: &dyn Files,
    sources: &Sources,
    findings: &mut Findings,
) -> Option<StartScript> {
    let usual = || START_SCRIPTS.iter().flat_map(|path| files.glob(Path::new(path)));
    let path = sources.start_script.clone().or_else(|| usual().next())?;
    if let (None, Some(second)) = (&sources.start_script, usual().nth(1)) {
        let place = Place { file: second.display().to_string().into(), line: 0 };
        let text = format!(
            "not read: {} is there as well, and is taken. Give --sysconfig to take this one",
            path.display()
        );
        findings.add(place, Verdict::Unknown, "file", text);
    }
    match files.read(&path) {
        Ok(file) => Some(StartScript::read(&file, findings)),
        Err(error) => {
            unreadable(findings, &path, &error);
            None
        }
    }
}

fn processes(
    files: &dyn Files,
    sources: &Sources,
    script: Option<&StartScript>,
    findings: &mut Findings,
) -> Vec<Process> {
    let named =
        script.and_then(|script| script.value("CFG_DIR")).map(|folder| PathBuf::from(folder.value));
    let given = sources.configs.is_some();
    let path = sources
        .configs
        .clone()
        .or(named.filter(|path| path.is_absolute()))
        .unwrap_or_else(|| CONFIGS.into());
    let found = if files.is_folder(&path) {
        files.glob(&path.join("push-server-*.json"))
    } else if given {
        vec![path.clone()]
    } else {
        Vec::new()
    };
    if found.is_empty() && given {
        let place = Place { file: path.display().to_string().into(), line: 0 };
        findings.problem(place, "no file push-server-*.json in this folder");
    }
    let mut processes = Vec::new();
    for path in found {
        match files.read(&path) {
            Ok(file) => processes.extend(Process::read(&file, findings)),
            Err(error) => unreadable(findings, &path, &error),
        }
    }
    processes
}

/// A text cut to what fits on some lines.
pub(crate) fn shortened(text: &str) -> String {
    const MAX: usize = 300;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
