//! The fields of a declaration as one table: block annotations, flat annotations and argument readers all set them
//! through it, so that a field has one name, one range and one set of allowed words.

mod meanings;
mod names;
mod setters;

use serde_json::Value;

use super::draft::Draft;
use super::numbers;
use super::suggest::did_you_mean;
use crate::estimate::Bytes;
use crate::estimate::workload::{Checkpointing, Loss, Optimizer, Precision, Schedule, Sharding};

pub(crate) use names::QUANTIZATIONS;
pub(super) use setters::version;
use setters::{
    set_checkpointing, set_dtype, set_engine, set_gpu_layers, set_loss, set_method, set_optimizer, set_precision,
    set_quantization, set_schedule, set_sharding, set_task, set_version,
};

/// One field.
pub(super) struct Field {
    /// Name in the block and in `Declaration::origins`, e.g. `parallelism.tensor`.
    pub(super) path: &'static str,
    /// Names as flat annotation besides the path in kebab-case, e.g. `tensor-parallel`.
    pub(super) flat: &'static [&'static str],
    /// Type, range and where the value goes.
    pub(super) kind: Kind,
}

/// What a field holds and where it goes.
pub(super) enum Kind {
    /// A whole number in a range.
    Count(u64, u64, fn(&mut Draft, u64)),
    /// Tokens, with `k` and `m`.
    Tokens(fn(&mut Draft, u64)),
    /// A parameter count, with `B` and the like.
    Parameters(fn(&mut Draft, f64)),
    /// Above 0, at most 1.
    Share(fn(&mut Draft, f64)),
    /// Above 0.
    Ratio(fn(&mut Draft, f64)),
    /// A memory size.
    Memory(fn(&mut Draft, Bytes)),
    /// `true` or `false`.
    Flag(fn(&mut Draft, bool)),
    /// One of some words; the function says whether it knew the word.
    Name(&'static [&'static str], fn(&mut Draft, &str) -> bool),
    /// Free text.
    Text(fn(&mut Draft, &str)),
    /// Words, as a list or separated by commas.
    List(fn(&mut Draft, Vec<String>)),
    /// Whole numbers, as a list or separated by commas.
    Counts(fn(&mut Draft, Vec<u64>)),
    /// As `Counts`, from 0.
    Numbers(fn(&mut Draft, Vec<u64>)),
    /// An object.
    Object(fn(&mut Draft, Value)),
}

/// Most elements of a bucket: more than any model's largest matrix.
const MAX_BUCKET: u64 = 1_000_000_000_000;
/// Most GPUs that a degree of parallelism may name.
const MAX_DEGREE: u64 = 65_536;

const TASKS: &[&str] = &["inference", "training"];
const ENGINE_NAMES: &[&str] = &["vllm", "sglang", "tgi", "trtllm", "llamacpp", "ollama", "generic"];
const DTYPES: &[&str] = &["auto", "fp32", "fp16", "bf16", "fp8", "int8", "int4", "fp4"];
const METHODS: &[&str] = &["auto", "reference"];

