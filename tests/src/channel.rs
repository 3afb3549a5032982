//! Channel ids and their signatures (PROTOCOL.md, section 2), from scratch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A security key.
#[derive(Clone, Debug)]
pub struct Key(pub String);

impl Key {
    /// The hex digest of `text`.
    pub fn sign(&self, text: &str) -> String {
        hex(&self.sign_raw(text))
    }

    /// The raw digest of `text`.
    pub fn sign_raw(&self, text: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.0.as_bytes()).expect("any length is fine");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

/// A private id with its public id, as a portal gives a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    /// 32 hex digits.
    pub private: String,
    /// 32 hex digits.
    pub public: String,
}

impl Channel {
    /// Ids nobody else has.
    pub fn new() -> Self {
        Self { private: fresh_id(), public: fresh_id() }
    }

    /// `private.signature`.
    pub fn signed_private(&self, key: &Key) -> String {
        format!("{}.{}", self.private, key.sign(&self.private))
    }

    /// `private:public.signature`.
    pub fn signed_pair(&self, key: &Key) -> String {
        let pair = format!("{}:{}", self.private, self.public);
        format!("{pair}.{}", key.sign(&pair))
    }

    /// The raw signature of the public id.
    pub fn public_signature(&self, key: &Key) -> Vec<u8> {
        key.sign_raw(&format!("public:{}", self.public))
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::new()
    }
}

/// 16 bytes that are not used twice, as hex.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let count = COUNT.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
    format!("{now:016x}{count:016x}")
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

/// The bytes that `text` is the hex of.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits"))
        .collect()
}
