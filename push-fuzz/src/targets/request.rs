//! A publisher's `RequestBatch`: against the schema's structs and a plain telling of PROTOCOL.md,
//! sections 4 and 5.

use prost::Message as _;
use push_protocol::outgoing::{OutgoingView, Sender, with_id};
use push_protocol::proto::{ChannelId, Receiver, RequestBatch, request::Command as Asked};
use push_protocol::request::{self, Command, Limits};
use push_protocol::{ApiError, ChannelKey, Mid};

use crate::input::Input;
use crate::keys;

const NOW: u32 = 1_795_408_161;
const PUBLIC_ID: [u8; 16] = [0xbc; 16];

/// * Any bytes: an answer within the limits, or one of the documented errors.
/// * Bytes that are a `RequestBatch`: written anew (with right signatures where there are marks for
///   them), they get the very answer that the description gives.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let limits = match input.byte() & 3 {
        0 => Limits::default(),
        small => Limits {
            max_messages: usize::from(small),
            max_channels: usize::from(small),
            message_ttl: 600,
        },
    };
    let body = input.rest();
    let verifier = keys::verifier();
    let client = |body: &[u8]| request::client(body, &limits, &verifier, Some(PUBLIC_ID), NOW);
    let trusted = |body: &[u8]| request::trusted(body, &limits, NOW);

    within(&trusted(body), &limits, Sender::Backend);
    within(&client(body), &limits, Sender::Client(PUBLIC_ID));
    let nobody = request::client(body, &limits, &verifier, None, NOW);
    assert_eq!(nobody, Err(ApiError::PublicChannelRequired));

    let Ok(mut batch) = RequestBatch::decode(body) else { return };
    sign(&mut batch);
    let anew = batch.encode_to_vec();
    compare(trusted(&anew), &expected(&batch, &limits, false), &batch);
    compare(client(&anew), &expected(&batch, &limits, true), &batch);
}

/// What is true of any answer.
fn within(answer: &Result<Command, ApiError>, limits: &Limits, sender: Sender) {
    let is_client = matches!(sender, Sender::Client(_));
    match answer {
        Err(error) => assert!((4012..=4021).contains(&error.code()), "{error}"),
        Ok(Command::ServerStats) => assert!(!is_client),
        Ok(Command::ChannelStats(channels)) => {
            assert!((1..=limits.max_channels).contains(&channels.len()));
            assert!(!is_client || channels.iter().all(|key| !key.is_private()));
        }
        Ok(Command::Publish(messages)) => {
            assert!(messages.len() <= limits.max_messages);
            for message in messages {
                assert!((1..=limits.max_channels).contains(&message.receivers.len()));
                assert!(!is_client || message.receivers.iter().all(|r| !r.key.is_private()));
                let whole = with_id(Mid::ZERO, &message.rest);
                let view = OutgoingView::parse(&whole).expect("what is stored can be read");
                assert_eq!((view.expiry, view.created), (message.expiry, NOW));
                assert!(view.expiry <= limits.message_ttl);
                assert_eq!(view.sender, Some(sender));
                assert!((1..=32).contains(&message.label.len()));
            }
        }
    }
}

/// A fuzzer cannot guess signatures: it writes marks.
fn sign(batch: &mut RequestBatch) {
    let put = |id: &[u8], signature: &mut Vec<u8>| {
        let [by_key, by_old] = keys::public_signatures(id);
        match &signature[..] {
            keys::SIGN => *signature = by_key,
            keys::SIGN_OLD => *signature = by_old,
            _ => {}
        }
    };
    for request in &mut batch.requests {
        match &mut request.command {
            Some(Asked::IncomingMessages(incoming)) => {
                let receivers = incoming.messages.iter_mut().flat_map(|m| &mut m.receivers);
                receivers.for_each(|r| put(&r.id, &mut r.signature));
            }
            Some(Asked::ChannelStats(stats)) => {
                stats.channels.iter_mut().for_each(|c| put(&c.id, &mut c.signature));
            }
            _ => {}
        }
    }
}

/// What the description makes of it: the receivers of each message, or the channels asked for.
fn expected(
    batch: &RequestBatch,
    limits: &Limits,
    is_client: bool,
) -> Result<Vec<Vec<ChannelKey>>, ApiError> {
    let first = batch.requests.first().ok_or(ApiError::WrongRequestData)?;
    match first.command.as_ref().ok_or(ApiError::WrongRequestData)? {
        Asked::IncomingMessages(incoming) => {
            if incoming.messages.len() > limits.max_messages {
                return Err(ApiError::TooManyMessages);
            }
            let lists = incoming.messages.iter().map(|message| {
                let named = |r: &Receiver| (r.id.clone(), r.is_private, r.signature.clone());
                admitted(message.receivers.iter().map(named).collect(), limits, is_client)
            });
            lists.collect()
        }
        Asked::ChannelStats(stats) => {
            let named = |c: &ChannelId| (c.id.clone(), c.is_private, c.signature.clone());
            Ok(vec![admitted(stats.channels.iter().map(named).collect(), limits, is_client)?])
        }
        _ if is_client => Err(ApiError::CommandNotAllowed),
        Asked::ServerStats(_) => Ok(Vec::new()),
        Asked::Registration(_) => Err(ApiError::WrongCommand),
    }
}

/// Id, whether it is private, signature.
type Named = (Vec<u8>, bool, Vec<u8>);

fn admitted(
    named: Vec<Named>,
    limits: &Limits,
    is_client: bool,
) -> Result<Vec<ChannelKey>, ApiError> {
    if named.is_empty() {
        return Err(ApiError::NoChannels);
    }
    if named.len() > limits.max_channels {
        return Err(ApiError::TooManyChannels);
    }
    let admit = |(id, is_private, signature): Named| {
        if is_client && is_private {
            return Err(ApiError::PrivateNotAllowed);
        }
        if is_client && !keys::public_signatures(&id).contains(&signature) {
            return Err(ApiError::InvalidSignature);
        }
        let id = id.try_into().map_err(|_| ApiError::InvalidChannelId)?;
        Ok(if is_private { ChannelKey::private(id) } else { ChannelKey::public(id) })
    };
    named.into_iter().map(admit).collect()
}

fn compare(
    answer: Result<Command, ApiError>,
    expected: &Result<Vec<Vec<ChannelKey>>, ApiError>,
    batch: &RequestBatch,
) {
    let got = answer.map(|command| match command {
        Command::ServerStats => Vec::new(),
        Command::ChannelStats(channels) => vec![channels],
        Command::Publish(messages) => {
            let Some(Asked::IncomingMessages(incoming)) = &batch.requests[0].command else {
                panic!("published what is no message");
            };
            for (message, asked) in messages.iter().zip(&incoming.messages) {
                let whole = with_id(Mid::ZERO, &message.rest);
                let view = OutgoingView::parse(&whole).expect("what is stored can be read");
                assert_eq!(view.body, asked.body);
                assert!(message.expiry <= asked.expiry);
                assert!(message.label == asked.r#type || message.label == "unknown");
            }
            let keys = |m: request::Publication| m.receivers.iter().map(|r| r.key).collect();
            messages.into_iter().map(keys).collect()
        }
    });
    assert_eq!(&got, expected);
}
