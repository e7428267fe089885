//! Servers without rules of their own here: weights, the cache of the declared sequences, a forward pass.
//!
//! A plain PyTorch server allocates the whole declared batch up front; engines that queue require one sequence.

use crate::estimate::dtype::DType;
use crate::estimate::interval::{Interval, Provenance};
use crate::estimate::memory::kv_cache::{CacheFormat, LayerCache};
use crate::estimate::memory::weights::Storage;
use crate::estimate::model::{Mlp, Model};
use crate::estimate::parallel::{self, Stage};
use crate::estimate::units::Bytes;
use crate::estimate::workload::Workload;
use crate::estimate::{Device, Estimate, EstimateError, PerGpu, ServingDetail, Term, TermName};

struct Rank {
    stage: String,
    weights: Interval,
    sequence: f64,
    token_bytes: f64,
    activations: Interval,
}

/// Estimates a server that has no rules of its own.
///
/// # Errors
/// When parallelism does not divide the model.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let stages = parallel::stages(model, workload.parallelism.pipeline, None)?;
    let context = workload.context_length.or(model.max_position_embeddings);
    let batch = workload.batch_size.unwrap_or(1);
    let rank = stages
        .iter()
        .map(|stage| rank(workload, model, stage, batch, context.unwrap_or(0)))
        .max_by_key(|rank| rank.weights.likely + Bytes::from_f64(rank.sequence))
        .ok_or_else(|| EstimateError::Parallelism("the model has no layers".to_owned()))?;
    let declared = workload.context_length.is_some();
    let cache = |sequences: u64| {
        let bytes = Bytes::from_f64(rank.sequence * sequences as f64);
        // Without a declared length a request may be as short as it likes.
        if declared { Interval::exact(bytes) } else { Interval::new(Bytes::ZERO, bytes.scale(0.25), bytes) }
    };
    let queues = workload.engine.name.queues();
    let required_cache = cache(if queues { 1 } else { batch });
    let terms = terms(&rank, required_cache, batch, context.unwrap_or(0));
    let required: Interval = terms.iter().map(|term| term.bytes).sum();
    let wanted = required_without_cache(&terms) + cache(batch);
    let usable = device.visible.scale(if queues { workload.engine.memory_fraction.unwrap_or(0.9) } else { 1.0 });
    let split = &workload.parallelism;
    Ok(Estimate {
        per_gpu: PerGpu {
            required,
            wanted: wanted.max(required),
            reserved: if queues { Interval::spread(usable, 0.05, 0.1) } else { wanted.max(required) },
        },
        usable,
        serving: Some(detail(&rank, required, required_cache, usable, model)),
        terms,
        training: None,
        worst_rank: rank.stage,
        refusals: Vec::new(),
        notes: notes(declared, context),
        gpus: [split.tensor, split.pipeline, split.data].iter().fold(1, |n, degree| n.saturating_mul(*degree)),
    })
}

fn rank(workload: &Workload, model: &Model, stage: &Stage<'_>, batch: u64, context: u64) -> Rank {
    let format = workload.dtype.unwrap_or(model.dtype);
    let storage = Storage {
        dtype: format,
        quantization: workload.quantization.as_ref().or(model.quantization.as_ref()),
        parallelism: workload.parallelism,
        attention_data: 1,
        fused: false,
    };
    let cache = CacheFormat {
        element: workload.kv_cache_dtype.map_or_else(|| format.bytes().max(1.0), DType::bytes),
        conv: format.bytes().max(1.0),
        state: 4.0,
        tensor: workload.parallelism.tensor,
        speculative: 0,
    };
    let caches: Vec<(u64, LayerCache)> =
        stage.layers.iter().map(|(n, group)| (*n, LayerCache::of(&group.attention, &cache))).collect();
    let weights = storage.stage(model, stage) - workload.engine.cpu_offload;
    Rank {
        stage: stage.describe(),
        weights: Interval::spread(weights, 0.01, 0.02),
        sequence: caches.iter().map(|(n, cache)| *n as f64 * cache.sequence(context)).sum(),
        token_bytes: caches.iter().map(|(n, cache)| *n as f64 * cache.token_bytes()).sum(),
        activations: activations(model, stage, format, batch, context),
    }
}

