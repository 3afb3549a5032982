//! What is measured, against what, and what must come out.

/// Where a server keeps messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// In its own processes.
    Memory,
    /// In a Redis.
    Redis,
}

/// A server to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// This project's.
    Push {
        /// Its store.
        store: Store,
        /// Whether subscribers speak TLS.
        tls: bool,
    },
    /// The nginx module nchan.
    Nchan {
        /// Its store.
        store: Store,
    },
    /// nginx alone, which holds keep-alive connections: what a connection costs there.
    Bare {
        /// Whether clients speak TLS.
        tls: bool,
    },
    /// A loop of write(2), or of `SSL_write`: what a delivery costs the kernel and OpenSSL.
    Floor {
        /// Whether subscribers speak TLS.
        tls: bool,
    },
}

impl Server {
    /// Each kind once.
    pub const ALL: [Self; 9] =
        [PUSH, PUSH_TLS, PUSH_MEMORY, NCHAN, NCHAN_MEMORY, BARE, BARE_TLS, FLOOR, FLOOR_TLS];

    /// What stands for its options in the commands of a page.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Push { store: Store::Redis, tls: false } => "PUSH",
            Self::Push { store: Store::Redis, tls: true } => "PUSH_TLS",
            Self::Push { store: Store::Memory, tls: false } => "PUSH_MEMORY",
            Self::Push { store: Store::Memory, tls: true } => "PUSH_MEMORY_TLS",
            Self::Nchan { store: Store::Redis } => "NCHAN",
            Self::Nchan { store: Store::Memory } => "NCHAN_MEMORY",
            Self::Bare { tls: false } => "BARE",
            Self::Bare { tls: true } => "BARE_TLS",
            Self::Floor { tls: false } => "FLOOR",
            Self::Floor { tls: true } => "FLOOR_TLS",
        }
    }

    /// What a table's head calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Push { store: Store::Redis, .. } => "push, Redis",
            Self::Push { store: Store::Memory, .. } => "push, memory",
            Self::Nchan { store: Store::Redis } => "nchan, Redis",
            Self::Nchan { store: Store::Memory } => "nchan, memory",
            Self::Bare { .. } => "bare nginx",
            Self::Floor { .. } => "floor",
        }
    }
}

const PUSH: Server = Server::Push { store: Store::Redis, tls: false };
const PUSH_TLS: Server = Server::Push { store: Store::Redis, tls: true };
const PUSH_MEMORY: Server = Server::Push { store: Store::Memory, tls: false };
const NCHAN: Server = Server::Nchan { store: Store::Redis };
const NCHAN_MEMORY: Server = Server::Nchan { store: Store::Memory };
const BARE: Server = Server::Bare { tls: false };
const BARE_TLS: Server = Server::Bare { tls: true };
const FLOOR: Server = Server::Floor { tls: false };
const FLOOR_TLS: Server = Server::Floor { tls: true };

/// What a budget looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Of {
    /// A figure of the subject.
    Figure(&'static str),
    /// The subject's first figure divided by the peer's second.
    Ratio(&'static str, &'static str),
}

/// What must come out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Budget {
    /// In words.
    pub what: &'static str,
    /// Of which figure.
    pub of: Of,
    /// The bound, in the figure's unit.
    pub bound: f64,
    /// Whether more is better.
    pub at_least: bool,
}

const fn at_most(what: &'static str, figure: &'static str, bound: f64) -> Budget {
    Budget { what, of: Of::Figure(figure), bound, at_least: false }
}

const fn at_least(what: &'static str, figure: &'static str, bound: f64) -> Budget {
    Budget { what, of: Of::Figure(figure), bound, at_least: true }
}

const fn within(
    what: &'static str,
    ours: &'static str,
    theirs: &'static str,
    bound: f64,
) -> Budget {
    Budget { what, of: Of::Ratio(ours, theirs), bound, at_least: false }
}

/// Less than the peer.
const fn less(what: &'static str, figure: &'static str) -> Budget {
    within(what, figure, figure, 1.0)
}

/// More than the peer.
const fn more(what: &'static str, figure: &'static str) -> Budget {
    Budget { what, of: Of::Ratio(figure, figure), bound: 1.0, at_least: true }
}

/// A command and what it is expected to show.
#[derive(Clone, PartialEq, Debug)]
pub struct Measurement {
    /// By which the page's markers know it.
    pub name: &'static str,
    /// The scenario and its options.
    pub arguments: &'static str,
    /// What is measured.
    pub subject: Server,
    /// What it is compared with.
    pub peer: Option<Server>,
    /// What must come out.
    pub budgets: Vec<Budget>,
    /// Rounds at least: what a noisy machine disturbs most wants more of them.
    pub rounds: usize,
}

