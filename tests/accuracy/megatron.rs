//! Training estimates against the peaks of Megatron-LM's own functional tests.

use serde_json::Value;
use vramguard::estimate::model::Model;
use vramguard::estimate::training;
use vramguard::estimate::workload::{Checkpointing, Loss, Optimizer, Parallelism, Precision, Sharding, Training};

use crate::support::{self, Row, models};
use crate::training::{never_denied, rows, text, workload};

pub(crate) const MEGATRON: &str = include_str!("../data/measured-megatron-ci.jsonl");

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
    if text(row, "test").starts_with("t5/") {
        return encoder_decoder(row, tensor);
    }
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

/// Vocabulary of BERT's cased tokenizer.
const BERT_VOCABULARY: u64 = 28_996;

/// Megatron's T5 as a Hugging Face config; its biases and learned positions are left out.
fn encoder_decoder(row: &Value, tensor: u64) -> Option<Model> {
    let vocabulary = BERT_VOCABULARY + argument(row, "vocab-extra-ids").unwrap_or(0);
    let config = serde_json::json!({
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "d_model": argument(row, "hidden-size")?,
        "num_layers": argument(row, "encoder-num-layers")?,
        "num_decoder_layers": argument(row, "decoder-num-layers")?,
        "num_heads": argument(row, "num-attention-heads")?,
        "d_kv": argument(row, "kv-channels")?,
        "d_ff": argument(row, "ffn-hidden-size")?,
        "feed_forward_proj": "relu",
        "tie_word_embeddings": true,
        "vocab_size": vocabulary.next_multiple_of(128 * tensor),
    });
    vramguard::estimate::model::hf_config::read("measured", &config).ok()
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

fn settings(row: &Value, model: &Model, parallelism: Parallelism, batch: u64) -> Training {
    let per_rank = model.layer_count() / parallelism.pipeline;
    let chunk = argument(row, "num-layers-per-virtual-pipeline-stage");
    let unfused =
        matches!(said(row, "attention-backend"), "unfused" | "local") || said(row, "transformer-impl") == "local";
    Training {
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
        micro_batches: argument(row, "global-batch-size").map(|global| (global / (batch * parallelism.data)).max(1)),
        sequence_parallel: Some(flag(row, "sequence-parallel")),
        virtual_stages: chunk
            .map(|layers| (per_rank / layers).max(1))
            .or_else(|| argument(row, "num-virtual-stages-per-pipeline-rank")),
        expert_tensor: argument(row, "expert-tensor-parallel-size"),
        shard_replicas: argument(row, "num-distributed-optimizer-instances"),
        stage_layers: uneven_stages(row, model.layer_count(), parallelism.pipeline),
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
        fused_kernels: Some(true),
        target_length: argument(row, "decoder-seq-length"),
        mtp_layers: argument(row, "mtp-num-layers"),
        ..Training::default()
    }
}

fn sequence(row: &Value) -> Option<u64> {
    argument(row, "seq-length").or_else(|| argument(row, "encoder-seq-length"))
}

/// What a row's model is made of.
pub(crate) fn kind(row: &Value) -> &'static str {
    match (flag(row, "multi-latent-attention"), argument(row, "num-experts")) {
        (true, _) => "latent attention",
        (false, Some(_)) => "experts",
        (false, None) if text(row, "test").starts_with("bert") => "encoder",
        (false, None) if text(row, "test").starts_with("t5") => "encoder-decoder",
        (false, None) if text(row, "test").starts_with("hybrid") => "hybrid",
        (false, None) => "dense",
    }
}

/// Ranks of a run, as said or assumed.
pub(crate) fn megatron_world(row: &Value) -> Option<u64> {
    let number = |name| argument(row, name).unwrap_or(1).max(1);
    let ranks =
        number("tensor-model-parallel-size") * number("pipeline-model-parallel-size") * number("context-parallel-size");
    if flag(row, "use-distributed-optimizer") {
        world(row, ranks * number("expert-model-parallel-size"))
    } else {
        row["world_size"].as_u64().or(Some(8))
    }
}

fn megatron(row: &Value) -> Option<Row> {
    let number = |name| argument(row, name).unwrap_or(1).max(1);
    let tensor = number("tensor-model-parallel-size");
    let (pipeline, context) = (number("pipeline-model-parallel-size"), number("context-parallel-size"));
    let expert = number("expert-model-parallel-size");
    let model = megatron_model(row, tensor)?;
    let batch = number("micro-batch-size");
    let data = megatron_world(row)? / (tensor * pipeline * context);
    if data == 0 {
        return None;
    }
    let parallelism = Parallelism { tensor, pipeline, data, expert, context };
    let training = settings(row, &model, parallelism, batch);
    let workload = workload(model, batch, sequence(row)?, training, parallelism);
    let peaks = training::stage_peaks(&workload).ok()?;
    // The runs log their last rank.
    let allocated = peaks.last()?.allocated;
    let measured = row["max_allocated_bytes"].as_f64()?;
    let kind = kind(row);
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

fn compared() -> Vec<Row> {
    rows(MEGATRON).filter_map(|row| megatron(&row)).collect()
}

/// The figures, by family.
pub(crate) fn table() -> Vec<String> {
    support::lines("Megatron, peak of the last rank", &compared())
}

#[test]
fn megatron_peaks_of_the_last_rank() {
    println!("{}", table().join("\n"));
    let rows = compared();
    let all = support::summarize(&rows);
    assert!(all.count > 300 && all.mape < 0.05 && all.coverage > 0.9, "{all:?}");
    never_denied(rows);
}
