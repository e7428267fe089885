//! accelerate: the flags of `accelerate launch`, its YAML file, and what they say about sharding.

use crate::spec::args::config::is_config;
use crate::spec::args::table::{Effect, Flag, Reader, flag};

/// Flags of `accelerate launch`.
pub(super) const FLAGS: &[Flag] = &[
    flag(&["--config-file"], Effect::KeepAny),
    flag(&["--mixed-precision"], Effect::Keep),
    flag(&["--multi-gpu"], Effect::KeepSwitch),
    flag(&["--dynamo-backend"], Effect::Keep),
    flag(&["--use-deepspeed"], Effect::KeepBool),
    flag(&["--deepspeed-config-file"], Effect::KeepAny),
    flag(&["--zero-stage"], Effect::Keep),
    flag(&["--offload-optimizer-device"], Effect::Keep),
    flag(&["--offload-param-device"], Effect::Keep),
    flag(&["--use-fsdp"], Effect::KeepBool),
    flag(&["--fsdp-version"], Effect::Keep),
    flag(&["--fsdp-sharding-strategy"], Effect::Keep),
    flag(&["--fsdp-reshard-after-forward"], Effect::Keep),
    flag(&["--fsdp-offload-params"], Effect::KeepBool),
    flag(&["--fsdp-activation-checkpointing"], Effect::KeepBool),
    flag(&["--fsdp-auto-wrap-policy", "--fsdp-transformer-layer-cls-to-wrap", "--fsdp-state-dict-type"], Effect::Skip),
    flag(&["--fsdp-backward-prefetch", "--fsdp-forward-prefetch", "--fsdp-use-orig-params"], Effect::Skip),
    flag(&["--fsdp-cpu-ram-efficient-loading", "--fsdp-sync-module-states", "--fsdp-min-num-params"], Effect::Skip),
    flag(&["--parallelism-config-tp-size"], Effect::Set("parallelism.tensor")),
    flag(&["--parallelism-config-cp-size"], Effect::Set("parallelism.context")),
    flag(&["--parallelism-config-dp-replicate-size"], Effect::Set("training.shardReplicas")),
    flag(&["--use-megatron-lm"], Effect::KeepBool),
    flag(&["--megatron-lm-tp-degree"], Effect::Set("parallelism.tensor")),
    flag(&["--megatron-lm-pp-degree"], Effect::Set("parallelism.pipeline")),
];

/// Keys of its YAML file under the names of the flags.
const FILE: &[Flag] = &[
    flag(&["--nnodes", "num-machines"], Effect::Keep),
    flag(&["--num-processes", "num-processes"], Effect::Keep),
    flag(&["--mixed-precision", "mixed-precision"], Effect::Keep),
    flag(&["--distributed-type", "distributed-type"], Effect::Keep),
    flag(&["--zero-stage", "deepspeed-config.zero-stage"], Effect::Keep),
    flag(&["--offload-optimizer-device", "deepspeed-config.offload-optimizer-device"], Effect::Keep),
    flag(&["--offload-param-device", "deepspeed-config.offload-param-device"], Effect::Keep),
    flag(&["--deepspeed-config-file", "deepspeed-config.deepspeed-config-file"], Effect::Keep),
    flag(
        &["--file-accumulation", "deepspeed-config.gradient-accumulation-steps", "gradient-accumulation-steps"],
        Effect::Keep,
    ),
    flag(&["--fsdp-version", "fsdp-config.fsdp-version"], Effect::Keep),
    flag(&["--fsdp-sharding-strategy", "fsdp-config.fsdp-sharding-strategy"], Effect::Keep),
    flag(&["--fsdp-reshard-after-forward", "fsdp-config.fsdp-reshard-after-forward"], Effect::Keep),
    flag(&["--fsdp-offload-params", "fsdp-config.fsdp-offload-params"], Effect::Keep),
    flag(&["--fsdp-activation-checkpointing", "fsdp-config.fsdp-activation-checkpointing"], Effect::Keep),
    flag(&["parallelism-config.parallelism-config-tp-size"], Effect::Set("parallelism.tensor")),
    flag(&["parallelism-config.parallelism-config-cp-size"], Effect::Set("parallelism.context")),
    flag(&["parallelism-config.parallelism-config-dp-replicate-size"], Effect::Set("training.shardReplicas")),
    flag(&["megatron-lm-config.megatron-lm-tp-degree"], Effect::Set("parallelism.tensor")),
    flag(&["megatron-lm-config.megatron-lm-pp-degree"], Effect::Set("parallelism.pipeline")),
];

