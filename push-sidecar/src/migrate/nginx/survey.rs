//! What nginx's files say of push-server: upstreams, servers, locations and who includes whom.

use std::collections::{BTreeMap, BTreeSet};

use super::parser::Directive;
use super::role::{self, Hint, Role};
use super::tree::{Id, Tree};
use crate::migrate::finding::Place;
use crate::migrate::settings::{At, Settings, Slot};

/// An upstream of push-server's processes.
#[derive(Debug)]
pub struct Upstream<'a> {
    /// Its file.
    pub source: usize,
    /// Its block.
    pub directive: &'a Directive,
    /// The routes of the processes behind it, as far as their ports tell.
    pub routes: BTreeSet<String>,
}

/// A server block.
#[derive(Debug)]
pub struct Server<'a> {
    /// Its file.
    pub source: usize,
    /// Its block.
    pub directive: &'a Directive,
    /// What stands in it, not in its locations; included files' directives with their files.
    pub own: Vec<(usize, &'a Directive)>,
    /// Its locations, nested ones too.
    pub locations: BTreeSet<Id>,
}

/// A location.
#[derive(Debug)]
pub struct Location<'a> {
    /// Its file.
    pub source: usize,
    /// Its block.
    pub directive: &'a Directive,
    /// The servers that it belongs to: several if its file is included by several.
    pub servers: BTreeSet<Id>,
    /// What it is for, if it leads to push-server.
    pub push: Option<Hint>,
}

