//! A certificate for the server and clients that trust it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// A self-signed certificate for `localhost`, on disk for nginx.
pub struct Certificate {
    /// The certificate, PEM.
    pub file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes one and writes it into `folder`.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(io::Error::other)?;
        let (file, key_file) = (folder.join("server.crt"), folder.join("server.key"));
        fs::write(&file, made.cert.pem())?;
        fs::write(&key_file, made.signing_key.serialize_pem())?;
        Ok(Self { file, key_file, der: made.cert.der().clone() })
    }

    /// A client that trusts it and offers these protocols, e.g. `h2`, in the handshake.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("the certificate parses");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