/// A forward pass: at least one short prompt, likely one full prompt, at most all sequences at once with the logits of
/// every position upcast to fp32.
fn activations(model: &Model, stage: &Stage<'_>, format: DType, batch: u64, context: u64) -> Interval {
    const STREAMS: f64 = 8.0;
    const SHORT_PROMPT: f64 = 128.0;
    let width = stage.layers.iter().map(|(_, group)| inner_width(&group.mlp)).max().unwrap_or(0);
    let element = format.bytes().max(2.0);
    let pass = |tokens: f64| tokens * (3.0 * width as f64 + STREAMS * model.hidden_size as f64) * element;
    let all = batch as f64 * context as f64;
    let logits = if stage.is_last() { all * model.vocab_size as f64 * (element + 4.0) } else { 0.0 };
    Interval::new(
        Bytes::from_f64(pass(SHORT_PROMPT.min(context as f64))),
        Bytes::from_f64(pass(context as f64)),
        Bytes::from_f64(pass(all) + logits),
    )
}

const fn inner_width(mlp: &Mlp) -> u64 {
    match mlp {
        Mlp::Dense { intermediate, .. } => *intermediate,
        Mlp::Moe { intermediate, top_k, shared_intermediate, .. } => {
            intermediate.saturating_mul(*top_k).saturating_add(*shared_intermediate)
        }
        Mlp::None => 0,
    }
}

fn terms(rank: &Rank, cache: Interval, batch: u64, context: u64) -> Vec<Term> {
    let runtime = Interval::new(Bytes::from_gib(0.3), Bytes::from_gib(0.6), Bytes::from_gib(1.5));
    let all = [
        (TermName::Weights, rank.weights, Provenance::Exact, "stored tensors of the rank".to_owned()),
        (
            TermName::KvCache,
            cache,
            Provenance::Derived,
            format!("{batch} sequences × {context} tokens × {:.0} B", rank.token_bytes),
        ),
        (TermName::Activations, rank.activations, Provenance::Assumed, "one forward pass over the prompts".to_owned()),
        (TermName::Runtime, runtime, Provenance::Assumed, "CUDA context, libraries, allocator reserve".to_owned()),
    ];
    let kept = all.into_iter().filter(|(_, bytes, _, _)| bytes.high > Bytes::ZERO);
    kept.map(|(name, bytes, provenance, formula)| Term { name, bytes, formula, provenance }).collect()
}

fn required_without_cache(terms: &[Term]) -> Interval {
    terms.iter().filter(|term| term.name != TermName::KvCache).map(|term| term.bytes).sum()
}

fn detail(rank: &Rank, required: Interval, cache: Interval, usable: Bytes, model: &Model) -> ServingDetail {
    let non_kv = required.likely - cache.likely;
    let pool = usable - non_kv;
    let tokens = if rank.token_bytes > 0.0 { (pool.as_f64() / rank.token_bytes) as u64 } else { 0 };
    ServingDetail {
        weights_bytes: rank.weights.likely,
        non_kv_bytes: non_kv,
        kv_pool_bytes: pool,
        kv_bytes_per_token: Bytes::from_f64(rank.token_bytes),
        kv_tokens: tokens,
        max_context: tokens.min(model.max_position_embeddings.unwrap_or(u64::MAX)),
        expected_log: Vec::new(),
    }
}

fn notes(declared: bool, context: Option<u64>) -> Vec<String> {
    match (declared, context) {
        (true, _) => Vec::new(),
        (false, Some(most)) => {
            vec![format!("no context length is given: anything up to the model's own {most} tokens is possible")]
        }
        (false, None) => {
            vec!["no context length is given and the model names none: the cache is not counted".to_owned()]
        }
    }
}
