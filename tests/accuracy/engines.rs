//! SGLang, TGI, TensorRT-LLM and llama.cpp: estimates against what their logs say.
//!
//! Few logs name model, device and settings together, so every quantity is compared where the log has it and the rest
//! of the row suffices to estimate it.

use serde_json::Value;
use vramguard::estimate::dtype::DType;
use vramguard::estimate::model::Quantization;
use vramguard::estimate::workload::{
    Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, Estimate, Interval, TermName, estimate};
use vramguard::facts::catalog::Catalog;

use crate::family;
use crate::sample::{Quantity, Sample};

const ROWS: &str = include_str!("../data/measured-serving.jsonl");

/// What a row's free text describes: catalogue model, product, memory that the runtime sees (GiB; `None` where the row
/// names no device or one that is not understood), quantization of the weights.
struct Described {
    id: &'static str,
    model: &'static str,
    product: &'static str,
    visible: Option<f64>,
    quantization: Option<&'static str>,
    /// Draft tokens, where the row's note tells of them.
    drafts: u64,
    /// The log states neither context nor batch: only the verdict is compared.
    settings_unknown: bool,
}

const fn row(id: &'static str, model: &'static str, product: &'static str, visible: Option<f64>) -> Described {
    Described { id, model, product, visible, quantization: None, drafts: 0, settings_unknown: false }
}

const DESCRIBED: &[Described] = &[
    row("sc-007", "huggyllama/llama-7b", "NVIDIA-A40", Some(44.35)),
    row("sc-019", "deepseek-ai/DeepSeek-V4-Pro", "NVIDIA-H200", Some(139.8)),
    row("sc-048", "zai-org/GLM-4.7-Flash", "Ascend-910B", None),
    row("sc-049", "google/gemma-3-4b-it", "NVIDIA-H200", Some(139.8)),
    // 22.76 GiB are free before loading: a card of 23.5.
    row("sc-069", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "NVIDIA-GeForce-RTX-4090", Some(23.53)),
    row("sc-076", "Qwen/Qwen2.5-0.5B", "NVIDIA-A100-SXM4-80GB", Some(79.15)),
    row("sc-079", "deepseek-ai/DeepSeek-R1", "", None),
    // Three snapshots of the recurrent state for the draft layer.
    Described { quantization: Some("q4_k_m"), drafts: 3, ..row("sc-077", "Qwen/Qwen3.5-27B", "", None) },
    Described {
        quantization: Some("q4_k_m"),
        settings_unknown: true,
        ..row("sc-078", "Qwen/Qwen3.5-27B", "NVIDIA-GeForce-RTX-3090", Some(23.58))
    },
    row("sc-082", "huggyllama/llama-13b", "", None),
    row("sc-099", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "NVIDIA-H100-80GB-HBM3", Some(79.1)),
    row("sc-104", "meta-llama/Llama-2-7b-hf", "NVIDIA-A10", Some(22.07)),
    row("sc-106", "mistralai/Mixtral-8x7B-v0.1", "NVIDIA-A100-SXM4-80GB", Some(79.15)),
    row("sc-107", "meta-llama/Llama-3.1-70B-Instruct", "NVIDIA-A100-SXM4-80GB", Some(79.15)),
    row("sc-112", "Qwen/Qwen2.5-1.5B", "", None),
    row("sc-113", "state-spaces/mamba-1.4b-hf", "", None),
    row("sc-158", "meta-llama/Llama-3.1-8B-Instruct", "", None),
    row("sc-159", "meta-llama/Llama-3.1-8B-Instruct", "NVIDIA-A100-SXM4-80GB", Some(79.15)),
    row("sc-161", "mistralai/Mistral-7B-v0.3", "NVIDIA-A10G", Some(22.07)),
    row("sc-162", "Qwen/Qwen2.5-1.5B", "", None),
    row("sc-163", "Qwen/Qwen2.5-0.5B", "", None),
    // The fraction of free memory is not stated.
    row("sc-164", "meta-llama/Llama-3.1-8B-Instruct", "", None),
    Described {
        quantization: Some("fp8"),
        ..row("sc-165", "meta-llama/Llama-3.1-8B-Instruct", "NVIDIA-GeForce-RTX-5090", Some(31.36))
    },
    Described { quantization: Some("fp8"), ..row("sc-166", "google/gemma-7b", "NVIDIA-H100-80GB-HBM3", Some(79.19)) },
    row("sc-183", "nvidia/DeepSeek-V3.1-NVFP4", "NVIDIA-GB200", None),
];

/// The engines' names in tables.
pub const ENGINES: [&str; 5] = ["SGLang", "TensorRT-LLM", "TGI", "llama.cpp", "Ollama"];

