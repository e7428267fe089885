//! From the peaks of three scenarios to terms, intervals and sentences.

use super::Peak;
use super::assumed::{CACHE_SPREAD, UNKNOWN_CACHE, assumed_sharding};
use super::phases::{Load, Phase};
use super::plan::{Recompute, UNKNOWN_ACTIVATION_BYTES};
use super::policy::Family;
use crate::estimate::memory::comm;
use crate::estimate::workload::{Optimizer, Precision, Sharding};
use crate::estimate::{
    Bytes, Device, Estimate, Interval, PerGpu, Provenance, Term, TermName, TrainingDetail, Workload,
};

/// The worst rank at its peak, for the cheapest, the usual and the dearest settings; the requirement rests on `least`.
pub(super) struct Peaks<'a> {
    pub(super) least: Peak<'a>,
    pub(super) low: Peak<'a>,
    pub(super) likely: Peak<'a>,
    pub(super) high: Peak<'a>,
}

impl Peaks<'_> {
    fn interval(&self, bytes: impl Fn(&Load) -> f64) -> Interval {
        let of = |peak: &Peak<'_>| Bytes::from_f64(bytes(&peak.load));
        Interval::new(of(&self.least), of(&self.likely), of(&self.high))
    }

    fn fragmentation(&self) -> Interval {
        let of = |peak: &Peak<'_>, streams| Bytes::from_f64(peak.footprint.fragmentation(streams));
        Interval::new(of(&self.least, false), of(&self.likely, true), of(&self.high, true))
    }
}

pub(super) fn estimate(workload: &Workload, device: &Device, peaks: &Peaks<'_>) -> Estimate {
    let gpus = gpus(workload);
    let usable = device.visible;
    let allocated = peaks.interval(Load::total);
    let fragmentation = peaks.fragmentation();
    let (context, nccl) = (runtime(workload, usable), comm::nccl(gpus, groups(workload)));
    let mut terms = allocator_terms(peaks);
    terms.extend([
        term(TermName::Fragmentation, fragmentation, fragmentation_formula(peaks), Provenance::Calibrated),
        term(TermName::Runtime, context, runtime_formula(workload), Provenance::Calibrated),
        term(
            TermName::Comm,
            nccl,
            format!("NCCL: {gpus} GPUs, {} groups of ranks", groups(workload)),
            Provenance::Calibrated,
        ),
    ]);
    terms.retain(|term| term.bytes.high > Bytes::ZERO);
    terms.sort_by(|a, b| b.bytes.likely.cmp(&a.bytes.likely).then(a.name.cmp(&b.name)));
    // Summed from the rounded terms, so that a reader's own addition gives the same number.
    let likely = terms.iter().map(|term| term.bytes.likely).sum();
    let outside = context + nccl;
    let required = Interval::new(
        allocated.low + fragmentation.low + outside.low,
        likely,
        allocated.high + fragmentation.high + outside.high,
    );
    Estimate {
        per_gpu: PerGpu { required, wanted: required, reserved: reserved(peaks, allocated + fragmentation, usable) },
        usable: device.visible,
        terms,
        serving: None,
        training: Some(detail(&peaks.likely)),
        worst_rank: worst_rank(peaks),
        refusals: Vec::new(),
        notes: notes(workload, peaks),
        gpus,
    }
}

/// What is taken beside the trainer's allocator: the context, and an inference engine on the same device, which may
/// sleep while the trainer works.
fn runtime(workload: &Workload, visible: Bytes) -> Interval {
    let engine = visible.scale(workload.training.colocated_share.unwrap_or(0.0).clamp(0.0, 1.0));
    comm::training_context() + Interval::new(Bytes::ZERO, engine, engine)
}

fn runtime_formula(workload: &Workload) -> String {
    let share =
        workload.training.colocated_share.map(|share| format!(", and {share} of the GPU for an engine beside it"));
    format!("CUDA context and kernels{}", share.unwrap_or_default())
}

/// What the allocator takes from the device: what it needs, and blocks that it keeps as long as there is room.
fn reserved(peaks: &Peaks<'_>, needed: Interval, visible: Bytes) -> Interval {
    // Whether gradients have a stream of their own is the trainer's.
    let plan = peaks.low.footprint.plan;
    let streams = plan.habits.known_kernels && (plan.declared.fused_kernels.is_some() || !plan.habits.compiles);
    let kept = Bytes::from_f64(peaks.low.load.total() + peaks.low.footprint.fragmentation(streams));
    let least = needed.low.max(kept).min(needed.likely);
    if peaks.likely.footprint.plan.cached <= 0.0 {
        return Interval::new(least, needed.likely, needed.high);
    }
    let room = visible - comm::training_context().likely;
    let cached = |share: f64, least: Bytes| {
        least.max(Bytes::from_f64(peaks.likely.footprint.reserved_at_work()).min(room).scale(share))
    };
    let likely = cached(1.0, needed.likely);
    let (low, high) = CACHE_SPREAD;
    if !peaks.likely.footprint.plan.habits.known_kernels {
        // An unknown script's samples may as well be of one length, which leaves no blocks.
        let likely = cached(1.0, needed.likely);
        return Interval::new(least, likely, cached(UNKNOWN_CACHE, needed.high.max(likely)));
    }
    // No more than is likely, however dear the settings that were not declared.
    Interval::new(cached(low, least).min(likely), likely, cached(high, needed.high.min(likely.scale(high))))
}

