//! Alert rules and dashboard, as Prometheus' own checker and the table of metric families see them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::chart::dashboard::{self, Source};
use crate::chart::families;
use crate::chart::{self, Release};
use crate::controlplane::Programs;

/// Runs promtool, which must succeed; returns what it printed.
fn promtool(arguments: &[&str]) -> String {
    let program = Programs::of(&["prometheus"]).unwrap().path("promtool");
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    text
}

fn rules_file() -> String {
    chart::path("charts/vramguard/rules/vramguard.rules.yaml").display().to_string()
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(rules_file()).unwrap()).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn promtool_accepts_the_rules() {
    let text = promtool(&["check", "rules", "--lint=all", "--lint-fatal", &rules_file()]);
    assert!(text.contains(&format!("{} rules found", rules().len())), "{text}");
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let mut tested = BTreeSet::new();
    for entry in std::fs::read_dir(chart::path("charts/vramguard/rules/tests")).unwrap() {
        let file = entry.unwrap().path();
        promtool(&["test", "rules", &file.display().to_string()]);
        let cases: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for case in cases["tests"].as_array().unwrap() {
            for expectation in case["alert_rule_test"].as_array().unwrap() {
                let fires = expectation["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
                tested.insert((expectation["alertname"].as_str().unwrap().to_owned(), fires));
            }
        }
    }
    // promtool takes an alert that nobody defines, and one that nobody tests, for no problem.
    for rule in rules() {
        let alert = rule["alert"].as_str().unwrap().to_owned();
        assert!(tested.remove(&(alert.clone(), true)), "no test makes {alert} fire");
        tested.remove(&(alert, false));
    }
    assert!(tested.is_empty(), "tested, but no alert: {tested:?}");
}

#[test]
fn the_prometheus_rule_carries_the_rules_file() {
    let values = chart::path("charts/vramguard/ci/everything-values.yaml");
    let objects = Release::of(values).objects().unwrap();
    let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(rules_file()).unwrap()).unwrap();
    let rule = objects.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    assert_eq!(rule["spec"], file);
    let map = objects.iter().find(|object| object["data"]["vramguard.json"].is_string()).unwrap();
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let carried: Value = serde_json::from_str(map["data"]["vramguard.json"].as_str().unwrap()).unwrap();
    assert_eq!(carried, dashboard::json().unwrap());
}

#[test]
fn panels_are_unique_described_and_do_not_overlap() {
    let json = dashboard::json().unwrap();
    let panels = dashboard::panels(&json);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panel ids");
    let mut cells = BTreeSet::new();
    for panel in &panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies over another panel", panel["title"]);
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{} has no description", panel["title"]);
            assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{}", panel["title"]);
        }
    }
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let queries = dashboard::queries().unwrap();
    for source in [Source::Webhook, Source::ApiServer, Source::Dcgm] {
        assert!(queries.iter().any(|query| query.source == source), "{source:?}");
    }
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            assert!(!query.expression.contains("$__"), "{}: a variable is left in {}", query.title, query.expression);
            serde_json::json!({"record": format!("query:{number}"), "expr": query.expression})
        })
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let group = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), group.to_string()).unwrap();
    let text = promtool(&["check", "rules", &file.path().display().to_string()]);
    assert!(text.contains(&format!("{} rules found", queries.len())), "{text}");
}

#[test]
fn queries_name_only_metrics_and_labels_that_exist() {
    let mut expressions: Vec<(String, String)> =
        dashboard::queries().unwrap().into_iter().map(|query| (query.title, query.expression)).collect();
    for rule in rules() {
        expressions.push((rule["alert"].to_string(), rule["expr"].as_str().unwrap().to_owned()));
    }
    let known = families::metrics();
    let mut used = BTreeSet::new();
    for (title, expression) in &expressions {
        let names: BTreeSet<&str> = words(expression).filter(|word| is_metric(word)).collect();
        assert!(!names.is_empty(), "{title} queries nothing");
        let metrics: Vec<_> = known.iter().filter(|metric| names.contains(metric.name.as_str())).collect();
        assert_eq!(metrics.len(), names.len(), "{title}: an unknown metric among {names:?}");
        for label in labels(expression) {
            assert!(metrics.iter().any(|metric| metric.labels.contains(&label)), "{title}: no {label} in {names:?}");
        }
        used.extend(names.into_iter().map(str::to_owned));
    }
    for metric in known.iter().filter(|metric| metric.own) {
        assert!(used.contains(&metric.name), "{} is shown nowhere", metric.name);
    }
}

