//! What is done with bytes before anything else.

use std::hint::black_box;

use push_protocol::channels::ChannelList;
use push_protocol::handshake::accept_key;
use push_protocol::hex::encode_id;
use push_protocol::query::Query;
use push_protocol::request::{Command, Limits, text, trusted};

use super::{body, channel, shared, verifier};
use crate::net::websocket;

const NOW: u32 = 1_795_408_173;

/// As the module's `sub` handler does it.
pub fn read_handshake(count: u32) {
    let verifier = verifier();
    let mut pair = [b':'; 65];
    pair[..32].copy_from_slice(&encode_id(&channel(1)));
    pair[33..].copy_from_slice(&encode_id(&channel(2)));
    let mut query = b"CHANNEL_ID=".to_vec();
    for (at, text) in [&pair[..], &encode_id(&shared())].into_iter().enumerate() {
        query.extend_from_slice(if at > 0 { b"/" } else { b"" });
        query.extend_from_slice(text);
        query.push(b'.');
        query.extend_from_slice(verifier.sign_text(text).expect("there is a key").as_bytes());
    }
    query.extend_from_slice(b"&binaryMode=true&mid=");
    for _ in 0..count {
        let query = Query::parse(black_box(&query));
        let list = query.channel_id.as_deref();
        let list = list.and_then(|list| ChannelList::for_subscriber(list, &verifier));
        assert_eq!(list.as_ref().map(|list| list.channels().len()), Some(2));
        black_box((list, accept_key(black_box(websocket::KEY.as_bytes()))));
    }
}

/// As the module's `pub` handler does it for a text.
pub fn read_text(count: u32) {
    let mut query = b"CHANNEL_ID=".to_vec();
    query.extend_from_slice(&encode_id(&channel(1)));
    let (verifier, body, limits) = (verifier(), body(), Limits::default());
    for _ in 0..count {
        let query = Query::parse(black_box(&query));
        let list = query.channel_id.as_deref();
        let list = list.and_then(|list| ChannelList::for_backend(list, &verifier));
        let list = list.expect("the list is right");
        let body = black_box(body.as_bytes());
        let message = text(list.receivers(), body, Some(b"600"), &limits, NOW);
        assert_eq!(message.receivers.len(), 1);
        black_box(message);
    }
}

/// As the module's `pub` handler does it for a batch.
pub fn read_batch(count: u32) {
    let batch = crate::publishers::batch(channel(1), body().as_bytes(), 600);
    let limits = Limits::default();
    for _ in 0..count {
        match trusted(black_box(&batch), &limits, NOW) {
            Ok(Command::Publish(messages)) => assert_eq!(black_box(messages).len(), 1),
            other => panic!("{other:?}"),
        }
    }
}
