//! What is computed with: the declared settings, and what each scenario assumes about the rest.

use super::policy::{Family, Policy};
use crate::estimate::memory::activations::Kernels;
use crate::estimate::model::{Attention, LayerGroup, Model, Quantization, TensorKind};
use crate::estimate::workload::{Checkpointing, Lora, Loss, Optimizer, Parallelism, Precision, Sharding, Training};
use crate::estimate::{EstimateError, Workload};

use super::assumed::{
    assumed_sharding, cached, cheapest_loss, cheapest_precision, compiled_loss, draft_layers, error, filled, foreach,
    imbalance, loss, recompute, reduces_apart, resident, routing, sequence_parallel, shifted_logits, slack, targets,
};
use super::lora::Targets;
use super::phases::Load;
use super::trainers::Habits;

/// How much the settings that were not declared are thought to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// The cheapest plausible, with every option that saves memory where nothing says that it is off.
    Least,
    /// The cheapest plausible with what was declared: options that were not are off.
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
    /// Not declared, and the least of every way at each moment: nothing is kept, and nothing computed again.
    Least,
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
    /// The same of the decoder, where the model has an encoder of its own: over `tokens`.
    pub(super) targets: f64,
    /// Draft layers that are trained.
    pub(super) draft_layers: u64,
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
    /// Chunks of a chunked loss recompute their logits.
    pub(super) recomputed_chunks: bool,
    /// The optimizer step copies the trainable parameters once.
    pub(super) foreach: bool,
    pub(super) offload: bool,
    pub(super) reference_models: f64,
    /// Settings that no scenario changes, as declared.
    pub(super) declared: Training,
    /// Sharded parameters are whole from the first forward pass to the end of the step.
    pub(super) resident: bool,
    pub(super) adapters: Option<AdapterPlan>,
    /// Cheapest settings of bucket sizes and prefetching.
    pub(super) frugal: bool,
    /// What the allocator holds on top, as shares of what rests and of what comes and goes.
    pub(super) slack: (f64, f64),
    /// A tied head is a matrix of its own.
    pub(super) untied_head: bool,
    /// Gradients are reduced on a stream of their own, whose blocks the allocator gives to no other.
    pub(super) reduces_apart: bool,
    /// Logits of an old version of transformers.
    pub(super) shifted_logits: bool,
    pub(super) habits: Habits,
    /// Workspaces of cuBLAS and fused kernels that the allocator holds all the time, bytes.
    pub(super) workspace: f64,
    /// Cached blocks of samples of other lengths, over what comes and goes.
    pub(super) cached: f64,
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
    /// The base was quantized while it was loaded, and what is left of it upcast.
    upcast: bool,
    pub(super) saved: Vec<String>,
}

/// Checkpoints that come quantized keep their other tensors as they are.
fn is_prequantized(quantization: &Quantization) -> bool {
    ["gptq", "awq", "hqq"].iter().any(|name| quantization.name.starts_with(name))
}

/// Whether the frozen base is quantized: as declared for the adapters, for the model, or as its checkpoint is.
fn quantized_base(workload: &Workload, model: &Model, lora: &Lora) -> bool {
    let narrow = |quantization: &Quantization| quantization.bits < 16.0;
    lora.quantized_base || workload.quantization.as_ref().or(model.quantization.as_ref()).is_some_and(narrow)
}

/// Bytes of a quantized parameter: of the declared format, else of NF4.
fn quantized_width(workload: &Workload, double: bool) -> f64 {
    match &workload.quantization {
        // Groups of 128 have a 16-bit scale and a zero point.
        Some(quantization) if is_prequantized(quantization) => quantization.bits / 8.0 + 3.0 / 128.0,
        Some(quantization) if quantization.bits >= 8.0 => quantization.bits / 8.0,
        _ if double => NF4_DOUBLE,
        _ => NF4,
    }
}

