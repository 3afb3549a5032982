//! Messages of push.proto as JSON, in the form of the vectors: bytes as lower-case hex, enums by
//! name. Written anew here, without the server's own definitions.

use std::fmt;

use serde_json::{Map, Value, json};

use super::placeholder::Bindings;
use crate::channel::hex;

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    String,
    Bool,
    Uint32,
    Fixed32,
    SenderType,
    Message(&'static str),
    Repeated(&'static str),
}

/// Number, name and kind of the fields of a message; the members of a oneof are fields like
/// others.
fn fields(message: &str) -> &'static [(u32, &'static str, Kind)] {
    use Kind::{Bool, Bytes, Fixed32, Message, Repeated, SenderType, String, Uint32};
    match message {
        "ResponseBatch" => &[(1, "responses", Repeated("Response"))],
        "Response" => &[
            (1, "outgoingMessages", Message("OutgoingMessagesResponse")),
            (2, "channelStats", Message("ChannelStatsResponse")),
            (3, "serverStats", Message("JsonResponse")),
            (4, "json", String),
        ],
        "OutgoingMessagesResponse" => &[(1, "messages", Repeated("OutgoingMessage"))],
        "OutgoingMessage" => &[
            (1, "id", Bytes),
            (2, "body", String),
            (3, "expiry", Uint32),
            (4, "created", Fixed32),
            (5, "sender", Message("Sender")),
        ],
        "Sender" => &[(1, "type", SenderType), (2, "id", Bytes)],
        "ChannelStatsResponse" => &[(1, "channels", Repeated("ChannelStats"))],
        "ChannelStats" => &[(1, "id", Bytes), (2, "isPrivate", Bool), (3, "isOnline", Bool)],
        "JsonResponse" => &[(1, "json", String)],
        _ => panic!("message {message} is not known"),
    }
}

/// Why bytes are not what they should be.
#[derive(PartialEq, Eq, Debug)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "malformed protobuf: {}", self.0)
    }
}

/// Decodes a message. A field that push.proto does not know is an error.
pub fn decode(message: &str, bytes: &[u8]) -> Result<Value, Malformed> {
    let mut object = Map::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let &(_, name, kind) = fields(message)
            .iter()
            .find(|(number, ..)| u64::from(*number) == key >> 3)
            .ok_or(Malformed("a field that push.proto does not know"))?;
        let value = match (kind, key & 7) {
            (Kind::Bool, 0) => Value::Bool(varint(&mut rest)? != 0),
            (Kind::Uint32, 0) => json!(varint(&mut rest)? as u32),
            (Kind::SenderType, 0) => match varint(&mut rest)? {
                0 => json!("UNKNOWN"),
                1 => json!("CLIENT"),
                2 => json!("BACKEND"),
                other => json!(other),
            },
            (Kind::Fixed32, 5) => {
                let (number, after) = rest.split_first_chunk().ok_or(Malformed("cut short"))?;
                rest = after;
                json!(u32::from_le_bytes(*number))
            }
            (Kind::Bytes, 2) => Value::String(hex(chunk(&mut rest)?)),
            (Kind::String, 2) => match std::str::from_utf8(chunk(&mut rest)?) {
                Ok(text) => json!(text),
                Err(_) => return Err(Malformed("a string that is not UTF-8")),
            },
            (Kind::Message(inner) | Kind::Repeated(inner), 2) => decode(inner, chunk(&mut rest)?)?,
            _ => return Err(Malformed("a field of another wire type")),
        };
        if matches!(kind, Kind::Repeated(_)) {
            let list = object.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().expect("a list").push(value);
        } else if object.insert(name.to_owned(), value).is_some() {
            // Allowed, but nobody has a reason to write it.
            return Err(Malformed("a field twice"));
        }
    }
    Ok(Value::Object(object))
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Malformed("cut short"))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed("a number of more than 64 bits"))
}

fn chunk<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(varint(rest)?).map_err(|_| Malformed("a length out of bounds"))?;
    let (chunk, after) = rest.split_at_checked(len).ok_or(Malformed("a length out of bounds"))?;
    *rest = after;
    Ok(chunk)
}

/// Stands for any value, absent ones included.
const ANY: &str = "{{any}}";

/// Fails unless `actual` is `expected`, a field that is absent being equal to one with its default.
pub fn compare(expected: &Value, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
    compare_at("", expected, actual, bindings)
}

