//! The command line of `push-sidecar migrate`, and the writing of files.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::files::Disk;
use super::output::Output;
use super::{Plan, Sources, report};

/// Where to read, and whether to write.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A folder that stands for `/`: a copy of the old machine's files. Paths below are within it.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Settings of push-server's start script [default: /etc/sysconfig/push-server-multi, or else
    /// /etc/default/push-server-multi].
    #[arg(long, value_name = "FILE")]
    pub sysconfig: Option<PathBuf>,
    /// Folder with push-server-*.json, or one such file [default: `CFG_DIR` of the start script, or
    /// else /etc/push-server].
    #[arg(long, value_name = "PATH")]
    pub configs: Option<PathBuf>,
    /// nginx.conf, or the folder that it is in; without it all *.conf files there [default: /etc/nginx].
    #[arg(long, value_name = "PATH")]
    pub nginx: Option<PathBuf>,
    /// The portal's .settings.php: is compared with the rest.
    #[arg(long, value_name = "FILE")]
    pub portal: Option<PathBuf>,
    /// Print the report and the files, write nothing; this is the default.
    #[arg(long, conflicts_with = "write")]
    pub dry_run: bool,
    /// Write the files into this folder, the report, SWITCH.md and ROLLBACK.md among them. The old
    /// installation is not touched.
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
    /// Replace files that an earlier run has written into that folder.
    #[arg(long, requires = "write")]
    pub force: bool,
}

/// Why there is no new configuration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The report tells them.
    #[error("{0} problem(s) must be mended first, see PROBLEMS in the report; nothing was written")]
    Problems(usize),
    /// There is something where a file would go.
    #[error("{}: is there already; --force replaces it, or give another folder", .0.display())]
    Exists(PathBuf),
    /// The folder to write to is a part of what is read.
    #[error("{}: belongs to the old installation, which is not touched: give --write a folder of its own", .0.display())]
    Old(PathBuf),
    /// The root is no folder.
    #[error("{}: no such folder (--root)", .0.display())]
    Root(PathBuf),
    /// A file cannot be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Reads, reports to `out`, and writes if that was asked for.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), MigrateError> {
    if !options.root.is_dir() {
        return Err(MigrateError::Root(options.root.clone()));
    }
    let within = |path: &Option<PathBuf>| path.as_deref().map(|path| inside(&options.root, path));
    let sources = Sources {
        start_script: within(&options.sysconfig),
        configs: within(&options.configs),
        nginx: within(&options.nginx),
        portal: within(&options.portal),
    };
    let Plan { findings, outputs } = super::plan(&Disk::new(&options.root), &sources);
    write!(out, "{}", report::text(&findings))?;
    match findings.problems().count() {
        0 => {}
        count => return Err(MigrateError::Problems(count)),
    }
    let Some(folder) = &options.write else {
        return print(&outputs, &findings, out);
    };
    check(&options.root, folder, &outputs, options.force)?;
    for output in &outputs {
        write_one(folder, output, options.force)?;
    }
    writeln!(
        out,
        "\n{} files are in {}. Go on with SWITCH.md there.",
        outputs.len(),
        folder.display()
    )?;
    Ok(())
}

/// A path of the command line as one of the installation: relative ones begin in the current
/// folder if the installation is this machine, and in the root if it is a copy.
fn inside(root: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    if root == Path::new("/") {
        return std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    }
    Path::new("/").join(path)
}

fn print(
    outputs: &[Output],
    findings: &super::finding::Findings,
    out: &mut dyn Write,
) -> Result<(), MigrateError> {
    writeln!(out, "\nNothing was written. --write DIR would write these files:")?;
    for output in outputs.iter().filter(|output| output.path != Path::new("REPORT.txt")) {
        let text = match &output.shown {
            Some(shown) => shown.clone(),
            None => findings.redact(&String::from_utf8_lossy(&output.bytes)),
        };
        writeln!(
            out,
            "\n==> DIR/{} (mode {:04o})\n{}",
            output.relative().display(),
            output.mode,
            text.trim_end()
        )?;
    }
    Ok(())
}

/// Whether two paths are one file or folder.
fn same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// Nothing is begun that cannot be finished.
fn check(root: &Path, folder: &Path, outputs: &[Output], force: bool) -> Result<(), MigrateError> {
    for output in outputs {
        for part in output.relative().ancestors() {
            if same(&folder.join(part), &root.join(part)) {
                return Err(MigrateError::Old(folder.join(part)));
            }
        }
        let path = folder.join(output.relative());
        if !force && fs::symlink_metadata(&path).is_ok() {
            return Err(MigrateError::Exists(path));
        }
    }
    Ok(())
}

fn write_one(folder: &Path, output: &Output, force: bool) -> Result<(), MigrateError> {
    let path = folder.join(output.relative());
    let failed = |error: io::Error| MigrateError::Write { path: path.clone(), error };
    if let Some(parent) = path.parent() {
        // A key is among the files.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    // A new file by another name takes the place of the old one at once, and follows no link.
    let mut new = path.clone();
    if force {
        new.as_mut_os_string().push(".new");
    }
    if force {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(output.mode)
        .open(&new)
        .map_err(failed)?;
    file.set_permissions(Permissions::from_mode(output.mode)).map_err(failed)?;
    file.write_all(&output.bytes).map_err(failed)?;
    if force {
        fs::rename(&new, &path).map_err(failed)?;
    }
    Ok(())
}
