//! The phases of a step on one rank, and which of them has the peak.

use super::plan::{Plan, Recompute, UNKNOWN_ACTIVATION_BYTES};
use super::policy::Family;
use super::ranks::Rank;
use crate::estimate::memory::activations::{self, Kernels, Saved};
use crate::estimate::memory::gradients::Gradients;
use crate::estimate::memory::logits::CrossEntropy;
use crate::estimate::memory::optimizer::States;
use crate::estimate::memory::transient::Unsharding;
use crate::estimate::model::{Attention, LayerGroup, Model};
use crate::estimate::workload::{Checkpointing, Sharding};

/// Bytes of one rank in one phase, by term.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Load {
    pub(super) weights: f64,
    pub(super) adapters: f64,
    pub(super) gradients: f64,
    pub(super) optimizer: f64,
    pub(super) activations: f64,
    pub(super) logits: f64,
    pub(super) transient: f64,
}

impl Load {
    /// What comes and goes with every micro-batch.
    pub(super) fn at_work(&self) -> f64 {
        self.activations + self.logits + self.transient
    }

    pub(super) fn total(&self) -> f64 {
        self.weights + self.adapters + self.gradients + self.optimizer + self.activations + self.logits + self.transient
    }
}

/// The moments of a step that can have the peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// All activations exist and the loss is being differentiated.
    Loss,
    /// The last layer is in backward: activations exist, gradients do not yet.
    BackwardStart,
    /// The first layer is in backward: gradients exist, activations are gone.
    BackwardEnd,
    /// The optimizer step.
    Step,
}

impl Phase {
    pub(super) const ALL: [Self; 4] = [Self::Loss, Self::BackwardStart, Self::BackwardEnd, Self::Step];

    /// The stable name of the phase itself.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::BackwardStart => "backward-start",
            Self::BackwardEnd => "backward-end",
            Self::Step => "step",
        }
    }

    /// The stable name in output.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Loss => "forward",
            Self::BackwardStart | Self::BackwardEnd => "backward",
            Self::Step => "optimizer",
        }
    }
}

/// A rank with the sizes that its phases are made of.
pub(super) struct Footprint<'a> {
    pub(super) plan: &'a Plan,
    pub(super) model: &'a Model,
    pub(super) rank: Rank<'a>,
    pub(super) gradients: Gradients,
    pub(super) cross_entropy: CrossEntropy,
    states: States,
    unsharding: Unsharding,
}

impl<'a> Footprint<'a> {
    pub(super) fn of(plan: &'a Plan, model: &'a Model, stage: u64) -> Self {
        let rank = Rank::of(plan, model, stage);
        let trainable = rank.trainable();
        let (width, reduce) = plan
            .adapters
            .as_ref()
            .map_or((plan.policy.gradient, plan.policy.reduce), |adapters| (adapters.width, adapters.width));
        let divided = Gradients::divided(plan.sharding) && !plan.defers_reduction();
        let shards = if divided { (plan.shards, plan.expert_shards) } else { (1.0, 1.0) };
        // One divisor that gives the same bytes as dividing dense and expert gradients apart.
        let effective = if trainable.total() > 0.0 { trainable.total() / trainable.over(shards) } else { 1.0 };
        let gradients =
            Gradients { trainable: trainable.total(), width, shards: effective, bucket_copy: plan.bucket_copy };
        let cross_entropy = CrossEntropy {
            loss: plan.loss,
            tokens: plan.tokens * plan.targets * (1.0 + rank.drafts),
            vocabulary: model.vocab_size as f64 / plan.tensor,
            hidden: model.hidden_size as f64,
            softcap: model.logit_softcap,
            held: plan.habits.held_logits,
            eager: plan.declared.fused_kernels != Some(true),
            sharded: plan.tensor > 1.0,
            shifted_copy: plan.shifted_logits,
            in_place: plan.family == Family::Megatron || plan.habits.megatron || plan.compiled_loss,
            recomputed_chunks: plan.recomputed_chunks,
            head_gradient: plan.adapters.is_none().then_some(plan.policy.gradient),
        };
        let cross_entropy = if plan.cheapest_loss { cross_entropy.cheapest() } else { cross_entropy };
        let unsharding = Unsharding {
            sharding: if plan.offloads_weights() { Sharding::Fsdp } else { plan.sharding },
            shards: if plan.offloads_weights() { plan.shards.max(2.0) } else { plan.shards },
            block: rank.block,
            root: rank.root,
            parameters: rank.parameters(),
            trainable: trainable.total(),
            width: gathered_width(plan, &rank),
            reduce_width: reduce,
            root_apart: plan.frugal || plan.habits.root_apart,
            frugal: plan.frugal,
            resident: plan.resident && !plan.offloads_weights(),
            buckets: plan.declared.buckets,
        };
        let states = States::of(plan.optimizer, rank.matrices);
        Self { plan, model, rank, gradients, cross_entropy, states, unsharding }
    }

