//! `push-sidecar status`: how everything does, in a table.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::Daemon;
use crate::control::{self, Answer, Question};

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Options of `status`.
#[derive(Args, Debug)]
pub struct Status {
    #[command(flatten)]
    daemon: Daemon,
    /// One object of JSON instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Again and again, every so many seconds (2 if none are given), until it is interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// Asks, prints and tells the exit status.
pub fn run(options: Status) -> ExitCode {
    match watch(options) {
        Ok(healthy) => ExitCode::from(u8::from(!healthy)),
        // Nothing is known then: not the status of "not everything works".
        Err(error) => {
            eprintln!("push-sidecar: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints how everything does; answers whether everything works.
fn watch(options: Status) -> Result<bool, Box<dyn std::error::Error>> {
    let Status { daemon, json, watch } = options;
    let socket = daemon.socket()?;
    let clear =
        if watch.is_some() && !json && std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let told = told(&socket, json);
        let Some(seconds) = watch else {
            let (text, healthy) = told?;
            std::io::stdout().write_all(text.as_bytes())?;
            return Ok(healthy);
        };
        // Whoever watches wants to see it come back.
        let text = told.map_or_else(|error| format!("push-sidecar: {error}\n"), |(text, _)| text);
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{clear}{text}").as_bytes())?;
        out.flush()?;
        drop(out);
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn told(
    socket: &std::path::Path,
    json: bool,
) -> Result<(String, bool), Box<dyn std::error::Error>> {
    let answer = control::ask(socket, Question::Status, control::PATIENCE)?;
    let Answer::Status(snapshot) = answer else {
        return Err(format!("answers something else: {answer:?}").into());
    };
    let text = if json { serde_json::to_string(&*snapshot)? + "\n" } else { snapshot.table() };
    Ok((text, snapshot.health.is_healthy()))
}
