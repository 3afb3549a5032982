//! What a proxied location is for.

use crate::migrate::settings::Settings;

/// The role of a location, as `bx_push` takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Clients subscribe.
    Sub,
    /// The backend publishes.
    Pub,
    /// Clients publish.
    Rest,
    /// Statistics of the servers.
    Stat,
}

impl Role {
    /// As it is written behind `bx_push`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Pub => "pub",
            Self::Rest => "rest",
            Self::Stat => "stat",
        }
    }

    /// By a route of push-server.
    pub fn of_route(name: &str) -> Option<Self> {
        [Self::Sub, Self::Pub, Self::Rest, Self::Stat].into_iter().find(|role| role.name() == name)
    }

    /// Whether whoever reaches such a location is trusted.
    pub fn is_trusted(self) -> bool {
        matches!(self, Self::Pub | Self::Stat)
    }
}

/// What a path or a pattern of paths says of its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// This role.
    One(Role),
    /// Several roles, such as `^/bitrix/(pub|rest)/`.
    Several,
    /// Nothing.
    None,
}

/// By the words that portals use in paths.
pub fn by_words(path: &str) -> Hint {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut hint = Hint::None;
    for word in path.split(|c| !word(c)) {
        let role = match &word.to_ascii_lowercase()[..] {
            "sub" | "subws" => Role::Sub,
            "pub" => Role::Pub,
            "rest" | "pubweb" => Role::Rest,
            "server-stat" => Role::Stat,
            _ => continue,
        };
        hint = match hint {
            Hint::None => Hint::One(role),
            Hint::One(known) if known == role => hint,
            _ => Hint::Several,
        };
    }
    hint
}

/// By the routes of the processes, if the path is one of them.
pub fn by_routes(path: &str, settings: &Settings) -> Option<Role> {
    let route =
        |path: &str| settings.routes.iter().find(|(known, _)| known.trim_end_matches('/') == path);
    let path = path.trim_end_matches('/');
    (!path.is_empty()).then(|| route(path)).flatten().and_then(|(_, name)| Role::of_route(name))
}

/// Whether the path is one that portals use for push-server and for nothing else.
pub fn is_customary(path: &str) -> bool {
    let path = path.replace('\\', "");
    let roles = by_words(&path) != Hint::None;
    roles && (path.contains("/bitrix/") || path.contains("/server-stat"))
}

/// The beginning of the paths that a `location` takes, as far as it is without signs: a pattern's
/// literal part.
pub fn literal(args: &[String]) -> String {
    match args {
        [sign, pattern, ..] if matches!(&sign[..], "~" | "~*") => pattern_literal(pattern),
        [_, path, ..] => path.clone(),
        // nginx takes `~^/x` without a blank as well.
        [one] if one.starts_with('~') => pattern_literal(one.trim_start_matches(['~', '*'])),
        [one] => one.trim_start_matches(['=', '^']).to_owned(),
        [] => String::new(),
    }
}

fn pattern_literal(pattern: &str) -> String {
    let mut literal = String::new();
    let mut chars = pattern.trim_start_matches('^').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) if !c.is_ascii_alphanumeric() => literal.push(c),
                _ => break,
            },
            '(' | '[' | '.' | '$' | '|' | '{' | ')' | '+' => break,
            '*' | '?' => {
                literal.pop();
                break;
            }
            _ => literal.push(c),
        }
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_by_the_words_of_a_path() {
        for (path, hint) in [
            ("/bitrix/subws/", Hint::One(Role::Sub)),
            ("^/bitrix/(sub|subws)/", Hint::One(Role::Sub)),
            ("^/bitrix\\/pubweb\\/", Hint::One(Role::Rest)),
            ("/bitrix/pub/", Hint::One(Role::Pub)),
            ("/server-stat", Hint::One(Role::Stat)),
            ("^/bitrix/(pub|rest)/", Hint::Several),
            ("/subscribe/public/", Hint::None),
            ("/", Hint::None),
        ] {
            assert_eq!(by_words(path), hint, "{path}");
        }
        assert!(is_customary("^/bitrix\\/sub\\/") && is_customary("/server-stat"));
        assert!(!is_customary("/sub/") && !is_customary("/bitrix/tools/"));
    }

    #[test]
    fn patterns_have_a_literal_beginning() {
        for (args, expected) in [
            (&["~*", "^/bitrix/subws/"][..], "/bitrix/subws/"),
            (&["~", "^\\/bitrix\\/(sub|subws)\\/"], "/bitrix/"),
            (&["~", "/a/?$"], "/a"),
            (&["~*^/x/.*"], "/x/"),
            (&["=", "/x"], "/x"),
            (&["^~", "/x/"], "/x/"),
            (&["/x/"], "/x/"),
            (&["~", "/a\\d"], "/a"),
            (&[], ""),
        ] {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(literal(&args), expected, "{args:?}");
        }
    }
}
