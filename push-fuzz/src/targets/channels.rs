//! [`ChannelList`]: against a parser written the slow way, with signatures made where the input
//! asks for them.

use push_protocol::channels::{Channel, ChannelList};
use push_protocol::hex;

use crate::keys;

/// * Both readers accept what the slow parser accepts, and find the same channels.
/// * What a subscriber may say a backend may say.
/// * A list stays good with the same channels signed anew, and is void when a signature is
///   touched, when something is behind it, and under another key.
pub fn run(bytes: &[u8]) {
    let value = sign(bytes);
    let verifier = keys::verifier();
    let subscriber = ChannelList::for_subscriber(&value, &verifier);
    let backend = ChannelList::for_backend(&value, &verifier);
    assert_eq!(subscriber.as_ref().map(ChannelList::channels), slow(&value, false).as_deref());
    assert_eq!(backend.as_ref().map(ChannelList::channels), slow(&value, true).as_deref());

    let Some(list) = subscriber else { return };
    assert_eq!(backend.as_ref(), Some(&list));
    let pairs = list.channels().iter().filter(|channel| channel.public.is_some()).count();
    assert_eq!(list.receivers().count(), list.channels().len() + pairs);
    assert_eq!(list.receivers().filter(|key| !key.is_private()).count(), pairs);
    assert_eq!(list.public_id().is_some(), pairs > 0);

    let anew: Vec<Vec<u8>> = list.channels().iter().map(write).collect();
    let anew = anew.join(&b'/');
    assert_eq!(ChannelList::for_subscriber(&anew, &verifier), Some(list));
    let mut touched = anew.clone();
    if let Some(last) = touched.last_mut() {
        *last = if *last == b'0' { b'1' } else { b'0' };
    }
    let stranger = keys::verifier_of(&["some other key"]);
    assert_eq!(ChannelList::for_subscriber(&touched, &verifier), None);
    assert_eq!(ChannelList::for_subscriber(&[&anew[..], b"/"].concat(), &verifier), None);
    assert_eq!(ChannelList::for_subscriber(&anew, &stranger), None);
}

/// Puts right signatures where the input has marks for them.
fn sign(bytes: &[u8]) -> Vec<u8> {
    let segments = bytes.split(|&byte| byte == b'/').map(|segment| {
        for (n, mark) in [keys::SIGN, keys::SIGN_OLD].into_iter().enumerate() {
            if let Some(text) = segment.strip_suffix(mark).and_then(|s| s.strip_suffix(b".")) {
                return [text, b".", keys::signatures(text)[n].as_bytes()].concat();
            }
        }
        segment.to_vec()
    });
    segments.collect::<Vec<_>>().join(&b'/')
}

fn write(channel: &Channel) -> Vec<u8> {
    let mut text = hex::encode(&channel.private);
    if let Some(public) = channel.public {
        text = format!("{text}:{}", hex::encode(&public));
    }
    let [signature, _] = keys::signatures(text.as_bytes());
    format!("{text}.{signature}").into_bytes()
}

/// PROTOCOL.md, section 2.1, word by word. `backend`: private ids need no right signature.
fn slow(value: &[u8], backend: bool) -> Option<Vec<Channel>> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let text = std::str::from_utf8(value).ok()?;
    let mut channels = Vec::new();
    let mut all_signed = true;
    for segment in text.split('/') {
        let (ids, signature) = match segment.split_once('.') {
            Some((ids, signature)) => (ids, Some(signature)),
            None => (segment, None),
        };
        if let Some(signature) = signature
            && !((32..=128).contains(&signature.len()) && signature.chars().all(is_digit))
        {
            return None;
        }
        let mut parsed = Vec::new();
        for id in ids.split(':') {
            if id.len() != 32 || !id.chars().all(is_digit) {
                return None;
            }
            parsed.push(u128::from_str_radix(id, 16).ok()?.to_be_bytes());
        }
        let channel = match parsed[..] {
            [private] => Channel { private, public: None },
            [private, public] => Channel { private, public: Some(public) },
            _ => return None,
        };
        let free = backend && channel.public.is_none();
        let right = || keys::signatures(ids.as_bytes()).iter().any(|s| Some(&s[..]) == signature);
        all_signed &= free || right();
        channels.push(channel);
    }
    all_signed.then_some(channels)
}
