//! Habits of trainers that no setting tells, by trainer. Data: a row a trainer, the first matching prefix counts.

use crate::estimate::workload::{Precision, Sharding, Training};

/// What a trainer does where the user has no say.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent habits of a trainer")]
pub(in crate::estimate) struct Habits {
    /// Embedding and head are FSDP units of their own, resharded like layers.
    pub(super) root_apart: bool,
    /// A chunked loss recomputes its logits in backward, chunk by chunk.
    pub(super) recomputed_chunks: bool,
    /// Norms are PyTorch's own kernels and save their input only.
    pub(super) native_norms: bool,
    /// FSDP reduces gradients only after the last accumulated micro-batch (`no_sync`): they are whole until then.
    pub(super) defers_reduction: bool,
    /// A tied head is stored and loaded as a matrix of its own: surely, usually, or for some models only.
    pub(super) untied_head: [bool; 3],
    /// Samples are packed or cut to one length, so that every step allocates the same sizes.
    pub(super) fixed_lengths: bool,
    /// Samples are neither packed nor padded to the longest, unless that is asked for.
    pub(super) short_samples: bool,
    /// The training loop holds the logits while the loss, outside of the model, makes its copies.
    pub(super) held_logits: bool,
    /// Megatron's own buffers and kernels, also where its distributed optimizer is not used.
    pub(super) megatron: bool,
    /// Quantized bases are prepared by PEFT: what is not quantized is upcast to fp32.
    pub(super) upcast_unquantized: bool,
    /// The usual optimizer step is multi-tensor and not fused.
    pub(super) foreach: bool,
    /// The loss shifts and upcasts copies of all logits, as transformers did before 4.46.
    pub(super) shifted_logits: bool,
    /// Samples of many lengths leave cached blocks behind: what is reserved at work, over what is allocated.
    pub(in crate::estimate) cached: f64,
    /// FSDP reduces gradients and frees parameters only at the end of every step.
    pub(super) gathers_whole: bool,
    /// It may do so: the dearest case.
    pub(super) may_gather: bool,
    /// Quantized products keep their inputs for backward.
    pub(super) keeps_quantized_inputs: bool,
    /// Which kernels run is known: fused ones where they are declared (in Megatron always), else PyTorch's own.
    pub(super) known_kernels: bool,
    /// A loss that was not declared is the plain one.
    pub(super) known_loss: bool,
    /// Compiling is an option of the trainer, which may be on where nothing says so.
    pub(super) compiles: bool,
    /// A pipeline's batch is cut into micro-batches of one sample.
    pub(super) cuts_batches: bool,
}

/// transformers, PEFT and what builds on them; also assumed of unknown trainers.
const TRANSFORMERS: Habits = Habits {
    root_apart: false,
    recomputed_chunks: false,
    native_norms: false,
    held_logits: false,
    fixed_lengths: false,
    short_samples: false,
    defers_reduction: true,
    untied_head: [false; 3],
    megatron: false,
    upcast_unquantized: true,
    foreach: false,
    shifted_logits: false,
    cached: 0.0,
    gathers_whole: false,
    may_gather: false,
    keeps_quantized_inputs: false,
    known_kernels: false,
    known_loss: false,
    compiles: true,
    cuts_batches: false,
};
/// Trainers that own their models and wrap them themselves.
const NATIVE: Habits = Habits {
    root_apart: true,
    recomputed_chunks: false,
    native_norms: true,
    held_logits: true,
    fixed_lengths: true,
    short_samples: false,
    defers_reduction: false,
    untied_head: [false; 3],
    megatron: false,
    upcast_unquantized: false,
    foreach: false,
    shifted_logits: false,
    cached: 0.0,
    gathers_whole: false,
    may_gather: false,
    keeps_quantized_inputs: false,
    known_kernels: true,
    known_loss: false,
    compiles: false,
    cuts_batches: false,
};

/// Measured with its own default `adamw_torch`: ten bytes a parameter in bf16; 18 bytes a logit; and nearly twice
/// what is allocated at work stays reserved, until the device is full.
pub(in crate::estimate) const SWIFT: Habits =
    Habits { foreach: true, shifted_logits: true, cached: 1.4, known_kernels: true, known_loss: true, ..TRANSFORMERS };

/// Measured over four GPUs: five bytes a parameter, which is whole parameters and gradients and divided states. Samples
/// are padded to the longest of their batch.
const LITGPT: Habits = Habits {
    fixed_lengths: false,
    untied_head: [true; 3],
    defers_reduction: true,
    gathers_whole: true,
    keeps_quantized_inputs: true,
    ..NATIVE
};