    /// The rank's load in a phase.
    pub(super) fn load(&self, phase: Phase) -> Load {
        let resting = Load {
            weights: self.weights(),
            adapters: self.adapters(),
            optimizer: self.optimizer(),
            gradients: if self.offload_gradients() { 0.0 } else { self.gradients_in(phase) },
            ..Load::default()
        };
        let error = self.plan.error;
        let mut load = match phase {
            Phase::Loss => Load {
                activations: error * self.kept(),
                logits: if self.rank.last { error * self.cross_entropy.bytes() } else { 0.0 },
                transient: error * self.unsharding.at_loss(),
                ..resting
            },
            Phase::BackwardStart => Load {
                activations: error * (self.kept() + self.working()),
                transient: error * (self.unsharding.in_backward() + self.dequantized()),
                ..resting
            },
            Phase::BackwardEnd => {
                let waiting = self.kept() * (1.0 - 1.0 / self.rank.in_flight);
                let (activations, tied) = (waiting + self.working(), waiting);
                // The gradient of a tied embedding is summed from two others after the layers are done.
                let sum = self.tied_sum();
                let transient = self.unsharding.in_backward() + self.dequantized();
                if error * (self.working() + transient) > sum {
                    Load { activations: error * activations, transient: error * transient, ..resting }
                } else {
                    Load { activations: error * tied, transient: sum, ..resting }
                }
            }
            Phase::Step => Load { transient: self.step_transient(), ..resting },
        };
        load.transient += self.plan.workspace + self.deferred();
        load
    }

    /// Bytes beyond the peak that the allocator takes: unusable remainders, and with `streams` the freed blocks of
    /// gradients that are reduced on a stream of their own, which it gives back only when the device is full.
    pub(super) fn fragmentation(&self, streams: bool) -> f64 {
        let streams = streams && self.plan.reduces_apart;
        let peak = self.peak().1.total();
        let taken = |phase| {
            let load = self.load(phase);
            let apart = if streams { self.load(Phase::Step).gradients - load.gradients } else { 0.0 };
            load.total() + self.plan.slack(&load) + apart.max(0.0)
        };
        let most = Phase::ALL.into_iter().map(taken).fold(0.0, f64::max);
        (most - peak).max(0.0)
    }

    /// What the allocator holds while forward and backward run, with cached blocks of samples of other lengths.
    pub(super) fn reserved_at_work(&self) -> f64 {
        let of = |phase| {
            let load = self.load(phase);
            load.total() + self.plan.cached * load.logits
        };
        of(Phase::Loss).max(of(Phase::BackwardStart))
    }

    /// Inputs of head gradients that are computed after the pipeline's flush.
    fn deferred(&self) -> f64 {
        let plan = self.plan;
        if !self.rank.last {
            return 0.0;
        }
        let deferred = plan.declared.deferred_head_gradients as f64;
        let each = (self.cross_entropy.vocabulary + self.cross_entropy.hidden) * plan.policy.compute;
        deferred.min(plan.micro_batches.unwrap_or(deferred)) * plan.tokens * each
    }

    /// The phase with the peak and its load.
    pub(super) fn peak(&self) -> (Phase, Load) {
        let mut best = (Phase::Step, self.load(Phase::Step));
        for phase in Phase::ALL {
            let load = self.load(phase);
            if load.total() > best.1.total() {
                best = (phase, load);
            }
        }
        best
    }

    /// Bytes of the base model's parameters, frozen and trained, with frozen reference models.
    pub(super) fn weights(&self) -> f64 {
        let plan = self.plan;
        if plan.offloads_weights() {
            return 0.0;
        }
        let shards = plan.weight_shards();
        let quantized = plan.adapters.as_ref().and_then(|adapters| adapters.quantized).unwrap_or(0.0);
        let reference = if plan.adapters.is_some() {
            0.0
        } else {
            plan.reference_models * plan.policy.compute * self.rank.trained.over(shards)
        };
        plan.policy.weight * self.rank.trained.over(shards)
            + plan.frozen_width() * self.rank.frozen.over(shards)
            + quantized * self.rank.quantized.over(shards)
            + reference
            + plan.declared.other_parameters as f64 * plan.policy.compute / shards.0
            + if plan.declared.moving_average { 4.0 * self.rank.trained.over(shards) } else { 0.0 }
    }

