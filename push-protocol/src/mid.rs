//! Message ids (PROTOCOL.md, section 6).

use std::fmt;

/// A message id: 26 decimal digits packed two per byte, 10 digits *start date* (Unix seconds at
/// which the store was first used) and 16 digits *counter*. Bytes, text and numbers sort alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mid([u8; 13]);

impl Mid {
    /// Less than every id a store gives out.
    pub const ZERO: Self = Self([0; 13]);
    /// Greater than every id a store gives out.
    pub const MAX: Self = Self([0x99; 13]);

    /// From its two parts; digits beyond 10 and 16 are cut off.
    pub fn new(start: u64, counter: u64) -> Self {
        let mut out = [0; 13];
        let mut pack = |bytes: std::ops::Range<usize>, mut value: u64| {
            for i in bytes.rev() {
                let two = (value % 100) as u8;
                out[i] = (two / 10) << 4 | (two % 10);
                value /= 100;
            }
        };
        pack(0..5, start);
        pack(5..13, counter);
        Self(out)
    }

    /// From raw bytes, if every half byte is a decimal digit.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 13] = bytes.try_into().ok()?;
        bytes.iter().all(|b| b >> 4 < 10 && b & 15 < 10).then_some(Self(bytes))
    }

    /// From exactly 26 decimal digits.
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        let digits: &[u8; 26] = digits.try_into().ok()?;
        let mut out = [0; 13];
        for (byte, two) in out.iter_mut().zip(digits.chunks_exact(2)) {
            if !two[0].is_ascii_digit() || !two[1].is_ascii_digit() {
                return None;
            }
            *byte = (two[0] - b'0') << 4 | (two[1] - b'0');
        }
        Some(Self(out))
    }

    /// The 13 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 13] {
        &self.0
    }

    /// The 26 digits.
    pub fn to_digits(self) -> [u8; 26] {
        let mut out = [0; 26];
        for (two, byte) in out.chunks_exact_mut(2).zip(self.0) {
            two[0] = b'0' + (byte >> 4);
            two[1] = b'0' + (byte & 15);
        }
        out
    }

    /// The start date, Unix seconds.
    pub fn start(&self) -> u64 {
        Self::unpack(&self.0[..5])
    }

    /// The counter.
    pub fn counter(&self) -> u64 {
        Self::unpack(&self.0[5..])
    }

    fn unpack(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |n, b| n * 100 + u64::from(b >> 4) * 10 + u64::from(b & 15))
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_digits_and_bytes_agree() {
        let mid = Mid::new(1_795_406_332, 3072);
        assert_eq!(mid.to_string(), "17954063320000000000003072");
        assert_eq!(Mid::from_digits(b"17954063320000000000003072"), Some(mid));
        assert_eq!(Mid::from_bytes(mid.as_bytes()), Some(mid));
        assert_eq!((mid.start(), mid.counter()), (1_795_406_332, 3072));
        assert!(Mid::ZERO < mid && mid < Mid::MAX);
    }

    #[test]
    fn anything_but_26_decimal_digits_is_refused() {
        for bad in [
            "",
            "1795406332000000000000307",
            "179540633200000000000030722",
            "1795406332000000000000307a",
        ] {
            assert_eq!(Mid::from_digits(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Mid::from_bytes(&[0x1a; 13]), None);
        assert_eq!(Mid::from_bytes(&[0x11; 12]), None);
    }
}
