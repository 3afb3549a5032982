//! The request reader against the schema's structs: what it makes of a batch is what a plain
//! reading of the decoded structs gives, and it refuses what they refuse.

use proptest::prelude::*;
use prost::Message;
use push_protocol::outgoing::{OutgoingView, with_id};
use push_protocol::proto::{self, request::Command as Asked};
use push_protocol::request::{self, Command, Limits};
use push_protocol::signature::{Algorithm, Verifier};
use push_protocol::{ApiError, ChannelId, ChannelKey, Mid};

const LIMITS: Limits = Limits { max_messages: 3, max_channels: 3, message_ttl: 1000 };
const NOW: u32 = 1_795_408_161;
const SENDER: ChannelId = [9; 16];

fn verifier() -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    verifier.add_key(b"key");
    verifier
}

/// Mostly right ones: ids of 16 bytes, public ones signed.
fn receiver() -> impl Strategy<Value = proto::Receiver> {
    let id = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 16),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    let signature = prop_oneof![
        1 => Just(None),
        8 => Just(Some(true)),
        1 => Just(Some(false)),
    ];
    let is_private = prop::bool::weighted(0.1);
    (id, is_private, signature).prop_map(|(id, is_private, signature)| {
        let signed = <&ChannelId>::try_from(id.as_slice()).ok();
        let signature = match signature {
            None => Vec::new(),
            Some(true) => signed.and_then(|id| verifier().sign_public(id)).unwrap_or_default(),
            Some(false) => vec![1; 20],
        };
        proto::Receiver { id, is_private, signature }
    })
}

