//! How Redis does, as far as the store's own work shows.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use push_metrics::Histogram;
use tokio::time::Instant;

use crate::health::Condition;

/// Written to by those who talk to Redis.
pub struct Watch {
    /// Why the last command could not be carried out, if it was Redis' or the way's fault.
    commands: RefCell<Option<String>>,
    /// Why Redis takes no writes, or why that is not known.
    writes: RefCell<Option<String>>,
    /// Why there is no subscription.
    subscription: RefCell<Option<String>>,
    /// When a probe was last seen.
    seen: Cell<Option<Instant>>,
    /// How long commands took.
    times: RefCell<Histogram>,
}

impl Watch {
    /// Nothing is known yet.
    pub fn new() -> Self {
        let not_yet = || RefCell::new(Some("not connected yet".to_owned()));
        Self {
            commands: not_yet(),
            writes: not_yet(),
            subscription: not_yet(),
            seen: Cell::default(),
            times: RefCell::default(),
        }
    }

    /// A command was answered after this time.
    pub fn took(&self, time: Duration) {
        self.times.borrow_mut().record(time.as_micros() as u64);
    }

    /// How long commands took.
    pub fn command_times(&self) -> Histogram {
        *self.times.borrow()
    }

    /// A command was answered (`None`), or could not be sent or was not.
    pub fn command(&self, problem: Option<String>) {
        // The usual case costs a look.
        if problem.is_some() || self.commands.borrow().is_some() {
            *self.commands.borrow_mut() = problem;
        }
    }

    /// What came of the last write that was tried. A write that could not be tried proves nothing
    /// good: what was true before the trouble is not told as true now.
    pub fn write(&self, problem: Option<String>) {
        *self.writes.borrow_mut() = problem;
    }

    /// A probe came back.
    pub fn probe(&self) {
        self.seen.set(Some(Instant::now()));
        *self.subscription.borrow_mut() = None;
    }

    /// The subscription has ended, or did not come about.
    pub fn lost(&self, reason: &str) {
        *self.subscription.borrow_mut() = Some(reason.to_owned());
    }

    /// The three parts. `patience`: how old the last probe may be.
    pub fn conditions(&self, patience: Duration) -> Vec<Condition> {
        let commands = match &*self.commands.borrow() {
            None => Condition::works("redis commands", "answered"),
            Some(problem) => Condition::fails(
                "redis commands",
                problem,
                known_remedy(problem).unwrap_or(
                    "see that Redis runs, that redis.url names it, and that this user may use its socket",
                ),
            ),
        };
        let writes = match &*self.writes.borrow() {
            None => Condition::works("redis writes", "taken"),
            Some(problem) => Condition::fails(
                "redis writes",
                problem,
                known_remedy(problem)
                    .unwrap_or("it is tried on; see the other parts, and Redis' log"),
            ),
        };
        let age = self.seen.get().map(|seen| seen.elapsed());
        let problem = match (&*self.subscription.borrow(), age) {
            (Some(reason), _) => Some(reason.clone()),
            (None, Some(age)) if age <= patience => None,
            (None, age) => {
                let age = age.unwrap_or_default().as_secs();
                Some(format!("no probe was seen for {age} s"))
            }
        };
        let announcements = match problem {
            None => Condition::works(
                "announcements",
                format!("a probe was seen {} ms ago", age.unwrap_or_default().as_millis()),
            ),
            Some(problem) => Condition::fails(
                "announcements",
                problem,
                "what is published now is delivered when it is whole again, by itself; if it is not soon, \
                 look at Redis' log, and at client-output-buffer-limit pubsub",
            ),
        };
        vec![commands, writes, announcements]
    }
}

/// What to do about an error of Redis, as far as its text tells.
pub fn known_remedy(problem: &str) -> Option<&'static str> {
    let remedies = [
        ("READONLY", "this Redis is a replica: point redis.url at its master"),
        ("ReadOnly", "this Redis is a replica: point redis.url at its master"),
        ("OOM", "give Redis more maxmemory, with maxmemory-policy noeviction"),
        ("MISCONF", "Redis cannot save: look at its log and at its disk"),
        ("NOREPLICAS", "Redis waits for replicas: see min-replicas-to-write"),
        ("LOADING", "Redis reads its data; it takes a while"),
        ("BusyLoading", "Redis reads its data; it takes a while"),
        ("BUSY", "a script does not end: SCRIPT KILL ends it"),
    ];
    remedies.iter().find(|(name, _)| problem.contains(name)).map(|(_, remedy)| *remedy)
}
