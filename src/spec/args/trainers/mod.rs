//! Trainers: a file each, over tables of flags that those built on the same library share.

mod accelerate;
mod axolotl;
mod deepspeed;
mod hf;
mod launch;
mod litgpt;
mod llama_factory;
mod megatron;
mod megatron_model;
mod megatron_others;
mod megatron_stages;
mod nemo;
mod swift;
mod torchtitan;
mod torchtune;
mod torchtune_configs;
mod torchtune_models;
mod trl;
mod unsloth;

pub(super) use self::axolotl::AXOLOTL;
pub(super) use self::hf::TRANSFORMERS;
pub(super) use self::launch::{LAUNCH, LAUNCH_SWITCHES};
pub(super) use self::litgpt::LITGPT;
pub(super) use self::llama_factory::LLAMA_FACTORY;
pub(super) use self::megatron::MEGATRON;
pub(super) use self::nemo::NEMO;
pub(super) use self::swift::{MEGATRON_SWIFT, SWIFT};
pub(super) use self::torchtitan::TORCHTITAN;
pub(super) use self::torchtune::TORCHTUNE;
pub(super) use self::trl::TRL;
pub(super) use self::unsloth::UNSLOTH;

use super::table::Program;

/// Flags of which all must be among a script's arguments to show which program's flags it takes.
const EVIDENCE: &[(&[&str], &Program)] = &[
    (&["--micro-batch-size", "--num-layers"], &MEGATRON),
    (&["--micro-batch-size", "--tensor-model-parallel-size"], &MEGATRON),
    (&["--job.config-file"], &TORCHTITAN),
    (&["--training.local-batch-size"], &TORCHTITAN),
    (&["train.micro-batch-size"], &NEMO),
    (&["model.micro-batch-size"], &NEMO),
    (&["model.tensor-model-parallel-size"], &NEMO),
    (&["--per-device-train-batch-size"], &TRANSFORMERS),
    (&["--num-train-epochs"], &TRANSFORMERS),
    (&["--gradient-accumulation-steps"], &TRANSFORMERS),
    (&["--gradient-checkpointing"], &TRANSFORMERS),
    (&["--deepspeed-config"], &TRANSFORMERS),
];

/// The program whose flags a script takes.
pub(super) fn by_evidence(arguments: &[String]) -> Option<&'static Program> {
    let names: Vec<String> =
        arguments.iter().filter_map(|word| Some(word.split('=').next()?.replace('_', "-"))).collect();
    let shows = |flags: &[&str]| flags.iter().all(|flag| names.iter().any(|name| name == flag));
    EVIDENCE.iter().find(|(flags, _)| shows(flags)).map(|(_, program)| *program)
}

#[cfg(test)]
mod tests;
