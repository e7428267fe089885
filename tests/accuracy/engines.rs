//! SGLang, TGI, TensorRT-LLM and llama.cpp: estimates against what their logs say.
//!
//! Few logs name model, device and settings together, so every quantity is compared where the log has it and the rest
//! of the row suffices to estimate it.

use std::collections::BTreeMap;

use serde_json::Value;
use vramguard::estimate::dtype::DType;
use vramguard::estimate::model::Quantization;
use vramguard::estimate::workload::{
    Engine, EngineName, Method, ModelFacts, Parallelism, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, Estimate, Interval, TermName, estimate};
use vramguard::facts::catalog::Catalog;

use crate::statistics::Errors;

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

fn engine_name(framework: &str) -> Option<EngineName> {
    Some(match framework {
        "sglang" => EngineName::Sglang,
        "tgi" => EngineName::Tgi,
        "tensorrt-llm" => EngineName::Trtllm,
        "llama.cpp" | "ik_llama.cpp" => EngineName::Llamacpp,
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

fn workload(row: &Value, described: &Described) -> Option<Workload> {
    let flags = &row["other_flags"];
    let number = |names: &[&str]| names.iter().find_map(|name| flags[*name].as_u64());
    let name = engine_name(row["framework"].as_str().unwrap()).unwrap();
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

#[derive(Default)]
struct Quantities {
    token: Errors,
    weights: Errors,
    pool: Errors,
    state: Errors,
    compute: Errors,
}

impl Quantities {
    fn add(&mut self, row: &Value, estimate: &Estimate, on_device: bool) {
        let id = row["id"].as_str().unwrap();
        let measured = &row["measured"];
        let serving = estimate.serving.as_ref().unwrap();
        let mib = |bytes: Bytes| bytes.gib() * 1024.0;
        if let Some(bytes) = measured["kv_bytes_per_token"].as_f64().filter(|bytes| *bytes > 0.0) {
            self.token.add(id, serving.kv_bytes_per_token.as_f64(), bytes);
        }
        // Of some rows the checkpoint's format is only a guess.
        let known = !row["weights_dtype"].as_str().is_some_and(|dtype| dtype.contains("inferred"));
        if let Some(gib) = measured["weights_gib_per_gpu"].as_f64().filter(|_| known) {
            let weights = term(estimate, TermName::Weights);
            self.weights.add(id, weights.likely.gib(), gib);
            self.weights.interval(weights.low.gib(), weights.high.gib(), gib);
        }
        let capped = row["other_flags"]["max_batch_total_tokens"].is_u64();
        if let Some(gib) = measured["kv_cache_gib"].as_f64().filter(|_| on_device && !capped) {
            self.pool.add(id, serving.kv_pool_bytes.gib(), gib);
            // What is known of everything else is known of the pool.
            let cache = [TermName::KvCache, TermName::Fragmentation, TermName::Transient];
            let terms = estimate.terms.iter().filter(|term| !cache.contains(&term.name));
            let other: Interval = terms.map(|term| term.bytes).sum();
            if row["other_flags"]["max_total_tokens"].is_null() {
                let share = row["other_flags"]["kv_cache_free_gpu_mem_fraction"].as_f64().unwrap_or(1.0);
                let pool = serving.kv_pool_bytes.gib();
                let low = pool - (other.high - other.likely).gib() * share;
                let high = pool + (other.likely - other.low).gib() * share;
                self.pool.interval(low, high, gib);
            }
        }
        if let Some(weights) = measured["weights_mib_gpu"].as_f64() {
            let bytes = term(estimate, TermName::Weights);
            self.weights.add(id, mib(bytes.likely), weights);
            self.weights.interval(bytes.low.gib(), bytes.high.gib(), weights / 1024.0);
        }
        if let Some(kv) = measured["kv_cache_mib"].as_f64().filter(|mib| *mib > 0.0) {
            self.pool.add(id, mib(term(estimate, TermName::KvCache).likely), kv);
        }
        if let Some(state) = measured["recurrent_state_mib"].as_f64() {
            let states = term(estimate, TermName::State);
            self.state.add(id, mib(states.likely), state);
            self.state.interval(states.low.gib() * 0.999, states.high.gib() * 1.001, state / 1024.0);
        }
        let compute = measured["compute_buffer_mib"].as_f64().or_else(|| measured["compute_buffer_mib_cuda1"].as_f64());
        if let Some(measured) = compute {
            let compute = term(estimate, TermName::Activations);
            self.compute.add(id, mib(compute.likely), measured);
            self.compute.interval(compute.low.gib(), compute.high.gib(), measured / 1024.0);
        }
    }
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
struct Measured {
    engines: BTreeMap<String, Quantities>,
    denied: Vec<String>,
    missed: Vec<String>,
    outcomes: Vec<String>,
}

fn measure() -> Measured {
    let mut engines: BTreeMap<String, Quantities> = BTreeMap::new();
    let (mut denied, mut missed, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    let rows: Vec<Value> = ROWS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in rows.iter().filter(|row| row["framework"].as_str().is_some_and(|f| engine_name(f).is_some())) {
        let id = row["id"].as_str().unwrap();
        let Some(described) = DESCRIBED.iter().find(|described| described.id == id) else { continue };
        let visible = Bytes::from_gib(described.visible.unwrap_or(139.8));
        let device = Device { product: described.product.to_owned(), visible, compute_capability: Some((9, 0)) };
        let Some(workload) = workload(row, described) else {
            println!("{id}: {} is not in the catalogue", described.model);
            continue;
        };
        let estimate = estimate(&workload, &device).unwrap();
        let engine = row["framework"].as_str().unwrap().trim_start_matches("ik_");
        if !described.settings_unknown {
            engines.entry(engine.to_owned()).or_default().add(row, &estimate, described.visible.is_some());
        }
        if described.visible.is_none() {
            continue;
        }
        let verdict = verdict(&estimate);
        outcomes.push(format!("{id} {engine}: {} called {verdict}", row["outcome"].as_str().unwrap_or("none")));
        let failed_later = row["failure_stage"] == "runtime";
        match (row["outcome"].as_str(), verdict) {
            (Some("fits"), "denied") => denied.push(id.to_owned()),
            (Some("oom"), "denied") if failed_later => denied.push(id.to_owned()),
            (Some("oom"), "fits") if !failed_later => missed.push(id.to_owned()),
            _ => {}
        }
    }
    Measured { engines, denied, missed, outcomes }
}

/// The figures, engine by engine.
pub fn table() -> Vec<String> {
    let Measured { engines, denied, missed, outcomes } = measure();
    let mut lines = Vec::new();
    for (name, quantities) in &engines {
        lines.push(name.clone());
        for (what, errors) in [
            ("KV bytes per token", &quantities.token),
            ("weights", &quantities.weights),
            ("KV pool", &quantities.pool),
            ("recurrent state", &quantities.state),
            ("compute buffer", &quantities.compute),
        ] {
            if errors.n() > 0 {
                lines.push(format!("  {what:18} {errors}"));
            }
        }
    }
    lines.push(format!(
        "{} runs on known cards: {} that ran would be denied; failed at start-up but called a fit: {}",
        outcomes.len(),
        denied.len(),
        if missed.is_empty() { "none".to_owned() } else { missed.join(", ") }
    ));
    lines
}

#[test]
fn other_engines() {
    println!("{}", table().join("\n"));
    let Measured { engines, denied, outcomes, .. } = measure();
    println!("{outcomes:#?}");
    assert!(denied.is_empty(), "ran, but would not be admitted: {denied:?}");
    for (name, quantities) in &engines {
        assert!(quantities.token.n() == 0 || quantities.token.worst().1 < 1e-6, "{name}: {}", quantities.token);
    }
}
