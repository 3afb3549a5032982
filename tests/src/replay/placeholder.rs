//! Placeholders: what varies from run to run, and what must be the same within one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clock;

/// Values that placeholders stand for within one case.
#[derive(Clone, Debug)]
pub struct Bindings {
    mids: BTreeMap<String, String>,
    counters: BTreeMap<String, String>,
    /// Unix seconds before which nothing of the case can have happened.
    since: u64,
}

impl Bindings {
    /// Nothing is bound; the case begins now.
    pub fn new() -> Self {
        Self { mids: BTreeMap::new(), counters: BTreeMap::new(), since: clock::now() }
    }

    /// `text` with the values of its placeholders, which must be bound.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        for part in parts(text) {
            match part {
                Part::Literal(literal) => filled += literal,
                Part::Placeholder { kind: "mid", name } => {
                    let mid = self.mids.get(name);
                    filled += mid.ok_or_else(|| format!("mid {name} is not known yet"))?;
                }
                Part::Placeholder { kind, .. } => return Err(format!("{kind} in a request")),
            }
        }
        Ok(filled)
    }

    /// Fails unless `actual` is `expected` for some values of its placeholders, which are bound
    /// then.
    pub fn matches(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let parts = parts(expected);
        let mut rest = actual;
        for (at, part) in parts.iter().enumerate() {
            let (taken, after) = match *part {
                Part::Literal(literal) => match rest.strip_prefix(literal) {
                    Some(after) => (literal, after),
                    None => return Err(differs(literal, rest)),
                },
                Part::Placeholder { kind, .. } => {
                    let next = match parts.get(at + 1) {
                        Some(Part::Literal(literal)) => Some(*literal),
                        _ => None,
                    };
                    rest.split_at(extent(kind, rest, next))
                }
            };
            if let Part::Placeholder { kind, name } = *part {
                self.bind(kind, name, taken)?;
            }
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("and then {}", shown(rest))) }
    }

    /// [`Bindings::matches`] for a number that the files give as a placeholder in quotes.
    pub fn matches_number(&mut self, expected: &str, actual: u64) -> Result<(), String> {
        self.matches(expected, &actual.to_string())
    }

    fn bind(&mut self, kind: &str, name: &str, value: &str) -> Result<(), String> {
        let digits = |len| value.len() == len && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = || -> Result<u64, String> {
            value.parse().map_err(|_| format!("{kind} is {}", shown(value)))
        };
        match kind {
            "any" => Ok(()),
            "tag" if digits(3) => Ok(()),
            "uint32" => match number()? {
                0..=0xffff_ffff => Ok(()),
                number => Err(format!("{number} is more than 32 bits")),
            },
            "epoch_s" => clock::check(number()?, self.since),
            "http_date" => match clock::parse_http_date(value) {
                Some(time) => clock::check(time, self.since),
                None => Err(format!("{} is no date", shown(value))),
            },
            "created_hex" => {
                let number = u32::from_str_radix(value, 16)
                    .map_err(|_| format!("created is {}", shown(value)))?;
                clock::check(number.swap_bytes().into(), self.since)
            }
            "server_stats_json" => server_stats(value),
            "mid" if digits(26) => {
                for (other, mid) in &self.mids {
                    if other != name && mid == value {
                        return Err(format!("mid {value} is both {other} and {name}"));
                    }
                }
                let counter = value[10..].trim_start_matches('0');
                same(&mut self.counters, "counter", name, counter)?;
                same(&mut self.mids, "mid", name, value)
            }
            "counter" if !value.is_empty() && !value.starts_with('0') => {
                same(&mut self.counters, "counter", name, value)
            }
            "tag" | "mid" | "counter" => Err(format!("{kind} {name} is {}", shown(value))),
            _ => panic!("placeholder {kind} is not known"),
        }
    }

    /// Fails unless the mids grow with the numbers in their names, which follow the order of
    /// publication.
    pub fn in_order(&self) -> Result<(), String> {
        let number =
            |name: &str| -> u32 { name[1..].parse().expect("a mid is called m1, m2, …") };
        let mut mids: Vec<_> = self.mids.iter().map(|(name, mid)| (number(name), mid)).collect();
        mids.sort_unstable();
        match mids.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
            Some(pair) => Err(format!(
                "m{} {} is not below m{} {}",
                pair[0].0, pair[0].1, pair[1].0, pair[1].1
            )),
            None => Ok(()),
        }
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Literal(&'a str),
    Placeholder { kind: &'a str, name: &'a str },
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once("{{") {
        let Some((inner, after)) = after.split_once("}}") else {
            break;
        };
        // `{"a":{{counter:m1}},…` has braces of its own, but never in front of a placeholder.
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let (kind, name) = inner.split_once(':').unwrap_or((inner, ""));
        parts.push(Part::Placeholder { kind, name });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    parts
}

/// How many bytes of `rest` a placeholder takes, in front of the literal `next`.
fn extent(kind: &str, rest: &str, next: Option<&str>) -> usize {
    let digits = || rest.bytes().take_while(u8::is_ascii_digit).count();
    let wanted = match kind {
        "mid" => digits().min(26),
        "tag" => digits().min(3),
        "counter" | "epoch_s" | "uint32" => digits(),
        "http_date" => 29,
        "created_hex" => 8,
        _ => next.map_or(rest.len(), |next| rest.find(next).unwrap_or(rest.len())),
    };
    let mut len = wanted.min(rest.len());
    while !rest.is_char_boundary(len) {
        len -= 1;
    }
    len
}

fn same(
    bound: &mut BTreeMap<String, String>,
    kind: &str,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let known = bound.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    if known == value { Ok(()) } else { Err(format!("{kind} {name} was {known} and is {value}")) }
}

/// PROTOCOL.md, section 8.3: an array of objects with these fields.
fn server_stats(text: &str) -> Result<(), String> {
    const NUMBERS: [&str; 5] = ["pid", "date", "channels", "websockets", "pollings"];
    let wrong = |what: &str| Err(format!("server statistics {what}: {}", shown(text)));
    let Ok(Value::Array(processes)) = serde_json::from_str(text) else {
        return wrong("are no JSON array");
    };
    if processes.is_empty() {
        return wrong("name no process");
    }
    for process in &processes {
        let counts = |value: &Value| {
            value.as_object().is_some_and(|counts| counts.values().all(Value::is_u64))
        };
        let fields = NUMBERS.iter().all(|&name| process[name].is_u64())
            && process["processUniqueId"].is_string()
            && process["clusterMode"].is_boolean()
            && counts(&process["limits"])
            && counts(&process["daily"]["requests"])
            && counts(&process["daily"]["messages"]);
        if !fields {
            return wrong("lack a field or have one of another type");
        }
    }
    Ok(())
}

/// Where two texts part.
fn differs(expected: &str, actual: &str) -> String {
    let at = expected
        .char_indices()
        .zip(actual.chars())
        .find(|((_, expected), actual)| expected != actual)
        .map_or(expected.len().min(actual.len()), |((at, _), _)| at);
    format!("expected {}, got {}", shown(&expected[at..]), shown(&actual[at..]))
}

/// Text as it can stand in a report.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(120).collect();
    if short.len() < text.len() {
        short += "…";
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MID: &str = "17954063320000000000003072";
    const NEXT: &str = "17954063320000000000003073";

    #[test]
    fn a_mid_means_the_same_value_each_time() {
        let mut bindings = Bindings::new();
        let expected = r#"{"id":{{counter:m1}},"mid":"{{mid:m1}}","tag":"{{tag}}"}"#;
        let actual = |id, mid| format!(r#"{{"id":{id},"mid":"{mid}","tag":"493"}}"#);
        // The counter is not that of the mid.
        assert!(Bindings::new().matches(expected, &actual("3073", MID)).is_err());
        assert!(Bindings::new().matches(expected, &actual("03072", MID)).is_err());
        bindings.matches(expected, &actual("3072", MID)).expect("matches");
        assert_eq!(bindings.fill("?mid={{mid:m1}}").as_deref(), Ok(&*format!("?mid={MID}")));
        assert!(bindings.fill("{{mid:m2}}").is_err());
        // Another value for the same name, and the same value for another name.
        assert!(bindings.matches("{{mid:m1}}", NEXT).is_err());
        assert!(bindings.matches("{{mid:m2}}", MID).is_err());
        bindings.matches("{{mid:m2}}", NEXT).expect("matches");
        assert!(bindings.matches("{{mid:m3}}", &MID[1..]).is_err());
    }

    #[test]
    fn mids_grow_in_the_order_of_publication() {
        let mut bindings = Bindings::new();
        bindings.matches("{{mid:m10}} {{mid:m2}}", &format!("{NEXT} {MID}")).expect("matches");
        assert!(bindings.in_order().is_ok());
        let mut bindings = Bindings::new();
        bindings.matches("{{mid:m1}} {{mid:m2}}", &format!("{NEXT} {MID}")).expect("matches");
        assert!(bindings.in_order().is_err());
    }

    #[test]
    fn literals_must_be_there_and_nothing_else() {
        let mut bindings = Bindings::new();
        assert!(bindings.matches("abc", "abc").is_ok());
        for actual in ["", "ab", "abcd", "abd"] {
            assert!(bindings.matches("abc", actual).is_err(), "{actual}");
        }
        assert!(bindings.matches("", "").is_ok());
        assert!(bindings.matches("", "x").is_err());
        assert!(bindings.matches("a{{any}}c", "a whatever c").is_ok());
        assert!(bindings.matches("a{{any}}c", "a whatever").is_err());
        assert!(bindings.matches("{{tag}}", "12").is_err());
        assert!(bindings.matches("{{tag}}", "1234").is_err());
    }

    #[test]
    fn times_are_close_to_now() {
        let mut bindings = Bindings::new();
        assert!(bindings.matches_number("{{epoch_s}}", clock::now()).is_ok());
        assert!(bindings.matches_number("{{epoch_s}}", 111_934_964).is_err());
        assert!(bindings.matches_number("{{uint32}}", 111_934_964).is_ok());
        assert!(bindings.matches_number("{{uint32}}", 1 << 32).is_err());
        assert!(bindings.matches("{{http_date}}", "Mon, 23 Nov 2020 04:29:21 GMT").is_err());
        let created = (clock::now() as u32).swap_bytes();
        assert!(bindings.matches("25{{created_hex}}2a", &format!("25{created:08x}2a")).is_ok());
        assert!(bindings.matches("25{{created_hex}}2a", "25000000002a").is_err());
    }

    #[test]
    fn statistics_have_their_fields() {
        let full = r#"[{"pid":1,"date":2,"processUniqueId":"all","channels":0,"limits":{"maxPayload":1},
            "clusterMode":true,"websockets":0,"pollings":0,"daily":{"requests":{},"messages":{"im":1}}}]"#;
        let mut bindings = Bindings::new();
        assert!(bindings.matches("{{server_stats_json}}", full).is_ok());
        for wrong in ["[]", "{}", "x", &full.replace("pollings", "x"), &full.replace(":true", ":1")]
        {
            assert!(bindings.matches("{{server_stats_json}}", wrong).is_err(), "{wrong}");
        }
    }
}
