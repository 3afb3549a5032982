//! What every store does, whatever it is made of. Run for memory and for a real Redis.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use common::redis_server::RedisServer;
use common::{PATIENCE, item, private, public, run, token};
use push_protocol::outgoing::{OutgoingView, with_id};
use push_protocol::{ChannelKey, Mid};
use push_sidecar::store::memory::MemoryStore;
use push_sidecar::store::memory::queues::Queues;
use push_sidecar::store::redis::{RedisOptions, RedisStore, layout};
use push_sidecar::store::{Announced, Caps, Events, Store, StoreEvent};

/// A store with a way to let messages expire.
struct Rig<S> {
    store: S,
    events: Events,
    expire: Box<dyn Fn(Mid, u64)>,
}

impl<S: Store> Rig<S> {
    async fn next(&mut self) -> StoreEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("no event comes").expect("the stream goes on")
    }

    async fn announced(&mut self) -> Announced {
        match self.next().await {
            StoreEvent::Announced(announced) => announced,
            other => panic!("not an announcement: {other:?}"),
        }
    }

    async fn whole(&mut self) -> Mid {
        match self.next().await {
            StoreEvent::Restored { position } => position,
            other => panic!("not whole: {other:?}"),
        }
    }

    /// Publishes one message.
    async fn one(&self, seq: u64, expiry: u32, receivers: &[ChannelKey]) -> Mid {
        let ids = self.store.publish(token(seq), vec![item(expiry, receivers, "\"x\"")]).await;
        ids.expect("stored")[0]
    }

    async fn history(&self, receivers: &[ChannelKey], after: Mid) -> Vec<Mid> {
        let history = self.store.history(receivers, after, Caps::SUBSCRIBER).await.expect("read");
        assert!(history.messages.iter().map(|m| m.0).is_sorted());
        history.messages.into_iter().map(|m| m.0).collect()
    }
}

fn memory() -> Rig<MemoryStore> {
    let now = Rc::new(Cell::new(1_800_000_000_000_u64));
    let clock = Rc::clone(&now);
    let queues = Queues::new(now.get() * 1000, 64 << 20);
    let (store, events) = MemoryStore::with_clock(queues, 130, Box::new(move || clock.get()));
    let expire = Box::new(move |_, seconds: u64| now.set(now.get() + seconds * 1000));
    Rig { store, events, expire }
}

fn redis(server: Rc<RedisServer>) -> Rig<RedisStore> {
    let options = RedisOptions { url: server.url(), ..RedisOptions::default() };
    let (store, events) = RedisStore::open(&options).expect("a store");
    // A message whose time is over is one whose key is gone.
    let expire = Box::new(move |id, _| server.delete(&layout::message(id)));
    Rig { store, events, expire }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::run(async { super::$name(super::memory()).await }) })*
        }
        mod redis {
            use std::rc::Rc;
            $(#[test] fn $name() {
                let server = Rc::new(super::RedisServer::start());
                super::run(async { super::$name(super::redis(server)).await })
            })*
        }
    };
}

conformance! {
    ids_rise_and_announcements_come_in_order
    the_announcement_carries_receivers_and_message
    a_repeated_token_is_stored_once
    ids_that_a_repeated_token_does_not_need_are_the_next_ones
    concurrent_publishes_are_announced_in_id_order
    a_history_holds_what_is_kept_for_any_receiver
    a_history_is_as_of_the_last_id
    caps_count_what_is_alive
    the_newest_of_all_receivers_count
    an_expired_newest_gives_way_to_an_older_one
    live_only_messages_are_missed_but_no_history
    missed_names_just_the_receivers_asked_about
    missed_ends_where_it_is_told_to
    missed_does_not_need_the_log
    online_marks_are_set_and_taken_away
    nothing_is_asked_nothing_is_answered
}

async fn ids_rise_and_announcements_come_in_order<S: Store>(mut rig: Rig<S>) {
    let position = rig.whole().await;
    let items = (0..5).map(|_| item(60, &[private(1)], "\"x\"")).collect();
    let ids = rig.store.publish(token(1), items).await.expect("stored");
    assert!(ids[0] > position);
    assert!(
        ids.windows(2)
            .all(|w| w[1].counter() == w[0].counter() + 1 && w[1].start() == w[0].start())
    );
    let next = rig.one(2, 0, &[private(1)]).await;
    assert_eq!(next.counter(), ids[4].counter() + 1);
    for id in ids {
        assert_eq!(rig.announced().await.id, id);
    }
    assert_eq!(rig.announced().await.id, next);
    assert_eq!(rig.store.last_id().await, Ok(next));
}

async fn the_announcement_carries_receivers_and_message<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let receivers = [private(1), private(2), public(2)];
    let message = item(0, &receivers, "{\"text\":\"\u{44f}\"}");
    let id = rig.store.publish(token(1), vec![message.clone()]).await.expect("stored")[0];
    let mut announced = rig.announced().await;
    announced.receivers.sort_unstable();
    let outgoing = with_id(id, &message.rest).into();
    assert_eq!(announced, Announced { id, receivers: receivers.to_vec(), outgoing });
}

