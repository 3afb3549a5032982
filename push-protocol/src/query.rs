//! Query parameters (PROTOCOL.md, sections 1.1 and 3).

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::Mid;

/// What a query says. Everything else in it is ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query<'a> {
    /// The decoded value of `CHANNEL_ID`; to be read by [`crate::channels::ChannelList`].
    pub channel_id: Option<Cow<'a, [u8]>>,
    /// `mid`, if it is exactly 26 decimal digits.
    pub mid: Option<Mid>,
    /// `binaryMode` is exactly `true`.
    pub binary: bool,
}

impl<'a> Query<'a> {
    /// Parses what follows the first `?` of the raw request target. A second `?` ends the query; of
    /// a repeated parameter the first counts, whatever it holds.
    pub fn parse(args: &'a [u8]) -> Self {
        let args = memchr(b'?', args).map_or(args, |end| &args[..end]);
        let mut query = Self::default();
        let (mut channel_seen, mut mid_seen, mut binary_seen) = (false, false, false);
        for parameter in args.split(|&byte| byte == b'&') {
            let (name, value) = match memchr(b'=', parameter) {
                Some(equals) => (&parameter[..equals], &parameter[equals + 1..]),
                None => (parameter, &parameter[parameter.len()..]),
            };
            match &*form_decode(name) {
                b"CHANNEL_ID" if !std::mem::replace(&mut channel_seen, true) => {
                    query.channel_id = Some(form_decode(value));
                }
                b"mid" if !std::mem::replace(&mut mid_seen, true) => {
                    query.mid = Mid::from_digits(&form_decode(value));
                }
                b"binaryMode" if !std::mem::replace(&mut binary_seen, true) => {
                    query.binary = *form_decode(value) == *b"true";
                }
                _ => {}
            }
        }
        query
    }
}

/// Decodes one name or value of a form: `+` is a space, `%XX` a byte; a malformed escape stays as
/// it is. Borrows when there is nothing to decode. The result need not be UTF-8.
pub fn form_decode(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr2(b'%', b'+', value) else {
        return Cow::Borrowed(value);
    };
    let mut out = Vec::with_capacity(value.len());
    out.extend_from_slice(&value[..first]);
    let mut rest = &value[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        out.push(match byte {
            b'+' => b' ',
            b'%' => match escaped(tail) {
                Some(decoded) => {
                    rest = &tail[2..];
                    decoded
                }
                None => b'%',
            },
            byte => *byte,
        });
    }
    Cow::Owned(out)
}

/// The byte that the two hex digits at the front stand for; here upper case counts too.
fn escaped(digits: &[u8]) -> Option<u8> {
    let value = |i: usize| char::from(*digits.get(i)?).to_digit(16);
    Some((value(0)? << 4 | value(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MID: &[u8] = b"17954063320000000000003072";

    fn channel_id(args: &str) -> Option<Vec<u8>> {
        Query::parse(args.as_bytes()).channel_id.map(Cow::into_owned)
    }

    #[test]
    fn the_parameters_are_found_among_others() {
        let args = b"revision=19&CHANNEL_ID=a/b&x&hostname=h&mid=17954063320000000000003072&binaryMode=true&=";
        let query = Query::parse(args);
        assert_eq!(query.channel_id.as_deref(), Some(&b"a/b"[..]));
        assert!(matches!(query.channel_id, Some(Cow::Borrowed(_))));
        assert_eq!(query.mid, Mid::from_digits(MID));
        assert!(query.binary);
    }

    #[test]
    fn nothing_is_nothing() {
        for args in
            ["", "&", "=", "&&=&", "channel_id=a", "CHANNEL=a", "MID=1", "%", "?CHANNEL_ID=a"]
        {
            assert_eq!(Query::parse(args.as_bytes()), Query::default(), "{args}");
        }
    }

    #[test]
    fn of_a_repeated_parameter_the_first_counts() {
        assert_eq!(channel_id("CHANNEL_ID=a&CHANNEL_ID=b").unwrap(), b"a");
        assert_eq!(channel_id("CHANNEL_ID&CHANNEL_ID=b").unwrap(), b"");
        assert_eq!(channel_id("CHANNEL_ID=&CHANNEL_ID=b").unwrap(), b"");
        let twice = b"mid=x&mid=17954063320000000000003072&binaryMode=1&binaryMode=true";
        assert_eq!(Query::parse(twice), Query::default());
    }

    #[test]
    fn a_second_question_mark_ends_it() {
        assert_eq!(channel_id("CHANNEL_ID=a?b").unwrap(), b"a");
        assert_eq!(Query::parse(b"CHANNEL_ID=a?&mid=17954063320000000000003072").mid, None);
        assert_eq!(channel_id("CHANNEL_ID=a%3Fb").unwrap(), b"a?b");
    }

    #[test]
    fn values_are_decoded_as_a_form() {
        for (args, value) in [
            ("CHANNEL_ID=a%2Fb%2fc", "a/b/c"),
            ("CHANNEL_ID=a+b%20c", "a b c"),
            ("CHANNEL_ID=%2B", "+"),
            ("CHANNEL_ID=%", "%"),
            ("CHANNEL_ID=%4", "%4"),
            ("CHANNEL_ID=%zz%41", "%zzA"),
            ("CHANNEL_ID=%%341", "%41"),
            ("CHANNEL_ID=a=b", "a=b"),
            ("CHANNEL_ID=a;x=1", "a;x=1"),
            ("CHANNEL_ID=a#x", "a#x"),
            ("CHANNEL%5FID=a", "a"),
        ] {
            assert_eq!(channel_id(args).unwrap(), value.as_bytes(), "{args}");
        }
    }

    #[test]
    fn only_the_exact_true_is_binary() {
        for value in ["1", "TRUE", "True", "true ", "true+", "", "truetrue"] {
            assert!(!Query::parse(format!("binaryMode={value}").as_bytes()).binary, "{value}");
        }
        assert!(Query::parse(b"binaryMode=tru%65").binary);
    }

    #[test]
    fn a_mid_of_another_shape_counts_as_absent() {
        for value in [
            "",
            "1795406332000000000000307",
            "179540633200000000000030721",
            "1795406332000000000000307a",
        ] {
            assert_eq!(Query::parse(format!("mid={value}").as_bytes()).mid, None, "{value}");
        }
    }
}
