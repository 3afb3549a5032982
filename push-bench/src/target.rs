//! Where a server is and how it is spoken to.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};

use push_protocol::signature::{Algorithm, Verifier};

use crate::error::{Error, Result};
use crate::options::{PublishFormat, TargetOptions};
use crate::wire::Wire;

/// An address on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Loopback.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// An address and a path with places to fill in, such as `{private}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    /// Where.
    pub endpoint: Endpoint,
    /// The request target, with places.
    pub path: String,
}

impl Template {
    /// From a URL with a loopback address. `http`, `https`, `ws` and `wss` are known.
    pub fn parse(url: &str) -> Result<Self> {
        let usage = |why: &str| Error::Usage(format!("{url}: {why}"));
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| usage("want http://HOST:PORT/…"))?;
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(usage("the scheme is none of http, https, ws, wss")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
        let default = if tls { ":443" } else { ":80" };
        let address = format!("{authority}{}", if has_port { "" } else { default });
        let address = address
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| usage("no such host or port"))?;
        if !address.ip().is_loopback() {
            return Err(usage(
                "not a loopback address. push-bench sends its load to this machine alone",
            ));
        }
        Ok(Self { endpoint: Endpoint { address, tls }, path: path.to_owned() })
    }

    /// What stands in front of and behind `place`, which must occur once.
    pub fn around(&self, place: &str) -> Result<(&str, &str)> {
        self.path
            .split_once(place)
            .filter(|(_, behind)| !behind.contains(place))
            .ok_or_else(|| Error::Usage(format!("{}: wants {place} once", self.path)))
    }
}

/// A server.
#[derive(Clone, Debug)]
pub struct Target {
    /// What tables call it.
    pub name: String,
    /// WebSockets; places `{channels}`, `{private}`, `{public}`, `{shared}`, `{mid}`.
    pub subscribe: Template,
    /// Long polls; the same places.
    pub poll: Template,
    /// Publishing; place `{channel}`.
    pub publish: Template,
    /// How messages are wrapped.
    pub wire: Wire,
    /// How they are published.
    pub format: PublishFormat,
    /// Whether it only holds connections.
    pub hold: bool,
    /// Signs channels; without a key the places hold bare ids.
    pub signer: Verifier,
}

impl Target {
    /// From the command line.
    pub fn new(options: &TargetOptions) -> Result<Self> {
        let mut signer = Verifier::new(Algorithm::Sha1);
        if let Some(key) = &options.key {
            signer.add_key(key.as_bytes());
        } else if let Some(file) = &options.key_file {
            let key = fs::read_to_string(file)
                .map_err(Error::io(format!("key file {}", file.display())))?;
            signer.add_key(key.trim_end_matches(['\r', '\n']).as_bytes());
        }
        let binary = match options.wire {
            Wire::Binary => "&binaryMode=true",
            _ => "",
        };
        let public = |path: &str| {
            let base = options.public.trim_end_matches('/');
            let url = format!("{base}{path}?CHANNEL_ID={{channels}}{binary}&mid={{mid}}");
            Template::parse(&url)
        };
        let mut subscribe = match &options.sub_template {
            Some(url) => Template::parse(url)?,
            None => public("/bitrix/subws/")?,
        };
        let mut poll = match &options.poll_template {
            Some(url) => Template::parse(url)?,
            None => public("/bitrix/sub/")?,
        };
        subscribe.endpoint.tls |= options.tls;
        poll.endpoint.tls |= options.tls;
        let internal = options.internal.trim_end_matches('/');
        let publish = match (&options.pub_template, options.publish) {
            (Some(url), _) => Template::parse(url)?,
            (None, PublishFormat::Text) => {
                Template::parse(&format!("{internal}/bitrix/pub/?CHANNEL_ID={{channel}}"))?
            }
            // A binary request names its channels in the body, so the place may be anything.
            (None, PublishFormat::Binary) => {
                Template::parse(&format!("{internal}/bitrix/pub/?binaryMode=true&for={{channel}}"))?
            }
        };
        publish.around("{channel}")?;
        Ok(Self {
            name: options.name.clone(),
            subscribe,
            poll,
            publish,
            wire: options.wire,
            format: options.publish,
            hold: options.hold,
            signer,
        })
    }

    /// Whether the ids are ours, so that all that is kept can be asked for by the lowest.
    pub fn has_mids(&self) -> bool {
        self.has_history() && self.wire != Wire::Nchan
    }

    /// Whether clients can return with the id of the last message they saw.
    pub fn has_history(&self) -> bool {
        self.wire != Wire::Raw && self.subscribe.path.contains("{mid}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_taken() {
        for (url, address, tls, path) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", false, "/"),
            ("ws://127.3.4.5/x?y={channel}", "127.3.4.5:80", false, "/x?y={channel}"),
            ("https://[::1]:8443/a/b", "[::1]:8443", true, "/a/b"),
            ("wss://[::1]/", "[::1]:443", true, "/"),
        ] {
            let template = Template::parse(url).unwrap();
            let endpoint = Endpoint { address: address.parse().unwrap(), tls };
            assert_eq!((template.endpoint, &*template.path), (endpoint, path), "{url}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "http://10.0.0.1/",
            "http://192.168.1.1:8080/",
            "http://8.8.8.8/",
            "http://0.0.0.0:80/",
            "http://[2001:db8::1]/",
        ] {
            let error = Template::parse(url).unwrap_err().to_string();
            assert!(error.contains("not a loopback address"), "{error}");
        }
        for url in ["127.0.0.1:80", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"] {
            Template::parse(url).unwrap_err();
        }
    }

    #[test]
    fn a_place_must_be_there_once() {
        let at = |path: &str| Template::parse(&format!("http://127.0.0.1{path}")).unwrap();
        assert_eq!(at("/p/{channel}?x").around("{channel}").unwrap(), ("/p/", "?x"));
        at("/p/").around("{channel}").unwrap_err();
        at("/{channel}/{channel}").around("{channel}").unwrap_err();
    }
}
