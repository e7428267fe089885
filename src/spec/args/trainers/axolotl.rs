//! axolotl: `axolotl train CONFIG`, with flags that override keys of the config.

use super::hf::{self, Habits, Load};
use super::{accelerate, launch};
use crate::spec::args::table::{Effect, Flag, ImageRule, Program, Reader, flag, tables};

/// Keys of a config, which are flags too.
const OWN: &[Flag] = &[
    flag(&["--sequence-len"], Effect::Set("contextLength")),
    flag(&["--micro-batch-size"], Effect::KeepAny),
    flag(&["--adapter"], Effect::Keep),
    flag(&["--lora-target-linear"], Effect::KeepBool),
    flag(&["--sample-packing"], Effect::KeepBool),
    flag(&["--pad-to-sequence-len"], Effect::KeepBool),
    flag(&["--optimizer"], Effect::Map("training.optimizer", hf::optimizer)),
    flag(&["--bfloat16"], Effect::KeepBool),
    flag(&["--rl"], Effect::Keep),
    flag(&["--flash-attention", "--sdp-attention", "--xformers-attention"], Effect::Skip),
    flag(&["--eager-attention"], Effect::KeepBool),
    flag(&["--tensor-parallel-size"], Effect::Set("parallelism.tensor")),
    flag(&["--context-parallel-size", "--sequence-parallel-degree"], Effect::Set("parallelism.context")),
    flag(&["--dp-replicate-size"], Effect::Set("training.shardReplicas")),
    flag(&["--dp-shard-size"], Effect::Skip),
    flag(&["--plugins"], Effect::KeepMany),
    flag(&["--liger-fused-linear-cross-entropy"], Effect::KeepBool),
    flag(&["--liger-rms-norm", "--liger-glu-activation"], Effect::KeepBool),
    flag(&["--cut-cross-entropy"], Effect::KeepBool),
    flag(&["--chunked-cross-entropy"], Effect::KeepBool),
    flag(&["--layer-offloading"], Effect::Unread("layers that wait on the host are not modelled")),
    flag(&["--unfrozen-parameters"], Effect::Unread("training of some parameters is not modelled")),
    flag(&["--gptq"], Effect::KeepBool),
    flag(&["--launcher"], Effect::Skip),
];

/// The program.
pub(in crate::spec::args) const AXOLOTL: Program = Program {
    name: "axolotl",
    trains: true,
    starts: &[&["axolotl", "train"], &["-m", "axolotl.cli.train"], &["-m", "axolotl.cli.main", "train"]],
    positional: None,
    flags: tables!(OWN, hf::FLAGS, launch::COUNTS),
    wraps: None,
    switches: &[],
    env: &[],
    images: &[
        ImageRule { repository: "axolotlai/axolotl", entrypoint: false, versioned: false },
        ImageRule { repository: "axolotlai/axolotl-cloud", entrypoint: false, versioned: false },
        ImageRule { repository: "axolotlai/axolotl-uv", entrypoint: false, versioned: false },
    ],
    finish,
};

fn finish(reader: &mut Reader<'_>) {
    let adapter = reader.text("--adapter").unwrap_or("none").to_owned();
    let tuned = matches!(adapter.as_str(), "lora" | "qlora" | "llama-adapter");
    reader.kept.insert("--use-peft", tuned.to_string());
    if adapter == "qlora" {
        reader.kept.entry("--load-in-4bit").or_insert_with(|| "true".to_owned());
        // Its quantization of the base quantizes the scales too.
        reader.kept.entry("--use-bnb-nested-quant").or_insert_with(|| "true".to_owned());
    }
    if reader.on("--lora-target-linear") {
        reader.kept.insert("--lora-target-modules", "all-linear".to_owned());
    }
    if reader.on("--bfloat16") {
        reader.kept.insert("--bf16", "true".to_owned());
    }
    let kind = reader.text("--rl").unwrap_or_default().to_owned();
    let sequences = if matches!(kind.as_str(), "dpo" | "ipo" | "orpo" | "simpo") { 2 } else { 1 };
    match reader.number("--micro-batch-size").filter(|_| sequences > 1) {
        Some(samples) => reader.put("batchSize", samples.saturating_mul(sequences)),
        None => reader.put_kept("--micro-batch-size", "batchSize"),
    }
    if reader.on("--sample-packing") || reader.on("--pad-to-sequence-len") {
        reader.put("training.fixedLengths", true);
    }
    losses(reader);
    let divided = reader.kept.contains_key("--fsdp")
        || reader.kept.contains_key("--fsdp-config")
        || reader.text("--fsdp-version").is_some();
    if divided {
        reader.kept.entry("--fsdp").or_insert_with(|| "full_shard".to_owned());
        accelerate::fsdp_config(reader, "--fsdp-config");
    }
    // It loads weights in 16 bits; FSDP's own fp32 copies are accelerate's.
    let load = if divided { Load::Fp32 } else { Load::Half };
    let half = reader.on("--bf16") || reader.on("--fp16") || reader.text("--bf16").is_some_and(|text| text == "auto");
    let habits = Habits {
        checkpointing: Some(false),
        bf16: false,
        load: if half { load } else { Load::Unknown },
        sequences,
        launches: true,
        copies: true,
        rank: None,
        targets: None,
    };
    hf::common(reader, &habits);
    reader.usually("contextLength", 512);
    reader.usually("batchSize", sequences);
    if matches!(kind.as_str(), "dpo" | "ipo" | "kto") && !tuned {
        reader.put("training.referenceModels", 1);
    }
}

/// Losses and kernels that plugins replace.
fn losses(reader: &mut Reader<'_>) {
    let cut = reader.on("--cut-cross-entropy")
        || reader.text("--plugins").is_some_and(|names| names.contains("CutCrossEntropy"));
    if cut || reader.on("--liger-fused-linear-cross-entropy") {
        reader.put("training.loss", "fused");
    } else if reader.on("--chunked-cross-entropy") {
        reader.put("training.loss", "chunked");
    }
    if reader.on("--liger-rms-norm") {
        reader.put("training.fusedKernels", true);
    }
    if reader.on("--eager-attention") {
        reader.put("training.eagerAttention", true);
    }
}