/// NF4 in blocks of 64: half a byte and an fp32 scale for each block, or an 8-bit scale when scales are quantized too.
const NF4: f64 = 0.5 + 4.0 / 64.0;
const NF4_DOUBLE: f64 = 0.5 + 0.127 / 8.0;

/// Workspaces in the allocator, MiB.
const WORKSPACE: [f64; 3] = [0.0, 96.0, 256.0];
const MIB: f64 = 1_048_576.0;

impl Scenario {
    pub(super) const fn pick<T: Copy>(self, values: [T; 3]) -> T {
        let [low, likely, high] = values;
        match self {
            Self::Least | Self::Low => low,
            Self::Likely => likely,
            Self::High => high,
        }
    }

    /// Whether the cheapest is meant.
    pub(super) const fn frugal(self) -> bool {
        matches!(self, Self::Least | Self::Low)
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
        let sharding = sharding(workload, scenario);
        let habits = habits(workload, model, scenario);
        let family = Family::of(sharding, habits.megatron);
        let precision = training.precision.unwrap_or(Precision::MixedBf16);
        let cheapest = cheapest_precision(training.precision, family);
        let policy = scenario.pick([
            Policy::cheapest(cheapest, family),
            Policy::of(precision, family),
            Policy::dearest(precision, family),
        ]);
        let adapters = training.lora.as_ref().map(|lora| AdapterPlan::resolve(workload, model, lora, policy, scenario));
        let (sequences, micro_batches) = batch(workload, habits, scenario);
        let division = Division::of(parallelism, sharding, training);
        Ok(Self {
            tokens: filled(training, habits, scenario) * sequences * sequence as f64 / parallelism.context as f64,
            targets: if is_encoder_decoder(model) { targets(training, sequence, scenario) } else { 1.0 },
            draft_layers: draft_layers(training, habits, scenario),
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
            cheapest_loss: cheapest_loss(training, habits, scenario),
            kernels: kernels(workload, policy, family, adapters.as_ref(), scenario),
            sequence_parallel: sequence_parallel(workload, family, scenario),
            accumulates: training.gradient_accumulation.unwrap_or(1) > 1 || parallelism.pipeline > 1,
            micro_batches: micro_batches.map(|count| count as f64),
            bucket_copy: sharding == Sharding::Ddp && family == Family::Torch && !scenario.frugal(),
            compiled_loss: compiled_loss(training, habits, scenario),
            recomputed_chunks: scenario.pick([true, habits.recomputed_chunks, false]),
            foreach: foreach(habits, family, scenario),
            offload: training.cpu_offload,
            reference_models: training.reference_models as f64,
            declared: training.clone(),
            resident: resident(training, habits, parallelism, scenario),
            frugal: scenario.frugal(),
            slack: scenario.pick(slack(training, family, habits)),
            untied_head: scenario.pick(habits.untied_head),
            reduces_apart: division.shards > 1.0 && reduces_apart(training, family, habits, scenario),
            shifted_logits: shifted_logits(habits, family, scenario),
            habits,
            workspace: scenario.pick(WORKSPACE) * MIB,
            error: error(training, adapters.as_ref(), habits, scenario) * routing(model, scenario),
            cached: cached(habits, sequence),
            adapters,
        })
    }

    /// Bytes that the allocator holds but cannot use, for a load.
    pub(super) fn slack(&self, load: &Load) -> f64 {
        let at_work = load.at_work();
        self.slack.0 * (load.total() - at_work) + self.slack.1 * at_work
    }

