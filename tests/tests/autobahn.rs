//! Autobahn's fuzzing client against an echo location, which only the build of `make autobahn` has.
//! What it says to each case is compared with `tests/autobahn/expected.txt`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use push_tests::{Nginx, Setup, Store, TestResult, builds, ports};
use serde_json::{Value, json};

/// Framing, pings and pongs, reserved bits, opcodes, fragmentation, UTF-8, closing, and
/// fragmentation by itself. Not in it: limits and performance (9), compression (12, 13), which is
/// not offered.
const CASES: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

#[test]
#[ignore = "make autobahn prepares it"]
fn the_fuzzing_client_says_what_it_said() -> TestResult {
    let variable = |name: &str| std::env::var_os(name).ok_or(format!("no {name}: `make autobahn`"));
    let python = variable("BX_TEST_PYTHON2")?;
    let suite = variable("BX_TEST_AUTOBAHN")?;
    let reports = PathBuf::from(variable("BX_TEST_REPORTS")?);
    let folder = builds::repository().join("tests/autobahn");

    let mut setup = Setup::new(Nginx::Installed, Store::Memory);
    let address = ports::free();
    setup.conf.servers = format!(
        "server {{ listen {address};
         location /echo/ {{ bx_push echo; bx_push_max_payload 16m; bx_push_max_queue 32m; }} }}"
    );
    let host = setup.start()?;
    let spec = host.folder().join("fuzzingclient.json");
    let options = json!({
        "options": { "failByDrop": false },
        "outdir": reports,
        "servers": [{ "agent": "push", "url": format!("ws://{address}/echo/") }],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    std::fs::write(&spec, options.to_string())?;

    let mut wstest = Command::new(python);
    wstest.arg(folder.join("wstest.py")).arg(suite).args(["-m", "fuzzingclient", "-s"]).arg(&spec);
    let output = wstest.current_dir(host.folder()).output()?;
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log);
    assert!(output.status.success(), "wstest: {log}");

    let index: Value = serde_json::from_slice(&std::fs::read(reports.join("index.json"))?)?;
    let said = said(&index["push"]);
    let expected = std::fs::read_to_string(folder.join("expected.txt"))?;
    let expected: BTreeMap<Vec<u32>, String> = expected
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(case, verdict)| (numbers(case), verdict.to_owned()))
        .collect();
    let differ: Vec<String> = said
        .keys()
        .chain(expected.keys())
        .filter(|case| said.get(*case) != expected.get(*case))
        .map(|case| format!("{case:?}: {:?}, expected {:?}", said.get(case), expected.get(case)))
        .collect();
    let count = |word: &str| said.values().filter(|verdict| verdict.starts_with(word)).count();
    println!(
        "autobahn: {} cases, {} OK, {} non-strict, {} informational, {} failed, differences from the table {}",
        said.len(),
        count("OK"),
        count("NON-STRICT"),
        count("INFORMATIONAL"),
        said.values().filter(|verdict| is_failure(verdict)).count(),
        differ.len(),
    );
    assert!(differ.is_empty(), "see {}:\n{}", reports.display(), differ.join("\n"));
    Ok(())
}

/// The table itself is not the place to hide a failure in.
#[test]
fn the_table_of_what_is_expected_has_no_failure() -> TestResult {
    let file = builds::repository().join("tests/autobahn/expected.txt");
    let table = std::fs::read_to_string(file)?;
    let lines: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 200, "{} cases", lines.len());
    let failures: Vec<_> = lines.iter().filter(|line| is_failure(line)).collect();
    assert!(failures.is_empty(), "{failures:?}");
    Ok(())
}

fn is_failure(verdict: &str) -> bool {
    ["FAILED", "UNCLEAN", "WRONG CODE", "UNIMPLEMENTED"].iter().any(|word| verdict.contains(word))
}

/// Of each case, in its order: the verdict on what happened, the one on the closing, and the close
/// code that came from us.
fn said(cases: &Value) -> BTreeMap<Vec<u32>, String> {
    let cases = cases.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let verdict = |case: &Value| {
        let code = case["remoteCloseCode"].as_u64().map_or("-".to_owned(), |code| code.to_string());
        format!("{} / {} / {code}", text(&case["behavior"]), text(&case["behaviorClose"]))
    };
    cases.map(|(name, case)| (numbers(name), verdict(case))).collect()
}

fn numbers(case: &str) -> Vec<u32> {
    case.split('.').filter_map(|number| number.parse().ok()).collect()
}
