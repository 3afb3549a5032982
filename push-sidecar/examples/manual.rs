//! `manual DIR SAMPLE`: writes what packages need besides the program, from its own definition of
//! its command line: man pages into `DIR/man`, completions into `DIR/completions`. SAMPLE is the
//! configuration file with every key commented, of which push-sidecar.toml(5) is made.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use push_sidecar::cli::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, sample] = &arguments[..] else { return Err("usage: manual DIR SAMPLE".into()) };
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let command = Cli::command().disable_help_subcommand(true);
    pages(&command, None, &man)?;
    fs::write(man.join("push-sidecar.toml.5"), configuration(&fs::read_to_string(sample)?))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "push-sidecar", &completions)?;
    }
    Ok(())
}

/// push-sidecar(8), and push-sidecar-VERB(8) for each verb.
fn pages(command: &clap::Command, parent: Option<&str>, folder: &Path) -> std::io::Result<()> {
    let name = match parent {
        Some(parent) => format!("{parent}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    // What is typed has a blank in front of the verb.
    let typed = name.replacen("push-sidecar-", "push-sidecar ", 1);
    let command = command.clone().display_name(name.clone()).bin_name(typed);
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).section("8").render(&mut page)?;
    fs::write(folder.join(format!("{name}.8")), page)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, Some(&name), folder)?;
    }
    Ok(())
}

/// The sample as it is, since it tells of every key.
fn configuration(sample: &str) -> String {
    let mut page = String::from(
        ".TH push-sidecar.toml 5\n.SH NAME\npush\\-sidecar.toml \\- configuration of push\\-sidecar(8)\n\
         .SH DESCRIPTION\nThe file that \\fB\\-\\-config\\fR names, in packages \
         \\fI/etc/push\\-sidecar/push\\-sidecar.toml\\fR. TOML; every key with its default:\n.PP\n.nf\n",
    );
    for line in sample.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A dot or a quote in front would be a request.
        let _ = writeln!(page, "\\&{line}");
    }
    page.push_str(".fi\n.SH SEE ALSO\npush\\-sidecar(8), push\\-sidecar\\-check(8)\n");
    page
}
