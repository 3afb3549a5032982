//! Where nginx.conf says that the push server can be reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::Url;

use super::client::dial;
use super::nginx_conf::{Location, NginxConf};

/// The address that a portal publishes to by custom.
pub const INTERNAL: &str = "http://127.0.0.1:8895/bitrix/pub/";

/// A server block that browsers connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Scheme, host and port.
    pub url: Url,
    /// Where to dial: the name may lead elsewhere from here.
    pub connect: Option<SocketAddr>,
    /// Whether the host is a name that a certificate could be for.
    pub named: bool,
    /// Path for WebSockets.
    pub websocket: String,
    /// Path for long polls.
    pub poll: String,
    /// The location with `bx_push sub` that was first.
    pub location: Option<Location>,
}

/// The public servers, those with TLS first; one for each name.
pub fn public(conf: &NginxConf) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for location in conf.of_role("sub") {
        let known = sites.iter_mut().find(|site| {
            let first = site.location.as_ref();
            first.is_some_and(|first| {
                first.listens == location.listens && first.server_name == location.server_name
            })
        });
        let path = path(location);
        match known {
            Some(site) if path.contains("/subws") => site.websocket = path,
            Some(site) if path.contains("/sub/") => site.poll = path,
            Some(_) => {}
            None => sites.extend(site(location, &path)),
        }
    }
    sites.sort_by_key(|site| site.url.scheme() != "https");
    sites
}

fn site(location: &Location, path: &str) -> Option<Site> {
    let secure = location.tls_listens.first();
    let listen =
        secure.or_else(|| location.listens.iter().find(|listen| dialled(listen).is_some()))?;
    let connect = dialled(listen)?;
    let name = &location.server_name;
    let named = !name.is_empty() && !name.starts_with(['_', '~', '*', '.']) && !name.contains('$');
    let host = if named { name.clone() } else { connect.ip().to_string() };
    let scheme = if secure.is_some() { "https" } else { "http" };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = dial::address(&format!("{scheme}://{host}:{}/", connect.port())).ok()?;
    Some(Site {
        url,
        connect: Some(connect),
        named,
        websocket: path.to_owned(),
        poll: path.to_owned(),
        location: Some(location.clone()),
    })
}

/// The address to publish to, the first that nginx.conf gives.
pub fn internal(conf: &NginxConf) -> Option<Url> {
    conf.of_role("pub").find_map(|location| {
        let listen = location.listens.iter().find(|listen| !location.tls_listens.contains(listen));
        let address = dialled(listen?)?;
        dial::address(&format!("http://{address}{}", path(location))).ok()
    })
}

/// The path of a location; of an expression what it begins with.
pub fn path(location: &Location) -> String {
    if !location.path.is_empty() {
        return location.path.clone();
    }
    match &location.role[..] {
        "pub" => "/bitrix/pub/",
        "rest" => "/bitrix/rest/",
        "stat" => "/server-stat/",
        _ => "/bitrix/subws/",
    }
    .to_owned()
}

/// Where to dial what listens there; an address for all is reached by loopback. `None`: a Unix
/// socket, or a name.
pub fn dialled(listen: &str) -> Option<SocketAddr> {
    if listen.starts_with("unix:") {
        return None;
    }
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let own = |ip: IpAddr| if ip.is_unspecified() { loopback } else { ip };
    if let Ok(port) = listen.parse::<u16>() {
        return Some((loopback, port).into());
    }
    if let Ok(address) = listen.parse::<SocketAddr>() {
        return Some((own(address.ip()), address.port()).into());
    }
    if let Ok(ip) = listen.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((own(ip), 80).into());
    }
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "80"));
    matches!(host, "*" | "localhost")
        .then_some(port.parse().ok())
        .flatten()
        .map(|port: u16| (loopback, port).into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::migrate::files::Memory;

    #[test]
    fn the_addresses_of_servers_are_found() {
        let files = Memory::default().with(
            "/n/nginx.conf",
            "events {} http { bx_push_security_key_file k; \
             server { listen 80; listen 443 ssl; server_name p.example; bx_push_security_key x;\n\
             location /bitrix/subws/ { bx_push sub; } location /bitrix/sub/ { bx_push sub; } }\n\
             server { listen 127.0.0.1:8895; location ~* ^/bitrix/pub/ { bx_push pub; } }\n\
             server { listen 8893; location ~ ^/bitrix/sub/ { bx_push sub; } } }",
        );
        let conf = NginxConf::read(&files, Path::new("/n/nginx.conf"));
        let sites = public(&conf);
        assert_eq!(sites.len(), 2);
        assert_eq!(sites[0].url.as_str(), "https://p.example/");
        assert_eq!(sites[0].connect, "127.0.0.1:443".parse().ok());
        assert_eq!(
            (&sites[0].websocket[..], &sites[0].poll[..]),
            ("/bitrix/subws/", "/bitrix/sub/")
        );
        assert!(sites[0].named && !sites[1].named);
        assert_eq!(sites[1].url.as_str(), "http://127.0.0.1:8893/");
        let internal = internal(&conf).expect("found");
        assert_eq!(internal.as_str(), INTERNAL);
        let keys = |site: &Site| site.location.as_ref().expect("known").keys.clone();
        assert_eq!(keys(&sites[0]).len(), 1);
        assert!(keys(&sites[0])[0].inline.is_some(), "the inner level's");
        assert_eq!(keys(&sites[1])[0].file.as_deref(), Some(Path::new("/n/k")));
    }

    #[test]
    fn what_listens_is_dialled_on_loopback() {
        for (listen, address) in [
            ("8895", Some("127.0.0.1:8895")),
            ("*:80", Some("127.0.0.1:80")),
            ("0.0.0.0:80", Some("127.0.0.1:80")),
            ("[::]:80", Some("127.0.0.1:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("10.0.0.1", Some("10.0.0.1:80")),
            ("localhost:8895", Some("127.0.0.1:8895")),
            ("localhost", Some("127.0.0.1:80")),
            ("portal:80", None),
            ("unix:/s", None),
        ] {
            assert_eq!(
                dialled(listen),
                address.map(|text| text.parse().expect("an address")),
                "{listen}"
            );
        }
    }
}
