//! What was measured where: the machine, and the versions of everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Options;

/// As a list in Markdown.
pub fn describe(options: &Options, rounds: usize) -> String {
    let cpu = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let gigabytes = memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load: Vec<_> = load.split(' ').take(3).collect();
    let nginx = said(&options.nginx, &["-V"]);
    let line = |text: &str, word: &str| {
        text.lines().find(|line| line.contains(word)).unwrap_or("unknown").trim().to_owned()
    };
    let openssl = line(&nginx, "OpenSSL").replace("built with ", "");
    let nchan = said(Path::new("dpkg-query"), &["-Wf", "${Version}", "libnginx-mod-nchan"]);
    let commit = said(Path::new("git"), &["describe", "--always", "--dirty"]);
    [
        format!("- {}, commit {}", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"), commit.trim()),
        format!(
            "- {cores} cores of {cpu}, {:.0} GiB, Linux {}",
            gigabytes.unwrap_or_default() / 1_048_576.0,
            read("/proc/sys/kernel/osrelease").trim()
        ),
        format!(
            "- {} with {openssl}, nchan {}, {}",
            line(&nginx, "nginx version").replace("nginx version: ", ""),
            nchan.trim(),
            line(&said(&options.redis, &["--version"]), "Redis").replace(" malloc", ", malloc"),
        ),
        format!("- {}", line(&said(&options.sidecar, &["--version"]), "push-sidecar")),
        format!(
            "- {rounds} rounds each; load average at the end {}, with the generator's",
            load.join(" ")
        ),
    ]
    .join("\n")
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn field(file: &str, name: &str) -> String {
    let text = read(file);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// What a program says of itself, on either output.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    })
}