fn engine_name(framework: &str) -> Option<(EngineName, &'static str)> {
    Some(match framework {
        "sglang" => (EngineName::Sglang, "SGLang"),
        "tgi" => (EngineName::Tgi, "TGI"),
        "tensorrt-llm" => (EngineName::Trtllm, "TensorRT-LLM"),
        "llama.cpp" | "ik_llama.cpp" => (EngineName::Llamacpp, "llama.cpp"),
        "ollama" => (EngineName::Ollama, "Ollama"),
        _ => return None,
    })
}

/// `0.4.4 (2025-03)`: the leading number, if it has a dot and ends where it seems to (`0.1x` is none).
fn version(text: &str) -> Option<Version> {
    let number = text.split([' ', '+', '-']).next()?;
    if number.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return None;
    }
    let parts: Vec<u16> = number.split('.').filter_map(|part| part.parse().ok()).collect();
    (parts.len() >= 2).then(|| Version([parts[0], parts[1], parts.get(2).copied().unwrap_or(0)]))
}

/// What the runtime saw of a row's device, GiB, and the catalogue's name of its model.
pub fn described(id: &str) -> Option<(Option<f64>, &'static str)> {
    DESCRIBED.iter().find(|row| row.id == id).map(|row| (row.visible, row.model))
}

fn workload(row: &Value, name: EngineName, described: &Described) -> Option<Workload> {
    let flags = &row["other_flags"];
    let number = |names: &[&str]| names.iter().find_map(|name| flags[*name].as_u64());
    let kv = match row["kv_dtype"].as_str().unwrap_or("auto") {
        "fp8" => Some(DType::Fp8),
        "q8_0" => Some(DType::Int8),
        _ => None,
    };
    let prompt_and_answer = number(&["max_input_len"]).zip(number(&["max_output_len"])).map(|(a, b)| a + b);
    Some(Workload {
        task: Task::Inference,
        model: ModelFacts::Known(Catalog::embedded().find(described.model).ok()?),
        parallelism: Parallelism { tensor: row["tp"].as_u64().unwrap_or(1), ..Parallelism::default() },
        dtype: None,
        quantization: described.quantization.and_then(Quantization::from_name),
        kv_cache_dtype: kv,
        context_length: number(&["context_len", "context_length", "n_ctx", "max_seq_len", "max_total_tokens"])
            .filter(|_| name != EngineName::Sglang || number(&["context_len"]).is_some())
            .or(prompt_and_answer),
        batch_size: number(&["n_seq_max"]),
        engine: Engine {
            name,
            version: version(row["framework_version"].as_str().unwrap()),
            memory_fraction: ["mem_fraction_static", "kv_cache_free_gpu_mem_fraction"]
                .iter()
                .find_map(|name| flags[*name].as_f64()),
            max_num_seqs: number(&["max_running_requests", "max_batch_size", "batch_size", "max_num_requests"]),
            max_num_batched_tokens: number(&["chunked_prefill_size", "max_batch_prefill_tokens", "max_num_tokens"]),
            max_total_tokens: number(&["max_batch_total_tokens"])
                .or_else(|| number(&["max_total_tokens"]).filter(|_| name == EngineName::Sglang)),
            block_size: number(&["tokens_per_block"]),
            graph_batch: flags["cuda_graph_bs"].as_array().and_then(|sizes| sizes.last()?.as_u64()),
            enforce_eager: flags["disable_cuda_graph"] == true,
            ubatch: number(&["n_ubatch"]),
            gpu_layers: number(&["n_gpu_layers"]),
            speculative_tokens: described.drafts,
            ..Engine::default()
        },
        training: Training::default(),
        method: Method::Auto,
    })
}

fn term(estimate: &Estimate, name: TermName) -> Interval {
    estimate.terms.iter().filter(|term| term.name == name).map(|term| term.bytes).sum()
}

