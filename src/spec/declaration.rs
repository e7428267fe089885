//! What a pod says about its workload, field by field with where each came from; the model is still a reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dra::ClaimUse;
use super::gpus::Share;
use crate::decide::Mode;
use crate::estimate::Bytes;
use crate::estimate::dtype::DType;
use crate::estimate::model::Model;
use crate::estimate::workload::{Engine, Method, Parallelism, Task, Training};

/// Where a field was found; earlier wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A `vramguard.io/` annotation.
    Annotation,
    /// A command-line argument of the container.
    Argument,
    /// An environment variable of the container.
    Env,
    /// Derived: image name, resource requests, engine default.
    Inferred,
}

/// How the user names the model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelReference {
    /// A Hugging Face id, an alias or a path, to be looked up.
    Name(String),
    /// `config:` inline: the JSON of a `config.json`.
    Config(serde_json::Value),
    /// A `ModelProfile` object.
    Profile(String),
    /// A model that was read already, from a checkpoint's own files.
    Loaded(Arc<Model>),
    /// `parameters:` with shape, for the reference formula.
    Shape {
        /// Parameter count.
        parameters: f64,
        /// `layers`.
        layers: Option<u64>,
        /// `hiddenSize`.
        hidden_size: Option<u64>,
        /// `heads` (key/value heads if they are fewer).
        heads: Option<u64>,
        /// `headDim`.
        head_dim: Option<u64>,
    },
}

/// What one container of a pod runs, as far as it could be read. Serving knobs and training settings are already
/// in the estimator's types; dtype, quantization and model still need the model's facts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Declaration {
    /// Container name.
    pub container: String,
    /// `inference` or `training`.
    pub task: Option<Task>,
    /// The model.
    pub model: Option<ModelReference>,
    /// What the user calls the model, for output, where `model` is no [`ModelReference::Name`].
    pub model_name: Option<String>,
    /// Size and shape given besides a name: facts to fall back on when the name is not known.
    pub fallback: Option<ModelReference>,
    /// The model that the arguments name where an annotation names another one; a conflict if their sizes differ.
    pub argument_model: Option<String>,
    /// `dtype`; `None` also for `auto`.
    pub dtype: Option<DType>,
    /// `quantization` name as written (`awq`, `q4_k_m`, ...); resolved with the model's facts.
    pub quantization: Option<String>,
    /// `checkpointBytes`: what the tensors of the checkpoint add up to.
    pub checkpoint_bytes: Option<Bytes>,
    /// `kvCacheDtype`.
    pub kv_cache_dtype: Option<DType>,
    /// `contextLength`.
    pub context_length: Option<u64>,
    /// `batchSize`.
    pub batch_size: Option<u64>,
    /// Degrees that were given; 1 elsewhere.
    pub parallelism: Parallelism,
    /// Engine with its settings; `engine_named` tells whether any was recognised.
    pub engine: Engine,
    /// An engine was named or recognised (image, command).
    pub engine_named: bool,
    /// Training settings.
    pub training: Training,
    /// `--method reference`.
    pub method: Method,
    /// Where each field came from, by annotation field name (`contextLength`, `parallelism.tensor`, ...).
    pub origins: BTreeMap<&'static str, Origin>,
    /// The replica spans several pods (Ray, LeaderWorkerSet, `--nnodes`): its degrees may exceed one pod's GPUs.
    pub spans_pods: bool,
    /// Pods of the replica, where their number is known; this one is counted.
    pub replica_pods: Option<u64>,
    /// GPUs that the container requests (limits of GPU resources), with the resource name; `None` without.
    pub gpus: Option<GpuRequest>,
    /// Claims on devices, where no GPU resource is requested; what they come to depends on the cluster.
    pub claims: Vec<ClaimUse>,
    /// Things that could not be read and may matter, with what to add; they make the verdict `UNKNOWN_WORKLOAD` only
    /// if no estimate is possible, and are shown as notes otherwise.
    pub unread: Vec<String>,
    /// Fields (names as in `origins`) that were given but whose value cannot be known: no default may stand in for them.
    pub unknown_fields: BTreeSet<&'static str>,
    /// What else is worth saying: assumptions made while reading, settings that an annotation overrides.
    pub notes: Vec<String>,
    /// Contradictions between sources (`SPEC_CONFLICT`), each a sentence.
    pub conflicts: Vec<String>,
    /// `vramguard.io/mode`.
    pub mode: Option<Mode>,
    /// `vramguard.io/exempt-reason`.
    pub exempt_reason: Option<String>,
    /// `vramguard.io/rightsize`: strategies that may change the pod; empty allows none.
    pub rightsize: Vec<&'static str>,
}

/// GPUs that a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuRequest {
    /// Extended resource, e.g. `nvidia.com/gpu`.
    pub resource: String,
    /// How many.
    pub count: u64,
    /// The part of each that is asked for; `None` for all of it.
    pub share: Option<Share>,
}

impl GpuRequest {
    /// Whole devices.
    #[must_use]
    pub fn new(resource: &str, count: u64) -> Self {
        Self { resource: resource.to_owned(), count, share: None }
    }
}

/// A malformed annotation or argument: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct SpecError {
    /// Annotation key with field path, or flag, e.g. `vramguard.io/spec: parallelism.tensor`.
    pub location: String,
    /// What is wrong and what is allowed, with a suggestion where there is a near match.
    pub problem: String,
}
