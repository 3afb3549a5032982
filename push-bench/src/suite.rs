//! The whole comparison: servers are started in a folder of their own on free ports, every
//! measurement of the plan is run in rounds, and the medians become tables and verdicts.
//!
//! Each measurement is a command that can be typed; it runs as a process of its own, since a
//! process may not have enough open files for both sides.
//!
//! | module | concern |
//! |---|---|
//! | [`plan`] | what is measured, against what, with which budgets |
//! | [`servers`], [`process`] | configurations; starting and ending processes |
//! | [`figures`] | rounds, medians, spread |
//! | [`page`], [`machine`] | tables, and the page they are written into |

pub mod figures;
pub mod machine;
pub mod page;
pub mod plan;
pub mod process;
pub mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use self::figures::Figures;
use self::page::Page;
use self::plan::{Measurement, Server};
use self::servers::Rig;
use crate::error::{Error, Result};

/// Options of `suite`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The short plan: all budgets, in less than two minutes
    #[arg(long)]
    pub quick: bool,
    /// Rounds of each measurement; the median counts [default: 3, with --quick 1]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Only measurements whose names begin with one of these
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<String>,
    /// Write the tables between the markers of this page
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Measure nothing: start all servers, tell how to reach them, wait for the end of input
    #[arg(long, conflicts_with_all = ["quick", "page"])]
    pub serve: bool,
    /// An empty folder for configurations, logs, sockets and pid files
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// nginx
    #[arg(long, default_value = "/usr/sbin/nginx", value_name = "FILE")]
    pub nginx: PathBuf,
    /// This server's module for it
    #[arg(long, default_value = "build/ngx_http_bx_push_module.so", value_name = "FILE")]
    pub module: PathBuf,
    /// This server's daemon
    #[arg(long, default_value = "build/push-sidecar", value_name = "FILE")]
    pub sidecar: PathBuf,
    /// Redis
    #[arg(long, default_value = "redis-server", value_name = "FILE")]
    pub redis: PathBuf,
    /// nchan's module
    #[arg(long, default_value = "/usr/lib/nginx/modules/ngx_nchan_module.so", value_name = "FILE")]
    pub nchan: PathBuf,
}

/// Runs the plan. Returns whether every message arrived that this server took, once and in order;
/// budgets that are missed are told, and no reason for an error: machines differ.
pub fn run(options: &Options) -> Result<bool> {
    let rig = Rig::new(options)?;
    if options.serve {
        return serve(&rig).map(|()| true);
    }
    let mut plan = if options.quick { plan::quick() } else { plan::full() };
    if !options.only.is_empty() {
        plan.retain(|one| options.only.iter().any(|name| one.name.starts_with(name.as_str())));
    }
    let mut page = options.page.as_deref().map(|file| Page::read(file, &plan)).transpose()?;
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 }).max(1);
    let mut results = Vec::new();
    for measurement in &plan {
        let figures = measure(&rig, measurement, rounds)?;
        if options.quick {
            eprintln!("{}: done", measurement.name);
        } else {
            println!("{}\n", page::measurement(measurement, &figures));
        }
        if let Some(page) = &mut page {
            page.put(measurement.name, &page::measurement(measurement, &figures));
            page.write()?;
        }
        results.push((measurement.clone(), figures));
    }
    let budgets = page::budgets(&results, rounds);
    println!("{budgets}");
    if let Some(mut page) = page {
        // A part of the plan says nothing about the budgets of the others.
        if options.only.is_empty() {
            page.put("budgets", &budgets);
            page.put("machine", &machine::describe(options, rounds));
        }
        page.write()?;
    }
    for (measurement, figures) in &results {
        for remark in &figures.complaints {
            println!("{}: {remark}", measurement.name);
        }
    }
    // What others lose is for the page to tell.
    let ours = results.iter().flat_map(|(_, figures)| &figures.complaints);
    Ok(!ours.into_iter().any(|complaint| complaint.starts_with("push:")))
}

/// The rounds of a measurement, each with servers that were never used before: memory that was
/// once in use is not seen to grow.
fn measure(rig: &Rig, measurement: &Measurement, rounds: usize) -> Result<Figures> {
    let mut figures = Figures::default();
    for _ in 0..rounds.max(measurement.rounds) {
        let subject = rig.start(measurement.subject)?;
        let peer = measurement.peer.map(|server| rig.start(server)).transpose()?;
        let json = rig.dir().join("report.json");
        let mut command = Command::new(std::env::current_exe().map_err(Error::io("myself"))?);
        command.args(measurement.arguments.split_whitespace());
        command.args(subject.options.split_whitespace()).arg("--json").arg(&json);
        if let Some(peer) = &peer {
            command.args(["--vs", &peer.options]);
        }
        let output = command.output().map_err(Error::io("starting myself"))?;
        let code = output.status.code();
        let told = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        if !matches!(code, Some(0 | 1)) {
            let logs = rig.logs();
            return Err(Error::Server(format!("{}: {told}\n{logs}", measurement.name)));
        }
        if code == Some(1) {
            let verdicts = told.lines().filter(|line| line.contains("BAD;"));
            figures.complaints.extend(verdicts.map(|line| line.trim().to_owned()));
        }
        figures.add_round(&read(&json)?);
    }
    Ok(figures)
}

fn read(file: &Path) -> Result<serde_json::Value> {
    let text = fs::read_to_string(file).map_err(Error::io(file.display().to_string()))?;
    serde_json::from_str(&text).map_err(|error| Error::Server(format!("a report: {error}")))
}

/// Holds all servers for somebody who wants to run single commands.
fn serve(rig: &Rig) -> Result<()> {
    let mut running = BTreeMap::new();
    for server in Server::ALL {
        let one = rig.start(server)?;
        println!("{}='{}'", server.variable(), one.options);
        running.insert(server.variable(), one);
    }
    println!("# until the end of input");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(Error::io("input"))?;
    Ok(())
}