fn sender() -> impl Strategy<Value = proto::Sender> {
    (any::<i32>(), any::<Vec<u8>>()).prop_map(|(r#type, id)| proto::Sender { r#type, id })
}

fn incoming() -> impl Strategy<Value = proto::IncomingMessage> {
    (
        prop::collection::vec(receiver(), 0..5),
        prop::option::of(sender()),
        ".{0,40}",
        prop_oneof![0u32..2000, any::<u32>()],
        prop_oneof!["[a-z*_-]{0,34}", ".{0,4}"],
    )
        .prop_map(|(receivers, sender, body, expiry, r#type)| proto::IncomingMessage {
            receivers,
            sender,
            body,
            expiry,
            r#type,
        })
}

fn asked() -> impl Strategy<Value = proto::Request> {
    let publish = prop::collection::vec(incoming(), 0..5)
        .prop_map(|messages| Asked::IncomingMessages(proto::IncomingMessagesRequest { messages }));
    let channel = receiver().prop_map(|r| proto::ChannelId {
        id: r.id,
        is_private: r.is_private,
        signature: r.signature,
    });
    let stats = prop::collection::vec(channel, 0..5)
        .prop_map(|channels| Asked::ChannelStats(proto::ChannelStatsRequest { channels }));
    let register = Asked::Registration(proto::RegisterRequest {
        verification_query: "q".into(),
        host: "h".into(),
    });
    let command = prop_oneof![
        12 => publish.prop_map(Some),
        4 => stats.prop_map(Some),
        1 => Just(Some(Asked::ServerStats(proto::ServerStatsRequest {}))),
        1 => Just(Some(register)),
        1 => Just(None),
    ];
    command.prop_map(|command| proto::Request { command })
}

fn batch() -> impl Strategy<Value = proto::RequestBatch> {
    prop::collection::vec(asked(), 0..3).prop_map(|requests| proto::RequestBatch { requests })
}

/// PROTOCOL.md, section 4, read aloud.
fn channels(list: &[(&[u8], bool, &[u8])], client: bool) -> Result<Vec<ChannelKey>, ApiError> {
    if list.is_empty() {
        return Err(ApiError::NoChannels);
    }
    if list.len() > LIMITS.max_channels {
        return Err(ApiError::TooManyChannels);
    }
    let key = |&(id, is_private, signature): &(&[u8], bool, &[u8])| {
        let id = ChannelId::try_from(id);
        if client && is_private {
            return Err(ApiError::PrivateNotAllowed);
        }
        if client && !id.is_ok_and(|id| verifier().verify_public(&id, signature)) {
            return Err(ApiError::InvalidSignature);
        }
        let id = id.map_err(|_| ApiError::InvalidChannelId)?;
        Ok(if is_private { ChannelKey::private(id) } else { ChannelKey::public(id) })
    };
    list.iter().map(key).collect()
}

type Published = (Vec<(ChannelKey, Vec<u8>)>, u32, String, String);

/// What a batch comes to: messages with receivers, expiry, body and label, or channels.
fn expected(
    batch: &proto::RequestBatch,
    client: bool,
) -> Result<Result<Vec<Published>, Option<Vec<ChannelKey>>>, ApiError> {
    let command = batch.requests.first().and_then(|request| request.command.as_ref());
    match command.ok_or(ApiError::WrongRequestData)? {
        Asked::IncomingMessages(request) => {
            if request.messages.len() > LIMITS.max_messages {
                return Err(ApiError::TooManyMessages);
            }
            let message = |message: &proto::IncomingMessage| {
                let list = message.receivers.iter();
                let list: Vec<_> =
                    list.map(|r| (r.id.as_slice(), r.is_private, r.signature.as_slice())).collect();
                let keys = channels(&list, client)?;
                let signatures = message.receivers.iter().map(|r| r.signature.clone());
                let receivers = keys.into_iter().zip(signatures).collect();
                let label = &message.r#type;
                let good = |c: char| c.is_ascii_alphanumeric() || "_*-".contains(c);
                let good = (1..=32).contains(&label.len()) && label.chars().all(good);
                let label = if good { label } else { "unknown" }.to_owned();
                Ok((receivers, message.expiry.min(1000), message.body.clone(), label))
            };
            Ok(Ok(request.messages.iter().map(message).collect::<Result<_, _>>()?))
        }
        Asked::ChannelStats(request) => {
            let list = request.channels.iter();
            let list: Vec<_> =
                list.map(|c| (c.id.as_slice(), c.is_private, c.signature.as_slice())).collect();
            Ok(Err(Some(channels(&list, client)?)))
        }
        _ if client => Err(ApiError::CommandNotAllowed),
        Asked::ServerStats(_) => Ok(Err(None)),
        Asked::Registration(_) => Err(ApiError::WrongCommand),
    }
}

fn simplified(command: Command, client: bool) -> Result<Vec<Published>, Option<Vec<ChannelKey>>> {
    match command {
        Command::Publish(publications) => Ok(publications
            .into_iter()
            .map(|publication| {
                let whole = with_id(Mid::ZERO, &publication.rest);
                let view = OutgoingView::parse(&whole).unwrap();
                assert_eq!((view.created, view.expiry), (NOW, publication.expiry));
                let sender = whole_sender(&whole);
                assert_eq!(sender, if client { (1, SENDER.to_vec()) } else { (2, Vec::new()) });
                let receivers = publication.receivers.into_iter();
                let receivers = receivers.map(|r| (r.key, r.signature)).collect();
                (receivers, publication.expiry, view.body.to_owned(), publication.label)
            })
            .collect()),
        Command::ChannelStats(keys) => Err(Some(keys)),
        Command::ServerStats => Err(None),
    }
}

fn whole_sender(outgoing: &[u8]) -> (i32, Vec<u8>) {
    let sender = proto::OutgoingMessage::decode(outgoing).unwrap().sender.unwrap();
    (sender.r#type, sender.id)
}

fn read(wire: &[u8], client: bool) -> Result<Command, ApiError> {
    if client {
        request::client(wire, &LIMITS, &verifier(), Some(SENDER), NOW)
    } else {
        request::trusted(wire, &LIMITS, NOW)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_batch_comes_to_what_its_structs_say(batch in batch(), client: bool) {
        let ours = read(&batch.encode_to_vec(), client);
        let ours = ours.map(|command| simplified(command, client));
        prop_assert_eq!(ours, expected(&batch, client));
    }

    #[test]
    fn unknown_fields_change_nothing(batch in batch(), client: bool, number in 16u8.., at: u8) {
        // In front of and behind what is known: a varint, eight bytes, some bytes, four bytes.
        let unknown: [&[u8]; 4] = [
            &[number & 0x78 | 0x80, 0x01, 0xff, 0x7f],
            &[number & 0x78 | 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8],
            &[number & 0x78 | 0x82, 0x01, 2, 0x0b, 0x0c],
            &[number & 0x78 | 0x85, 0x01, 1, 2, 3, 4],
        ];
        let unknown = unknown[usize::from(at) % 4];
        let wire = batch.encode_to_vec();
        let plain = read(&wire, client);
        prop_assert_eq!(&read(&[unknown, &wire].concat(), client), &plain);
        prop_assert_eq!(&read(&[&wire, unknown].concat(), client), &plain);
    }

    #[test]
    fn what_the_structs_refuse_is_refused(
        batch in batch(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut wire = batch.encode_to_vec();
        for (at, byte) in changes {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
        }
        if let Some(cut) = cut {
            wire.truncate(cut.index(wire.len() + 1));
        }
        // The structs refuse strings that are not UTF-8; the server repairs them.
        match proto::RequestBatch::decode(wire.as_slice()) {
            Err(error) if !error.to_string().contains("UTF-8") => {
                prop_assert_eq!(read(&wire, false), Err(ApiError::WrongRequestData));
                prop_assert_eq!(read(&wire, true), Err(ApiError::WrongRequestData));
            }
            _ => {
                let _ = (read(&wire, false), read(&wire, true));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = (read(&bytes, false), read(&bytes, true));
    }

    #[test]
    fn only_the_first_request_and_its_last_member_count(
        first in asked(), overridden in asked(), second in asked(), client: bool,
    ) {
        let mut first = first;
        first.command.get_or_insert(Asked::ServerStats(proto::ServerStatsRequest {}));
        let requests = vec![first.clone()];
        let alone = read(&proto::RequestBatch { requests }.encode_to_vec(), client);
        // As bytes, so that both members stand in one request.
        let both = [overridden.encode_to_vec(), first.encode_to_vec()].concat();
        let mut wire = vec![0x0a];
        prost::encoding::encode_varint(both.len() as u64, &mut wire);
        wire.extend(both);
        wire.extend(proto::RequestBatch { requests: vec![second] }.encode_to_vec());
        prop_assert_eq!(read(&wire, client), alone);
    }
}

#[test]
fn a_body_that_is_not_utf8_is_repaired() {
    let receiver = [0x0a, 0x12, 0x0a, 0x10].into_iter().chain([5; 16]);
    let message: Vec<u8> = receiver.chain([0x1a, 0x03, b'a', 0xff, b'b']).collect();
    let len = message.len() as u8;
    let wire = [&[0x0a, len + 4, 0x0a, len + 2, 0x0a, len][..], &message].concat();
    let Ok(Command::Publish(publications)) = request::trusted(&wire, &LIMITS, NOW) else {
        panic!("refused");
    };
    let whole = with_id(Mid::ZERO, &publications[0].rest);
    assert_eq!(OutgoingView::parse(&whole).unwrap().body, "a\u{fffd}b");
}

#[test]
fn without_a_public_id_nothing_else_is_looked_at() {
    for wire in [&b"garbage"[..], b"", &[0x0a, 0x02, 0x1a, 0x00]] {
        let answer = request::client(wire, &LIMITS, &verifier(), None, NOW);
        assert_eq!(answer, Err(ApiError::PublicChannelRequired));
    }
}

#[test]
fn a_malformed_message_outweighs_errors_in_front_of_it() {
    // A message without receivers (4017), then one that is cut (4013).
    let wire = [0x0a, 0x05, 0x0a, 0x03, 0x0a, 0x00, 0x0b];
    assert_eq!(request::trusted(&wire, &LIMITS, NOW), Err(ApiError::WrongRequestData));
    let wire = [0x0a, 0x06, 0x0a, 0x04, 0x0a, 0x00, 0x0a, 0x00];
    assert_eq!(request::trusted(&wire, &LIMITS, NOW), Err(ApiError::NoChannels));
}

#[test]
fn the_order_of_checks_is_the_documented_one() {
    let odd = proto::Receiver { id: vec![1; 4], ..Default::default() };
    let private = proto::Receiver { id: vec![1; 16], is_private: true, ..Default::default() };
    let unsigned = proto::Receiver { id: vec![1; 16], ..Default::default() };
    let odd_private = proto::Receiver { is_private: true, ..odd.clone() };
    let check = |messages: &[&[&proto::Receiver]], client| {
        let messages = messages.iter().map(|receivers| proto::IncomingMessage {
            receivers: receivers.iter().map(|receiver| (*receiver).clone()).collect(),
            ..Default::default()
        });
        let request = proto::IncomingMessagesRequest { messages: messages.collect() };
        let command = Some(Asked::IncomingMessages(request));
        let batch = proto::RequestBatch { requests: vec![proto::Request { command }] };
        read(&batch.encode_to_vec(), client).unwrap_err()
    };
    // 4016 for the whole, then message by message.
    assert_eq!(check(&[&[], &[], &[], &[]], false), ApiError::TooManyMessages);
    assert_eq!(check(&[&[&odd], &[]], false), ApiError::InvalidChannelId);
    assert_eq!(check(&[&[], &[&odd]], false), ApiError::NoChannels);
    assert_eq!(check(&[&[&odd; 4]], false), ApiError::TooManyChannels);
    // Receiver by receiver, 4020 before 4021.
    assert_eq!(check(&[&[&private, &unsigned]], true), ApiError::PrivateNotAllowed);
    assert_eq!(check(&[&[&unsigned, &private]], true), ApiError::InvalidSignature);
    assert_eq!(check(&[&[&odd_private]], true), ApiError::PrivateNotAllowed);
    assert_eq!(check(&[&[&odd]], true), ApiError::InvalidSignature);
}
