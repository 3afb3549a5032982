//! Ids, queries and channel lists: properties.

use proptest::prelude::*;
use push_protocol::channels::ChannelList;
use push_protocol::query::{Query, form_decode};
use push_protocol::request::parse_expiry;
use push_protocol::signature::{Algorithm, Verifier};
use push_protocol::{ChannelId, Mid, handshake, hex};

fn verifier() -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    verifier.add_key(b"key");
    verifier
}

/// A channel as a client names it, signed.
fn segment((private, public): &(ChannelId, Option<ChannelId>)) -> String {
    let mut text = hex::encode(private);
    if let Some(public) = public {
        text = format!("{text}:{}", hex::encode(public));
    }
    let signature = verifier().sign_text(text.as_bytes()).unwrap();
    format!("{text}.{signature}")
}

fn channels() -> impl Strategy<Value = Vec<(ChannelId, Option<ChannelId>)>> {
    prop::collection::vec((any::<ChannelId>(), any::<Option<ChannelId>>()), 1..6)
}

fn percent_encoded(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let escape = |&byte: &u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() && plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(escape).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn digits_bytes_numbers_and_order_of_mids_agree(
        a in (0u64..10_000_000_000, 0u64..10_000_000_000_000_000),
        b in (0u64..10_000_000_000, 0u64..10_000_000_000_000_000),
    ) {
        let (x, y) = (Mid::new(a.0, a.1), Mid::new(b.0, b.1));
        prop_assert_eq!((x.start(), x.counter()), a);
        prop_assert_eq!(Mid::from_digits(&x.to_digits()), Some(x));
        prop_assert_eq!(Mid::from_bytes(x.as_bytes()), Some(x));
        prop_assert_eq!(x.to_string(), format!("{:010}{:016}", a.0, a.1));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x.cmp(&y), x.as_bytes().cmp(y.as_bytes()));
        prop_assert_eq!(x.cmp(&y), x.to_digits().cmp(&y.to_digits()));
        prop_assert!(Mid::ZERO <= x && x <= Mid::MAX);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = (Query::parse(&bytes), form_decode(&bytes), Mid::from_bytes(&bytes));
        let _ = (Mid::from_digits(&bytes), hex::decode_id(&bytes), handshake::accept_key(&bytes));
        let _ = (handshake::first_subprotocol(&bytes), parse_expiry(&bytes, 100));
        prop_assert_eq!(ChannelList::for_subscriber(&bytes, &verifier()), None);
    }

    #[test]
    fn what_is_encoded_is_decoded(value: Vec<u8>, plain: u64) {
        let encoded = percent_encoded(&value, |byte| plain >> (byte % 64) & 1 == 1);
        prop_assert_eq!(&*form_decode(encoded.as_bytes()), &value);
        let args = format!("a=b&CHANNEL_ID={encoded}&mid=x");
        let query = Query::parse(args.as_bytes());
        prop_assert_eq!(query.channel_id.as_deref(), Some(&value[..]));
    }

    #[test]
    fn a_signed_list_is_read_and_a_changed_one_is_void(
        channels in channels(),
        change in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let value = channels.iter().map(segment).collect::<Vec<_>>().join("/");
        let list = ChannelList::for_subscriber(value.as_bytes(), &verifier()).unwrap();
        let read = list.channels().iter().map(|channel| (channel.private, channel.public));
        prop_assert_eq!(read.collect::<Vec<_>>(), channels.clone());
        prop_assert_eq!(list.public_id(), channels.iter().find_map(|(_, public)| *public));
        prop_assert_eq!(ChannelList::for_backend(value.as_bytes(), &verifier()), Some(list));

        let mut changed = value.clone().into_bytes();
        let at = change.0.index(changed.len());
        changed[at] = change.1;
        if changed != value.as_bytes() {
            prop_assert_eq!(ChannelList::for_subscriber(&changed, &verifier()), None);
        }
        for flawed in [format!("/{value}"), format!("{value}/"), value.replace('.', "..")] {
            prop_assert_eq!(ChannelList::for_subscriber(flawed.as_bytes(), &verifier()), None);
            prop_assert_eq!(ChannelList::for_backend(flawed.as_bytes(), &verifier()), None);
        }
    }

    #[test]
    fn an_expiry_is_what_its_digits_say(
        blanks in "[ \t]{0,3}", plus in "[+]?", value: u64, rest in "([^0-9].{0,5})?", max: u32,
    ) {
        let header = format!("{blanks}{plus}{value}{rest}");
        let expected = value.min(u64::from(max)) as u32;
        prop_assert_eq!(parse_expiry(header.as_bytes(), max), expected);
        prop_assert_eq!(parse_expiry(format!("{blanks}-{value}").as_bytes(), max), 0);
    }
}
