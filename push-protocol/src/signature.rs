//! Signatures of channels (PROTOCOL.md, section 2.2).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use crate::{ChannelId, hex};

/// Bytes of the longest digest.
const MAX_DIGEST: usize = 64;

/// The hash under the HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// 20 bytes, the protocol's default.
    #[default]
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Algorithm {
    /// Bytes of a raw signature; in hex it is twice that.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The name as it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// A name that is no [`Algorithm`]'s.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown signature algorithm \"{0}\": sha1, sha256 and sha512 are known")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// A key with the HMAC's state after the padded key, so that a signature costs a copy of it and
/// two compressions instead of four.
#[derive(Clone)]
enum Key {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    // Boxed: twice the size of the others, and rare.
    Sha512(Box<Hmac<Sha512>>),
}

impl Key {
    fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(key)),
            Algorithm::Sha256 => Self::Sha256(keyed(key)),
            Algorithm::Sha512 => Self::Sha512(Box::new(keyed(key))),
        }
    }

    /// Writes the digest to the front of `out` and returns how long it is.
    fn sign(&self, text: &[u8], out: &mut [u8; MAX_DIGEST]) -> usize {
        match self {
            Self::Sha1(mac) => digest(mac, text, out),
            Self::Sha256(mac) => digest(mac, text, out),
            Self::Sha512(mac) => digest(mac.as_ref(), text, out),
        }
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn digest<M: Mac + Clone>(mac: &M, text: &[u8], out: &mut [u8; MAX_DIGEST]) -> usize {
    let mut mac = mac.clone();
    mac.update(text);
    let bytes = mac.finalize().into_bytes();
    out[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}

/// A count; whoever is cloned begins its own.
#[derive(Default)]
struct Failures(AtomicU64);

impl Clone for Failures {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Checks signatures against one or several keys: with several, each verifies, so that a key can
/// be replaced while clients still hold signatures by the old one.
#[derive(Clone, Default)]
pub struct Verifier {
    algorithm: Algorithm,
    keys: Vec<Key>,
    /// How many signatures did not verify.
    failures: Failures,
}

impl Verifier {
    /// One without keys: nothing verifies.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, keys: Vec::new(), failures: Failures::default() }
    }

    /// Adds a key: the UTF-8 bytes of the configured string, not hex-decoded.
    pub fn add_key(&mut self, key: &[u8]) {
        self.keys.push(Key::new(self.algorithm, key));
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many signatures have not verified.
    pub fn failures(&self) -> u64 {
        self.failures.0.load(Ordering::Relaxed)
    }

    /// Whether `hex_signature` (lower-case hex, full length) signs `text`, which is `private` or
    /// `private:public` in lower-case hex.
    pub fn verify_text(&self, text: &[u8], hex_signature: &[u8]) -> bool {
        let mut signature = [0; MAX_DIGEST];
        let signature = &mut signature[..self.algorithm.digest_len()];
        let verified =
            hex::decode_into(hex_signature, signature).is_some() && self.verify(text, signature);
        self.count(verified)
    }

    /// Whether `raw_signature` signs the public id `id`.
    pub fn verify_public(&self, id: &ChannelId, raw_signature: &[u8]) -> bool {
        let verified = raw_signature.len() == self.algorithm.digest_len()
            && self.verify(&public_text(id), raw_signature);
        self.count(verified)
    }

    /// [`Verifier::verify_public`] for an id that is not 16 bytes long, which is never a channel's:
    /// tells "wrong signature" from "signed, but no channel".
    pub(crate) fn verify_odd_public(&self, id: &[u8], raw_signature: &[u8]) -> bool {
        let text = format!("public:{}", hex::encode(id));
        self.verify(text.as_bytes(), raw_signature)
    }

    fn count(&self, verified: bool) -> bool {
        if !verified {
            self.failures.0.fetch_add(1, Ordering::Relaxed);
        }
        verified
    }

    /// The signature of `text` by the first key, in lower-case hex; `None` without a key.
    pub fn sign_text(&self, text: &[u8]) -> Option<String> {
        self.sign(text, hex::encode)
    }

    /// The raw signature of a public id by the first key; `None` without a key.
    pub fn sign_public(&self, id: &ChannelId) -> Option<Vec<u8>> {
        self.sign(&public_text(id), <[u8]>::to_vec)
    }

    fn sign<T>(&self, text: &[u8], take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut digest = [0; MAX_DIGEST];
        let len = self.keys.first()?.sign(text, &mut digest);
        Some(take(&digest[..len]))
    }

    /// Every key is tried whatever the ones before it said: the time tells neither how much of a
    /// signature was right nor by which key it was made.
    fn verify(&self, text: &[u8], raw_signature: &[u8]) -> bool {
        let mut digest = [0; MAX_DIGEST];
        let mut verified = Choice::from(0);
        for key in &self.keys {
            let len = key.sign(text, &mut digest);
            verified |= digest[..len].ct_eq(raw_signature);
        }
        verified.into()
    }
}

/// The text whose HMAC signs a public id.
fn public_text(id: &ChannelId) -> [u8; 39] {
    let mut text = *b"public:--------------------------------";
    text[7..].copy_from_slice(&hex::encode_id(id));
    text
}

/// Shows how many keys there are, never a key.
#[expect(clippy::missing_fields_in_debug, reason = "what is counted tells nothing of what it is")]
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithm", &self.algorithm)
            .field("keys", &self.keys.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &[u8] = b"80e28956d1be17f866cb56c227a58736";

    fn verifier(keys: &[&str]) -> Verifier {
        let mut verifier = Verifier::new(Algorithm::Sha1);
        for key in keys {
            verifier.add_key(key.as_bytes());
        }
        verifier
    }

    #[test]
    fn each_key_verifies_and_the_first_signs() {
        let (old, new) = (verifier(&["old"]), verifier(&["new"]));
        let both = verifier(&["new", "old"]);
        for signer in [&old, &new] {
            let signature = signer.sign_text(PRIVATE).unwrap();
            assert!(both.verify_text(PRIVATE, signature.as_bytes()));
        }
        assert_eq!(both.sign_text(PRIVATE), new.sign_text(PRIVATE));
        assert!(!new.verify_text(PRIVATE, old.sign_text(PRIVATE).unwrap().as_bytes()));
    }

    #[test]
    fn without_a_key_nothing_verifies() {
        let none = verifier(&[]);
        assert!(none.is_empty());
        assert_eq!(none.sign_text(PRIVATE), None);
        assert_eq!(none.sign_public(&[0; 16]), None);
        assert!(!none.verify_text(PRIVATE, &[b'0'; 40]));
        assert!(!none.verify_public(&[0; 16], &[0; 20]));
    }

    #[test]
    fn only_the_full_digest_counts() {
        let verifier = verifier(&["k"]);
        let id = [7; 16];
        let raw = verifier.sign_public(&id).unwrap();
        assert!(verifier.verify_public(&id, &raw));
        assert!(!verifier.verify_public(&id, &raw[..19]));
        assert!(!verifier.verify_public(&id, &[&raw[..], &[0]].concat()));
        assert!(!verifier.verify_public(&id, &[]));
        let text = verifier.sign_text(PRIVATE).unwrap();
        assert!(verifier.verify_text(PRIVATE, text.as_bytes()));
        assert!(!verifier.verify_text(PRIVATE, text.to_uppercase().as_bytes()));
        assert!(!verifier.verify_text(PRIVATE, &text.as_bytes()[..38]));
    }

    #[test]
    fn algorithms_are_configured_by_name() {
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let mut verifier = Verifier::new(algorithm);
            verifier.add_key(b"k");
            assert_eq!(verifier.sign_public(&[0; 16]).unwrap().len(), algorithm.digest_len());
        }
        assert_eq!("md5".parse::<Algorithm>(), Err(UnknownAlgorithm("md5".into())));
    }

    #[test]
    fn keys_are_never_shown() {
        let mut verifier = Verifier::new(Algorithm::Sha1);
        verifier.add_key(b"correct horse battery staple");
        assert_eq!(format!("{verifier:?}"), "Verifier { algorithm: Sha1, keys: 1 }");
    }
}