/// DCGM exporter knows pods, we know workloads: the queries find the one from the other's name.
#[test]
fn what_gpus_show_is_held_against_the_estimate_of_the_workload() {
    let query = |title: &str| {
        let queries = dashboard::queries().unwrap();
        queries.into_iter().find(|query| query.title == title).expect(title).expression
    };
    // (pod, its workload): of a Deployment, of a StatefulSet, of an indexed and a plain Job, on its own.
    let pods = [
        ("llama-3-7d4b9c6f5d-x2x8k", "llama-3"),
        ("trainer-7-0", "trainer-7"),
        ("indexed-3-x2x8k", "indexed"),
        ("job-x2x8k", "job"),
        ("notebook", "notebook"),
    ];
    let mut series = Vec::new();
    let mut ratios = Vec::new();
    for (number, (pod, workload)) in pods.iter().enumerate() {
        // With and without the renaming that a scrape through a ServiceMonitor does.
        let prefix = if number == 0 { "" } else { "exported_" };
        // Two GPUs, of which the fuller counts: 8 and 6 GiB against an estimate of 10.
        for (gpu, mib) in [(0, 8192), (1, 6144)] {
            let name = format!(
                r#"DCGM_FI_DEV_FB_USED{{gpu="{gpu}",{prefix}namespace="ml",{prefix}pod="{pod}",{prefix}container="main"}}"#
            );
            series.push(serde_json::json!({"series": name, "values": format!("{mib}x5")}));
        }
        for (bound, gib) in [("likely", 10_u64), ("high", 7)] {
            let labels = format!(r#"namespace="ml",workload="{workload}",container="main",bound="{bound}""#);
            let name = format!("vramguard_workload_reserved_bytes{{{labels}}}");
            series.push(serde_json::json!({"series": name, "values": format!("{}x5", gib << 30)}));
        }
        let labels = format!(r#"{{namespace="ml",workload="{workload}",container="main"}}"#);
        ratios.push(serde_json::json!({"labels": labels, "value": 0.8}));
    }
    // An idle GPU and somebody else's pod match nothing.
    series.push(serde_json::json!({"series": r#"DCGM_FI_DEV_FB_USED{gpu="2"}"#, "values": "0x5"}));
    series.push(serde_json::json!({"series": r#"DCGM_FI_DEV_FB_USED{namespace="x",pod="y"}"#, "values": "900x5"}));
    let used: Vec<_> =
        ratios.iter().map(|sample| serde_json::json!({"labels": sample["labels"], "value": 8_u64 << 30})).collect();
    let expectation = |title: &str, samples: &[Value]| serde_json::json!({"expr": query(title), "eval_time": "5m", "exp_samples": samples});
    let expectations = [
        expectation("Used over estimated (A)", &ratios),
        expectation("Reserved: estimated and used (B)", &used),
        expectation("Above the high estimate (A)", &used),
    ];
    let test = serde_json::json!({"tests": [{"input_series": series, "promql_expr_test": expectations}]});
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), test.to_string()).unwrap();
    promtool(&["test", "rules", &file.path().display().to_string()]);
}

fn is_metric(word: &str) -> bool {
    ["vramguard_", "DCGM_", "apiserver_"].iter().any(|prefix| word.starts_with(prefix))
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Labels of matchers (`{name="..."}`) and of groupings (`by (...)`, `on (...)`).
fn labels(expression: &str) -> BTreeSet<&str> {
    let mut labels = BTreeSet::new();
    for grouping in [" by (", " on ("] {
        for rest in expression.split(grouping).skip(1) {
            labels.extend(words(rest.split(')').next().unwrap_or_default()));
        }
    }
    for rest in expression.split('{').skip(1) {
        // A brace in a quoted regular expression opens no matchers: those begin with a name.
        let matchers = rest.split('}').next().unwrap_or_default();
        labels.extend(matchers.split(',').filter_map(|matcher| matcher.split_once('=').map(|(name, _)| name.trim())));
    }
    labels
}

#[test]
fn labels_of_queries_are_found() {
    let found = labels(r#"sum by (a, b) (rate(x{c="1",d=~"u.*"}[5m])) / on (e) y"#);
    assert_eq!(found, BTreeSet::from(["a", "b", "c", "d", "e"]));
}
