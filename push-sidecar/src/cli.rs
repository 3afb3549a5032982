//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::control::{self, Answer, Question};
use crate::migrate;
use crate::verbs::{check, doctor, listen, publish, sign, status, trace};

/// Keeps channel state and message queues for the push module in nginx.
#[derive(Parser, Debug)]
#[command(name = "push-sidecar", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run in the foreground until SIGTERM or SIGINT.
    Serve(Options),
    /// Ask the running daemon what works and what does not. Status 0: everything; 1: not
    /// everything; 2: it cannot be asked.
    Health(Health),
    /// Ask the running daemon how everything does: connections, rates, latency, workers, hosts, what
    /// does not work. Status as of `health`.
    Status(status::Status),
    /// Check the configuration and print it as it takes effect, passwords hidden.
    Config(Options),
    /// Look whether the daemon can work with what it is given: configuration, socket, Redis, nginx's
    /// files. Status 0: nothing is wrong, warnings aside; 1: something is.
    Check(check::Check),
    /// Walk the whole way of a message like a portal and its browsers, and tell what to change.
    /// Status 0: nothing is wrong, warnings aside; 1: something is.
    Doctor(doctor::Doctor),
    /// Sign channels as a portal does, and print the value of `CHANNEL_ID`.
    Sign(sign::Sign),
    /// Publish a message as a portal does. Status 0: it was taken; 1: refused; 2: nobody could be
    /// asked.
    Publish(publish::Publish),
    /// Print what subscribers of channels get, a line a message. Status 0: as many as asked for, or
    /// the time is over; 1: the time is over with fewer; 2: no connection, or it was closed.
    Listen(listen::Listen),
    /// Tell where a message went, or the messages of a channel: stored, announced, to whom written.
    /// Status 0: told; 1: nobody knows the message; 2: the daemon cannot be asked.
    Trace(trace::Options),
    /// Read an installation of push-server 0.4.0, report what becomes of each setting, and write
    /// the new configuration into a folder.
    Migrate(migrate::command::Options),
}

/// Where the daemon is that is asked.
#[derive(Args, Clone, Debug)]
pub struct Daemon {
    /// Configuration file (TOML) of the daemon; without it defaults and the environment count.
    #[arg(long, value_name = "FILE", env = "BX_PUSH_CONFIG")]
    config: Option<PathBuf>,
    /// The Unix socket that it listens on.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Daemon {
    /// Its socket.
    pub fn socket(self) -> Result<PathBuf, ConfigError> {
        let options = Options { config: self.config, socket: self.socket, ..Options::default() };
        Ok(options.effective()?.socket)
    }
}

/// Options of `health`.
#[derive(Args, Debug)]
pub struct Health {
    #[command(flatten)]
    daemon: Daemon,
    /// One object of JSON instead of lines.
    #[arg(long)]
    pub json: bool,
}

impl Health {
    /// Asks, prints and tells the exit status.
    pub fn run(self) -> ExitCode {
        match self.ask() {
            Ok(healthy) => ExitCode::from(u8::from(!healthy)),
            // Nothing is known then: not the status of "not everything works".
            Err(error) => {
                eprintln!("push-sidecar: {error}");
                ExitCode::from(2)
            }
        }
    }

    /// Prints how it does; answers whether everything works.
    fn ask(self) -> Result<bool, Box<dyn std::error::Error>> {
        let socket = self.daemon.socket()?;
        let answer = control::ask(&socket, Question::Health, control::PATIENCE)?;
        let Answer::Health(report) = answer else {
            return Err(format!("answers something else: {answer:?}").into());
        };
        let text = if self.json { serde_json::to_string(&report)? + "\n" } else { report.table() };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(report.is_healthy())
    }
}

/// What wins over the environment and the file.
#[derive(Args, Debug, Default)]
pub struct Options {
    /// Configuration file (TOML); without it defaults and the environment count.
    #[arg(long, value_name = "FILE", env = "BX_PUSH_CONFIG")]
    pub config: Option<PathBuf>,
    /// The Unix socket that workers connect to.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where Redis is: `unix:///path[?db=n]`, `redis://[user:password@]host[:port][/db]`, `rediss://…`.
    /// Without it and without redis.url in the configuration messages are kept in memory.
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Where to write the process id.
    #[arg(long, value_name = "PATH")]
    pub pid_file: Option<PathBuf>,
}

impl Options {
    /// The configuration as it takes effect.
    pub fn effective(self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        if let Some(socket) = self.socket {
            config.socket = socket;
        }
        if let Some(url) = self.redis {
            config.redis.url = url;
        }
        if let Some(pid_file) = self.pid_file {
            config.pid_file = pid_file;
        }
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_get_into_each_others_way() {
        Cli::command().debug_assert();
    }
}
