//! LLaMA-Factory: `llamafactory-cli train CONFIG [key=value...]`.

use super::hf::{self, Habits, Load};
use super::launch::COUNTS;
use crate::spec::args::table::{Effect, Flag, ImageRule, Program, Reader, flag, tables};

const OWN: &[Flag] = &[
    flag(&["--cutoff-len"], Effect::Set("contextLength")),
    flag(&["--stage"], Effect::Keep),
    flag(&["--finetuning-type"], Effect::Keep),
    flag(&["--quantization-bit"], Effect::Keep),
    flag(&["--quantization-method"], Effect::Skip),
    flag(&["--pure-bf16"], Effect::KeepBool),
    flag(&["--flash-attn"], Effect::Keep),
    flag(&["--disable-gradient-checkpointing"], Effect::KeepBool),
    flag(&["--neat-packing"], Effect::KeepBool),
    flag(&["--freeze-trainable-layers"], Effect::Keep),
    flag(&["--use-galore"], Effect::KeepBool),
    flag(&["--galore-rank"], Effect::Keep),
    flag(&["--galore-layerwise", "--apollo-layerwise"], Effect::KeepBool),
    flag(&["--use-apollo"], Effect::KeepBool),
    flag(&["--apollo-rank"], Effect::Keep),
    flag(&["--use-badam"], Effect::KeepBool),
    flag(&["--badam-mode"], Effect::Keep),
    flag(&["--use-muon"], Effect::KeepBool),
    flag(&["--use-unsloth"], Effect::Skip),
    flag(&["--ref-model"], Effect::Keep),
    flag(&["--pref-loss"], Effect::Keep),
];

/// The program. Its overrides are `key=value` without dashes.
pub(in crate::spec::args) const LLAMA_FACTORY: Program = Program {
    name: "llama-factory",
    trains: true,
    starts: &[
        &["llamafactory-cli", "train"],
        &["lmf", "train"],
        &["-m", "llamafactory.cli", "train"],
        &["train_bash.py"],
    ],
    positional: None,
    flags: tables!(OWN, hf::FLAGS, COUNTS),
    wraps: None,
    switches: &["--do-train"],
    env: &[],
    images: &[
        ImageRule { repository: "hiyouga/llamafactory", entrypoint: false, versioned: false },
        ImageRule { repository: "llamafactory", entrypoint: false, versioned: false },
    ],
    finish,
};

const HABITS: Habits = Habits {
    checkpointing: Some(true),
    bf16: false,
    load: Load::Fp32,
    sequences: 1,
    launches: true,
    copies: true,
    rank: Some(8),
    targets: Some("all-linear"),
};

fn finish(reader: &mut Reader<'_>) {
    let stage = reader.text("--stage").unwrap_or("sft").to_owned();
    let tuning = reader.text("--finetuning-type").unwrap_or("lora").to_owned();
    let adapted = matches!(tuning.as_str(), "lora" | "oft");
    let checkpointing = Some(!reader.on("--disable-gradient-checkpointing"));
    let load = if reader.on("--pure-bf16") { Load::Half } else { Load::Fp32 };
    let sequences = if matches!(stage.as_str(), "dpo" | "rm") { 2 } else { 1 };
    let bf16 = reader.on("--pure-bf16");
    let habits = Habits { checkpointing, bf16, load, sequences, ..HABITS };
    if let Some(bits) = reader.text("--quantization-bit") {
        let name = if bits == "8" { "--load-in-8bit" } else { "--load-in-4bit" };
        reader.kept.insert(name, "true".to_owned());
        reader.kept.entry("--use-bnb-nested-quant").or_insert_with(|| "true".to_owned());
    }
    // Its word for every linear module.
    if reader.text("--lora-target-modules") == Some("all") {
        reader.kept.insert("--lora-target-modules", "all-linear".to_owned());
    }
    reader.kept.insert("--use-peft", adapted.to_string());
    if reader.on("--neat-packing") {
        reader.put("training.fixedLengths", true);
    }
    partial(reader, &tuning);
    hf::common(reader, &habits);
    reader.usually("contextLength", 2048);
    reader.usually("batchSize", 8 * sequences);
    if matches!(stage.as_str(), "dpo" | "kto")
        && !adapted
        && reader.text("--pref-loss").unwrap_or("sigmoid") == "sigmoid"
    {
        reader.put("training.referenceModels", 1);
    }
    if stage == "ppo" {
        reader.unread("PPO's reward and value models are not counted: set `training.otherParameters`");
    }
    if reader.text("--flash-attn") == Some("disabled") {
        reader.put("training.eagerAttention", true);
    }
}

/// Training of some layers, or of projections.
fn partial(reader: &mut Reader<'_>, tuning: &str) {
    if tuning == "freeze" {
        let layers = reader.text("--freeze-trainable-layers").unwrap_or("2").trim_start_matches('-').to_owned();
        reader.put("training.activeLayers", layers);
    }
    for (on, rank, usual) in [("--use-galore", "--galore-rank", 16), ("--use-apollo", "--apollo-rank", 16)] {
        if reader.on(on) {
            reader.put_kept(rank, "training.projectionRank");
            reader.usually("training.projectionRank", usual);
            if reader.on("--galore-layerwise") {
                reader.put("training.optimizerInBackward", true);
            }
        }
    }
    if reader.on("--use-badam") && reader.text("--badam-mode").unwrap_or("layer") == "layer" {
        reader.put("training.activeLayers", 1);
    }
    if reader.on("--use-muon") {
        reader.put("training.optimizer", "muon");
    }
}
