//! Training estimates against measured runs.

use std::sync::Arc;

use serde_json::Value;
use vramguard::estimate::model::Model;
use vramguard::estimate::workload::{
    Checkpointing, Engine, Lora, Loss, Method, ModelFacts, Optimizer, Parallelism, Precision, Sharding, Task, Training,
};
use vramguard::estimate::{Bytes, Device, Estimate, Interval, TermName, Workload, training};
use vramguard::facts::catalog::Catalog;

use crate::support::{self, Row, models};

const MEASURED: &str = include_str!("../data/measured-training.jsonl");

fn rows(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap())
}

fn device() -> Device {
    Device { product: "any".to_owned(), visible: Bytes::from_gib(80.0), compute_capability: None }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

fn workload(model: Model, batch: u64, sequence: u64, training: Training, parallelism: Parallelism) -> Workload {
    Workload {
        task: Task::Training,
        model: ModelFacts::Known(Arc::new(model)),
        parallelism,
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(sequence),
        batch_size: Some(batch),
        engine: Engine::default(),
        training,
        method: Method::Auto,
    }
}

fn degree(row: &Value, name: &str) -> u64 {
    row["parallelism"][name].as_u64().unwrap_or(1).max(1)
}

fn sharding(row: &Value) -> (Sharding, Parallelism) {
    let (tensor, pipeline, context, expert) =
        (degree(row, "tp"), degree(row, "pp"), degree(row, "cp"), degree(row, "ep"));
    let gpus = degree(row, "num_gpus");
    let others = tensor * pipeline * context;
    let (sharding, data) = if text(row, "framework").to_ascii_lowercase().contains("megatron") {
        (Sharding::Megatron, degree(row, "dp").max(gpus / others).max(1))
    } else if degree(row, "fsdp") > 1 {
        (Sharding::Fsdp, (degree(row, "fsdp") / context).max(1))
    } else {
        match row["parallelism"]["zero"].as_u64() {
            Some(3) => (Sharding::Zero3, gpus / others),
            Some(2) => (Sharding::Zero2, gpus / others),
            Some(1) => (Sharding::Zero1, gpus / others),
            _ if gpus > others => (Sharding::Ddp, gpus / others),
            _ => (Sharding::None, 1),
        }
    };
    (sharding, Parallelism { tensor, pipeline, data, expert, context })
}

fn precision(row: &Value) -> Precision {
    let said = text(row, "precision");
    let pure = ["pure bf16", "bf16-true", "nf4 base + bf16", "full fine-tune"];
    if pure.iter().any(|word| said.contains(word)) {
        Precision::Bf16
    } else if said.starts_with("FP8") {
        Precision::Fp8
    } else {
        Precision::MixedBf16
    }
}

fn loss(row: &Value) -> Option<Loss> {
    let said = text(row, "loss");
    if said.is_empty() {
        None
    } else if said.contains("Liger") || said.contains("cut") {
        Some(Loss::Fused)
    } else if said.starts_with("chunked") && !said.contains("chunk 0") {
        Some(Loss::Chunked)
    } else {
        Some(Loss::Default)
    }
}

fn checkpointing(row: &Value) -> Option<Checkpointing> {
    let said = text(row, "activation_checkpointing");
    [("none", Checkpointing::None), ("selective", Checkpointing::Selective), ("full", Checkpointing::Full)]
        .into_iter()
        .find(|(name, _)| said.starts_with(name))
        .map(|(_, checkpointing)| checkpointing)
}

fn lora(row: &Value) -> Option<Lora> {
    let lora = row.get("lora")?;
    let targets = match &lora["targets"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(name) if name.to_ascii_lowercase().contains("all") => vec!["all-linear".to_owned()],
        Value::String(name) if name != "DEFAULT" => vec![name.clone()],
        _ => Vec::new(),
    };
    let framework = text(row, "framework");
    Some(Lora {
        rank: lora["rank"].as_u64().unwrap_or(8),
        targets,
        quantized_base: text(row, "method") == "qlora",
        double_quantization: text(row, "precision").contains("dq") || text(row, "precision").contains("double"),
        fp32_adapters: framework.contains("HF") || framework.contains("swift") || framework.contains("PEFT"),
        dropout: lora["dropout"].as_f64().unwrap_or(0.0) > 0.0,
        modules_to_save: Vec::new(),
    })
}

fn optimizer(row: &Value) -> Optimizer {
    let said = text(row, "optimizer").to_ascii_lowercase();
    if said.contains("muon") {
        Optimizer::Muon
    } else if said.starts_with("paged") {
        Optimizer::PagedAdamW
    } else if said.contains("8bit") || said.contains("8-bit") {
        Optimizer::AdamW8bit
    } else if said.starts_with("none") {
        Optimizer::Sgd
    } else {
        Optimizer::AdamW
    }
}

/// A model of the catalogue, else of published dimensions.
fn model(name: &str) -> Option<Model> {
    let name = name.split(" (").next().unwrap_or(name);
    let known = Catalog::embedded().find(name).ok().map(|model| Model::clone(&model));
    known.or_else(|| models::by_name(name))
}

/// The workload of a row that says everything that memory depends on.
fn declared(row: &Value) -> Option<Workload> {
    let model = model(text(row, "model"))?;
    let (batch, sequence) = (row["micro_batch_size"].as_u64()?, row["seq_len"].as_u64()?);
    let checkpointing = Some(checkpointing(row)?);
    let (sharding, parallelism) = sharding(row);
    let training = Training {
        optimizer: Some(optimizer(row)),
        precision: Some(precision(row)),
        sharding: Some(sharding),
        checkpointing,
        lora: lora(row),
        loss: loss(row),
        gradient_accumulation: row["grad_accum"].as_u64(),
        trainer: Some(text(row, "framework").to_ascii_lowercase()),
        cpu_offload: row.get("offload").is_some_and(|offload| !offload.is_null()),
        fused_kernels: row["compile"].as_bool().unwrap_or(false),
        ..Training::default()
    };
    Some(workload(model, batch, sequence, training, parallelism))
}

/// What the allocator hands out, as an interval.
fn allocated(estimate: &Estimate) -> Interval {
    let outside = [TermName::Runtime, TermName::Comm, TermName::Fragmentation];
    estimate.terms.iter().filter(|term| !outside.contains(&term.name)).map(|term| term.bytes).sum()
}

fn compare(row: &Value) -> Option<Row> {
    let workload = declared(row)?;
    let estimate = training::estimate(&workload, &device()).unwrap();
    let measured = &row["measured"];
    // torchtune's "peak memory" is its allocator's, not the device's.
    let total = if text(row, "framework") == "torchtune" { allocated(&estimate) } else { estimate.per_gpu.required };
    let counters = [
        ("peak_allocated_gib", allocated(&estimate)),
        ("peak_active_gib", allocated(&estimate)),
        ("peak_reserved_gib", estimate.per_gpu.reserved),
        ("total_gib", total),
    ];
    let (value, interval) =
        counters.into_iter().find_map(|(counter, interval)| Some((measured[counter].as_f64()?, interval)))?;
    Some(Row {
        group: format!("{} {}", text(row, "framework"), text(row, "method")),
        name: text(row, "id").to_owned(),
        measured: value,
        low: interval.low.gib(),
        likely: interval.likely.gib(),
        high: interval.high.gib(),
    })
}

/// The reference formula, parameters divided over the ranks of the replica, on the same row.
fn simple_rule(row: &Value) -> Option<Row> {
    let exact = compare(row)?;
    let mut workload = declared(row)?;
    workload.method = Method::Reference;
    let estimate = vramguard::estimate::estimate(&workload, &device()).ok()?;
    let required = estimate.per_gpu.required.likely.gib();
    Some(Row { low: required, likely: required, high: required, ..exact })
}

#[test]
fn measured_runs_with_declared_settings() {
    let done = || rows(MEASURED).filter(|row| text(row, "outcome") == "ok");
    let exact: Vec<Row> = done().filter_map(|row| compare(&row)).collect();
    let simple: Vec<Row> = done().filter_map(|row| simple_rule(&row)).collect();
    let all = support::print("training runs that declare batch, sequence, GPUs and checkpointing", &exact);
    let rule = support::summarize(&simple);
    println!(
        "  {:<34} n {:>3}  MAPE {:>5.1}%  median {:>5.1}%",
        "the simple rule",
        rule.count,
        100.0 * rule.mape,
        100.0 * rule.median
    );
    assert!(all.count > 50 && all.mape < 0.5 * rule.mape, "{all:?} {rule:?}");
    let titan = support::summarize(exact.iter().filter(|row| row.group.starts_with("torchtitan")));
    assert!(titan.median < 0.10, "{titan:?}");
}

/// Memory that the runtime sees on the GPU that a row names; the largest variant where several are meant.
fn visible(gpu: &str) -> f64 {
    let sizes = [
        ("40GB", 39.4),
        ("H100 96", 95.0),
        ("H100", 79.2),
        ("A100", 79.15),
        ("A10G", 22.0),
        ("H200", 139.8),
        ("184", 178.4),
    ];
    sizes.into_iter().find(|(name, _)| gpu.contains(name)).map_or(80.0, |(_, gib)| gib)
}

#[test]
fn runs_that_ran_out_of_memory_never_fit_surely() {
    let (mut count, mut missed) = (0, Vec::new());
    for row in rows(MEASURED).filter(|row| text(row, "outcome").starts_with("OOM")) {
        let Some(workload) = declared(&row) else { continue };
        let high = training::estimate(&workload, &device()).unwrap().per_gpu.required.high.gib();
        count += 1;
        if high <= visible(text(&row, "gpu")) {
            missed.push(format!("{}: {high:.1} GiB", text(&row, "id")));
        }
    }
    // One run loaded the whole model on every rank before it was sharded: a peak before the first step.
    assert!(count > 10 && missed.len() <= 1, "{missed:?} of {count}");
}

const MEGATRON: &str = include_str!("../data/measured-megatron-ci.jsonl");

/// Vocabulary of GPT-2's tokenizer, which the rows without another one use.
const GPT2_VOCABULARY: u64 = 50257;

fn argument(row: &Value, name: &str) -> Option<u64> {
    row["args"][format!("--{name}")].as_u64()
}

fn flag(row: &Value, name: &str) -> bool {
    row["args"][format!("--{name}")].as_bool().unwrap_or(false)
}

fn said<'a>(row: &'a Value, name: &str) -> &'a str {
    row["args"][format!("--{name}")].as_str().unwrap_or_default()
}

