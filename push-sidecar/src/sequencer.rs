//! Puts announcements into id order. Pure: time is passed in, effects are called out.
//!
//! With stores that allocate and announce in one step, announcements come in order and pass at
//! once. Neighbours that announce in a step of its own (the reference, PROTOCOL.md, D18) leave gaps
//! that fill a little later, or never. So a gap is held for a moment, then the store is asked what
//! belongs into it, and the sequence goes on; what turns up after that is passed on flagged late.
//!
//! Nothing is announced twice, so only what the store was asked for can come again: its announcement
//! may have been slow. Any other id below the last one is news, however low: behind a Redis that was
//! emptied, reference processes begin anew (PROTOCOL.md, D17).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use push_protocol::Mid;

use crate::store::Announced;

/// Milliseconds on a clock that never goes back; only differences count.
pub type Millis = u64;

/// Ids that came from the store and are remembered until they are announced as well.
const MAX_FOUND: usize = 65_536;

/// A stretch of ids the store is to be asked about: `after < id <= upto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The last id that was passed on.
    pub after: Mid,
    /// Passed on when the answer is in.
    pub upto: Mid,
    /// Which question this is; an answer to an earlier one is ignored.
    pub generation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The stream is broken, or not up yet: everything is held.
    Paused,
    /// The stream is whole and the store is being asked about a gap: everything is held.
    Asking(Gap),
    /// Contiguous announcements pass at once.
    Running,
}

/// See the module.
pub struct Sequencer {
    hold: Millis,
    state: State,
    /// The last id passed on; `None` until the stream was whole for the first time.
    passed: Option<Mid>,
    held: BTreeMap<Mid, Announced>,
    /// Ids the sequence waits for or holds, in the order of their arrival. May name ids that have
    /// been passed meanwhile.
    waiting: VecDeque<(Millis, Mid)>,
    /// Passed on as the store's answer, and not announced so far.
    found: BTreeSet<Mid>,
    generation: u64,
}

impl Sequencer {
    /// Waits for the stream. `hold`: how long a gap is held before the store is asked.
    pub fn new(hold: Millis) -> Self {
        Self {
            hold,
            state: State::Paused,
            passed: None,
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            found: BTreeSet::new(),
            generation: 0,
        }
    }

    /// The last id passed on; `None` until the stream was whole for the first time.
    pub fn passed(&self) -> Option<Mid> {
        self.passed
    }

    /// Whether everything up to `id` has been passed on.
    pub fn has_passed(&self, id: Mid) -> bool {
        self.passed.is_some_and(|passed| passed >= id)
    }

    /// Whether the announcement stream is whole.
    pub fn is_whole(&self) -> bool {
        self.state != State::Paused
    }

    /// Whether nothing is missing, as far as is known.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// How many announcements are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// An announcement arrived.
    pub fn offer(
        &mut self,
        now: Millis,
        announced: Announced,
        pass: &mut dyn FnMut(Announced, bool),
    ) {
        let id = announced.id;
        let (State::Running, Some(passed)) = (self.state, self.passed) else {
            return self.hold(now, announced);
        };
        if id <= passed {
            if !self.found.remove(&id) {
                pass(announced, true);
            }
        } else if self.held.is_empty() && follows(passed, id) {
            self.passed = Some(id);
            pass(announced, false);
        } else {
            self.hold(now, announced);
            self.drain(pass);
        }
    }

    /// Somebody learned that ids up to `id` have been given out: they are waited for like a gap.
    pub fn expect(&mut self, now: Millis, id: Mid) {
        if !self.has_passed(id) {
            self.waiting.push_back((now, id));
        }
    }

    /// Announcements may be missing from here on.
    pub fn lost(&mut self) {
        self.state = State::Paused;
    }

