//! torchtitan: settings with dots (`--training.local_batch_size 2`), in both generations of its flags, and its TOML.

use super::launch::{COUNTS, data_parallel};
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};

const OWN: &[Flag] = &[
    flag(&["--job.config-file"], Effect::Config),
    flag(&["--module", "--model.name"], Effect::Keep),
    flag(&["--config"], Effect::Keep),
    flag(&["--model.flavor"], Effect::Keep),
    flag(&["--model.hf-assets-path", "--hf-assets-path"], Effect::Keep),
    flag(&["--training.local-batch-size", "--training.batch-size"], Effect::KeepAny),
    flag(&["--training.num-tokens-per-microbatch-per-dp-rank"], Effect::KeepAny),
    flag(&["--training.global-batch-size"], Effect::KeepAny),
    flag(&["--training.seq-len", "--training.max-context-length"], Effect::Set("contextLength")),
    flag(&["--training.dtype"], Effect::Keep),
    flag(&["--training.mixed-precision-param"], Effect::Keep),
    flag(&["--training.enable-cpu-offload"], Effect::KeepBool),
    flag(&["--training.compile", "--compile.enable"], Effect::KeepBool),
    flag(&["--optimizer.name"], Effect::Keep),
    flag(&["--optimizer.early-step-in-backward"], Effect::KeepBool),
    flag(&["--parallelism.data-parallel-shard-degree", "--training.data-parallel-shard-degree"], Effect::Keep),
    flag(&["--parallelism.data-parallel-replicate-degree", "--training.data-parallel-replicate-degree"], Effect::Keep),
    flag(
        &["--parallelism.tensor-parallel-degree", "--training.tensor-parallel-degree"],
        Effect::Set("parallelism.tensor"),
    ),
    flag(
        &["--parallelism.pipeline-parallel-degree", "--experimental.pipeline-parallel-degree"],
        Effect::Set("parallelism.pipeline"),
    ),
    flag(
        &["--parallelism.context-parallel-degree", "--experimental.context-parallel-degree"],
        Effect::Set("parallelism.context"),
    ),
    flag(&["--parallelism.expert-parallel-degree"], Effect::Set("parallelism.expert")),
    flag(&["--parallelism.expert-tensor-parallel-degree"], Effect::Set("training.expertTensor")),
    flag(&["--parallelism.pipeline-parallel-microbatch-size"], Effect::Keep),
    flag(&["--parallelism.pipeline-parallel-layers-per-stage"], Effect::Skip),
    flag(&["--parallelism.fsdp-reshard-after-forward"], Effect::Keep),
    flag(&["--activation-checkpoint.mode"], Effect::Keep),
    flag(&["--model.converters"], Effect::KeepMany),
];

/// The program; `run_train.sh` takes the number of GPUs and the config from variables.
pub(in crate::spec::args) const TORCHTITAN: Program = Program {
    name: "torchtitan",
    trains: true,
    starts: &[&["-m", "torchtitan.train"], &["torchtitan/train.py"], &["run_train.sh"]],
    positional: None,
    flags: tables!(OWN, COUNTS),
    wraps: None,
    switches: &[],
    env: &[
        flag(&["CONFIG_FILE"], Effect::Call(config_file)),
        flag(
            &["NGPU"],
            Effect::Call(|reader, count| {
                reader.kept.entry("--nproc-per-node").or_insert_with(|| count.to_owned());
            }),
        ),
        flag(
            &["MODULE"],
            Effect::Call(|reader, name| {
                reader.kept.entry("--module").or_insert_with(|| name.to_owned());
            }),
        ),
        flag(
            &["CONFIG"],
            Effect::Call(|reader, name| {
                reader.kept.entry("--config").or_insert_with(|| name.to_owned());
            }),
        ),
    ],
    images: &[],
    finish,
};

/// Models by name and flavour (with or without the flavour's name before its size).
const MODELS: &[(&str, &str, &str)] = &[
    ("llama3", "8b", "meta-llama/Llama-3.1-8B"),
    ("llama3", "70b", "meta-llama/Llama-3.1-70B"),
    ("llama3", "405b", "meta-llama/Llama-3.1-405B"),
    ("llama4", "17bx16e", "meta-llama/Llama-4-Scout-17B-16E"),
    ("llama4", "17bx128e", "meta-llama/Llama-4-Maverick-17B-128E"),
    ("deepseek_v3", "16b", "deepseek-ai/DeepSeek-V2-Lite"),
    ("deepseek_v3", "671b", "deepseek-ai/DeepSeek-V3"),
    ("qwen3", "0.6b", "Qwen/Qwen3-0.6B"),
    ("qwen3", "1.7b", "Qwen/Qwen3-1.7B"),
    ("qwen3", "4b", "Qwen/Qwen3-4B"),
    ("qwen3", "8b", "Qwen/Qwen3-8B"),
    ("qwen3", "14b", "Qwen/Qwen3-14B"),
    ("qwen3", "32b", "Qwen/Qwen3-32B"),
];

