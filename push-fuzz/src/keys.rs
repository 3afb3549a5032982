//! The keys of the vectors: signatures that were recorded verify here, and a fuzzer, which cannot
//! guess one, writes a mark where a right signature is to stand.

use push_protocol::hex;
use push_protocol::signature::{Algorithm, Verifier};

/// The key all vectors are signed with.
pub const KEY: &str = "c0ffee00d15ea5ed5afe5eed0123456789abcdef0123456789abcdef01234567";

/// A key that is being replaced: what it signed still counts.
pub const OLD_KEY: &str = "the key before, which some clients still hold signatures by";

/// Stands for a signature by [`KEY`].
pub const SIGN: &[u8] = b"@";

/// Stands for a signature by [`OLD_KEY`].
pub const SIGN_OLD: &[u8] = b"&";

/// Knows these keys.
pub fn verifier_of(keys: &[&str]) -> Verifier {
    let mut verifier = Verifier::new(Algorithm::Sha1);
    for key in keys {
        verifier.add_key(key.as_bytes());
    }
    verifier
}

/// Knows both keys.
pub fn verifier() -> Verifier {
    verifier_of(&[KEY, OLD_KEY])
}

/// The signatures of a text by each key, in hex.
pub fn signatures(text: &[u8]) -> [String; 2] {
    [KEY, OLD_KEY].map(|key| verifier_of(&[key]).sign_text(text).expect("a key"))
}

/// The raw signatures of a public id, of whatever length, by each key.
pub fn public_signatures(id: &[u8]) -> [Vec<u8>; 2] {
    let text = format!("public:{}", hex::encode(id));
    signatures(text.as_bytes()).map(|digits| {
        let mut raw = vec![0; digits.len() / 2];
        hex::decode_into(digits.as_bytes(), &mut raw).expect("hex");
        raw
    })
}