fn vocabulary(row: &Value, tensor: u64) -> Option<u64> {
    let rows = match (argument(row, "vocab-size"), said(row, "tokenizer-type")) {
        (Some(rows), _) => rows,
        (None, "" | "GPT2BPETokenizer") => GPT2_VOCABULARY,
        (None, "GPTSentencePieceTokenizer") => 256_000,
        (None, "Llama2Tokenizer") => 32_000,
        _ => return None,
    };
    Some(rows.next_multiple_of(argument(row, "make-vocab-size-divisible-by").unwrap_or(128) * tensor))
}

/// A GPT of Megatron's arguments; other families are read from their configs instead.
fn megatron_model(row: &Value, tensor: u64) -> Option<Model> {
    let (hidden, heads) = (argument(row, "hidden-size")?, argument(row, "num-attention-heads")?);
    let other = ["multi-latent-attention", "is-hybrid-model", "spec", "moe-layer-freq", "mtp-num-layers"];
    let families = ["bert", "t5", "multimodal", "hybrid", "mamba", "grpo", "retro", "nemotron"];
    let foreign = families.iter().any(|word| text(row, "test").contains(word));
    if foreign || other.iter().any(|name| row["args"].get(format!("--{name}")).is_some()) {
        return None;
    }
    let gated = flag(row, "swiglu");
    let rope = ["rope", "none"].contains(&said(row, "position-embedding-type"));
    let experts = argument(row, "num-experts").map(|count| (count, argument(row, "moe-router-topk").unwrap_or(2)));
    let inner = argument(row, "ffn-hidden-size").unwrap_or(if gated { 8 * hidden / 3 / 64 * 64 } else { 4 * hidden });
    let decoder = models::Decoder {
        layers: argument(row, "num-layers")?,
        hidden,
        heads,
        kv_heads: argument(row, "num-query-groups").filter(|_| flag(row, "group-query-attention")).unwrap_or(heads),
        head_dim: argument(row, "kv-channels").unwrap_or(hidden / heads),
        intermediate: argument(row, "moe-ffn-hidden-size").filter(|_| experts.is_some()).unwrap_or(inner),
        vocabulary: vocabulary(row, tensor)?,
        tied: !flag(row, "untie-embeddings-and-output-weights"),
        qk_norm: flag(row, "qk-layernorm"),
        gated,
        biases: !flag(row, "disable-bias-linear"),
        norms: 2,
        softcap: false,
        positions: if rope { 0 } else { argument(row, "max-position-embeddings")? },
        experts,
        fused_qkv: true,
    };
    Some(decoder.build())
}