/// What was found.
#[derive(Default, Debug)]
pub struct Survey<'a> {
    /// The http block.
    pub http: Option<(usize, &'a Directive)>,
    /// What stands in it, but for blocks.
    pub http_own: Vec<(usize, &'a Directive)>,
    /// What stands in front of all blocks.
    pub main_own: Vec<(usize, &'a Directive)>,
    /// Upstreams of push-server by name.
    pub upstreams: BTreeMap<String, Upstream<'a>>,
    /// All servers.
    pub servers: BTreeMap<Id, Server<'a>>,
    /// All locations.
    pub locations: BTreeMap<Id, Location<'a>>,
    /// `map`s that depend on an upgrade.
    pub maps: Vec<(usize, &'a Directive)>,
    /// The group of the worker processes.
    pub group: Slot<String>,
    /// The first directive of ours: the files have been moved already.
    pub moved: Option<Place>,
    /// Directives of the nginx-push-stream-module, for server versions 1 and 2.
    pub push_stream: Vec<(usize, &'a Directive)>,
}

impl<'a> Survey<'a> {
    /// Looks through all files.
    pub fn make(tree: &'a Tree, settings: &Settings) -> Self {
        let mut survey = Self::default();
        tree.walk(|visit| {
            let (source, directive) = (visit.source, visit.directive);
            let parent = visit.parents.last().map(|(_, parent)| &parent.name[..]);
            let in_http = if tree.fragments { None } else { Some("http") };
            match &directive.name[..] {
                "http" if parent.is_none() => survey.http = Some((source, directive)),
                "upstream" => survey.add_upstream(source, directive, settings),
                "server" if directive.block.is_some() && parent == in_http => {
                    survey.servers.entry(visit.id()).or_insert_with(|| Server {
                        source,
                        directive,
                        own: Vec::new(),
                        locations: BTreeSet::new(),
                    });
                }
                "location" => {
                    let location = survey.locations.entry(visit.id()).or_insert_with(|| Location {
                        source,
                        directive,
                        servers: BTreeSet::new(),
                        push: None,
                    });
                    let server = visit.parents.iter().find(|(_, parent)| parent.name == "server");
                    if let Some(id) = server.map(|(source, server)| (*source, server.span.start)) {
                        location.servers.insert(id);
                        if let Some(server) = survey.servers.get_mut(&id) {
                            server.locations.insert(visit.id());
                        }
                    }
                }
                "map"
                    if directive.arg() == "$http_upgrade"
                        && !survey.maps.iter().any(|(s, d)| (*s, d.span.start) == visit.id()) =>
                {
                    survey.maps.push((source, directive));
                }
                "user" if parent.is_none() && survey.group.is_none() => {
                    let group = directive.args.last().cloned().unwrap_or_default();
                    survey.group = Some(At { value: group, place: tree.place(source, directive) });
                }
                name if name.starts_with("bx_push") && survey.moved.is_none() => {
                    survey.moved = Some(tree.place(source, directive));
                }
                name if name.starts_with("push_stream_") => {
                    survey.push_stream.push((source, directive));
                }
                _ => {}
            }
            match parent {
                Some("server") if directive.name != "location" => {
                    let id =
                        visit.parents.last().map(|(source, server)| (*source, server.span.start));
                    if let Some(server) = id.and_then(|id| survey.servers.get_mut(&id)) {
                        server.own.push((source, directive));
                    }
                }
                parent if parent == in_http && directive.block.is_none() => {
                    survey.http_own.push((source, directive));
                }
                None if directive.block.is_none() => survey.main_own.push((source, directive)),
                _ => {}
            }
        });
        survey.find_push_locations(tree, settings);
        survey
    }

    fn add_upstream(&mut self, source: usize, directive: &'a Directive, settings: &Settings) {
        let name = directive.arg();
        let mut push = role::by_words(&name.replace('_', "/")) != Hint::None
            && (name.contains("node") || name.contains("push") || name.contains("bitrix"));
        let mut routes = BTreeSet::new();
        for server in directive.inside().iter().filter(|inner| inner.name == "server") {
            if let Some(known) = routes_of(server.arg(), settings) {
                push = true;
                routes.extend(known);
            }
        }
        if push {
            self.upstreams.entry(name.to_owned()).or_insert(Upstream { source, directive, routes });
        }
    }

    fn find_push_locations(&mut self, tree: &'a Tree, settings: &Settings) {
        for location in self.locations.values_mut() {
            let path = location.directive.args.last().cloned().unwrap_or_default();
            let (mut proxied, mut leads_to_push) = (false, false);
            let mut others = Vec::new();
            let mut routes = BTreeSet::new();
            tree.walk_block(location.source, location.directive, |visit| {
                let nested = visit.parents[1..].iter().any(|(_, parent)| parent.name == "location");
                match &visit.directive.name[..] {
                    "proxy_pass" if !nested => {
                        proxied = true;
                        let (host, uri) = target(visit.directive.arg());
                        others.push(uri.to_owned());
                        if let Some(upstream) = self.upstreams.get(host) {
                            leads_to_push = true;
                            routes.extend(upstream.routes.iter().cloned());
                        } else if let Some(known) = routes_of(host, settings) {
                            leads_to_push = true;
                            routes.extend(known);
                        }
                    }
                    "rewrite" if !nested => others.extend(visit.directive.args.get(1).cloned()),
                    _ => {}
                }
            });
            if !proxied || !(leads_to_push || role::is_customary(&path)) {
                continue;
            }
            let literal = role::literal(&location.directive.args);
            let mut hints = std::iter::once(role::by_words(&path))
                .chain(others.iter().map(|other| role::by_words(other)));
            let by_words = hints.find(|hint| *hint != Hint::None).unwrap_or(Hint::None);
            let by_ports = || {
                let mut roles = routes.iter().filter_map(|route| Role::of_route(route));
                match (roles.next(), roles.next()) {
                    (Some(role), None) => Hint::One(role),
                    _ => Hint::None,
                }
            };
            location.push = Some(match (role::by_routes(&literal, settings), by_words) {
                (Some(role), _) => Hint::One(role),
                (None, Hint::None) => by_ports(),
                (None, hint) => hint,
            });
        }
    }

    /// The locations that lead to push-server.
    pub fn push_locations(&self) -> impl Iterator<Item = (&Id, &Location<'a>, Hint)> {
        self.locations.iter().filter_map(|(id, location)| Some((id, location, location.push?)))
    }

    /// Whether a server serves push-server and nothing else: its other locations only refuse.
    pub fn is_dedicated(&self, server: &Server<'a>) -> bool {
        let refuses = |location: &Location<'a>| {
            let inside = location.directive.inside();
            inside.iter().all(|d| {
                matches!(
                    &d.name[..],
                    "deny" | "allow" | "return" | "access_log" | "log_not_found" | "internal"
                )
            })
        };
        let locations = || server.locations.iter().filter_map(|id| self.locations.get(id));
        locations().any(|location| location.push.is_some())
            && locations().all(|location| location.push.is_some() || refuses(location))
    }
}

/// Host (or upstream) and path of a `proxy_pass`.
pub fn target(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    }
}

/// The routes of the process at an address, if its port is one of push-server's: by the processes'
/// files, or else one that the start script gives by default. No routes: not known which.
fn routes_of(address: &str, settings: &Settings) -> Option<Vec<String>> {
    let (_, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    if let Some((_, routes)) = settings.ports.iter().find(|(known, _)| *known == port) {
        return Some(routes.clone());
    }
    match port {
        8010..=8019 => Some(vec!["sub".into()]),
        8895 | 9010..=9019 => Some(Vec::new()),
        _ => None,
    }
}
