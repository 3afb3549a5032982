//! `push-sidecar` as operators call it.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{builds, wait};

/// How a verb ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// The command, which ends with whoever started it, and knows nothing of `make run`'s settings.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(builds::sidecar());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"BX_PUSH_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// Runs a verb to its end.
pub async fn run(arguments: &[&str]) -> io::Result<Ended> {
    ended(command(arguments).output().await?)
}

/// Runs a verb that trusts a certificate, with something on its standard input.
pub async fn run_with(arguments: &[&str], trust: &Path, input: &str) -> io::Result<Ended> {
    let mut command = command(arguments);
    command.env("SSL_CERT_FILE", trust).env_remove("SSL_CERT_DIR").stdin(Stdio::piped());
    let mut child = command.spawn()?;
    let mut standard_input = child.stdin.take().expect("a pipe");
    standard_input.write_all(input.as_bytes()).await?;
    drop(standard_input);
    ended(wait::soon("the verb's end", child.wait_with_output()).await?)
}

fn ended(output: std::process::Output) -> io::Result<Ended> {
    let text = |bytes| String::from_utf8(bytes).map_err(io::Error::other);
    Ok(Ended {
        status: output.status.code().unwrap_or(-1),
        out: text(output.stdout)?,
        err: text(output.stderr)?,
    })
}