async fn a_repeated_token_is_stored_once<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let items = vec![item(60, &[private(1)], "1"), item(0, &[private(1)], "2")];
    let first = rig.store.publish(token(1), items.clone()).await.expect("stored");
    let again = rig.store.publish(token(1), items.clone()).await.expect("stored");
    assert_eq!(first, again);
    // Both on their way at the same time, too.
    let (a, b) = tokio::join!(
        rig.store.publish(token(2), items.clone()),
        rig.store.publish(token(2), items)
    );
    assert_eq!(a, b);
    let after = rig.one(3, 0, &[private(1)]).await;
    assert_eq!(after.counter(), first[0].counter() + 4);
    for expected in [first[0], first[1]] {
        assert_eq!(rig.announced().await.id, expected);
    }
    assert_eq!(rig.history(&[private(1)], Mid::ZERO).await.len(), 2);
}

async fn ids_that_a_repeated_token_does_not_need_are_the_next_ones<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let publish = |seq| {
        let items = (0..2).map(|_| item(60, &[private(1)], "\"x\"")).collect();
        rig.store.publish(token(seq), items)
    };
    let first = publish(1).await.expect("stored");
    // The first is alone in its call, the others share the next one.
    let (second, again, third) = tokio::join!(publish(2), publish(1), publish(3));
    assert_eq!(again.expect("stored"), first);
    let ids = [first, second.expect("stored"), third.expect("stored")].concat();
    assert!(ids.windows(2).all(|w| w[1].counter() == w[0].counter() + 1), "{ids:?}");
    for id in &ids {
        assert_eq!(rig.announced().await.id, *id);
    }
    let history = rig.store.history(&[private(1)], Mid::ZERO, Caps::SUBSCRIBER).await;
    let stored = history.expect("read").messages.into_iter();
    let named: Vec<Mid> = stored
        .map(|(id, outgoing)| {
            assert_eq!(OutgoingView::parse(&outgoing).map(|view| view.id), Some(id));
            id
        })
        .collect();
    assert_eq!(named, ids);
    let missed = rig.store.missed(vec![private(1)], Mid::ZERO, None).await.expect("read");
    assert_eq!(missed.messages.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
}

async fn concurrent_publishes_are_announced_in_id_order<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let receivers = [private(3)];
    let publishes = (0..300).map(|seq| rig.one(seq, u32::from(seq % 2 == 0) * 60, &receivers));
    let mut ids = futures_util::future::join_all(publishes).await;
    ids.sort_unstable();
    for id in ids {
        assert_eq!(rig.announced().await.id, id);
    }
}

async fn a_history_holds_what_is_kept_for_any_receiver<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let a = rig.one(1, 60, &[private(1)]).await;
    let b = rig.one(2, 60, &[public(1)]).await;
    let both = rig.one(3, 60, &[private(1), public(1)]).await;
    let _live = rig.one(4, 0, &[private(1)]).await;
    let _other = rig.one(5, 60, &[private(2)]).await;
    assert_eq!(rig.history(&[private(1)], Mid::ZERO).await, [a, both]);
    assert_eq!(rig.history(&[private(1), public(1)], Mid::ZERO).await, [a, b, both]);
    assert_eq!(rig.history(&[private(1), private(1)], a).await, [both]);
    assert_eq!(rig.history(&[private(1)], both).await, []);
    assert_eq!(rig.history(&[private(9)], Mid::ZERO).await, []);
    let read = rig.store.history(&[private(1)], a, Caps::SUBSCRIBER).await.expect("read");
    let rest = item(60, &[], "\"x\"").rest;
    assert_eq!(read.messages[0].1, with_id(both, &rest));
}

async fn a_history_is_as_of_the_last_id<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let last = rig.one(1, 0, &[private(2)]).await;
    let read = rig.store.history(&[private(1)], Mid::ZERO, Caps::SUBSCRIBER).await.expect("read");
    assert_eq!(read.as_of, last);
    assert!(read.messages.is_empty());
}

/// Defect D7 of the reference: one long-lived message behind many that have expired.
async fn caps_count_what_is_alive<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let long = rig.one(0, 600, &[private(1)]).await;
    let mut short = Vec::new();
    for seq in 1..=150 {
        short.push(rig.one(seq, 1, &[private(1)]).await);
    }
    assert_eq!(rig.history(&[private(1)], Mid::ZERO).await, short[50..]);
    (rig.expire)(short[0], 1);
    for id in &short[1..] {
        (rig.expire)(*id, 0);
    }
    assert_eq!(rig.history(&[private(1)], Mid::ZERO).await, [long]);
}

