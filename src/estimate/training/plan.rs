//! What is computed with: the declared settings, and what each scenario assumes about the rest.

use super::policy::{Family, Policy};
use crate::estimate::memory::activations::Kernels;
use crate::estimate::model::{Model, TensorKind};
use crate::estimate::workload::{
    Checkpointing, Lora, Loss, Optimizer, Parallelism, Precision, Sharding, Training, ZeroBuckets,
};
use crate::estimate::{EstimateError, Workload};

use super::lora::Targets;
use super::phases::Load;
use super::trainers::Habits;

/// How much the settings that were not declared are thought to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// The cheapest plausible.
    Low,
    /// The trainers' defaults.
    Likely,
    /// The dearest plausible.
    High,
}

/// What is recomputed in backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recompute {
    /// As declared.
    Declared(Checkpointing),
    /// Not declared: between everything and nothing.
    Unknown,
}

/// Bytes a token, layer and hidden unit when nothing is known about checkpointing: the reference formula's scale of
/// 7.0 elements of 2 bytes.
pub(super) const UNKNOWN_ACTIVATION_BYTES: f64 = 14.0;

/// Micro-batch of a trainer that was given none: the smallest, and the default of the Hugging Face trainer.
const UNDECLARED_BATCH: (u64, u64) = (1, 8);

/// Everything that memory depends on beside the model, resolved for one scenario.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a trainer")]
pub(super) struct Plan {
    /// Tokens of a micro-batch on one rank.
    pub(super) tokens: f64,
    pub(super) tensor: f64,
    pub(super) pipeline: u64,
    /// Model chunks on one pipeline rank.
    pub(super) virtual_stages: f64,
    pub(super) expert: f64,
    /// Tensor-parallel ranks inside one expert.
    pub(super) expert_tensor: f64,
    /// Ranks that sharded states of dense parameters are divided over.
    pub(super) shards: f64,
    /// The same for routed experts.
    pub(super) expert_shards: f64,
    pub(super) family: Family,
    pub(super) sharding: Sharding,
    pub(super) policy: Policy,
    pub(super) optimizer: Optimizer,
    pub(super) recompute: Recompute,
    pub(super) loss: Loss,
    /// The loss was not declared and the cheapest is meant.
    pub(super) cheapest_loss: bool,
    pub(super) kernels: Kernels,
    pub(super) sequence_parallel: bool,
    /// Gradients of earlier micro-batches exist while a later one runs.
    pub(super) accumulates: bool,
    /// Micro-batches of one step; bounds those in flight in a pipeline.
    pub(super) micro_batches: Option<f64>,
    pub(super) bucket_copy: bool,
    /// The loss is compiled and works in place.
    pub(super) compiled_loss: bool,
    /// The optimizer step copies the trainable parameters once.
    pub(super) foreach: bool,
    pub(super) offload: bool,
    pub(super) reference_models: f64,
    /// Bytes of other frozen models on a rank.
    pub(super) other_models: f64,
    /// An fp32 average of the trained parameters is kept.
    pub(super) moving_average: bool,
    /// Layers of each stage; even when empty.
    pub(super) stage_layers: Vec<u64>,
    /// Micro-batches whose inputs of the head's gradient are kept.
    pub(super) deferred: f64,
    pub(super) optimizer_in_backward: bool,
    pub(super) activation_offload: bool,
    /// Sharded parameters are whole from the first forward pass to the end of the step.
    pub(super) resident: bool,
    pub(super) buckets: ZeroBuckets,
    pub(super) recompute_modules: Vec<String>,
    pub(super) projection_rank: Option<u64>,
    pub(super) active_layers: Option<u64>,
    pub(super) adapters: Option<AdapterPlan>,
    /// Cheapest settings of bucket sizes and prefetching.
    pub(super) frugal: bool,
    /// What the allocator holds on top, as shares of what rests and of what comes and goes.
    pub(super) slack: (f64, f64),
    /// Logits of an old version of transformers.
    pub(super) shifted_logits: bool,
    pub(super) habits: Habits,
    /// Workspaces of cuBLAS and fused kernels that the allocator holds all the time, bytes.
    pub(super) workspace: f64,
    /// Factor on activations, logits and transients: error of the rules themselves.
    pub(super) error: f64,
}

