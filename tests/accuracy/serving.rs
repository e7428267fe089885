//! Serving: weights, everything but the cache, the pool and its tokens against the engines' own logs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{Report, Source};
use vramguard::decide::{Inventory, Policy, Verdict};
use vramguard::estimate::Bytes;
use vramguard::estimate::model::{Mlp, TensorKind};
use vramguard::evaluate::{Environment, evaluate};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;

use crate::statistics::Errors;

const VLLM_H100: &str = include_str!("../data/measured-vllm-0.19-h100.jsonl");

fn rows(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap())
}

/// A node with eight of a product, labelled as real ones are.
fn node(product: &str, mib: u64) -> Inventory {
    let node = json!({
        "metadata": {"name": "gpu-1", "labels": {
            "nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": mib.to_string(), "nvidia.com/gpu.count": "8",
        }},
        "status": {"allocatable": {"nvidia.com/gpu": "8"}},
    });
    vramguard::spec::nodes::inventory([serde_json::from_value::<vramguard::spec::nodes::NodeView>(node).unwrap()])
}

/// The pod of a measured vLLM run.
fn pod(row: &Value) -> Value {
    let mut args = vec![
        format!("--model={}", row["model"].as_str().unwrap()),
        format!("--gpu-memory-utilization={}", row["gpu_memory_utilization"]),
        format!("--tensor-parallel-size={}", row["tp"]),
        format!("--pipeline-parallel-size={}", row["pp"]),
        format!("--max-model-len={}", row["max_model_len"]),
        format!("--kv-cache-dtype={}", row["kv_cache_dtype"].as_str().unwrap()),
    ];
    if let Some(dtype) = row["dtype"].as_str() {
        args.push(format!("--dtype={}", dtype.trim_start_matches("torch.")));
    }
    if let Some(quantization) = row["quantization"].as_str().filter(|name| *name != "None") {
        args.push(format!("--quantization={quantization}"));
    }
    let gpus = row["tp"].as_u64().unwrap() * row["pp"].as_u64().unwrap();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server"},
        "spec": {"containers": [{
            "name": "vllm", "image": format!("vllm/vllm-openai:v{}", row["framework_version"].as_str().unwrap()),
            "args": args, "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}},
        }]},
    })
}

fn report(pod: &Value, inventory: &Inventory) -> Report {
    let templates = vramguard::spec::kinds::templates(pod).unwrap();
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory: Some(inventory),
        policy: &Policy::default(),
    };
    evaluate(&templates.first().unwrap().pod, &Source::default(), &PolicyInput::default(), &environment).remove(0)
}

fn gib(value: &Value) -> Option<f64> {
    value.as_f64()
}

#[derive(Default)]
struct Family {
    weights: Errors,
    non_kv: Errors,
    pool: Errors,
    tokens: Errors,
}

/// Dense decoders, mixtures, multimodal models: by what the estimate itself calls them.
fn family(model: &str) -> &'static str {
    let found = Catalog::embedded().find(model);
    let Ok(model) = found else { return "unknown model" };
    if model.outer.iter().any(|tensor| tensor.kind == TensorKind::Tower) {
        return "multimodal";
    }
    let mixture = model.layers.iter().any(|group| matches!(group.mlp, Mlp::Moe { .. }));
    if mixture { "mixture" } else { "dense" }
}

/// Everything that the rows say.
struct Measured {
    families: BTreeMap<&'static str, Family>,
    missing: Vec<String>,
    denied: Vec<String>,
}

fn measure() -> Measured {
    let inventory = node("NVIDIA-H100-80GB-HBM3", 81_559);
    let mut families: BTreeMap<&'static str, Family> = BTreeMap::new();
    let mut missing = Vec::new();
    let mut denied = Vec::new();
    for row in rows(VLLM_H100).filter(|row| row["status"] == "ok") {
        let name = row["model"].as_str().unwrap();
        let report = report(&pod(&row), &inventory);
        let label = format!("{name} tp{} pp{} L{}", row["tp"], row["pp"], row["max_model_len"]);
        let Some((estimate, serving)) = report.estimate.as_ref().and_then(|e| Some((e, e.serving.as_ref()?))) else {
            missing.push(format!("{label}: {} {}", report.verdict, report.message));
            continue;
        };
        if !matches!(report.verdict, Verdict::Fits | Verdict::Tight) {
            denied.push(format!("{label}: {} {}", report.verdict, report.message));
        }
        let entry = families.entry(family(name)).or_default();
        let weights = gib(&row["weights_memory_gib"]).unwrap();
        let non_kv = gib(&row["total_non_kv_cache_gib"]).unwrap();
        // Of a pipeline the log shows one stage only; the pool is the smallest stage's.
        if row["pp"] == 1 {
            entry.weights.add(&label, serving.weights_bytes.gib(), weights);
            entry.non_kv.add(&label, serving.non_kv_bytes.gib(), non_kv);
            let kv: Bytes = estimate
                .terms
                .iter()
                .filter(|t| t.name == vramguard::estimate::TermName::KvCache)
                .map(|t| t.bytes.likely)
                .sum();
            let fixed = |bytes: Bytes| (bytes - kv).gib();
            entry.non_kv.interval(fixed(estimate.per_gpu.required.low), fixed(estimate.per_gpu.required.high), non_kv);
            entry.pool.add(&label, serving.kv_pool_bytes.gib(), gib(&row["kv_cache_memory_gib"]).unwrap());
        }
        entry.tokens.add(&label, serving.kv_tokens as f64, row["kv_cache_tokens"].as_f64().unwrap());
    }
    Measured { families, missing, denied }
}

/// The figures, family by family.
pub fn table() -> Vec<String> {
    let mut lines = Vec::new();
    for (name, family) in &measure().families {
        lines.push(format!("vLLM 0.19 H100, {name}"));
        lines.push(format!("  weights    {}", family.weights));
        lines.push(format!("  non-KV     {}", family.non_kv));
        lines.push(format!("  KV pool    {}", family.pool));
        lines.push(format!("  KV tokens  {}", family.tokens));
    }
    lines
}

#[test]
fn vllm_on_h100() {
    println!("{}", table().join("\n"));
    let Measured { families, missing, denied } = measure();
    println!("not estimated: {missing:#?}");
    assert!(denied.is_empty(), "ran, but would not be admitted: {denied:#?}");
    let dense = &families["dense"];
    assert!(dense.weights.mape() <= 0.5, "weights: {}", dense.weights);
    assert!(dense.non_kv.mape() <= 3.0, "non-KV: {}", dense.non_kv);
    assert!(dense.pool.mape() <= 1.5, "KV pool: {}", dense.pool);
    assert!(dense.tokens.mape() <= 2.0, "KV tokens: {}", dense.tokens);
}
