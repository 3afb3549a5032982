//! How operators' commands talk to the running daemon: one question, one answer, each an object of
//! JSON, in a `Control` frame on the workers' socket. The same users may ask that may be workers.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use push_link::{Splitter, ToSidecar, ToWorker};
use serde::{Deserialize, Serialize};

use crate::health::Report;
use crate::snapshot::Snapshot;
use crate::trace::{Query, Trace};

/// The version of the questions; it is raised when one changes its meaning.
pub const VERSION: u32 = 1;

/// How long the daemon may take, from dialling to its whole answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// What works and what does not.
    Health,
    /// How everything does.
    Status,
    /// Where messages of a channel, or one message, went.
    Trace(Query),
}

/// What is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To [`Question::Health`].
    Health(Report),
    /// To [`Question::Status`].
    Status(Box<Snapshot>),
    /// To [`Question::Trace`].
    Trace(Trace),
    /// The question was not understood.
    Error(String),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize, Deserialize)]
struct Ask {
    ask: Question,
}

/// Reads a question as it came; the error is the text of the answer.
pub fn read(request: &str) -> Result<Question, String> {
    match serde_json::from_str::<Versioned<Ask>>(request) {
        Ok(Versioned { version: VERSION, content }) => Ok(content.ask),
        Ok(Versioned { version, .. }) => {
            Err(format!("asked in version {version}, this push-sidecar answers {VERSION}"))
        }
        Err(error) => Err(format!("not understood: {error}")),
    }
}

/// An answer as it is sent.
pub fn written(content: &Answer) -> String {
    serde_json::to_string(&Versioned { version: VERSION, content }).unwrap_or_default()
}

/// Why there is no answer. Its text is the error message.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there, or nobody who may be asked.
    #[error("{}: {error}; does push-sidecar run, is this its socket, and may you use it?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody listens, and does not answer.
    #[error(
        "{}: no answer within {} s; push-sidecar is stuck, stopped or starting: see its log, or restart it",
        path.display(),
        patience.as_secs_f32()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// It answers something else.
    #[error("{}: {what}", path.display())]
    Odd {
        /// The socket.
        path: PathBuf,
        /// What came.
        what: String,
    },
}

/// Asks the daemon that listens there. All of it takes `patience` at most.
pub fn ask(path: &Path, question: Question, patience: Duration) -> Result<Answer, AskError> {
    let odd = |what: String| AskError::Odd { path: path.to_owned(), what };
    let request = Versioned { version: VERSION, content: Ask { ask: question } };
    let request = serde_json::to_string(&request).map_err(|error| odd(error.to_string()))?;
    let (tell, told) = mpsc::channel();
    let there = path.to_owned();
    // A thread, since nothing else bounds dialling: where nobody accepts any more and the queue is
    // full it takes for ever. Who waits in vain goes on without the thread.
    thread::spawn(move || tell.send(exchange(&there, request)));
    let frame = told
        .recv_timeout(patience)
        .map_err(|_| AskError::Silent { path: path.to_owned(), patience })?
        .map_err(|error| AskError::Unreachable { path: path.to_owned(), error })?;
    match frame {
        Some(ToWorker::ControlAnswer { json }) => {
            let answer: Versioned<Answer> = serde_json::from_slice(&json)
                .map_err(|error| odd(format!("answers what is not understood: {error}")))?;
            match answer.content {
                Answer::Error(error) => Err(odd(error)),
                answer => Ok(answer),
            }
        }
        Some(ToWorker::Refused { reason, .. }) => Err(odd(reason)),
        Some(_) => Err(odd("answers something else".into())),
        None => Err(odd("turned this user away (see socket_users), or ended".into())),
    }
}

fn exchange(path: &Path, request: String) -> io::Result<Option<ToWorker>> {
    let mut socket = UnixStream::connect(path)?;
    let mut frame = Vec::new();
    ToSidecar::Control { request }.encode(&mut frame);
    socket.write_all(&frame)?;
    let (mut splitter, mut buffer) = (Splitter::new(), [0; 4096]);
    loop {
        if let Some(frame) = splitter.next_frame().map_err(io::Error::other)? {
            return ToWorker::decode(frame).map(Some).map_err(io::Error::other);
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            count => splitter.extend(&buffer[..count?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_versioned() {
        let health = || Answer::Error("asked".into());
        let told = |request: &str| written(&read(request).map_or_else(Answer::Error, |_| health()));
        assert_eq!(told(r#"{"version":1,"ask":"health"}"#), r#"{"version":1,"error":"asked"}"#);
        assert!(told(r#"{"version":2,"ask":"health"}"#).contains("asked in version 2"));
        assert!(told(r#"{"version":1,"ask":"weather"}"#).contains("not understood"));
        assert!(told("").contains("not understood"));
    }

    #[test]
    fn whoever_does_not_answer_is_not_waited_for() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let patience = Duration::from_millis(200);
        let ask = || ask(&path, Question::Health, patience).expect_err("no answer");
        // The system takes the connection, nobody else does.
        assert!(matches!(ask(), AskError::Silent { .. }));
        // A byte now and then is no answer either: the time is for all of it.
        thread::spawn(move || {
            let (_waiting, _) = listener.accept().expect("the one before");
            let (mut asker, _) = listener.accept().expect("this one");
            // The length of a frame, and the frame so slowly that it takes 80 s.
            let mut bytes = 4096_u32.to_le_bytes().into_iter().chain(std::iter::repeat(144));
            while asker.write_all(&[bytes.next().expect("endless")]).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let error = ask();
        assert!(matches!(error, AskError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("no answer within 0.2 s"), "{error}");
    }
}
