//! Tables of hand-made reports: what a reader sees, without the engine.

use insta::assert_snapshot;

use super::*;
use crate::decide::Mode;
use crate::decide::report::{Change, EngineView, Source};
use crate::estimate::workload::{Parallelism, Task};
use crate::estimate::{Interval, PerGpu, Provenance, Term, TermName};

fn gib(low: f64, likely: f64, high: f64) -> Interval {
    Interval::new(Bytes::from_gib(low), Bytes::from_gib(likely), Bytes::from_gib(high))
}

fn term(name: TermName, size: f64, formula: &str) -> Term {
    Term { name, bytes: gib(size, size, size), formula: formula.to_owned(), provenance: Provenance::Exact }
}

fn fitting() -> Report {
    let required = gib(20.6, 21.7, 24.9);
    let terms = vec![
        term(TermName::Weights, 12.6, "6738415616 parameters x 2 B"),
        term(TermName::KvCache, 8.0, "32 layers x 4 x 4096 tokens"),
        term(TermName::Runtime, 1.1, "CUDA context"),
    ];
    Report {
        source: Source {
            kind: "Deployment".to_owned(),
            name: "chat".to_owned(),
            container: "server".to_owned(),
            ..Source::default()
        },
        workload: Some(WorkloadView {
            task: Task::Inference,
            model: "meta-llama/Llama-2-7b-hf".to_owned(),
            parameters: Some(6_738_415_616),
            engine: EngineView { name: "generic".to_owned(), version: None },
            parallelism: Parallelism::default(),
            dtype: None,
            quantization: None,
            kv_cache_dtype: None,
            context_length: Some(4096),
            batch_size: Some(4),
        }),
        estimate: Some(EstimateView {
            per_gpu: PerGpu { required, wanted: required, reserved: required },
            gpus: 1,
            worst_rank: String::new(),
            terms,
            serving: None,
            training: None,
            refusals: Vec::new(),
        }),
        capacity: Some(CapacityView {
            gpu_class: "NVIDIA-L40S-45GiB".to_owned(),
            visible_bytes: Bytes::from_mib(46_068),
            usable_bytes: Bytes::from_mib(46_068),
            nodes: 3,
        }),
        verdict: Verdict::Fits,
        reason: None,
        decision: Decision::Allow,
        mode: Mode::Enforce,
        exempted: false,
        message: "container \"server\" needs 21.7 GiB per GPU".to_owned(),
        notes: Vec::new(),
        fixes: Vec::new(),
        solutions: Vec::new(),
        patch: Vec::new(),
    }
}

fn denied() -> Report {
    Report {
        source: Source { name: "chat-on-t4".to_owned(), ..fitting().source },
        capacity: Some(CapacityView {
            gpu_class: "Tesla-T4-15GiB".to_owned(),
            visible_bytes: Bytes::from_mib(15_360),
            usable_bytes: Bytes::from_mib(15_360),
            nodes: 1,
        }),
        verdict: Verdict::TooBig,
        decision: Decision::Deny,
        message: "container \"server\" needs at least 20.6 GiB per GPU, Tesla-T4-15GiB offers 15.0 GiB; fits with batchSize 1".to_owned(),
        notes: vec!["no serving engine is named".to_owned()],
        fixes: vec![Fix {
            strategy: "batch".to_owned(),
            changes: vec![
                Change { path: "batchSize".to_owned(), from: "4".to_owned(), to: "1".to_owned() },
                Change { path: "contextLength".to_owned(), from: String::new(), to: "2048".to_owned() },
            ],
            required: gib(13.0, 13.9, 14.4),
            gpu_class: "Tesla-T4-15GiB".to_owned(),
            cost: "fewer requests at once".to_owned(),
        }],
        ..fitting()
    }
}

/// Without escape codes.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn each_workload_has_two_lines_and_a_denied_one_its_reason_and_fixes() {
    assert_snapshot!(plain(&check(&CheckResult::new(vec![fitting(), denied()]))), @r#"
    WORKLOAD            MODEL                   NEEDS GiB  OF GiB  GPU       VERDICT
    deploy/chat         Llama-2-7b-hf                21.7    45.0  L40S      FITS
      server · generic  ██████▓▓▓▓▂···········  20.6–24.9          3 nodes   allow
    deploy/chat-on-t4   Llama-2-7b-hf                21.7    15.0  Tesla-T4  TOO_BIG
      server · generic  █████████████▓▓│▓▓▓▓▓▂  20.6–24.9          1 node    deny
        container "server" needs at least 20.6 GiB per GPU, Tesla-T4-15GiB offers 15.0 GiB
        largest term: weights 12.6 GiB (58 %) = 6738415616 parameters x 2 B
        fix 1: batchSize 4 → 1, contextLength → 2048: then 13.9 GiB on Tesla-T4-15GiB (fewer
               requests at once)
        note: no serving engine is named

    █ weights   ▓ cache   ▂ overhead   · free   │ capacity
    2 workloads: 1 fit, 0 with a warning, 1 denied
    "#);
}

#[test]
fn an_unreadable_workload_still_has_its_row() {
    let report = Report {
        workload: None,
        estimate: None,
        capacity: None,
        verdict: Verdict::InvalidSpec,
        decision: Decision::Deny,
        message: "vramguard.io/batch-size: must be at least 1".to_owned(),
        ..fitting()
    };
    assert_snapshot!(plain(&check(&CheckResult::new(vec![report]))), @r#"
    WORKLOAD     MODEL  NEEDS GiB  OF GiB  GPU  VERDICT
    deploy/chat  –              –       –  –    INVALID_SPEC
      server                                    deny
        vramguard.io/batch-size: must be at least 1

    1 workload: 0 fit, 0 with a warning, 1 denied
    "#);
}

#[test]
fn pods_without_gpu_are_counted_not_listed() {
    let skipped = Report { verdict: Verdict::NotApplicable, ..fitting() };
    assert_snapshot!(plain(&check(&CheckResult::new(vec![skipped]))), @"0 workloads: 0 fit, 0 with a warning, 0 denied; 1 without GPU skipped");
}

#[test]
fn names_from_manifests_cannot_drive_the_terminal() {
    let mut report = denied();
    report.source.name = "a\u{1b}]0;owned\u{7}".to_owned();
    report.message = "b\u{1b}[2J".to_owned();
    let text = check(&CheckResult::new(vec![report]));
    assert!(!text.contains("\u{1b}]0") && !text.contains("\u{1b}[2J") && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn long_names_do_not_widen_the_table() {
    let mut report = fitting();
    report.source.name = "n".repeat(253);
    report.source.container = "c".repeat(63);
    let text = plain(&check(&CheckResult::new(vec![report])));
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
}
