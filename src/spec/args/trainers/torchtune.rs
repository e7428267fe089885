//! torchtune: `tune run [torchrun arguments] RECIPE --config NAME key=value...`, with the defaults of its own configs.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::launch::{COUNTS, data_parallel};
use super::torchtune_configs::CONFIGS;
use super::torchtune_models;
use crate::spec::args::base_name;
use crate::spec::args::config::is_config;
use crate::spec::args::table::{Effect, Flag, ImageRule, Program, Reader, flag, tables};
use crate::spec::args::values::model_dtype;
use crate::spec::numbers::shown;

/// Keys of a config. Most are kept, so that the arguments override what the config says.
const KEYS: &[Flag] = &[
    flag(&["batch-size"], Effect::KeepAny),
    flag(&["gradient-accumulation-steps"], Effect::KeepAny),
    flag(&["tokenizer.max-seq-len"], Effect::KeepAny),
    flag(&["dataset.packed"], Effect::Keep),
    flag(&["dtype"], Effect::Keep),
    flag(&["compile"], Effect::Keep),
    flag(&["enable-activation-checkpointing"], Effect::Keep),
    flag(&["enable-activation-offloading"], Effect::Keep),
    flag(&["optimizer.-component-", "optimizer"], Effect::Keep),
    flag(&["optimizer-in-bwd"], Effect::Keep),
    flag(&["fsdp-cpu-offload"], Effect::Keep),
    flag(&["fsdp-reshard-after-forward"], Effect::Keep),
    flag(&["tensor-parallel-dim"], Effect::KeepAny),
    flag(&["context-parallel-dim"], Effect::KeepAny),
    flag(&["data-parallel-replicate-dim"], Effect::KeepAny),
    flag(&["loss.-component-", "loss"], Effect::Keep),
    flag(&["model.-component-"], Effect::Keep),
    flag(&["model.lora-rank"], Effect::KeepAny),
    flag(&["model.lora-attn-modules"], Effect::Keep),
    flag(&["model.apply-lora-to-mlp"], Effect::Keep),
    flag(&["model.apply-lora-to-output"], Effect::Keep),
    flag(&["model.lora-dropout"], Effect::Keep),
    flag(&["model.quantize-base"], Effect::Keep),
];

const COMMAND: &[Flag] = &[flag(&["--config"], Effect::KeepAny)];

/// The program.
pub(in crate::spec::args) const TORCHTUNE: Program = Program {
    name: "torchtune",
    trains: true,
    starts: &[&["tune", "run"]],
    positional: None,
    flags: tables!(COMMAND, KEYS, COUNTS),
    wraps: None,
    switches: &[],
    env: &[],
    images: &[ImageRule { repository: "torchtune-trainer", entrypoint: false, versioned: false }],
    finish,
};

/// One of torchtune's own configs, with dots in its keys.
fn shipped(name: &str) -> Option<Value> {
    static ROWS: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| CONFIGS.lines().filter_map(|line| line.split_once('\t')).collect());
    let (_, settings) = rows.iter().find(|(config, _)| *config == name)?;
    let pairs = settings.split(' ').filter_map(|pair| pair.split_once('='));
    Some(Value::Object(pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>()))
}

/// The config that the command names, as far as it is known.
fn config(reader: &mut Reader<'_>) {
    let Some(name) = reader.kept.get("--config").cloned() else { return };
    let shown_name = shown(&name);
    if let Some(settings) = shipped(&name) {
        reader.include_value(&shown_name, &settings, KEYS);
        reader
            .draft
            .out
            .notes
            .push(format!("settings of torchtune's own config `{shown_name}` are those of its last release"));
        return;
    }
    if let Err(why) = reader.include(&name, KEYS) {
        let why = if is_config(&name) { why } else { format!("the config `{shown_name}` is not seen here") };
        reader.draft.out.unread.push(format!("--config: {why}: annotate what it says (checkpointing, loss, LoRA)"));
        reader.draft.out.unknown_fields.insert("arguments");
    }
}

