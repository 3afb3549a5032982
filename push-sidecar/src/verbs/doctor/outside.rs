//! Whether other machines reach the internal address. It is tried from this one, by the addresses
//! that others know.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Ground;
use super::walk;
use crate::verbs::client::dial::{self, Dialler};
use crate::verbs::client::http::Ask;
use crate::verbs::findings::Findings;
use crate::verbs::nginx_conf::NginxConf;
use crate::verbs::sites;

const PART: &str = "internal address";
/// For each address: on this machine the answer takes no time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The addresses of this machine's interfaces but loopback's and those of one link.
pub fn interfaces() -> Vec<IpAddr> {
    let Ok(list) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses: BTreeSet<IpAddr> = list
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        })
        .collect();
    addresses.into_iter().collect()
}

/// Ports on which something trusted listens, each with its path and where it stands.
fn trusted(conf: &NginxConf, ground: &Ground) -> Vec<(u16, String, String)> {
    let mut found = Vec::new();
    for location in conf.of_role("pub") {
        for listen in &location.listens {
            if let Some(address) = sites::dialled(listen) {
                found.push((address.port(), sites::path(location), location.place.clone()));
            }
        }
    }
    if found.is_empty() {
        let port = ground.internal.port_or_known_default().unwrap_or(80);
        found.push((port, ground.internal.path().to_owned(), ground.internal.to_string()));
    }
    found.sort();
    found.dedup_by_key(|(port, path, _)| (*port, path.clone()));
    found
}

/// Asks each address for statistics, as only the portal may.
pub async fn check(ground: &Ground, addresses: &[IpAddr], told: &mut Findings) {
    let trusted = trusted(&ground.conf, ground);
    let mut open = false;
    for &ip in addresses {
        for (port, path, place) in &trusted {
            let address = SocketAddr::from((ip, *port));
            let Ok(url) = dial::address(&format!("http://{address}{path}")) else { continue };
            let dialler = Dialler { patience: PATIENCE, ..Dialler::default() };
            let target = format!("{path}?CHANNEL_ID={}", "0".repeat(32));
            let answer = Ask::get(&url, target, PATIENCE).ask(&dialler).await;
            if answer.is_ok_and(|answer| walk::is_statistics(&answer)) {
                open = true;
                told.error(
                    PART,
                    url.as_str(),
                    "answers: whoever reaches this address may publish to everybody",
                    format!("in the server block around {place}:\nlisten 127.0.0.1:{port};\nor, if the portal is on another machine, in the location:\nallow <the portal's address>; deny all;"),
                );
            }
        }
    }
    if open {
        return;
    }
    if addresses.is_empty() {
        told.ok(PART, ground.internal.as_str(), "this machine has no address but loopback's");
    } else {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        told.ok(PART, ground.internal.as_str(), format!("does not answer at {}", list.join(", ")));
    }
}
