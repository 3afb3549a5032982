//! Messages as they are stored, announced and delivered: against the schema's structs.

use prost::Message as _;
use push_protocol::notification::{announcement_head, parse_notification};
use push_protocol::outgoing::{OutgoingView, Sender, batch_len, batch_of, repaired, with_id};
use push_protocol::proto::{self, NotificationBatch, OutgoingMessage, ResponseBatch, SenderType};
use push_protocol::request::Receiver;
use push_protocol::{Mid, outgoing};

/// * What is read of a message is what the schema's struct has; both agree on what is none.
/// * A message whose text is not UTF-8 is repaired to one that is, and is the same otherwise.
/// * Announcements and batches say what was put into them.
pub fn run(bytes: &[u8]) {
    let view = OutgoingView::parse(bytes);
    let fixed = repaired(bytes);
    if view.is_some() {
        assert_eq!(fixed.as_deref(), Some(bytes), "nothing to repair");
    }
    if let Some(fixed) = &fixed {
        let view = OutgoingView::parse(fixed).expect("a repaired message can be read");
        assert_eq!(repaired(fixed).as_deref(), Some(&fixed[..]));
        written_anew(&view);
        announced(&view);
        batched(fixed);
    }
    if let Ok(message) = OutgoingMessage::decode(bytes) {
        from_struct(&message);
    }
    any_announcement(bytes);
}

fn from_struct(message: &OutgoingMessage) {
    let bytes = message.encode_to_vec();
    let view = OutgoingView::parse(&bytes);
    let Some(id) = Mid::from_bytes(&message.id) else {
        assert_eq!(view, None);
        return;
    };
    let view = view.expect("a message with an id");
    assert_eq!(view.id, id);
    assert_eq!((view.body, view.expiry), (&message.body[..], message.expiry));
    assert_eq!(view.created, message.created);
    let sender = message.sender.as_ref().and_then(|sender| {
        match SenderType::try_from(sender.r#type).ok()? {
            SenderType::Unknown => None,
            SenderType::Client => sender.id.clone().try_into().ok().map(Sender::Client),
            SenderType::Backend => Some(Sender::Backend),
        }
    });
    assert_eq!(view.sender, sender);
}

/// The encoder's own message for the same content.
fn written_anew(view: &OutgoingView<'_>) {
    let sender = view.sender.unwrap_or(Sender::Backend);
    let rest = outgoing::encode_rest(view.body, view.expiry, view.created, sender);
    let bytes = with_id(view.id, &rest);
    let again = OutgoingView { sender: Some(sender), ..*view };
    assert_eq!(OutgoingView::parse(&bytes), Some(again));
    let message = OutgoingMessage::decode(&bytes[..]).expect("what is written is protobuf");
    assert_eq!((&message.id[..], &message.body[..]), (&view.id.as_bytes()[..], view.body));
    assert_eq!((message.expiry, message.created), (view.expiry, view.created));
}

fn announced(view: &OutgoingView<'_>) {
    let receivers: Vec<_> = (0..view.created % 4)
        .map(|n| Receiver {
            key: if n % 2 == 0 {
                push_protocol::ChannelKey::private([n as u8; 16])
            } else {
                push_protocol::ChannelKey::public([n as u8; 16])
            },
            signature: vec![n as u8; n as usize * 7],
        })
        .collect();
    let sender = view.sender.unwrap_or(Sender::Backend);
    let rest = outgoing::encode_rest(view.body, view.expiry, view.created, sender);
    let outgoing = with_id(view.id, &rest);
    let head = announcement_head(receivers.iter().map(Receiver::parts), outgoing.len());
    let announcement = [&head[..], &outgoing].concat();
    let heard = parse_notification(&announcement);
    let [heard] = &heard[..] else { panic!("one message, not {}", heard.len()) };
    assert_eq!((heard.id, &heard.receivers), (view.id, &receivers));
    assert_eq!(heard.outgoing, outgoing);
    NotificationBatch::decode(&announcement[..]).expect("an announcement is protobuf");
}

fn batched(message: &[u8]) {
    for count in [0, 1, 3] {
        let messages = vec![message; count];
        let mut out = Vec::new();
        batch_of(&messages, &mut out);
        assert_eq!(out.len(), batch_len(messages.iter().map(|message| message.len())));
        let Ok(batch) = ResponseBatch::decode(&out[..]) else { continue };
        let [response] = &batch.responses[..] else { panic!("one response") };
        let Some(proto::response::Command::OutgoingMessages(inner)) = &response.command else {
            panic!("messages");
        };
        assert_eq!(inner.messages.len(), count);
    }
}

/// What a neighbour announces is fit for delivery, or left out.
fn any_announcement(bytes: &[u8]) {
    let heard = parse_notification(bytes);
    for message in &heard {
        let view = OutgoingView::parse(&message.outgoing).expect("fit for delivery");
        assert_eq!(view.id, message.id);
    }
    if let Ok(batch) = NotificationBatch::decode(bytes) {
        let anew = parse_notification(&batch.encode_to_vec());
        let ipc = batch.notifications.iter().filter_map(|n| match &n.command {
            Some(proto::notification::Command::IpcMessages(ipc)) => Some(&ipc.messages),
            _ => None,
        });
        let ids: Vec<Mid> = ipc
            .flatten()
            .filter_map(|m| Mid::from_bytes(&m.outgoing_message.as_ref()?.id))
            .collect();
        assert_eq!(anew.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
    }
}
