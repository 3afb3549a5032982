//! Statistics of channels: what is asked and what is answered (PROTOCOL.md, section 8).

use super::Limits;
use crate::channels::ChannelList;
use crate::wire::{field_len, put_bytes, put_head};
use crate::{ApiError, ChannelKey, hex};

/// Bytes of one `ChannelStats` with its defaults written out, and of its id field in that.
const ENTRY: usize = 18 + 2 + 2;

/// The channels that `GET pub?CHANNEL_ID=…` asks for, in text and in binary: the private ids of the
/// list; a void list is `None`.
pub fn channel_stats(
    list: Option<&ChannelList>,
    limits: &Limits,
) -> Result<Vec<ChannelKey>, ApiError> {
    let channels = list.ok_or(ApiError::NoChannels)?.channels();
    if channels.len() > limits.max_channels {
        return Err(ApiError::TooManyChannels);
    }
    Ok(channels.iter().map(|channel| ChannelKey::private(channel.private)).collect())
}

/// The answer in text: the private ids that are online, in the order asked.
pub fn channel_stats_json(asked: &[(ChannelKey, bool)]) -> String {
    let mut out = String::from("{\"infos\":[");
    let mut separator = "";
    for (key, online) in asked {
        if *online && key.is_private() {
            out.push_str(separator);
            out.push_str("{\"channel\":\"");
            out.extend(hex::encode_id(&key.id).map(char::from));
            out.push_str("\",\"subscribers\":1}");
            separator = ",";
        }
    }
    out.push_str("]}");
    out
}

/// The answer in binary, a `ResponseBatch`: every channel asked, in that order.
pub fn channel_stats_batch(asked: &[(ChannelKey, bool)]) -> Vec<u8> {
    const CHANNELS: u8 = 1 << 3 | 2;
    let entries = asked.len() * field_len(ENTRY);
    let mut out = response(2, entries);
    for (key, online) in asked {
        put_head(&mut out, CHANNELS, ENTRY);
        put_bytes(&mut out, 1 << 3 | 2, &key.id);
        out.extend_from_slice(&[2 << 3, u8::from(key.is_private()), 3 << 3, u8::from(*online)]);
    }
    out
}

/// The answer to serverStats in binary, a `ResponseBatch` around the JSON text of section 8.3.
pub fn server_stats_batch(json: &str) -> Vec<u8> {
    let mut out = response(3, field_len(json.len()));
    put_bytes(&mut out, 1 << 3 | 2, json.as_bytes());
    out
}

/// The beginning of a `ResponseBatch` with one Response whose member `member` has `len` bytes.
fn response(member: u8, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(field_len(field_len(len)));
    put_head(&mut out, 1 << 3 | 2, field_len(len));
    put_head(&mut out, member << 3 | 2, len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Algorithm, Verifier};

    #[test]
    fn as_many_channels_as_allowed_may_be_asked_for() {
        let mut verifier = Verifier::new(Algorithm::Sha1);
        verifier.add_key(b"k");
        let pair = format!("{}:{}", "0a".repeat(16), "0b".repeat(16));
        let pair = format!("{pair}.{}", verifier.sign_text(pair.as_bytes()).unwrap());
        let value = format!("{pair}/{}", "0c".repeat(16));
        let list = ChannelList::for_backend(value.as_bytes(), &verifier);
        let ask = |max_channels| {
            channel_stats(list.as_ref(), &Limits { max_channels, ..Limits::default() })
        };
        let keys = [ChannelKey::private([0x0a; 16]), ChannelKey::private([0x0c; 16])];
        assert_eq!(ask(2), Ok(keys.to_vec()));
        assert_eq!(ask(1), Err(ApiError::TooManyChannels));
        assert_eq!(channel_stats(None, &Limits::default()), Err(ApiError::NoChannels));
    }

    #[test]
    fn text_lists_the_private_ids_that_are_online() {
        let (a, b) = (ChannelKey::private([0x0a; 16]), ChannelKey::private([0x0b; 16]));
        assert_eq!(channel_stats_json(&[]), "{\"infos\":[]}");
        assert_eq!(channel_stats_json(&[(a, false)]), "{\"infos\":[]}");
        let asked = [(b, true), (a, false), (ChannelKey::public([1; 16]), true), (b, true)];
        let entry = "{\"channel\":\"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\",\"subscribers\":1}";
        assert_eq!(channel_stats_json(&asked), format!("{{\"infos\":[{entry},{entry}]}}"));
    }
}
