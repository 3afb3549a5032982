use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const HOLD: Millis = 250;
const START: u64 = 1_800_000_000;

fn mid(n: u64) -> Mid {
    Mid::new(START, n)
}

fn announced(id: Mid) -> Announced {
    Announced { id, receivers: Vec::new(), outgoing: Bytes::new() }
}

/// A sequencer with a record of what it passed on.
struct Rig {
    sequencer: Sequencer,
    passed: Vec<(Mid, bool)>,
}

impl Rig {
    fn at(position: u64) -> Self {
        let mut rig = Self { sequencer: Sequencer::new(HOLD), passed: Vec::new() };
        assert_eq!(rig.restored(mid(position)), None);
        rig
    }

    fn offer_id(&mut self, now: Millis, id: Mid) {
        let passed = &mut self.passed;
        self.sequencer.offer(now, announced(id), &mut |a, late| passed.push((a.id, late)));
    }

    fn offer(&mut self, now: Millis, n: u64) {
        self.offer_id(now, mid(n));
    }

    fn restored(&mut self, position: Mid) -> Option<Gap> {
        let passed = &mut self.passed;
        self.sequencer.restored(position, &mut |a, late| passed.push((a.id, late)))
    }

    fn recovered(&mut self, gap: Gap, found: &[u64]) {
        let found = found.iter().map(|n| announced(mid(*n))).collect();
        let passed = &mut self.passed;
        self.sequencer.recovered(gap, found, &mut |a, late| passed.push((a.id, late)));
    }

    fn numbers(&self) -> Vec<u64> {
        self.passed.iter().map(|(id, late)| id.counter() + u64::from(*late) * 1000).collect()
    }
}

#[test]
fn contiguous_ids_pass_at_once() {
    let mut rig = Rig::at(10);
    for n in 11..15 {
        rig.offer(0, n);
    }
    assert_eq!(rig.numbers(), [11, 12, 13, 14]);
    assert_eq!(rig.sequencer.deadline(), None);
}

#[test]
fn a_gap_is_held_and_fills_in_order() {
    let mut rig = Rig::at(10);
    rig.offer(0, 12);
    rig.offer(1, 13);
    assert!(rig.passed.is_empty());
    assert_eq!(rig.sequencer.deadline(), Some(HOLD));
    rig.offer(2, 11);
    assert_eq!(rig.numbers(), [11, 12, 13]);
    assert_eq!(rig.sequencer.deadline(), None);
}

#[test]
fn a_gap_held_too_long_is_asked_for_then_left_behind() {
    let mut rig = Rig::at(10);
    rig.offer(0, 13);
    assert_eq!(rig.sequencer.poll(HOLD - 1), None);
    let gap = rig.sequencer.poll(HOLD).expect("a gap");
    assert_eq!((gap.after, gap.upto), (mid(10), mid(13)));
    rig.offer(HOLD, 14);
    assert!(rig.passed.is_empty(), "held while the store is asked");
    rig.recovered(gap, &[12]);
    assert_eq!(rig.numbers(), [12, 13, 14]);
    rig.offer(HOLD + 1, 11);
    rig.offer(HOLD + 1, 12);
    assert_eq!(rig.numbers(), [12, 13, 14, 1011], "11 is late, 12 was passed before");
}

#[test]
fn an_expected_id_that_never_comes_is_given_up() {
    let mut rig = Rig::at(10);
    rig.sequencer.expect(0, mid(12));
    assert!(!rig.sequencer.has_passed(mid(12)));
    let gap = rig.sequencer.poll(HOLD).expect("a gap");
    rig.recovered(gap, &[]);
    assert!(rig.sequencer.has_passed(mid(12)));
    rig.offer(HOLD, 13);
    rig.offer(HOLD, 12);
    assert_eq!(rig.numbers(), [13, 1012]);
}

#[test]
fn each_id_is_held_from_its_own_arrival() {
    let mut rig = Rig::at(10);
    rig.offer(0, 12);
    rig.offer(200, 14);
    let gap = rig.sequencer.poll(HOLD).expect("a gap");
    assert_eq!(gap.upto, mid(12));
    rig.recovered(gap, &[]);
    assert_eq!(rig.numbers(), [12]);
    assert_eq!(rig.sequencer.deadline(), Some(200 + HOLD));
    rig.offer(300, 13);
    assert_eq!(rig.numbers(), [12, 13, 14]);
}

#[test]
fn nothing_passes_while_the_stream_is_lost() {
    let mut rig = Rig::at(10);
    rig.offer(0, 11);
    rig.sequencer.lost();
    rig.offer(1, 14);
    rig.offer(1, 16);
    assert_eq!(rig.numbers(), [11]);
    let gap = rig.restored(mid(15)).expect("a gap");
    assert_eq!((gap.after, gap.upto), (mid(11), mid(15)));
    rig.recovered(gap, &[12, 14, 15]);
    assert_eq!(rig.numbers(), [11, 12, 14, 15, 16]);
}

