//! Every frame comes back as it was written, however the stream is cut; hostile bytes do no harm.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use push_link::{
    LinkError, MAX_FRAME, PublishItem, PublishStatus, Slow, Splitter, ToSidecar, ToWorker, Traced,
    Versions, deliver_frame, recover_item_frame,
};
use push_protocol::{ChannelKey, Mid};

fn mids() -> impl Strategy<Value = Mid> {
    (0u64..10_000_000_000, 0u64..10_000_000_000_000_000).prop_map(|(a, b)| Mid::new(a, b))
}

fn keys() -> impl Strategy<Value = ChannelKey> {
    (any::<bool>(), any::<[u8; 16]>()).prop_map(|(private, id)| {
        if private { ChannelKey::private(id) } else { ChannelKey::public(id) }
    })
}

fn versions() -> impl Strategy<Value = Versions> {
    any::<(u16, u16)>().prop_map(|(lowest, highest)| Versions { lowest, highest })
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn items() -> impl Strategy<Value = PublishItem> {
    (any::<u32>(), ".{0,20}", vec((keys(), blob()), 0..4), blob())
        .prop_map(|(expiry, label, receivers, rest)| PublishItem { expiry, label, receivers, rest })
}

fn words() -> impl Strategy<Value = Vec<u64>> {
    vec(any::<u64>(), 0..80)
}

fn slow() -> impl Strategy<Value = Slow> {
    (keys(), any::<u64>(), any::<u64>()).prop_map(|(channel, bytes, opened)| Slow {
        channel,
        bytes,
        opened,
    })
}

fn to_sidecar() -> impl Strategy<Value = ToSidecar> {
    let channels = || vec(keys(), 0..5);
    prop_oneof![
        (versions(), any::<u64>(), any::<u32>(), any::<bool>(), ".{0,20}").prop_map(
            |(versions, instance, pid, resume, software)| ToSidecar::Hello {
                versions,
                instance,
                pid,
                resume,
                software
            }
        ),
        (any::<u32>(), channels())
            .prop_map(|(seq, channels)| ToSidecar::Subscribe { seq, channels }),
        (keys(), any::<u32>(), any::<u32>()).prop_map(|(channel, count, limit)| {
            ToSidecar::Connections { channel, count, limit }
        }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(req, opened)| ToSidecar::OldestAnswer { req, opened }),
        (any::<[u32; 4]>(), any::<[u64; 4]>()).prop_map(
            |([req, websockets, polls, channels], limits)| {
                ToSidecar::Report { req, websockets, polls, channels, limits }
            }
        ),
        any::<u32>().prop_map(|req| ToSidecar::ServerStats { req }),
        ".{0,40}".prop_map(|request| ToSidecar::Control { request }),
        channels().prop_map(|channels| ToSidecar::Unsubscribe { channels }),
        mids().prop_map(|after| ToSidecar::Resume { after }),
        (any::<u32>(), mids(), channels()).prop_map(|(req, after, channels)| ToSidecar::Recover {
            req,
            after,
            channels
        }),
        (any::<u64>(), any::<bool>(), vec(items(), 0..4), any::<u64>()).prop_map(
            |(seq, counted, messages, at)| ToSidecar::Publish { seq, counted, messages, at }
        ),
        (any::<u32>(), words(), words(), vec(slow(), 0..4))
            .prop_map(|(req, now, before, slow)| ToSidecar::Metrics { req, now, before, slow }),
        (any::<u32>(), any::<bool>()).prop_map(|(req, page)| ToSidecar::Observe { req, page }),
        (any::<u32>(), channels()).prop_map(|(req, channels)| ToSidecar::Stats { req, channels }),
        (any::<u32>(), channels()).prop_map(|(req, channels)| ToSidecar::Newest { req, channels }),
        (any::<u32>(), any::<[u32; 3]>(), any::<u64>(), vec(traced(), 0..4)).prop_map(
            |(req, subscribers, waiting, deliveries)| ToSidecar::Trace {
                req,
                subscribers,
                waiting,
                deliveries
            }
        ),
        Just(ToSidecar::Ping),
    ]
}

fn traced() -> impl Strategy<Value = Traced> {
    (mids(), any::<[u64; 2]>(), any::<[u32; 7]>()).prop_map(|(id, times, counts)| {
        let ([at, written], [text, binary, polls, held, had, cut, closing]) = (times, counts);
        Traced { id, at, written, text, binary, polls, held, had, cut, closing }
    })
}

fn to_worker() -> impl Strategy<Value = ToWorker> {
    let status = prop_oneof![
        Just(PublishStatus::Stored),
        Just(PublishStatus::Unavailable),
        Just(PublishStatus::Refused)
    ];
    prop_oneof![
        (any::<u16>(), mids(), ".{0,20}").prop_map(|(version, position, software)| {
            ToWorker::Welcome { version, position, software }
        }),
        (".{0,20}", proptest::option::of(versions()))
            .prop_map(|(reason, versions)| ToWorker::Refused { reason, versions }),
        (any::<u32>(), mids()).prop_map(|(seq, position)| ToWorker::Position { seq, position }),
        (mids(), any::<u8>(), vec(keys(), 0..5), blob()).prop_map(
            |(id, flags, receivers, outgoing)| ToWorker::Deliver { id, flags, receivers, outgoing }
        ),
        (any::<u32>(), mids(), blob()).prop_map(|(req, id, outgoing)| ToWorker::RecoverItem {
            req,
            id,
            outgoing
        }),
        (any::<u32>(), any::<bool>(), mids()).prop_map(|(req, ok, as_of)| ToWorker::RecoverEnd {
            req,
            ok,
            as_of
        }),
        mids().prop_map(|position| ToWorker::Resumed { position }),
        (any::<u64>(), status, ".{0,20}").prop_map(|(seq, status, detail)| ToWorker::PublishAck {
            seq,
            status,
            detail
        }),
        (any::<u32>(), any::<bool>(), vec(any::<bool>(), 0..20))
            .prop_map(|(req, ok, online)| ToWorker::StatsAnswer { req, ok, online }),
        (any::<u32>(), proptest::option::of(mids().prop_filter("an id", |id| *id != Mid::ZERO)))
            .prop_map(|(req, id)| ToWorker::NewestAnswer { req, id }),
        (any::<u32>(), keys()).prop_map(|(req, channel)| ToWorker::Oldest { req, channel }),
        keys().prop_map(|channel| ToWorker::Evict { channel }),
        any::<u32>().prop_map(|req| ToWorker::ReportWanted { req }),
        (any::<u32>(), blob()).prop_map(|(req, json)| ToWorker::ServerStatsAnswer { req, json }),
        blob().prop_map(|json| ToWorker::ControlAnswer { json }),
        (any::<u32>(), vec(keys(), 0..5))
            .prop_map(|(req, channels)| ToWorker::TraceWanted { req, channels }),
        (any::<u32>(), any::<bool>()).prop_map(|(req, slow)| ToWorker::MetricsWanted { req, slow }),
        (any::<u32>(), blob()).prop_map(|(req, text)| ToWorker::Observation { req, text }),
        (mids(), any::<u64>()).prop_map(|(id, at)| ToWorker::Published { id, at }),
        Just(ToWorker::Pong),
    ]
}

/// Cuts `stream` into pieces of these sizes and gives what the splitter makes of it.
fn split(stream: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut splitter = Splitter::new();
    let mut frames = Vec::new();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        splitter.extend(now);
        rest = later;
        while let Some(frame) = splitter.next_frame().unwrap() {
            frames.push(frame);
        }
    }
    frames
}

