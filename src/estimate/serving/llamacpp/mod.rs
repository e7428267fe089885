//! llama.cpp's server: the offloaded part of the file, the cache of the whole context up front, compute buffers.
//!
//! Recent builds lower what was not set (`--fit`): fewer layers on the GPU, a shorter context. Only what the user fixed
//! can then fail, so only that is surely needed.

mod cache;

use super::server::{self, inner_width};
use crate::estimate::dtype::DType;
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::checkpoint::Correction;
use crate::estimate::model::{LayerGroup, Mlp, Model, Tensor, TensorKind};
use crate::estimate::parallel::{self, Stage};
use crate::estimate::units::Bytes;
use crate::estimate::workload::Workload;
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, Refusal, ServingDetail, Term, TermName};

use cache::Cells;
pub(super) use cache::element;

/// `--ubatch-size` where it is not given.
const UBATCH: u64 = 512;
/// Slots where `--parallel` is not given: 4 in recent builds, 1 before.
const SLOTS: (u64, u64) = (1, 4);
/// The shortest context that `--fit` goes down to (`--fit-ctx`), and what it keeps free (`--fit-target`), GiB.
const FIT_CONTEXT: u64 = 4096;
const FIT_MARGIN: f64 = 1.0;
/// CUDA context and libraries, GiB: 0.3 to 0.5 logged.
pub(in crate::estimate) const PROCESS: (f64, f64, f64) = (0.25, 0.4, 0.6);
/// Streams of the residual width that a batch keeps in fp32: 154 MiB for 512 tokens of a 27B (5120 wide, inner 17,408).
pub(in crate::estimate) const STREAMS: f64 = 8.0;
/// Compute buffers of a layer split: inputs are copied for the pipeline.
const SPLIT_COPIES: (f64, f64) = (2.0, 4.0);

/// What the server was told and what may still be lowered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Tokens of all sequences.
    pub context: u64,
    /// The least tokens that the server may go down to.
    pub least_context: u64,
    /// Sequences: at least, likely.
    pub slots: (u64, u64),
    /// Layers may stay on the CPU.
    pub layers_may_shrink: bool,
    /// What is kept free before anything is lowered.
    pub margin: Bytes,
}

struct Plan<'a> {
    workload: &'a Workload,
    model: &'a Model,
    device: &'a Device,
    storage: Storage<'a>,
    setup: Setup,
    ubatch: u64,
}

/// Bytes of one GPU.
struct Rank<'a> {
    stage: &'a Stage<'a>,
    weights: f64,
    tower: f64,
    cache: Interval,
    state: Interval,
    token_bytes: f64,
}

/// Estimates a llama.cpp server.
///
/// # Errors
/// When there are more GPUs than layers, or the context is neither given nor known from the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let engine = &workload.engine;
    let context = server::context(workload, model, "--ctx-size")?;
    let given = engine.parallel_slots.or(workload.batch_size);
    let layers_may_shrink = engine.gpu_layers.is_none() && engine.fit != Some(false);
    let may_fit = engine.fit != Some(false);
    let setup = Setup {
        context,
        least_context: if workload.context_length.is_some() { context } else { context.min(FIT_CONTEXT) },
        slots: given.map_or(SLOTS, |slots| (slots, slots)),
        layers_may_shrink,
        margin: if may_fit { Bytes::from_gib(FIT_MARGIN) } else { Bytes::ZERO },
    };
    evaluate(workload, model, device, setup)
}

/// Estimates a llama.cpp server that was set up so; its notes are about the setup.
///
/// # Errors
/// As [`estimate`].
pub(super) fn evaluate(
    workload: &Workload,
    model: &Model,
    device: &Device,
    setup: Setup,
) -> Result<Estimate, EstimateError> {
    let split = workload.parallelism;
    let plan = Plan {
        workload,
        model,
        device,
        storage: Storage {
            // GGUF files keep 16 bit where they do not quantize.
            dtype: workload.dtype.unwrap_or(if model.dtype == DType::Fp32 { DType::Fp16 } else { model.dtype }),
            quantization: workload.quantization.as_ref().or(model.quantization.as_ref()),
            parallelism: split,
            attention_data: 1,
            fused: false,
        },
        setup,
        // A step of the server is one physical batch.
        ubatch: workload.engine.ubatch.or(workload.engine.max_num_batched_tokens).unwrap_or(UBATCH),
    };
    let stages = parallel::stages(model, split.pipeline, workload.engine.layer_partition.as_deref())?;
    let ranks: Vec<Rank<'_>> = stages.iter().map(|stage| plan.rank(stage)).collect();
    let worst = ranks
        .iter()
        .max_by_key(|rank| server::total(&plan.terms(rank)).likely)
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    Ok(plan.assemble(worst))
}

