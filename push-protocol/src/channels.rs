//! The channel list of a connection or a request (PROTOCOL.md, sections 2.1, 2.3, 2.4).

use memchr::memchr;

use crate::signature::Verifier;
use crate::{ChannelId, ChannelKey, hex};

/// Hex digits of an id.
const ID: usize = 32;

/// One entry of a list: a private id, alone or in a pair with a public one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    /// The private id.
    pub private: ChannelId,
    /// The public id of a pair.
    pub public: Option<ChannelId>,
}

/// What must be signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Everything.
    All,
    /// Pairs; a bare private id may carry anything that has a signature's shape.
    Pairs,
}

/// A list without a flaw: a bad segment makes the whole of it void, so there is no such list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelList(Box<[Channel]>);

impl ChannelList {
    /// From the decoded value of `CHANNEL_ID` on sub and rest, where every entry must carry its
    /// right signature. `None`: a void list.
    pub fn for_subscriber(value: &[u8], verifier: &Verifier) -> Option<Self> {
        Self::parse(value, verifier, Rule::All)
    }

    /// From the decoded value of `CHANNEL_ID` on pub, where pairs must carry their right signature
    /// and private ids may carry none, or any. `None`: a void list.
    pub fn for_backend(value: &[u8], verifier: &Verifier) -> Option<Self> {
        Self::parse(value, verifier, Rule::Pairs)
    }

    /// The channels, in the order of the list, as often as they stand there. At least one.
    pub fn channels(&self) -> &[Channel] {
        &self.0
    }

    /// Of each channel the private id, then the public one if any.
    pub fn receivers(&self) -> impl Iterator<Item = ChannelKey> + '_ {
        self.0.iter().flat_map(|channel| {
            let public = channel.public.map(ChannelKey::public);
            std::iter::once(ChannelKey::private(channel.private)).chain(public)
        })
    }

    /// The first public id: what a client publishes as. Without one it may listen only.
    pub fn public_id(&self) -> Option<ChannelId> {
        self.0.iter().find_map(|channel| channel.public)
    }

    fn parse(value: &[u8], verifier: &Verifier, rule: Rule) -> Option<Self> {
        // The shape is checked first: a list with a flaw costs no HMAC.
        let segments = value.split(|&byte| byte == b'/');
        let parsed: Vec<Segment<'_>> = segments.map(Segment::parse).collect::<Option<_>>()?;
        parsed
            .iter()
            .all(|segment| segment.is_signed(verifier, rule))
            .then(|| Self(parsed.iter().map(|segment| segment.channel).collect()))
    }
}

/// An entry of the right shape.
struct Segment<'a> {
    channel: Channel,
    /// What the signature is made over: `private` or `private:public`.
    text: &'a [u8],
    signature: Option<&'a [u8]>,
}

impl<'a> Segment<'a> {
    fn parse(segment: &'a [u8]) -> Option<Self> {
        let (text, signature) = match memchr(b'.', segment) {
            Some(dot) => (&segment[..dot], Some(&segment[dot + 1..])),
            None => (segment, None),
        };
        if signature.is_some_and(|s| !(32..=128).contains(&s.len()) || !hex::is_hex(s)) {
            return None;
        }
        let private = hex::decode_id(text.get(..ID)?)?;
        let public = match &text[ID..] {
            [] => None,
            [b':', public @ ..] => Some(hex::decode_id(public)?),
            _ => return None,
        };
        Some(Self { channel: Channel { private, public }, text, signature })
    }

    fn is_signed(&self, verifier: &Verifier, rule: Rule) -> bool {
        if rule == Rule::Pairs && self.channel.public.is_none() {
            return true;
        }
        self.signature.is_some_and(|signature| verifier.verify_text(self.text, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Algorithm;

    const A: &str = "80e28956d1be17f866cb56c227a58736";
    const B: &str = "bc55368a04761a7c8aa5fbb1676c075b";
    const C: &str = "40ce40b0b9e5ba3b79f37747c9c8dfc3";

    fn verifier() -> Verifier {
        let mut verifier = Verifier::new(Algorithm::Sha1);
        verifier.add_key(b"k");
        verifier
    }

    fn signed(text: &str) -> String {
        format!("{text}.{}", verifier().sign_text(text.as_bytes()).unwrap())
    }

    fn id(text: &str) -> ChannelId {
        hex::decode_id(text.as_bytes()).unwrap()
    }

    #[test]
    fn receivers_are_each_private_id_then_its_public_one() {
        let value = [signed(C), signed(&format!("{A}:{B}")), signed(&format!("{C}:{A}"))].join("/");
        let list = ChannelList::for_subscriber(value.as_bytes(), &verifier()).unwrap();
        assert_eq!(list.channels().len(), 3);
        assert_eq!(list.public_id(), Some(id(B)));
        let receivers: Vec<_> = list.receivers().collect();
        assert_eq!(
            receivers,
            [
                ChannelKey::private(id(C)),
                ChannelKey::private(id(A)),
                ChannelKey::public(id(B)),
                ChannelKey::private(id(C)),
                ChannelKey::public(id(A)),
            ]
        );
    }

    #[test]
    fn a_backend_need_not_sign_private_ids() {
        let pair = signed(&format!("{A}:{B}"));
        let other = signed(C).replace(C, A);
        for (value, backend, subscriber) in [
            (A.to_owned(), true, false),
            (other, true, false),
            (format!("{A}:{B}"), false, false),
            (format!("{A}/{pair}"), true, false),
            (pair, true, true),
        ] {
            let value = value.as_bytes();
            assert_eq!(ChannelList::for_backend(value, &verifier()).is_some(), backend);
            assert_eq!(ChannelList::for_subscriber(value, &verifier()).is_some(), subscriber);
        }
    }
}
