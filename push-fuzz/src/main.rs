//! `cargo run -p push-fuzz -- …`: writes the seeds, or replays inputs through a target.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use push_fuzz::{TARGETS, corpus, target};

const USAGE: &str = "\
usage: push-fuzz seeds                  write fuzz/seeds anew from tests/vectors
       push-fuzz replay TARGET FILE...  run inputs through a target, as libFuzzer would
       push-fuzz targets                name the targets";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["seeds"] => corpus::write_seeds().map(|count| println!("{count} seeds written")),
        ["targets"] => {
            for target in TARGETS {
                println!("{}", target.name);
            }
            Ok(())
        }
        ["replay", name, ref files @ ..] if !files.is_empty() => replay(name, files),
        _ => Err(std::io::Error::other(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn replay(name: &str, files: &[&str]) -> std::io::Result<()> {
    let target = target(name).ok_or_else(|| std::io::Error::other(USAGE))?;
    for file in files {
        let bytes = std::fs::read(file)?;
        (target.run)(&bytes);
        println!("{name}: {file} ({} bytes) holds", bytes.len());
    }
    Ok(())
}
