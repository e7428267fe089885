//! vLLM of many versions and cards: start-up logs quoted in public, through pod specs as users write them.

use std::sync::Arc;

use serde_json::{Value, json};
use vramguard::decide::inventory::{Candidate, CapacitySource, GpuClass, Sharing};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{Report, Source};
use vramguard::decide::{Candidates, Policy, Verdict};
use vramguard::estimate::{Bytes, Device};
use vramguard::evaluate::{Environment, evaluate_declaration};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;

use crate::statistics::Errors;

const ROWS: &str = include_str!("../data/measured-serving.jsonl");

/// Flags of vLLM by the names that rows use.
const FLAGS: &[(&str, &str)] = &[
    ("max_model_len", "--max-model-len"),
    ("gpu_memory_utilization", "--gpu-memory-utilization"),
    ("quantization", "--quantization"),
    ("dtype", "--dtype"),
    ("block_size", "--block-size"),
    ("max_num_seqs", "--max-num-seqs"),
    ("max_num_batched_tokens", "--max-num-batched-tokens"),
    ("data_parallel_size", "--data-parallel-size"),
];

/// `0.6.5-dev (2024-12)` is `0.6.5`, `0.7.x` is `0.7`; dates alone say nothing.
fn version(text: &str) -> Option<String> {
    let numbers: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let numbers = numbers.trim_end_matches('.');
    numbers.starts_with("0.").then(|| numbers.to_owned())
}

/// The model's name without remarks in brackets.
fn model(row: &Value) -> &str {
    row["model"].as_str().unwrap().split(" (").next().unwrap().trim()
}

fn pod(row: &Value) -> Value {
    let mut args = vec![format!("--model={}", model(row))];
    for (name, flag) in FLAGS {
        match &row["other_flags"][name] {
            Value::Null => {}
            Value::String(text) => args.push(format!("{flag}={text}")),
            other => args.push(format!("{flag}={other}")),
        }
    }
    for (name, flag) in [("enforce_eager", "--enforce-eager"), ("enable_expert_parallel", "--enable-expert-parallel")] {
        if row["other_flags"][name] == true {
            args.push(flag.to_owned());
        }
    }
    if let Some(kv) = row["kv_dtype"].as_str().filter(|name| name.starts_with("fp8")) {
        args.push(format!("--kv-cache-dtype={kv}"));
    }
    let degree = |name: &str| row[name].as_u64().unwrap_or(1);
    args.push(format!("--tensor-parallel-size={}", degree("tp")));
    args.push(format!("--pipeline-parallel-size={}", degree("pp")));
    let image = version(row["framework_version"].as_str().unwrap()).map_or("latest".to_owned(), |v| format!("v{v}"));
    json!({
        "metadata": {"name": "server"},
        "spec": {"containers": [{
            "name": "vllm", "image": format!("vllm/vllm-openai:{image}"), "args": args,
            "resources": {"limits": {"nvidia.com/gpu": (degree("tp") * degree("pp")).to_string()}},
        }]},
    })
}

/// The row's card, by what the runtime saw of it; nameplates are no readings.
fn card(row: &Value) -> Option<Candidates> {
    let gib = row["gpu_mem_gib"].as_f64().filter(|gib| gib.fract() != 0.0)?;
    let device = Device {
        product: row["gpu"].as_str().unwrap_or_default().to_owned(),
        visible: Bytes::from_gib(gib),
        compute_capability: None,
    };
    let class = GpuClass {
        device,
        sharing: Sharing::Exclusive,
        resource: "nvidia.com/gpu".to_owned(),
        source: CapacitySource::Given,
    };
    Some(Candidates {
        eligible: vec![Candidate { class: Arc::new(class), gpus_per_node: 8, nodes: 1 }],
        ..Candidates::default()
    })
}

fn report(row: &Value, candidates: &Candidates) -> Report {
    let template = serde_json::from_value(pod(row)).unwrap();
    let declaration = vramguard::spec::declare(&template).remove(0).unwrap();
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory: None,
        policy: &Policy::default(),
    };
    evaluate_declaration(&declaration, &Source::default(), &PolicyInput::default(), Some(candidates), &environment)
}

/// Everything that the rows say.
#[derive(Default)]
struct Measured {
    weights: Errors,
    non_kv: Errors,
    pool: Errors,
    denied: Vec<String>,
    fitting: Vec<String>,
    unknown: Vec<String>,
    ran: usize,
    ooms: usize,
}

fn measure() -> Measured {
    let mut all = Measured::default();
    let rows = ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for row in rows.filter(|row| row["framework"] == "vllm" && row["model_known"] == "named") {
        let Some(candidates) = card(&row) else { continue };
        let id = row["id"].as_str().unwrap();
        let report = report(&row, &candidates);
        let Some(serving) = report.estimate.as_ref().and_then(|estimate| estimate.serving.as_ref()) else {
            all.unknown.push(format!("{id}: {}", report.message));
            continue;
        };
        let measured = &row["measured"];
        if let Some(gib) = measured["weights_gib_per_gpu"].as_f64() {
            all.weights.add(id, serving.weights_bytes.gib(), gib);
        }
        if let (Some(kv), Some(budget)) = (measured["kv_cache_gib"].as_f64(), measured["budget_gib"].as_f64()) {
            all.non_kv.add(id, serving.non_kv_bytes.gib(), budget - kv);
        }
        if let Some(gib) = measured["kv_cache_gib"].as_f64().filter(|gib| *gib > 0.0) {
            all.pool.add(id, serving.kv_pool_bytes.gib(), gib);
        }
        match row["outcome"].as_str() {
            Some("fits") => {
                all.ran += 1;
                if !matches!(report.verdict, Verdict::Fits | Verdict::Tight) {
                    all.denied.push(format!("{id}: {} {}", report.verdict, report.message));
                }
            }
            Some("oom") => {
                all.ooms += 1;
                if report.verdict == Verdict::Fits {
                    all.fitting.push(format!("{id}: {}", report.message));
                }
            }
            _ => {}
        }
    }
    all
}

/// The figures.
pub fn table() -> Vec<String> {
    let Measured { weights, non_kv, pool, denied, fitting, ran, ooms, .. } = measure();
    vec![
        "vLLM 0.5 to 0.29, named models on known cards".to_owned(),
        format!("  weights    {weights}"),
        format!("  non-KV     {non_kv}"),
        format!("  KV pool    {pool}"),
        format!(
            "  {ran} ran, {} of them denied; {ooms} ran out of memory, {} of them called a fit",
            denied.len(),
            fitting.len()
        ),
    ]
}

#[test]
fn logs_of_many_versions() {
    println!("{}", table().join("\n"));
    let Measured { denied, fitting, unknown, .. } = measure();
    println!("called a fit, ran out of memory: {fitting:#?}");
    println!("not estimated: {unknown:#?}");
    assert!(denied.is_empty(), "ran, but would be denied: {denied:#?}");
}
