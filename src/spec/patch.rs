//! JSON patches (RFC 6902) that write annotations to a pod: minimal, guarded by `test`, none if nothing changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::annotations::{ESTIMATE, VERDICT};
use super::pod::PodTemplate;
use crate::decide::Report;
use crate::estimate::Interval;
use crate::estimate::serving::vllm::CONSTANTS;

/// Operations that set annotations; empty when the pod has them already. `pod` is the object as admission shows it.
///
/// `test` operations come first: a value that is replaced must still be the one that was read. A map that is absent
/// cannot be tested (RFC 6902 wants the target to exist); the API server calls mutators one after another, so nothing
/// can have come between.
#[must_use]
pub fn annotate(pod: &PodTemplate, wanted: &BTreeMap<String, String>) -> Vec<Value> {
    let changed: Vec<(&String, &String)> =
        wanted.iter().filter(|(key, value)| pod.annotations.get(*key) != Some(*value)).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let mut operations = Vec::with_capacity(2 * changed.len());
    if !pod.has_annotations {
        let map: serde_json::Map<String, Value> =
            changed.iter().map(|(key, value)| ((*key).clone(), Value::from(value.as_str()))).collect();
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": map}));
        return operations;
    }
    for (key, _) in &changed {
        if let Some(before) = pod.annotations.get(*key) {
            operations.push(json!({"op": "test", "path": path(key), "value": before}));
        }
    }
    for (key, value) in changed {
        let op = if pod.annotations.contains_key(key) { "replace" } else { "add" };
        operations.push(json!({"op": op, "path": path(key), "value": value}));
    }
    operations
}

/// JSON pointer to an annotation: `~` and `/` are escaped.
fn path(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The annotations that record what was found: a compact estimate (bytes per GPU of the worst rank) and the verdict.
#[must_use]
pub fn record(report: &Report) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([(VERDICT.to_owned(), report.verdict.code().to_owned())]);
    if let Some(estimate) = &report.estimate {
        let Interval { low, likely, high } = estimate.per_gpu.required;
        let terms: serde_json::Map<String, Value> = estimate
            .terms
            .iter()
            .map(|term| {
                let name = serde_json::to_value(term.name).ok().and_then(|v| v.as_str().map(str::to_owned));
                (name.unwrap_or_default(), json!(term.bytes.likely))
            })
            .collect();
        let compact = json!({
            "model": report.workload.as_ref().map(|workload| workload.model.as_str()),
            "required": {"low": low, "likely": likely, "high": high},
            "likely": format!("{likely}"),
            "terms": terms,
            "constants": CONSTANTS,
        });
        out.insert(ESTIMATE.to_owned(), compact.to_string());
    }
    out
}

#[cfg(test)]
mod tests;