/// What a row measured beside what is estimated of it.
fn compared(
    row: &Value,
    engine: &'static str,
    workload: &Workload,
    estimate: &Estimate,
    on_device: bool,
) -> Vec<Sample> {
    let ModelFacts::Known(model) = &workload.model else { return Vec::new() };
    let measured = |name: &str| row["measured"][name].as_f64().filter(|value| *value > 0.0);
    let serving = estimate.serving.as_ref().unwrap();
    let gib = |bytes: Interval| Some((bytes.low.gib(), bytes.high.gib()));
    let mut samples = Vec::new();
    let mut add = |quantity, estimate, measured, bounds| {
        samples.push(Sample {
            engine,
            family: family::of(model),
            quantized: workload.quantization.is_some() || model.quantization.is_some(),
            id: row["id"].as_str().unwrap().to_owned(),
            quantity,
            estimate,
            measured,
            bounds,
        });
    };
    if let Some(bytes) = measured("kv_bytes_per_token") {
        add(Quantity::TokenBytes, serving.kv_bytes_per_token.as_f64(), bytes, None);
    }
    // Of some rows the checkpoint's format is only a guess.
    let known = !row["weights_dtype"].as_str().is_some_and(|dtype| dtype.contains("inferred"));
    let weights =
        measured("weights_gib_per_gpu").filter(|_| known).or(measured("weights_mib_gpu").map(|mib| mib / 1024.0));
    if let Some(measured) = weights {
        let weights = term(estimate, TermName::Weights);
        add(Quantity::Weights, weights.likely.gib(), measured, gib(weights));
    }
    let flags = &row["other_flags"];
    if let Some(measured) = measured("kv_cache_gib").filter(|_| on_device && !flags["max_batch_total_tokens"].is_u64())
    {
        add(Quantity::Pool, serving.kv_pool_bytes.gib(), measured, pool_bounds(flags, estimate));
        if let Some(tokens) = row["measured"]["kv_tokens"].as_f64() {
            add(Quantity::Tokens, serving.kv_tokens as f64, tokens, None);
        }
    }
    if let Some(mib) = measured("kv_cache_mib") {
        add(Quantity::Pool, term(estimate, TermName::KvCache).likely.gib(), mib / 1024.0, None);
    }
    if let Some(mib) = measured("recurrent_state_mib") {
        let states = term(estimate, TermName::State);
        let bounds = (states.low.gib() * 0.999, states.high.gib() * 1.001);
        add(Quantity::State, states.likely.gib(), mib / 1024.0, Some(bounds));
    }
    if let Some(mib) = measured("compute_buffer_mib").or(measured("compute_buffer_mib_cuda1")) {
        let compute = term(estimate, TermName::Activations);
        add(Quantity::Compute, compute.likely.gib(), mib / 1024.0, gib(compute));
    }
    samples
}

/// What is known of everything else is known of the pool; a pool of given tokens has no bounds.
fn pool_bounds(flags: &Value, estimate: &Estimate) -> Option<(f64, f64)> {
    let cache = [TermName::KvCache, TermName::Fragmentation, TermName::Transient];
    let other: Interval = estimate.terms.iter().filter(|term| !cache.contains(&term.name)).map(|term| term.bytes).sum();
    let share = flags["kv_cache_free_gpu_mem_fraction"].as_f64().unwrap_or(1.0);
    let pool = estimate.serving.as_ref().unwrap().kv_pool_bytes.gib();
    let (below, above) = ((other.high - other.likely).gib() * share, (other.likely - other.low).gib() * share);
    flags["max_total_tokens"].is_null().then_some((pool - below, pool + above))
}

/// Ran: must not be denied. Failed at start-up: must not be called a fit.
fn verdict(estimate: &Estimate) -> &'static str {
    let need = estimate.per_gpu.required;
    if need.low > estimate.usable || !estimate.refusals.is_empty() {
        "denied"
    } else if need.high <= estimate.usable {
        "fits"
    } else {
        "tight"
    }
}

/// Everything that the rows say.
#[derive(Default)]
pub struct Measured {
    pub samples: Vec<Sample>,
    /// Ran, or started at least, but would have been denied.
    pub denied: Vec<String>,
    /// Failed at start-up, but was called a fit.
    pub fitting: Vec<String>,
    pub ran: usize,
    pub ooms: usize,
}

pub fn measure() -> Measured {
    let mut all = Measured::default();
    let rows: Vec<Value> = ROWS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        let Some((name, engine)) = row["framework"].as_str().and_then(engine_name) else { continue };
        let id = row["id"].as_str().unwrap();
        let Some(described) = DESCRIBED.iter().find(|described| described.id == id) else { continue };
        let visible = Bytes::from_gib(described.visible.unwrap_or(139.8));
        let device = Device { product: described.product.to_owned(), visible, compute_capability: Some((9, 0)) };
        let Some(workload) = workload(row, name, described) else {
            println!("{id}: {} is not in the catalogue", described.model);
            continue;
        };
        let estimate = estimate(&workload, &device).unwrap();
        if !described.settings_unknown {
            all.samples.extend(compared(row, engine, &workload, &estimate, described.visible.is_some()));
        }
        if described.visible.is_none() {
            continue;
        }
        let verdict = verdict(&estimate);
        let failed_later = row["failure_stage"] == "runtime";
        let ran = row["outcome"] == "fits" || failed_later;
        let failed = row["outcome"] == "oom" && !failed_later;
        all.ran += usize::from(ran);
        all.ooms += usize::from(failed);
        let line = format!("{id} {engine}: {verdict}");
        if ran && verdict == "denied" {
            all.denied.push(line);
        } else if failed && verdict == "fits" {
            all.fitting.push(line);
        }
    }
    all
}
