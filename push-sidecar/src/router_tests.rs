use super::*;

const START: u64 = 1_800_000_000;

fn mid(n: u64) -> Mid {
    Mid::new(START, n)
}

fn key(n: u8) -> ChannelKey {
    ChannelKey::private([n; 16])
}

fn announced(n: u64, receivers: &[u8]) -> StoreEvent {
    let receivers = receivers.iter().map(|n| key(*n)).collect();
    StoreEvent::Announced(Announced { id: mid(n), receivers, outgoing: Bytes::from_static(b"x") })
}

/// What was sent: (link, counter, late, receivers); waiters as they were reached.
#[derive(Default)]
struct Record {
    sent: Vec<(LinkId, u64, bool, Vec<ChannelKey>)>,
    reached: Vec<&'static str>,
    overflown: Vec<LinkId>,
}

impl Outlet for Record {
    type Waiter = &'static str;

    fn deliver(&mut self, link: LinkId, id: Mid, late: bool, r: &[ChannelKey], _: &Bytes) {
        self.sent.push((link, id.counter(), late, r.to_vec()));
    }

    fn reached(&mut self, waiter: Self::Waiter) {
        self.reached.push(waiter);
    }

    fn overflow(&mut self, link: LinkId) {
        self.overflown.push(link);
    }
}

fn whole_at(position: u64) -> (Router<&'static str>, Record) {
    let (mut router, mut record) = (Router::new(250, 10_000), Record::default());
    router.event(0, StoreEvent::Restored { position: mid(position) }, &mut record);
    (router, record)
}

#[test]
fn a_message_goes_once_to_each_link_with_the_receivers_it_has() {
    let (mut router, mut record) = whole_at(0);
    let (a, b, c) = (router.add_link(false), router.add_link(false), router.add_link(false));
    router.subscribe(a, &[key(1), key(2)]);
    router.subscribe(b, &[key(2)]);
    router.subscribe(c, &[key(4)]);
    router.event(0, announced(1, &[2, 1, 3, 2]), &mut record);
    assert_eq!(record.sent, [(a, 1, false, vec![key(1), key(2)]), (b, 1, false, vec![key(2)])]);
    record.sent.clear();
    router.unsubscribe(a, &[key(1), key(2)]);
    router.remove_link(b);
    router.event(0, announced(2, &[1, 2, 3]), &mut record);
    assert!(record.sent.is_empty() && !router.is_subscribed(&key(2)));
}

#[test]
fn a_held_link_gets_nothing_until_it_is_live() {
    let (mut router, mut record) = whole_at(0);
    let link = router.add_link(true);
    router.subscribe(link, &[key(1)]);
    router.event(0, announced(1, &[1]), &mut record);
    assert!(record.sent.is_empty() && router.held_bytes(link) > 0);
    assert_eq!(router.take_held(link).iter().map(|d| d.id).collect::<Vec<_>>(), [mid(1)]);
    router.event(0, announced(2, &[1]), &mut record);
    assert_eq!(router.take_held(link).len(), 1);
    assert_eq!(router.held_bytes(link), 0);
    router.go_live(link);
    router.event(0, announced(3, &[1]), &mut record);
    assert_eq!(record.sent, [(link, 3, false, vec![key(1)])]);
}

#[test]
fn a_held_link_has_a_limit() {
    let (mut router, mut record) = whole_at(0);
    let link = router.add_link(true);
    router.subscribe(link, &[key(1)]);
    for n in 1.. {
        router.event(0, announced(n, &[1]), &mut record);
        if router.held_bytes(link) > 10_000 {
            break;
        }
        assert!(record.overflown.is_empty());
    }
    assert_eq!(record.overflown, [link]);
}

#[test]
fn waiters_are_reached_behind_what_they_wait_for() {
    let (mut router, mut record) = whole_at(5);
    router.wait_for(0, mid(5), "at once", &mut record);
    router.wait_for(0, mid(7), "seven", &mut record);
    router.wait_for(0, mid(6), "six", &mut record);
    assert_eq!(record.reached, ["at once"]);
    router.event(0, announced(6, &[]), &mut record);
    assert_eq!(record.reached, ["at once", "six"]);
    // 7 was given out, but nobody announces it.
    let gap = router.poll(250).expect("a gap");
    router.recovered(gap, Vec::new(), &mut record);
    assert_eq!(record.reached, ["at once", "six", "seven"]);
}

#[test]
fn nothing_passes_and_nobody_is_reached_while_the_stream_is_lost() {
    let (mut router, mut record) = whole_at(0);
    let link = router.add_link(false);
    router.subscribe(link, &[key(1)]);
    router.event(0, StoreEvent::Lost, &mut record);
    router.wait_for(0, mid(2), "two", &mut record);
    router.event(0, announced(2, &[1]), &mut record);
    assert_eq!(router.deadline(), None);
    assert!(record.sent.is_empty() && record.reached.is_empty());
    let gap = router.event(9, StoreEvent::Restored { position: mid(2) }, &mut record);
    let gap = gap.expect("a gap");
    assert_eq!((gap.after, gap.upto), (mid(0), mid(2)));
    let StoreEvent::Announced(one) = announced(1, &[1]) else { unreachable!() };
    router.recovered(gap, vec![one], &mut record);
    assert_eq!(record.sent.iter().map(|s| s.1).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(record.reached, ["two"]);
}