const MEGATRON: Habits = Habits { recomputed_chunks: true, megatron: true, known_loss: true, ..NATIVE };

/// Its Llama models have a head of their own whatever the checkpoint has; smaller Qwen models share it.
const TITAN: Habits =
    Habits { recomputed_chunks: true, untied_head: [false, true, true], compiles: true, cuts_batches: true, ..NATIVE };

const TUNE: Habits = Habits { fixed_lengths: false, compiles: true, cuts_batches: true, ..NATIVE };

/// A script of one's own: blocks are cached as swift's are, over a loss without the copies.
const SCRIPT: Habits = Habits { cached: 2.4, ..TRANSFORMERS };

/// Scripts around transformers' trainer: fused kernels and losses are options, off by default.
const SCRIPTED: Habits = Habits { known_kernels: true, known_loss: true, ..TRANSFORMERS };

const TRAINERS: &[(&str, Habits)] = &[
    ("torchtitan", TITAN),
    ("torchtune", Habits { short_samples: true, cuts_batches: false, ..TUNE }),
    ("litgpt", LITGPT),
    ("megatron-swift", Habits { fixed_lengths: false, ..MEGATRON }),
    ("megatron", MEGATRON),
    ("ms-swift", SWIFT),
    ("swift", SWIFT),
    ("nemo", MEGATRON),
    (
        "fsdp_qlora",
        Habits {
            upcast_unquantized: false,
            shifted_logits: true,
            known_kernels: true,
            known_loss: true,
            ..TRANSFORMERS
        },
    ),
    ("unsloth", Habits { recomputed_chunks: true, upcast_unquantized: false, ..TRANSFORMERS }),
    ("hf trainer", SCRIPTED),
    ("transformers", SCRIPTED),
    ("peft", SCRIPTED),
    ("llama-factory", SCRIPTED),
    ("llamafactory", SCRIPTED),
    ("axolotl", SCRIPTED),
    ("trl", Habits { recomputed_chunks: true, ..TRANSFORMERS }),
];

impl Habits {
    /// In the dearest case, what it may do it does.
    pub(super) const fn at_worst(self, dearest: bool) -> Self {
        if self.may_gather && dearest { Self { gathers_whole: true, defers_reduction: true, ..self } } else { self }
    }

    /// The habits of the trainer that was named, or that settings suggest.
    pub(super) fn of(training: &Training) -> Self {
        let Some(trainer) = training.trainer.as_deref() else { return Self::suggested(training) };
        let name = trainer.trim().to_ascii_lowercase();
        TRAINERS.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(TRANSFORMERS, |(_, habits)| *habits)
    }
}

impl Habits {
    /// Megatron's optimizer is Megatron's. FSDP over whole models is done by trainers that own them: over fp32 shards, as
    /// for pretraining, or all in 16 bit, as for fine-tuning. All else is done with transformers.
    fn suggested(training: &Training) -> Self {
        let pure = training.precision == Some(Precision::Bf16);
        let suggested = match training.sharding {
            Some(Sharding::Megatron) => MEGATRON,
            Some(Sharding::Fsdp | Sharding::Hsdp) if training.lora.is_none() && pure => {
                Self { may_gather: true, untied_head: [false, false, true], ..TUNE }
            }
            Some(Sharding::Fsdp | Sharding::Hsdp) if training.lora.is_none() => TITAN,
            Some(Sharding::Fsdp | Sharding::Hsdp) => Self { may_gather: pure, cached: SWIFT.cached, ..SCRIPT },
            _ => SCRIPT,
        };
        Self { known_kernels: false, known_loss: false, compiles: true, ..suggested }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habits(trainer: Option<&str>, sharding: Option<Sharding>) -> Habits {
        Habits::of(&Training { trainer: trainer.map(str::to_owned), sharding, ..Training::default() })
    }

    #[test]
    fn trainers_are_found_by_prefix_and_unknown_ones_are_transformers() {
        assert!(habits(Some("torchtitan 0.2"), None).root_apart);
        assert!(habits(Some("Megatron-Bridge"), None).recomputed_chunks);
        assert_eq!(habits(Some("my-script"), None), TRANSFORMERS);
    }

    #[test]
    fn an_unnamed_trainer_is_what_the_sharding_suggests() {
        assert!(!habits(None, None).root_apart);
        assert!(!habits(None, Some(Sharding::Zero3)).root_apart);
        assert!(habits(None, Some(Sharding::Megatron)).megatron);
        assert!(habits(None, Some(Sharding::Fsdp)).root_apart);
        assert!(!habits(None, Some(Sharding::Fsdp)).known_kernels, "suggested is not known");
    }
}
