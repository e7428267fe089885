//! Unsloth's command line: `unsloth-cli.py`.

use super::hf::{self, Habits, Load};
use crate::spec::args::table::{Effect, Flag, Program, Reader, flag, tables};

const OWN: &[Flag] = &[
    flag(&["--r"], Effect::KeepAny),
    flag(&["--use-gradient-checkpointing"], Effect::Keep),
    flag(&["--lora-alpha", "--bias", "--random-state", "--loftq-config"], Effect::Skip),
];

/// The program. It adapts, always.
pub(in crate::spec::args) const UNSLOTH: Program = Program {
    name: "unsloth",
    trains: true,
    starts: &[&["unsloth-cli.py"], &["unsloth-cli"]],
    positional: None,
    flags: tables!(OWN, hf::FLAGS, hf::LENGTH),
    wraps: None,
    switches: &["--use-rslora"],
    env: &[],
    images: &[],
    finish,
};

const HABITS: Habits = Habits {
    checkpointing: Some(true),
    bf16: true,
    load: Load::Half,
    launches: false,
    copies: true,
    rank: Some(16),
    targets: Some("q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"),
    ..Habits::SCRIPT
};

fn finish(reader: &mut Reader<'_>) {
    for (theirs, shared) in [("--r", "--lora-r"), ("--use-gradient-checkpointing", "--gradient-checkpointing")] {
        if let Some(value) = reader.kept.get(theirs).cloned() {
            reader.kept.insert(shared, value);
        }
    }
    reader.kept.insert("--use-peft", "true".to_owned());
    reader.kept.entry("--gradient-checkpointing").or_insert_with(|| "unsloth".to_owned());
    reader.usually("training.optimizer", "adamw-8bit");
    hf::common(reader, &HABITS);
    reader.usually("contextLength", 2048);
    reader.usually("batchSize", 2);
    reader.usually("training.gradientAccumulation", 4);
    reader.usually("training.fusedKernels", true);
    reader.usually("training.loss", "fused");
}
