//! What stands around the locations: servers, upstreams, maps, the http block.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::AllEdits;
use super::parser::Directive;
use super::survey::{Location, Server, Survey, target};
use super::tree::{Id, Tree};
use crate::migrate::finding::{Findings, Verdict};
use crate::migrate::paths;
use crate::migrate::variables::is_loopback;

/// Whom a `listen` lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// This machine.
    Local,
    /// Everybody who reaches any of its addresses.
    All,
    /// Everybody who reaches one address.
    One,
}

/// Address and port of a `listen`. No address: all.
fn split(listen: &str) -> (&str, &str) {
    if let Some(close) = listen.rfind(']') {
        let port = listen[close + 1..].strip_prefix(':').unwrap_or("80");
        return (&listen[..=close], port);
    }
    match listen.rsplit_once(':') {
        Some((address, port)) => (address, port),
        None if listen.bytes().all(|byte| byte.is_ascii_digit()) => ("", listen),
        None => (listen, "80"),
    }
}

fn reach(listen: &str) -> Reach {
    let (address, _) = split(listen);
    match address {
        "" | "*" | "0.0.0.0" | "[::]" => Reach::All,
        _ if listen.starts_with("unix:") || is_loopback(address) => Reach::Local,
        _ => Reach::One,
    }
}

fn listens<'a>(server: &'a Server<'_>) -> impl Iterator<Item = (usize, &'a Directive)> {
    server.own.iter().filter(|(_, d)| d.name == "listen").map(|(source, d)| (*source, *d))
}

/// Whether a server is what browsers come to: its trusted locations need a guard, because its
/// address cannot be narrowed.
fn is_public(survey: &Survey<'_>, server: &Server<'_>) -> bool {
    let web = |listen: &Directive| {
        reach(listen.arg()) != Reach::Local
            && (matches!(split(listen.arg()).1, "80" | "443")
                || listen.args.iter().any(|arg| arg == "ssl" || arg == "quic"))
    };
    let none = listens(server).next().is_none();
    let dedicated = survey.is_dedicated(server);
    let open = listens(server).any(|(_, listen)| reach(listen.arg()) != Reach::Local);
    (none || listens(server).any(|(_, listen)| web(listen)) || !dedicated && open)
        && !is_guarded(server)
}

fn is_guarded(server: &Server<'_>) -> bool {
    server.own.iter().any(|(_, d)| d.name == "deny" || d.name == "auth_basic" && d.arg() != "off")
}

/// Whether a location that trusts whoever reaches it is reached from outside.
pub fn needs_guard(survey: &Survey<'_>, location: &Location<'_>) -> bool {
    let mut servers = location.servers.iter().filter_map(|id| survey.servers.get(id));
    location.servers.is_empty() || servers.any(|server| is_public(survey, server))
}

/// Tells of the servers that serve push-server alone, and has the internal ones listen on loopback.
pub fn change_servers(
    tree: &Tree,
    survey: &Survey<'_>,
    edits: &mut AllEdits,
    findings: &mut Findings,
) {
    for server in survey.servers.values() {
        let trusted = server.locations.iter().filter_map(|id| survey.locations.get(id)).any(|location| {
            matches!(location.push, Some(super::role::Hint::One(role)) if role.is_trusted())
        });
        let narrow = trusted && !is_public(survey, server) && !is_guarded(server);
        if !survey.is_dedicated(server) {
            continue;
        }
        let place = tree.place(server.source, server.directive);
        findings.add(
            place,
            Verdict::TakenOver,
            "server { … }",
            "stays, with what is changed in it",
        );
        for &(source, directive) in &server.own {
            let place = tree.place(source, directive);
            let block = if directive.block.is_some() { " { … }" } else { "" };
            let shown = directive.shown() + block;
            if directive.name == "listen" && narrow && reach(directive.arg()) == Reach::All {
                let narrowed = narrowed(directive);
                findings.add(place, Verdict::Dangerous, shown, format!("on all interfaces: whoever reaches it may publish to everybody. {narrowed}; instead. If other machines publish here, add a listen for them with allow and deny"));
                edits
                    .entry(source)
                    .or_default()
                    .replace(directive.span.clone(), format!("{narrowed};"));
            } else if directive.name == "listen" && narrow && reach(directive.arg()) == Reach::One {
                findings.add(place, Verdict::Dangerous, shown, "stays, but whoever reaches this address may publish to everybody: add allow and deny");
            } else if directive.name == "if" {
                findings.add(place, Verdict::Unknown, shown, "stays; variables and conditions are not evaluated: see whether it was meant for the old server only");
            } else {
                findings.add(place, Verdict::TakenOver, shown, "stays");
            }
        }
        for id in &server.locations {
            let Some(location) =
                survey.locations.get(id).filter(|location| location.push.is_none())
            else {
                continue;
            };
            let place = tree.place(location.source, location.directive);
            findings.add(place, Verdict::TakenOver, location.directive.shown() + " { … }", "stays");
            for inner in location.directive.inside() {
                findings.add(
                    tree.place(location.source, inner),
                    Verdict::TakenOver,
                    inner.shown(),
                    "stays",
                );
            }
        }
    }
}