    /// The stream is whole again, and everything up to `position` was announced before. Answers
    /// what the store is to be asked about, if anything may have been missed.
    pub fn restored(
        &mut self,
        position: Mid,
        pass: &mut dyn FnMut(Announced, bool),
    ) -> Option<Gap> {
        let Some(passed) = self.passed else {
            // Nobody has subscribed yet: the sequence begins here.
            self.passed = Some(position);
            self.held = self.held.split_off(&position);
            self.held.remove(&position);
            self.state = State::Running;
            self.drain(pass);
            return None;
        };
        if position > passed {
            return Some(self.ask(passed, position));
        }
        self.state = State::Running;
        self.drain(pass);
        None
    }

    /// When [`Self::poll`] is due.
    pub fn deadline(&mut self) -> Option<Millis> {
        if self.state != State::Running {
            return None;
        }
        while self.waiting.front().is_some_and(|(_, id)| self.has_passed(*id)) {
            self.waiting.pop_front();
        }
        self.waiting.front().map(|(arrived, _)| arrived + self.hold)
    }

    /// Answers the gap that has been held long enough, if there is one.
    pub fn poll(&mut self, now: Millis) -> Option<Gap> {
        if self.deadline()? > now {
            return None;
        }
        let mut upto = Mid::ZERO;
        while let Some(&(arrived, id)) = self.waiting.front() {
            if arrived + self.hold > now {
                break;
            }
            upto = upto.max(id);
            self.waiting.pop_front();
        }
        let passed = self.passed?;
        (upto > passed).then(|| self.ask(passed, upto))
    }

    /// The store's answer to a gap: what it knows of it, ascending. Everything up to the gap's end
    /// is passed on, and ids that turn up later are late.
    pub fn recovered(
        &mut self,
        gap: Gap,
        found: Vec<Announced>,
        pass: &mut dyn FnMut(Announced, bool),
    ) {
        if self.state != State::Asking(gap) {
            return;
        }
        for announced in found {
            // What was announced names all receivers; it is preferred.
            if announced.id > gap.after
                && announced.id <= gap.upto
                && let Entry::Vacant(entry) = self.held.entry(announced.id)
            {
                self.found.insert(announced.id);
                entry.insert(announced);
            }
        }
        while self.found.len() > MAX_FOUND {
            self.found.pop_first();
        }
        self.state = State::Running;
        while let Some(first) = self.pop_held(|id| id <= gap.upto) {
            self.pass_over(first, pass);
        }
        self.passed = self.passed.max(Some(gap.upto));
        self.drain(pass);
    }

    fn ask(&mut self, after: Mid, upto: Mid) -> Gap {
        self.generation += 1;
        let gap = Gap { after, upto, generation: self.generation };
        self.state = State::Asking(gap);
        gap
    }

    fn hold(&mut self, now: Millis, announced: Announced) {
        self.waiting.push_back((now, announced.id));
        self.held.entry(announced.id).or_insert(announced);
    }

    /// Passes on what is held and contiguous.
    fn drain(&mut self, pass: &mut dyn FnMut(Announced, bool)) {
        while let Some(passed) = self.passed
            && let Some(first) = self.pop_held(|id| id <= passed || follows(passed, id))
        {
            self.pass_over(first, pass);
        }
        if self.held.is_empty() && self.waiting.len() > 1024 {
            let passed = self.passed;
            self.waiting.retain(|(_, id)| Some(*id) > passed);
        }
    }

    /// Takes the lowest held announcement, if its id will do.
    fn pop_held(&mut self, will_do: impl FnOnce(Mid) -> bool) -> Option<Announced> {
        let first = self.held.first_entry()?;
        will_do(*first.key()).then(|| first.remove())
    }

    /// Passes one held announcement on.
    fn pass_over(&mut self, announced: Announced, pass: &mut dyn FnMut(Announced, bool)) {
        let id = announced.id;
        let late = self.has_passed(id);
        if late && self.found.remove(&id) {
            return;
        }
        self.passed = self.passed.max(Some(id));
        pass(announced, late);
    }
}

/// Whether no id can lie between the two.
fn follows(passed: Mid, id: Mid) -> bool {
    if passed.start() == id.start() {
        id.counter() == passed.counter() + 1
    } else {
        // A store that was emptied begins anew.
        id.start() > passed.start() && id.counter() == 1
    }
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