/// Low-rank adapters of a plan.
#[derive(Debug, Clone)]
pub(super) struct AdapterPlan {
    pub(super) rank: u64,
    pub(super) targets: Targets,
    /// Bytes of an adapter's parameter and gradient, and of one of its states.
    pub(super) width: f64,
    /// Bytes of a parameter of the frozen base that is quantized.
    pub(super) quantized: Option<f64>,
    pub(super) saved: Vec<String>,
}

/// NF4 in blocks of 64: half a byte and an fp32 scale for each block, or an 8-bit scale when scales are quantized too.
const NF4: f64 = 0.5 + 4.0 / 64.0;
const NF4_DOUBLE: f64 = 0.5 + 0.127 / 8.0;

/// Allocator slack over what rests and what comes and goes, with samples of varying length.
const PLAIN: [(f64, f64); 3] = [(0.0, 0.02), (0.05, 0.24), (0.12, 0.44)];
/// Plain PyTorch without sharding: every parameter and state is an allocation of its own.
const UNSHARDED: [(f64, f64); 3] = [(0.0, 0.02), (0.08, 0.26), (0.12, 0.42)];
/// With samples of one length, or compiled and fused kernels, which allocate fewer sizes.
const STEADY: [(f64, f64); 3] = [(0.0, 0.02), (0.05, 0.14), (0.12, 0.36)];
/// A multi-tensor step reuses what the activations left, so that little is lost beside the states.
const STEPPED: [(f64, f64); 3] = [(0.0, 0.02), (0.01, 0.26), (0.06, 0.42)];
const EXPANDABLE: [(f64, f64); 3] = [(0.0, 0.01), (0.01, 0.06), (0.03, 0.12)];

/// Workspaces in the allocator, MiB.
const WORKSPACE: [f64; 3] = [32.0, 96.0, 256.0];
const MIB: f64 = 1_048_576.0;

impl Scenario {
    const fn pick<T: Copy>(self, values: [T; 3]) -> T {
        let [low, likely, high] = values;
        match self {
            Self::Low => low,
            Self::Likely => likely,
            Self::High => high,
        }
    }
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

impl Plan {
    pub(super) fn resolve(workload: &Workload, model: &Model, scenario: Scenario) -> Result<Self, EstimateError> {
        let training = &workload.training;
        let parallelism = workload.parallelism;
        let sequence = workload.context_length.ok_or_else(|| EstimateError::Missing {
            field: "contextLength",
            hint: "training memory grows with the sequence length: add `contextLength` (tokens per sample)".to_owned(),
        })?;
        let undeclared = scenario.pick([UNDECLARED_BATCH.0, UNDECLARED_BATCH.0, UNDECLARED_BATCH.1]);
        let batch = workload.batch_size.unwrap_or(undeclared);
        let sharding = match (training.sharding, scenario) {
            (None, Scenario::High) if assumed_sharding(workload) == Sharding::Fsdp => Sharding::Ddp,
            _ => assumed_sharding(workload),
        };
        let habits = Habits::of(training.trainer.as_deref());
        let family = Family::of(sharding, habits.megatron);
        let precision = training.precision.unwrap_or(Precision::MixedBf16);
        let policy = match scenario {
            Scenario::Low => Policy::cheapest(precision, family),
            Scenario::Likely => Policy::of(precision, family),
            Scenario::High => Policy::dearest(precision, family),
        };
        let adapters = training.lora.as_ref().map(|lora| AdapterPlan::resolve(workload, model, lora, policy, scenario));
        let division = Division::of(parallelism, sharding, training);
        Ok(Self {
            tokens: shortest(training, scenario) * batch as f64 * sequence as f64 / parallelism.context as f64,
            tensor: parallelism.tensor as f64,
            pipeline: parallelism.pipeline,
            virtual_stages: training.virtual_stages.unwrap_or(1).max(1) as f64,
            expert: parallelism.expert as f64,
            expert_tensor: division.expert_tensor,
            shards: division.shards,
            expert_shards: division.expert_shards,
            family,
            sharding,
            policy,
            optimizer: training.optimizer.unwrap_or(Optimizer::AdamW),
            recompute: recompute(training.checkpointing, scenario),
            loss: loss(training, habits, scenario),
            cheapest_loss: training.loss.is_none() && scenario == Scenario::Low,
            kernels: kernels(workload, policy, family, adapters.as_ref(), scenario),
            sequence_parallel: sequence_parallel(workload, family, scenario),
            accumulates: training.gradient_accumulation.unwrap_or(1) > 1 || parallelism.pipeline > 1,
            micro_batches: training.micro_batches.map(|count| count as f64),
            bucket_copy: sharding == Sharding::Ddp && family == Family::Torch && scenario != Scenario::Low,
            compiled_loss: training.fused_kernels && scenario == Scenario::Low,
            foreach: foreach(habits, family, scenario),
            offload: training.cpu_offload,
            reference_models: training.reference_models as f64,
            other_models: training.other_parameters as f64,
            moving_average: training.moving_average,
            stage_layers: training.stage_layers.clone(),
            deferred: training.deferred_head_gradients as f64,
            optimizer_in_backward: training.optimizer_in_backward,
            activation_offload: training.activation_offload,
            resident: resident(training, habits, parallelism, scenario),
            buckets: training.buckets,
            recompute_modules: training.recompute_modules.clone(),
            projection_rank: training.projection_rank,
            active_layers: training.active_layers,
            adapters,
            frugal: scenario == Scenario::Low,
            slack: scenario.pick(slack(training, family, habits)),
            shifted_logits: shifted_logits(habits, family, scenario),
            habits,
            workspace: scenario.pick(WORKSPACE) * MIB,
            error: scenario.pick([0.9, 1.0, 1.09]),
        })
    }

