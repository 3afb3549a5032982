//! What of `http.json` and `websocket.json` can be told of messages without a socket: every answer
//! and envelope in them is written again.

mod common;

use common::{list, stats_of, steps, unbase64, vectors};
use prost::Message;
use push_protocol::Mid;
use push_protocol::envelope::write_envelope;
use push_protocol::outgoing::{OutgoingView, Sender, batch_len, batch_of, encode_rest, with_id};
use push_protocol::proto::{self, response};
use push_protocol::request;

const NOW: u32 = 1_795_408_161;

/// Every binary answer that was recorded is written again to the byte.
#[test]
fn recorded_response_batches_are_written_again() {
    let (mut messages, mut stats) = (0, 0);
    for file in ["http.json", "websocket.json"] {
        let vectors = vectors(file);
        for case in list(&vectors["cases"]) {
            for step in list(&case["steps"]) {
                let expect = &step["expect"];
                let recorded = [&expect["recorded_base64"], &expect["body"]["recorded_base64"]];
                let Some(digits) = recorded.iter().find_map(|digits| digits.as_str()) else {
                    continue;
                };
                let wire = unbase64(digits);
                let mut ours = Vec::new();
                for response in proto::ResponseBatch::decode(wire.as_slice()).unwrap().responses {
                    match response.command.unwrap() {
                        response::Command::OutgoingMessages(response) => {
                            messages += response.messages.len();
                            rewrite(&response.messages, &mut ours);
                        }
                        response::Command::ChannelStats(response) => {
                            stats += 1;
                            let command = Some(response::Command::ChannelStats(response));
                            let responses = vec![proto::Response { command }];
                            let alone = proto::ResponseBatch { responses }.encode_to_vec();
                            ours.extend(request::channel_stats_batch(&stats_of(&alone)));
                        }
                        response::Command::ServerStats(response) => {
                            stats += 1;
                            ours.extend(request::server_stats_batch(&response.json));
                        }
                        response::Command::Json(_) => panic!("{}", case["id"]),
                    }
                }
                assert_eq!(ours, wire, "{}", case["id"]);
            }
        }
    }
    assert_eq!((messages, stats), (53, 10));
}

fn rewrite(messages: &[proto::OutgoingMessage], out: &mut Vec<u8>) {
    let rewritten = messages.iter().map(|message| {
        let sender = message.sender.as_ref().unwrap();
        let sender = match sender.r#type() {
            proto::SenderType::Client => Sender::Client(sender.id.as_slice().try_into().unwrap()),
            _ => Sender::Backend,
        };
        let id = Mid::from_bytes(&message.id).unwrap();
        let rest = encode_rest(&message.body, message.expiry, message.created, sender);
        let whole = with_id(id, &rest);
        let view = OutgoingView::parse(&whole).unwrap();
        assert_eq!((view.id, view.body, view.sender), (id, message.body.as_str(), Some(sender)));
        assert_eq!((view.expiry, view.created), (message.expiry, message.created));
        whole
    });
    let rewritten: Vec<_> = rewritten.collect();
    let slices: Vec<_> = rewritten.iter().map(Vec::as_slice).collect();
    let before = out.len();
    batch_of(&slices, out);
    assert_eq!(out.len() - before, batch_len(slices.iter().map(|message| message.len())));
}

/// Every recorded envelope, written again from its body. What varies from run to run is put in
/// for the placeholders.
#[test]
fn recorded_envelopes_are_written_again() {
    const END: &str = "#!NGINXNME!#";
    let mut count = 0;
    for file in ["http.json", "websocket.json"] {
        let vectors = vectors(file);
        for (case, step, _) in steps(&vectors) {
            let expect = &step["expect"];
            let whole = expect["body"]["utf8"].as_str().or_else(|| expect["utf8"].as_str());
            let whole = whole.filter(|whole| whole.contains("NGINXNMS"));
            for (i, envelope) in
                whole.iter().flat_map(|whole| whole.split_inclusive(END)).enumerate()
            {
                let id = Mid::new(1_795_406_332, 3072 + i as u64);
                let (_, text) = envelope.split_once("\"text\":").unwrap();
                let body = text.strip_suffix(END).unwrap().strip_suffix('}').unwrap();
                let view = OutgoingView { id, body, expiry: 0, created: NOW, sender: None };
                let mut ours = Vec::new();
                write_envelope(&mut ours, &view, u64::from(NOW) * 1000 + 42);
                let filled = fill(envelope, &id);
                assert_eq!(String::from_utf8(ours).unwrap(), filled, "{}", case["id"]);
                count += 1;
            }
        }
    }
    assert_eq!(count, 373);
}

fn fill(envelope: &str, id: &Mid) -> String {
    let mut out = String::new();
    let mut rest = envelope;
    while let Some((before, after)) = rest.split_once("{{") {
        let (placeholder, after) = after.split_once("}}").unwrap();
        out.push_str(before);
        match placeholder.split(':').next().unwrap() {
            "counter" => out.push_str(&id.counter().to_string()),
            "mid" => out.push_str(&id.to_string()),
            "tag" => out.push_str("042"),
            "http_date" => out.push_str("Mon, 23 Nov 2026 04:29:21 GMT"),
            other => panic!("placeholder {other}"),
        }
        rest = after;
    }
    out + rest
}
