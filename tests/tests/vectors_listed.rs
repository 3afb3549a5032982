//! `docs/differences.md` and the replay name the same cases: what is recorded is either followed or
//! listed with a reason, and what is listed is recorded.

use std::collections::BTreeSet;

use push_tests::replay::change::{self, Instead};
use push_tests::replay::{differences, file};
use serde_json::Value;

/// The files whose cases have ids, and where the cases are.
const FILES: [(&str, &str); 3] =
    [("http.json", "cases"), ("websocket.json", "cases"), ("redis.json", "scenarios")];

/// The section of what shows a defect and is followed all the same.
const KEPT: &str = "defects that are kept";

fn recorded(name: &str, list: &str) -> Vec<Value> {
    file(name)[list].as_array().expect("a list").clone()
}

fn id(case: &Value) -> &str {
    case["id"].as_str().expect("an id")
}

#[test]
fn cases_are_followed_or_listed() {
    for (name, list) in FILES {
        let recorded = recorded(name, list);
        let ids: BTreeSet<_> = recorded.iter().map(id).collect();
        assert_eq!(ids.len(), recorded.len(), "{name}: ids are unique");
        let listed = differences::listed(name);
        let changed: BTreeSet<_> = change::list(name).iter().map(|&(id, _)| id).collect();
        assert_eq!(changed.len(), change::list(name).len(), "{name}: one outcome for each case");
        assert!(changed.iter().copied().eq(listed.keys().map(String::as_str)), "{name}");
        assert!(changed.is_subset(&ids), "{name}: {:?}", changed.difference(&ids));
    }
}

#[test]
fn reasons_are_given() {
    for (name, _) in FILES {
        for (id, reason) in differences::listed(name) {
            assert!(reason.text.len() > 20, "{name}: {id}");
            let number = reason.defect.strip_prefix('D').and_then(|number| number.parse().ok());
            let known = number.is_some_and(|number: u8| (1..=31).contains(&number));
            assert!(known || reason.defect == "–", "{name}: {id}: {}", reason.defect);
            let skipped = matches!(change::instead(name, &id), Some(Instead::NotPlayed));
            assert_eq!(reason.text.contains("not replayed"), skipped, "{name}: {id}");
        }
    }
}

#[test]
fn recorded_defects_are_listed_as_such() {
    let mut kept = differences::listed(KEPT);
    for (name, list) in FILES {
        let listed = differences::listed(name);
        for case in recorded(name, list) {
            if case["defect"] != true {
                continue;
            }
            let reason = listed.get(id(&case)).cloned().or_else(|| kept.remove(id(&case)));
            let reason = reason.unwrap_or_else(|| panic!("{name}: {} is not listed", id(&case)));
            assert!(reason.defect.starts_with('D'), "{name}: {}", id(&case));
        }
    }
    assert!(kept.is_empty(), "no recorded defects: {kept:?}");
}
