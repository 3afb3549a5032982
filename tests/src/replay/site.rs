//! The servers that the files name, as servers of our nginx.
//!
//! What a reference process has of its own – limits, the times of its store – needs a sidecar of
//! its own here and with it an nginx of its own: the socket of the sidecar is set for all of nginx.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use super::player::Servers;
use crate::channel::Key;
use crate::host::{Host, Setup};
use crate::net::Endpoint;
use crate::ports;

/// A server of the files.
struct Listener {
    name: &'static str,
    /// Directives of the server block.
    directives: &'static str,
    locations: &'static [(&'static str, &'static str)],
}

const ALL: &[(&str, &str)] =
    &[("/sub/", "sub"), ("/pub/", "pub"), ("/rest/", "rest"), ("/server-stat/", "stat")];

/// Servers on one sidecar.
struct Group {
    /// Environment of the sidecar.
    sidecar: &'static [(&'static str, &'static str)],
    listeners: &'static [Listener],
}

const GROUPS: [Group; 3] = [
    Group {
        sidecar: &[],
        listeners: &[
            Listener { name: "all", directives: "", locations: ALL },
            Listener {
                name: "sha256",
                directives: "bx_push_signature_algorithm sha256;",
                locations: ALL,
            },
            Listener { name: "sub1", directives: "", locations: &[("/bitrix/subws/", "sub")] },
            Listener { name: "sub2", directives: "", locations: &[("/bitrix/subws/", "sub")] },
            Listener {
                name: "pub1",
                directives: "",
                locations: &[
                    ("/bitrix/pub/", "pub"),
                    ("/bitrix/rest/", "rest"),
                    ("/server-stat/", "stat"),
                ],
            },
            Listener {
                name: "front",
                directives: "",
                locations: &[
                    ("/bitrix/subws/", "sub"),
                    ("/bitrix/sub/", "sub"),
                    ("/bitrix/rest/", "rest"),
                ],
            },
            Listener {
                name: "internal",
                directives: "",
                locations: &[("/bitrix/pub/", "pub"), ("/server-stat/", "stat")],
            },
        ],
    },
    Group {
        sidecar: &[
            ("BX_PUSH_CHANNEL_TTL", "50"),
            ("BX_PUSH_ONLINE_TTL", "20"),
            ("BX_PUSH_ONLINE_DELTA", "5"),
        ],
        listeners: &[Listener {
            name: "small",
            directives: "bx_push_max_payload 4k; bx_push_max_connections_per_channel 3;
                bx_push_max_messages_per_request 4; bx_push_max_channels_per_request 4;
                bx_push_message_ttl 100s;",
            locations: ALL,
        }],
    },
    // Without cluster mode a channel is online as long as it has a connection and no longer.
    Group {
        sidecar: &[("BX_PUSH_ONLINE_GRACE", "0")],
        listeners: &[Listener { name: "single", directives: "", locations: ALL }],
    },
];

/// All the servers, running.
pub struct Site {
    hosts: Vec<Host>,
    addresses: BTreeMap<&'static str, SocketAddr>,
}

impl Site {
    /// Starts them, with that `security_key`.
    pub fn start(setup: &Setup, security_key: &str) -> io::Result<Self> {
        let mut site = Self { hosts: Vec::new(), addresses: BTreeMap::new() };
        for group in &GROUPS {
            site.start_group(setup, security_key, group)?;
        }
        Ok(site)
    }

    fn start_group(&mut self, setup: &Setup, security_key: &str, group: &Group) -> io::Result<()> {
        let mut setup = setup.clone();
        setup.keys = vec![Key(security_key.to_owned())];
        setup.sidecar = group.sidecar.to_vec();
        for listener in group.listeners {
            let address = ports::free();
            self.addresses.insert(listener.name, address);
            setup.conf.servers += &block(listener, address);
        }
        self.hosts.push(setup.start()?);
        Ok(())
    }

    /// The Redis of the host that has the server of that name, if it has one.
    pub fn redis(&self, server: &str) -> Option<&crate::redis::Redis> {
        let has = |group: &Group| group.listeners.iter().any(|listener| listener.name == server);
        let at = GROUPS.iter().position(has).expect("a server of the files");
        self.hosts[at].redis.as_ref()
    }
}

impl Servers for Site {
    fn endpoint(&self, name: &str) -> Endpoint {
        let address = self.addresses.get(name);
        Endpoint::clear(*address.unwrap_or_else(|| panic!("there is no server {name}")))
    }
}

fn block(listener: &Listener, address: SocketAddr) -> String {
    let Listener { directives, locations, .. } = listener;
    let mut block = format!("server {{\n listen {address};\n {directives}\n");
    for (path, role) in *locations {
        block.extend([" location ", path, " { bx_push ", role, "; }\n"]);
    }
    block + " location / { return 404; }\n}\n"
}
