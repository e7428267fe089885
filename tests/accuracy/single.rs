//! Weights and cache of single models, where arithmetic on the public config is the truth: what tools answer.

use std::collections::BTreeMap;

use serde_json::Value;
use vramguard::estimate::dtype::DType;
use vramguard::estimate::workload::{
    Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, TermName, estimate};
use vramguard::facts::catalog::Catalog;

use crate::serving::rows;
use crate::statistics::Errors;

const ANSWERS: &str = include_str!("../data/peer-models.jsonl");
const TRUTH: &str = "arithmetic";

fn key(row: &Value) -> String {
    let fields = ["model", "tp", "batch", "context", "kv_cache_dtype"];
    fields.map(|field| row[field].to_string()).join(" ")
}

/// Weights and cache in GiB per GPU as vLLM would hold them.
fn ours(row: &Value) -> (f64, f64) {
    let fp8 = row["kv_cache_dtype"] == "fp8";
    let workload = Workload {
        task: Task::Inference,
        model: ModelFacts::Known(Catalog::embedded().find(row["model"].as_str().unwrap()).unwrap()),
        parallelism: Parallelism { tensor: row["tp"].as_u64().unwrap(), ..Parallelism::default() },
        dtype: None,
        quantization: None,
        kv_cache_dtype: fp8.then_some(DType::Fp8),
        context_length: row["context"].as_u64(),
        batch_size: None,
        engine: Engine { name: EngineName::Vllm, version: Some(Version([0, 19, 0])), ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    };
    let device = Device { product: String::new(), visible: Bytes::from_gib(1000.0), compute_capability: None };
    let estimate = estimate(&workload, &device).unwrap();
    let of = |name: TermName| estimate.terms.iter().filter(move |term| term.name == name).map(|term| term.bytes.likely);
    let (weights, cache): (Bytes, Bytes) = (of(TermName::Weights).sum(), of(TermName::KvCache).sum());
    (weights.gib(), cache.gib() * row["batch"].as_f64().unwrap())
}

/// Errors by tool: weights and cache.
fn errors() -> BTreeMap<String, [Errors; 2]> {
    let all: Vec<Value> = rows(ANSWERS).collect();
    let truths: BTreeMap<String, &Value> =
        all.iter().filter(|row| row["tool"] == TRUTH).map(|row| (key(row), row)).collect();
    let mut tools: BTreeMap<String, [Errors; 2]> = BTreeMap::new();
    let mut add = |tool: &str, truth: &Value, weights: Option<f64>, cache: Option<f64>| {
        let label = format!("{} tp{}", truth["model"].as_str().unwrap(), truth["tp"]);
        let entry = tools.entry(tool.to_owned()).or_default();
        for (errors, value, field) in
            entry.iter_mut().zip([weights, cache]).zip(["weights_gib", "kv_gib"]).map(|((e, v), f)| (e, v, f))
        {
            if let (Some(value), Some(truth)) = (value, truth[field].as_f64()) {
                errors.add(&label, value, truth);
            }
        }
    };
    for row in &all {
        let truth = truths[&key(row)];
        if row["tool"] == TRUTH {
            let (weights, cache) = ours(row);
            add("vramguard", truth, Some(weights), Some(cache));
        } else {
            let tool = format!("{} {}", row["tool"].as_str().unwrap(), row["version"].as_str().unwrap());
            add(&tool, truth, row["weights_gib"].as_f64(), row["kv_gib"].as_f64());
        }
    }
    tools
}

/// Every tool on the models that it answers.
pub fn table() -> Vec<String> {
    let mut lines = Vec::new();
    for (tool, [weights, cache]) in errors() {
        for (what, errors) in [("weights", weights), ("cache", cache)] {
            if errors.n() > 0 {
                lines.push(format!("{tool:<30}{what:<9}{errors}"));
            }
        }
    }
    lines
}

#[test]
fn weights_and_cache_follow_the_config() {
    println!("{}", table().join("\n"));
    let [weights, cache] = &errors()["vramguard"];
    assert!(weights.worst().1 <= 0.5, "{weights}");
    assert!(cache.worst().1 <= 0.02, "{cache}");
}
