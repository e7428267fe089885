//! SARIF 2.1.0, which code hosts show beside the changed lines of a pull request.
//!
//! Source of the shape: OASIS "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".

use serde_json::{Value, json};

use crate::decide::Decision;
use crate::decide::report::{CheckResult, Report};

/// The rule of inputs that could not be read.
const UNREADABLE: &str = "UNREADABLE_INPUT";

/// One result a workload that is denied or deserves a warning, one an input that could not be read.
pub(in crate::cli) fn document(result: &CheckResult) -> Value {
    let reports = result.results.iter().filter(|report| report.decision != Decision::Allow);
    let mut rules: Vec<&str> = reports.clone().map(|report| report.verdict.code()).collect();
    rules.extend((!result.errors.is_empty()).then_some(UNREADABLE));
    rules.sort_unstable();
    rules.dedup();
    let errors =
        result.errors.iter().map(|error| finding(UNREADABLE, "error", &error.message, (&error.file, error.line), None));
    let results: Vec<Value> = reports.map(of_report).chain(errors).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "vramguard",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    })
}

fn of_report(report: &Report) -> Value {
    let source = &report.source;
    let level = if report.decision == Decision::Deny { "error" } else { "warning" };
    let said = if report.message.is_empty() { report.notes.join("; ") } else { report.message.clone() };
    let name = format!("{}/{}/{}", source.kind, source.name, source.container);
    let file = source.file.as_deref().unwrap_or_default();
    finding(report.verdict.code(), level, &said, (file, source.line), Some(name))
}

fn finding(
    rule: &str,
    level: &str,
    message: &str,
    (file, line): (&str, Option<u64>),
    workload: Option<String>,
) -> Value {
    let mut location = json!({"physicalLocation": {
        "artifactLocation": {"uri": file},
        "region": {"startLine": line.unwrap_or(1).max(1)},
    }});
    if let (Some(name), Some(map)) = (workload, location.as_object_mut()) {
        map.insert("logicalLocations".to_owned(), json!([{"fullyQualifiedName": name, "kind": "resource"}]));
    }
    json!({"ruleId": rule, "level": level, "message": {"text": message}, "locations": [location]})
}