fn measurement(
    name: &'static str,
    arguments: &'static str,
    subject: Server,
    peer: Option<Server>,
    budgets: &[Budget],
) -> Measurement {
    Measurement { name, arguments, subject, peer, budgets: budgets.to_vec(), rounds: 1 }
}

const MEMORY: &str = "memory each, all but redis, PSS";
const HANDSHAKE: &str = "CPU per handshake, all";
const DELIVERY: &str = "CPU per delivery, all";
/// The worker's, without the sidecar and Redis: what stands against a loop of writes.
const WORKER: &str = "CPU per delivery, nginx";
const FLOOR_CPU: &str = "CPU per delivery, push-bench";
const SINGLE_P50: &str = "latency of single messages, p50";
const SINGLE_P99: &str = "latency of single messages, p99";
const MESSAGE: &str = "CPU per message, all";
const RATE: &str = "published per second";
const PUBLISH: &str = "CPU per publish, all";
const LAST_P99: &str = "last delivery of a message, p99";
const MEANWHILE: &str = "meanwhile on other channels, p99";

const IDLE: Budget = at_most("memory per idle WebSocket", MEMORY, 1500.0);
const IDLE_TLS: Budget =
    within("memory per idle WebSocket over TLS, to bare nginx", MEMORY, MEMORY, 1.1);
const OPENING: Budget = at_most("CPU per handshake", HANDSHAKE, 60.0);
const FANOUT: Budget =
    within("worker CPU per delivery to 5,000, to the floor", WORKER, FLOOR_CPU, 1.15);
const FANOUT_TLS: Budget =
    within("worker CPU per delivery over TLS, to the floor", WORKER, FLOOR_CPU, 1.1);
const OTHERS: Budget = at_most("single messages during a fan-out to 5,000, p99", MEANWHILE, 10.0);
const SLOW: [Budget; 3] = [
    at_most("single messages at 200/s, p50", SINGLE_P50, 0.4),
    at_most("single messages at 200/s, p99", SINGLE_P99, 1.0),
    at_most("CPU per single message at 200/s", MESSAGE, 400.0),
];
const FAST: [Budget; 2] = [
    at_most("CPU per single message at 5,000/s", MESSAGE, 120.0),
    at_most("single messages at 5,000/s, p99", SINGLE_P99, 3.0),
];
const STORED: [Budget; 2] = [
    at_least("stored publishes per second", RATE, 15_000.0),
    at_most("CPU per stored publish", PUBLISH, 75.0),
];
const RETURN: Budget = at_most("10,000 clients return with mid", "until all have everything", 5.0);

/// All budgets, in less than two minutes.
pub fn quick() -> Vec<Measurement> {
    let mut plan = vec![
        measurement("idle", "idle -n 10000 --steps 1 --settle 1 --once", PUSH, None, &[IDLE]),
        measurement(
            "idle-tls",
            "idle -n 1500 --steps 1 --settle 1 --once",
            PUSH_TLS,
            Some(BARE_TLS),
            &[IDLE_TLS],
        ),
        measurement("handshake", "handshake -n 5000 --rounds 1", PUSH, None, &[OPENING]),
        measurement("fanout-floor", "fanout -n 5000 -m 20", PUSH, Some(FLOOR), &[FANOUT]),
        measurement("fanout-tls", "fanout -n 1000 -m 60", PUSH_TLS, Some(FLOOR_TLS), &[FANOUT_TLS]),
        measurement(
            "fanout-others",
            "fanout -n 5000 -m 16 --rate 4 --bystanders 200 --bystander-rate 200",
            PUSH,
            None,
            &[OTHERS],
        ),
        measurement("unicast-200", "unicast --rate 200 --duration 4", PUSH, None, &SLOW),
        measurement("unicast-5000", "unicast --rate 5000 --duration 3", PUSH, None, &FAST),
        measurement("publish", "publish --duration 3", PUSH, None, &STORED),
        measurement("reconnect", "reconnect -n 10000", PUSH, None, &[RETURN]),
    ];
    for one in &mut plan {
        one.rounds = match one.name {
            // Memory does not depend on what else the machine does.
            "idle" | "idle-tls" => 1,
            "fanout-tls" | "unicast-200" => 3,
            _ => 2,
        };
    }
    plan
}

