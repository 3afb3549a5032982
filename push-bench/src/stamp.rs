//! What a published body says about itself, so that a receiver can tell which message it is and
//! how long it took, whatever the body is wrapped in.
//!
//! A body is `{"pb":"RRRRRRRRCCCCCCCCSSSSSSSSTTTTTTTTTTTTTTTT","pad":"xxx…"}`: run, stream and
//! sequence number in eight hex digits each, the time in sixteen. It is JSON without anything an
//! envelope would escape, and of fixed layout, so it is found and read without a JSON parser.

use memchr::memmem;

/// In front of the digits.
const MARK: &[u8] = b"{\"pb\":\"";
const DIGITS: usize = 40;
const TAIL: &[u8] = b"\",\"pad\":\"";
const END: &[u8] = b"\"}";

/// The least that a body may have, in bytes.
pub const MIN_BODY: usize = MARK.len() + DIGITS + TAIL.len() + END.len();

/// The sequence number of a probe: published until it arrives, so it counts nowhere.
pub const PROBE: u32 = 0;

/// The stream of messages to everybody.
pub const SHARED: u32 = 0;

/// Which message this is, and when it was published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Tells this run's messages from those of others.
    pub run: u32,
    /// [`SHARED`], or 1 + the subscriber whose private channel it is for.
    pub stream: u32,
    /// Counts from 1 within the stream; [`PROBE`] is no message.
    pub sequence: u32,
    /// Nanoseconds of the generator's clock, just before the publish was written.
    pub sent: u64,
}

impl Stamp {
    /// Appends a body of `len` bytes ([`MIN_BODY`] or more).
    pub fn write_body(&self, out: &mut Vec<u8>, len: usize) {
        out.extend_from_slice(MARK);
        put_hex(out, u64::from(self.run), 8);
        put_hex(out, u64::from(self.stream), 8);
        put_hex(out, u64::from(self.sequence), 8);
        put_hex(out, self.sent, 16);
        out.extend_from_slice(TAIL);
        let filled = out.len() + len.saturating_sub(MIN_BODY);
        out.resize(filled, b'x');
        out.extend_from_slice(END);
    }

    /// The first stamp in `bytes`, and what follows it.
    pub fn find(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let at = memmem::find(bytes, MARK)? + MARK.len();
        let (digits, rest) = bytes[at..].split_at_checked(DIGITS)?;
        let stamp = Self {
            run: get_hex(&digits[..8])? as u32,
            stream: get_hex(&digits[8..16])? as u32,
            sequence: get_hex(&digits[16..24])? as u32,
            sent: get_hex(&digits[24..])?,
        };
        Some((stamp, rest))
    }
}

fn put_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit)) as usize & 15]);
    }
}

fn get_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { run: 0xdead_beef, stream: 7, sequence: 0x1234, sent: 0x0123_4567_89ab_cdef };

    #[test]
    fn a_body_is_json_of_the_length_asked_for() {
        for len in [MIN_BODY, 100, 300, 5000] {
            let mut body = Vec::new();
            STAMP.write_body(&mut body, len);
            assert_eq!(body.len(), len);
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["pad"].as_str().unwrap().len(), len - MIN_BODY);
        }
    }

    #[test]
    fn several_are_found_in_whatever_surrounds_them() {
        let mut bytes = b"\x0a\xff{\"pb\":".to_vec();
        for sequence in 1..=3 {
            bytes.extend_from_slice(b"{\"text\":");
            Stamp { sequence, ..STAMP }.write_body(&mut bytes, 90);
            bytes.push(b'}');
        }
        let mut rest = &bytes[..];
        for sequence in 1..=3 {
            let (stamp, behind) = Stamp::find(rest).unwrap();
            assert_eq!(stamp, Stamp { sequence, ..STAMP });
            rest = behind;
        }
        assert_eq!(Stamp::find(rest), None);
    }

    #[test]
    fn a_cut_or_spoilt_stamp_is_none() {
        let mut body = Vec::new();
        STAMP.write_body(&mut body, MIN_BODY);
        assert_eq!(Stamp::find(&body[..MARK.len() + DIGITS - 1]), None);
        body[MARK.len() + 3] = b'G';
        assert_eq!(Stamp::find(&body), None);
    }
}
