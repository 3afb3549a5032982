//! Messages and announcements against the schema's structs, and against arbitrary bytes.

use std::borrow::Cow;

use proptest::prelude::*;
use prost::Message;
use push_protocol::envelope::write_envelope;
use push_protocol::notification::{announcement_head, parse_notification};
use push_protocol::outgoing::{
    OutgoingView, Sender, batch_len, batch_of, encode_rest, repaired, with_id,
};
use push_protocol::proto::{self, notification, response};
use push_protocol::request::{Receiver, channel_stats_batch, server_stats_batch};
use push_protocol::{ChannelId, ChannelKey, Mid};

fn mid() -> impl Strategy<Value = Mid> {
    (0u64..10_000_000_000, 0u64..10_000_000_000_000_000).prop_map(|(s, c)| Mid::new(s, c))
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Backend), any::<ChannelId>().prop_map(Sender::Client)]
}

fn key() -> impl Strategy<Value = ChannelKey> {
    (any::<ChannelId>(), any::<bool>()).prop_map(|(id, private)| {
        if private { ChannelKey::private(id) } else { ChannelKey::public(id) }
    })
}

fn receivers() -> impl Strategy<Value = Vec<Receiver>> {
    let signature = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 1..200)];
    let receiver = (key(), signature).prop_map(|(key, signature)| Receiver { key, signature });
    prop::collection::vec(receiver, 0..12)
}