const fn field(path: &'static str, flat: &'static [&'static str], kind: Kind) -> Field {
    Field { path, flat, kind }
}

/// Every field, in the order they are documented.
pub(super) const FIELDS: &[Field] = &[
    field("task", &[], Kind::Name(TASKS, set_task)),
    field("model", &[], Kind::Text(|d, text| d.model.name = Some(text.to_owned()))),
    field("profile", &[], Kind::Text(|d, text| d.model.profile = Some(text.to_owned()))),
    field("config", &[], Kind::Object(|d, config| d.model.config = Some(config))),
    field("parameters", &[], Kind::Parameters(|d, n| d.model.parameters = Some(n))),
    field("checkpointBytes", &[], Kind::Memory(|d, n| d.out.checkpoint_bytes = Some(n))),
    field("layers", &[], Kind::Count(1, 100_000, |d, n| d.model.layers = Some(n))),
    field("hiddenSize", &[], Kind::Count(1, 10_000_000, |d, n| d.model.hidden_size = Some(n))),
    field("heads", &[], Kind::Count(1, 100_000, |d, n| d.model.heads = Some(n))),
    field("headDim", &[], Kind::Count(1, 100_000, |d, n| d.model.head_dim = Some(n))),
    field("dtype", &[], Kind::Name(DTYPES, |d, text| set_dtype(text, &mut d.out.dtype))),
    field("quantization", &[], Kind::Name(QUANTIZATIONS, set_quantization)),
    field("kvCacheDtype", &[], Kind::Name(DTYPES, |d, text| set_dtype(text, &mut d.out.kv_cache_dtype))),
    field("contextLength", &["sequence-length"], Kind::Tokens(|d, n| d.out.context_length = Some(n))),
    field("batchSize", &[], Kind::Count(1, 10_000_000, |d, n| d.out.batch_size = Some(n))),
    field("parallelism.tensor", &["tensor-parallel"], Kind::Count(1, MAX_DEGREE, |d, n| d.out.parallelism.tensor = n)),
    field(
        "parallelism.pipeline",
        &["pipeline-parallel"],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.parallelism.pipeline = n),
    ),
    field("parallelism.data", &["data-parallel"], Kind::Count(1, MAX_DEGREE, |d, n| d.out.parallelism.data = n)),
    field("parallelism.expert", &["expert-parallel"], Kind::Count(1, MAX_DEGREE, |d, n| d.out.parallelism.expert = n)),
    field(
        "parallelism.context",
        &["context-parallel"],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.parallelism.context = n),
    ),
    field("engine.name", &[], Kind::Name(ENGINE_NAMES, set_engine)),
    field("engine.version", &[], Kind::Name(&["a version such as 0.19.0"], set_version)),
    field("engine.memoryFraction", &["memory-fraction"], Kind::Share(|d, n| d.out.engine.memory_fraction = Some(n))),
    field(
        "engine.maxNumSeqs",
        &["max-num-seqs"],
        Kind::Count(1, 10_000_000, |d, n| d.out.engine.max_num_seqs = Some(n)),
    ),
    field(
        "engine.maxNumBatchedTokens",
        &["max-num-batched-tokens"],
        Kind::Tokens(|d, n| d.out.engine.max_num_batched_tokens = Some(n)),
    ),
    field("engine.kvCacheMemory", &["kv-cache-memory"], Kind::Memory(|d, n| d.out.engine.kv_cache_memory = Some(n))),
    field("engine.blockSize", &["block-size"], Kind::Count(1, 65_536, |d, n| d.out.engine.block_size = Some(n))),
    field("engine.enforceEager", &["enforce-eager"], Kind::Flag(|d, on| d.out.engine.enforce_eager = on)),
    field("engine.autoContext", &[], Kind::Flag(|d, on| d.out.engine.auto_context = on)),
    field("engine.cpuOffload", &[], Kind::Memory(|d, n| d.out.engine.cpu_offload = n)),
    field("engine.maxLoras", &["max-loras"], Kind::Count(0, 100_000, |d, n| d.out.engine.max_loras = n)),
    field("engine.maxLoraRank", &["max-lora-rank"], Kind::Count(1, MAX_DEGREE, |d, n| d.out.engine.max_lora_rank = n)),
    field(
        "engine.speculativeTokens",
        &["speculative-tokens"],
        Kind::Count(0, 1024, |d, n| d.out.engine.speculative_tokens = n),
    ),
    field("engine.maxTotalTokens", &["max-total-tokens"], Kind::Tokens(|d, n| d.out.engine.max_total_tokens = Some(n))),
    field("engine.graphBatch", &["graph-batch"], Kind::Count(1, 65_536, |d, n| d.out.engine.graph_batch = Some(n))),
    field("engine.fullWindowCache", &["full-window-cache"], Kind::Flag(|d, on| d.out.engine.full_window_cache = on)),
    field("engine.windowPoolRatio", &[], Kind::Share(|d, n| d.out.engine.window_pool_ratio = Some(n))),
    field("engine.statePoolRatio", &[], Kind::Ratio(|d, n| d.out.engine.state_pool_ratio = Some(n))),
    field("engine.stateSlots", &["state-slots"], Kind::Count(1, 10_000_000, |d, n| d.out.engine.state_slots = Some(n))),
    field(
        "engine.parallelSlots",
        &["parallel-slots"],
        Kind::Count(1, 10_000_000, |d, n| d.out.engine.parallel_slots = Some(n)),
    ),
    field("engine.ubatch", &["ubatch"], Kind::Tokens(|d, n| d.out.engine.ubatch = Some(n))),
    field("engine.gpuLayers", &["gpu-layers"], Kind::Name(&["a number of layers", "all"], set_gpu_layers)),
    field("engine.fit", &[], Kind::Flag(|d, on| d.out.engine.fit = Some(on))),
    field("engine.textOnly", &["text-only"], Kind::Flag(|d, on| d.out.engine.text_only = on)),
    field("engine.chunkedPrefill", &[], Kind::Flag(|d, on| d.out.engine.chunked_prefill = Some(on))),
    field("engine.allowLongContext", &[], Kind::Flag(|d, on| d.out.engine.allow_long_context = on)),
    field("engine.layerPartition", &[], Kind::Counts(|d, list| d.out.engine.layer_partition = Some(list))),
    field("training.optimizer", &["optimizer"], Kind::Name(Optimizer::NAMES, set_optimizer)),
    field("training.precision", &["precision"], Kind::Name(Precision::NAMES, set_precision)),
    field("training.sharding", &["sharding"], Kind::Name(Sharding::NAMES, set_sharding)),
    field("training.checkpointing", &["checkpointing"], Kind::Name(Checkpointing::NAMES, set_checkpointing)),
    field("training.loss", &["loss"], Kind::Name(Loss::NAMES, set_loss)),
    field(
        "training.gradientAccumulation",
        &["gradient-accumulation"],
        Kind::Count(1, 10_000_000, |d, n| d.out.training.gradient_accumulation = Some(n)),
    ),
    field(
        "training.microBatches",
        &["micro-batches"],
        Kind::Count(1, 10_000_000, |d, n| d.out.training.micro_batches = Some(n)),
    ),
    field("training.trainer", &["trainer"], Kind::Text(|d, text| d.out.training.trainer = Some(text.to_owned()))),
    field("training.cpuOffload", &[], Kind::Flag(|d, on| d.out.training.cpu_offload = on)),
    field(
        "training.expandableSegments",
        &["expandable-segments"],
        Kind::Flag(|d, on| d.out.training.expandable_segments = on),
    ),
    field(
        "training.referenceModels",
        &["reference-models"],
        Kind::Count(0, 16, |d, n| d.out.training.reference_models = n),
    ),
    field("training.fusedKernels", &["fused-kernels"], Kind::Flag(|d, on| d.out.training.fused_kernels = on)),
    field(
        "training.sequenceParallel",
        &["sequence-parallel"],
        Kind::Flag(|d, on| d.out.training.sequence_parallel = Some(on)),
    ),
    field(
        "training.virtualStages",
        &["virtual-stages"],
        Kind::Count(1, 1000, |d, n| d.out.training.virtual_stages = Some(n)),
    ),
    field("training.stageLayers", &["stage-layers"], Kind::Numbers(|d, list| d.out.training.stage_layers = list)),
    field("training.eagerAttention", &["eager-attention"], Kind::Flag(|d, on| d.out.training.eager_attention = on)),
    field("training.dropout", &["dropout"], Kind::Flag(|d, on| d.out.training.dropout = on)),
    field(
        "training.expertTensor",
        &["expert-tensor-parallel"],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.training.expert_tensor = Some(n)),
    ),
    field(
        "training.shardReplicas",
        &["shard-replicas"],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.training.shard_replicas = Some(n)),
    ),
    field(
        "training.deferredHeadGradients",
        &["deferred-head-gradients"],
        Kind::Count(0, 100_000, |d, n| d.out.training.deferred_head_gradients = n),
    ),
    field(
        "training.optimizerInBackward",
        &["optimizer-in-backward"],
        Kind::Flag(|d, on| d.out.training.optimizer_in_backward = on),
    ),
    field(
        "training.activationOffload",
        &["activation-offload"],
        Kind::Flag(|d, on| d.out.training.activation_offload = on),
    ),
    field("training.fixedLengths", &["fixed-lengths"], Kind::Flag(|d, on| d.out.training.fixed_lengths = Some(on))),
    field("training.keepGathered", &["keep-gathered"], Kind::Flag(|d, on| d.out.training.keep_gathered = on)),
    field("training.movingAverage", &["moving-average"], Kind::Flag(|d, on| d.out.training.moving_average = on)),
    field(
        "training.otherParameters",
        &["other-parameters"],
        Kind::Parameters(|d, n| d.out.training.other_parameters = n as u64),
    ),
    field("training.buckets.reduce", &[], Kind::Count(1, MAX_BUCKET, |d, n| d.out.training.buckets.reduce = Some(n))),
    field(
        "training.buckets.prefetch",
        &[],
        Kind::Count(0, MAX_BUCKET, |d, n| d.out.training.buckets.prefetch = Some(n)),
    ),
    field(
        "training.buckets.maxLive",
        &[],
        Kind::Count(0, MAX_BUCKET, |d, n| d.out.training.buckets.max_live = Some(n)),
    ),
    field(
        "training.buckets.secondaryShards",
        &[],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.training.buckets.secondary_shards = Some(n)),
    ),
    field(
        "training.recomputeModules",
        &["recompute-modules"],
        Kind::List(|d, list| d.out.training.recompute_modules = list),
    ),
    field(
        "training.projectionRank",
        &["projection-rank"],
        Kind::Count(1, MAX_DEGREE, |d, n| d.out.training.projection_rank = Some(n)),
    ),
    field(
        "training.activeLayers",
        &["active-layers"],
        Kind::Count(1, 100_000, |d, n| d.out.training.active_layers = Some(n)),
    ),
    field("training.lora.rank", &["lora-rank"], Kind::Count(1, MAX_DEGREE, |d, n| d.lora().rank = n)),
    field("training.lora.targets", &["lora-targets"], Kind::List(|d, list| d.lora().targets = list)),
    field("training.lora.quantizedBase", &["lora-quantized-base"], Kind::Flag(|d, on| d.lora().quantized_base = on)),
    field(
        "training.lora.doubleQuantization",
        &["lora-double-quantization"],
        Kind::Flag(|d, on| d.lora().double_quantization = on),
    ),
    field("training.lora.fp32Adapters", &["lora-fp32-adapters"], Kind::Flag(|d, on| d.lora().fp32_adapters = on)),
    field("training.lora.dropout", &["lora-dropout"], Kind::Flag(|d, on| d.lora().dropout = on)),
    field(
        "training.lora.modulesToSave",
        &["lora-modules-to-save"],
        Kind::List(|d, list| d.lora().modules_to_save = list),
    ),
    field("training.schedule", &["pipeline-schedule"], Kind::Name(Schedule::NAMES, set_schedule)),
    field("training.targetLength", &["target-length"], Kind::Tokens(|d, n| d.out.training.target_length = Some(n))),
    field("training.mtpLayers", &["mtp-layers"], Kind::Count(0, 1000, |d, n| d.out.training.mtp_layers = Some(n))),
    field(
        "training.sequencesPerSample",
        &["sequences-per-sample"],
        Kind::Count(1, 1024, |d, n| d.out.training.sequences_per_sample = Some(n)),
    ),
    field(
        "training.colocatedShare",
        &["colocated-share"],
        Kind::Share(|d, n| d.out.training.colocated_share = Some(n)),
    ),
    field("method", &[], Kind::Name(METHODS, set_method)),
];

