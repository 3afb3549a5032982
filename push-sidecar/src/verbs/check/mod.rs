//! `push-sidecar check`: whether the daemon can work with what it is given. Nothing is changed but
//! one key in Redis that ends by itself, and nobody is connected to but Redis.

mod nginx;
mod redis;
mod socket;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::findings::Findings;
use super::nginx_conf::NginxConf;
use crate::cli;
use crate::migrate::files::Disk;

/// Options of `check`.
#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    daemon: cli::Options,
    /// nginx.conf, or its folder: socket, user, keys and limits are compared with it.
    #[arg(long, value_name = "PATH")]
    nginx: Option<PathBuf>,
    /// For `ExecStartPre=`: what the daemon waits for, such as a Redis that is away, is no error.
    #[arg(long)]
    before_start: bool,
    /// Warnings are as bad as errors.
    #[arg(long)]
    strict: bool,
    /// One object of JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Looks, prints and tells the exit status.
pub fn run(options: Check) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (json, strict) = (options.json, options.strict);
    let findings = look(options)?;
    let text = if json { findings.json() } else { findings.text() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(findings.status(strict))
}

fn look(options: Check) -> std::io::Result<Findings> {
    let mut findings = Findings::default();
    let file = options.daemon.config.clone();
    let read = match &file {
        Some(file) => file.display().to_string(),
        None => "defaults and environment".into(),
    };
    let config = match options.daemon.effective() {
        Ok(config) => config,
        Err(error) => {
            let remedy = "mend it; docs/en/sidecar.md and nginx-conf/push-sidecar.toml explain each key. Nothing else was looked at";
            findings.error("configuration", read, error.to_string(), remedy);
            return Ok(findings);
        }
    };
    findings.ok("configuration", read, "understood");
    let nginx = options.nginx.map(|path| {
        let path = std::path::absolute(&path).unwrap_or(path);
        NginxConf::read(&Disk::new(std::path::Path::new("/")), &path)
    });
    socket::check(&config, nginx.as_ref(), &mut findings);
    if let Some(options_of_redis) = config.redis_options() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let looking = redis::check(&options_of_redis, options.before_start, &mut findings);
        runtime.block_on(looking);
    } else {
        let megabytes = config.memory.max_bytes >> 20;
        let told = format!(
            "messages are kept in this process, {megabytes} MiB at most, and end with it; redis.url keeps them"
        );
        findings.ok("store", "redis.url is empty", told);
    }
    nginx::check(&config, nginx.as_ref(), &mut findings);
    Ok(findings)
}
