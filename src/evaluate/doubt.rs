//! The benefit of the doubt: fields that were given but could not be read take their cheapest value.
//!
//! A refusal must hold whatever the unread fields say.

use crate::estimate::Workload;
use crate::estimate::dtype::DType;
use crate::estimate::model::Quantization;
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Checkpointing, Loss, ModelFacts, Optimizer, Precision, Sharding};
use crate::spec::declaration::{Declaration, ModelReference};

/// What one unread field is set to.
type Favour = fn(&mut Workload, gpus: u64);

/// Fields by path with their cheapest plausible value.
const FAVOURS: &[(&str, Favour)] = &[
    ("contextLength", |workload, _| workload.context_length = Some(1)),
    ("batchSize", |workload, _| workload.batch_size = Some(1)),
    ("dtype", |workload, _| workload.dtype = Some(DType::Bf16)),
    ("kvCacheDtype", |workload, _| workload.kv_cache_dtype = Some(DType::Fp4)),
    ("quantization", |workload, _| workload.quantization = Quantization::from_name("nf4")),
    ("parallelism.tensor", |workload, gpus| workload.parallelism.tensor = largest_divisor(workload, gpus)),
    ("parallelism.pipeline", |workload, gpus| workload.parallelism.pipeline = gpus.max(1)),
    ("parallelism.data", |workload, _| workload.parallelism.data = MANY_RANKS),
    ("parallelism.expert", |workload, gpus| workload.parallelism.expert = gpus.max(1)),
    ("parallelism.context", |workload, gpus| workload.parallelism.context = gpus.max(1)),
    ("engine.memoryFraction", |workload, _| workload.engine.memory_fraction = Some(1.0)),
    ("engine.maxNumSeqs", |workload, _| workload.engine.max_num_seqs = Some(1)),
    ("engine.maxNumBatchedTokens", |workload, _| workload.engine.max_num_batched_tokens = Some(1)),
    ("engine.kvCacheMemory", |workload, _| workload.engine.kv_cache_memory = None),
    ("engine.cpuOffload", |workload, _| {
        workload.engine.cpu_offload = Bytes(u64::MAX);
        workload.engine.gpu_layers = Some(0);
    }),
    ("engine.gpuLayers", |workload, _| workload.engine.gpu_layers = Some(0)),
    ("engine.fit", |workload, _| workload.engine.fit = Some(true)),
    ("engine.parallelSlots", |workload, _| workload.engine.parallel_slots = Some(1)),
    ("engine.ubatch", |workload, _| workload.engine.ubatch = Some(1)),
    ("engine.fullWindowCache", |workload, _| workload.engine.full_window_cache = false),
    ("engine.maxTotalTokens", |workload, _| workload.engine.max_total_tokens = None),
    ("engine.graphBatch", |workload, _| workload.engine.graph_batch = Some(1)),
    ("engine.stateSlots", |workload, _| workload.engine.state_slots = Some(1)),
    ("engine.enforceEager", |workload, _| workload.engine.enforce_eager = true),
    ("engine.maxLoras", |workload, _| workload.engine.max_loras = 0),
    ("engine.speculativeTokens", |workload, _| workload.engine.speculative_tokens = 0),
    ("engine.textOnly", |workload, _| workload.engine.text_only = true),
    ("engine.allowLongContext", |workload, _| workload.engine.allow_long_context = true),
    ("engine.chunkedPrefill", |workload, _| workload.engine.chunked_prefill = None),
    ("training.checkpointing", |workload, _| workload.training.checkpointing = Some(Checkpointing::Full)),
    ("training.loss", |workload, _| workload.training.loss = Some(Loss::Fused)),
    ("training.optimizer", |workload, _| workload.training.optimizer = Some(Optimizer::Sgd)),
    ("training.precision", |workload, _| workload.training.precision = Some(Precision::Bf16)),
    ("training.sharding", |workload, _| {
        workload.training.sharding = Some(Sharding::Zero3);
        workload.parallelism.data = workload.parallelism.data.max(MANY_RANKS);
    }),
];

/// Data-parallel ranks of a training job of which nothing is known.
const MANY_RANKS: u64 = 64;

/// Stands for every field of a command line that could not be read at all.
const ALL: &str = "arguments";

/// The workload with every unread field at its cheapest; `None` when all was read.
pub(super) fn cheapest(declaration: &Declaration, workload: &Workload) -> Option<Workload> {
    if declaration.unknown_fields.is_empty() {
        return None;
    }
    let gpus = declaration.gpus.as_ref().map_or(1, |request| request.count);
    let everything = declaration.unknown_fields.contains(ALL);
    let mut cheapest = workload.clone();
    for (field, favour) in FAVOURS {
        let unread = declaration.unknown_fields.contains(field);
        let unsaid = everything && !declaration.origins.contains_key(field);
        if unread || unsaid {
            favour(&mut cheapest, gpus);
        }
    }
    Some(cheapest)
}

/// The workload with a quantized checkpoint, where a path names the model and nothing says how it is stored: what lies
/// there need not be what its name was derived from.
pub(super) fn quantized(declaration: &Declaration, workload: &Workload) -> Option<Workload> {
    let Some(ModelReference::Name(name)) = &declaration.model else { return None };
    let by_path = name.starts_with(['/', '.', '~']) || name.contains("://");
    let stored = match &workload.model {
        ModelFacts::Known(model) => model.quantization.is_some(),
        ModelFacts::Shape(_) => true,
    };
    let said = stored
        || declaration.checkpoint_bytes.is_some()
        || declaration.origins.contains_key("quantization")
        || workload.quantization.is_some();
    (by_path && !said).then(|| Workload { quantization: Quantization::from_name("nf4"), ..workload.clone() })
}

/// The largest tensor-parallel degree up to the pod's GPUs that divides the model.
fn largest_divisor(workload: &Workload, gpus: u64) -> u64 {
    let ModelFacts::Known(model) = &workload.model else { return gpus.max(1) };
    let divides = |degree: &u64| {
        let parallelism = crate::estimate::workload::Parallelism { tensor: *degree, ..workload.parallelism };
        crate::estimate::parallel::check(model, &parallelism).is_ok()
    };
    (1..=gpus.clamp(1, 64)).rev().find(divides).unwrap_or(1)
}
