//! Replay of what was recorded from push-server 0.4.0: the files in `tests/vectors/`, played
//! against our nginx.
//!
//! | module | what it is for |
//! |---|---|
//! | [`case`] | the files as data |
//! | [`change`] | what is expected instead, where we differ on purpose |
//! | [`differences`] | what `docs/differences.md` says about it |
//! | [`site`] | the servers that the files name |
//! | [`player`] | doing the steps of a case |
//! | [`socket`] | a WebSocket under full control |
//! | [`answer`], [`decoded`], [`placeholder`], [`clock`] | comparing |
//! | [`scenario`], [`resp`] | what is left in Redis |
//! | [`run`] | all cases at once, and a report |

pub mod answer;
pub mod case;
pub mod change;
pub mod clock;
pub mod decoded;
pub mod differences;
pub mod placeholder;
pub mod player;
pub mod resp;
pub mod run;
pub mod scenario;
pub mod site;
pub mod socket;

use std::fs;

use serde_json::Value;

use crate::builds;

/// A file of `tests/vectors/`.
pub fn file(name: &str) -> Value {
    let path = builds::repository().join("tests/vectors").join(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(file["format"], 1, "the form that this code knows");
    file
}

/// The key that signs the channels of a file.
pub fn security_key(file: &Value) -> &str {
    file["security_key"].as_str().expect("a key")
}
