//! The documentation, as tests look at it.

pub mod markdown;
pub mod nginx_root;
pub mod quotes;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of the repository's own.
const FOREIGN: [&str; 5] = ["target", "build", "node_modules", "run", ".git"];

/// All files below `folder` whose names end with `.extension`, foreign folders left out, in the
/// order of their names.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if !FOREIGN.contains(&&name[..]) {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}