/// The same `listen`, for this machine only.
fn narrowed(listen: &Directive) -> String {
    let (address, port) = split(listen.arg());
    let loopback = if address == "[::]" { "[::1]" } else { "127.0.0.1" };
    let mut words = vec!["listen".to_owned(), format!("{loopback}:{port}")];
    words.extend(listen.args[1..].iter().cloned());
    words.join(" ")
}

/// Takes the upstreams out that nothing leads to any more.
pub fn change_upstreams(
    tree: &Tree,
    survey: &Survey<'_>,
    dropped: &BTreeSet<Id>,
    edits: &mut AllEdits,
    findings: &mut Findings,
) {
    for (name, upstream) in &survey.upstreams {
        let mut used = None;
        tree.walk(|visit| {
            let by = |arg: &String| target(arg).0 == name || arg == name;
            if visit.directive.name != "upstream"
                && !dropped.contains(&visit.id())
                && visit.directive.args.iter().any(by)
            {
                used.get_or_insert_with(|| tree.place(visit.source, visit.directive));
            }
        });
        let place = tree.place(upstream.source, upstream.directive);
        let shown = upstream.directive.shown() + " { … }";
        let text = match &used {
            Some(used) => format!("stays: {used} leads there"),
            None => "taken out: nothing leads there any more".into(),
        };
        let verdict = if used.is_some() { Verdict::TakenOver } else { Verdict::Obsolete };
        findings.add(place, verdict, shown, text);
        for inner in upstream.directive.inside() {
            let text = match &inner.name[..] {
                _ if used.is_some() => "stays",
                "server" => "no port per process: nginx's workers serve",
                "ip_hash" | "hash" | "least_conn" | "random" => {
                    "nothing to choose: every worker takes every client"
                }
                _ => "no connections to processes",
            };
            let place = tree.place(upstream.source, inner);
            findings.add(place.clone(), verdict, inner.shown(), text);
            let host = split(inner.arg()).0;
            if inner.name == "server"
                && !host.is_empty()
                && !is_loopback(host)
                && !inner.arg().starts_with("unix:")
            {
                findings.add(place, Verdict::Dangerous, inner.shown(), "the old server may run on another machine: push-sidecar runs on this one, and must reach the same Redis from here");
            }
        }
        if used.is_none() {
            let file = &tree.sources[upstream.source].file.bytes;
            edits.entry(upstream.source).or_default().remove(file, &upstream.directive.span);
        }
    }
}

/// Tells of the maps that were there for proxying WebSockets.
pub fn tell_maps(
    tree: &Tree,
    survey: &Survey<'_>,
    dropped: &BTreeSet<Id>,
    findings: &mut Findings,
) {
    for &(source, map) in &survey.maps {
        let variable = map.args.get(1).map_or("", String::as_str);
        let mut used = None;
        tree.walk(|visit| {
            let out = dropped.contains(&visit.id()) || visit.id() == (source, map.span.start);
            if !out
                && !variable.is_empty()
                && visit.directive.args.iter().any(|arg| arg.contains(variable))
            {
                used.get_or_insert_with(|| tree.place(visit.source, visit.directive));
            }
        });
        let inside: Vec<_> = map.inside().iter().map(|entry| entry.shown() + ";").collect();
        let shown = format!("{} {{ {} }}", map.shown(), inside.join(" "));
        let (verdict, text) = match used {
            Some(used) => (Verdict::TakenOver, format!("stays: {used} uses it")),
            None => {
                (Verdict::Obsolete, "stays, and does no harm: nothing here uses it any more".into())
            }
        };
        findings.add(tree.place(source, map), verdict, shown, text);
    }
}

