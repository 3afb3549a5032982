//! Patterns of file names, as nginx's `include` takes them (glob(3)).

/// Whether a name is a pattern.
pub fn has_signs(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether a pattern of one name (without `/`) fits a name. A dot at the beginning of a name must
/// be written out.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => one(&pattern[p..], name[n]),
            None => None,
        };
        match (step, star) {
            (Some(len), _) => (p, n) = (p + len, n + 1),
            (None, Some((at, taken))) => {
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|sign| *sign == '*')
}

/// If the sign at the beginning of the pattern fits a character: how long the sign is.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '[' => set(pattern, c),
        '\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        literal => (literal == c).then_some(1),
    }
}

/// `[abc]`, `[a-z]`, `[!a-z]`. A bracket that is not closed is a bracket.
fn set(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    let close = (first + 1..pattern.len()).find(|&at| pattern[at] == ']');
    let Some(close) = close else {
        return (c == '[').then_some(1);
    };
    let set = &pattern[first..close];
    let mut found = false;
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            found |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= set[at] == c;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_fit_as_the_shell_has_them() {
        for (pattern, name, fits) in [
            ("*.conf", "rtc.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "rtc.conf.bak", false),
            ("push-server-*.json", "push-server-sub-8010.json", true),
            ("push-server-*.json", "push-server.json", false),
            ("?01?", "8010", true),
            ("?01?", "80100", false),
            ("80[0-9][!6-9].json", "8015.json", true),
            ("80[0-9][!6-9].json", "8016.json", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_ends(pattern in "[a-c*?\\[\\]!\\\\-]{0,24}", name in "[a-c.\\[]{0,40}") {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn a_name_fits_itself_and_a_star(name in "[a-z_.-]{1,20}") {
            prop_assert!(matches(&name, &name));
            prop_assert_eq!(matches("*", &name), !name.starts_with('.'));
        }
    }
}