/// Everything, against everybody.
pub fn full() -> Vec<Measurement> {
    let nchan = Some(NCHAN);
    vec![
        measurement(
            "idle-nchan",
            "idle -n 10000",
            PUSH,
            nchan,
            &[IDLE, less("memory per idle WebSocket, to nchan", MEMORY)],
        ),
        measurement("idle-bare", "idle -n 10000", PUSH_MEMORY, Some(BARE), &[]),
        measurement("idle-tls", "idle -n 5000", PUSH_TLS, Some(BARE_TLS), &[IDLE_TLS]),
        measurement(
            "handshake-nchan",
            "handshake -n 5000 --rounds 2",
            PUSH,
            nchan,
            &[OPENING, less("CPU per handshake, to nchan", HANDSHAKE)],
        ),
        measurement("handshake-tls", "handshake -n 2000 --rounds 2", PUSH_TLS, Some(BARE_TLS), &[]),
        measurement("fanout-floor", "fanout -n 5000 -m 60", PUSH, Some(FLOOR), &[FANOUT]),
        measurement(
            "fanout-tls",
            "fanout -n 1000 -m 200",
            PUSH_TLS,
            Some(FLOOR_TLS),
            &[FANOUT_TLS],
        ),
        measurement(
            "fanout-nchan",
            "fanout -n 1000 -m 200",
            PUSH,
            nchan,
            &[
                less("CPU per delivery to 1,000, to nchan", DELIVERY),
                less("last of 1,000 deliveries, p99, to nchan", LAST_P99),
            ],
        ),
        measurement(
            "fanout-others",
            "fanout -n 5000 -m 40 --rate 4 --bystanders 200 --bystander-rate 200",
            PUSH,
            nchan,
            &[OTHERS, less("single messages during a fan-out, p99, to nchan", MEANWHILE)],
        ),
        measurement(
            "unicast-200-nchan",
            "unicast --rate 200",
            PUSH,
            nchan,
            &[
                SLOW[0],
                SLOW[1],
                SLOW[2],
                less("single messages at 200/s, p50, to nchan", SINGLE_P50),
                less("single messages at 200/s, p99, to nchan", SINGLE_P99),
                less("CPU per single message at 200/s, to nchan", MESSAGE),
            ],
        ),
        measurement(
            "unicast-5000-nchan",
            "unicast --rate 5000",
            PUSH,
            nchan,
            &[
                FAST[0],
                FAST[1],
                less("CPU per single message at 5,000/s, to nchan", MESSAGE),
                less("single messages at 5,000/s, p99, to nchan", SINGLE_P99),
            ],
        ),
        measurement("unicast-memory", "unicast --rate 5000", PUSH_MEMORY, Some(NCHAN_MEMORY), &[]),
        measurement("unicast-tls", "unicast --rate 200", PUSH_TLS, Some(PUSH), &[]),
        measurement(
            "publish-nchan",
            "publish --duration 8",
            PUSH,
            nchan,
            &[
                STORED[0],
                STORED[1],
                more("stored publishes per second, to nchan", RATE),
                less("CPU per stored publish, to nchan", PUBLISH),
            ],
        ),
        measurement("publish-memory", "publish --duration 8", PUSH_MEMORY, Some(NCHAN_MEMORY), &[]),
        measurement(
            "longpoll-nchan",
            "longpoll --rate 200",
            PUSH,
            nchan,
            &[
                less("CPU per long-polled message, to nchan", MESSAGE),
                less("long-polled messages, p99, to nchan", SINGLE_P99),
            ],
        ),
        measurement(
            "reconnect-nchan",
            "reconnect -n 10000",
            PUSH,
            nchan,
            &[
                RETURN,
                less("10,000 clients return, to nchan", "until all have everything"),
                less("CPU per returning client, to nchan", "CPU per client, all"),
            ],
        ),
        measurement(
            "mixed-nchan",
            "mixed -n 18000",
            PUSH,
            nchan,
            &[
                less("CPU per delivery of a portal's day, to nchan", DELIVERY),
                less("single messages of a portal's day, p99, to nchan", SINGLE_P99),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use clap::Parser as _;

    #[test]
    fn commands_are_understood_and_names_are_unique() {
        for plan in [quick(), full()] {
            let mut names: Vec<_> = plan.iter().map(|one| one.name).collect();
            for one in &plan {
                let words = std::iter::once("push-bench").chain(one.arguments.split(' '));
                options::Options::try_parse_from(words).unwrap();
            }
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), plan.len());
        }
    }

    #[test]
    fn the_short_plan_leaves_no_budget_out() {
        let own = |plan: Vec<Measurement>| -> Vec<&'static str> {
            let budgets = plan.into_iter().flat_map(|one| one.budgets).map(|budget| budget.what);
            let mut own: Vec<_> = budgets.filter(|what| !what.ends_with("to nchan")).collect();
            own.sort_unstable();
            own
        };
        assert_eq!(own(quick()), own(full()));
    }
}