/// What the http block has already of what would be put into it.
pub fn tell_http(tree: &Tree, survey: &Survey<'_>, findings: &mut Findings) -> BTreeSet<String> {
    let mut has = BTreeSet::new();
    for &(source, directive) in &survey.http_own {
        let place = tree.place(source, directive);
        match &directive.name[..] {
            "large_client_header_buffers" => {
                let size = directive.args.get(1).map_or("", String::as_str);
                let large = size.ends_with(['m', 'M'])
                    || size
                        .trim_end_matches(['k', 'K'])
                        .parse::<u64>()
                        .is_ok_and(|n| n >= 16 && size.ends_with(['k', 'K']) || n >= 16 << 10);
                if large {
                    findings.add(place, Verdict::TakenOver, directive.shown(), "stays");
                } else {
                    findings.add(place, Verdict::Dangerous, directive.shown(), "a request line with 100 signed channels needs more: make it 4 16k, or such subscriptions are refused with 414");
                }
            }
            "connection_pool_size" => findings.add(
                place,
                Verdict::TakenOver,
                directive.shown(),
                "stays; 384 saves some 120 bytes for each idle WebSocket",
            ),
            _ => continue,
        }
        has.insert(directive.name.clone());
    }
    has
}

/// Finds a place for the http block's directives and for `load_module`: a folder that is included
/// anyway, or else nginx.conf.
pub fn change_main(
    tree: &Tree,
    survey: &Survey<'_>,
    edits: &mut AllEdits,
) -> (PathBuf, Option<PathBuf>) {
    let folder = |own: &[(usize, &Directive)]| {
        own.iter().filter(|(_, d)| d.name == "include").find_map(|(_, include)| {
            let pattern = Path::new(include.arg());
            let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder
                .filter(|_| pattern.file_name().is_some_and(|name| name == "*.conf"))
                .map(|folder| tree.prefix.join(folder))
        })
    };
    let root = tree.roots.first().copied();
    let http = folder(&survey.http_own).unwrap_or_else(|| {
        if let Some((source, block)) =
            survey.http.and_then(|(source, http)| Some((source, http.block.as_ref()?)))
        {
            let file = &tree.sources[source].file.bytes;
            let line = format!("include conf.d/{};", paths::HTTP_CONF);
            edits.entry(source).or_default().insert(file, &block.inner, &[line]);
        }
        tree.prefix.join("conf.d")
    });
    let modules = folder(&survey.main_own)
        .or_else(|| tree.fragments.then(|| tree.prefix.join("modules-enabled")));
    if let (None, Some(root)) = (&modules, root) {
        let bom = if tree.sources[root].file.bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let line = "load_module modules/ngx_http_bx_push_module.so;\n";
        edits.entry(root).or_default().replace(bom..bom, line);
    }
    (http.join(paths::HTTP_CONF), modules.map(|folder| folder.join(paths::LOAD_MODULE_CONF)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listens_are_understood() {
        for (listen, address, port, whom) in [
            ("8895", "", "8895", Reach::All),
            ("*:8895", "*", "8895", Reach::All),
            ("0.0.0.0:8895", "0.0.0.0", "8895", Reach::All),
            ("[::]:8895", "[::]", "8895", Reach::All),
            ("127.0.0.1:8895", "127.0.0.1", "8895", Reach::Local),
            ("localhost:8895", "localhost", "8895", Reach::Local),
            ("[::1]:8895", "[::1]", "8895", Reach::Local),
            ("[fd00::1]", "[fd00::1]", "80", Reach::One),
            ("10.0.0.5:8895", "10.0.0.5", "8895", Reach::One),
            ("10.0.0.5", "10.0.0.5", "80", Reach::One),
        ] {
            assert_eq!((split(listen), reach(listen)), ((address, port), whom), "{listen}");
        }
        assert_eq!(reach("unix:/run/x.sock"), Reach::Local);
    }
}
