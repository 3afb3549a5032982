//! The announcements and stored values of `redis.json`, to the byte.

mod common;

use common::{list, text, unhex, vectors};
use push_protocol::notification::{announcement_head, parse_notification};
use push_protocol::outgoing::{OutgoingView, encode_rest, with_id};
use push_protocol::request::Receiver;

#[test]
fn announcements_and_stored_values_are_the_recorded_ones() {
    let vectors = vectors("redis.json");
    let (mut announcements, mut stored) = (0, 0);
    for scenario in list(&vectors["scenarios"]) {
        for published in list(&scenario["published"]) {
            let payload = unhex(text(&published["payload_hex"]));
            let messages = parse_notification(&payload);
            assert_eq!(messages.len(), 1, "{published}");
            let message = &messages[0];
            let view = OutgoingView::parse(&message.outgoing).unwrap();
            assert_eq!(view.id, message.id);

            let rest = encode_rest(view.body, view.expiry, view.created, view.sender.unwrap());
            assert_eq!(with_id(view.id, &rest), message.outgoing, "{published}");
            let receivers = message.receivers.iter().map(Receiver::parts);
            let head = announcement_head(receivers, message.outgoing.len());
            assert_eq!([&head[..], &message.outgoing].concat(), payload, "{published}");

            let decoded = &published["payload_decoded"]["fields"]["notifications"][0];
            let decoded = &decoded["ipcMessages"]["messages"][0];
            assert_eq!(text(&decoded["outgoingMessage"]["id"]), view.id.to_string());
            assert_eq!(text(&decoded["outgoingMessage"]["body"]), view.body);
            assert_eq!(list(&decoded["receivers"]).len(), message.receivers.len());
            for (theirs, ours) in list(&decoded["receivers"]).iter().zip(&message.receivers) {
                assert_eq!(unhex(text(&theirs["id"])), ours.key.id);
                assert_eq!(theirs["isPrivate"].as_bool().unwrap_or(false), ours.key.is_private());
                let signature = theirs["signature"].as_str().map(unhex).unwrap_or_default();
                assert_eq!(signature, ours.signature);
            }
            announcements += 1;
        }
        for key in list(&scenario["keys"]) {
            if key["value_decoded"]["type"] != "OutgoingMessage" {
                continue;
            }
            let value = unhex(text(&key["value_hex"]));
            let view = OutgoingView::parse(&value).unwrap();
            let rest = encode_rest(view.body, view.expiry, view.created, view.sender.unwrap());
            assert_eq!(with_id(view.id, &rest), value, "{key}");
            assert_eq!(
                unhex(text(&key["key_hex"])),
                [b"message:", &view.id.as_bytes()[..]].concat()
            );
            stored += 1;
        }
    }
    assert_eq!((announcements, stored), (11, 9));
}
