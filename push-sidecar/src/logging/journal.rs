//! The journal's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a datagram an entry.
//!
//! Not by a library: the ones there are wait for a journal that is stuck, and with it the daemon's one
//! thread would; and they leave the values out of the message, which is all that `journalctl` shows.

use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of one value; the journal cuts what `journalctl` shows long before.
const MAX_VALUE: usize = 16 * 1024;

/// Whether standard error is the journal's: systemd says so by device and inode.
pub fn is_standard_error() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|file| names(&stream, file.dev(), file.ino()))
}

fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// Writes entries.
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Looks whether somebody listens there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A journal that is stuck costs the entry, not the daemon.
        socket.set_nonblocking(true)?;
        let journal = Self { socket, path: path.to_owned() };
        // The journal throws an empty entry away.
        journal.socket.send_to(&[], &journal.path)?;
        Ok(journal)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut entry = Vec::with_capacity(512);
        put(&mut entry, "MESSAGE", &format!("{}{}", fields.message, fields.values));
        put(&mut entry, "PRIORITY", priority(*metadata.level()));
        put(&mut entry, "SYSLOG_IDENTIFIER", "push-sidecar");
        put(&mut entry, "CODE_MODULE", metadata.target());
        entry.extend_from_slice(&fields.entry);
        // Where should it be told that the journal cannot be written to?
        let _ = self.socket.send_to(&entry, &self.path);
    }
}

/// The syslog priority of a level: errors are red in `journalctl`, news are not.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// The values of an event.
#[derive(Default)]
struct Fields {
    message: String,
    /// ` name=value` for each.
    values: String,
    entry: Vec<u8>,
}

impl Fields {
    fn take(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        // A string takes everything.
        let _ = write!(self.values, " {}={value}", field.name());
        put(&mut self.entry, &name(field.name()), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}

/// `worker_pid` is `BX_PUSH_WORKER_PID`: names of our own do not meet the journal's.
fn name(field: &str) -> String {
    let upper = field.chars().map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => c.to_ascii_uppercase(),
        _ => '_',
    });
    "BX_PUSH_".chars().chain(upper).collect()
}

/// Appends a field: in one line, or with its length if the value has several.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value.as_bytes()[..end];
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_entry_has_its_fields_and_a_message_that_tells_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        assert!(Journal::open(&path).is_err(), "nobody listens");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal::open(&path).expect("somebody listens");
        let mut buffer = [0; 8192];
        let next = |buffer: &mut [u8]| -> Vec<u8> {
            let len = listener.recv(buffer).expect("an entry");
            buffer[..len].to_vec()
        };
        assert_eq!(next(&mut buffer), b"");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            tracing::warn!(worker_pid = 7, reason = "no\nroom", "link {}", "down");
            tracing::info!("listening");
        });
        let entry = next(&mut buffer);
        let text = String::from_utf8_lossy(&entry).into_owned();
        assert!(
            text.contains("\nPRIORITY=4\nSYSLOG_IDENTIFIER=push-sidecar\nCODE_MODULE="),
            "{text}"
        );
        assert!(text.contains("\nBX_PUSH_WORKER_PID=7\n"), "{text}");
        let message = b"MESSAGE\n\x25\0\0\0\0\0\0\0link down worker_pid=7 reason=no\nroom\n";
        assert!(entry.starts_with(message), "{text:?}");
        let reason = b"BX_PUSH_REASON\n\x07\0\0\0\0\0\0\0no\nroom\n";
        assert!(entry.ends_with(reason), "{text:?}");
        let text = String::from_utf8(next(&mut buffer)).expect("text");
        assert!(text.starts_with("MESSAGE=listening\nPRIORITY=6\n"), "{text}");
    }

    #[test]
    fn a_journal_that_is_stuck_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let _listener = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal::open(&path).expect("somebody listens");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            // Far more than the queue has room for.
            for n in 0..10_000 {
                tracing::warn!(n, "a line");
            }
        });
    }

    #[test]
    fn standard_error_is_known_by_device_and_inode() {
        assert!(names("9:42", 9, 42));
        for other in ["9:43", "8:42", "", "9", "9:42:1", "a:b"] {
            assert!(!names(other, 9, 42), "{other}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut entry = Vec::new();
        put(&mut entry, "A", &"ä".repeat(MAX_VALUE));
        assert_eq!(entry.len(), MAX_VALUE + 3);
        assert!(String::from_utf8(entry).is_ok());
    }
}