/// Settings of FSDP in transformers' `fsdp_config`, axolotl's and ms-swift's.
const FSDP: &[Flag] = &[
    flag(&["--fsdp-version", "version", "fsdp-version"], Effect::Keep),
    flag(&["--fsdp-sharding-strategy", "sharding-strategy", "fsdp-sharding-strategy"], Effect::Keep),
    flag(&["--fsdp-reshard-after-forward", "reshard-after-forward", "fsdp-reshard-after-forward"], Effect::Keep),
    flag(&["--fsdp-offload-params", "offload-params", "fsdp-offload-params", "cpu-offload"], Effect::Keep),
    flag(
        &["--fsdp-activation-checkpointing", "activation-checkpointing", "fsdp-activation-checkpointing"],
        Effect::Keep,
    ),
];

/// Sharding that TRL's `--accelerate_config` names mean.
const NAMED: &[(&str, &str)] = &[
    ("zero1", "zero1"),
    ("zero2", "zero2"),
    ("zero3", "zero3"),
    ("fsdp1", "fsdp"),
    ("fsdp2", "fsdp"),
    ("multi_gpu", "ddp"),
    ("single_gpu", "none"),
];

/// Reads the YAML file that the launcher was given, before anything is concluded from flags.
pub(super) fn file(reader: &mut Reader<'_>) {
    for name in ["--config-file", "--accelerate-config"] {
        let Some(path) = reader.kept.get(name).cloned() else { continue };
        if let Some((_, sharding)) = NAMED.iter().find(|(named, _)| *named == path) {
            reader.at(name, |reader| reader.put("training.sharding", *sharding));
            continue;
        }
        if let Err(why) = reader.include(&path, FILE) {
            reader.at(name, |reader| {
                reader.unknown("training.sharding", &why);
                reader.unknown("training.precision", &why);
                reader.unknown("parallelism.data", &why);
            });
        }
    }
    reader.put_kept("--file-accumulation", "training.gradientAccumulation");
}

/// Settings of FSDP in a file or as text.
pub(super) fn fsdp_config(reader: &mut Reader<'_>, name: &str) {
    let Some(text) = reader.text(name).map(str::to_owned) else { return };
    if is_config(&text) {
        if let Err(why) = reader.include(&text, FSDP) {
            reader.at(name, |reader| reader.unknown("training.sharding", &why));
        }
    } else if let Ok(value) = serde_json::from_str(&text) {
        reader.include_value(name.trim_start_matches('-'), &value, FSDP);
    }
}

/// Whether FSDP is used, by any of its spellings: the strategy that was asked for, empty for the usual one.
fn strategy(reader: &Reader<'_>) -> Option<String> {
    let kept = |name: &str| reader.text(name).map(str::to_ascii_lowercase);
    let options = kept("--fsdp").filter(|text| !matches!(text.as_str(), "false" | "none" | "[]"));
    let distributed = kept("--distributed-type").is_some_and(|kind| kind == "fsdp");
    if options.is_none() && !distributed && !reader.on("--use-fsdp") {
        return None;
    }
    let strategy = kept("--fsdp-sharding-strategy").unwrap_or_default();
    let reshard = kept("--fsdp-reshard-after-forward").unwrap_or_default();
    Some(format!("{} {strategy} {reshard}", options.unwrap_or_default()))
}

/// What FSDP's settings say.
pub(super) fn fsdp(reader: &mut Reader<'_>) {
    let Some(strategy) = strategy(reader) else { return };
    let has = |words: &[&str]| strategy.split([' ', ',']).any(|word| words.contains(&word));
    let sharding = if has(&["no_shard", "4"]) {
        "ddp"
    } else if has(&["hybrid_shard", "hybrid_shard_zero2", "5"]) {
        "hsdp"
    } else {
        "fsdp"
    };
    reader.put("training.sharding", sharding);
    if has(&["shard_grad_op", "hybrid_shard_zero2", "false", "2"]) {
        reader.put("training.keepGathered", true);
    }
    if has(&["offload"]) || reader.on("--fsdp-offload-params") {
        reader.put("training.cpuOffload", true);
    }
    if reader.on("--fsdp-activation-checkpointing") {
        reader.put("training.checkpointing", "full");
    }
}

/// Copies of the model, by the launcher's word.
pub(super) fn copies(reader: &mut Reader<'_>) {
    match reader.text("--distributed-type").map(str::to_ascii_uppercase).as_deref() {
        Some("NO") => reader.put("training.sharding", "none"),
        Some("MULTI_GPU") => reader.put("training.sharding", "ddp"),
        Some("MEGATRON_LM") => reader.put("training.sharding", "megatron"),
        _ if reader.on("--multi-gpu") => reader.put("training.sharding", "ddp"),
        _ if reader.on("--use-megatron-lm") => reader.put("training.sharding", "megatron"),
        _ => {}
    }
}