fn compare_at(
    path: &str,
    expected: &Value,
    actual: &Value,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let outcome = match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            let mut names: Vec<_> = expected.keys().chain(actual.keys()).collect();
            names.sort_unstable();
            names.dedup();
            // By the files' order of fields, so that ids are bound in theirs.
            for name in names {
                let path = format!("{path}.{name}");
                let [expected, actual] = [expected, actual].map(|fields| fields.get(name));
                match (expected, actual) {
                    (Some(expected), Some(actual)) => {
                        compare_at(&path, expected, actual, bindings)?;
                    }
                    (Some(only), None) if !is_default(only) => {
                        return Err(format!("{path} is missing"));
                    }
                    (None, Some(only)) if !is_default(only) => {
                        return Err(format!("{path} is {only}, not expected"));
                    }
                    _ => {}
                }
            }
            return Ok(());
        }
        (Value::Array(expected), Value::Array(actual)) => {
            if expected.len() != actual.len() {
                let (expected_len, len) = (expected.len(), actual.len());
                return Err(format!("{path} has {len} entries, not {expected_len}: {actual:?}"));
            }
            for (at, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare_at(&format!("{path}[{at}]"), expected, actual, bindings)?;
            }
            return Ok(());
        }
        (Value::String(expected), _) if expected == ANY => return Ok(()),
        (Value::String(expected), Value::String(actual)) => bindings.matches(expected, actual),
        (Value::String(expected), Value::Number(actual)) => match actual.as_u64() {
            Some(actual) => bindings.matches_number(expected, actual),
            None => Err(format!("is {actual}")),
        },
        _ if expected == actual => return Ok(()),
        _ => Err(format!("expected {expected}, got {actual}")),
    };
    outcome.map_err(|error| format!("{path}: {error}"))
}

/// Whether proto3 leaves such a value out. A message that is there but empty is not the same as
/// none: it is the member of a oneof.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "UNKNOWN" || text == ANY,
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::unhex;

    /// A live message of the backend, expiry 0 written out.
    const LIVE: &str =
        "0a270a250a230a0d1795406332000000000000307312077b226e223a317d1800252dc1036b2a020802";

    fn live() -> Value {
        json!({"responses": [{"outgoingMessages": {"messages": [{
            "id": "17954063320000000000003073",
            "body": "{\"n\":1}",
            "expiry": 0,
            "created": 1_795_408_173,
            "sender": {"type": "BACKEND"},
        }]}}]})
    }

    fn same(expected: &Value, actual: &Value) -> bool {
        compare(expected, actual, &mut Bindings::new()).is_ok()
    }

    #[test]
    fn a_recorded_message_is_read() {
        assert_eq!(decode("ResponseBatch", &unhex(LIVE)), Ok(live()));
    }

    #[test]
    fn broken_messages_are_refused() {
        let bytes = unhex(LIVE);
        for len in 1..bytes.len() {
            assert!(decode("ResponseBatch", &bytes[..len]).is_err(), "{len}");
        }
        assert!(decode("ResponseBatch", &[0x12, 0]).is_err());
        assert!(decode("ResponseBatch", &[0x08, 0]).is_err());
        assert!(decode("JsonResponse", &[0x0a, 1, 0xff]).is_err());
    }

    #[test]
    fn absent_and_default_are_equal() {
        let expected = json!({"a": 0, "b": false, "c": "", "d": [], "e": "UNKNOWN", "f": 1});
        assert!(same(&expected, &json!({"f": 1})));
        assert!(same(&json!({"f": 1}), &expected));
        assert!(!same(&expected, &json!({})));
        assert!(!same(&json!({}), &json!({"f": 1})));
        assert!(!same(&json!({"x": {}}), &json!({})));
    }

    #[test]
    fn any_value_is_any() {
        for actual in [json!({"a": true}), json!({"a": "x"}), json!({})] {
            assert!(same(&json!({"a": "{{any}}"}), &actual), "{actual}");
        }
    }

    #[test]
    fn differences_are_found() {
        assert!(same(&live(), &live()));
        for (at, value) in [
            ("body", json!("x")),
            ("expiry", json!(1)),
            ("id", json!("17954063320000000000003074")),
            ("sender", json!({"type": "CLIENT"})),
        ] {
            let mut other = live();
            other["responses"][0]["outgoingMessages"]["messages"][0][at] = value;
            assert!(!same(&live(), &other), "{at}");
        }
        let mut twice = live();
        let messages = &mut twice["responses"][0]["outgoingMessages"]["messages"];
        *messages = json!([messages[0], messages[0]]);
        assert!(!same(&live(), &twice));
    }
}
