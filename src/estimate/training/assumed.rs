//! What each scenario assumes about settings that were not declared, and about habits that no setting tells.

use super::plan::{AdapterPlan, Recompute, Scenario};
use super::policy::Family;
use super::trainers::Habits;
use crate::estimate::Workload;
use crate::estimate::model::{Model, TensorKind};
use crate::estimate::workload::{Checkpointing, Loss, Parallelism, Precision, Sharding, Training};

/// Allocator slack over what rests and what comes and goes, with samples of varying length: every parameter and state is
/// an allocation of its own.
pub(in crate::estimate) const PLAIN: [(f64, f64); 3] = [(0.0, 0.02), (0.08, 0.26), (0.10, 0.36)];
/// FSDP with samples of varying length: its gradients and gathered layers have streams, counted apart.
pub(in crate::estimate) const SHARDED: [(f64, f64); 3] = [(0.0, 0.02), (0.02, 0.15), (0.10, 0.36)];
/// With samples of one length, or compiled and fused kernels, which allocate the same sizes in every step.
pub(in crate::estimate) const STEADY: [(f64, f64); 3] = [(0.0, 0.0), (0.0, 0.05), (0.02, 0.12)];
/// Megatron with its own streams for communication and buffers that live as long as the run.
pub(in crate::estimate) const MEGATRON: [(f64, f64); 3] = [(0.0, 0.0), (0.05, 0.14), (0.08, 0.22)];
/// A multi-tensor step reuses what the activations left, so that little is lost beside the states.
const STEPPED: [(f64, f64); 3] = [(0.0, 0.02), (0.01, 0.26), (0.06, 0.42)];
pub(in crate::estimate) const EXPANDABLE: [(f64, f64); 3] = [(0.0, 0.01), (0.01, 0.06), (0.03, 0.12)];

/// The precision that costs least where none was declared: scripts that load 16-bit weights train them as they are. What
/// keeps an fp32 master does so whatever was loaded.
pub(super) fn cheapest_precision(declared: Option<Precision>, family: Family) -> Precision {
    let pure = matches!(family, Family::Torch | Family::Fsdp);
    declared.unwrap_or(if pure { Precision::Bf16 } else { Precision::MixedBf16 })
}

/// Whether the optimizer's step copies all parameters at once: a multi-tensor step that is not fused.
pub(super) const fn foreach(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Least | Scenario::Low => false,
        Scenario::Likely => habits.foreach && matches!(family, Family::Torch),
        Scenario::High => matches!(family, Family::Torch | Family::Fsdp),
    }
}

/// Whether the loss makes the copies of old versions of transformers.
pub(super) const fn shifted_logits(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Least | Scenario::Low => false,
        Scenario::Likely => habits.shifted_logits,
        Scenario::High => !habits.native_norms && !matches!(family, Family::Megatron),
    }
}

/// The loss as declared. A compiler can undo the recomputation of chunks, so that the dearest case has all of them.
pub(super) fn loss(training: &Training, habits: Habits, scenario: Scenario) -> Loss {
    let declared = training.loss.unwrap_or(Loss::Default);
    let compiled = training.fused_kernels.unwrap_or(habits.compiles);
    let undone = scenario == Scenario::High && compiled && habits.recomputed_chunks;
    if declared == Loss::Chunked && undone { Loss::Default } else { declared }
}

/// Whether the cheapest loss is meant: none was declared, and the trainer's plain one is not certain.
pub(super) const fn cheapest_loss(training: &Training, habits: Habits, scenario: Scenario) -> bool {
    let certain = habits.known_loss && !matches!(scenario, Scenario::Least);
    training.loss.is_none() && scenario.frugal() && !certain
}

/// Whether the loss is compiled and works in place, as a compiled step may have it.
pub(super) const fn compiled_loss(training: &Training, habits: Habits, scenario: Scenario) -> bool {
    let possible = habits.compiles && matches!(scenario, Scenario::Least);
    scenario.frugal() && (matches!(training.fused_kernels, Some(true)) || possible)
}

/// Whether FSDP keeps parameters gathered: as declared, and with a pipeline, whose micro-batches would gather again.
pub(super) fn resident(training: &Training, habits: Habits, parallelism: Parallelism, scenario: Scenario) -> bool {
    let usual = habits.gathers_whole || (parallelism.pipeline > 1 && !habits.megatron);
    training.keep_gathered || (usual && !scenario.frugal())
}

/// Share of the declared length that the longest sample of a batch has: the length is only a limit where samples are
/// neither packed nor padded to it.
pub(super) fn filled(training: &Training, habits: Habits, scenario: Scenario) -> f64 {
    let least = scenario == Scenario::Least;
    match training.fixed_lengths {
        Some(true) => 1.0,
        Some(false) => scenario.pick([0.2, 0.5, 1.0]),
        None if habits.short_samples => scenario.pick([0.2, 0.5, 1.0]),
        // Who trains is not known, or leaves the lengths to the data.
        None if least && !(habits.fixed_lengths && habits.known_kernels) => 0.25,
        None if habits.fixed_lengths => 1.0,
        None => scenario.pick([0.6, 1.0, 1.0]),
    }
}

