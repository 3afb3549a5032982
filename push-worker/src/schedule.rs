//! When sessions are due: pings, the end of polls, the end of closing.
//!
//! All sessions of a list wait for the same interval, so a list is in order of time by appending,
//! and a session leaves it in constant time. Nothing is allocated per session.

use crate::session::Session;
use crate::slab::{NIL, Slab};

#[derive(Debug)]
struct List {
    interval: u64,
    first: u32,
    last: u32,
}

/// The lists; their links are in the sessions.
#[derive(Debug, Default)]
pub struct Schedule {
    lists: Vec<List>,
}

impl Schedule {
    /// The list for an interval in milliseconds.
    pub fn list(&mut self, interval: u64) -> u16 {
        let found = self.lists.iter().position(|list| list.interval == interval);
        found.unwrap_or_else(|| {
            self.lists.push(List { interval, first: NIL, last: NIL });
            self.lists.len() - 1
        }) as u16
    }

    /// Makes a session due one interval of `list` from now, whatever it was due for before.
    pub fn put(&mut self, sessions: &mut Slab<Session>, index: u32, list: u16, now: u64) {
        self.take(sessions, index);
        let ends = &mut self.lists[usize::from(list)];
        let earlier = ends.last;
        if let Some(session) = sessions.get_mut(index) {
            session.list = list;
            session.due = now + ends.interval;
            session.earlier = earlier;
            session.later = NIL;
        }
        ends.last = index;
        match sessions.get_mut(earlier) {
            Some(neighbour) => neighbour.later = index,
            None => ends.first = index,
        }
    }

    /// Takes a session out of its list, if it is in one.
    pub fn take(&mut self, sessions: &mut Slab<Session>, index: u32) {
        let Some(session) = sessions.get_mut(index) else {
            return;
        };
        let (earlier, later) = (session.earlier, session.later);
        let Some(ends) = self.lists.get_mut(usize::from(session.list)) else {
            return;
        };
        session.list = u16::MAX;
        session.earlier = NIL;
        session.later = NIL;
        match sessions.get_mut(earlier) {
            Some(neighbour) => neighbour.later = later,
            None => ends.first = later,
        }
        match sessions.get_mut(later) {
            Some(neighbour) => neighbour.earlier = earlier,
            None => ends.last = earlier,
        }
    }

    /// A session that is due.
    pub fn due(&self, sessions: &Slab<Session>, now: u64) -> Option<u32> {
        let mut firsts = self.lists.iter().map(|list| list.first);
        firsts.find(|&first| sessions.get(first).is_some_and(|session| session.due <= now))
    }

    /// When the next session is due.
    pub fn next(&self, sessions: &Slab<Session>) -> Option<u64> {
        self.lists.iter().filter_map(|list| sessions.get(list.first)).map(|s| s.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Kind;
    use crate::{Format, SettingsId};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn sessions_come_due_in_order(steps in proptest::collection::vec((0u32..8, 0u8..4, 0u64..50), 1..200)) {
            let mut sessions = Slab::new();
            for _ in 0..8 {
                sessions.insert(Session::new(0, Kind::Poll, SettingsId(0), Format::Text));
            }
            let mut schedule = Schedule::default();
            let lists = [schedule.list(10), schedule.list(25), schedule.list(10)];
            prop_assert_eq!(lists[0], lists[2]);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (index, what, wait) in steps {
                match what {
                    0 => {
                        schedule.take(&mut sessions, index);
                        model.remove(&index);
                    }
                    1 | 2 => {
                        schedule.put(&mut sessions, index, lists[usize::from(what - 1)], now);
                        model.insert(index, now + [10, 25][usize::from(what - 1)]);
                    }
                    _ => {
                        now += wait;
                        while let Some(due) = schedule.due(&sessions, now) {
                            prop_assert!(model.remove(&due).is_some_and(|at| at <= now));
                            schedule.take(&mut sessions, due);
                        }
                    }
                }
                prop_assert!(model.values().all(|&at| at > now) || what != 3);
                prop_assert_eq!(schedule.next(&sessions), model.values().min().copied());
            }
        }
    }
}