async fn the_newest_of_all_receivers_count<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let mut ids = Vec::new();
    for seq in 0..260 {
        ids.push(rig.one(seq, 60, &[private((seq % 3) as u8)]).await);
    }
    let all = [private(0), private(1), private(2)];
    assert_eq!(rig.history(&all, Mid::ZERO).await, ids[60..]);
    let caps = Caps { per_channel: 2, total: 5 };
    let read = rig.store.history(&all, Mid::ZERO, caps).await.expect("read");
    assert_eq!(read.messages.iter().map(|m| m.0).collect::<Vec<_>>(), ids[255..]);
}

/// Defect D24 of the reference.
async fn an_expired_newest_gives_way_to_an_older_one<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let older = rig.one(1, 60, &[private(1)]).await;
    let newest = rig.one(2, 5, &[private(2)]).await;
    let both = [private(1), private(2)];
    let read = rig.store.history(&both, Mid::ZERO, Caps::NEWEST).await.expect("read");
    assert_eq!(read.messages.last().map(|m| m.0), Some(newest));
    (rig.expire)(newest, 5);
    let read = rig.store.history(&both, Mid::ZERO, Caps::NEWEST).await.expect("read");
    assert_eq!(read.messages.last().map(|m| m.0), Some(older));
}

async fn live_only_messages_are_missed_but_no_history<S: Store>(mut rig: Rig<S>) {
    let position = rig.whole().await;
    let live = rig.one(1, 0, &[private(1)]).await;
    let kept = rig.one(2, 60, &[private(1)]).await;
    assert_eq!(rig.history(&[private(1)], Mid::ZERO).await, [kept]);
    let missed = rig.store.missed(vec![private(1)], position, None).await.expect("read");
    assert_eq!(missed.messages.iter().map(|m| m.id).collect::<Vec<_>>(), [live, kept]);
    assert_eq!(missed.as_of, kept);
    for missed in missed.messages {
        assert_eq!(missed, rig.announced().await);
    }
}

async fn missed_names_just_the_receivers_asked_about<S: Store>(mut rig: Rig<S>) {
    let position = rig.whole().await;
    let id = rig.one(1, 60, &[private(1), private(2), public(1)]).await;
    let _other = rig.one(2, 60, &[private(3)]).await;
    let asked = vec![private(2), public(1), private(7)];
    let mut missed = rig.store.missed(asked, position, None).await.expect("read").messages;
    assert_eq!(missed.len(), 1);
    missed[0].receivers.sort_unstable();
    assert_eq!((missed[0].id, &missed[0].receivers[..]), (id, &[private(2), public(1)][..]));
}

async fn missed_ends_where_it_is_told_to<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    let mut ids = Vec::new();
    for seq in 0..5 {
        ids.push(rig.one(seq, 60, &[private(1)]).await);
    }
    let missed = rig.store.missed(vec![private(1)], ids[0], Some(ids[3])).await.expect("read");
    assert_eq!(missed.messages.iter().map(|m| m.id).collect::<Vec<_>>(), ids[1..4]);
    assert_eq!(missed.as_of, ids[3]);
    let missed = rig.store.missed(vec![private(1)], ids[4], None).await.expect("read");
    assert!(missed.messages.is_empty());
}

/// After a while only what is kept for history can be made good.
async fn missed_does_not_need_the_log<S: Store>(mut rig: Rig<S>) {
    let position = rig.whole().await;
    let _before = rig.one(0, 0, &[private(1)]).await;
    let kept = rig.one(1, 600, &[private(1), public(4)]).await;
    let short = rig.one(2, 2, &[private(1)]).await;
    (rig.expire)(short, 61);
    let missed = rig.store.missed(vec![private(1), public(4)], position, None).await.expect("read");
    let last = missed.messages.last().expect("a message");
    assert_eq!(last.id, kept);
    assert!(missed.messages.iter().all(|m| m.id != short));
}

async fn online_marks_are_set_and_taken_away<S: Store>(mut rig: Rig<S>) {
    rig.whole().await;
    rig.store.mark_online(&[private(1), public(2)]).await.expect("marked");
    let asked = [private(1), public(1), public(2), private(2)];
    assert_eq!(rig.store.online(&asked).await, Ok(vec![true, false, true, false]));
    rig.store.clear_online(&[private(1)]).await.expect("cleared");
    assert_eq!(rig.store.online(&asked).await, Ok(vec![false, false, true, false]));
}

async fn nothing_is_asked_nothing_is_answered<S: Store>(mut rig: Rig<S>) {
    let position = rig.whole().await;
    assert_eq!(rig.store.publish(token(1), Vec::new()).await, Ok(Vec::new()));
    assert_eq!(rig.store.last_id().await, Ok(position));
    assert_eq!(rig.history(&[], Mid::ZERO).await, []);
    assert_eq!(rig.store.online(&[]).await, Ok(Vec::new()));
    rig.store.mark_online(&[]).await.expect("nothing");
    rig.store.clear_online(&[]).await.expect("nothing");
    // A message to nobody takes an id and is announced all the same.
    let id = rig.one(2, 60, &[]).await;
    assert_eq!(rig.announced().await.id, id);
}
