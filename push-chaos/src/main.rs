//! `make chaos`: the last line is the verdict, the exit code says the same.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use push_chaos::options::Options;
use push_chaos::run::run;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(outcome) => {
            println!("chaos {outcome}");
            ExitCode::from(u8::from(!outcome.is_good()))
        }
        Err(error) => {
            println!("chaos BAD: {error}");
            ExitCode::FAILURE
        }
    }
}
