//! ms-swift: `swift sft|pt|rlhf`, and `megatron sft|pt|rlhf` with Megatron's flags.

use super::hf::{self, Habits, Load};
use super::launch::COUNTS;
use super::megatron;
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};

const OWN: &[Flag] = &[
    flag(&["--config"], Effect::Config),
    flag(&["--model"], Effect::Set("model")),
    flag(&["--model-type"], Effect::Skip),
    flag(&["--tuner-type", "--train-type", "--sft-type"], Effect::Keep),
    flag(&["--rlhf-type"], Effect::Keep),
    flag(&["--beta"], Effect::Keep),
    flag(&["--quant-bits"], Effect::Keep),
    flag(&["--quant-method"], Effect::Skip),
    flag(&["--sequence-parallel-size"], Effect::Set("parallelism.context")),
    flag(&["--padding-free"], Effect::KeepBool),
    flag(&["--lisa-activated-layers"], Effect::Keep),
    flag(&["--use-galore"], Effect::KeepBool),
    flag(&["--galore-rank"], Effect::Keep),
    flag(&["--deepspeed-autotp-size"], Effect::Set("parallelism.tensor")),
    flag(&["--use-logits-to-keep", "--ref-model", "--max-completion-length"], Effect::Skip),
];

/// The program on transformers.
pub(in crate::spec::args) const SWIFT: Program = Program {
    name: "ms-swift",
    trains: true,
    starts: &[
        &["swift", "sft"],
        &["swift", "pt"],
        &["swift", "rlhf"],
        &["-m", "swift.cli.sft"],
        &["-m", "swift.cli.pt"],
        &["-m", "swift.cli.rlhf"],
        &["-m", "swift.cli.main", "sft"],
    ],
    positional: None,
    flags: tables!(OWN, hf::FLAGS, hf::LENGTH, COUNTS),
    wraps: None,
    switches: &[],
    env: &[],
    images: &[],
    finish,
};

/// The program on Megatron.
pub(in crate::spec::args) const MEGATRON_SWIFT: Program = Program {
    name: "megatron-swift",
    trains: true,
    starts: &[
        &["megatron", "sft"],
        &["megatron", "pt"],
        &["megatron", "rlhf"],
        &["-m", "swift.cli._megatron.sft"],
        &["-m", "swift.cli._megatron.pt"],
        &["-m", "swift.cli._megatron.rlhf"],
    ],
    positional: None,
    flags: tables!(MEGATRON_OWN, megatron::TRAINING, COUNTS),
    wraps: None,
    switches: &[],
    env: &[],
    images: &[],
    finish: finish_megatron,
};

const MEGATRON_OWN: &[Flag] = &[
    flag(&["--config"], Effect::Config),
    flag(&["--model"], Effect::Set("model")),
    flag(&["--load", "--ref-load", "--save", "--mcore-model"], Effect::Skip),
    flag(&["--max-length"], Effect::Set("contextLength")),
    flag(&["--tuner-type", "--train-type"], Effect::Keep),
    flag(&["--lora-r", "--lora-rank"], Effect::KeepAny),
    flag(&["--lora-target-modules", "--target-modules"], Effect::KeepMany),
    flag(&["--lora-modules-to-save", "--modules-to-save"], Effect::KeepMany),
    flag(&["--lora-dropout"], Effect::Keep),
    flag(&["--packing"], Effect::KeepBool),
    flag(&["--torch-dtype"], Effect::Skip),
];

const HABITS: Habits = Habits {
    checkpointing: Some(true),
    bf16: true,
    load: Load::Half,
    sequences: 1,
    launches: false,
    copies: false,
    rank: Some(8),
    targets: Some("all-linear"),
};

fn finish(reader: &mut Reader<'_>) {
    let tuning = reader.text("--tuner-type").unwrap_or("lora").to_owned();
    let pairs = reader.start.last().is_some_and(|word| word.ends_with("rlhf"));
    let kind = reader.text("--rlhf-type").unwrap_or("dpo").to_owned();
    // It starts several processes only if told how many.
    let launches = !matches!(reader.scene.env.get("NPROC_PER_NODE"), crate::spec::args::shell::Var::Unset);
    let sequences = if pairs && matches!(kind.as_str(), "dpo" | "rm" | "cpo" | "simpo" | "orpo") { 2 } else { 1 };
    if let Some(bits) = reader.text("--quant-bits").filter(|bits| *bits != "0") {
        let name = if bits == "8" { "--load-in-8bit" } else { "--load-in-4bit" };
        reader.kept.insert(name, "true".to_owned());
        reader.kept.entry("--use-bnb-nested-quant").or_insert_with(|| "true".to_owned());
    }
    let adapted = matches!(tuning.as_str(), "lora" | "adalora" | "longlora" | "lora_llm");
    reader.kept.insert("--use-peft", adapted.to_string());
    if let Some(layers) = reader.number("--lisa-activated-layers").filter(|layers| *layers > 0) {
        reader.put("training.activeLayers", layers);
    }
    if reader.on("--use-galore") {
        reader.put_kept("--galore-rank", "training.projectionRank");
        reader.usually("training.projectionRank", 128);
    }
    hf::common(reader, &Habits { sequences, launches, copies: launches, ..HABITS });
    reader.usually("batchSize", sequences);
    if pairs && matches!(kind.as_str(), "dpo" | "kto") && !adapted {
        reader.put("training.referenceModels", 1);
    }
    if pairs && matches!(kind.as_str(), "grpo" | "ppo" | "gkd") {
        reader.unread("generation and further models on the GPU are not counted");
    }
}

fn finish_megatron(reader: &mut Reader<'_>) {
    reader.kept.entry("--bf16").or_insert_with(|| "true".to_owned());
    reader.kept.entry("--recompute-granularity").or_insert_with(|| "selective".to_owned());
    reader.kept.entry("--use-distributed-optimizer").or_insert_with(|| "true".to_owned());
    if reader.text("--tuner-type") == Some("lora") {
        hf::lora(reader, &HABITS);
    }
    megatron::settings(reader, true);
    reader.usually("batchSize", 1);
}