    /// Bytes of the adapters' own parameters.
    pub(super) fn adapters(&self) -> f64 {
        let width = self.plan.adapters.as_ref().map_or(0.0, |adapters| adapters.width);
        self.rank.adapters * width / self.plan.weight_shards().0
    }

    /// Bytes of the optimizer for one trainable parameter, master copy included.
    pub(super) fn optimizer_bytes_per_parameter(&self) -> f64 {
        let policy = self.plan.policy;
        match &self.plan.adapters {
            // Adapters in fp32 are their own master.
            Some(adapters) => {
                let master = if policy.master > 0.0 && adapters.width < 4.0 { policy.master } else { 0.0 };
                master + self.states.per_parameter(if policy.master > 0.0 { policy.state } else { adapters.width })
            }
            None => policy.master + self.states.per_parameter(policy.state),
        }
    }

    /// Bytes of optimizer states and master weights.
    pub(super) fn optimizer(&self) -> f64 {
        // Paged states are evicted before they cause an out-of-memory error: the cheapest case keeps none.
        if self.plan.offload || (self.states.paged && self.plan.frugal) {
            return 0.0;
        }
        let shards = (self.plan.shards, self.plan.expert_shards);
        let each = self.optimizer_bytes_per_parameter();
        if self.plan.declared.projection_rank.is_some() && self.plan.adapters.is_none() {
            // Matrices keep projected states and projectors, and the master copy where there is one.
            let policy = self.plan.policy;
            let trained = self.rank.trained.over(shards);
            let matrices = self.rank.matrices * trained;
            let full = States::of(self.plan.optimizer, 0.0).per_parameter(policy.state).max(f64::MIN_POSITIVE);
            let width = (full / 2.0).min(policy.state);
            let divided = self.rank.trained.total() / trained.max(1.0);
            return (trained - matrices) * each + matrices * policy.master + self.rank.projected * width / divided;
        }
        each * self.rank.trainable().over(shards)
    }

    fn offload_gradients(&self) -> bool {
        self.plan.offloads_weights() && Gradients::divided(self.plan.sharding)
    }

    fn gradients_in(&self, phase: Phase) -> f64 {
        let whole = self.gradients.bytes();
        if self.plan.declared.optimizer_in_backward {
            // One parameter's gradient at a time; the largest is the embedding's or the head's.
            return self.gradients.width * self.rank.head.max(self.rank.block) / self.gradients.shards;
        }
        // Megatron's gradient buffer and accumulated gradients exist from the start, DDP's buckets too.
        if self.plan.accumulates || self.plan.family == Family::Megatron {
            return whole;
        }
        match phase {
            Phase::Loss => self.gradients.buckets(),
            Phase::BackwardStart => self.gradients.buckets() + self.head_gradient(),
            Phase::BackwardEnd | Phase::Step => whole,
        }
    }

    fn head_gradient(&self) -> f64 {
        if self.plan.adapters.is_some() { 0.0 } else { self.rank.head * self.gradients.width / self.gradients.shards }
    }

    fn tied_sum(&self) -> f64 {
        if self.model.tied_embeddings && self.plan.adapters.is_none() && self.rank.last && self.rank.stage == 0 {
            2.0 * self.rank.head * if self.plan.shards > 1.0 { self.plan.policy.reduce } else { self.gradients.width }
        } else {
            0.0
        }
    }

    fn dequantized(&self) -> f64 {
        self.rank.largest_matrix * 2.0
    }

    fn step_transient(&self) -> f64 {
        let plan = self.plan;
        if plan.offload {
            return 0.0;
        }
        let shards = (plan.shards, plan.expert_shards);
        let trainable = self.rank.trainable().over(shards);
        let foreach = if plan.foreach && self.states.has_foreach_temporary() {
            trainable * plan.adapters.as_ref().map_or(plan.policy.state, |adapters| adapters.width)
        } else {
            0.0
        };
        // DeepSpeed upcasts its partition's gradients group by group, at most 1e9 elements at once.
        foreach + trainable.min(1e9) * plan.policy.step_gradient + self.unsharding.in_step()
    }

