//! A location that led to push-server: what becomes of what is in it.

use std::collections::BTreeSet;

use super::AllEdits;
use super::parser::Directive;
use super::role::Role;
use super::server;
use super::survey::{Location, Survey};
use super::tree::{Id, Tree};
use crate::migrate::finding::{Findings, Verdict};
use crate::migrate::settings::{
    Limit, Limits, MAX_CHANNELS, MAX_CONNECTIONS, MAX_MESSAGES, MAX_PAYLOAD, MESSAGE_TTL, Settings,
    size,
};

/// What becomes of a directive.
enum Fate {
    /// It goes, and that is told.
    Goes(Verdict, String),
    /// It stays, and that is told.
    Stays(Verdict, String),
}

/// Puts `bx_push` into a location, and takes out what only a proxy needs.
#[expect(clippy::too_many_arguments, reason = "one call, of the parts that are being made")]
pub fn change(
    tree: &Tree,
    survey: &Survey<'_>,
    location: &Location<'_>,
    role: Role,
    settings: &Settings,
    edits: &mut AllEdits,
    dropped: &mut BTreeSet<Id>,
    findings: &mut Findings,
) {
    let (source, directive) = (location.source, location.directive);
    let place = tree.place(source, directive);
    let shown = directive.shown();
    findings.add(
        place.clone(),
        Verdict::Translated,
        &shown,
        format!("bx_push {}; in this location", role.name()),
    );
    let mut work = Work { tree, role, edits, dropped, findings };
    for inner in directive.inside() {
        work.take(source, inner);
    }
    let has = |names: &[&str]| contains(tree, source, directive, names);
    let limits = if role == Role::Sub { &settings.sub } else { &settings.publishing };
    let mut lines = vec![format!("bx_push {};", role.name())];
    if role != Role::Stat {
        lines.extend(limit_lines(limits, role));
    }
    let payload = limits.max_payload.as_ref().map_or(MAX_PAYLOAD.default, |at| at.value);
    if matches!(role, Role::Pub | Role::Rest) && has(&["client_max_body_size"]).is_none() {
        lines.push(format!("client_max_body_size {};", size(payload)));
    }
    if role == Role::Pub && has(&["client_body_buffer_size"]).is_none() {
        lines.push(format!("client_body_buffer_size {};", size(payload)));
    }
    if has(&["access_log"]).is_none_or(|log| log != ["off"]) {
        lines.push("access_log off;".into());
    }
    if role.is_trusted()
        && server::needs_guard(survey, location)
        && has(&["deny", "allow", "auth_basic", "internal"]).is_none()
    {
        lines.extend(["allow 127.0.0.1;".into(), "allow ::1;".into(), "deny all;".into()]);
        let may = if role == Role::Pub { "publish to everybody" } else { "read the statistics" };
        findings.add(place, Verdict::Dangerous, shown, format!("on a public address: whoever reaches it may {may}. \"allow 127.0.0.1; allow ::1; deny all;\" is put in; add the addresses of the portal's other machines"));
    }
    if let Some(block) = &directive.block {
        let file = &tree.sources[source].file.bytes;
        edits.entry(source).or_default().insert(file, &block.inner, &lines);
    }
}

/// The limits that are not the default.
pub fn limit_lines(limits: &Limits, role: Role) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |slot: &crate::migrate::settings::Slot<u64>, limit: &Limit| {
        if let Some(at) = slot.as_ref().filter(|at| at.value != limit.default) {
            lines.push(format!("{} {};", limit.directive, (limit.write)(at.value)));
        }
    };
    line(&limits.max_payload, &MAX_PAYLOAD);
    line(&limits.max_messages, &MAX_MESSAGES);
    line(&limits.max_channels, &MAX_CHANNELS);
    line(&limits.message_ttl, &MESSAGE_TTL);
    if role == Role::Sub {
        line(&limits.max_connections, &MAX_CONNECTIONS);
    }
    lines
}

/// The arguments of the first of these directives in a location, in what it includes, too.
fn contains(
    tree: &Tree,
    source: usize,
    location: &Directive,
    names: &[&str],
) -> Option<Vec<String>> {
    let mut found = None;
    tree.walk_block(source, location, |visit| {
        if found.is_none() && visit.parents.len() == 1 && names.contains(&&visit.directive.name[..])
        {
            found = Some(visit.directive.args.clone());
        }
    });
    found
}