impl Rank<'_> {
    fn log(&self) -> Vec<String> {
        let buffers = [("model", Bytes::from_f64(self.weights)), ("KV", self.cache.likely), ("RS", self.state.likely)];
        let named = buffers.iter().filter(|(_, bytes)| *bytes > Bytes::ZERO);
        named.map(|(name, bytes)| format!("CUDA0 {name} buffer size = {:.2} MiB", bytes.gib() * 1024.0)).collect()
    }
}

impl<'a> Plan<'a> {
    /// The stage's layers that are on the GPU: the last `--gpu-layers` of the model, the output layer counted first.
    fn offloaded(&self, stage: &Stage<'a>) -> Vec<(u64, &'a LayerGroup)> {
        let mut left = self.workload.engine.gpu_layers.unwrap_or(u64::MAX);
        if left > self.model.layer_count() {
            return stage.layers.clone();
        }
        left = left.div_ceil(stage.of);
        let mut kept = Vec::new();
        for (count, group) in stage.layers.iter().rev() {
            let now = left.min(*count);
            kept.push((now, *group));
            left -= now;
        }
        kept
    }

    fn rank(&self, stage: &'a Stage<'a>) -> Rank<'a> {
        let layers = self.offloaded(stage);
        let all = self.workload.engine.gpu_layers.is_none_or(|n| n > self.model.layer_count());
        let known = Correction::of(self.model);
        let bytes = |tensor: &Tensor| self.storage.tensor(tensor) * known.outer(tensor.kind);
        let stored = |group: &LayerGroup| group.tensors.iter().map(|tensor| self.storage.tensor(tensor)).sum::<f64>();
        let of_layers: f64 = layers.iter().map(|(n, group)| *n as f64 * stored(group)).sum::<f64>() * known.layers;
        // The embedding stays on the CPU; tied models put a copy of it on the GPU as the output.
        let output = |tensor: &&Tensor| match tensor.kind {
            TensorKind::Embedding => self.model.tied_embeddings,
            TensorKind::Tower => false,
            _ => true,
        };
        let head: f64 =
            if all && stage.is_last() { self.model.outer.iter().filter(output).map(bytes).sum() } else { 0.0 };
        let tower = self.model.outer.iter().filter(|t| t.kind == TensorKind::Tower && stage.is_first());
        let caches = |context: u64, slots: u64| {
            let cells = self.cells(context, slots);
            let each = layers.iter().map(|(n, group)| (*n as f64, cells.layer(group)));
            each.fold((0.0, 0.0), |(kv, state), (n, (k, s))| (kv + n * k, state + n * s))
        };
        let setup = &self.setup;
        let most = caches(setup.context, setup.slots.1);
        let least = caches(setup.least_context, setup.slots.0);
        let token = self.cells(1, 1);
        let interval = |low: f64, likely: f64| {
            Interval::new(Bytes::from_f64(low), Bytes::from_f64(likely), Bytes::from_f64(likely))
        };
        Rank {
            stage,
            weights: of_layers + head,
            tower: tower.map(bytes).sum(),
            cache: interval(least.0, most.0),
            state: interval(least.1, most.1),
            token_bytes: layers.iter().map(|(n, group)| *n as f64 * token.layer(group).0).sum(),
        }
    }

    fn cells(&self, context: u64, slots: u64) -> Cells {
        let engine = &self.workload.engine;
        Cells {
            context,
            slots,
            ubatch: self.ubatch,
            whole_windows: engine.full_window_cache,
            snapshots: engine.speculative_tokens,
            element: element(self.workload.kv_cache_dtype),
            tensor: self.workload.parallelism.tensor,
        }
    }

    /// fp32 buffers of one physical batch; older builds also reserve logits of every token of it.
    fn compute(&self, stage: &Stage<'_>) -> Interval {
        let hidden = self.model.hidden_size;
        let width = stage.layers.iter().map(|(_, group)| batch_width(&group.mlp, hidden)).fold(0.0, f64::max);
        let streams = width + STREAMS * hidden as f64;
        let batch = self.ubatch.min(self.setup.context) as f64 * 4.0;
        let forward = batch * streams;
        let logits = if stage.is_last() { batch * self.model.vocab_size as f64 } else { 0.0 };
        let (likely, high) = if stage.of > 1 { SPLIT_COPIES } else { (1.0, 1.2) };
        Interval::new(
            Bytes::from_f64(forward * 0.25),
            Bytes::from_f64(forward * likely),
            Bytes::from_f64(forward * high + logits),
        )
    }

    fn assemble(&self, worst: &Rank<'_>) -> Estimate {
        let terms = self.terms(worst);
        let required = server::total(&terms);
        let process = server::gib(PROCESS);
        let kv = worst.cache.likely + worst.state.likely;
        let fixed = required.likely - kv - self.margin().likely;
        let pool = worst.cache.likely;
        let tokens = if worst.token_bytes > 0.0 { (pool.as_f64() / worst.token_bytes) as u64 } else { 0 };
        let room = self.device.visible - fixed - worst.state.likely;
        let longest = if worst.token_bytes > 0.0 { (room.as_f64() / worst.token_bytes) as u64 } else { u64::MAX };
        let most = self.model.max_position_embeddings.unwrap_or(u64::MAX);
        let reserved = Interval::new(
            required.low.min(self.device.visible).max(process.low),
            (required.likely - self.margin().likely).min(self.device.visible),
            (required.high - self.margin().high).min(self.device.visible),
        );
        Estimate {
            per_gpu: PerGpu { required, wanted: required, reserved },
            usable: self.device.visible,
            serving: Some(ServingDetail {
                weights_bytes: Bytes::from_f64(worst.weights),
                non_kv_bytes: fixed,
                kv_pool_bytes: pool,
                kv_bytes_per_token: Bytes::from_f64(worst.token_bytes),
                kv_tokens: tokens.min(self.setup.context),
                max_context: longest.min(most),
                expected_log: worst.log(),
            }),
            terms,
            training: None,
            worst_rank: worst.stage.describe(),
            refusals: self.refusals(required),
            notes: self.notes(required),
            gpus: server::gpus(&self.workload.parallelism),
        }
    }

    fn margin(&self) -> Interval {
        Interval::new(Bytes::ZERO, Bytes::ZERO, self.setup.margin)
    }

    fn terms(&self, rank: &Rank<'_>) -> Vec<Term> {
        let surely = |interval: Interval| {
            if self.setup.layers_may_shrink { Interval { low: Bytes::ZERO, ..interval } } else { interval }
        };
        let weights = Interval::spread(Bytes::from_f64(rank.weights), 0.03, 0.03);
        let tower = Interval::new(Bytes::ZERO, Bytes::from_f64(rank.tower), Bytes::from_f64(rank.tower));
        let setup = &self.setup;
        server::terms(vec![
            (
                TermName::Weights,
                surely(weights + tower),
                Provenance::Derived,
                "tensors of the offloaded layers; the token embedding stays on the CPU".to_owned(),
            ),
            (
                TermName::KvCache,
                surely(rank.cache),
                Provenance::Exact,
                format!("{} tokens × {:.0} B, up front", setup.context, rank.token_bytes),
            ),
            (
                TermName::State,
                surely(rank.state),
                Provenance::Exact,
                format!("fp32 states of {} sequences", setup.slots.1),
            ),
            (
                TermName::Activations,
                surely(self.compute(rank.stage)),
                Provenance::Calibrated,
                format!("compute buffers of a physical batch of {} tokens", self.ubatch),
            ),
            (
                TermName::Fragmentation,
                self.margin(),
                Provenance::Derived,
                "what --fit keeps free before it lowers anything".to_owned(),
            ),
            (TermName::Runtime, server::gib(PROCESS), Provenance::Calibrated, "CUDA context and libraries".to_owned()),
        ])
    }

    /// Only what the user fixed can fail.
    fn refusals(&self, required: Interval) -> Vec<Refusal> {
        if self.setup.layers_may_shrink || required.low <= self.device.visible {
            return Vec::new();
        }
        let message = format!(
            "at least {:.2} are needed with the layers that --gpu-layers puts on the GPU, it has {:.2}: leave \
             --gpu-layers unset or lower it",
            required.low, self.device.visible
        );
        vec![Refusal { code: "WEIGHTS_EXCEED_DEVICE", message }]
    }

    fn notes(&self, required: Interval) -> Vec<String> {
        let mut notes = Vec::new();
        let setup = &self.setup;
        if setup.layers_may_shrink && required.high > self.device.visible {
            notes.push("what does not fit on the GPU stays on the CPU: the server starts, but slower".to_owned());
        }
        if self.workload.context_length.is_none() {
            notes.push(format!(
                "no context length is given: up to {} tokens, lowered down to {} where they do not fit",
                setup.context, setup.least_context
            ));
        }
        if setup.slots.1 > 1 {
            notes.push(format!("the context is shared by {} sequences", setup.slots.1));
        }
        notes
    }
}

