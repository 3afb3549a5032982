//! Connections to an address as it stands in a portal's settings.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use url::Url;

pub use crate::store::redis::dialer::Stream;

/// Why there is no connection, or no answer on it. Its text is the error message.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No address that can be dialled.
    #[error("{0}")]
    Address(String),
    /// The name is not known.
    #[error("the name {host} has no address: {error}")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// Nobody listens there.
    #[error("cannot connect to {to}: {error}")]
    Connect {
        /// Host and port.
        to: String,
        /// What the system said.
        error: io::Error,
    },
    /// The certificate is not to be trusted.
    #[error("the certificate {0}")]
    Certificate(String),
    /// TLS, but for the certificate.
    #[error("TLS: {0}")]
    Tls(String),
    /// It does not answer.
    #[error("no {what} within {} s", patience.as_secs_f32())]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// How long.
        patience: Duration,
    },
    /// The connection ended.
    #[error("{0}")]
    Ended(String),
}

impl Failure {
    /// What to change.
    pub fn remedy(&self) -> String {
        match self {
            Self::Address(_) => "give an address such as https://portal.example/ or http://127.0.0.1:8895/bitrix/pub/".into(),
            Self::Name { host, .. } => format!(
                "add {host} to the DNS or to /etc/hosts, or say with --connect ADDRESS:PORT where it is"
            ),
            Self::Connect { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nobody listens there: is nginx running (systemctl status nginx), and does a \"listen\" name this address?".into()
            }
            Self::Connect { .. } => "is the address right, and does no firewall stand between?".into(),
            Self::Certificate(text) if text.contains("expired") => {
                "renew it (ssl_certificate), then: systemctl reload nginx".into()
            }
            Self::Certificate(text) if text.contains("issuer") => {
                "ssl_certificate must name the file with the whole chain (fullchain.pem); an authority of your own: SSL_CERT_FILE=/path/ca.pem push-sidecar …".into()
            }
            Self::Certificate(_) => {
                "ssl_certificate of the server block for this name must be one for this name".into()
            }
            Self::Tls(_) => "is TLS spoken there (\"listen … ssl\"), in version 1.2 or 1.3?".into(),
            Self::Silent { .. } => {
                "something in between holds it back, or the server is stuck: see nginx's error log".into()
            }
            Self::Ended(_) => "see nginx's error log, there and on any proxy in front".into(),
        }
    }
}

/// Who dials.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Dial this whatever the name says, as if the DNS said so.
    pub connect: Option<SocketAddr>,
    /// Take any certificate: only to find out what else is wrong.
    pub trusting: bool,
    /// How long dialling may take.
    pub patience: Duration,
}

impl Default for Dialler {
    fn default() -> Self {
        Self { connect: None, trusting: false, patience: Duration::from_secs(10) }
    }
}

/// Reads an address with a scheme of HTTP or of WebSockets.
pub fn address(text: &str) -> Result<Url, Failure> {
    let bad = |why: &str| Failure::Address(format!("\"{text}\" is no address: {why}"));
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
        return Err(bad("it begins neither with http(s):// nor with ws(s)://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    Ok(url)
}

/// Whether the scheme wants TLS.
pub fn is_secure(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "wss")
}

/// What goes into the header `Host`.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

impl Dialler {
    /// Connects, with TLS where the scheme wants it.
    pub async fn dial(&self, url: &Url) -> Result<Box<dyn Stream>, Failure> {
        let patience = self.patience;
        tokio::time::timeout(patience, self.try_dial(url))
            .await
            .unwrap_or(Err(Failure::Silent { what: "connection", patience }))
    }

    async fn try_dial(&self, url: &Url) -> Result<Box<dyn Stream>, Failure> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let addresses = match self.connect {
            Some(address) => vec![address],
            None => match lookup_host((host.clone(), port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(Failure::Name { host, error }),
            },
        };
        let mut last = Failure::Address(format!("{host} has no address"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // What cannot be set only costs time.
                    let _ = stream.set_nodelay(true);
                    if is_secure(url) {
                        return self.secure(host, stream).await;
                    }
                    return Ok(Box::new(stream));
                }
                Err(error) => last = Failure::Connect { to: address.to_string(), error },
            }
        }
        Err(last)
    }

    async fn secure(&self, host: String, stream: TcpStream) -> Result<Box<dyn Stream>, Failure> {
        let name =
            ServerName::try_from(host).map_err(|error| Failure::Address(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(tls_failure(&error)),
        }
    }

    fn tls(&self) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let mut config = if self.trusting {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            // What cannot be read is missed by whoever needs it, as "unknown issuer".
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn tls_failure(error: &io::Error) -> Failure {
    let told = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(problem)) = told else {
        return match told {
            Some(told) => Failure::Tls(told.to_string()),
            None => Failure::Tls(format!("the connection ended in the handshake: {error}")),
        };
    };
    Failure::Certificate(match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is the clock right?".into()
        }
        CertificateError::UnknownIssuer => {
            "has an issuer that this machine does not trust, or its chain is not sent whole".into()
        }
        CertificateError::NotValidForName => "is for another name".into(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "is for another name: {} instead of {}",
            presented.join(", "),
            expected.to_str()
        ),
        other => format!("is of no use: {other}"),
    })
}

/// Takes every certificate. Signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_portals() {
        for good in ["https://p.example/", "wss://p.example/bitrix/subws/", "http://[::1]:8895"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["portal.example", "ftp://x/", "http://", "/bitrix/sub/", "https://#DOMAIN#/"] {
            let error = address(bad).expect_err(bad);
            assert!(matches!(error, Failure::Address(_)), "{error}");
        }
        let url = address("https://p.example:8894/x").expect("fine");
        assert_eq!((&authority(&url)[..], is_secure(&url)), ("p.example:8894", true));
        let url = address("ws://p.example/x").expect("fine");
        assert_eq!((&authority(&url)[..], is_secure(&url)), ("p.example", false));
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_named() {
        for (problem, found, remedy) in [
            (CertificateError::Expired, "has expired", "renew it"),
            (CertificateError::NotValidYet, "clock", "ssl_certificate"),
            (CertificateError::UnknownIssuer, "issuer", "fullchain.pem"),
            (CertificateError::NotValidForName, "another name", "one for this name"),
            (CertificateError::Revoked, "of no use", "ssl_certificate"),
        ] {
            let failure =
                tls_failure(&io::Error::other(rustls::Error::InvalidCertificate(problem)));
            assert!(failure.to_string().contains(found), "{failure}");
            assert!(failure.remedy().contains(remedy), "{failure}: {}", failure.remedy());
        }
        let other = tls_failure(&io::Error::other(rustls::Error::DecryptError));
        assert!(matches!(other, Failure::Tls(_)), "{other}");
        assert!(matches!(tls_failure(&io::ErrorKind::UnexpectedEof.into()), Failure::Tls(_)));
    }

    #[tokio::test]
    async fn who_does_not_listen_is_told() {
        let dialler = Dialler { connect: Some(([127, 0, 0, 1], 1).into()), ..Dialler::default() };
        let url = address("http://p.example/").expect("fine");
        let error = dialler.dial(&url).await.err().expect("nobody is there");
        assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1: "), "{error}");
        assert!(error.remedy().contains("systemctl status nginx"));
    }
}
