//! vLLM 0.19 on H100: weights, everything but the cache, the pool and its tokens against the engine's own logs.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{Report, Source};
use vramguard::decide::{Inventory, Policy, Verdict};
use vramguard::estimate::model::Model;
use vramguard::estimate::{Bytes, TermName};
use vramguard::evaluate::{Environment, evaluate};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;

use crate::family;
use crate::sample::{Quantity, Sample};

const VLLM_H100: &str = include_str!("../data/measured-vllm-0.19-h100.jsonl");

/// The group's name in tables.
pub const ENGINE: &str = "vLLM 0.19, H100";

pub fn rows(text: &str) -> impl Iterator<Item = Value> + '_ {
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

/// The pod of a measured vLLM run, with more arguments.
fn pod(row: &Value, more: &[String]) -> Value {
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
    args.extend_from_slice(more);
    let gpus = row["tp"].as_u64().unwrap() * row["pp"].as_u64().unwrap();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server"},
        "spec": {"containers": [{
            "name": "vllm", "image": format!("vllm/vllm-openai:v{}", row["framework_version"].as_str().unwrap()),
            "args": args, "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}},
        }]},
    })
}

/// The report of a measured vLLM run, with more arguments, on a node as it had.
pub fn evaluated(row: &Value, more: &[String]) -> Report {
    static NODE: OnceLock<Inventory> = OnceLock::new();
    let inventory = NODE.get_or_init(|| node("NVIDIA-H100-80GB-HBM3", 81_559));
    let templates = vramguard::spec::kinds::templates(&pod(row, more)).unwrap();
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory: Some(inventory),
        policy: &Policy::default(),
        config_maps: None,
    };
    evaluate(&templates.first().unwrap().pod, &Source::default(), &PolicyInput::default(), &environment).remove(0)
}

/// One start-up that succeeded, with its estimate.
pub struct Run {
    pub row: Value,
    pub label: String,
    /// Nothing but the context length tells it from an earlier one.
    pub repeated: bool,
    /// The catalogue's model, where it knows it.
    pub model: Option<Arc<Model>>,
    pub report: Report,
}

impl Run {
    pub fn number(&self, field: &str) -> f64 {
        self.row[field].as_f64().unwrap()
    }

    pub fn pipeline(&self) -> bool {
        self.row["pp"] != 1
    }

    pub fn quantized(&self) -> bool {
        let asked = self.row["quantization"].as_str().is_some_and(|name| name != "None");
        asked || self.model.as_ref().is_some_and(|model| model.quantization.is_some())
    }
}

/// All start-ups that succeeded.
pub fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let mut seen = Vec::new();
        let ok = rows(VLLM_H100).filter(|row| row["status"] == "ok");
        ok.map(|row| {
            let fields = ["model", "tp", "pp", "dtype", "quantization", "kv_cache_dtype"];
            let key = fields.map(|field| row[field].to_string()).join(" ");
            let repeated = seen.contains(&key);
            seen.push(key);
            let name = row["model"].as_str().unwrap();
            let dtype = row["dtype"].as_str().unwrap().trim_start_matches("torch.");
            let label = format!(
                "{name} tp{} pp{} L{} {dtype} kv {}",
                row["tp"],
                row["pp"],
                row["max_model_len"],
                row["kv_cache_dtype"].as_str().unwrap()
            );
            Run { label, repeated, model: Catalog::embedded().find(name).ok(), report: evaluated(&row, &[]), row }
        })
        .collect()
    })
}

/// What the estimates say about start-ups of different configurations.
pub fn samples() -> Vec<Sample> {
    runs().iter().filter(|run| !run.repeated).flat_map(compared).collect()
}

fn compared(run: &Run) -> Vec<Sample> {
    let Some((estimate, serving)) = run.report.estimate.as_ref().and_then(|e| Some((e, e.serving.as_ref()?))) else {
        return Vec::new();
    };
    let sample = |quantity, estimate, measured, bounds| Sample {
        engine: ENGINE,
        family: run.model.as_deref().map_or("unknown", family::of),
        quantized: run.quantized(),
        id: run.label.clone(),
        quantity,
        estimate,
        measured,
        bounds,
    };
    let mut samples = vec![sample(Quantity::Tokens, serving.kv_tokens as f64, run.number("kv_cache_tokens"), None)];
    // Of a pipeline the log shows one stage only; the pool is the smallest stage's.
    if run.pipeline() {
        return samples;
    }
    let of = |name: TermName| estimate.terms.iter().filter(move |term| term.name == name).map(|term| term.bytes);
    let weights: vramguard::estimate::Interval = of(TermName::Weights).sum();
    let cache: Bytes = of(TermName::KvCache).map(|bytes| bytes.likely).sum();
    let required = estimate.per_gpu.required;
    let fixed = ((required.low - cache).gib(), (required.high - cache).gib());
    samples.extend([
        sample(
            Quantity::Weights,
            serving.weights_bytes.gib(),
            run.number("weights_memory_gib"),
            Some((weights.low.gib(), weights.high.gib())),
        ),
        sample(Quantity::NonKv, serving.non_kv_bytes.gib(), run.number("total_non_kv_cache_gib"), Some(fixed)),
        sample(Quantity::Pool, serving.kv_pool_bytes.gib(), run.number("kv_cache_memory_gib"), None),
    ]);
    samples
}

/// Start-ups that would have been denied, and those that could not be estimated.
pub fn refused() -> (Vec<String>, Vec<String>) {
    let (mut denied, mut unknown) = (Vec::new(), Vec::new());
    for run in runs() {
        let line = format!("{}: {} {}", run.label, run.report.verdict, run.report.message);
        match run.report.verdict {
            _ if run.report.estimate.is_none() => unknown.push(line),
            Verdict::Fits | Verdict::Tight => {}
            _ => denied.push(line),
        }
    }
    (denied, unknown)
}

/// Uniform models whose logged tokens are not the logged pool, divided by our bytes per token, within the log's two
/// decimals and one block of 16.
pub fn inexact_token_bytes() -> (usize, Vec<String>) {
    let uniform = runs().iter().filter(|run| !run.pipeline() && run.model.as_deref().is_some_and(family::uniform));
    let (mut count, mut wrong) = (0, Vec::new());
    for run in uniform {
        let Some(serving) = run.report.estimate.as_ref().and_then(|estimate| estimate.serving.as_ref()) else {
            continue;
        };
        count += 1;
        let (token, pool) = (serving.kv_bytes_per_token.as_f64(), run.number("kv_cache_memory_gib"));
        let tokens = |gib: f64| Bytes::from_gib(gib).as_f64() / token;
        let logged = run.number("kv_cache_tokens");
        if logged < tokens(pool - 0.0051) - 16.0 || logged > tokens(pool + 0.0051) {
            wrong.push(format!("{}: {logged} tokens of {token} B in {pool} GiB", run.label));
        }
    }
    (count, wrong)
}