    /// Bytes of one token in one layer that are kept for backward.
    pub(super) fn kept_per_token(&self, group: &LayerGroup) -> f64 {
        let (hidden, kernels) = (self.model.hidden_size, &self.kernels(group));
        let on_rank = |saved: Saved| saved.on_rank(self.plan.tensor, self.plan.sequence_parallel);
        let none = on_rank(activations::layer(group, hidden, kernels));
        let full = on_rank(activations::checkpoint(hidden, kernels)).min(none);
        match self.plan.recompute {
            Recompute::Declared(Checkpointing::None) => none,
            // Megatron recomputes the attention core only, which a flash kernel never keeps.
            Recompute::Declared(Checkpointing::Selective) if self.megatron() => {
                on_rank(activations::without_modules(group, hidden, kernels, &self.plan.declared.recompute_modules))
            }
            Recompute::Declared(Checkpointing::Selective) => {
                on_rank(activations::selective(group, hidden, kernels)).clamp(full, none)
            }
            Recompute::Declared(Checkpointing::Full) | Recompute::Least => full,
            Recompute::Unknown => {
                (UNKNOWN_ACTIVATION_BYTES * hidden as f64 / self.plan.tensor).clamp(full, none.max(full))
            }
        }
    }

    /// Bytes of one layer for each token of the context length; a decoder's layers see fewer targets.
    fn kept_per_source(&self, group: &LayerGroup) -> f64 {
        let share = self.plan.share_of_tokens(group);
        let keeps_all = self.plan.recompute == Recompute::Declared(Checkpointing::None);
        let source =
            if keeps_all && share < 1.0 { activations::source(group, &self.plan.kernels) } else { Saved::default() };
        let longer = (1.0 - share) * source.on_rank(self.plan.tensor, self.plan.sequence_parallel);
        share.mul_add(self.kept_per_token(group), longer)
    }

    /// The kernels of a group of layers: a decoder's own attention scores targets against targets.
    fn kernels(&self, group: &LayerGroup) -> Kernels {
        let own = !matches!(group.attention, Attention::Encoder(_) | Attention::Cross(_));
        let kernels = self.plan.kernels;
        let scores = kernels.scores.map(|length| if own { length * self.plan.targets } else { length });
        Kernels { scores, ..kernels }
    }

    fn kept(&self) -> f64 {
        let keeps_all = self.plan.recompute == Recompute::Declared(Checkpointing::None);
        let layers: f64 = self.rank.layers.iter().map(|(count, group)| count * self.kept_per_source(group)).sum();
        let casts: f64 = if keeps_all && self.plan.kernels.autocast {
            self.rank.trained.total() * self.plan.policy.autocast
        } else if self.plan.kernels.autocast {
            self.rank.head * self.plan.policy.autocast
        } else if self.plan.adapters.is_some() && self.plan.frozen_width() > self.plan.policy.frozen {
            // The upcast head is cast back to 16 bit for its product.
            self.rank.head * self.plan.policy.compute
        } else {
            0.0
        };
        let head = if self.rank.last { activations::head(self.model.hidden_size, &self.plan.kernels) } else { 0.0 };
        let waiting = self.rank.in_flight * self.plan.tokens * layers;
        let offloaded = matches!(self.plan.recompute, Recompute::Declared(Checkpointing::Full))
            && self.plan.declared.activation_offload;
        // Three layers' inputs are on their way to or from the host.
        let count: f64 = self.rank.layers.iter().map(|(count, _)| count).sum();
        let waiting = if offloaded { waiting.min(3.0 * self.plan.tokens * layers / count.max(1.0)) } else { waiting };
        waiting + self.plan.tokens * self.plan.targets * head + casts
    }

    fn megatron(&self) -> bool {
        self.plan.family == Family::Megatron || self.plan.habits.megatron
    }

    /// One layer in backward: what it recomputes, and its temporaries.
    fn working(&self) -> f64 {
        let hidden = self.model.hidden_size;
        let again = !matches!(self.plan.recompute, Recompute::Declared(Checkpointing::None) | Recompute::Least);
        let per_token = self.rank.layers.iter().map(|(_, group)| {
            let on_rank = |saved: Saved| saved.on_rank(self.plan.tensor, self.plan.sequence_parallel);
            let kernels = self.kernels(group);
            let recomputed = if again { on_rank(activations::layer(group, hidden, &kernels)) } else { 0.0 };
            self.plan.share_of_tokens(group) * (recomputed + on_rank(activations::backward(group, hidden, &kernels)))
        });
        // Compiled recomputation frees as it goes.
        let share = if self.plan.frugal { 0.75 } else { 1.0 };
        share * self.plan.tokens * per_token.fold(0.0, f64::max)
    }
}

/// Average bytes of a gathered parameter: quantized ones stay quantized until their product.
fn gathered_width(plan: &Plan, rank: &Rank<'_>) -> f64 {
    let Some(quantized) = plan.adapters.as_ref().and_then(|adapters| adapters.quantized) else {
        return plan.policy.gather;
    };
    let parameters = rank.parameters();
    if parameters > 0.0 {
        (rank.quantized.total() * quantized + rank.frozen.total() * plan.policy.gather) / parameters
    } else {
        plan.policy.gather
    }
}