fn finish(reader: &mut Reader<'_>) {
    config(reader);
    let recipe = reader.bare.first().map(|name| base_name(name).to_owned()).unwrap_or_default();
    model(reader);
    let pairs = recipe.contains("dpo");
    match reader.number("batch-size").filter(|_| pairs) {
        Some(samples) => reader.put("batchSize", samples.saturating_mul(2)),
        None => reader.put_kept("batch-size", "batchSize"),
    }
    for (name, path) in [
        ("gradient-accumulation-steps", "training.gradientAccumulation"),
        ("tokenizer.max-seq-len", "contextLength"),
        ("tensor-parallel-dim", "parallelism.tensor"),
        ("context-parallel-dim", "parallelism.context"),
        ("data-parallel-replicate-dim", "training.shardReplicas"),
        ("optimizer-in-bwd", "training.optimizerInBackward"),
        ("fsdp-cpu-offload", "training.cpuOffload"),
        ("enable-activation-offloading", "training.activationOffload"),
        ("compile", "training.fusedKernels"),
        ("dataset.packed", "training.fixedLengths"),
    ] {
        reader.put_kept(name, path);
    }
    if reader.draft.is_free("contextLength") {
        let why = "tokenizer.max_seq_len is not set, so that the longest sample decides";
        reader.unknown("contextLength", why);
    }
    if reader.kept.contains_key("enable-activation-checkpointing") {
        let on = reader.on("enable-activation-checkpointing");
        reader.put("training.checkpointing", if on { "full" } else { "none" });
    }
    if reader.text("fsdp-reshard-after-forward").is_some_and(|text| text.eq_ignore_ascii_case("false")) {
        reader.put("training.keepGathered", true);
    }
    precision(reader);
    optimizer(reader);
    loss(reader);
    if recipe.starts_with("lora") || reader.text("model.-component-").is_some_and(|name| name.contains("lora_")) {
        adapters(reader);
    } else if pairs {
        reader.put("training.referenceModels", 1);
    }
    data_parallel(reader, recipe.ends_with("_distributed"));
    if recipe.contains("single_device") {
        reader.put("training.sharding", "none");
        reader.usually("parallelism.data", 1);
    } else if recipe.ends_with("_distributed") {
        reader.put(
            "training.sharding",
            if reader.draft.out.training.shard_replicas.unwrap_or(1) > 1 { "hsdp" } else { "fsdp" },
        );
    }
}

/// The model's builder tells the model; else the config's name does.
fn model(reader: &mut Reader<'_>) {
    let by_builder = reader.text("model.-component-").and_then(torchtune_models::built_by);
    let by_name = || reader.text("--config").and_then(torchtune_models::model_of);
    if let Some(model) = by_builder.or_else(by_name) {
        reader.put("model", model);
    }
}

fn precision(reader: &mut Reader<'_>) {
    let Some(text) = reader.text("dtype").map(str::to_owned) else { return };
    match model_dtype(&text) {
        Ok(Value::String(name)) => reader.at("dtype", |reader| reader.put("training.precision", name)),
        Ok(_) => {}
        Err(why) => reader.at("dtype", |reader| reader.unknown("training.precision", &why)),
    }
}

fn optimizer(reader: &mut Reader<'_>) {
    const NAMES: &[(&str, &str)] = &[
        ("AdamW", "adamw"),
        ("Adam", "adamw"),
        ("PagedAdamW", "paged-adamw"),
        ("PagedAdamW8bit", "paged-adamw-8bit"),
        ("PagedAdamW32bit", "paged-adamw"),
        ("AdamW8bit", "adamw-8bit"),
        ("Adam8bit", "adamw-8bit"),
        ("SGD", "sgd"),
        ("Adafactor", "adafactor"),
        ("Muon", "muon"),
        ("Lion", "lion"),
    ];
    let Some(class) = reader.text("optimizer.-component-").and_then(|path| path.rsplit('.').next()).map(str::to_owned)
    else {
        return;
    };
    let Some((_, optimizer)) = NAMES.iter().find(|(name, _)| *name == class) else {
        let why = format!("`{}` is an optimizer that is not known here", shown(&class));
        return reader.at("optimizer.-component-", |reader| reader.unknown("training.optimizer", &why));
    };
    reader.put("training.optimizer", *optimizer);
}

fn loss(reader: &mut Reader<'_>) {
    match reader.text("loss.-component-").and_then(|path| path.rsplit('.').next()) {
        Some("LinearCrossEntropyLoss" | "CEWithChunkedOutputLoss" | "ForwardKLWithChunkedOutputLoss") => {
            reader.put("training.loss", "chunked");
        }
        Some("CrossEntropyLoss" | "ForwardKLLoss") => reader.put("training.loss", "default"),
        Some("LigerFusedLinearCrossEntropyLoss") => reader.put("training.loss", "fused"),
        _ => {}
    }
}

fn adapters(reader: &mut Reader<'_>) {
    reader.put_kept("model.lora-rank", "training.lora.rank");
    reader.draft.lora();
    reader.usually("training.lora.rank", 8);
    let attention = reader.text("model.lora-attn-modules").unwrap_or("q_proj,v_proj");
    let attention = attention.replace(['[', ']', '\'', '"', ' '], "");
    let mlp = if reader.on("model.apply-lora-to-mlp") { ",gate_proj,up_proj,down_proj" } else { "" };
    reader.put("training.lora.targets", format!("{attention}{mlp}"));
    let half = reader.draft.out.training.precision != Some(crate::estimate::workload::Precision::Fp32);
    reader.usually("training.lora.fp32Adapters", !half);
    if reader.text("model.lora-dropout").and_then(|text| text.parse().ok()).is_some_and(|share: f64| share > 0.0) {
        reader.put("training.lora.dropout", true);
    }
    let quantized = reader
        .text("model.-component-")
        .and_then(|path| path.rsplit('.').next())
        .is_some_and(|name| name.starts_with("qlora_"));
    if quantized || reader.on("model.quantize-base") {
        reader.put("training.lora.quantizedBase", true);
        // Its NF4 quantizes the scales too.
        reader.put("training.lora.doubleQuantization", true);
    }
}