/// The addends of a load, without those that are nothing.
pub(super) fn phase_terms(low: &Load, likely: &Load, high: &Load) -> Vec<(TermName, Interval)> {
    type Share = fn(&Load) -> f64;
    const TERMS: [(TermName, Share); 7] = [
        (TermName::Weights, |load| load.weights),
        (TermName::Adapters, |load| load.adapters),
        (TermName::Optimizer, |load| load.optimizer),
        (TermName::Gradients, |load| load.gradients),
        (TermName::Activations, |load| load.activations),
        (TermName::Logits, |load| load.logits),
        (TermName::Transient, |load| load.transient),
    ];
    let bytes = |of: Share| {
        let [low, likely, high] = [low, likely, high].map(|load| Bytes::from_f64(of(load)));
        Interval::new(low, likely, high)
    };
    let terms = TERMS.map(|(name, of)| (name, bytes(of)));
    terms.into_iter().filter(|(_, bytes)| bytes.high > Bytes::ZERO).collect()
}

fn detail(peak: &Peak<'_>) -> TrainingDetail {
    let end = peak.footprint.load(Phase::Step);
    TrainingDetail {
        parameters_bytes: Bytes::from_f64(peak.load.weights + peak.load.adapters),
        gradients_bytes: Bytes::from_f64(end.gradients),
        optimizer_bytes: Bytes::from_f64(peak.load.optimizer),
        activations_bytes: Bytes::from_f64(peak.footprint.load(Phase::Loss).activations),
        peak_allocated_bytes: Bytes::from_f64(peak.load.total()),
        peak_phase: peak.phase.name(),
    }
}

fn term(name: TermName, bytes: Interval, formula: String, provenance: Provenance) -> Term {
    Term { name, bytes, formula, provenance }
}

fn allocator_terms(peaks: &Peaks<'_>) -> Vec<Term> {
    let footprint = &peaks.likely.footprint;
    let plan = footprint.plan;
    let recompute =
        if matches!(plan.recompute, Recompute::Unknown) { Provenance::Assumed } else { Provenance::Derived };
    vec![
        term(TermName::Weights, peaks.interval(|load| load.weights), weights_formula(peaks), Provenance::Exact),
        term(
            TermName::Adapters,
            peaks.interval(|load| load.adapters),
            format!("{:.4e} adapter parameters", footprint.rank.adapters),
            Provenance::Exact,
        ),
        term(
            TermName::Gradients,
            peaks.interval(|load| load.gradients),
            footprint.gradients.formula(),
            Provenance::Derived,
        ),
        term(TermName::Optimizer, peaks.interval(|load| load.optimizer), optimizer_formula(peaks), Provenance::Derived),
        term(TermName::Activations, peaks.interval(|load| load.activations), activations_formula(peaks), recompute),
        term(
            TermName::Logits,
            peaks.interval(|load| load.logits),
            footprint.cross_entropy.formula(),
            Provenance::Derived,
        ),
        term(TermName::Transient, peaks.interval(|load| load.transient), transient_formula(peaks), Provenance::Derived),
    ]
}

fn divided(shards: f64) -> String {
    if shards > 1.0 { format!(" / {shards} ranks") } else { String::new() }
}

fn weights_formula(peaks: &Peaks<'_>) -> String {
    let footprint = &peaks.likely.footprint;
    let (plan, rank) = (footprint.plan, &footprint.rank);
    let mut parts = Vec::new();
    let mut part = |parameters: f64, width: f64, what: &str| {
        if parameters > 0.0 {
            parts.push(format!("{parameters:.4e} {what} x {width} B"));
        }
    };
    part(rank.trained.total(), plan.policy.weight, "parameters");
    part(rank.frozen.total(), plan.frozen_width(), "frozen parameters");
    if let Some(width) = plan.adapters.as_ref().and_then(|adapters| adapters.quantized) {
        part(rank.quantized.total(), width, "quantized parameters");
    }
    format!("({}){}", parts.join(" + "), divided(plan.weight_shards().0))
}

