//! `protobuf.json`, every sample: through the schema's structs, and, where the server reads or
//! writes a message without them, through that as well.

mod common;

use common::{list, text, unhex, vectors, verifier};
use prost::Message;
use push_protocol::notification::{announcement_head, parse_notification};
use push_protocol::outgoing::{OutgoingView, Sender, batch_of, encode_rest, with_id};
use push_protocol::proto::{self, notification, request, response};
use push_protocol::request::Receiver;
use push_protocol::request::{Limits, channel_stats_batch, client, server_stats_batch, trusted};
use push_protocol::signature::Algorithm;
use push_protocol::{ApiError, ChannelKey, hex};
use serde_json::{Map, Value, json};

/// A message as the vectors write it, without defaults.
trait Decoded {
    fn decoded(&self) -> Value;
}

macro_rules! decoded {
    ($($message:ident { $($name:literal: $field:ident),* })*) => {$(
        impl Decoded for proto::$message {
            fn decoded(&self) -> Value {
                #[allow(unused_mut)]
                let mut fields = Map::new();
                $(fields.insert($name.into(), self.$field.value());)*
                without_defaults(&Value::Object(fields))
            }
        }
    )*};
}

decoded! {
    Sender { "type": r#type, "id": id }
    Receiver { "id": id, "isPrivate": is_private, "signature": signature }
    ChannelId { "id": id, "isPrivate": is_private, "signature": signature }
    RequestBatch { "requests": requests }
    IncomingMessagesRequest { "messages": messages }
    IncomingMessage {
        "receivers": receivers, "sender": sender, "body": body,
        "expiry": expiry, "type": r#type
    }
    ChannelStatsRequest { "channels": channels }
    ServerStatsRequest {}
    RegisterRequest { "verificationQuery": verification_query, "host": host }
    ResponseBatch { "responses": responses }
    OutgoingMessagesResponse { "messages": messages }
    OutgoingMessage {
        "id": id, "body": body, "expiry": expiry, "created": created,
        "sender": sender
    }
    ChannelStatsResponse { "channels": channels }
    ChannelStats { "id": id, "isPrivate": is_private, "isOnline": is_online }
    JsonResponse { "json": json }
    NotificationBatch { "notifications": notifications }
    IpcMessages { "messages": messages }
    IpcMessage {
        "receivers": receivers, "outgoingMessageId": outgoing_message_id,
        "outgoingMessage": outgoing_message
    }
    IpcLicenses { "licenses": licenses }
    IpcLicense { "license": license, "action": action }
    License {
        "id": id, "clientId": client_id, "securityKey": security_key,
        "securityAlgo": security_algo, "dateTo": date_to, "siteUrl": site_url,
        "verificationQuery": verification_query, "lastCheck": last_check,
        "host": host
    }
}

impl Decoded for proto::Request {
    fn decoded(&self) -> Value {
        match &self.command {
            None => json!({}),
            Some(request::Command::IncomingMessages(m)) => json!({"incomingMessages": m.decoded()}),
            Some(request::Command::ChannelStats(m)) => json!({"channelStats": m.decoded()}),
            Some(request::Command::ServerStats(m)) => json!({"serverStats": m.decoded()}),
            Some(request::Command::Registration(m)) => json!({"registration": m.decoded()}),
        }
    }
}

impl Decoded for proto::Response {
    fn decoded(&self) -> Value {
        match &self.command {
            None => json!({}),
            Some(response::Command::OutgoingMessages(m)) => {
                json!({"outgoingMessages": m.decoded()})
            }
            Some(response::Command::ChannelStats(m)) => json!({"channelStats": m.decoded()}),
            Some(response::Command::ServerStats(m)) => json!({"serverStats": m.decoded()}),
            Some(response::Command::Json(json)) => json!({ "json": json }),
        }
    }
}

impl Decoded for proto::Notification {
    fn decoded(&self) -> Value {
        match &self.command {
            None => json!({}),
            Some(notification::Command::IpcMessages(m)) => json!({"ipcMessages": m.decoded()}),
            Some(notification::Command::IpcLicenses(m)) => json!({"ipcLicenses": m.decoded()}),
        }
    }
}

/// A field as the vectors write it.
trait Field {
    fn value(&self) -> Value;
}

impl Field for Vec<u8> {
    fn value(&self) -> Value {
        hex::encode(self).into()
    }
}

impl Field for String {
    fn value(&self) -> Value {
        self.as_str().into()
    }
}

impl Field for u32 {
    fn value(&self) -> Value {
        (*self).into()
    }
}

impl Field for bool {
    fn value(&self) -> Value {
        (*self).into()
    }
}

/// The only enum there is.
impl Field for i32 {
    fn value(&self) -> Value {
        match proto::SenderType::try_from(*self).unwrap() {
            proto::SenderType::Unknown => Value::Null,
            proto::SenderType::Client => "CLIENT".into(),
            proto::SenderType::Backend => "BACKEND".into(),
        }
    }
}

impl<T: Decoded> Field for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Decoded::decoded)
    }
}

