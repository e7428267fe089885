use proptest::prelude::*;

use super::*;
use crate::spec::pod::Container;

fn env(pairs: &str) -> Env {
    let container: Container = serde_json::from_str(&format!(r#"{{"name":"c","env":{pairs}}}"#)).unwrap();
    Env::of(&container, &crate::spec::files::Files::NONE)
}

const POD: &str = r#"[{"name":"MODEL","value":"org/m"},{"name":"EMPTY"},{"name":"TP","value":"2"},
    {"name":"SECRET","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
    {"name":"ARGS","value":"--a 1 --b 2"},{"name":"PATH2","value":"/m/$(MODEL)"},{"name":"FROM","value":"$(SECRET)!"}]"#;

fn commands(text: &str) -> Vec<Vec<String>> {
    script(text, &env(POD), &["one".into(), "two words".into()]).unwrap().0
}

/// The only command, marks shown as they were written.
fn words(text: &str) -> Vec<String> {
    let mut found = commands(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found
        .remove(0)
        .iter()
        .map(|word| if is_known(word) { word.clone() } else { format!("?{}", written(word)) })
        .collect()
}

#[test]
fn kubernetes_expands_names_of_its_own_environment() {
    let env = env(POD);
    assert_eq!(env.expand("x$(MODEL)y$$(MODEL)"), "xorg/my$(MODEL)");
    assert_eq!(env.expand("$(NOPE) $ $"), "$(NOPE) $ $");
    assert!(!is_known(&env.expand("$(SECRET)")));
    assert_eq!(written(&env.expand("a$(SECRET)")), "a$(SECRET)");
    assert_eq!(env.get("PATH2"), Var::Known("/m/org/m"));
    assert_eq!(env.get("FROM"), Var::Unknown, "what is built from an unknown value is unknown");
    assert_eq!(env.get("EMPTY"), Var::Known(""));
}

#[test]
fn quoting_and_continuations_are_those_of_the_shell() {
    for (text, expected) in [
        ("a b  c", vec!["a", "b", "c"]),
        ("a 'b c' \"d e\" f\\ g", vec!["a", "b c", "d e", "f g"]),
        ("a \\\n  --b=1 \\\r\n --c", vec!["a", "--b=1", "--c"]),
        ("a '{\"x\": 1}' \"{\\\"y\\\": 2}\"", vec!["a", "{\"x\": 1}", "{\"y\": 2}"]),
        ("a '' \"\"", vec!["a", "", ""]),
        ("a # comment\n", vec!["a"]),
        ("a#b", vec!["a#b"]),
        ("a b>out 2>&1 c &>x", vec!["a", "b", "c"]),
        ("a 'it'\\''s'", vec!["a", "it's"]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}

#[test]
fn an_assignment_under_a_condition_is_not_taken_for_granted() {
    for (text, expected) in [
        ("M=a; M=b; x $M", "b"),
        ("M=a\nif c; then M=b; fi\nx $M", "?$M"),
        ("if c; then\n  M=a\nelse\n  M=b\nfi\nx $M", "?$M"),
        ("if c; then :; fi; M=a; x $M", "a"),
        ("for i in 1 2; do M=a; done; x $M", "?$M"),
        ("case $c in a) M=b;; esac; x $M", "?$M"),
        ("cd /d && M=a && x $M", "a"),
        ("M=a; test -f f && M=b; x $M", "?$M"),
        ("M=a; test -f f ||\n M=b; x $M", "?$M"),
    ] {
        let words = commands(text).into_iter().rfind(|words| words[0] == "x").unwrap();
        let shown = if is_known(&words[1]) { words[1].clone() } else { format!("?{}", written(&words[1])) };
        assert_eq!(shown, expected, "{text}");
    }
}

#[test]
fn variables_come_from_the_pod_and_unknown_ones_are_marked() {
    for (text, expected) in [
        ("v $MODEL ${TP} \"$MODEL\" '$MODEL'", vec!["v", "org/m", "2", "org/m", "$MODEL"]),
        ("v --tp=$TP${TP}", vec!["v", "--tp=22"]),
        ("v $ARGS", vec!["v", "--a", "1", "--b", "2"]),
        ("v \"$ARGS\"", vec!["v", "--a 1 --b 2"]),
        ("v $EMPTY x", vec!["v", "x"]),
        ("v ${NOPE:-4096} ${TP:-8} ${EMPTY:-e} ${EMPTY-e}", vec!["v", "4096", "2", "e"]),
        ("v ${TP:+yes} \"${NOPE:+yes}\"", vec!["v", "yes", ""]),
        ("v ${NOPE:-$TP}", vec!["v", "?${NOPE:-$TP}"]),
        ("v $NOPE", vec!["v", "?$NOPE"]),
        ("v --m=$SECRET", vec!["v", "?--m=$SECRET"]),
        ("v ${SECRET:-x}", vec!["v", "?$SECRET"]),
        ("v $(nproc --all)", vec!["v", "?$(nproc --all)"]),
        ("v `nproc` z", vec!["v", "?`nproc`", "z"]),
        ("v ${#MODEL}", vec!["v", "?${#MODEL}"]),
        ("v \"$@\"", vec!["v", "one", "two words"]),
        ("v $1 \"$2\"", vec!["v", "one", "two words"]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}

#[test]
fn commands_are_told_apart_and_assignments_kept() {
    let found = commands("set -e; cd /x && A=1 exec b c | d || e &\nf");
    let firsts: Vec<&str> = found.iter().map(|c| c[0].as_str()).collect();
    assert_eq!(firsts, ["set", "cd", "exec", "d", "e", "f"]);
    assert_eq!(words("export N=4 M=$TP\nX=5\nrun $N $M $X"), ["run", "4", "2", "5"]);
    assert_eq!(words("N=$(nproc)\nrun $N"), ["run", "?$N"]);
    let (_, env) = script("FOO=1 run", &Env::default(), &[]).unwrap();
    assert_eq!(env.get("FOO"), Var::Known("1"));
}

#[test]
fn here_documents_are_no_commands() {
    let found = commands("cat > f <<'EOF'\nvllm serve no\nEOF\nvllm serve yes\n");
    assert_eq!(found, [vec!["cat"], vec!["vllm", "serve", "yes"]]);
}

#[test]
fn open_quotes_and_endless_scripts_are_errors() {
    let problem = |text: &str| script(text, &Env::default(), &[]).unwrap_err();
    assert!(problem("a 'b").contains("open single quote"));
    assert!(problem("a \"b").contains("open double quote"));
    assert!(problem(&"x".repeat(LONGEST + 1)).contains("longer than"));
    assert!(problem(&"x ".repeat(MAX_WORDS + 9)).contains("more than"));
}

#[test]
fn expansion_does_not_grow_without_bound() {
    let mut vars = vec![r#"{"name":"V0","value":"xxxxxxxxxxxxxxxx"}"#.to_owned()];
    for i in 1..60 {
        vars.push(format!(r#"{{"name":"V{i}","value":"$(V{0})$(V{0})"}}"#, i - 1));
    }
    let env = env(&format!("[{}]", vars.join(",")));
    assert_eq!(env.get("V59"), Var::Unknown);
    let doubling = "A=x$A$A\n".repeat(60);
    assert!(script(&doubling, &Env::default(), &[]).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_scripts_never_panic(text in "(?s).{0,200}") {
        let _ = script(&text, &env(POD), std::slice::from_ref(&text));
        let _ = env(POD).expand(&text);
    }

    #[test]
    fn shell_noise_never_panics(text in "(\\$\\{|\\$\\(|\\$|\\{|\\}|\\(|\\)|:-|A|TP|\"|'|`|\\\\|\n| |<<|>|&|;|=|#|@|1){0,60}") {
        let _ = script(&text, &env(POD), &["w".into()]);
    }

    #[test]
    fn plain_words_survive(words in proptest::collection::vec("[a-zA-Z0-9_./:@%+,-]{1,12}", 1..8)) {
        prop_assume!(words.iter().all(|word| assignment(word).is_none()) && words[0] != "export");
        let found = script(&words.join(" "), &Env::default(), &[]).unwrap().0;
        prop_assume!(!matches!(words[0].as_str(), "declare" | "local" | "readonly"));
        prop_assert_eq!(&found[0], &words);
    }
}

/// The environment after a script.
fn after(text: &str) -> Env {
    script(text, &env(POD), &[]).unwrap().1
}

#[test]
fn files_that_a_script_writes_are_known() {
    let quoted = after("mkdir -p x && cat > x/a.json <<'EOF'\n{\"a\": \"$TP\"}\nEOF\nrun x/a.json");
    assert_eq!(quoted.file("./x/a.json"), Var::Known("{\"a\": \"$TP\"}\n"), "a quoted delimiter expands nothing");
    let expanded = after("cat <<EOF >b\n$TP \\$x $UNSET\nEOF\n");
    let Var::Known(text) = expanded.file("b") else { panic!("{expanded:?}") };
    assert!(text.starts_with("2 $x ") && !is_known(text), "{text}");
    let added = after("tee ./c.yaml <<-END\n\ta: 1\n\tEND\necho 'd: 2' >> c.yaml 2>/dev/null");
    assert_eq!(added.file("c.yaml"), Var::Known("a: 1\nd: 2\n"));
    let moved = after("cd /work; echo '{}' > d.json; cd sub; echo x > ../e");
    assert_eq!((moved.file("/work/d.json"), moved.file("/work/e")), (Var::Known("{}\n"), Var::Known("x\n")));
}

#[test]
fn files_written_in_ways_that_are_not_followed_are_unknown() {
    for text in [
        "printf 'x: %s' 1 > f",
        "if true; then cat > f <<EOF\na: 1\nEOF\nfi",
        "python gen.py > f",
        "echo a > f; sed -i s/a/b/ f",
        "echo a >> f",
        "echo $SECRET > f",
    ] {
        assert_eq!(after(text).file("f"), Var::Unknown, "{text}");
    }
    assert_eq!(after("run 2> f; run < f").file("f"), Var::Unset);
}

#[test]
fn arithmetic_on_what_is_known_is_done() {
    assert_eq!(words("a --tp $((TP * 8)) --dp=$(( ${UNSET:-1} + $TP ))"), ["a", "--tp", "16", "--dp=3"]);
    assert_eq!(words("a $((SECRET * 8)) $((UNSET))"), ["a", "?$((SECRET * 8))", "?$((UNSET))"]);
}