#[test]
fn an_answer_to_an_earlier_question_is_ignored() {
    let mut rig = Rig::at(10);
    rig.sequencer.lost();
    let first = rig.restored(mid(12)).expect("a gap");
    rig.sequencer.lost();
    rig.recovered(first, &[11]);
    assert!(rig.passed.is_empty());
    let second = rig.restored(mid(13)).expect("a gap");
    rig.recovered(second, &[11, 12, 13]);
    assert_eq!(rig.numbers(), [11, 12, 13]);
}

#[test]
fn what_was_announced_before_the_first_position_is_no_business_of_ours() {
    let mut rig = Rig { sequencer: Sequencer::new(HOLD), passed: Vec::new() };
    for n in [9, 10, 11] {
        rig.offer(0, n);
    }
    assert_eq!(rig.restored(mid(10)), None);
    assert_eq!(rig.numbers(), [11]);
}

#[test]
fn an_emptied_store_goes_on_with_a_new_start_date() {
    let mut rig = Rig::at(10);
    rig.offer_id(0, Mid::new(START + 5, 1));
    rig.offer_id(0, Mid::new(START + 5, 2));
    assert_eq!(rig.passed.len(), 2);
    rig.offer_id(0, mid(11));
    assert_eq!(rig.passed.last(), Some(&(mid(11), true)));
}

#[test]
fn ids_of_a_process_that_begins_anew_are_news() {
    let mut rig = Rig::at(10);
    rig.offer(0, 11);
    rig.sequencer.expect(0, mid(14));
    let gap = rig.sequencer.poll(HOLD).expect("a gap");
    rig.recovered(gap, &[12, 14]);
    for n in [1, 2, 11, 12] {
        rig.offer(HOLD, n);
    }
    assert_eq!(rig.numbers(), [11, 12, 14, 1001, 1002, 1011], "12 may have been announced slowly");
    rig.offer(HOLD, 12);
    assert_eq!(rig.numbers().last(), Some(&1012), "but only once");
}

proptest! {
    /// Whatever order announcements come in, as long as none is later than the hold time, they
    /// pass sorted, each once, none flagged.
    #[test]
    fn permutations_within_the_window_come_out_sorted(
        order in Just((11_u64..75).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut rig = Rig::at(10);
        for n in &order {
            rig.offer(100, *n);
            prop_assert_eq!(rig.sequencer.poll(100 + HOLD - 1), None);
        }
        prop_assert_eq!(rig.numbers(), (11..75).collect::<Vec<_>>());
        prop_assert_eq!(rig.sequencer.deadline(), None);
        prop_assert_eq!(rig.sequencer.held(), 0);
    }

    /// Nothing is lost and nothing comes twice, whatever breaks: gaps given up, streams lost, stores
    /// that answer with some or all of what is missing.
    #[test]
    fn every_announced_id_passes_exactly_once(
        order in Just((1_u64..60).collect::<Vec<_>>()).prop_shuffle(),
        steps in proptest::collection::vec((0_u8..6, 0_u64..200, any::<u64>()), 60),
    ) {
        let mut rig = Rig::at(0);
        let mut now = 0;
        let mut top = 0;
        let mut asked: Option<Gap> = None;
        for (n, (kind, wait, known)) in order.iter().zip(steps) {
            now += wait;
            rig.offer(now, *n);
            top = top.max(*n);
            match kind {
                0 => { rig.sequencer.lost(); asked = None; }
                1 if !rig.sequencer.is_whole() => asked = rig.restored(mid(top)),
                2 => rig.sequencer.expect(now, mid(top)),
                _ => {}
            }
            asked = rig.sequencer.poll(now).or(asked);
            if let Some(gap) = asked && kind > 3 {
                // The store knows some of the ids; those are announced as well, before or after.
                let found: Vec<u64> = (gap.after.counter() + 1..=gap.upto.counter())
                    .filter(|n| known >> (n % 64) & 1 == 1 && order.contains(n))
                    .collect();
                rig.recovered(gap, &found);
                asked = None;
            }
        }
        rig.sequencer.lost();
        if let Some(gap) = rig.restored(mid(100)) {
            rig.recovered(gap, &[]);
        }
        let mut ids: Vec<u64> = rig.passed.iter().map(|(id, _)| id.counter()).collect();
        let in_order: Vec<u64> =
            rig.passed.iter().filter(|(_, late)| !late).map(|(id, _)| id.counter()).collect();
        prop_assert!(in_order.is_sorted());
        ids.sort_unstable();
        prop_assert_eq!(ids, (1..60).collect::<Vec<_>>());
    }
}
