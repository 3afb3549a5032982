//! Lower-case hex, as ids and signatures are written (PROTOCOL.md, section 2.1).

use crate::ChannelId;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What [`NIBBLES`] holds for a byte that is no lower-case hex digit. Its high bits survive the
/// `|` of many digits, so that a whole run is checked with one comparison.
const BAD: u8 = 0xf0;

/// The value of each lower-case hex digit.
static NIBBLES: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut value = 0;
    while value < 16 {
        table[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Reads exactly two lower-case digits per byte of `out`; `None` when `digits` has another length
/// or holds anything else (upper case included). `out` is then left in an arbitrary state.
pub fn decode_into(digits: &[u8], out: &mut [u8]) -> Option<()> {
    if digits.len() != out.len() * 2 {
        return None;
    }
    let mut seen = 0;
    for (byte, two) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(two[0])], NIBBLES[usize::from(two[1])]);
        seen |= high | low;
        *byte = high << 4 | (low & 15);
    }
    (seen < 16).then_some(())
}

/// Whether every byte is a lower-case hex digit.
pub fn is_hex(digits: &[u8]) -> bool {
    digits.iter().fold(0, |seen, &digit| seen | NIBBLES[usize::from(digit)]) < 16
}

/// A channel id from exactly 32 lower-case hex digits.
pub fn decode_id(digits: &[u8]) -> Option<ChannelId> {
    let mut id = [0; 16];
    decode_into(digits, &mut id)?;
    Some(id)
}

/// The 32 lower-case hex digits of a channel id.
pub fn encode_id(id: &ChannelId) -> [u8; 32] {
    let mut out = [0; 32];
    for (two, byte) in out.chunks_exact_mut(2).zip(id) {
        two.copy_from_slice(&digits_of(*byte));
    }
    out
}

/// Lower-case hex of any bytes.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| digits_of(byte)).map(char::from).collect()
}

fn digits_of(byte: u8) -> [u8; 2] {
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode(&bytes);
        let mut back = [0; 256];
        assert_eq!(decode_into(text.as_bytes(), &mut back), Some(()));
        assert_eq!(back.as_slice(), bytes);
    }

    #[test]
    fn only_lower_case_digits_are_digits() {
        for byte in 0..=255u8 {
            let good = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert_eq!(is_hex(&[byte]), good, "{byte}");
            assert_eq!(decode_into(&[b'0', byte], &mut [0]).is_some(), good, "{byte}");
            assert_eq!(decode_into(&[byte, b'0'], &mut [0]).is_some(), good, "{byte}");
        }
    }

    #[test]
    fn an_id_has_exactly_32_digits() {
        let id = decode_id(b"80e28956d1be17f866cb56c227a58736").unwrap();
        assert_eq!(&encode_id(&id), b"80e28956d1be17f866cb56c227a58736");
        assert_eq!(decode_id(b"80e28956d1be17f866cb56c227a5873"), None);
        assert_eq!(decode_id(b"80e28956d1be17f866cb56c227a587360"), None);
    }
}
