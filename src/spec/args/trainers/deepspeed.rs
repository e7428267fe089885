//! DeepSpeed: its configuration file, in which `auto` means what the trainer's arguments say.

use serde_json::Value;

use crate::spec::args::base_name;
use crate::spec::args::config::is_config;
use crate::spec::args::shell;
use crate::spec::args::table::{Effect, Flag, Reader, flag};
use crate::spec::numbers::shown;

const CONFIG: &[Flag] = &[
    flag(&["ds.stage", "zero-optimization.stage"], Effect::Keep),
    flag(&["ds.offload-optimizer", "zero-optimization.offload-optimizer.device"], Effect::Keep),
    flag(&["ds.offload-param", "zero-optimization.offload-param.device"], Effect::Keep),
    flag(&["ds.cpu-offload", "zero-optimization.cpu-offload"], Effect::Keep),
    flag(&["ds.reduce", "zero-optimization.reduce-bucket-size"], Effect::Keep),
    flag(&["ds.prefetch", "zero-optimization.stage3-prefetch-bucket-size"], Effect::Keep),
    flag(&["ds.max-live", "zero-optimization.stage3-max-live-parameters"], Effect::Keep),
    flag(&["ds.secondary", "zero-optimization.zero-hpz-partition-size"], Effect::Keep),
    flag(&["ds.mics", "zero-optimization.mics-shard-size"], Effect::Keep),
    flag(&["ds.batch", "train-micro-batch-size-per-gpu"], Effect::Keep),
    flag(&["ds.accumulation", "gradient-accumulation-steps"], Effect::Keep),
    flag(&["ds.bf16", "bf16.enabled"], Effect::Keep),
    flag(&["ds.fp16", "fp16.enabled"], Effect::Keep),
    flag(&["ds.optimizer", "optimizer.type"], Effect::Keep),
    flag(&["ds.cpu-checkpointing", "activation-checkpointing.cpu-checkpointing"], Effect::Keep),
    flag(&["ds.tensor", "tensor-parallel.autotp-size"], Effect::Keep),
];

/// Fields of the configuration's keys, as they are.
const FIELDS: &[(&str, &str)] = &[
    ("ds.batch", "batchSize"),
    ("ds.accumulation", "training.gradientAccumulation"),
    ("ds.reduce", "training.buckets.reduce"),
    ("ds.prefetch", "training.buckets.prefetch"),
    ("ds.max-live", "training.buckets.maxLive"),
    ("ds.secondary", "training.buckets.secondaryShards"),
    ("ds.tensor", "parallelism.tensor"),
];

/// Optimizers by DeepSpeed's names.
const OPTIMIZERS: &[(&str, &str)] = &[
    ("adam", "adamw"),
    ("adamw", "adamw"),
    ("lion", "lion"),
    ("sgd", "sgd"),
    ("muon", "muon"),
    ("fusedadam", "adamw"),
];

/// Reads the configuration that an argument names: a file, the text itself, or a name that trainers ship.
pub(super) fn config(reader: &mut Reader<'_>, name: &str) {
    let Some(text) = reader.kept.get(name).cloned() else { return };
    if matches!(text.to_ascii_lowercase().as_str(), "" | "none" | "false" | "true") {
        return;
    }
    if let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(&text) {
        reader.include_value(name.trim_start_matches('-'), &value, CONFIG);
        return settings(reader);
    }
    let Err(why) = reader.include(&text, CONFIG) else { return settings(reader) };
    let unread = !shell::is_known(&text);
    match shipped(&text).filter(|_| !unread && why.contains("not seen here")) {
        Some((stage, offload)) => reader.at(name, |reader| {
            reader.put("training.sharding", format!("zero{stage}"));
            if offload {
                reader.put("training.cpuOffload", true);
            }
        }),
        None => reader.at(name, |reader| {
            reader.unknown("training.sharding", &why);
            reader.unknown("training.precision", &why);
        }),
    }
}

/// Stage and offloading of the configurations that trainers ship, whose names tell them: `zero3`, `zero2_offload`,
/// `deepspeed_configs/zero3_bf16.json`, `examples/deepspeed/ds_z2_offload_config.json`.
fn shipped(path: &str) -> Option<(u64, bool)> {
    let name = base_name(path).to_ascii_lowercase();
    let rest = name.strip_prefix("zero").or_else(|| name.strip_prefix("ds_z"))?;
    let shipped = !is_config(path) || path.contains("deepspeed");
    let stage = rest.chars().next()?.to_digit(10).filter(|stage| (1..=3).contains(stage) && shipped)?;
    Some((u64::from(stage), name.contains("offload")))
}

fn settings(reader: &mut Reader<'_>) {
    for (name, path) in FIELDS {
        reader.put_kept(name, path);
    }
    match reader.text("ds.stage").map(str::to_owned) {
        Some(stage) if stage == "0" => reader.put("training.sharding", "ddp"),
        Some(stage) => reader.at("ds.stage", |reader| reader.put("training.sharding", format!("zero{stage}"))),
        None => {}
    }
    let device = |name: &str| reader.text(name).is_some_and(|device| matches!(device, "cpu" | "nvme"));
    if device("ds.offload-optimizer") || device("ds.offload-param") || reader.on("ds.cpu-offload") {
        reader.put("training.cpuOffload", true);
    }
    if reader.on("ds.cpu-checkpointing") {
        reader.put("training.activationOffload", true);
    }
    optimizer(reader);
    groups(reader);
}

fn optimizer(reader: &mut Reader<'_>) {
    let Some(name) = reader.text("ds.optimizer").map(str::to_ascii_lowercase).filter(|name| name != "auto") else {
        return;
    };
    match OPTIMIZERS.iter().find(|(known, _)| *known == name) {
        Some((_, optimizer)) => reader.put("training.optimizer", *optimizer),
        None => reader.at("ds.optimizer", |reader| {
            reader.unknown("training.optimizer", &format!("`{}` is an optimizer that is not known here", shown(&name)));
        }),
    }
}

/// MiCS: groups of so many ranks hold all shards.
fn groups(reader: &mut Reader<'_>) {
    let ranks = reader.number("ds.mics").filter(|ranks| *ranks > 0);
    let data = reader.draft.out.parallelism.data;
    if let Some(ranks) = ranks.filter(|ranks| data.is_multiple_of(*ranks)) {
        reader.put("training.shardReplicas", data / ranks);
    }
}

/// What accelerate's own settings say, where no configuration did.
pub(super) fn by_accelerate(reader: &mut Reader<'_>) {
    let distributed = reader.text("--distributed-type").is_some_and(|kind| kind.eq_ignore_ascii_case("deepspeed"));
    if !distributed && !reader.on("--use-deepspeed") {
        return;
    }
    // accelerate's own default.
    let stage = reader.text("--zero-stage").unwrap_or("2").to_owned();
    let device = |name: &str| reader.text(name).is_some_and(|device| matches!(device, "cpu" | "nvme"));
    let offload = device("--offload-optimizer-device") || device("--offload-param-device");
    reader.put("training.sharding", if stage == "0" { "ddp".to_owned() } else { format!("zero{stage}") });
    if offload {
        reader.put("training.cpuOffload", true);
    }
}