fn as_struct(
    id: Mid,
    body: &str,
    expiry: u32,
    created: u32,
    sender: Sender,
) -> proto::OutgoingMessage {
    let (r#type, sender_id) = match sender {
        Sender::Backend => (proto::SenderType::Backend, Vec::new()),
        Sender::Client(id) => (proto::SenderType::Client, id.to_vec()),
    };
    proto::OutgoingMessage {
        id: id.as_bytes().to_vec(),
        body: body.into(),
        expiry,
        created,
        sender: Some(proto::Sender { r#type: r#type.into(), id: sender_id }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_message_goes_there_and_back(
        id in mid(), body in "\\PC{0,300}", expiry: u32, created: u32, sender in sender(),
    ) {
        let ours = with_id(id, &encode_rest(&body, expiry, created, sender));
        let theirs = as_struct(id, &body, expiry, created, sender);
        prop_assert_eq!(&proto::OutgoingMessage::decode(ours.as_slice()).unwrap(), &theirs);
        let expected = OutgoingView { id, body: &body, expiry, created, sender: Some(sender) };
        prop_assert_eq!(OutgoingView::parse(&ours), Some(expected));
        // Any valid encoding will do: defaults left out, fields in another order.
        let theirs = theirs.encode_to_vec();
        prop_assert_eq!(OutgoingView::parse(&theirs), Some(expected));
        let swapped = [&ours[15..], &ours[..15]].concat();
        prop_assert_eq!(OutgoingView::parse(&swapped), Some(expected));
        let unchanged = matches!(repaired(&ours), Some(Cow::Borrowed(same)) if same == ours);
        prop_assert!(unchanged);
    }

    #[test]
    fn a_message_with_changes_is_read_as_its_struct_or_not_at_all(
        id in mid(), body in ".{0,40}", expiry: u32, created: u32, sender in sender(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut wire = with_id(id, &encode_rest(&body, expiry, created, sender));
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        if let Some(view) = OutgoingView::parse(&wire) {
            let theirs = proto::OutgoingMessage::decode(wire.as_slice()).unwrap();
            prop_assert_eq!(view.id.as_bytes().as_slice(), theirs.id);
            prop_assert_eq!(view.body, theirs.body);
            prop_assert_eq!((view.expiry, view.created), (theirs.expiry, theirs.created));
        }
        if let Some(repaired) = repaired(&wire) {
            prop_assert!(OutgoingView::parse(&repaired).is_some());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = (OutgoingView::parse(&bytes), repaired(&bytes), parse_notification(&bytes));
    }

    #[test]
    fn a_batch_is_the_schemas(
        batches in prop::collection::vec(prop::collection::vec((mid(), "\\PC{0,200}"), 0..5), 0..4),
    ) {
        let (mut ours, mut responses) = (Vec::new(), Vec::new());
        for batch in &batches {
            let rest = |body: &str| encode_rest(body, 0, 7, Sender::Backend);
            let messages = batch.iter().map(|(id, body)| with_id(*id, &rest(body)));
            let messages: Vec<_> = messages.collect();
            let slices: Vec<_> = messages.iter().map(Vec::as_slice).collect();
            let before = ours.len();
            batch_of(&slices, &mut ours);
            prop_assert_eq!(ours.len() - before, batch_len(slices.iter().map(|m| m.len())));
            let messages =
                batch.iter().map(|(id, body)| as_struct(*id, body, 0, 7, Sender::Backend)).collect();
            let command =
                response::Command::OutgoingMessages(proto::OutgoingMessagesResponse { messages });
            responses.push(proto::Response { command: Some(command) });
        }
        let decoded = proto::ResponseBatch::decode(ours.as_slice()).unwrap();
        prop_assert_eq!(decoded, proto::ResponseBatch { responses });
    }

    #[test]
    fn an_announcement_goes_there_and_back(
        receivers in receivers(), id in mid(), body in "\\PC{0,300}", sender in sender(),
    ) {
        let rest = encode_rest(&body, 60, 7, sender);
        let outgoing = with_id(id, &rest);
        let head = announcement_head(receivers.iter().map(Receiver::parts), outgoing.len());
        prop_assert_eq!(head.capacity(), head.len());
        let payload = [&head[..], &outgoing].concat();
        let announced = parse_notification(&payload);
        prop_assert_eq!(announced.len(), 1);
        prop_assert_eq!(&announced[0].receivers, &receivers);
        prop_assert_eq!(announced[0].id, id);
        prop_assert_eq!(&announced[0].outgoing, &outgoing);

        let receivers = receivers.into_iter().map(|receiver| proto::Receiver {
            id: receiver.key.id.to_vec(),
            is_private: receiver.key.is_private(),
            signature: receiver.signature,
        });
        let message = proto::IpcMessage {
            receivers: receivers.collect(),
            outgoing_message: Some(as_struct(id, &body, 60, 7, sender)),
            ..Default::default()
        };
        let batch = proto::NotificationBatch::decode(payload.as_slice()).unwrap();
        prop_assert_eq!(batch, announcement([vec![message]]));
    }

    #[test]
    fn an_envelope_is_json_and_cannot_be_broken(
        id in mid(), now_ms in 0u64..8_000_000_000_000, created: u32, expiry: u32,
        text in "(#!NGINXNM[SE]!#|[#!]|\\PC){0,12}",
    ) {
        let body = serde_json::to_string(&text).unwrap();
        let view = OutgoingView { id, body: &body, expiry, created, sender: None };
        let mut out = Vec::new();
        write_envelope(&mut out, &view, now_ms);
        let whole = String::from_utf8(out).unwrap();
        let inner = whole.strip_prefix("#!NGINXNMS!#").unwrap();
        let inner = inner.strip_suffix("#!NGINXNME!#").unwrap();
        prop_assert!(!inner.contains("#!NGINXNM"));
        let json: serde_json::Value = serde_json::from_str(inner).unwrap();
        prop_assert_eq!(&json["text"], &text);
        prop_assert_eq!(&json["id"], id.counter());
        prop_assert_eq!(&json["mid"], &id.to_string());
        prop_assert_eq!(&json["tag"], &format!("{:03}", now_ms % 1000));
    }

    #[test]
    fn statistics_are_the_schemas(
        asked in prop::collection::vec((key(), any::<bool>()), 0..20), json in "\\PC{0,300}",
    ) {
        let channels = asked.iter().map(|(key, online)| proto::ChannelStats {
            id: key.id.to_vec(),
            is_private: key.is_private(),
            is_online: *online,
        });
        let stats = proto::ChannelStatsResponse { channels: channels.collect() };
        let ours = channel_stats_batch(&asked);
        prop_assert_eq!(decoded(&ours), response::Command::ChannelStats(stats));
        let ours = server_stats_batch(&json);
        let stats = proto::JsonResponse { json };
        prop_assert_eq!(decoded(&ours), response::Command::ServerStats(stats));
    }
}

fn decoded(wire: &[u8]) -> response::Command {
    let mut batch = proto::ResponseBatch::decode(wire).unwrap();
    assert_eq!(batch.responses.len(), 1);
    batch.responses.remove(0).command.unwrap()
}

fn announcement(
    notifications: impl IntoIterator<Item = Vec<proto::IpcMessage>>,
) -> proto::NotificationBatch {
    let notification = |messages| {
        let command = notification::Command::IpcMessages(proto::IpcMessages { messages });
        proto::Notification { command: Some(command) }
    };
    let notifications = notifications.into_iter().map(notification).collect();
    proto::NotificationBatch { notifications }
}

fn ipc_message(counter: u64) -> proto::IpcMessage {
    let id = Mid::new(1_795_406_332, counter);
    proto::IpcMessage {
        receivers: vec![proto::Receiver { id: vec![1; 16], ..Default::default() }],
        outgoing_message_id: Vec::new(),
        outgoing_message: Some(as_struct(id, "1", 0, 7, Sender::Backend)),
    }
}

#[test]
fn all_messages_of_all_notifications_are_found() {
    let batch = announcement([vec![ipc_message(1), ipc_message(2)], vec![], vec![ipc_message(3)]]);
    let announced = parse_notification(&batch.encode_to_vec());
    assert_eq!(announced.iter().map(|a| a.id.counter()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn what_is_no_message_is_left_out() {
    let mut odd_receiver = ipc_message(1);
    odd_receiver.receivers.insert(0, proto::Receiver { id: vec![1; 4], ..Default::default() });
    let bare = proto::OutgoingMessage { id: vec![0x11; 13], ..Default::default() };
    let bare = proto::IpcMessage { outgoing_message: Some(bare), ..Default::default() };
    let no_message = proto::IpcMessage { outgoing_message: None, ..ipc_message(2) };
    let mut hex_id = ipc_message(3);
    hex_id.outgoing_message.as_mut().unwrap().id = vec![0xab; 13];
    let licences = notification::Command::IpcLicenses(proto::IpcLicenses::default());

    let mut batch = announcement([vec![odd_receiver, bare, no_message, hex_id]]);
    batch.notifications.push(proto::Notification { command: Some(licences) });
    batch.notifications.push(proto::Notification { command: None });
    let announced = parse_notification(&batch.encode_to_vec());
    let found: Vec<_> = announced.iter().map(|a| (a.id.counter(), a.receivers.len())).collect();
    assert_eq!(found, [(1, 1), (1_111_111_111_111_111, 0)]);
}

#[test]
fn an_undecodable_payload_holds_nothing() {
    let whole = announcement([vec![ipc_message(1)]]).encode_to_vec();
    assert_eq!(parse_notification(&whole).len(), 1);
    for cut in 1..whole.len() {
        assert_eq!(parse_notification(&whole[..cut]), [], "{cut}");
    }
    assert_eq!(parse_notification(&[&whole[..], &[0x0b]].concat()), []);
    assert_eq!(parse_notification(b"not a notification"), []);
    assert_eq!(parse_notification(b""), []);
}

#[test]
fn a_neighbours_broken_body_is_repaired_and_nothing_else_changed() {
    let broken = [
        &[0x12, 3, b'a', 0xed, 0xa0][..],
        &[0x0a, 13, 0x17, 0x95, 0x40, 0x63, 0x32, 0, 0, 0, 0, 0, 0, 0, 0x42],
        &[0x18, 60, 0x25, 1, 0, 0, 0, 0x2a, 2, 0x08, 2, 0x7a, 1, b'?'],
    ]
    .concat();
    assert_eq!(OutgoingView::parse(&broken), None);
    let fixed = repaired(&broken).unwrap();
    let view = OutgoingView::parse(&fixed).unwrap();
    assert_eq!((view.id.counter(), view.expiry, view.created), (42, 60, 1));
    assert_eq!((view.body, view.sender), ("a\u{fffd}\u{fffd}", Some(Sender::Backend)));
    assert!(fixed.windows(3).any(|window| window == [0x7a, 1, b'?']));
    // Nothing of the broken body is left: stricter readers take it too.
    assert_eq!(proto::OutgoingMessage::decode(&*fixed).unwrap().body, view.body);
}

#[test]
fn of_a_notifications_members_the_last_counts() {
    let messages = proto::IpcMessages { messages: vec![ipc_message(1)] };
    let messages = notification::Command::IpcMessages(messages);
    let licences = notification::Command::IpcLicenses(proto::IpcLicenses::default());
    let found = |members: [&notification::Command; 2]| {
        // As bytes, so that both members stand in one notification.
        let encoded = |command: &notification::Command| {
            proto::Notification { command: Some(command.clone()) }.encode_to_vec()
        };
        let both = members.map(encoded).concat();
        let mut payload = vec![0x0a];
        prost::encoding::encode_varint(both.len() as u64, &mut payload);
        payload.extend(both);
        parse_notification(&payload).len()
    };
    assert_eq!(found([&licences, &messages]), 1);
    assert_eq!(found([&messages, &licences]), 0);
}

#[test]
fn an_empty_body_is_left_out() {
    let rest = encode_rest("", 0, 1, Sender::Backend);
    assert_eq!(rest, [0x18, 0, 0x25, 1, 0, 0, 0, 0x2a, 2, 0x08, 2]);
    let whole = with_id(Mid::ZERO, &rest);
    assert_eq!(OutgoingView::parse(&whole).map(|view| view.body), Some(""));
}

#[test]
fn of_a_repeated_field_the_last_counts() {
    let first = as_struct(Mid::new(1, 1), "1", 0, 7, Sender::Backend).encode_to_vec();
    let second = as_struct(Mid::new(1, 2), "2", 5, 8, Sender::Client([3; 16])).encode_to_vec();
    let both = [first.as_slice(), &second].concat();
    assert_eq!(OutgoingView::parse(&both), OutgoingView::parse(&second));

    let field = |bytes: &[u8]| [&[0x1a, bytes.len() as u8], bytes].concat();
    let message = [field(&first), field(&second)].concat();
    let len = message.len() as u8;
    let payload = [&[0x0a, len + 4, 0x0a, len + 2, 0x0a, len][..], &message].concat();
    let announced = parse_notification(&payload);
    assert_eq!(announced.iter().map(|a| a.id.counter()).collect::<Vec<_>>(), [2]);
}
