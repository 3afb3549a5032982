//! What the measured processes use: CPU time and memory, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::error::{Error, Result};
use crate::options::TargetOptions;

/// The processes of a server, by the name of their program.
#[derive(Clone, Debug, Default)]
pub struct Processes(BTreeMap<String, Vec<u32>>);

/// CPU time that processes have used since they began, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Usage {
    /// In the program, to the tick.
    user: f64,
    /// In the kernel on its behalf, to the tick.
    system: f64,
    /// Both, to the nanosecond; the scheduler does not know whose it was.
    exact: f64,
}

/// CPU time used over a while, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

impl Cpu {
    /// Both.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Usage {
    fn plus(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
            exact: self.exact + other.exact,
        }
    }

    /// What was used since `before`.
    fn since(self, before: Self) -> Cpu {
        let user = (self.user - before.user).max(0.0);
        let system = (self.system - before.system).max(0.0);
        let exact = (self.exact - before.exact).max(0.0);
        if exact == 0.0 {
            return Cpu { user, system };
        }
        let ticks = user + system;
        let share = if ticks > 0.0 { user / ticks } else { 0.0 };
        Cpu { user: exact * share, system: exact * (1.0 - share) }
    }
}

/// Memory in bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Memory {
    /// Proportional set size: shared pages count in parts.
    pub pss: f64,
    /// What the processes have for themselves.
    pub private: f64,
}

/// Something measured, by the name of the program.
pub type By<T> = BTreeMap<String, T>;

impl Processes {
    /// The processes given and all that descend from them.
    pub fn find(options: &TargetOptions) -> Result<Self> {
        let mut pids = options.pids.clone();
        for file in &options.pid_file {
            let name = format!("pid file {}", file.display());
            let text = fs::read_to_string(file).map_err(Error::io(name.clone()))?;
            for word in text.split_whitespace() {
                let pid = word.parse();
                pids.push(pid.map_err(|_| Error::Usage(format!("{name}: {word} is no pid")))?);
            }
        }
        let everything = all_processes();
        let mut at = 0;
        while let Some(parent) = pids.get(at).copied() {
            at += 1;
            let children = everything.iter().filter(|one| one.parent == parent);
            for child in children {
                if !pids.contains(&child.pid) {
                    pids.push(child.pid);
                }
            }
        }
        let mut by: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for pid in pids {
            let Some(stat) = Stat::read(pid) else {
                return Err(Error::Usage(format!("there is no process {pid}")));
            };
            let group = by.entry(stat.program).or_default();
            if !group.contains(&pid) {
                group.push(pid);
            }
        }
        Ok(Self(by))
    }

    /// Whether none were given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they have used since they began.
    pub fn usage(&self) -> By<Usage> {
        let sum = |pids: &Vec<u32>| {
            let usages = pids.iter().filter_map(|pid| usage(*pid));
            usages.fold(Usage::default(), Usage::plus)
        };
        self.0.iter().map(|(name, pids)| (name.clone(), sum(pids))).collect()
    }

    /// What they have used since `before`.
    pub fn cpu_since(&self, before: &By<Usage>) -> By<Cpu> {
        let since = |(name, usage): (String, Usage)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, usage.since(before))
        };
        self.usage().into_iter().map(since).collect()
    }

    /// What they have now. Programs whose memory may not be looked at are missing.
    pub fn memory(&self) -> By<Memory> {
        let sum = |pids: &Vec<u32>| {
            pids.iter().try_fold(Memory::default(), |sum, pid| {
                let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
                let one = parse_rollup(&rollup)?;
                Some(Memory { pss: sum.pss + one.pss, private: sum.private + one.private })
            })
        };
        let groups = self.0.iter();
        groups.filter_map(|(name, pids)| Some((name.clone(), sum(pids)?))).collect()
    }
}

/// A process as `/proc/PID/stat` has it.
#[derive(PartialEq, Debug)]
struct Stat {
    pid: u32,
    parent: u32,
    program: String,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See `proc_pid_stat(5)`; the program's name stands in parentheses and may hold any character.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        let (program, rest) = rest.rsplit_once(") ")?;
        let field = |number: usize| rest.split_whitespace().nth(number - 3);
        Some(Self {
            pid: pid.parse().ok()?,
            parent: field(4)?.parse().ok()?,
            program: program.to_owned(),
            user_ticks: field(14)?.parse().ok()?,
            system_ticks: field(15)?.parse().ok()?,
        })
    }
}

fn all_processes() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Stat::read)
        .collect()
}

fn usage(pid: u32) -> Option<Usage> {
    let stat = Stat::read(pid)?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let tick = 1e9 / per_second as f64;
    Some(Usage {
        user: stat.user_ticks as f64 * tick,
        system: stat.system_ticks as f64 * tick,
        exact: scheduled(pid).unwrap_or_default(),
    })
}

/// Nanoseconds that all threads of a process have run.
fn scheduled(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads
        .flatten()
        .map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        })
        .sum()
}

/// The sums of `/proc/PID/smaps_rollup`.
fn parse_rollup(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024.0)
    };
    Some(Memory {
        pss: bytes("Pss:")?,
        private: bytes("Private_Clean:")? + bytes("Private_Dirty:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_an_odd_name() {
        let text = "42 (a) R (b) S 7 42 42 0 -1 4194560 1 2 3 4 500 600 0 0 20 0 1 0 99\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.pid, stat.parent, &*stat.program), (42, 7, "a) R (b"));
        assert_eq!((stat.user_ticks, stat.system_ticks), (500, 600));
        assert_eq!(Stat::parse("42 (x) S 7"), None);
    }

    #[test]
    fn memory_is_summed() {
        let text = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:   900 kB\nPss:    100 kB\n\
                    Private_Clean:   4 kB\nPrivate_Dirty:   8 kB\n";
        let memory = parse_rollup(text).unwrap();
        assert_eq!((memory.pss, memory.private), (102_400.0, 12_288.0));
        assert_eq!(parse_rollup("Pss: 1 kB"), None);
    }

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let words = ["--pids".to_owned(), std::process::id().to_string()];
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let options = TargetOptions::from_words(&words).unwrap();
        let processes = Processes::find(&options).unwrap();
        let memory = processes.memory().into_values().next().unwrap();
        assert!(memory.private > 0.0 && memory.private <= memory.pss);
        let before = processes.usage();
        let mut random = crate::population::Random::new(1);
        let mut rounds = 0_u32;
        let used = || processes.cpu_since(&before).into_values().next().unwrap();
        while used().total() <= 0.0 {
            rounds += 1;
            assert!(random.number() != 1 && rounds < 1_000_000);
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let options = TargetOptions::from_words(&["--pids", "4294967295"]).unwrap();
        Processes::find(&options).unwrap_err();
    }
}