impl<T: Decoded> Field for Vec<T> {
    fn value(&self) -> Value {
        self.iter().map(Decoded::decoded).collect()
    }
}

/// Absent and default are equal, but for messages, which are there or not.
fn without_defaults(value: &Value) -> Value {
    let is_default = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "UNKNOWN",
        Value::Array(values) => values.is_empty(),
        Value::Object(_) => false,
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !is_default(value));
            fields.map(|(name, value)| (name.clone(), without_defaults(value))).collect()
        }
        Value::Array(values) => values.iter().map(without_defaults).collect(),
        other => other.clone(),
    }
}

fn through_the_structs<M>(wire: &[u8], expected: &Value)
where
    M: Message + Decoded + Default + PartialEq + std::fmt::Debug,
{
    let message = M::decode(wire).unwrap();
    assert_eq!(message.decoded(), without_defaults(expected));
    assert_eq!(M::decode(message.encode_to_vec().as_slice()).unwrap(), message);
}

#[test]
fn every_sample_decodes_to_what_is_recorded() {
    let vectors = vectors("protobuf.json");
    let (mut decoded, mut refused) = (0, 0);
    for sample in list(&vectors["samples"]) {
        let (wire, expected) = (unhex(text(&sample["hex"])), &sample["decoded"]);
        if expected.is_null() {
            // Some of these are well-formed and yet no request: the request's reader must tell.
            assert_eq!(sample["message"], "RequestBatch");
            refused += 1;
            continue;
        }
        let check = match text(&sample["message"]) {
            "Sender" => through_the_structs::<proto::Sender>,
            "Receiver" => through_the_structs::<proto::Receiver>,
            "ChannelId" => through_the_structs::<proto::ChannelId>,
            "RequestBatch" => through_the_structs::<proto::RequestBatch>,
            "Request" => through_the_structs::<proto::Request>,
            "IncomingMessagesRequest" => through_the_structs::<proto::IncomingMessagesRequest>,
            "IncomingMessage" => through_the_structs::<proto::IncomingMessage>,
            "ChannelStatsRequest" => through_the_structs::<proto::ChannelStatsRequest>,
            "ServerStatsRequest" => through_the_structs::<proto::ServerStatsRequest>,
            "RegisterRequest" => through_the_structs::<proto::RegisterRequest>,
            "ResponseBatch" => through_the_structs::<proto::ResponseBatch>,
            "Response" => through_the_structs::<proto::Response>,
            "OutgoingMessagesResponse" => through_the_structs::<proto::OutgoingMessagesResponse>,
            "OutgoingMessage" => through_the_structs::<proto::OutgoingMessage>,
            "ChannelStatsResponse" => through_the_structs::<proto::ChannelStatsResponse>,
            "ChannelStats" => through_the_structs::<proto::ChannelStats>,
            "JsonResponse" => through_the_structs::<proto::JsonResponse>,
            "NotificationBatch" => through_the_structs::<proto::NotificationBatch>,
            "Notification" => through_the_structs::<proto::Notification>,
            "IPCMessages" => through_the_structs::<proto::IpcMessages>,
            "IPCMessage" => through_the_structs::<proto::IpcMessage>,
            "IPCLicenses" => through_the_structs::<proto::IpcLicenses>,
            "IPCLicense" => through_the_structs::<proto::IpcLicense>,
            "License" => through_the_structs::<proto::License>,
            other => panic!("unknown message {other}"),
        };
        check(&wire, expected);
        decoded += 1;
    }
    assert_eq!((decoded, refused), (48, 6));
}