    /// Bytes that the allocator holds but cannot use, for a load.
    pub(super) fn fragmentation(&self, load: &Load) -> f64 {
        let at_work = load.at_work();
        self.slack.0 * (load.total() - at_work) + self.slack.1 * at_work
    }

    /// Whether sharded gradients stay whole while micro-batches accumulate.
    pub(super) const fn defers_reduction(&self) -> bool {
        let habit = self.habits.defers_reduction && (self.accumulates || self.habits.gathers_whole);
        let pipelined = self.pipeline > 1 && !self.habits.megatron;
        (habit || pipelined) && !self.frugal && matches!(self.family, Family::Fsdp)
    }

    /// Whether parameters live on the host, not only the optimizer's states.
    pub(super) const fn offloads_weights(&self) -> bool {
        self.offload && !matches!(self.sharding, Sharding::Megatron | Sharding::Zero1 | Sharding::Zero2)
    }

    /// Bytes of a frozen parameter that is not quantized.
    pub(super) fn frozen_width(&self) -> f64 {
        let prepared = self.adapters.as_ref().is_some_and(|adapters| adapters.quantized.is_some());
        let upcast = prepared && self.habits.upcast_unquantized && self.family == Family::Torch && !self.frugal;
        if upcast { 4.0 } else { self.policy.frozen }
    }

    /// Ranks that the parameters themselves are divided over: dense and expert ones.
    pub(super) const fn weight_shards(&self) -> (f64, f64) {
        match self.sharding {
            Sharding::Zero3 | Sharding::Fsdp | Sharding::Hsdp => (self.shards, self.expert_shards),
            _ => (1.0, 1.0),
        }
    }
}

/// Whether the loss makes the copies of old versions of transformers.
const fn shifted_logits(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Low => false,
        Scenario::Likely => habits.shifted_logits,
        Scenario::High => !habits.native_norms && !matches!(family, Family::Megatron),
    }
}

/// The loss as declared. A compiler can undo the recomputation of chunks, so that the dearest case has all of them.
fn loss(training: &Training, habits: Habits, scenario: Scenario) -> Loss {
    let declared = training.loss.unwrap_or(Loss::Default);
    let undone = scenario == Scenario::High && training.fused_kernels && habits.recomputed_chunks;
    if declared == Loss::Chunked && undone { Loss::Default } else { declared }
}

/// Share of the declared length that samples surely have: it is only their limit where they are not packed or padded.
fn shortest(training: &Training, scenario: Scenario) -> f64 {
    let shorter = training.fixed_lengths == Some(false) && scenario == Scenario::Low;
    if shorter { 0.2 } else { 1.0 }
}

/// Whether FSDP keeps parameters gathered: as declared, and with a pipeline, whose micro-batches would gather again.
fn resident(training: &Training, habits: Habits, parallelism: Parallelism, scenario: Scenario) -> bool {
    let usual = habits.gathers_whole || (parallelism.pipeline > 1 && !habits.megatron);
    training.keep_gathered || (usual && scenario != Scenario::Low)
}

/// Whether the optimizer's step copies all parameters at once: a multi-tensor step that is not fused.
const fn foreach(habits: Habits, family: Family, scenario: Scenario) -> bool {
    match scenario {
        Scenario::Low => false,
        Scenario::Likely => habits.foreach && matches!(family, Family::Torch),
        Scenario::High => matches!(family, Family::Torch | Family::Fsdp),
    }
}

