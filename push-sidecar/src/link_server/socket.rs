//! The listening socket: made here, or handed over by systemd.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::net::UnixListener;

use crate::health::Condition;

/// Why the socket cannot be had. Its text is the error message.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{}: another push-sidecar is listening there", .0.display())]
    InUse(PathBuf),
    /// A file that is no socket.
    #[error("{}: exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Whoever likes could put a socket of his own into its place.
    #[error(
        "{}: its folder is writable for everybody; give it one that only its user may write to (systemd: RuntimeDirectory=)",
        .0.display()
    )]
    OpenFolder(PathBuf),
    /// No such group.
    #[error("socket_group: there is no group {0:?}")]
    NoGroup(String),
    /// The system says no.
    #[error("{}: cannot {doing}: {error}", path.display())]
    System {
        /// The socket's path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The socket from the environment is of no use.
    #[error("socket from LISTEN_FDS: {0}")]
    Activation(io::Error),
}

/// A listening socket; a file of our own is removed with it.
pub struct Socket {
    /// The listener.
    pub listener: UnixListener,
    file: Option<Rc<File>>,
}

/// The socket's file, and which one it is: another process may put its own there.
struct File {
    path: PathBuf,
    /// Device and inode. The system gives them to no other file as long as the socket is open.
    identity: (u64, u64),
}

impl File {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// What is the matter with it, if something is.
    fn trouble(&self) -> Option<String> {
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => None,
            Ok(_) => Some(format!("{} is another process's now", self.path.display())),
            Err(error) => Some(format!("{}: {error}", self.path.display())),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Socket {
    /// The first socket of `LISTEN_FDS`, if there is one.
    pub fn from_environment() -> Result<Option<Self>, ListenError> {
        let taken = listenfd::ListenFd::from_env().take_unix_listener(0);
        let Some(listener) = taken.map_err(ListenError::Activation)? else {
            return Ok(None);
        };
        let listener = adopt(listener).map_err(ListenError::Activation)?;
        Ok(Some(Self { listener, file: None }))
    }

    /// Makes the socket, mode 0660, of `group` (a name or a number) if given. A file that a dead
    /// process left is replaced.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let system = |doing| {
            let path = path.to_owned();
            move |error| ListenError::System { path, doing, error }
        };
        let gid =
            group.map(|group| group_id(group).ok_or_else(|| ListenError::NoGroup(group.into())));
        let gid = gid.transpose()?;
        if open_to_all(path) {
            return Err(ListenError::OpenFolder(path.to_owned()));
        }
        clear(path)?;
        let listener = StdListener::bind(path).map_err(system("listen"))?;
        // Group first: with the mode set first, a group not meant to could connect for a moment.
        if gid.is_some() {
            chown(path, None, gid).map_err(system("set the group"))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .map_err(system("set the mode"))?;
        let listener = adopt(listener).map_err(system("listen"))?;
        let file = File::new(path).map_err(system("look at it"))?;
        Ok(Self { listener, file: Some(Rc::new(file)) })
    }

    /// Tells, whenever it is called, whether workers can find the socket.
    pub fn watch(&self) -> impl Fn() -> Condition + 'static {
        let ours = self.file.is_some();
        let file = self.file.as_ref().map(Rc::downgrade).unwrap_or_default();
        move || {
            let Some(file) = file.upgrade() else {
                let how = if ours { "closed" } else { "the service manager's" };
                return Condition::works(PART, how);
            };
            match file.trouble() {
                None => Condition::works(PART, file.path.display().to_string()),
                Some(trouble) => Condition::fails(
                    PART,
                    trouble,
                    "workers that are linked stay, others cannot come: see who removes files there, and \
                     restart push-sidecar",
                ),
            }
        }
    }
}

/// The name in the report.
const PART: &str = "socket";

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have been removed by somebody else; and what stands there now may be the socket of
        // the next push-sidecar, which nobody would find any more.
        if let Some(file) = self.file.as_ref().filter(|file| file.trouble().is_none()) {
            let _ = fs::remove_file(&file.path);
        }
    }
}

fn adopt(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Whether everybody may remove or replace files beside the path.
pub fn open_to_all(path: &Path) -> bool {
    const STICKY_AND_OTHERS_WRITE: u32 = 0o1002;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::metadata(folder.unwrap_or(Path::new(".")))
        .is_ok_and(|folder| folder.permissions().mode() & STICKY_AND_OTHERS_WRITE == 0o0002)
}

/// Makes way for a new socket file.
fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    if StdStream::connect(path).is_ok() {
        return Err(ListenError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(|error| ListenError::System {
        path: path.to_owned(),
        doing: "remove what a dead process left",
        error,
    })
}

/// A group's number, by number or by name from the local group file.
pub fn group_id(group: &str) -> Option<u32> {
    if let Ok(id) = group.parse() {
        return Some(id);
    }
    let file = fs::read_to_string("/etc/group").ok()?;
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })
}
