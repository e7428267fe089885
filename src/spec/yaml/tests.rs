use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn documents_know_their_line_and_empty_ones_are_skipped() {
    let text = "---\n# comment only\n---\na: 1\n---\n\n---\n# c\nb: 2\n";
    let found = documents(text).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].index, found[0].line, &found[0].value), (0, 4, &json!({"a": 1})));
    assert_eq!((found[1].index, found[1].line, &found[1].value), (1, 9, &json!({"b": 2})));
    assert!(documents("").unwrap().is_empty());
}

#[test]
fn json_is_read_too() {
    assert_eq!(value("{\"a\": [1, 2.5, \"x\", null, true]}").unwrap(), json!({"a": [1, 2.5, "x", null, true]}));
    assert_eq!(documents("{\"a\":\t1}\n").unwrap()[0].value, json!({"a": 1}));
}

/// What kubectl's reader (YAML 1.1) makes of the same text.
#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    for (text, expected) in [
        ("yes", json!(true)),
        ("on", json!(true)),
        ("NO", json!(false)),
        ("0644", json!(420)),
        ("'0644'", json!("0644")),
        ("1e3", json!(1000.0)),
        ("~", Value::Null),
        ("1_000", json!(1000)),
        ("0x10", json!(16)),
        ("8", json!(8)),
        ("-8", json!(-8)),
        ("v0.19.0", json!("v0.19.0")),
        ("0.19.0", json!("0.19.0")),
    ] {
        assert_eq!(value(&format!("k: {text}\n")).unwrap()["k"], expected, "{text}");
    }
    assert_eq!(value("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n").unwrap()["c"], json!({"b": 1, "d": 2}));
    assert_eq!(value("a: |\n  one\n  two\nb: >-\n  one\n  two\n").unwrap(), json!({"a": "one\ntwo\n", "b": "one two"}));
}

#[test]
fn errors_carry_line_and_column() {
    let duplicate = value("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert_eq!((duplicate.line, duplicate.column), (3, 1), "{duplicate}");
    assert!(duplicate.message.contains("duplicate"), "{duplicate}");
    let broken = documents("a: 1\n---\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(broken.line >= 3, "{broken}");
    assert!(!broken.to_string().contains('\n'), "{broken}");
    assert!(value("a: 1\n---\nb: 2\n").is_err(), "one document is expected");
}

#[test]
fn bombs_and_deep_nesting_are_refused_quickly() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        laughs.extend([format!("a{level}: &a{level} ["), [before.as_str(); 9].join(", "), "]\n".to_owned()]);
    }
    assert!(value(&laughs).is_err());
    assert!(value(&"[".repeat(100_000)).is_err());
    assert!(value(&"- ".repeat(100_000)).is_err());
    assert!(value(&"{a: ".repeat(100_000)).is_err());
}

#[test]
fn numbers_beyond_range_are_no_silent_null() {
    for text in ["a: 1e400\n", "a: .nan\n", "a: .inf\n"] {
        match value(text) {
            Err(error) => assert_eq!(error.line, 1, "{error}"),
            Ok(value) => assert!(value["a"].is_string(), "{value}"),
        }
    }
}

#[test]
fn a_list_of_ten_thousand_pods_is_read() {
    let pod =
        "- {kind: Pod, metadata: {name: p, labels: {a: b}}, spec: {containers: [{name: c, args: [a, b, c, d, e]}]}}\n";
    let found = documents(&format!("kind: List\nitems:\n{}", pod.repeat(10_000))).unwrap();
    assert_eq!(found[0].value["items"].as_array().unwrap().len(), 10_000);
}

#[test]
fn errors_name_their_place_once_and_no_option_of_the_library() {
    for text in ["a: [\n", "a: 1\na: 2\n", &format!("a: {}", "[".repeat(100)), "a: &a [*a]\n", "a: *b\n", "\u{0}"] {
        let said = value(text).unwrap_err().to_string();
        assert_eq!(said.matches(" at line").count(), 0, "{said}");
        assert!(!said.contains("Options") && !said.contains("{ "), "{said}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
        let _ = documents(&text);
    }

    #[test]
    fn structured_noise_never_panics(text in "([a-c]: |- |\\[|\\]|\\{|\\}|&a |\\*a|\"|'|\n|  |\\||>|---\n|!!int |<<: |#|1|\t){0,60}") {
        let _ = documents(&text);
    }
}

#[test]
fn the_deepest_allowed_document_fits_a_small_stack() {
    for text in [
        format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)),
        format!("{}1{}", "{a: ".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH)),
        format!("{}1", "- ".repeat(MAX_DEPTH)),
    ] {
        // Test threads have 2 MiB, as have the threads of the server.
        assert!(value(&text).is_ok() && documents(&text).is_ok(), "{text}");
        assert!(value(&format!("- {}", text.replace(['[', ']'], "")).repeat(1)).is_err() || text.starts_with('['));
    }
}