    /// Tokens of a group of layers over those of the source: decoder layers of an encoder-decoder model see targets.
    pub(super) const fn share_of_tokens(&self, group: &LayerGroup) -> f64 {
        if matches!(group.attention, Attention::Encoder(_)) { 1.0 } else { self.targets }
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
        let prepared = self.adapters.as_ref().is_some_and(|adapters| adapters.quantized.is_some() && adapters.upcast);
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

/// The trainer's habits; in the dearest case what it may do, which with a quantized base is not known of any.
fn habits(workload: &Workload, model: &Model, scenario: Scenario) -> Habits {
    let training = &workload.training;
    let quantized = training.lora.as_ref().is_some_and(|lora| quantized_base(workload, model, lora));
    Habits::of(training).at_worst(scenario == Scenario::High && !quantized)
}

/// How states are divided; what was not declared may not be divided at all.
fn sharding(workload: &Workload, scenario: Scenario) -> Sharding {
    match (workload.training.sharding, assumed_sharding(workload)) {
        (None, Sharding::Fsdp) if scenario == Scenario::High => Sharding::Ddp,
        (_, sharding) => sharding,
    }
}

/// Sequences of a micro-batch, and how many micro-batches a step has. Some trainers cut the batch of a pipeline into
/// micro-batches of one sample.
fn batch(workload: &Workload, habits: Habits, scenario: Scenario) -> (f64, Option<u64>) {
    let training = &workload.training;
    let undeclared = scenario.pick([UNDECLARED_BATCH.0, UNDECLARED_BATCH.0, UNDECLARED_BATCH.1]);
    let batch = workload.batch_size.unwrap_or(undeclared);
    let cut = habits.cuts_batches && workload.parallelism.pipeline > 1 && training.micro_batches.is_none();
    let (samples, micro_batches) = if cut { (1, Some(batch)) } else { (batch, training.micro_batches) };
    (training.sequences_per_sample.unwrap_or(1).max(1) as f64 * samples as f64, micro_batches)
}

/// Whether the decoder attends to the output of an encoder that is trained with it.
fn is_encoder_decoder(model: &Model) -> bool {
    let has = |wanted: fn(&Attention) -> bool| model.layers.iter().any(|group| wanted(&group.attention));
    has(|attention| matches!(attention, Attention::Encoder(_)))
        && has(|attention| matches!(attention, Attention::Cross(_)))
}

fn kernels(
    workload: &Workload,
    policy: Policy,
    family: Family,
    adapters: Option<&AdapterPlan>,
    scenario: Scenario,
) -> Kernels {
    let habits = Habits::of(&workload.training);
    let megatron = family == Family::Megatron;
    let habit = match scenario {
        Scenario::Least => megatron || !habits.known_kernels || habits.compiles,
        Scenario::Low => megatron || !habits.known_kernels,
        Scenario::Likely => megatron,
        Scenario::High => megatron && habits.known_kernels,
    };
    // Collectives between tensor-parallel ranks cut compiled layers into pieces that fuse little.
    let cut = workload.parallelism.tensor > 1 && family == Family::Fsdp && !scenario.frugal();
    let fused = (workload.training.fused_kernels == Some(true) && !cut) || habit;
    let frozen = workload.training.lora.as_ref().and_then(|lora| adapters.map(|plan| plan.targets.adapters(lora)));
    let quantized = adapters.is_some_and(|plan| plan.quantized.is_some());
    Kernels {
        width: policy.compute,
        inputs: policy.inputs,
        fused,
        gathered_inputs: family == Family::Fsdp,
        fused_norms: Habits::of(&workload.training).native_norms && scenario != Scenario::High,
        autocast: policy.autocast > 0.0 && frozen.is_none(),
        expanded_kv: !fused,
        frozen,
        frozen_inputs: quantized && Habits::of(&workload.training).keeps_quantized_inputs,
        scores: workload.training.eager_attention.then_some(workload.context_length.unwrap_or(1) as f64),
        dropout: workload.training.dropout,
        imbalance: imbalance(workload.parallelism, scenario),
    }
}

impl AdapterPlan {
    fn resolve(workload: &Workload, model: &Model, lora: &Lora, policy: Policy, scenario: Scenario) -> Self {
        let double = lora.double_quantization || scenario.frugal();
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
            quantized: quantized_base(workload, model, lora).then(|| quantized_width(workload, double)),
            // Old versions of PEFT upcast what is left of prequantized checkpoints too.
            upcast: scenario == Scenario::High || !workload.quantization.as_ref().is_some_and(is_prequantized),
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