proptest! {
    #[test]
    fn frames_to_the_sidecar_survive(frames in vec(to_sidecar(), 1..6), sizes in vec(1usize..40, 1..8)) {
        let mut stream = Vec::new();
        for frame in &frames {
            frame.encode(&mut stream);
        }
        let got: Vec<_> = split(&stream, &sizes).into_iter().map(|f| ToSidecar::decode(f).unwrap()).collect();
        prop_assert_eq!(got, frames);
    }

    #[test]
    fn frames_to_the_worker_survive(frames in vec(to_worker(), 1..6), sizes in vec(1usize..40, 1..8)) {
        let mut stream = Vec::new();
        for frame in &frames {
            frame.encode(&mut stream);
        }
        let got: Vec<_> = split(&stream, &sizes).into_iter().map(|f| ToWorker::decode(f).unwrap()).collect();
        prop_assert_eq!(got, frames);
    }

    /// The head alone and the message behind it are the whole frame.
    #[test]
    fn heads_fit_their_messages(id in mids(), flags in any::<u8>(), receivers in vec(keys(), 0..5), outgoing in blob(), req in any::<u32>()) {
        let mut whole = Vec::new();
        ToWorker::Deliver { id, flags, receivers: receivers.clone(), outgoing: outgoing.clone() }.encode(&mut whole);
        ToWorker::RecoverItem { req, id, outgoing: outgoing.clone() }.encode(&mut whole);
        let mut parts = Vec::new();
        deliver_frame(id, flags, &receivers, outgoing.len(), &mut parts);
        parts.extend_from_slice(&outgoing);
        recover_item_frame(req, id, outgoing.len(), &mut parts);
        parts.extend_from_slice(&outgoing);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn hostile_bytes_are_refused_without_harm(bytes in vec(any::<u8>(), 0..200), kind in any::<u8>()) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&bytes);
        let _ = ToSidecar::decode(frame.clone().into());
        let _ = ToWorker::decode(frame.into());
        let mut splitter = Splitter::new();
        splitter.extend(&bytes);
        while let Ok(Some(frame)) = splitter.next_frame() {
            let _ = ToSidecar::decode(frame);
        }
    }

    /// A frame cut short is an error, never a shorter frame, where its fields have fixed places. Only
    /// a hello may lack its last field: the first releases did not have it.
    #[test]
    fn a_frame_cut_short_is_refused(frame in to_sidecar(), cut in 1usize..10) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let bytes = Bytes::from(bytes).slice(4..);
        prop_assume!(bytes.len() > cut);
        prop_assume!(cut != 2 || !matches!(frame, ToSidecar::Hello { .. }));
        // Releases that spoke version 1 do not say when a publish came.
        prop_assume!(cut != 8 || !matches!(frame, ToSidecar::Publish { .. }));
        let short = bytes.slice(..bytes.len() - cut);
        prop_assert!(matches!(ToSidecar::decode(short), Err(LinkError::Field(_))));
    }
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for head in [[0, 0, 0, 0], [255, 255, 255, 255]] {
        let mut splitter = Splitter::new();
        splitter.extend(&head);
        assert!(matches!(splitter.next_frame(), Err(LinkError::Length(_))));
    }
}

#[test]
fn unknown_kinds_are_refused() {
    assert_eq!(ToSidecar::decode(Bytes::from_static(&[77])), Err(LinkError::Kind(77)));
    assert_eq!(ToWorker::decode(Bytes::from_static(&[1])), Err(LinkError::Kind(1)));
}

#[test]
fn an_announced_size_costs_nothing() {
    let mut splitter = Splitter::new();
    splitter.extend(&(MAX_FRAME as u32).to_le_bytes());
    assert_eq!(splitter.next_frame(), Ok(None));
    assert!(splitter.buffer().capacity() < 200_000);
}

#[test]
fn a_hello_of_the_first_releases_names_one_version() {
    let mut hello = Vec::new();
    let versions = Versions { lowest: 1, highest: 5 };
    let software = "old".to_owned();
    ToSidecar::Hello { versions, instance: 1, pid: 2, resume: false, software }.encode(&mut hello);
    let old = Bytes::from(hello).slice(4..);
    let old = old.slice(..old.len() - 2);
    let Ok(ToSidecar::Hello { versions, .. }) = ToSidecar::decode(old) else { panic!("no hello") };
    assert_eq!(versions, Versions { lowest: 1, highest: 1 });
}
