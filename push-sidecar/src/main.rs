//! `push-sidecar`, the program; everything is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use push_sidecar::cli::{Cli, Command};
use push_sidecar::verbs::{check, doctor, listen, publish, sign, status, trace};
use push_sidecar::{daemon, logging, migrate};

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("push-sidecar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Health(health) => return Ok(health.run()),
        Command::Status(options) => return Ok(status::run(options)),
        Command::Check(options) => return check::run(options),
        Command::Doctor(options) => return Ok(or_unknown(doctor::run(&options))),
        // Status 1 of these means an answer.
        Command::Publish(options) => return Ok(or_unknown(publish::run(&options))),
        Command::Listen(options) => return Ok(or_unknown(listen::run(&options))),
        Command::Trace(options) => return Ok(or_unknown(trace::run(&options))),
        Command::Sign(options) => return sign::run(&options),
        Command::Serve(options) => {
            let config = options.effective()?;
            logging::init(&config.log);
            daemon::run(&config)?;
        }
        Command::Config(options) => print!("{}", options.effective()?),
        Command::Migrate(options) => {
            migrate::command::run(&options, &mut std::io::stdout().lock())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Status 2 for what could not even be tried.
fn or_unknown(result: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("push-sidecar: {error}");
        ExitCode::from(2)
    })
}