fn model(reader: &Reader<'_>) -> Option<&'static str> {
    let name = reader.text("--module")?.rsplit('.').next()?.to_ascii_lowercase();
    let flavour = reader.text("--model.flavor").map(str::to_ascii_lowercase);
    // `llama3_8b`: the newer generation names configs after model and size.
    let config = reader
        .text("--config")
        .and_then(|config| config.strip_prefix(&format!("{name}_")).map(str::to_ascii_lowercase));
    let size = flavour.or(config)?;
    MODELS.iter().find(|(family, sized, _)| *family == name && *sized == size).map(|(.., model)| *model)
}

fn config_file(reader: &mut Reader<'_>, path: &str) {
    reader.own_file(path);
}

fn finish(reader: &mut Reader<'_>) {
    match model(reader) {
        Some(model) => reader.put("model", model),
        None => reader.put_kept("--model.hf-assets-path", "model"),
    }
    data_parallel(reader, true);
    batch(reader);
    sharding(reader);
    let mode = reader.text("--activation-checkpoint.mode").map(str::to_owned);
    if let Some(mode) = mode {
        reader.at("--activation-checkpoint.mode", |reader| reader.put("training.checkpointing", mode));
    }
    let float8 =
        reader.text("--model.converters").is_some_and(|names| names.contains("float8") || names.contains("mx"));
    let precision = match (reader.text("--training.dtype"), reader.text("--training.mixed-precision-param")) {
        _ if float8 => "fp8",
        (Some("bfloat16"), _) => "bf16",
        (_, Some("float32")) => "fp32",
        _ => "mixed-bf16",
    };
    reader.put("training.precision", precision);
    for (on, path) in [
        ("--training.enable-cpu-offload", "training.cpuOffload"),
        ("--training.compile", "training.fusedKernels"),
        ("--optimizer.early-step-in-backward", "training.optimizerInBackward"),
    ] {
        if reader.on(on) {
            reader.put(path, true);
        }
    }
    match reader.text("--optimizer.name").map(str::to_ascii_lowercase).as_deref() {
        None | Some("adamw" | "adam") => {}
        Some("muon") => reader.put("training.optimizer", "muon"),
        Some(_) => reader.at("--optimizer.name", |reader| reader.unknown("training.optimizer", "is not known here")),
    }
    reader.usually("training.fixedLengths", true);
    // A config of the image may set whatever was not overridden.
    let seen = reader.start.last() == Some(&"torchtitan.train") && reader.text("--config").is_none();
    if !seen && reader.text("--config").is_some() {
        let name = crate::spec::numbers::shown(reader.text("--config").unwrap_or_default());
        reader
            .draft
            .out
            .unread
            .push(format!("--config: what `{name}` sets by itself is not seen here: annotate what is not overridden"));
        reader.draft.out.unknown_fields.insert("arguments");
    }
}

/// A pipeline cuts the local batch into micro-batches.
fn batch(reader: &mut Reader<'_>) {
    let local = reader.number("--training.local-batch-size");
    let pipeline = reader.draft.out.parallelism.pipeline;
    if let Some(local) = local.filter(|_| pipeline > 1) {
        let micro = reader.number("--parallelism.pipeline-parallel-microbatch-size").unwrap_or(1).max(1);
        reader.put("batchSize", micro);
        reader.put("training.microBatches", (local / micro).max(1));
    } else {
        reader.put_kept("--training.local-batch-size", "batchSize");
    }
    let tokens = reader.number("--training.num-tokens-per-microbatch-per-dp-rank");
    if let Some((tokens, length)) = tokens.zip(reader.draft.out.context_length).filter(|(_, length)| *length > 0) {
        reader.put("batchSize", (tokens / length).max(1));
    }
    let (data, local) = (reader.draft.out.parallelism.data, local.unwrap_or(0));
    let pass = data.saturating_mul(local);
    if let Some(global) = reader.number("--training.global-batch-size").filter(|global| pass > 0 && *global > pass) {
        reader.put("training.gradientAccumulation", global / pass);
    }
}

fn sharding(reader: &mut Reader<'_>) {
    let replicas = reader.number("--parallelism.data-parallel-replicate-degree").unwrap_or(1);
    let shards = reader.text("--parallelism.data-parallel-shard-degree").unwrap_or("-1").to_owned();
    if shards == "1" {
        reader.put("training.sharding", if replicas > 1 { "ddp" } else { "none" });
    } else if replicas > 1 {
        reader.put("training.sharding", "hsdp");
        reader.put("training.shardReplicas", replicas);
    } else {
        reader.put("training.sharding", "fsdp");
    }
    // With a pipeline its default keeps them, which the estimator knows.
    if reader.text("--parallelism.fsdp-reshard-after-forward") == Some("never") {
        reader.put("training.keepGathered", true);
    }
}
