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

/// Names in brackets, such as `selective [mlp+core_attn]`.
fn bracketed(said: &str) -> Vec<String> {
    let inner = said.split(['[', ']']).nth(1).unwrap_or_default();
    inner.split(['+', ',']).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Samples shorter than the longest allowed: said so, or left at torchtune's default of no packing.
fn unpacked(row: &Value) -> bool {
    let notes = text(row, "notes");
    notes.contains("short samples") || (text(row, "framework") == "torchtune" && !notes.contains("packed"))
}

/// The workload of a row that says everything that memory depends on.
fn declared(row: &Value) -> Option<Workload> {
    let model = model(text(row, "model"))?;
    let (local, sequence) = (row["micro_batch_size"].as_u64()?, row["seq_len"].as_u64()?);
    let checkpointing = Some(checkpointing(row)?);
    let (sharding, parallelism) = sharding(row);
    // torchtitan's local batch is a pipeline's whole batch: it is cut into micro-batches of one sample.
    let cut = parallelism.pipeline > 1 && text(row, "framework") == "torchtitan";
    let (batch, micro_batches) = if cut { (1, Some(local)) } else { (local, None) };
    let training = Training {
        optimizer: Some(optimizer(row)),
        precision: Some(precision(row)),
        sharding: Some(sharding),
        checkpointing,
        lora: lora(row),
        loss: loss(row),
        gradient_accumulation: row["grad_accum"].as_u64(),
        micro_batches,
        eager_attention: text(row, "attention").starts_with("eager"),
        trainer: Some(text(row, "framework").to_ascii_lowercase()),
        cpu_offload: row.get("offload").is_some_and(|offload| !offload.is_null()),
        fused_kernels: row["compile"].as_bool().unwrap_or(false),
        virtual_stages: text(row, "notes")
            .split("VPP=")
            .nth(1)
            .and_then(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()),
        recompute_modules: bracketed(text(row, "activation_checkpointing")),
        keep_gathered: text(row, "notes").contains("reshard_after_forward=never"),
        fixed_lengths: unpacked(row).then_some(false),
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

/// What is not a decoder, or is described by a file that the arguments only name.
const FOREIGN: [&str; 5] = ["spec", "hybrid-layer-pattern", "encoder-num-layers", "img-h", "perform-rl-step"];

/// A GPT or BERT of Megatron's arguments; latent attention and layers of several kinds are read as a config.
fn megatron_model(row: &Value, tensor: u64) -> Option<Model> {
    let (hidden, heads) = (argument(row, "hidden-size")?, argument(row, "num-attention-heads")?);
    let has = |name: &str| row["args"].get(format!("--{name}")).is_some();
    // `--spec local` names kernels, not an architecture.
    if FOREIGN.iter().any(|name| has(name) && said(row, name) != "local") {
        return None;
    }
    if ["multi-latent-attention", "moe-layer-freq", "mtp-num-layers"].iter().any(|name| has(name)) {
        return megatron_config(row, tensor);
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

/// Leading dense layers of a `--moe-layer-freq` such as `([0]*3+[1]*11)`; other patterns are not described here.
fn dense_layers(row: &Value) -> Option<u64> {
    let pattern = said(row, "moe-layer-freq");
    if pattern.is_empty() {
        return Some(0);
    }
    pattern.strip_prefix("([0]*")?.split_once('+')?.0.parse().ok()
}

/// The same architecture as a Hugging Face config.
fn megatron_config(row: &Value, tensor: u64) -> Option<Model> {
    let latent = flag(row, "multi-latent-attention");
    let hidden = argument(row, "hidden-size")?;
    if !latent {
        return None;
    }
    let config = serde_json::json!({
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "hidden_size": hidden,
        "num_hidden_layers": argument(row, "num-layers")?,
        "num_attention_heads": argument(row, "num-attention-heads")?,
        "num_key_value_heads": argument(row, "num-attention-heads")?,
        "intermediate_size": argument(row, "ffn-hidden-size").unwrap_or(4 * hidden),
        "moe_intermediate_size": argument(row, "moe-ffn-hidden-size").unwrap_or(4 * hidden),
        "vocab_size": vocabulary(row, tensor)?,
        "tie_word_embeddings": !flag(row, "untie-embeddings-and-output-weights"),
        "q_lora_rank": argument(row, "q-lora-rank"),
        "kv_lora_rank": argument(row, "kv-lora-rank").unwrap_or(512),
        "qk_nope_head_dim": argument(row, "qk-head-dim").unwrap_or(128),
        "qk_rope_head_dim": argument(row, "qk-pos-emb-head-dim").unwrap_or(64),
        "v_head_dim": argument(row, "v-head-dim").unwrap_or(128),
        "n_routed_experts": argument(row, "num-experts").unwrap_or(1),
        "num_experts_per_tok": argument(row, "moe-router-topk").unwrap_or(1),
        "n_shared_experts": argument(row, "moe-shared-expert-intermediate-size")
            .zip(argument(row, "moe-ffn-hidden-size"))
            .map_or(0, |(shared, routed)| shared / routed),
        "first_k_dense_replace": if argument(row, "num-experts").is_some() { dense_layers(row)? } else { argument(row, "num-layers")? },
        "num_nextn_predict_layers": argument(row, "mtp-num-layers").unwrap_or(0),
        "torch_dtype": "bfloat16",
        "max_position_embeddings": argument(row, "max-position-embeddings")?,
    });
    vramguard::estimate::model::hf_config::read("measured", &config).ok()
}

/// Ranks of the run. Rows that do not say ran on one node of eight GPUs, if that many hold the model's ranks.
fn world(row: &Value, ranks: u64) -> Option<u64> {
    let one_node = 8;
    let single = ranks <= one_node && !text(row, "source").contains("_release");
    row["world_size"].as_u64().or_else(|| single.then_some(one_node))
}

/// Older containers have no deterministic fused attention: deterministic runs keep the scores there.
fn without_deterministic_kernel(row: &Value) -> bool {
    let old =
        text(row, "env").contains("dracooci") || (text(row, "env") == "lts_dgx_a100" && row["world_size"].is_null());
    old && flag(row, "deterministic-mode") && said(row, "attention-backend").is_empty()
}

/// Layers of each stage where the first and the last have their own number.
fn uneven_stages(row: &Value, layers: u64, stages: u64) -> Vec<u64> {
    let ends =
        argument(row, "decoder-first-pipeline-num-layers").zip(argument(row, "decoder-last-pipeline-num-layers"));
    let Some((first, last)) = ends.filter(|_| stages > 2) else { return Vec::new() };
    let mut counts = vec![(layers - first - last) / (stages - 2); stages as usize];
    counts[0] = first;
    counts[stages as usize - 1] = last;
    counts
}

fn megatron_sharding(row: &Value) -> Sharding {
    if flag(row, "use-megatron-fsdp") || flag(row, "use-torch-fsdp2") {
        Sharding::Fsdp
    } else if flag(row, "use-distributed-optimizer") {
        Sharding::Megatron
    } else {
        Sharding::Ddp
    }
}

fn megatron_precision(row: &Value) -> Precision {
    if !said(row, "fp8-format").is_empty() {
        Precision::Fp8
    } else if flag(row, "bf16") {
        Precision::MixedBf16
    } else if flag(row, "fp16") {
        Precision::MixedFp16
    } else {
        Precision::Fp32
    }
}

fn megatron(row: &Value) -> Option<Row> {
    let number = |name| argument(row, name).unwrap_or(1).max(1);
    let tensor = number("tensor-model-parallel-size");
    let (pipeline, context) = (number("pipeline-model-parallel-size"), number("context-parallel-size"));
    let expert = number("expert-model-parallel-size");
    let model = megatron_model(row, tensor)?;
    let distributed = flag(row, "use-distributed-optimizer");
    let batch = number("micro-batch-size");
    let ranks = tensor * pipeline * context * if distributed { expert } else { 1 };
    let data = if distributed { world(row, ranks)? } else { row["world_size"].as_u64().unwrap_or(8) }
        / (tensor * pipeline * context);
    if data == 0 {
        return None;
    }
    let per_rank = model.layer_count() / pipeline;
    let chunk = argument(row, "num-layers-per-virtual-pipeline-stage");
    let unfused =
        matches!(said(row, "attention-backend"), "unfused" | "local") || said(row, "transformer-impl") == "local";
    let training = Training {
        optimizer: Some(if said(row, "optimizer").contains("muon") { Optimizer::Muon } else { Optimizer::AdamW }),
        precision: Some(megatron_precision(row)),
        sharding: Some(megatron_sharding(row)),
        trainer: Some("megatron-lm".to_owned()),
        checkpointing: Some(match said(row, "recompute-granularity") {
            "full" => Checkpointing::Full,
            "selective" => Checkpointing::Selective,
            _ => Checkpointing::None,
        }),
        loss: Some(Loss::Default),
        micro_batches: argument(row, "global-batch-size").map(|global| (global / (batch * data)).max(1)),
        sequence_parallel: Some(flag(row, "sequence-parallel")),
        virtual_stages: chunk
            .map(|layers| (per_rank / layers).max(1))
            .or_else(|| argument(row, "num-virtual-stages-per-pipeline-rank")),
        expert_tensor: argument(row, "expert-tensor-parallel-size"),
        shard_replicas: argument(row, "num-distributed-optimizer-instances"),
        stage_layers: uneven_stages(row, model.layer_count(), pipeline),
        deferred_head_gradients: if flag(row, "defer-embedding-wgrad-compute") {
            argument(row, "wgrad-deferral-limit").unwrap_or(0)
        } else {
            0
        },
        recompute_modules: said(row, "recompute-modules")
            .trim_matches(['[', ']'])
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        eager_attention: unfused || without_deterministic_kernel(row),
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
    let kind = match (flag(row, "multi-latent-attention"), argument(row, "num-experts")) {
        (true, _) => "latent attention",
        (false, Some(_)) => "experts",
        (false, None) if text(row, "test").starts_with("bert") => "encoder",
        (false, None) => "dense",
    };
    let kind = if megatron_precision(row) == Precision::MixedBf16 {
        kind.to_owned()
    } else {
        format!("{kind} {}", megatron_precision(row).name())
    };
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
    let rows: Vec<Row> = rows(MEGATRON).filter_map(|row| megatron(&row)).collect();
    let all = support::print("Megatron, peak of the last rank", &rows);
    assert!(all.count > 300 && all.mape < 0.08, "{all:?}");
}