/// Elements that a feed-forward block holds for a token: input and output of its activation function; a mixture also
/// every chosen expert's output, as it is and weighted.
fn batch_width(mlp: &Mlp, hidden: u64) -> f64 {
    match *mlp {
        Mlp::Moe { intermediate, top_k, .. } => 2.0 * top_k as f64 * (intermediate as f64 + hidden as f64),
        ref other => 2.0 * inner_width(other) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::model::{Attention, Quantization};
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::workload::EngineName;

    fn llama(gib: f64) -> (Workload, Device) {
        fixtures::on(EngineName::Llamacpp, fixtures::dense(&Shape::LLAMA_8B), gib)
    }

    fn run(workload: &Workload, device: &Device) -> Estimate {
        crate::estimate::estimate(workload, device).unwrap()
    }

    /// 131,072 tokens of Llama-3.1-8B are 16 GiB: on 12 GiB that shrinks where it was not asked for.
    #[test]
    fn an_unset_context_is_never_a_denial() {
        let (mut workload, device) = llama(11.6);
        workload.quantization = Quantization::from_name("awq");
        workload.engine.gpu_layers = Some(u64::MAX);
        let unset = run(&workload, &device);
        let kv = unset.terms.iter().find(|term| term.name == TermName::KvCache).unwrap();
        assert_eq!(kv.bytes.likely, Bytes::from_gib(16.0));
        assert_eq!(kv.bytes.low, Bytes::from_gib(0.5));
        assert!(unset.per_gpu.required.low < unset.usable);
        workload.context_length = Some(131_072);
        let asked = run(&workload, &device);
        assert!(asked.per_gpu.required.low > asked.usable);
        assert_eq!(asked.refusals[0].code, "WEIGHTS_EXCEED_DEVICE");
        // Without a number of layers, the rest stays on the CPU.
        workload.engine.gpu_layers = None;
        let fitted = run(&workload, &device);
        assert!(fitted.per_gpu.required.low < Bytes::from_gib(1.0));
        assert!(fitted.notes.iter().any(|note| note.contains("CPU")));
        workload.engine.fit = Some(false);
        assert!(run(&workload, &device).per_gpu.required.low > device.visible);
    }

    #[test]
    fn layers_and_embedding_on_the_cpu_do_not_count() {
        let (mut workload, device) = llama(24.0);
        let weights = |workload: &Workload| run(workload, &device).serving.unwrap().weights_bytes;
        let whole = weights(&workload);
        // 8,030,261,248 parameters less an embedding of 128,256 x 4096, in 16 bit.
        assert_eq!(whole, Bytes((8_030_261_248 - 525_336_576) * 2));
        workload.engine.gpu_layers = Some(16);
        let half = weights(&workload);
        workload.engine.gpu_layers = Some(0);
        assert_eq!(weights(&workload), Bytes::ZERO);
        assert!(half < whole.scale(0.5) && half > whole.scale(0.4));
    }

    #[test]
    fn a_layer_split_divides_weights_and_cache() {
        let (mut workload, device) = llama(24.0);
        workload.context_length = Some(32_768);
        let one = run(&workload, &device).serving.unwrap();
        workload.parallelism.pipeline = 2;
        let two = run(&workload, &device);
        assert_eq!(two.gpus, 2);
        let two = two.serving.unwrap();
        assert_eq!(two.kv_pool_bytes.times(2), one.kv_pool_bytes);
        assert!(two.weights_bytes < one.weights_bytes);
    }

    /// A 27B hybrid: 154 MiB were logged for a physical batch of 512, 38.5 for a quarter of it.
    #[test]
    fn compute_buffers_follow_the_physical_batch() {
        let shape = Shape { hidden: 5120, intermediate: 17_408, ..Shape::LLAMA_8B };
        let model = fixtures::model(&shape, vec![fixtures::layers(&shape, 64, Attention::Full(shape.attention()))]);
        let (mut workload, device) = fixtures::on(EngineName::Llamacpp, model, 80.0);
        // DeepSeek-R1 with batches of 4096: 3152 MiB on the GPUs without the output.
        let mixture = Mlp::Moe { experts: 256, top_k: 8, intermediate: 2048, shared_intermediate: 2048, gated: true };
        let bytes = (batch_width(&mixture, 7168) + STREAMS * 7168.0) * 4096.0 * 4.0;
        assert!((bytes / f64::from(1 << 20) / 3152.02 - 1.0).abs() < 0.03, "{bytes}");
        for (ubatch, logged) in [(512, 154.02), (128, 38.5)] {
            workload.engine.ubatch = Some(ubatch);
            let estimate = run(&workload, &device);
            let compute = estimate.terms.iter().find(|term| term.name == TermName::Activations).unwrap();
            let mib = compute.bytes.likely.as_f64() / (1u64 << 20) as f64;
            assert!((mib / logged - 1.0).abs() < 0.05, "{mib} against {logged}");
        }
    }
}
