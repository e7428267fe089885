//! Trainers: scripts with the flags of transformers, TRL or Megatron-LM under a launcher, and torchtune.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, flag};
use super::torchtune_models;
use super::values::model_dtype;
use crate::spec::numbers::shown;

/// Flags of launchers (torchrun, accelerate, deepspeed), of transformers and TRL, and of Megatron-LM. They do not
/// collide, so one table reads a launcher with its script.
const LAUNCHED_FLAGS: &[Flag] = &[
    flag(&["--nproc-per-node", "--num-gpus", "--nproc-per-node-size"], Effect::Keep),
    flag(&["--nnodes", "--num-nodes", "--num-machines"], Effect::Keep),
    flag(&["--num-processes"], Effect::Keep),
    flag(&["--zero-stage"], Effect::Keep),
    flag(&["--deepspeed", "--deepspeed-config-file"], Effect::Keep),
    flag(&["--use-fsdp"], Effect::KeepBool),
    flag(&["--fsdp"], Effect::Keep),
    flag(&["--accelerate-config"], Effect::Keep),
    flag(&["--mixed-precision"], Effect::Keep),
    flag(&["--config-file"], Effect::Unread("settings in a file are not read")),
    flag(&["--model-name-or-path", "--base-model"], Effect::Set("model")),
    flag(&["--per-device-train-batch-size", "--micro-batch-size"], Effect::Set("batchSize")),
    flag(
        &["--max-length", "--max-seq-length", "--cutoff-len", "--model-max-length", "--seq-length"],
        Effect::Set("contextLength"),
    ),
    flag(&["--gradient-accumulation-steps"], Effect::Set("training.gradientAccumulation")),
    flag(&["--gradient-checkpointing", "--activation-checkpointing"], Effect::KeepBool),
    flag(&["--bf16"], Effect::KeepBool),
    flag(&["--fp16"], Effect::KeepBool),
    flag(&["--dtype", "--torch-dtype"], Effect::Keep),
    flag(&["--optim"], Effect::Map("training.optimizer", optimizer)),
    flag(&["--use-liger-kernel", "--enable-liger-kernel"], Effect::KeepBool),
    flag(&["--use-peft"], Effect::KeepBool),
    flag(&["--finetuning-type", "--tuner-type", "--train-type"], Effect::Keep),
    flag(&["--lora-r", "--lora-rank"], Effect::Keep),
    flag(&["--lora-target-modules", "--lora-target", "--target-modules"], Effect::KeepMany),
    flag(&["--lora-dropout"], Effect::Keep),
    flag(&["--load-in-4bit"], Effect::KeepBool),
    flag(&["--use-bnb-nested-quant", "--double-quantization"], Effect::KeepBool),
    flag(&["--tensor-model-parallel-size"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-model-parallel-size"], Effect::Set("parallelism.pipeline")),
    flag(&["--context-parallel-size"], Effect::Set("parallelism.context")),
    flag(&["--expert-model-parallel-size"], Effect::Set("parallelism.expert")),
    flag(&["--num-layers"], Effect::Set("layers")),
    flag(&["--hidden-size"], Effect::Set("hiddenSize")),
    flag(&["--num-attention-heads"], Effect::Set("heads")),
    flag(&["--kv-channels"], Effect::Set("headDim")),
    flag(&["--use-distributed-optimizer"], Effect::KeepSwitch),
    flag(&["--recompute-activations"], Effect::KeepSwitch),
    flag(&["--recompute-granularity"], Effect::Set("training.checkpointing")),
    flag(
        &["--learning-rate", "--output-dir", "--dataset-name", "--num-train-epochs", "--max-steps", "--run-name"],
        Effect::Skip,
    ),
    flag(
        &["--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--master-addr", "--master-port", "--node-rank"],
        Effect::Skip,
    ),
];

/// Words of TRL's and other trainers' commands that train.
const LAUNCHED_STARTS: &[&[&str]] = &[
    &["trl", "sft"],
    &["trl", "dpo"],
    &["trl", "grpo"],
    &["trl", "kto"],
    &["trl", "reward"],
    &["torchrun"],
    &["-m", "torch.distributed.run"],
    &["-m", "torch.distributed.launch"],
    &["accelerate", "launch"],
    &["deepspeed"],
    &["llamafactory-cli", "train"],
    &["swift", "sft"],
];

/// Flags that only a training script has: without one of them a launched script may do anything.
const TRAINING_FIELDS: &[&str] = &["training.optimizer", "training.gradientAccumulation", "training.checkpointing"];

/// A training script under a launcher.
pub(super) const LAUNCHED: Program = Program {
    name: "transformers",
    trains: true,
    starts: LAUNCHED_STARTS,
    positional: None,
    flags: LAUNCHED_FLAGS,
    wraps: None,
    switches: &["--packing", "--swiglu", "--sequence-parallel", "--multi-gpu", "--do-train", "--standalone"],
    env: &[],
    images: &[],
    finish: finish_launched,
};

/// torchtune: `tune run [torchrun arguments] RECIPE --config NAME key=value...`.
pub(super) const TORCHTUNE: Program = Program {
    name: "torchtune",
    trains: true,
    starts: &[&["tune", "run"]],
    positional: None,
    flags: &[
        flag(&["--nproc-per-node"], Effect::Keep),
        flag(&["--nnodes"], Effect::Keep),
        flag(&["--config"], Effect::Keep),
        flag(&["batch-size"], Effect::Set("batchSize")),
        flag(&["gradient-accumulation-steps"], Effect::Set("training.gradientAccumulation")),
        flag(&["tokenizer.max-seq-len"], Effect::Set("contextLength")),
        flag(&["dtype"], Effect::Map("training.precision", model_dtype)),
        flag(&["enable-activation-checkpointing"], Effect::Keep),
        flag(&["model.lora-rank"], Effect::Set("training.lora.rank")),
        flag(&["tensor-parallel-dim"], Effect::Set("parallelism.tensor")),
        flag(&["fsdp-cpu-offload"], Effect::Set("training.cpuOffload")),
    ],
    wraps: None,
    switches: &[],
    env: &[],
    images: &[ImageRule { repository: "torchtune-trainer", entrypoint: false, versioned: false }],
    finish: finish_torchtune,
};

/// Optimizers by transformers' names; those without a row here keep states that are not modelled.
fn optimizer(text: &str) -> Result<Value, String> {
    match crate::estimate::workload::Optimizer::from_name(&text.trim().to_ascii_lowercase()) {
        Some(optimizer) => Ok(Value::from(optimizer.name())),
        None => Err(format!("`{}` is an optimizer that is not known here", shown(text))),
    }
}

fn finish_launched(reader: &mut Reader<'_>) {
    let trl = reader.start.first() == Some(&"trl");
    let known = trl || !reader.kept.is_empty() && TRAINING_FIELDS.iter().any(|path| !reader.draft.is_free(path));
    if !known && reader.draft.is_free("batchSize") {
        // The launcher alone does not say that the script trains.
        reader.draft.out.training.trainer = None;
        reader.draft.out.origins.remove("training.trainer");
        let hint = "a script is launched whose arguments are not known here: describe the workload in annotations";
        reader.draft.out.unread.push(hint.to_owned());
        reader.draft.out.unknown_fields.insert("arguments");
        return;
    }
    checkpointing(reader, trl);
    precision(reader, trl);
    adapters(reader);
    sharding(reader);
    data_parallel(reader);
    if reader.on("--use-liger-kernel") {
        reader.set("training.loss", &Value::from("fused"));
        reader.set("training.fusedKernels", &Value::from(true));
    }
    if matches!(reader.start, ["trl", "dpo"]) && reader.draft.out.training.lora.is_none() {
        reader.set("training.referenceModels", &Value::from(1));
    }
}

/// TRL recomputes activations unless told otherwise.
fn checkpointing(reader: &mut Reader<'_>, default: bool) {
    let on = if reader.kept.contains_key("--gradient-checkpointing") {
        reader.on("--gradient-checkpointing")
    } else {
        default
    };
    let told = reader.kept.contains_key("--gradient-checkpointing") || default;
    if reader.on("--recompute-activations") {
        reader.set("training.checkpointing", &Value::from("selective"));
    } else if told && reader.draft.is_free("training.checkpointing") {
        reader.set("training.checkpointing", &Value::from(if on { "full" } else { "none" }));
    }
}

/// Weights loaded in bf16 train in bf16 as a whole; otherwise autocast keeps fp32 weights.
fn precision(reader: &mut Reader<'_>, trl: bool) {
    let mixed = reader.kept.get("--mixed-precision").map_or("", String::as_str);
    let half = |name: &str, mixed_name: &str| reader.on(name) || mixed == mixed_name;
    let loaded = reader.kept.get("--dtype").map_or("", String::as_str);
    let precision = match loaded {
        "bfloat16" | "bf16" => "bf16",
        _ if half("--fp16", "fp16") => "mixed-fp16",
        _ if half("--bf16", "bf16") || trl => "mixed-bf16",
        _ => return,
    };
    reader.set("training.precision", &Value::from(precision));
}

fn adapters(reader: &mut Reader<'_>) {
    let by_type = reader.kept.get("--finetuning-type").is_some_and(|kind| kind == "lora");
    if !by_type && !reader.on("--use-peft") {
        return;
    }
    for (name, path) in [("--lora-r", "training.lora.rank"), ("--lora-target-modules", "training.lora.targets")] {
        if let Some(value) = reader.kept.get(name).cloned() {
            reader.set(path, &Value::from(value.replace(' ', ",")));
        }
    }
    reader.draft.lora();
    if reader.kept.get("--lora-dropout").and_then(|text| text.parse::<f64>().ok()).is_some_and(|share| share > 0.0) {
        reader.set("training.lora.dropout", &Value::from(true));
    }
    if reader.on("--load-in-4bit") {
        reader.set("training.lora.quantizedBase", &Value::from(true));
        reader.set("training.lora.doubleQuantization", &Value::from(reader.on("--use-bnb-nested-quant")));
    }
}

/// Names that mean a sharding by themselves; a config file is not seen.
fn sharding(reader: &mut Reader<'_>) {
    let get = |name: &str| reader.kept.get(name).map(|value| value.trim().to_owned());
    let named = get("--accelerate-config").or_else(|| get("--deepspeed")).unwrap_or_default();
    let sharding = match named.as_str() {
        "zero1" | "zero2" | "zero3" => named.clone(),
        "fsdp1" | "fsdp2" => "fsdp".to_owned(),
        "multi_gpu" => "ddp".to_owned(),
        "single_gpu" => "none".to_owned(),
        _ => match (get("--zero-stage").as_deref(), get("--fsdp")) {
            (Some(stage @ ("1" | "2" | "3")), _) => format!("zero{stage}"),
            (_, Some(text)) if text.contains("full_shard") => "fsdp".to_owned(),
            (_, Some(text)) if text.contains("hybrid_shard") => "hsdp".to_owned(),
            (_, Some(text)) if text.contains("shard_grad_op") => "zero2".to_owned(),
            _ if reader.on("--use-fsdp") => "fsdp".to_owned(),
            _ if reader.on("--use-distributed-optimizer") => "megatron".to_owned(),
            _ if !named.is_empty() => {
                return reader
                    .unknown("training.sharding", &format!("`{}` is a file that is not seen here", shown(&named)));
            }
            _ => return,
        },
    };
    reader.set("training.sharding", &Value::from(sharding));
}

/// Processes in all, divided by what tensor, pipeline and context parallelism take.
fn data_parallel(reader: &mut Reader<'_>) {
    let gpus = reader.draft.out.gpus.as_ref().map(|gpus| gpus.count);
    let number = |name: &str| reader.kept.get(name).map(|text| text.parse::<u64>().ok());
    let nodes = match number("--nnodes") {
        None => Some(1),
        Some(nodes) => nodes,
    };
    let total = match (number("--num-processes"), number("--nproc-per-node")) {
        (Some(total), _) => total,
        (None, Some(Some(local))) => nodes.and_then(|nodes| nodes.checked_mul(local)),
        (None, _) => nodes.zip(gpus).and_then(|(nodes, local)| nodes.checked_mul(local)),
    };
    if !reader.draft.is_free("parallelism.data") {
        return;
    }
    let parallelism = reader.draft.out.parallelism;
    let model = parallelism.tensor.saturating_mul(parallelism.pipeline).saturating_mul(parallelism.context);
    match total {
        Some(total) if total >= model && total.is_multiple_of(model) => {
            reader.set("parallelism.data", &Value::from(total / model));
        }
        _ => reader.unknown("parallelism.data", "the number of processes cannot be read"),
    }
}

fn finish_torchtune(reader: &mut Reader<'_>) {
    if reader.kept.contains_key("enable-activation-checkpointing") {
        let on = reader.on("enable-activation-checkpointing");
        reader.set("training.checkpointing", &Value::from(if on { "full" } else { "none" }));
    }
    if reader.bare.first().is_some_and(|recipe| recipe.starts_with("lora")) {
        reader.draft.lora();
    }
    if reader.draft.is_free("training.sharding") && reader.bare.iter().any(|word| word.ends_with("_distributed")) {
        reader.set("training.sharding", &Value::from("fsdp"));
    }
    let named = reader.kept.get("--config").cloned();
    match named.as_deref().and_then(torchtune_models::model_of) {
        Some(model) if reader.draft.is_free("model") => reader.set("model", &Value::from(model)),
        _ => {}
    }
    let config = named.map_or_else(String::new, |name| format!(" `{}`", shown(&name)));
    let hint =
        format!("torchtune's config{config} is not seen here: annotate what it says (checkpointing, loss, LoRA)");
    reader.draft.out.unread.push(hint);
    reader.draft.out.unknown_fields.insert("arguments");
    data_parallel(reader);
}
