//! See the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use push_bench::options::Options;
use push_bench::scenarios;

/// 0: all came, once, in order; 1: it did not; 2: the scenario could not be run.
fn main() -> ExitCode {
    match scenarios::run(&Options::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("push-bench: {error}");
            ExitCode::from(2)
        }
    }
}