/// Tokens of a typical long sample in instruction data: what leaves cached blocks behind is seldom longer.
const TYPICAL_SAMPLE: f64 = 3072.0;

/// Cached blocks of samples of other lengths, over the loss's buffers of the longest.
pub(super) fn cached(habits: Habits, sequence: u64) -> f64 {
    habits.cached * (TYPICAL_SAMPLE / (sequence as f64).max(1.0)).min(1.0)
}

/// How far what is reserved with cached blocks may lie from what is likely: the lengths of samples are not known.
pub(super) const CACHE_SPREAD: (f64, f64) = (0.88, 1.15);

/// The most over what is likely where the script is not known either.
pub(super) const UNKNOWN_CACHE: f64 = 1.3;

/// Whether gradients are reduced on a stream of their own, as FSDP does block by block: the allocator keeps its freed
/// blocks apart. A compiled step that recomputes chunks of its loss is likely traced as one graph, on one stream.
pub(super) fn reduces_apart(training: &Training, family: Family, habits: Habits, scenario: Scenario) -> bool {
    let chunked = training.loss == Some(Loss::Chunked) && habits.recomputed_chunks;
    let compiled = training.fused_kernels.unwrap_or(habits.compiles && scenario.frugal());
    let traced = compiled && chunked && scenario != Scenario::High;
    family == Family::Fsdp && !training.optimizer_in_backward && !traced
}

/// What comes and goes halfway between PyTorch's own kernels and compiled ones.
const HALF_COMPILED: f64 = 0.95;

/// Error of the rules for what comes and goes, larger where kernels differ most.
pub(super) fn error(training: &Training, adapters: Option<&AdapterPlan>, habits: Habits, scenario: Scenario) -> f64 {
    let quantized = adapters.is_some_and(|plan| plan.quantized.is_some());
    let (low, high) = match (training.precision, quantized) {
        (Some(Precision::Fp8), _) => (0.7, 1.09),
        (_, true) => (0.8, 1.3),
        _ if training.lora.is_some() => (0.82, 1.09),
        _ if !habits.known_kernels => (0.85, 1.09),
        _ => (0.9, 1.09),
    };
    // A denial allows for more than the error that was seen.
    let margin = if scenario == Scenario::Least { 0.92 } else { 1.0 };
    // Half of the runs of trainers that own their models are compiled: the middle is likely where nothing is said.
    let open = training.fused_kernels.is_none() && habits.compiles && habits.native_norms && !habits.megatron;
    margin * scenario.pick([low, if open { HALF_COMPILED } else { 1.0 }, high])
}

/// What routing to experts may take over the rules: buffers of tokens in the experts' order differ by kernel.
pub(super) fn routing(model: &Model, scenario: Scenario) -> f64 {
    let routed = model.weights().any(|(_, tensor)| tensor.kind == TensorKind::Expert);
    if routed { scenario.pick([1.0, 1.0, 1.08]) } else { 1.0 }
}

/// Tokens that the busiest of expert-parallel ranks gets over the average: a loss balances routers, and only roughly.
pub(super) const fn imbalance(parallelism: Parallelism, scenario: Scenario) -> f64 {
    if parallelism.expert > 1 { scenario.pick([1.0, 1.15, 1.6]) } else { 1.0 }
}

/// Tokens of a target sample over those of the source, for an encoder-decoder model: summaries and answers are shorter.
pub(super) fn targets(training: &Training, sequence: u64, scenario: Scenario) -> f64 {
    let declared = training.target_length.map(|target| target as f64 / (sequence as f64).max(1.0));
    declared.unwrap_or_else(|| scenario.pick([0.125, 0.5, 1.0]))
}

/// Draft layers that are trained with the model: as declared; transformers drops them, Megatron's recipes may not.
pub(super) fn draft_layers(training: &Training, habits: Habits, scenario: Scenario) -> u64 {
    let habit = habits.megatron && scenario == Scenario::High;
    training.mtp_layers.unwrap_or(if habit { u64::MAX } else { 0 })
}

pub(super) const fn slack(training: &Training, family: Family, habits: Habits) -> [(f64, f64); 3] {
    if habits.foreach {
        return STEPPED;
    }
    match (training.expandable_segments, matches!(training.fused_kernels, Some(true)) || habits.fixed_lengths, family) {
        (true, _, _) => EXPANDABLE,
        (false, _, Family::Megatron) => MEGATRON,
        (false, true, _) => STEADY,
        (false, false, Family::Fsdp) => SHARDED,
        (false, false, _) => PLAIN,
    }
}

pub(super) const fn recompute(declared: Option<Checkpointing>, scenario: Scenario) -> Recompute {
    match (declared, scenario) {
        (Some(checkpointing), _) => Recompute::Declared(checkpointing),
        (None, Scenario::Least | Scenario::Low) => Recompute::Least,
        (None, Scenario::Likely) => Recompute::Unknown,
        (None, Scenario::High) => Recompute::Declared(Checkpointing::None),
    }
}

pub(super) fn sequence_parallel(workload: &Workload, family: Family, scenario: Scenario) -> bool {
    workload.training.sequence_parallel.unwrap_or(match scenario {
        Scenario::Least | Scenario::Low => true,
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