/// The field of a path.
pub(super) fn by_path(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

impl Field {
    /// What it means, and an example.
    pub(super) fn meaning(&self) -> Option<(&'static str, &'static str)> {
        let found = meanings::MEANINGS.iter().find(|(path, ..)| *path == self.path);
        found.map(|(_, meaning, example)| (*meaning, *example))
    }

    /// What it may hold, in words; of named values the first `most`.
    pub(super) fn allowed(&self, most: usize) -> String {
        match &self.kind {
            Kind::Count(least, greatest, _) => format!("whole number, {least} to {greatest}"),
            Kind::Tokens(_) => "tokens; `k` and `m` count in 1024s".to_owned(),
            Kind::Parameters(_) => "a count such as `6.74B`".to_owned(),
            Kind::Share(_) => "above 0, at most 1".to_owned(),
            Kind::Ratio(_) => "above 0".to_owned(),
            Kind::Memory(_) => "a quantity such as `16Gi`".to_owned(),
            Kind::Flag(_) => "`true` or `false`".to_owned(),
            Kind::Name(names, _) => {
                let shown: Vec<&str> = names.iter().take(most).copied().collect();
                let more = names.len().saturating_sub(most);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("{}{more}", shown.join(", "))
            }
            Kind::Text(_) => "text".to_owned(),
            Kind::List(_) => "words, separated by commas or a list".to_owned(),
            Kind::Counts(_) | Kind::Numbers(_) => "whole numbers, separated by commas or a list".to_owned(),
            Kind::Object(_) => "an object".to_owned(),
        }
    }

    /// Reads a value and puts it into the draft.
    ///
    /// # Errors
    /// What is wrong with the value and what is allowed.
    pub(super) fn set(&self, draft: &mut Draft, value: &Value) -> Result<(), String> {
        if let Kind::Object(set) = &self.kind {
            if !value.is_object() {
                return Err("must be an object: the JSON of a config.json".to_owned());
            }
            set(draft, value.clone());
            return Ok(());
        }
        if let Kind::List(set) = &self.kind {
            return list(value).map(|words| set(draft, words));
        }
        if let Kind::Counts(set) | Kind::Numbers(set) = &self.kind {
            let least = u64::from(matches!(self.kind, Kind::Counts(_)));
            let numbers: Result<Vec<u64>, String> =
                list(value)?.iter().map(|n| numbers::count(n, least, 100_000)).collect();
            return numbers.map(|numbers| set(draft, numbers));
        }
        let text = scalar(value)?;
        self.set_text(draft, text.trim())
    }

    fn set_text(&self, draft: &mut Draft, text: &str) -> Result<(), String> {
        match &self.kind {
            Kind::Count(min, max, set) => set(draft, numbers::count(text, *min, *max)?),
            Kind::Tokens(set) => set(draft, numbers::tokens(text)?),
            Kind::Parameters(set) => set(draft, numbers::parameters(text)?),
            Kind::Share(set) => set(draft, numbers::share(text)?),
            Kind::Ratio(set) => set(draft, numbers::ratio(text)?),
            Kind::Memory(set) => set(draft, numbers::memory(text)?),
            Kind::Flag(set) => set(draft, flag(text)?),
            Kind::Name(names, set) => {
                let lower = text.to_ascii_lowercase();
                if !set(draft, &lower) {
                    let hint = did_you_mean(text, names.iter().copied());
                    let known = if names.len() > 20 { names.get(..20).unwrap_or(names) } else { names };
                    let more = if known.len() < names.len() { ", ..." } else { "" };
                    let known = known.join(", ");
                    return Err(format!("`{}` is not known; allowed: {known}{more}{hint}", numbers::shown(text)));
                }
            }
            Kind::Text(_) if text.is_empty() => return Err("must not be empty".to_owned()),
            Kind::Text(set) => set(draft, text),
            Kind::List(_) | Kind::Counts(_) | Kind::Numbers(_) | Kind::Object(_) => {
                return Err("must be a list or an object".to_owned());
            }
        }
        Ok(())
    }
}

/// The text of a scalar.
fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(on) => Ok(on.to_string()),
        Value::Null => Err("must have a value".to_owned()),
        Value::Array(_) => Err("must be a single value, not a list".to_owned()),
        Value::Object(_) => Err("must be a single value, not an object".to_owned()),
    }
}

/// A list, or text separated by commas.
fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.iter().map(scalar).collect(),
        other => Ok(scalar(other)?.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{}` is not allowed: `true` or `false`", numbers::shown(text))),
    }
}
