use proptest::prelude::*;

use super::*;

fn values(text: &str) -> Vec<(String, String)> {
    let settings = parse(text).expect("read");
    assert_eq!(settings.odd, [], "{text}");
    let text = |value| match value {
        Value::Text(text) => text,
        Value::NotEvaluated(what) => format!("<{what}>"),
    };
    settings.assignments.into_iter().map(|a| (a.name, text(a.value))).collect()
}

#[test]
fn values_are_what_bash_makes_of_them() {
    for (text, expected) in [
        ("A=1", "1"),
        ("A=801            # sub processes: 8010", "801"),
        ("A=8#1", "8#1"),
        ("A=", ""),
        ("A=\"a b\" # c", "a b"),
        ("A='\"127.0.0.1\", \"10.0.0.0/24\"'", "\"127.0.0.1\", \"10.0.0.0/24\""),
        ("A='a'\"b\"c", "abc"),
        ("A=a\\ b", "a b"),
        ("A=\"a\\\"b\\\\c\\d\\$e\"", "a\"b\\c\\d$e"),
        ("A=12\\\n34", "1234"),
        ("A=\"12\\\n34\"", "1234"),
        ("A='1\n2'", "1\n2"),
        ("  A=1 ;", "1"),
        ("export A=1", "1"),
        ("\u{feff}A=1", "1"),
        ("declare -x A=1", "1"),
        ("A=100$", "100$"),
        ("A=$(cat /etc/key)", "<the output of a command>"),
        ("A=`cat /etc/key`", "<the output of a command>"),
        ("A=$HOME/x", "<a variable that is not set above>"),
        ("A=${B:-x}", "<a variable that is not set above>"),
        ("A=$'x'", "<a quote of the form $'…'>"),
        ("A=(1 2)", "<an array>"),
    ] {
        assert_eq!(values(text), [("A".to_owned(), expected.to_owned())], "{text}");
    }
}

#[test]
fn several_settings_refer_to_each_other() {
    let text = "# head\n\nDIR=/opt\nA=$DIR/a; B=\"${DIR}/b\"\nexport A B\nDIR=/var C=1\n";
    let expected = [("DIR", "/opt"), ("A", "/opt/a"), ("B", "/opt/b"), ("DIR", "/var"), ("C", "1")];
    assert_eq!(values(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let lines: Vec<_> = parse(text).expect("read").assignments.iter().map(|a| a.line).collect();
    assert_eq!(lines, [3, 4, 4, 6, 6]);
    let lines = parse("A=\"1\n2\"\nB=\\\n3\nC=4").expect("read").assignments;
    assert_eq!(lines.iter().map(|a| a.line).collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn what_is_no_assignment_is_told() {
    for (text, line, expected) in [
        ("A=1\nB = 2", 2, "a blank in front of \"=\" sets nothing: write B=VALUE"),
        ("A= 1", 1, "a blank behind \"A=\" leaves A empty: write A=VALUE"),
        ("A: 1", 1, "not an assignment: a shell wants NAME=VALUE, not a colon"),
        (
            "\n. /etc/other",
            2,
            "not an assignment: commands are not executed, so that what they set is not known",
        ),
    ] {
        let odd = parse(text).expect("read").odd;
        assert_eq!(odd, [Odd { line, text: expected.into() }], "{text}");
    }
    let settings = parse("A=1\r\nB=2\r\n").expect("read");
    assert_eq!(settings.odd.len(), 1);
    assert_eq!(settings.assignments[1].value, Value::Text("2".into()));
    for text in ["if [ -n \"$A\" ]; then\nA=1\nfi", "f() { A=1; }", ")", "A=1)", "&& A=1"] {
        parse(text).expect("read");
    }
}

#[test]
fn what_is_never_closed_is_an_error_with_its_line() {
    for (text, line) in
        [("A=1\nB='x\n", 2), ("A=\"x", 1), ("\n\nA=$(x", 3), ("A=`x", 1), ("A=(", 1)]
    {
        assert_eq!(parse(text).expect_err("refused").line, line, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_fall(text in "[A-C=$(){}'\"`\\\\\n\r ;#&|é\\[]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_quoted_comes_back(value in "[^'\r]{0,60}") {
        let text = format!("A='{value}'\nB=1");
        let settings = parse(&text).expect("read");
        prop_assert_eq!(&settings.assignments[0].value, &Value::Text(value));
        prop_assert_eq!(settings.assignments.len(), 2);
    }
}
