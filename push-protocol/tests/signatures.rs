//! `signatures.json`, every entry.

mod common;

use common::{list, text, unhex, vectors, verifier};
use prost::Message;
use push_protocol::ApiError;
use push_protocol::channels::ChannelList;
use push_protocol::hex;
use push_protocol::proto;
use push_protocol::query::Query;
use push_protocol::request::{self, Command, Limits};
use push_protocol::signature::Algorithm;

#[test]
fn signatures_are_made_and_verified() {
    let vectors = vectors("signatures.json");
    let (mut made, mut not_served) = (0, 0);
    for entry in list(&vectors["signatures"]) {
        let algorithm = match entry["algorithm"].as_str() {
            None => Algorithm::Sha1,
            // Recorded because the reference takes whatever its runtime has; broken, so refused.
            Some("md5") => {
                assert!("md5".parse::<Algorithm>().is_err());
                not_served += 1;
                continue;
            }
            Some(name) => name.parse().unwrap(),
        };
        let verifier = verifier(algorithm, text(&entry["security_key"]));
        let (input, expected) = (text(&entry["input"]), text(&entry["expected"]));
        if entry["kind"] == "public" {
            let id = hex::decode_id(text(&entry["public_id"]).as_bytes()).unwrap();
            assert_eq!(input, format!("public:{}", text(&entry["public_id"])));
            assert_eq!(verifier.sign_public(&id), Some(unhex(expected)), "{entry}");
            assert!(verifier.verify_public(&id, &unhex(expected)), "{entry}");
        } else {
            assert_eq!(verifier.sign_text(input.as_bytes()).as_deref(), Some(expected), "{entry}");
            assert!(verifier.verify_text(input.as_bytes(), expected.as_bytes()), "{entry}");
        }
        if let Some(value) = entry["channel_string"].as_str() {
            let list = ChannelList::for_subscriber(value.as_bytes(), &verifier).unwrap();
            let channel = list.channels()[0];
            assert_eq!(hex::encode(&channel.private), text(&entry["private_id"]));
            let public = channel.public.map(|id| hex::encode(&id));
            assert_eq!(public.as_deref(), entry["public_id"].as_str());
        }
        made += 1;
    }
    assert_eq!((made, not_served), (41, 1));
}

#[test]
fn channel_strings_get_their_verdicts() {
    let vectors = vectors("signatures.json");
    let verifier = verifier(Algorithm::Sha1, text(&vectors["security_key"]));
    let mut count = 0;
    for entry in list(&vectors["channel_strings"]) {
        let args = format!("CHANNEL_ID={}", text(&entry["raw_query_value"]));
        let value = Query::parse(args.as_bytes()).channel_id.unwrap();
        let subscriber = ChannelList::for_subscriber(&value, &verifier);
        let backend = ChannelList::for_backend(&value, &verifier);
        // On rest a list is of use only if it yields a public id.
        let public_id = subscriber.as_ref().and_then(ChannelList::public_id);
        let rest = request::client(b"", &Limits::default(), &verifier, public_id, 0);
        let verdict = |accepted| if accepted { "accept" } else { "reject" };
        assert_eq!(verdict(subscriber.is_some()), entry["sub"], "sub: {entry}");
        assert_eq!(verdict(backend.is_some()), entry["pub"], "pub: {entry}");
        assert_eq!(
            verdict(rest == Err(ApiError::WrongRequestData)),
            entry["rest"],
            "rest: {entry}"
        );
        assert_eq!(verdict(rest != Err(ApiError::PublicChannelRequired)), entry["rest"]);
        count += 1;
    }
    assert_eq!(count, 62);
}

#[test]
fn receiver_signatures_get_their_verdicts() {
    let vectors = vectors("signatures.json");
    let verifier = verifier(Algorithm::Sha1, text(&vectors["security_key"]));
    let sender = text(&vectors["channels"]["b"]["public_id"]);
    let sender = hex::decode_id(sender.as_bytes());
    let mut count = 0;
    for entry in list(&vectors["receiver_signatures"]) {
        let id = unhex(text(&entry["public_id"]));
        let signature = entry["signature_hex"].as_str().map(unhex).unwrap_or_default();
        let accepted = entry["expected"] == "accept";
        let key = id.as_slice().try_into().unwrap();
        assert_eq!(verifier.verify_public(&key, &signature), accepted, "{entry}");

        let channels = vec![proto::ChannelId { id, is_private: false, signature }];
        let stats = proto::ChannelStatsRequest { channels };
        let command = Some(proto::request::Command::ChannelStats(stats));
        let batch = proto::RequestBatch { requests: vec![proto::Request { command }] };
        let limits = Limits::default();
        let answer = request::client(&batch.encode_to_vec(), &limits, &verifier, sender, 0);
        if accepted {
            assert!(matches!(answer, Ok(Command::ChannelStats(_))), "{entry}");
        } else {
            assert_eq!(answer, Err(ApiError::InvalidSignature), "{entry}");
        }
        count += 1;
    }
    assert_eq!(count, 16);
}
