//! Reports to what the API server, its audit log and the person at kubectl read.

use std::collections::BTreeMap;

use crate::decide::{Decision, Report, Verdict};
use crate::spec::kinds::Template;
use crate::spec::patch;
use crate::spec::review::Response;

/// HTTP status of a refusal: understood, and not allowed.
const FORBIDDEN: u16 = 403;

/// A response with one message, as a refusal, a warning, or not at all.
pub(super) fn plain(uid: &str, decision: Decision, verdict: Verdict, message: String) -> Response {
    match decision {
        Decision::Allow => Response::allow(uid),
        Decision::Warn => Response { warnings: vec![message], ..Response::allow(uid) },
        Decision::Deny => Response::deny(uid, FORBIDDEN, verdict.code(), message),
    }
}

/// The answer of the validating endpoint: `worst` decides, every report that deserves a word has one.
pub(super) fn verdicts(uid: &str, reports: &[(&Template, Report)], worst: &Report) -> Response {
    let of = |decision: Decision| reports.iter().map(|(_, report)| report).filter(move |r| r.decision == decision);
    let mut response = match worst.decision {
        Decision::Deny => {
            let message = of(Decision::Deny).map(sentence).collect::<Vec<_>>().join("; ");
            Response::deny(uid, FORBIDDEN, worst.verdict.code(), message)
        }
        Decision::Allow | Decision::Warn => Response::allow(uid),
    };
    response.warnings = of(Decision::Warn).flat_map(warnings).collect();
    response.audit_annotations = audit(reports, worst);
    response
}

/// The answer of the mutating endpoint: what was found, written on the pod. It never refuses and never warns: the
/// validating endpoint does, once all mutation is done.
pub(super) fn annotations(uid: &str, reports: &[(&Template, Report)], worst: &Report) -> Response {
    let Some((template, _)) = reports.first() else { return Response::allow(uid) };
    let patch = patch::annotate(&template.pod, &patch::record(worst));
    Response { patch, ..Response::allow(uid) }
}

/// The lines of a warning. Where the workload fits, what deserves the warning is in the notes.
fn warnings(report: &Report) -> Vec<String> {
    let mut lines = vec![sentence(report)];
    if report.verdict == Verdict::Fits {
        lines.extend(report.notes.iter().cloned());
    }
    lines
}

/// Code and message, as the person at kubectl reads them.
fn sentence(report: &Report) -> String {
    let (code, message) = (report.verdict.code(), &report.message);
    if message.starts_with(code) { message.clone() } else { format!("{code}: {message}") }
}

/// What the audit log keeps: codes and figures of the worst report, every message and note in full.
fn audit(reports: &[(&Template, Report)], worst: &Report) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        ("verdict".to_owned(), worst.verdict.code().to_owned()),
        ("decision".to_owned(), worst.decision.name().to_owned()),
        ("mode".to_owned(), worst.mode.name().to_owned()),
        ("container".to_owned(), worst.source.container.clone()),
        ("message".to_owned(), reports.iter().map(|(_, report)| sentence(report)).collect::<Vec<_>>().join("; ")),
    ]);
    if !worst.notes.is_empty() {
        annotations.insert("notes".to_owned(), worst.notes.join("; "));
    }
    let notes: Vec<&str> = reports.iter().flat_map(|(_, report)| &report.notes).map(String::as_str).collect();
    if !notes.is_empty() {
        annotations.insert("notes".to_owned(), notes.join("; "));
    }
    if let Some(estimate) = &worst.estimate {
        let required = estimate.per_gpu.required;
        let figures = format!("{} {} {}", required.low.0, required.likely.0, required.high.0);
        annotations.insert("required-bytes".to_owned(), figures);
    }
    if let Some(capacity) = &worst.capacity {
        annotations.insert("gpu-class".to_owned(), capacity.gpu_class.clone());
        annotations.insert("usable-bytes".to_owned(), capacity.usable_bytes.0.to_string());
    }
    if let Some((template, _)) = reports.iter().find(|(_, report)| report.exempted) {
        let reason = template.pod.annotations.get("vramguard.io/exempt-reason").cloned().unwrap_or_default();
        annotations.insert("exempt-reason".to_owned(), reason);
    }
    annotations
}
