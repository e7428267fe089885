//! vLLM of many versions and cards: start-up logs quoted in public, through pod specs as users write them.

use std::sync::Arc;

use serde_json::{Value, json};
use vramguard::decide::inventory::{Candidate, CapacitySource, GpuClass};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{EstimateView, Report, Source};
use vramguard::decide::{Candidates, Policy, Verdict};
use vramguard::estimate::{Bytes, Device, Interval, ServingDetail, TermName};
use vramguard::evaluate::{Environment, evaluate_declaration};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;

use crate::family;
use crate::sample::{Quantity, Sample};

/// The group's name in tables.
pub const ENGINE: &str = "vLLM, other versions and cards";

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

/// What the runtime saw of the row's card, GiB; nameplates are no readings.
fn visible(row: &Value) -> Option<f64> {
    row["gpu_mem_gib"].as_f64().filter(|gib| gib.fract() != 0.0)
}

fn card(row: &Value, gib: f64) -> Candidates {
    let device = Device {
        product: row["gpu"].as_str().unwrap_or_default().to_owned(),
        visible: Bytes::from_gib(gib),
        compute_capability: None,
    };
    let class = GpuClass::whole(device, "nvidia.com/gpu", CapacitySource::Given);
    Candidates {
        eligible: vec![Candidate { class: Arc::new(class), gpus_per_node: 8, nodes: 1, crowding: None }],
        ..Candidates::default()
    }
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
        config_maps: None,
    };
    evaluate_declaration(&declaration, &Source::default(), &PolicyInput::default(), Some(candidates), &environment)
}

/// Whether the pod tells how the weights are stored: in 16 bit, or as the model's name or a flag says.
fn stored_as_named(row: &Value) -> bool {
    let plain = row["weights_dtype"].as_str().is_none_or(|dtype| ["bf16", "fp16"].contains(&dtype));
    let found = Catalog::embedded().find(model(row));
    plain || row["other_flags"]["quantization"].is_string() || found.is_ok_and(|model| model.quantization.is_some())
}

/// Everything that the rows say.
#[derive(Default)]
pub struct Measured {
    pub samples: Vec<Sample>,
    /// Started, but would have been denied.
    pub denied: Vec<String>,
    /// Ran out of memory at start-up, but was called a fit.
    pub fitting: Vec<String>,
    pub unknown: Vec<String>,
    pub ran: usize,
    pub ooms: usize,
}

/// Any card will do for what no card decides.
const ANY_CARD_GIB: f64 = 139.8;

pub fn measure() -> Measured {
    let mut all = Measured::default();
    let rows = ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for row in rows.filter(|row| row["framework"] == "vllm" && row["model_known"] == "named") {
        let id = row["id"].as_str().unwrap();
        if !stored_as_named(&row) {
            all.unknown.push(format!("{id}: the row does not say how its weights are stored"));
            continue;
        }
        let seen = visible(&row);
        let report = report(&row, &card(&row, seen.unwrap_or(ANY_CARD_GIB)));
        let Some((estimate, serving)) = report.estimate.as_ref().and_then(|e| Some((e, e.serving.as_ref()?))) else {
            all.unknown.push(format!("{id}: {}", report.message));
            continue;
        };
        all.samples.extend(compared(&row, estimate, serving, seen.is_some()));
        match row["outcome"].as_str().filter(|_| seen.is_some()) {
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

fn compared(row: &Value, estimate: &EstimateView, serving: &ServingDetail, on_card: bool) -> Vec<Sample> {
    let found = Catalog::embedded().find(model(row)).ok();
    let stored = found.as_ref().is_some_and(|model| model.quantization.is_some());
    let sample = |quantity, estimate, measured, bounds| Sample {
        engine: ENGINE,
        family: found.as_deref().map_or("unknown", family::of),
        quantized: stored || row["other_flags"]["quantization"].is_string(),
        id: row["id"].as_str().unwrap().to_owned(),
        quantity,
        estimate,
        measured,
        bounds,
    };
    let of = |name: TermName| estimate.terms.iter().filter(move |term| term.name == name).map(|term| term.bytes);
    let weights: Interval = of(TermName::Weights).sum();
    let cache: Bytes = of(TermName::KvCache).map(|bytes| bytes.likely).sum();
    let required = estimate.per_gpu.required;
    let measured = |name: &str| row["measured"][name].as_f64().filter(|value| *value > 0.0);
    let mut samples = Vec::new();
    if let Some(gib) = measured("weights_gib_per_gpu") {
        let bounds = (weights.low.gib(), weights.high.gib());
        samples.push(sample(Quantity::Weights, serving.weights_bytes.gib(), gib, Some(bounds)));
    }
    if let Some(bytes) = measured("kv_bytes_per_token").filter(|_| found.as_deref().is_some_and(family::uniform)) {
        samples.push(sample(Quantity::TokenBytes, serving.kv_bytes_per_token.as_f64(), bytes, None));
    }
    let Some(pool) = measured("kv_cache_gib").filter(|_| on_card) else { return samples };
    samples.push(sample(Quantity::Pool, serving.kv_pool_bytes.gib(), pool, None));
    if let Some(tokens) = measured("kv_tokens") {
        samples.push(sample(Quantity::Tokens, serving.kv_tokens as f64, tokens, None));
    }
    if let Some(budget) = measured("budget_gib") {
        let bounds = ((required.low - cache).gib(), (required.high - cache).gib());
        samples.push(sample(Quantity::NonKv, serving.non_kv_bytes.gib(), budget - pool, Some(bounds)));
    }
    samples
}
