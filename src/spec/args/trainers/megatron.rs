//! Megatron-LM: `pretrain_*.py` and what takes its flags.

use super::launch::{COUNTS, data_parallel};
use super::{megatron_model, megatron_others, megatron_stages};
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};

/// Flags that are not about the model's shape.
pub(super) const TRAINING: &[Flag] = &[
    flag(&["--yaml-cfg"], Effect::Config),
    flag(&["--micro-batch-size"], Effect::Set("batchSize")),
    flag(&["--global-batch-size"], Effect::KeepAny),
    flag(&["--seq-length", "--encoder-seq-length"], Effect::Set("contextLength")),
    flag(&["--decoder-seq-length"], Effect::Keep),
    flag(&["--tensor-model-parallel-size"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-model-parallel-size"], Effect::Set("parallelism.pipeline")),
    flag(&["--context-parallel-size"], Effect::Set("parallelism.context")),
    flag(&["--expert-model-parallel-size"], Effect::Set("parallelism.expert")),
    flag(&["--expert-tensor-parallel-size"], Effect::Set("training.expertTensor")),
    flag(&["--num-virtual-stages-per-pipeline-rank"], Effect::Set("training.virtualStages")),
    flag(&["--num-layers-per-virtual-pipeline-stage"], Effect::Keep),
    flag(&["--pipeline-model-parallel-layout"], Effect::Keep),
    flag(&["--decoder-first-pipeline-num-layers"], Effect::Keep),
    flag(&["--decoder-last-pipeline-num-layers"], Effect::Keep),
    flag(&["--account-for-embedding-in-pipeline-split"], Effect::KeepBool),
    flag(&["--account-for-loss-in-pipeline-split"], Effect::KeepBool),
    flag(&["--sequence-parallel"], Effect::KeepBool),
    flag(&["--bf16"], Effect::KeepBool),
    flag(&["--fp16"], Effect::KeepBool),
    flag(&["--fp8-format", "--fp8"], Effect::Keep),
    flag(&["--fp8-recipe"], Effect::Skip),
    flag(&["--optimizer"], Effect::Keep),
    flag(&["--use-distributed-optimizer"], Effect::KeepBool),
    flag(&["--num-distributed-optimizer-instances"], Effect::Set("training.shardReplicas")),
    flag(&["--use-torch-fsdp2"], Effect::KeepBool),
    flag(&["--use-megatron-fsdp", "--use-custom-fsdp"], Effect::KeepBool),
    flag(&["--data-parallel-sharding-strategy"], Effect::Keep),
    flag(&["--optimizer-cpu-offload"], Effect::KeepBool),
    flag(&["--use-precision-aware-optimizer"], Effect::KeepBool),
    flag(&["--exp-avg-dtype"], Effect::Keep),
    flag(&["--exp-avg-sq-dtype"], Effect::Keep),
    flag(&["--main-grads-dtype"], Effect::Keep),
    flag(&["--main-params-dtype"], Effect::Keep),
    flag(&["--recompute-activations"], Effect::KeepBool),
    flag(&["--recompute-granularity"], Effect::Keep),
    flag(&["--recompute-method"], Effect::Keep),
    flag(&["--recompute-num-layers"], Effect::Keep),
    flag(&["--recompute-modules"], Effect::KeepMany),
    flag(&["--cpu-offloading"], Effect::KeepBool),
    flag(&["--attention-backend"], Effect::Keep),
    flag(&["--transformer-impl"], Effect::Keep),
    flag(&["--hidden-dropout"], Effect::Keep),
    flag(&["--defer-embedding-wgrad-compute"], Effect::KeepBool),
    flag(&["--wgrad-deferral-limit"], Effect::Keep),
    flag(&["--spec", "--tokenizer-metadata"], Effect::SkipMany),
];

/// The program.
pub(in crate::spec::args) const MEGATRON: Program = Program {
    name: "megatron-lm",
    trains: true,
    starts: &[&["pretrain_*.py"]],
    positional: None,
    flags: tables!(TRAINING, megatron_model::SHAPE, megatron_others::OTHERS, COUNTS),
    wraps: None,
    switches: &[
        "--overlap-grad-reduce",
        "--overlap-param-gather",
        "--use-mcore-models",
        "--use-flash-attn",
        "--no-gradient-accumulation-fusion",
        "--deterministic-mode",
        "--moe-grouped-gemm",
        "--cross-entropy-loss-fusion",
        "--no-masked-softmax-fusion",
        "--fp8-param-gather",
        "--no-rope-fusion",
    ],
    env: &[],
    images: &[],
    finish,
};

fn finish(reader: &mut Reader<'_>) {
    megatron_model::shape(reader);
    settings(reader, false);
}

/// Everything but the model. `swift` has kernels without dropout.
pub(super) fn settings(reader: &mut Reader<'_>, swift: bool) {
    data_parallel(reader, false);
    sharding(reader);
    precision(reader);
    states(reader);
    checkpointing(reader);
    megatron_stages::read(reader);
    deferral(reader);
    if let Some(targets) = reader.number("--decoder-seq-length") {
        reader.usually("contextLength", targets);
        reader.put("training.targetLength", targets);
    }
    if reader.kept.contains_key("--sequence-parallel") {
        let on = reader.on("--sequence-parallel");
        reader.put("training.sequenceParallel", on);
    } else {
        reader.usually("training.sequenceParallel", false);
    }
    let unfused = matches!(reader.text("--attention-backend"), Some("unfused" | "local"))
        || reader.text("--transformer-impl") == Some("local");
    if unfused {
        reader.put("training.eagerAttention", true);
    }
    let none = reader.text("--hidden-dropout").and_then(|share| share.parse().ok()) == Some(0.0_f64);
    if !none && !swift {
        reader.usually("training.dropout", true);
    }
    reader.usually("training.loss", "default");
    reader.usually("training.fusedKernels", true);
    reader.usually("training.fixedLengths", true);
}

/// Micro-batches of a step on one data-parallel rank.
fn micro_batches(reader: &Reader<'_>) -> Option<u64> {
    let per_pass = reader.draft.out.batch_size?.checked_mul(reader.draft.out.parallelism.data)?;
    Some((reader.number("--global-batch-size")? / per_pass.max(1)).max(1))
}

fn sharding(reader: &mut Reader<'_>) {
    let whole = reader.text("--data-parallel-sharding-strategy").is_none_or(|name| name == "optim_grads_params");
    let fsdp = reader.on("--use-torch-fsdp2") || (reader.on("--use-megatron-fsdp") && whole);
    let copies = if reader.draft.out.parallelism.data > 1 { "ddp" } else { "none" };
    let sharding = match reader.text("--data-parallel-sharding-strategy") {
        _ if fsdp => "fsdp",
        Some("no_shard") => copies,
        Some("optim" | "optim_grads") => "megatron",
        _ if reader.on("--use-distributed-optimizer") => "megatron",
        _ => copies,
    };
    reader.put("training.sharding", sharding);
    if let Some(count) = micro_batches(reader).filter(|_| !reader.draft.is_free("parallelism.data")) {
        reader.put("training.microBatches", count);
    }
    if reader.on("--optimizer-cpu-offload") {
        reader.put("training.cpuOffload", true);
    }
}

fn precision(reader: &mut Reader<'_>) {
    let precision = if reader.text("--fp8-format").is_some_and(|name| name != "None") {
        "fp8"
    } else if reader.on("--bf16") {
        "mixed-bf16"
    } else if reader.on("--fp16") {
        "mixed-fp16"
    } else {
        "fp32"
    };
    reader.put("training.precision", precision);
}

/// The optimizer and the formats of its states.
fn states(reader: &mut Reader<'_>) {
    let named = match reader.text("--optimizer") {
        None | Some("adam") => "adamw",
        Some("sgd") => "sgd-momentum",
        Some(name) if name.contains("muon") => "muon",
        Some(name) => {
            let why = format!("`{}` is an optimizer that is not known here", crate::spec::numbers::shown(name));
            return reader.at("--optimizer", |reader| reader.unknown("training.optimizer", &why));
        }
    };
    let narrow = ["--exp-avg-dtype", "--exp-avg-sq-dtype", "--main-grads-dtype", "--main-params-dtype"];
    let narrow = narrow.iter().find(|name| reader.text(name).is_some_and(|format| format != "fp32"));
    match narrow.filter(|_| reader.on("--use-precision-aware-optimizer")) {
        Some(name) => reader.at(name, |reader| {
            reader.unknown("training.optimizer", "optimizer states of this format are not modelled");
        }),
        None => reader.put("training.optimizer", named),
    }
}

fn checkpointing(reader: &mut Reader<'_>) {
    let selective = reader.on("--recompute-activations");
    let granularity = reader.text("--recompute-granularity").unwrap_or(if selective { "selective" } else { "none" });
    let granularity = granularity.to_ascii_lowercase();
    let layers = reader.number("--num-layers").unwrap_or(u64::MAX) / reader.draft.out.parallelism.pipeline.max(1);
    let some = reader.text("--recompute-method") == Some("block")
        && reader.number("--recompute-num-layers").is_some_and(|some| some < layers);
    if granularity == "full" && some {
        let why = "some layers of a stage are recomputed and some are kept";
        return reader.at("--recompute-num-layers", |reader| reader.unknown("training.checkpointing", why));
    }
    reader.at("--recompute-granularity", |reader| reader.put("training.checkpointing", granularity));
    if let Some(modules) = reader.text("--recompute-modules").map(|text| text.replace(['[', ']', '"', '\''], "")) {
        reader.put("training.recomputeModules", modules.replace(' ', ","));
    }
    if reader.on("--cpu-offloading") {
        reader.put("training.activationOffload", true);
    }
}

/// Gradients of the head that wait for the end of the step; without a limit all do.
fn deferral(reader: &mut Reader<'_>) {
    if !reader.on("--defer-embedding-wgrad-compute") {
        return;
    }
    let limit = reader.number("--wgrad-deferral-limit").filter(|limit| *limit > 0);
    if let Some(count) = limit.or_else(|| micro_batches(reader)) {
        reader.put("training.deferredHeadGradients", count);
    }
}
