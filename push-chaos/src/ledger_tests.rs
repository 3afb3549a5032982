//! The ledger must be able to say no.

use super::*;

const ALL: Audience = Audience { first: 0, step: 1, count: 3 };

fn mid(number: u8) -> [u8; 13] {
    let mut mid = [0; 13];
    mid[12] = number;
    mid
}

/// Three subscribers, and one message to all of them with this answer.
fn ledger(answer: Answer) -> Ledger {
    let mut ledger = Ledger::new(3);
    assert_eq!(ledger.publish(ALL, false), 0);
    ledger.answered(0, answer);
    ledger
}

fn close(mut ledger: Ledger, promise: Promise) -> Figures {
    let (figures, examples) = ledger.close(promise);
    assert_eq!(figures.is_good(), examples.is_empty(), "{figures:?} {examples:?}");
    figures
}

#[test]
fn once_each_in_order_is_good() {
    let mut ledger = ledger(Answer::Stored);
    let second = ledger.publish(Audience::one(1), false);
    for (subscriber, number) in [(0, 0), (1, 0), (2, 0), (1, second)] {
        assert!(number == second || !ledger.settled(Promise::All));
        ledger.received(subscriber, number, mid(number as u8 + 1));
    }
    // The answer may come behind the message.
    ledger.answered(second, Answer::Stored);
    assert!(ledger.settled(Promise::All));
    let figures = close(ledger, Promise::All);
    assert!(figures.is_good());
    assert_eq!((figures.stored, figures.delivered), (2, 4));
}

#[test]
fn what_one_did_not_get_is_lost() {
    let mut ledger = ledger(Answer::Stored);
    ledger.received(0, 0, mid(1));
    ledger.received(2, 0, mid(1));
    assert_eq!(ledger.awaited(), 1);
    assert!(!ledger.settled(Promise::All));
    assert_eq!(close(ledger, Promise::All).lost, 1);
}

#[test]
fn what_nobody_got_is_lost_only_if_it_was_answered_200() {
    let lost = |answer| close(ledger(answer), Promise::All).lost;
    let all = [Answer::Stored, Answer::Refused, Answer::Unknown, Answer::None];
    assert_eq!(all.map(lost), [3, 0, 0, 0]);
}

#[test]
fn what_may_have_been_stored_reaches_all_or_nobody() {
    for answer in [Answer::Unknown, Answer::None] {
        let mut ledger = ledger(answer);
        ledger.received(0, 0, mid(1));
        assert_eq!(close(ledger, Promise::All).lost, 2);
    }
}

#[test]
fn what_was_refused_must_not_come() {
    let mut ledger = ledger(Answer::Refused);
    for subscriber in 0..3 {
        ledger.received(subscriber, 0, mid(1));
    }
    let figures = close(ledger, Promise::All);
    assert_eq!((figures.ghosts, figures.lost), (1, 0));
    assert!(!figures.is_good());
}

#[test]
fn what_comes_again_is_doubled_under_whatever_id() {
    for second in [1, 2] {
        let mut ledger = ledger(Answer::Stored);
        for subscriber in 0..3 {
            ledger.received(subscriber, 0, mid(1));
        }
        ledger.received(1, 0, mid(second));
        let figures = close(ledger, Promise::All);
        assert_eq!((figures.doubled, figures.delivered), (1, 3));
        assert!(!figures.is_good());
    }
}

#[test]
fn ids_rise_at_each_subscriber() {
    let mut ledger = ledger(Answer::Stored);
    let second = ledger.publish(ALL, false);
    ledger.answered(second, Answer::Stored);
    for subscriber in 0..3 {
        let order = if subscriber == 1 { [(second, 2), (0, 1)] } else { [(0, 1), (second, 2)] };
        for (number, id) in order {
            ledger.received(subscriber, number, mid(id));
        }
    }
    assert_eq!(close(ledger, Promise::All).misordered, 1);
}

#[test]
fn ids_rise_from_stretch_to_stretch() {
    let mut ledger = Ledger::new(1);
    let one = ledger.publish(Audience::one(0), false);
    ledger.answered(one, Answer::Stored);
    ledger.received(0, one, mid(7));
    assert!(ledger.close(Promise::All).0.is_good());
    let two = ledger.publish(Audience::one(0), false);
    assert_ne!(one, two);
    ledger.answered(two, Answer::Stored);
    ledger.received(0, two, mid(7));
    assert_eq!(close(ledger, Promise::All).misordered, 1);
}

#[test]
fn a_message_has_one_id() {
    let mut ledger = ledger(Answer::Stored);
    for subscriber in 0..3 {
        ledger.received(subscriber, 0, mid(1 + u8::from(subscriber == 2)));
    }
    assert_eq!(close(ledger, Promise::All).wrong, 1);
}

#[test]
fn strangers_rubbish_and_latecomers_are_wrong() {
    let mut ledger = Ledger::new(3);
    let one = ledger.publish(Audience { first: 0, step: 2, count: 2 }, false);
    ledger.answered(one, Answer::None);
    ledger.received(1, one, mid(1));
    ledger.received(0, 99, mid(2));
    ledger.spoiled(2, "rubbish");
    let (figures, examples) = ledger.close(Promise::All);
    assert_eq!((figures.wrong, examples.len()), (3, 3));
    ledger.received(0, one, mid(3));
    assert_eq!(close(ledger, Promise::All).wrong, 1);
}

#[test]
fn who_was_away_has_missed_what_is_not_kept_and_nothing_else() {
    let mut ledger = Ledger::new(3);
    for live_only in [false, true] {
        let number = ledger.publish(ALL, live_only);
        ledger.answered(number, Answer::Stored);
        ledger.received(0, number, mid(number as u8 + 1));
    }
    ledger.away(2);
    // Number 1 has missed both, number 2 the one that is kept.
    assert_eq!(close(ledger, Promise::All).lost, 3);
}

#[test]
fn without_history_only_those_who_stayed_are_owed() {
    let mut ledger = ledger(Answer::Stored);
    ledger.received(0, 0, mid(1));
    ledger.away(1);
    ledger.polls(2);
    assert!(!ledger.settled(Promise::All));
    assert!(ledger.settled(Promise::Connected));
    assert!(close(ledger, Promise::Connected).is_good());
}

#[test]
fn figures_add_up() {
    let mut sum = close(ledger(Answer::Refused), Promise::All);
    sum.add(&close(ledger(Answer::Stored), Promise::All));
    assert_eq!((sum.stored, sum.refused, sum.lost), (1, 1, 3));
    assert!(!sum.is_good());
}