fn optimizer_formula(peaks: &Peaks<'_>) -> String {
    let footprint = &peaks.likely.footprint;
    let plan = footprint.plan;
    format!(
        "{:.4e} trainable parameters x {:.3} B ({}){}",
        footprint.rank.trainable().total(),
        footprint.optimizer_bytes_per_parameter(),
        plan.optimizer.name(),
        divided(plan.shards),
    )
}

fn activations_formula(peaks: &Peaks<'_>) -> String {
    let footprint = &peaks.likely.footprint;
    let (plan, rank) = (footprint.plan, &footprint.rank);
    let layers: f64 = rank.layers.iter().map(|(count, _)| count).sum();
    let bytes: f64 = rank.layers.iter().map(|(count, group)| count * footprint.kept_per_token(group)).sum();
    let flight =
        if rank.in_flight > 1.0 { format!(" x {} micro-batches in flight", rank.in_flight) } else { String::new() };
    let mode = match plan.recompute {
        Recompute::Declared(checkpointing) => format!("checkpointing {}", checkpointing.name()),
        Recompute::Unknown | Recompute::Least => {
            format!("checkpointing not declared: {UNKNOWN_ACTIVATION_BYTES} B a hidden unit")
        }
    };
    let (tokens, each) = (plan.tokens, bytes / layers.max(1.0));
    format!("{tokens} tokens x {layers} layers x {each:.0} B{flight} ({mode}), and one layer at work")
}

fn transient_formula(peaks: &Peaks<'_>) -> String {
    let plan = peaks.likely.footprint.plan;
    let rank = &peaks.likely.footprint.rank;
    match peaks.likely.phase {
        Phase::Step => format!("copies in the optimizer step over {:.4e} parameters", rank.trainable().total()),
        _ if plan.shards > 1.0 => format!(
            "gathered by {}: layer of {:.3e} and root of {:.3e} parameters",
            plan.sharding.name(),
            rank.block,
            rank.root
        ),
        _ => "temporaries of the backward pass".to_owned(),
    }
}

fn fragmentation_formula(peaks: &Peaks<'_>) -> String {
    let (at_rest, at_work) = peaks.likely.footprint.plan.slack;
    format!("{:.0}% of states, {:.0}% of activations, logits and transients", 100.0 * at_rest, 100.0 * at_work)
}

/// GPUs of the replica.
fn gpus(workload: &Workload) -> u64 {
    let p = workload.parallelism;
    p.tensor.saturating_mul(p.pipeline).saturating_mul(p.context).saturating_mul(p.data)
}

/// Kinds of process groups that own communicators.
fn groups(workload: &Workload) -> u64 {
    let p = workload.parallelism;
    [p.tensor, p.pipeline, p.data, p.context, p.expert].iter().map(|&degree| u64::from(degree > 1)).sum()
}

fn worst_rank(peaks: &Peaks<'_>) -> String {
    let footprint = &peaks.likely.footprint;
    let stages = footprint.plan.pipeline;
    if stages > 1 {
        format!("pipeline stage {} of {stages}", footprint.rank.stage.saturating_add(1))
    } else {
        String::new()
    }
}

fn notes(workload: &Workload, peaks: &Peaks<'_>) -> Vec<String> {
    let training = &workload.training;
    let mut notes = Vec::new();
    let mut assume = |missing: bool, text: String| {
        if missing {
            notes.push(text);
        }
    };
    assume(workload.batch_size.is_none(), "batchSize is not declared: 1 to 8 samples a GPU assumed".to_owned());
    assume(training.precision.is_none(), format!("precision is not declared: {} assumed", Precision::MixedBf16.name()));
    assume(training.optimizer.is_none(), format!("optimizer is not declared: {} assumed", Optimizer::AdamW.name()));
    let sharding = assumed_sharding(workload);
    assume(
        training.sharding.is_none() && sharding != Sharding::None,
        format!("sharding is not declared: {} assumed", sharding.name()),
    );
    assume(
        training.checkpointing.is_none(),
        "checkpointing is not declared: low assumes full, high assumes none".to_owned(),
    );
    assume(training.loss.is_none(), "loss is not declared: low assumes chunks, high all logits at once".to_owned());
    let plan = peaks.likely.footprint.plan;
    assume(
        plan.adapters.as_ref().is_some_and(|adapters| adapters.targets.unmatched),
        "no LoRA target names a module of this model: the usual targets were taken".to_owned(),
    );
    assume(
        workload.parallelism.tensor > 1 && plan.family == Family::Torch,
        "tensor parallelism without a sharding: the trainer's own rules are not known".to_owned(),
    );
    notes
}
