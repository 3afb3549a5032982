//! Who subscribes to what: a private:public pair for each, and a channel that all share.

use push_protocol::ChannelId;
use push_protocol::hex::encode_id;

use crate::position::Position;
use crate::stamp::SHARED;
use crate::target::{Target, Template};

/// A stream of numbers that looks random and is the same for the same seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// By its seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }
}

/// The channels of one scenario. Nothing is kept but the seed: ids are made when they are needed.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    seed: u64,
}

/// Sets the channels of different purposes apart.
#[derive(Clone, Copy)]
enum Purpose {
    Private = 1,
    Public = 2,
    Shared = 3,
}

impl Population {
    /// One that is the same in every program.
    pub const SAME: Self = Self { seed: 7 };

    /// By its seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn id(self, purpose: Purpose, number: u32) -> ChannelId {
        let offset = (purpose as u64) << 40 | u64::from(number) << 2;
        let mut random = Random::new(self.seed ^ offset.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random.number().to_be_bytes());
        id[8..].copy_from_slice(&random.number().to_be_bytes());
        id
    }

    /// The channel that a stream (see [`crate::stamp`]) is published to.
    pub fn channel(self, stream: u32) -> ChannelId {
        match stream {
            SHARED => self.id(Purpose::Shared, 0),
            _ => self.id(Purpose::Private, stream - 1),
        }
    }

    /// Appends the request target by which a subscriber listens, with what is newer than `position`.
    pub fn write_target(
        self,
        target: &Target,
        template: &Template,
        subscriber: u32,
        position: &Position,
        out: &mut Vec<u8>,
    ) {
        let private = encode_id(&self.id(Purpose::Private, subscriber));
        let public = encode_id(&self.id(Purpose::Public, subscriber));
        let shared = encode_id(&self.channel(SHARED));
        let mut rest = template.path.as_str();
        while let Some((front, place, behind)) = split_place(rest) {
            out.extend_from_slice(front.as_bytes());
            match place {
                "private" => out.extend_from_slice(&private),
                "public" => out.extend_from_slice(&public),
                "shared" => out.extend_from_slice(&shared),
                "mid" => position.write(out),
                "channels" => {
                    let mut pair = [b':'; 65];
                    pair[..32].copy_from_slice(&private);
                    pair[33..].copy_from_slice(&public);
                    put_signed(target, &pair, out);
                    out.push(b'/');
                    put_signed(target, &shared, out);
                }
                _ => {
                    out.push(b'{');
                    out.extend_from_slice(place.as_bytes());
                    out.push(b'}');
                }
            }
            rest = behind;
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

fn split_place(text: &str) -> Option<(&str, &str, &str)> {
    let (front, rest) = text.split_once('{')?;
    let (place, behind) = rest.split_once('}')?;
    Some((front, place, behind))
}

fn put_signed(target: &Target, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    if let Some(signature) = target.signer.sign_text(text) {
        out.push(b'.');
        out.extend_from_slice(signature.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TargetOptions;
    use push_protocol::Mid;
    use push_protocol::channels::ChannelList;
    use push_protocol::query::Query;

    fn target(arguments: &[&str]) -> Target {
        Target::new(&TargetOptions::from_words(arguments).unwrap()).unwrap()
    }

    fn path(target: &Target, subscriber: u32, position: &Position) -> String {
        let mut out = Vec::new();
        Population::new(7).write_target(target, &target.subscribe, subscriber, position, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_server_accepts_the_signed_channels() {
        let target = target(&["--key", "secret"]);
        let mid = Mid::new(1_795_406_332, 3072);
        let path = path(&target, 5, &Position::Mid(mid));
        let (_, arguments) = path.split_once('?').unwrap();
        let query = Query::parse(arguments.as_bytes());
        assert_eq!((query.mid, query.binary), (Some(mid), true));
        let list = ChannelList::for_subscriber(&query.channel_id.unwrap(), &target.signer).unwrap();
        let [pair, shared] = list.channels() else {
            panic!("{list:?}");
        };
        let population = Population::new(7);
        assert_eq!(pair.private, population.channel(6));
        assert_eq!(shared.private, population.channel(SHARED));
        assert!(pair.public.is_some() && shared.public.is_none());
    }

    #[test]
    fn templates_take_bare_ids() {
        let url = "ws://127.0.0.1:1/s?a={private}&b={public}&c={shared}&m={mid}&{other}";
        let target = target(&["--sub-template", url]);
        let path = path(&target, 0, &Position::Nowhere);
        let hex =
            |stream| String::from_utf8(encode_id(&Population::new(7).channel(stream)).to_vec());
        assert!(path.starts_with(&format!("/s?a={}&b=", hex(1).unwrap())), "{path}");
        assert!(path.ends_with(&format!("&c={}&m=&{{other}}", hex(SHARED).unwrap())), "{path}");
    }

    #[test]
    fn channels_differ_by_number_purpose_and_seed() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..4 {
            for stream in 0..1000 {
                assert!(seen.insert(Population::new(seed).channel(stream)));
            }
        }
        assert!(!seen.contains(&Population::new(0).id(Purpose::Public, 0)));
    }
}
