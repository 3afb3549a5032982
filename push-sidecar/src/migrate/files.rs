//! Where the old installation is read from: a machine's files, or a copy of them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::glob;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path in the installation.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permission bits, if they are known.
    pub mode: Option<u32>,
}

/// A source of files. Paths are absolute, as the installation knows them.
pub trait Files {
    /// Reads a file. The error is a text for a person, without the path.
    fn read(&self, path: &Path) -> Result<File, String>;
    /// The files that a pattern with `*`, `?` and `[…]` names, sorted; without such signs the path
    /// itself, if it exists. A `*` does not stand for a dot at the beginning of a name.
    fn glob(&self, pattern: &Path) -> Vec<PathBuf>;
    /// Whether there is a folder.
    fn is_folder(&self, path: &Path) -> bool;
}

/// What is larger is no configuration file.
const MAX_BYTES: u64 = 4 << 20;
/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Files of this machine, below a folder that stands for `/`.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// `root` stands for `/`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where a path of the installation lies here. Links are followed within the root: in a copy
    /// `/etc/push-server` points to a folder of the copy, not to one of this machine.
    fn real(&self, path: &Path) -> PathBuf {
        let mut left: Vec<Component<'_>> = path.components().collect();
        left.reverse();
        let mut owned: Vec<std::ffi::OsString> =
            left.into_iter().map(|part| part.as_os_str().to_owned()).collect();
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(part) = owned.pop() {
            match Path::new(&part).components().next() {
                Some(Component::ParentDir) => {
                    inside.pop();
                }
                Some(Component::Normal(name)) => {
                    inside.push(name);
                    let target = fs::read_link(self.root.join(&inside));
                    let Some(target) = target.ok().filter(|_| links < MAX_LINKS) else {
                        continue;
                    };
                    links += 1;
                    if target.is_absolute() {
                        inside = PathBuf::new();
                    } else {
                        inside.pop();
                    }
                    let parts: Vec<_> = target.components().collect();
                    owned.extend(parts.iter().rev().map(|part| part.as_os_str().to_owned()));
                }
                _ => {}
            }
        }
        self.root.join(inside)
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<File, String> {
        let real = self.real(path);
        let tell = |error: std::io::Error| error.to_string();
        let meta = fs::metadata(&real).map_err(tell)?;
        if !meta.is_file() {
            return Err("not a file".into());
        }
        if meta.len() > MAX_BYTES {
            return Err(format!("larger than {} MiB: not a configuration file", MAX_BYTES >> 20));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&real).map_err(tell)?;
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(tell)?;
        Ok(File { path: path.to_owned(), bytes, mode: Some(meta.mode() & 0o7777) })
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern.components() {
            let Component::Normal(name) = part else { continue };
            let name = name.to_string_lossy();
            let mut next = Vec::new();
            for folder in found {
                if !glob::has_signs(&name) {
                    next.push(folder.join(&*name));
                    continue;
                }
                let entries = fs::read_dir(self.real(&folder)).into_iter().flatten().flatten();
                let names = entries.map(|entry| entry.file_name());
                next.extend(
                    names
                        .filter(|entry| glob::matches(&name, &entry.to_string_lossy()))
                        .map(|entry| folder.join(entry)),
                );
            }
            found = next;
        }
        found.retain(|path| self.real(path).exists());
        found.sort();
        found
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.real(path).is_dir()
    }
}

/// Files in memory, for tests.
#[cfg(test)]
#[derive(Default, Debug)]
pub struct Memory(pub std::collections::BTreeMap<PathBuf, File>);

#[cfg(test)]
impl Memory {
    /// With one more file, mode 0600.
    #[must_use]
    pub fn with(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let file = File { path: path.into(), bytes: text.as_ref().to_vec(), mode: Some(0o600) };
        self.0.insert(path.into(), file);
        self
    }
}

#[cfg(test)]
impl Files for Memory {
    fn read(&self, path: &Path) -> Result<File, String> {
        self.0.get(path).cloned().ok_or_else(|| "No such file or directory".into())
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let matches = |path: &&PathBuf| {
            let (path, pattern) = (path.components(), pattern.components());
            path.clone().count() == pattern.clone().count()
                && path.zip(pattern).all(|(name, pattern)| {
                    let text =
                        |part: Component<'_>| part.as_os_str().to_string_lossy().into_owned();
                    glob::matches(&text(pattern), &text(name))
                })
        };
        self.0.keys().filter(matches).cloned().collect()
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file.starts_with(path) && file != path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_root() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("opt/node/etc")).expect("folders");
        fs::create_dir_all(at("etc")).expect("folders");
        fs::write(at("opt/node/etc/push-server-sub-8010.json"), "{}").expect("a file");
        std::os::unix::fs::symlink("/opt/node/etc", at("etc/push-server")).expect("a link");
        std::os::unix::fs::symlink("../opt/../opt/node", at("etc/node")).expect("a link");
        std::os::unix::fs::symlink("/etc/round", at("etc/round")).expect("a link");
        let disk = Disk::new(root.path());
        let found = disk.glob(Path::new("/etc/push-server/push-server-*.json"));
        assert_eq!(found, [PathBuf::from("/etc/push-server/push-server-sub-8010.json")]);
        assert_eq!(disk.read(&found[0]).expect("read").bytes, b"{}");
        let by_node = "/etc/node/etc/push-server-sub-8010.json";
        assert_eq!(disk.read(Path::new(by_node)).expect("read").path, Path::new(by_node));
        assert!(disk.is_folder(Path::new("/etc/push-server")));
        assert!(disk.read(Path::new("/etc/round")).is_err());
        assert!(disk.read(Path::new("/etc")).is_err());
        assert!(disk.glob(Path::new("/etc/nothing")).is_empty());
    }
}