struct Work<'w> {
    tree: &'w Tree,
    role: Role,
    edits: &'w mut AllEdits,
    dropped: &'w mut BTreeSet<Id>,
    findings: &'w mut Findings,
}

impl Work<'_> {
    /// Deals with a directive that stands in the location's own file.
    fn take(&mut self, source: usize, directive: &Directive) {
        if directive.name == "location" {
            // One that leads to push-server is dealt with for itself.
            return;
        }
        let goes = match self.fate(source, directive) {
            Fate::Goes(verdict, text) => {
                self.tell(source, directive, verdict, text);
                true
            }
            Fate::Stays(verdict, text) => {
                self.tell(source, directive, verdict, text);
                false
            }
        };
        if goes {
            self.drop_all(source, directive);
            let file = &self.tree.sources[source].file.bytes;
            self.edits.entry(source).or_default().remove(file, &directive.span);
        } else {
            for inner in directive.inside() {
                self.take(source, inner);
            }
        }
    }

    fn tell(&mut self, source: usize, directive: &Directive, verdict: Verdict, text: String) {
        let place = self.tree.place(source, directive);
        let block = if directive.block.is_some() { " { … }" } else { "" };
        self.findings.add(place, verdict, directive.shown() + block, text);
    }

    /// Remembers that something is out, and tells of what goes with it.
    fn drop_all(&mut self, source: usize, directive: &Directive) {
        self.dropped.insert((source, directive.span.start));
        let mut inside: Vec<(usize, &Directive)> =
            directive.inside().iter().map(|inner| (source, inner)).collect();
        for &file in self.tree.included((source, directive.span.start)) {
            inside.extend(self.tree.sources[file].directives.iter().map(|inner| (file, inner)));
        }
        for (file, inner) in inside {
            if let Fate::Goes(verdict, text) = self.fate(file, inner) {
                self.tell(file, inner, verdict, text);
            }
            self.drop_all(file, inner);
        }
    }

    fn fate(&self, source: usize, directive: &Directive) -> Fate {
        use Verdict::{Dangerous, Obsolete, TakenOver, Translated, Unknown};
        let obsolete = |text: &str| Fate::Goes(Obsolete, text.to_owned());
        let all_go = |source: usize, list: &[Directive]| {
            !list.is_empty()
                && list.iter().all(|inner| matches!(self.fate(source, inner), Fate::Goes(..)))
        };
        match &directive.name[..] {
            "proxy_pass" => Fate::Goes(Translated, format!("bx_push {};", self.role.name())),
            "proxy_read_timeout" | "proxy_send_timeout" => obsolete("nginx holds the connection itself: bx_push_ping_interval for WebSockets, bx_push_poll_timeout for polls"),
            "proxy_ignore_client_abort" => obsolete("a publication is carried out even if its publisher hangs up"),
            "proxy_set_header" => obsolete("nothing is passed on: the worker answers itself"),
            name if name.starts_with("proxy_") => obsolete("nothing is proxied"),
            "rewrite" if !matches!(directive.args.get(2).map(|flag| &flag[..]), Some("redirect" | "permanent")) => {
                obsolete("the location takes its paths as they are")
            }
            "access_log" if directive.arg() == "off" => Fate::Stays(TakenOver, "stays".into()),
            "access_log" => Fate::Goes(Dangerous, "a request line carries channel ids with their signatures, with which a reader of the log may listen: access_log off;".into()),
            "include" => {
                let files = self.tree.included((source, directive.span.start));
                let go = files.iter().all(|&file| all_go(file, &self.tree.sources[file].directives));
                if go && !files.is_empty() {
                    return obsolete("all that is in there is for a proxy");
                }
                if files.iter().any(|&file| self.tree.sources[file].directives.iter().any(|d| d.name == "proxy_pass")) {
                    return Fate::Goes(Dangerous, "taken out, because proxy_pass stands in there; what else is in there must be written into the location by hand".into());
                }
                Fate::Stays(TakenOver, "stays".into())
            }
            "if" if all_go(source, directive.inside()) => obsolete("all that is in it is for a proxy; the condition was not evaluated"),
            "if" | "set" | "return" | "rewrite" | "break" => Fate::Stays(Unknown, "stays; variables and conditions are not evaluated: see whether it was meant for the old server only".into()),
            "client_max_body_size" => Fate::Stays(TakenOver, format!("stays; it must let pass what {} takes", MAX_PAYLOAD.directive)),
            _ => Fate::Stays(TakenOver, "stays".into()),
        }
    }
}
