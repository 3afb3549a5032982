//! What is expected instead of the recording, where we differ on purpose.
//!
//! `docs/differences.md` tells why; the suites see to it that both name the same cases.

mod http;
mod redis;
mod websocket;

use serde_json::{Value, json};

/// What is done about a recorded case that is not followed.
#[derive(Clone, Copy, Debug)]
pub enum Instead {
    /// There is nothing here that it could be played against.
    NotPlayed,
    /// It is played with these changes.
    Changed(&'static [Change]),
}

/// A change of a recorded case. Paths are JSON pointers (RFC 6901) into it, values JSON.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// The value there becomes another; a field may be new.
    Set(&'static str, &'static str),
    /// The field or entry there goes.
    Remove(&'static str),
    /// Behind the last entry of the list there comes another.
    Push(&'static str, &'static str),
    /// The receipt of a frame at this step and that at the next become one receipt of the same
    /// messages in whichever frames.
    Join(usize),
    /// The text there becomes that of messages with these names and bodies.
    Envelopes(&'static str, &'static [(&'static str, &'static str)]),
    /// At this step nginx answers by itself, with that status and a page of its own.
    NginxPage(usize, u16),
}

impl Change {
    fn apply(self, case: &mut Value) {
        match self {
            Self::Set(path, value) => set(case, path, serde_json::from_str(value).expect("JSON")),
            Self::Envelopes(path, messages) => {
                let text: String =
                    messages.iter().map(|&(mid, body)| envelope(mid, body)).collect();
                set(case, path, Value::String(text));
            }
            Self::Remove(path) => match parent(case, path) {
                (Value::Array(list), name) => drop(list.remove(index(name))),
                (Value::Object(fields), name) => {
                    assert!(fields.remove(name).is_some(), "{path} is not there");
                }
                _ => panic!("{path} is not there"),
            },
            Self::Push(path, value) => {
                let list = case.pointer_mut(path).and_then(Value::as_array_mut);
                list.expect("a list").push(serde_json::from_str(value).expect("JSON"));
            }
            Self::Join(at) => join(case["steps"].as_array_mut().expect("steps"), at),
            Self::NginxPage(at, status) => {
                let expect = &mut case["steps"][at]["expect"];
                expect["status"] = status.into();
                expect["headers"] = json!({"content-type": "text/html"});
                expect["body"] = json!({"utf8": "{{any}}"});
            }
        }
    }
}

fn set(case: &mut Value, path: &str, value: Value) {
    match parent(case, path) {
        (Value::Array(list), name) => list[index(name)] = value,
        (fields, name) => fields[name] = value,
    }
}

/// A message in text mode.
fn envelope(mid: &str, body: &str) -> String {
    let id = format!(r#""id":{{{{counter:{mid}}}}},"mid":"{{{{mid:{mid}}}}}""#);
    let rest = r#""channel":"-","tag":"{{tag}}","time":"{{http_date}}""#;
    format!(r#"#!NGINXNMS!#{{{id},{rest},"text":{body}}}#!NGINXNME!#"#)
}

/// The list or object that has what `path` names, and the name in it.
fn parent<'a, 'b>(case: &'a mut Value, path: &'b str) -> (&'a mut Value, &'b str) {
    let (parent, name) = path.rsplit_once('/').expect("a pointer");
    let found = case.pointer_mut(parent);
    (found.unwrap_or_else(|| panic!("{parent} is not there")), name)
}

fn index(name: &str) -> usize {
    name.parse().expect("an index")
}

fn join(steps: &mut Vec<Value>, at: usize) {
    let next = steps.remove(at + 1);
    let first = &mut steps[at];
    assert_eq!(
        [&first["op"], &next["op"], &first["conn"]],
        ["ws_recv", "ws_recv", next["conn"].as_str().expect("a name")],
        "two receipts on one connection"
    );
    first["op"] = json!("ws_recv_joined");
    let responses = |value: &Value| value["expect"]["decoded"]["responses"].as_array().cloned();
    if let (Some(one), Some(other)) = (responses(first), responses(&next)) {
        first["expect"]["decoded"]["responses"] = json!([one, other].concat());
    } else {
        let text = |value: &Value| value["expect"]["utf8"].as_str().expect("text").to_owned();
        first["expect"]["utf8"] = json!(text(first) + &text(&next));
    }
}

/// A recorded case as it is played here; `None` if it is not.
pub fn changed(file: &str, mut case: Value) -> Option<Value> {
    let id = case["id"].as_str().expect("an id");
    match instead(file, id) {
        None => Some(case),
        Some(Instead::NotPlayed) => None,
        Some(Instead::Changed(changes)) => {
            let recorded = case.clone();
            for change in changes {
                change.apply(&mut case);
            }
            assert_ne!(case, recorded, "the changes of a case change it");
            Some(case)
        }
    }
}

/// What is done about a case that is not followed; `None` if it is followed.
pub fn instead(file: &str, id: &str) -> Option<Instead> {
    let found = list(file).iter().find(|(listed, _)| *listed == id);
    found.map(|&(_, instead)| instead)
}

/// All the cases of a file that are not followed.
pub fn list(file: &str) -> &'static [(&'static str, Instead)] {
    match file {
        "http.json" => http::INSTEAD,
        "websocket.json" => websocket::INSTEAD,
        "redis.json" => redis::INSTEAD,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Value {
        let text = envelope("m1", "1");
        json!({"steps": [
            {"op": "ws_recv", "conn": "x", "expect": {"utf8": text}},
            {"op": "ws_recv", "conn": "x", "expect": {"utf8": text}},
            {"op": "ws_recv", "conn": "x", "expect": {"decoded": {"responses": [1]}}},
            {"op": "ws_recv", "conn": "x", "expect": {"decoded": {"responses": [2, 3]}}},
        ]})
    }

    fn after(changes: &[Change]) -> Value {
        let mut case = case();
        for change in changes {
            change.apply(&mut case);
        }
        case
    }

    #[test]
    fn an_envelope_is_written_as_in_the_files() {
        let expected = "#!NGINXNMS!#{\"id\":{{counter:m1}},\"mid\":\"{{mid:m1}}\",\"channel\":\"-\",\
            \"tag\":\"{{tag}}\",\"time\":\"{{http_date}}\",\"text\":{\"n\":1}}#!NGINXNME!#";
        assert_eq!(envelope("m1", r#"{"n":1}"#), expected);
    }

    #[test]
    fn values_are_set_removed_and_added() {
        let case = after(&[
            Change::Set("/steps/0/op", r#""sleep""#),
            Change::Set("/steps/0/ms", "5"),
            Change::Remove("/steps/0/expect"),
            Change::Remove("/steps/1"),
            Change::Push("/steps", "7"),
        ]);
        assert_eq!(case["steps"][0], json!({"op": "sleep", "conn": "x", "ms": 5}));
        assert_eq!(case["steps"][1]["expect"]["decoded"]["responses"], json!([1]));
        assert_eq!(case["steps"][3], 7);
    }

    #[test]
    fn receipts_are_joined() {
        let case = after(&[Change::Join(0), Change::Join(1)]);
        assert_eq!(case["steps"][0]["op"], "ws_recv_joined");
        assert_eq!(case["steps"][0]["expect"]["utf8"], envelope("m1", "1").repeat(2));
        assert_eq!(case["steps"][1]["expect"]["decoded"]["responses"], json!([1, 2, 3]));
        assert_eq!(case["steps"].as_array().map(Vec::len), Some(2));
    }
}