const fn slack(training: &Training, family: Family, habits: Habits) -> [(f64, f64); 3] {
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

/// Over how many ranks states are divided.
#[derive(Debug, Clone, Copy)]
struct Division {
    expert_tensor: f64,
    shards: f64,
    expert_shards: f64,
}

impl Division {
    fn of(parallelism: Parallelism, sharding: Sharding, training: &Training) -> Self {
        let (tensor, expert) = (parallelism.tensor as f64, parallelism.expert as f64);
        let replicas = parallelism.data as f64 * parallelism.context as f64;
        // Experts are divided over tensor-parallel ranks too, unless that many ranks are needed for the experts.
        let habit = if expert <= replicas { tensor } else { 1.0 };
        let expert_tensor = training.expert_tensor.map_or(habit, |ranks| (ranks.max(1) as f64).min(tensor));
        let copies = training.shard_replicas.unwrap_or(1).max(1) as f64;
        if matches!(sharding, Sharding::None | Sharding::Ddp) {
            return Self { expert_tensor, shards: 1.0, expert_shards: 1.0 };
        }
        let expert_shards = (tensor * replicas / (expert * expert_tensor)).max(1.0);
        Self { expert_tensor, shards: (replicas / copies).max(1.0), expert_shards: (expert_shards / copies).max(1.0) }
    }
}

const fn recompute(declared: Option<Checkpointing>, scenario: Scenario) -> Recompute {
    match (declared, scenario) {
        (Some(checkpointing), _) => Recompute::Declared(checkpointing),
        (None, Scenario::Low) => Recompute::Declared(Checkpointing::Full),
        (None, Scenario::Likely) => Recompute::Unknown,
        (None, Scenario::High) => Recompute::Declared(Checkpointing::None),
    }
}

fn sequence_parallel(workload: &Workload, family: Family, scenario: Scenario) -> bool {
    workload.training.sequence_parallel.unwrap_or(match scenario {
        Scenario::Low => true,
        Scenario::Likely => matches!(family, Family::Megatron | Family::Fsdp),
        // DTensor's plans divide norms; Megatron's default does not.
        Scenario::High => family == Family::Fsdp,
    })
}

fn kernels(
    workload: &Workload,
    policy: Policy,
    family: Family,
    adapters: Option<&AdapterPlan>,
    scenario: Scenario,
) -> Kernels {
    let habit = match scenario {
        Scenario::Low => true,
        Scenario::Likely => family == Family::Megatron,
        Scenario::High => false,
    };
    let fused = workload.training.fused_kernels || habit;
    let frozen = workload.training.lora.as_ref().and_then(|lora| adapters.map(|plan| plan.targets.adapters(lora)));
    Kernels {
        width: policy.compute,
        inputs: policy.inputs,
        fused,
        gathered_inputs: family == Family::Fsdp,
        fused_norms: Habits::of(workload.training.trainer.as_deref()).native_norms && scenario != Scenario::High,
        autocast: policy.autocast > 0.0 && frozen.is_none(),
        expanded_kv: !fused,
        frozen,
        scores: workload.training.eager_attention.then_some(workload.context_length.unwrap_or(1) as f64),
        dropout: workload.training.dropout,
    }
}

impl AdapterPlan {
    fn resolve(workload: &Workload, model: &Model, lora: &Lora, policy: Policy, scenario: Scenario) -> Self {
        let double = lora.double_quantization || scenario == Scenario::Low;
        let pure = workload.training.precision == Some(Precision::Bf16) && !lora.fp32_adapters;
        Self {
            rank: lora.rank,
            targets: Targets::resolve(lora, model),
            width: if lora.fp32_adapters {
                4.0
            } else if pure {
                2.0
            } else {
                policy.weight.max(2.0)
            },
            quantized: lora.quantized_base.then_some(if double { NF4_DOUBLE } else { NF4 }),
            saved: lora.modules_to_save.clone(),
        }
    }

    /// Whether a tensor's module is trained in full besides the adapters.
    pub(super) fn saves(&self, module: &str, kind: TensorKind) -> bool {
        self.saved.iter().any(|saved| {
            saved == module
                || (saved == "embed_tokens" && kind == TensorKind::Embedding)
                || (saved == "lm_head" && kind == TensorKind::Head)
        })
    }
}
