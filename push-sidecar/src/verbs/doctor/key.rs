//! The keys that hold in a location, and who else's fit.

use push_protocol::signature::{Algorithm, Verifier};

use crate::verbs::findings::Findings;
use crate::verbs::keys::{self, Secret};
use crate::verbs::nginx_conf::Location;

const PART: &str = "key file";
/// Less can be found by trying; the module warns of it, too.
const SHORT: usize = 32;
/// What is signed to compare keys: a channel like any other.
const SAMPLE: &[u8] = b"80e28956d1be17f866cb56c227a58736";

/// The keys of a location.
pub struct ServerKey {
    /// What they sign with.
    pub algorithm: Algorithm,
    /// Each with where it stands.
    pub keys: Vec<(String, Secret)>,
    /// Keys that cannot be read, and why.
    unreadable: Vec<(String, String)>,
}

impl ServerKey {
    /// Those of a location, or the one that the options name.
    pub fn of(options: &keys::Options, location: Option<&Location>) -> Self {
        let named = location.and_then(|at| at.algorithm.as_deref());
        let known = named.and_then(|name| name.parse().ok());
        let algorithm = options.algorithm.or(known).unwrap_or_default();
        let sources = match (&options.key_file, location) {
            (Some(file), _) => vec![(file.display().to_string(), keys::read_file(file))],
            (None, Some(location)) => {
                location.keys.iter().map(|key| (key.shown(), key.read())).collect()
            }
            (None, None) => Vec::new(),
        };
        let mut server = Self { algorithm, keys: Vec::new(), unreadable: Vec::new() };
        for (place, key) in sources {
            match key {
                Ok(key) => server.keys.push((place, key)),
                Err(error) => server.unreadable.push((place, error)),
            }
        }
        server
    }

    /// Tells what there is.
    pub fn tell(&self, told: &mut Findings) {
        for (place, error) in &self.unreadable {
            told.error(PART, place, error, "nginx's master reads it as root: run this as root; a new one: head -c 64 /dev/urandom | sha512sum | cut -d' ' -f1");
        }
        for (place, key) in &self.keys {
            let characters = key.0.chars().count();
            if characters < SHORT {
                let found = format!("{characters} characters can be found by trying");
                let remedy = "take a key of 128 Latin letters and digits, here and in the portal";
                told.warning(PART, place, found, remedy);
            } else {
                let name = self.algorithm.name();
                told.ok(PART, place, format!("a key of {characters} characters, for {name}"));
            }
        }
        if self.keys.is_empty() {
            told.skipped(PART, "bx_push_security_key_file", "no key is known, so nothing can be signed; add to the http block: bx_push_security_key_file /etc/nginx/bx-push.key;");
        }
    }

    /// Who signs like the server.
    pub fn signer(&self) -> Option<Verifier> {
        self.keys.first().map(|(_, key)| keys::signer(self.algorithm, key))
    }

    /// Where the key stands that verifies what `signer` signs, as a browser would present it.
    pub fn verifies(&self, signer: &Verifier) -> Option<&str> {
        let signature = signer.sign_text(SAMPLE)?;
        let fits = |(_, key): &&(String, Secret)| {
            keys::signer(self.algorithm, key).verify_text(SAMPLE, signature.as_bytes())
        };
        self.keys.iter().find(fits).map(|(place, _)| &place[..])
    }
}