#[test]
fn request_batches_are_answered_as_recorded() {
    let vectors = vectors("protobuf.json");
    let key = text(&common::vectors("signatures.json")["security_key"]).to_owned();
    let verifier = verifier(Algorithm::Sha1, &key);
    let limits = Limits::default();
    let (mut good, mut bad) = (0, 0);
    for sample in list(&vectors["samples"]) {
        let source = text(&sample["source"]);
        if sample["message"] != "RequestBatch" || !source.starts_with("sent to the reference") {
            continue;
        }
        let wire = unhex(text(&sample["hex"]));
        let answer = if source.contains("rest path") {
            client(&wire, &limits, &verifier, Some([1; 16]), 0)
        } else {
            trusted(&wire, &limits, 0)
        };
        match (answer, source.split_once("answered 400 ")) {
            (Ok(_), None) if source.contains("answered 200") => good += 1,
            (Err(error), Some((_, recorded))) => {
                assert_eq!(error.to_string(), recorded.trim(), "{sample}");
                bad += 1;
            }
            (answer, _) => panic!("{answer:?}: {sample}"),
        }
        if sample["decoded"].is_null() {
            assert_eq!(trusted(&wire, &limits, 0), Err(ApiError::WrongRequestData));
            let by_client = client(&wire, &limits, &verifier, Some([1; 16]), 0);
            assert_eq!(by_client, Err(ApiError::WrongRequestData));
        }
    }
    assert_eq!((good, bad), (8, 7));
}

/// An `OutgoingMessage` as this crate writes it.
fn rewritten(message: &proto::OutgoingMessage) -> Vec<u8> {
    let id = push_protocol::Mid::from_bytes(&message.id).unwrap();
    let sender = message.sender.as_ref().unwrap();
    let sender = match sender.r#type() {
        proto::SenderType::Client => Sender::Client(sender.id.as_slice().try_into().unwrap()),
        _ => Sender::Backend,
    };
    with_id(id, &encode_rest(&message.body, message.expiry, message.created, sender))
}

#[test]
fn what_the_reference_sent_is_written_to_the_byte() {
    let vectors = vectors("protobuf.json");
    let mut count = 0;
    for sample in list(&vectors["samples"]) {
        if !text(&sample["source"]).starts_with("captured") {
            continue;
        }
        let wire = unhex(text(&sample["hex"]));
        let ours = match text(&sample["message"]) {
            "OutgoingMessage" => {
                let message = proto::OutgoingMessage::decode(wire.as_slice()).unwrap();
                assert_eq!(OutgoingView::parse(&wire).unwrap().body, message.body);
                rewritten(&message)
            }
            "NotificationBatch" => {
                let messages = parse_notification(&wire);
                assert_eq!(messages.len(), 1);
                let receivers = messages[0].receivers.iter().map(Receiver::parts);
                let outgoing = &messages[0].outgoing;
                [&announcement_head(receivers, outgoing.len())[..], outgoing].concat()
            }
            "ResponseBatch" => {
                let mut batch = proto::ResponseBatch::decode(wire.as_slice()).unwrap();
                assert_eq!(batch.responses.len(), 1);
                match batch.responses.remove(0).command.unwrap() {
                    response::Command::OutgoingMessages(messages) => {
                        let messages: Vec<_> = messages.messages.iter().map(rewritten).collect();
                        let messages: Vec<_> = messages.iter().map(Vec::as_slice).collect();
                        let mut out = Vec::new();
                        batch_of(&messages, &mut out);
                        out
                    }
                    response::Command::ChannelStats(stats) => {
                        let asked = stats.channels.iter().map(|channel| {
                            let id = channel.id.as_slice().try_into().unwrap();
                            let key = if channel.is_private {
                                ChannelKey::private(id)
                            } else {
                                ChannelKey::public(id)
                            };
                            (key, channel.is_online)
                        });
                        channel_stats_batch(&asked.collect::<Vec<_>>())
                    }
                    response::Command::ServerStats(stats) => server_stats_batch(&stats.json),
                    // Of the multi-tenant mode, which is not served.
                    response::Command::Json(_) => wire.clone(),
                }
            }
            other => panic!("unknown message {other}"),
        };
        assert_eq!(ours, wire, "{sample}");
        count += 1;
    }
    assert_eq!(count, 10);
}