fn megatron(row: &Value) -> Option<Row> {
    let number = |name| argument(row, name).unwrap_or(1).max(1);
    let tensor = number("tensor-model-parallel-size");
    let (pipeline, context) = (number("pipeline-model-parallel-size"), number("context-parallel-size"));
    let expert = number("expert-model-parallel-size");
    let model = megatron_model(row, tensor)?;
    let data = row["world_size"].as_u64().unwrap_or(8) / (tensor * pipeline * context);
    let distributed = flag(row, "use-distributed-optimizer");
    let batch = number("micro-batch-size");
    let sharded = distributed && row["world_size"].is_u64();
    if !said(row, "fp8-format").is_empty() || !flag(row, "bf16") || data == 0 || (distributed && !sharded) {
        return None;
    }
    let per_rank = model.layer_count() / pipeline;
    let chunk = argument(row, "num-layers-per-virtual-pipeline-stage");
    let unfused =
        matches!(said(row, "attention-backend"), "unfused" | "local") || said(row, "transformer-impl") == "local";
    let training = Training {
        optimizer: Some(Optimizer::AdamW),
        precision: Some(Precision::MixedBf16),
        sharding: Some(if distributed { Sharding::Megatron } else { Sharding::Ddp }),
        trainer: Some("megatron-lm".to_owned()),
        checkpointing: Some(match said(row, "recompute-granularity") {
            "full" => Checkpointing::Full,
            "selective" => Checkpointing::Selective,
            _ => Checkpointing::None,
        }),
        loss: Some(Loss::Default),
        micro_batches: argument(row, "global-batch-size").map(|global| (global / (batch * data)).max(1)),
        sequence_parallel: Some(flag(row, "sequence-parallel")),
        virtual_stages: chunk.map(|layers| (per_rank / layers).max(1)),
        eager_attention: unfused,
        dropout: row["args"]["--hidden-dropout"].as_f64() != Some(0.0),
        fused_kernels: true,
        ..Training::default()
    };
    let parallelism = Parallelism { tensor, pipeline, data, expert, context };
    let workload = workload(model, batch, argument(row, "seq-length")?, training, parallelism);
    let peaks = training::stage_peaks(&workload).ok()?;
    // The runs log their last rank.
    let allocated = peaks.last()?.allocated;
    let measured = row["max_allocated_bytes"].as_f64()?;
    let kind = if argument(row, "num-experts").is_some() { "experts" } else { "dense" };
    let ends = if pipeline > 1 { "last stage" } else { "no pipeline" };
    Some(Row {
        group: format!("{kind}, {ends}"),
        name: text(row, "test").to_owned(),
        measured: measured / f64::from(1 << 30),
        low: allocated.low.gib(),
        likely: allocated.likely.gib(),
        high: allocated.high.gib(),
    })
}

#[test]
fn megatron_peaks_of_the_last_rank() {
    let mut rows: Vec<Row> = rows(MEGATRON).filter_map(|row| megatron(&row)).collect();
    rows.dedup_by(|a, b| a.name == b.name);
    let all = support::print("Megatron, peak of the last rank", &rows);
    assert!(all.count > 20 && all.mape < 0.08, "{all:?}");
}
