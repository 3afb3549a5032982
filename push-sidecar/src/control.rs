//! How operators' commands talk to the running daemon: one question, one answer, each an object of
//! JSON, in a `Control` frame on the workers' socket. The same users may ask that may be workers.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use push_link::{Splitter, ToSidecar, ToWorker};
use serde::{Deserialize, Serialize};

use crate::health::Report;

/// The version of the questions; it is raised when one changes its meaning.
pub const VERSION: u32 = 1;

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// What works and what does not.
    Health,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To [`Question::Health`].
    Health(Report),
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

/// Answers a question as it came.
pub fn answer(request: &str, knows: impl FnOnce(Question) -> Answer) -> String {
    let content = match serde_json::from_str::<Versioned<Ask>>(request) {
        Ok(Versioned { version: VERSION, content }) => knows(content.ask),
        Ok(Versioned { version, .. }) => Answer::Error(format!(
            "asked in version {version}, this push-sidecar answers {VERSION}"
        )),
        Err(error) => Answer::Error(format!("not understood: {error}")),
    };
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
    /// It answers something else.
    #[error("{}: {what}", path.display())]
    Odd {
        /// The socket.
        path: PathBuf,
        /// What came.
        what: String,
    },
}

/// Asks the daemon that listens there.
pub fn ask(path: &Path, question: Question) -> Result<Answer, AskError> {
    let odd = |what: String| AskError::Odd { path: path.to_owned(), what };
    let request = Versioned { version: VERSION, content: Ask { ask: question } };
    let request = serde_json::to_string(&request).map_err(|error| odd(error.to_string()))?;
    let frame = exchange(path, request)
        .map_err(|error| AskError::Unreachable { path: path.to_owned(), error })?;
    match frame {
        Some(ToWorker::ControlAnswer { json }) => {
            let answer: Versioned<Answer> = serde_json::from_slice(&json)
                .map_err(|error| odd(format!("answers what is not understood: {error}")))?;
            match answer.content {
                Answer::Error(error) => Err(odd(error)),
                answer @ Answer::Health(_) => Ok(answer),
            }
        }
        Some(ToWorker::Refused { reason, .. }) => Err(odd(reason)),
        Some(_) => Err(odd("answers something else".into())),
        None => Err(odd("turned this user away (see socket_users), or ended".into())),
    }
}

fn exchange(path: &Path, request: String) -> io::Result<Option<ToWorker>> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
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
        let told = |request: &str| answer(request, |_| health());
        assert_eq!(told(r#"{"version":1,"ask":"health"}"#), r#"{"version":1,"error":"asked"}"#);
        assert!(told(r#"{"version":2,"ask":"health"}"#).contains("asked in version 2"));
        assert!(told(r#"{"version":1,"ask":"weather"}"#).contains("not understood"));
        assert!(told("").contains("not understood"));
    }
}
