//! What each scenario assumes about settings that were not declared, and about habits that no setting tells.

use super::plan::{Recompute, Scenario};
use super::policy::Family;
use super::trainers::Habits;
use crate::estimate::Workload;
use crate::estimate::workload::{Checkpointing, Loss, Parallelism, Precision, Sharding, Training};

/// Allocator slack over what rests and what comes and goes, with samples of varying length.
const PLAIN: [(f64, f64); 3] = [(0.0, 0.02), (0.05, 0.24), (0.12, 0.44)];
/// Plain PyTorch without sharding: every parameter and state is an allocation of its own.
const UNSHARDED: [(f64, f64); 3] = [(0.0, 0.02), (0.08, 0.26), (0.12, 0.42)];
/// With samples of one length, or compiled and fused kernels, which allocate fewer sizes.
const STEADY: [(f64, f64); 3] = [(0.0, 0.02), (0.05, 0.14), (0.12, 0.36)];
/// A multi-tensor step reuses what the activations left, so that little is lost beside the states.
const STEPPED: [(f64, f64); 3] = [(0.0, 0.02), (0.01, 0.26), (0.06, 0.42)];
const EXPANDABLE: [(f64, f64); 3] = [(0.0, 0.01), (0.01, 0.06), (0.03, 0.12)];

/// The precision that costs least where none was declared: scripts that load 16-bit weights train them as they are. What
/// keeps an fp32 master does so whatever was loaded.
pub(super) fn cheapest_precision(declared: Option<Precision>, family: Family) -> Precision {
    let pure = matches!(family, Family::Torch | Family::Fsdp);
    declared.unwrap_or(if pure { Precision::Bf16 } else { Precision::MixedBf16 })
}

/// Whether the optimizer's step copies all parameters at once: a multi-tensor step that is not fused.
pub(super) const fn foreach(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Low => false,
        Scenario::Likely => habits.foreach && matches!(family, Family::Torch),
        Scenario::High => matches!(family, Family::Torch | Family::Fsdp),
    }
}

/// Whether the loss makes the copies of old versions of transformers.
pub(super) const fn shifted_logits(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Low => false,
        Scenario::Likely => habits.shifted_logits,
        Scenario::High => !habits.native_norms && !matches!(family, Family::Megatron),
    }
}

/// The loss as declared. A compiler can undo the recomputation of chunks, so that the dearest case has all of them.
pub(super) fn loss(training: &Training, habits: Habits, scenario: Scenario) -> Loss {
    let declared = training.loss.unwrap_or(Loss::Default);
    let undone = scenario == Scenario::High && training.fused_kernels && habits.recomputed_chunks;
    if declared == Loss::Chunked && undone { Loss::Default } else { declared }
}

/// Whether FSDP keeps parameters gathered: as declared, and with a pipeline, whose micro-batches would gather again.
pub(super) fn resident(training: &Training, habits: Habits, parallelism: Parallelism, scenario: Scenario) -> bool {
    let usual = habits.gathers_whole || (parallelism.pipeline > 1 && !habits.megatron);
    training.keep_gathered || (usual && scenario != Scenario::Low)
}

/// Share of the declared length that samples surely have: it is only their limit where they are not packed or padded.
pub(super) fn shortest(training: &Training, scenario: Scenario) -> f64 {
    let shorter = training.fixed_lengths == Some(false) && scenario == Scenario::Low;
    if shorter { 0.2 } else { 1.0 }
}

/// Error of the rules for what comes and goes; the lower bound is safer where kernels differ most.
pub(super) fn error(training: &Training, scenario: Scenario) -> f64 {
    let quantized = training.lora.as_ref().is_some_and(|lora| lora.quantized_base);
    let low = match (training.precision, quantized) {
        (Some(Precision::Fp8), _) => 0.7,
        (_, true) => 0.8,
        _ => 0.9,
    };
    scenario.pick([low, 1.0, 1.09])
}

pub(super) const fn slack(training: &Training, family: Family, habits: Habits) -> [(f64, f64); 3] {
    if habits.foreach {
        return STEPPED;
    }
    match (training.expandable_segments, training.fused_kernels || habits.fixed_lengths, family) {
        (true, _, _) => EXPANDABLE,
        (false, true, _) => STEADY,
        (false, false, Family::Torch) => UNSHARDED,
        (false, false, _) => PLAIN,
    }
}

pub(super) const fn recompute(declared: Option<Checkpointing>, scenario: Scenario) -> Recompute {
    match (declared, scenario) {
        (Some(checkpointing), _) => Recompute::Declared(checkpointing),
        (None, Scenario::Low) => Recompute::Declared(Checkpointing::Full),
        (None, Scenario::Likely) => Recompute::Unknown,
        (None, Scenario::High) => Recompute::Declared(Checkpointing::None),
    }
}

pub(super) fn sequence_parallel(workload: &Workload, family: Family, scenario: Scenario) -> bool {
    workload.training.sequence_parallel.unwrap_or(match scenario {
        Scenario::Low => true,
        Scenario::Likely => matches!(family, Family::Megatron | Family::Fsdp),
        // DTensor's plans divide norms; Megatron's default does not.
        Scenario::High => family == Family::Fsdp,
    })
}

/// How states are divided when nothing was said.
pub(super) const fn assumed_sharding(workload: &Workload) -> Sharding {
    let parallelism = workload.parallelism;
    if let Some(sharding) = workload.training.sharding {
        return sharding;
    }
    if parallelism.tensor > 1 || parallelism.pipeline > 1 || parallelism.expert > 1 {
        Sharding::Megatron
    } else if parallelism.data > 1 {
        Sharding::Fsdp
    } else {
        Sharding::None
    }
}
