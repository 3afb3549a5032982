//! The numbers of a process: limits and times to live.

use super::Process;
use crate::migrate::finding::Verdict;
use crate::migrate::json::{Kind, Leaf};
use crate::migrate::settings::{
    CHANNEL_TTL, Limit, Limits, MAX_CHANNELS, MAX_CONNECTIONS, MAX_MESSAGES, MAX_PAYLOAD,
    MESSAGE_TTL, ONLINE_DELTA, ONLINE_TTL, Settings, Slot, raise,
};

/// Where a number is kept.
type SlotOf<T> = fn(&mut T) -> &mut Slot<u64>;

/// Numbers that a role has for itself.
const OF_ROLE: [(&str, Limit, SlotOf<Limits>); 5] = [
    ("limits.maxPayload", MAX_PAYLOAD, |limits| &mut limits.max_payload),
    ("limits.maxConnPerChannel", MAX_CONNECTIONS, |limits| &mut limits.max_connections),
    ("limits.maxMessagesPerRequest", MAX_MESSAGES, |limits| &mut limits.max_messages),
    ("limits.maxChannelsPerRequest", MAX_CHANNELS, |limits| &mut limits.max_channels),
    ("storage.messageTTL", MESSAGE_TTL, |limits| &mut limits.message_ttl),
];

/// Numbers of the store.
const OF_STORE: [(&str, Limit, SlotOf<Settings>); 3] = [
    ("storage.channelTTL", CHANNEL_TTL, |settings| &mut settings.channel_ttl),
    ("storage.onlineTTL", ONLINE_TTL, |settings| &mut settings.online_ttl),
    ("storage.onlineDelta", ONLINE_DELTA, |settings| &mut settings.online_delta),
];

/// As the templates of push-server 0.4.0 spell them, which it does not read.
const MISSPELT: [(&str, Limit); 3] = [
    ("storage.messageTLL", MESSAGE_TTL),
    ("storage.channelTLL", CHANNEL_TTL),
    ("storage.onlineTLL", ONLINE_TTL),
];

/// A number without a fraction, which may stand in quotes as in JavaScript. Larger than any
/// limit if there are many digits.
pub fn integer(leaf: &Leaf) -> Option<u64> {
    let digits = match &leaf.kind {
        Kind::Number(number) => number,
        Kind::Text(text) => text.trim(),
        _ => return None,
    };
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What comes to be in force.
fn usable(leaf: &Leaf, limit: &Limit) -> Option<u64> {
    integer(leaf).filter(|&value| value >= limit.min).map(|value| value.min(limit.max))
}

/// Takes in the numbers of a process.
pub fn collect(process: &Process, settings: &mut Settings) {
    for leaf in process.in_force() {
        for (_, limit, slot) in OF_ROLE.iter().filter(|(path, ..)| leaf.is(path)) {
            let Some(value) = usable(leaf, limit) else { continue };
            if process.sub {
                raise(slot(&mut settings.sub), value, process.place(leaf));
            }
            if process.publishing && limit.directive != MAX_CONNECTIONS.directive {
                raise(slot(&mut settings.publishing), value, process.place(leaf));
            }
        }
        for (_, limit, slot) in OF_STORE.iter().filter(|(path, ..)| leaf.is(path)) {
            if let Some(value) = usable(leaf, limit) {
                raise(slot(settings), value, process.place(leaf));
            }
        }
    }
}

/// What becomes of a number; `None` for something else.
pub fn became(process: &Process, leaf: &Leaf, settings: &Settings) -> Option<(Verdict, String)> {
    if let Some((path, limit)) = MISSPELT.iter().find(|(path, _)| leaf.is(path)) {
        let default = (limit.write)(limit.default);
        let meant = match usable(leaf, limit) {
            Some(value) if value != limit.default => {
                format!("; if {} was meant: {}", (limit.write)(value), assignment(limit, value))
            }
            _ => String::new(),
        };
        let right = path.trim_start_matches("storage.").replace("TLL", "TTL");
        return Some((
            Verdict::Obsolete,
            format!(
                "misspelt for {right}, so that push-server never read it: {default} is in force, and stays so{meant}"
            ),
        ));
    }
    let mut settings = settings.clone();
    let (limit, slot, role) = if let Some((_, limit, slot)) =
        OF_ROLE.iter().find(|(path, ..)| leaf.is(path))
    {
        if limit.directive == MAX_CONNECTIONS.directive && !process.sub {
            return Some((
                Verdict::Obsolete,
                format!(
                    "no effect in a process that holds no subscribers; {} is in force where they are",
                    limit.default
                ),
            ));
        }
        let limits = if process.sub { &mut settings.sub } else { &mut settings.publishing };
        let role = match (process.sub, process.publishing) {
            (true, true) => " in all locations",
            (true, false) => " in the locations with bx_push sub",
            _ => " in the locations with bx_push pub and bx_push rest",
        };
        (limit, slot(limits).clone(), role)
    } else {
        let (_, limit, slot) = OF_STORE.iter().find(|(path, ..)| leaf.is(path))?;
        (limit, slot(&mut settings).clone(), "")
    };
    let Some(value) = usable(leaf, limit) else {
        let default = (limit.write)(limit.default);
        return Some((
            Verdict::Dangerous,
            format!(
                "makes no sense: {} to {} do. {} stays at its default, {default}",
                limit.min, limit.max, limit.directive
            ),
        ));
    };
    if integer(leaf) > Some(limit.max) {
        return Some((
            Verdict::Dangerous,
            format!(
                "more than {} takes: {}{role}. What is larger was taken until now, and is refused",
                limit.directive,
                assignment(limit, limit.max)
            ),
        ));
    }
    let in_force = slot.filter(|at| at.value > value);
    Some(match in_force {
        Some(larger) => (
            Verdict::Translated,
            format!(
                "{}{role}: {} has more, and nothing shall be refused that was taken until now",
                assignment(limit, larger.value),
                larger.place
            ),
        ),
        None if value == limit.default => (
            Verdict::TakenOver,
            format!("{}, the default of {}", (limit.write)(value), limit.directive),
        ),
        None => (Verdict::Translated, assignment(limit, value) + role),
    })
}

/// As it is written in its file.
fn assignment(limit: &Limit, value: u64) -> String {
    let written = (limit.write)(value);
    if limit.directive.contains('.') {
        format!("{} = {written}", limit.directive)
    } else {
        format!("{} {written};", limit.directive)
    }
}
