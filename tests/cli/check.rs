//! `check`.

use super::support::{Run, check, vramguard};

const EXAMPLES: &str = "check -f examples/ --nodes examples/nodes.yaml";

fn verdict(run: &Run, name: &str) -> (String, String) {
    let result = run.json();
    let report = result["results"].as_array().unwrap().iter().find(|r| r["source"]["name"] == name);
    let report = report.unwrap_or_else(|| panic!("no result for {name}: {run}"));
    (report["verdict"].as_str().unwrap().to_owned(), report["decision"].as_str().unwrap().to_owned())
}

#[test]
fn the_examples_are_a_mix_of_every_decision() {
    let run = vramguard(&format!("{EXAMPLES} -o json"));
    assert_eq!(run.code, 1, "{run}");
    for (name, wanted) in [
        ("chat", ("FITS", "allow")),
        ("summarize-t4", ("TOO_BIG", "deny")),
        ("summarize-a10", ("TIGHT", "warn")),
        ("summarize-l40s", ("FITS", "allow")),
        ("finetune-7b", ("TOO_BIG", "deny")),
        ("finetune-7b-zero3", ("FITS", "allow")),
    ] {
        let (verdict, decision) = verdict(&run, name);
        assert_eq!((verdict.as_str(), decision.as_str()), wanted, "{name}");
    }
}

#[test]
fn every_denial_of_the_examples_offers_a_fix_that_is_said_to_fit() {
    let result = vramguard(&format!("{EXAMPLES} -o json")).json();
    for report in result["results"].as_array().unwrap().iter().filter(|r| r["decision"] == "deny") {
        let fixes = report["fixes"].as_array().unwrap();
        assert!(!fixes.is_empty(), "{report}");
        assert!(fixes.iter().all(|fix| !fix["changes"].as_array().unwrap().is_empty()), "{report}");
    }
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    for line in vramguard(EXAMPLES).stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn one_file_of_what_fits_exits_with_0() {
    let run = vramguard("check -f examples/04-pytorch-server-l40s.yaml --nodes examples/nodes.yaml");
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn warnings_fail_only_under_strict() {
    let tight = "check -f examples/03-pytorch-server-a10.yaml --nodes examples/nodes.yaml";
    assert_eq!(vramguard(tight).code, 0);
    assert_eq!(vramguard(&format!("{tight} --strict")).code, 3);
    let both = "check -f examples/03-pytorch-server-a10.yaml -f examples/02-pytorch-server-t4.yaml";
    assert_eq!(vramguard(&format!("{both} --nodes examples/nodes.yaml --strict")).code, 1);
}

#[test]
fn results_keep_file_and_document() {
    let run = vramguard("check -f examples/01-vllm-llama-2-7b.yaml --nodes examples/nodes.yaml -o json");
    let result = run.json();
    assert_eq!(
        (result["apiVersion"].as_str(), result["kind"].as_str()),
        (Some("vramguard.io/v1"), Some("CheckResult"))
    );
    let source = &result["results"][0]["source"];
    assert_eq!(source["file"], "examples/01-vllm-llama-2-7b.yaml");
    assert_eq!((source["document"].as_u64(), source["container"].as_str()), (Some(0), Some("vllm")));
    assert_eq!((source["kind"].as_str(), source["namespace"].as_str()), (Some("Deployment"), Some("serving")));
}

#[test]
fn a_list_on_standard_input_is_read_object_by_object() {
    let text = std::fs::read_to_string("examples/08-vllm-llama-3.3-70b-tp1.yaml").unwrap();
    let pod = vramguard::spec::yaml::value(&text).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [pod, pod]});
    let run = check(&list.to_string(), "-o json");
    assert_eq!(run.code, 1, "{run}");
    assert_eq!(run.json()["results"].as_array().unwrap().len(), 2);
}

#[test]
fn a_policy_file_changes_the_decision_not_the_verdict() {
    let folder = super::support::Folder::with(&[("policy.yaml", "mode: warn\n"), ("bad.yaml", "mod: warn\n")]);
    let tiny = "check -f examples/02-pytorch-server-t4.yaml --nodes examples/nodes.yaml";
    let run = vramguard(&format!("{tiny} --config {} -o json", folder.path("policy.yaml")));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(verdict(&run, "summarize-t4"), ("TOO_BIG".to_owned(), "warn".to_owned()));
    let bad = vramguard(&format!("{tiny} --config {}", folder.path("bad.yaml")));
    assert_eq!(bad.code, 2, "{bad}");
    assert!(bad.stderr.contains("mod"), "{bad}");
}

#[test]
fn without_nodes_the_need_is_still_told() {
    let run = vramguard("check -f examples/04-pytorch-server-l40s.yaml");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stdout.contains("UNKNOWN_CAPACITY"), "{run}");
}

#[test]
fn sarif_names_what_is_denied_and_where() {
    let run = vramguard(&format!("{EXAMPLES} -o sarif"));
    assert_eq!(run.code, 1, "{run}");
    let document = run.json();
    let results = document["runs"][0]["results"].as_array().unwrap();
    let rules = document["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(results.iter().all(|result| rules.iter().any(|rule| rule["id"] == result["ruleId"])));
    let denied = results.iter().find(|result| result["ruleId"] == "TOO_BIG").unwrap();
    let place = &denied["locations"][0];
    assert_eq!((&denied["level"], &place["logicalLocations"][0]["kind"]), (&"error".into(), &"resource".into()));
    assert!(place["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().starts_with("examples/"));
    assert!(place["physicalLocation"]["region"]["startLine"].as_u64().unwrap() >= 1);
    let bad = vramguard_bad_input("sarif").json();
    assert_eq!(bad["runs"][0]["results"][0]["ruleId"], "UNREADABLE_INPUT");
}

#[test]
fn junit_fails_what_is_denied() {
    let run = vramguard(&format!("{EXAMPLES} -o junit"));
    assert_eq!(run.code, 1, "{run}");
    let counted = |what: &str| run.stdout.matches(what).count();
    let attribute = |name: &str| {
        let (_, rest) = run.stdout.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse::<usize>().unwrap()
    };
    assert_eq!((attribute("tests"), attribute("failures")), (counted("<testcase "), counted("<failure ")));
    assert!(counted("<failure type=\"TOO_BIG\"") > 0, "{run}");
    assert!(vramguard_bad_input("junit").stdout.contains("<error message="));
}

fn vramguard_bad_input(format: &str) -> Run {
    let run = check("kind: [", &format!("-o {format}"));
    assert_eq!(run.code, 2, "{run}");
    run
}
