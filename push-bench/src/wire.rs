//! How a server wraps what it delivers.

use clap::ValueEnum;
use memchr::memmem;
use push_protocol::Mid;
use push_protocol::outgoing::OutgoingView;

use crate::stamp::Stamp;

/// The wrapping of delivered messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Wire {
    /// A `ResponseBatch` of protobuf (PROTOCOL.md, section 7.2).
    Binary,
    /// Envelopes (PROTOCOL.md, section 7.1).
    Text,
    /// The body alone, without an id.
    Raw,
    /// The body behind what nchan's subprotocol `ws+meta.nchan` says of it, or in an answer with
    /// nchan's headers.
    Nchan,
}

impl Wire {
    /// Goes through the messages of a frame or an answer. Returns how many it found that are not
    /// a generator's.
    pub fn messages(self, payload: &[u8], mut each: impl FnMut(Option<Mid>, Stamp)) -> u32 {
        match self {
            Self::Binary => binary(payload, &mut each),
            Self::Text => marked(
                payload,
                |head| {
                    let at = memmem::rfind(head, b"\"mid\":\"")? + 7;
                    Mid::from_digits(head.get(at..at + 26)?)
                },
                &mut each,
            ),
            Self::Raw | Self::Nchan => marked(payload, |_| None, &mut each),
        }
    }
}

/// `ResponseBatch` > `Response` > `OutgoingMessagesResponse` > `OutgoingMessage`: each is field 1
/// of the one around it.
fn binary(batch: &[u8], each: &mut impl FnMut(Option<Mid>, Stamp)) -> u32 {
    let mut strangers = 0;
    for response in Firsts(batch) {
        for messages in Firsts(response) {
            for message in Firsts(messages) {
                let known = OutgoingView::parse(message)
                    .and_then(|view| Some((view.id, Stamp::find(view.body.as_bytes())?.0)));
                match known {
                    Some((id, stamp)) => each(Some(id), stamp),
                    None => strangers += 1,
                }
            }
        }
    }
    strangers
}

/// Messages that are told by their stamps; the id stands somewhere in front of the stamp.
fn marked(
    payload: &[u8],
    id: impl Fn(&[u8]) -> Option<Mid>,
    each: &mut impl FnMut(Option<Mid>, Stamp),
) -> u32 {
    let mut rest = payload;
    let mut found = false;
    while let Some((stamp, behind)) = Stamp::find(rest) {
        each(id(&rest[..rest.len() - behind.len()]), stamp);
        (rest, found) = (behind, true);
    }
    u32::from(!found)
}

/// The length-delimited fields 1 at the front of a message.
struct Firsts<'a>(&'a [u8]);

impl<'a> Iterator for Firsts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(&[1 << 3 | 2])?;
        let (mut len, mut used) = (0, 0);
        for &byte in rest.iter().take(5) {
            len |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte < 0x80 {
                break;
            }
        }
        let (field, behind) = rest.get(used..)?.split_at_checked(len)?;
        self.0 = behind;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use push_protocol::envelope::write_envelope;
    use push_protocol::outgoing::{Sender, batch_of, encode_rest, with_id};

    fn stamp(sequence: u32) -> Stamp {
        Stamp { run: 1, stream: 2, sequence, sent: 3 }
    }

    fn message(sequence: u32) -> (Mid, Vec<u8>) {
        let mut body = Vec::new();
        stamp(sequence).write_body(&mut body, 300);
        let rest = encode_rest(std::str::from_utf8(&body).unwrap(), 60, 5, Sender::Backend);
        let id = Mid::new(1_795_406_332, u64::from(sequence));
        (id, with_id(id, &rest))
    }

    fn read(wire: Wire, payload: &[u8]) -> (Vec<(Option<Mid>, u32)>, u32) {
        let mut seen = Vec::new();
        let strangers = wire.messages(payload, |mid, stamp| seen.push((mid, stamp.sequence)));
        (seen, strangers)
    }

    #[test]
    fn binary_live_and_replayed() {
        let (messages, expected): (Vec<_>, Vec<_>) = (1..=3)
            .map(|sequence| {
                let (id, bytes) = message(sequence);
                (bytes, (Some(id), sequence))
            })
            .unzip();
        let views: Vec<_> = messages.iter().map(Vec::as_slice).collect();
        let mut payload = Vec::new();
        batch_of(&views[..1], &mut payload);
        assert_eq!(read(Wire::Binary, &payload), (expected[..1].to_vec(), 0));
        batch_of(&views[1..], &mut payload);
        assert_eq!(read(Wire::Binary, &payload), (expected, 0));
    }

    #[test]
    fn text_with_the_id_of_each_envelope() {
        let mut payload = Vec::new();
        let mut expected = Vec::new();
        for sequence in 1..=3 {
            let (id, bytes) = message(sequence);
            write_envelope(&mut payload, &OutgoingView::parse(&bytes).unwrap(), 5000);
            expected.push((Some(id), sequence));
        }
        assert_eq!(read(Wire::Text, &payload), (expected, 0));
    }

    #[test]
    fn raw_has_no_id_and_strangers_are_counted() {
        let mut payload = Vec::new();
        stamp(9).write_body(&mut payload, 80);
        assert_eq!(read(Wire::Raw, &payload), (vec![(None, 9)], 0));
        assert_eq!(read(Wire::Raw, b"{\"a\":1}"), (vec![], 1));
        let rest = encode_rest("{}", 0, 5, Sender::Backend);
        let foreign = with_id(Mid::new(1, 1), &rest);
        payload.clear();
        batch_of(&[&foreign], &mut payload);
        assert_eq!(read(Wire::Binary, &payload), (vec![], 1));
    }

    #[test]
    fn cut_protobuf_is_no_message() {
        let (_, bytes) = message(1);
        let mut payload = Vec::new();
        batch_of(&[&bytes], &mut payload);
        for len in 0..payload.len() {
            assert_eq!(read(Wire::Binary, &payload[..len]).0, vec![], "{len}");
        }
    }
}
