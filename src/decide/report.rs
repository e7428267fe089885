//! The machine interface: what `check` and `estimate` print as JSON and YAML, and what both surfaces are rendered from.
//!
//! Stable: scripts rely on it. The JSON Schema in `docs/schema` is generated from these types and drift-checked.

use schemars::JsonSchema;
use serde::Serialize;

use super::solve::Question;
use super::verdict::{Decision, Mode, Verdict};
use crate::estimate::workload::{Parallelism, Task};
use crate::estimate::{Bytes, Interval, PerGpu, Refusal, ServingDetail, Term, TrainingDetail};

/// Everything that one `check` found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// `vramguard.io/v1`.
    pub api_version: &'static str,
    /// `CheckResult`.
    pub kind: &'static str,
    /// One result a pod template and GPU container.
    pub results: Vec<Report>,
    /// Inputs that could not be read; everything else was checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InputError>,
}

/// An input that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InputError {
    /// File as given, `-` for standard input.
    pub file: String,
    /// Line, from 1, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl CheckResult {
    /// Wraps results in the versioned envelope.
    #[must_use]
    pub const fn new(results: Vec<Report>) -> Self {
        Self { api_version: "vramguard.io/v1", kind: "CheckResult", results, errors: Vec::new() }
    }
}

/// One workload's estimate, verdict and decision.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it came from.
    pub source: Source,
    /// What runs; absent when it could not be read.
    pub workload: Option<WorkloadView>,
    /// What it needs; absent when it could not be estimated.
    pub estimate: Option<EstimateView>,
    /// What it was held against: the eligible GPU class on which it fits best.
    pub capacity: Option<CapacityView>,
    /// The engine's verdict.
    pub verdict: Verdict,
    /// Why, where the verdict is a refusal with a known cause: a stable code, listed in `docs/reasons.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What policy makes of it.
    pub decision: Decision,
    /// The mode in force.
    pub mode: Mode,
    /// A laxer mode was granted to this pod, with a reason.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exempted: bool,
    /// One line: code, container, need, capacity, binding term, fixes.
    pub message: String,
    /// Further sentences: assumptions, notes, what could not be read.
    pub notes: Vec<String>,
    /// Changes after which it fits, each proven by the same engine, cheapest first.
    pub fixes: Vec<Fix>,
    /// Answers to what was asked with `--solve`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub solutions: Vec<Solution>,
    /// JSON patch (RFC 6902) that admission would apply.
    pub patch: Vec<serde_json::Value>,
}

/// Where a pod template came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Source {
    /// File name, `-` for standard input; absent at admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Number of the document in the file, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// Line of the document's first content in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Kind of the object that the user wrote.
    pub kind: String,
    /// Namespace; empty when none is given.
    pub namespace: String,
    /// Name, or generateName.
    pub name: String,
    /// Container that runs the model.
    pub container: String,
}

/// What runs, as it was understood.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadView {
    /// Serving or training.
    pub task: Task,
    /// Model as the user names it.
    pub model: String,
    /// Parameters, where known.
    pub parameters: Option<u64>,
    /// Serving engine or trainer.
    pub engine: EngineView,
    /// Degrees of parallelism.
    pub parallelism: Parallelism,
    /// Weights' number format.
    pub dtype: Option<String>,
    /// Weight quantization.
    pub quantization: Option<String>,
    /// KV cache number format.
    pub kv_cache_dtype: Option<String>,
    /// Context or sequence length, tokens.
    pub context_length: Option<u64>,
    /// Concurrent sequences or micro-batch.
    pub batch_size: Option<u64>,
}

/// Serving engine or trainer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EngineView {
    /// Name, `generic` when none was recognised.
    pub name: String,
    /// Version, where known.
    pub version: Option<String>,
}

/// The estimate's figures, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EstimateView {
    /// Required, wanted, reserved.
    pub per_gpu: PerGpu,
    /// GPUs of the replica.
    pub gpus: u64,
    /// Which rank was the worst; empty when all are equal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub worst_rank: String,
    /// The addends of `required.likely`.
    pub terms: Vec<Term>,
    /// For inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingDetail>,
    /// For training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingDetail>,
    /// Reasons for which the engine would refuse to start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

/// A GPU class that the workload was held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityView {
    /// Class name, e.g. `NVIDIA-L40S-45GiB`.
    pub gpu_class: String,
    /// Memory that the runtime sees on one device.
    pub visible_bytes: Bytes,
    /// Of it, what the engine may plan with.
    pub usable_bytes: Bytes,
    /// Eligible nodes with the class.
    pub nodes: u64,
}

/// A change after which the workload fits.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// Strategy, e.g. `gpus`, `context`, `sharding`, `steer`.
    pub strategy: String,
    /// What to change, from what to what, in the words of the source (flag, annotation field).
    pub changes: Vec<Change>,
    /// Needed per GPU after the change.
    pub required: Interval,
    /// The GPU class on which it then fits.
    pub gpu_class: String,
    /// What it costs, in a few words.
    pub cost: String,
}

/// One changed setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Flag, annotation field or resource, e.g. `--tensor-parallel-size`, `parallelism.tensor`.
    pub path: String,
    /// Value before; empty when unset.
    pub from: String,
    /// Value after.
    pub to: String,
}

/// The answer to one question, proven by evaluating the changed workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Solution {
    /// What was asked.
    pub question: Question,
    /// Whether there is an answer, and how sure it is.
    pub outcome: Outcome,
    /// The answer: a number, a name. Even the high estimate fits with it, or only the likely one if `outcome` is
    /// `likely`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// For a largest number: up to where the likely estimate fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<u64>,
    /// For a largest number: beyond this even the low estimate does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// What to set, in the words of the source (flag, annotation field); empty if nothing changes.
    pub changes: Vec<Change>,
    /// The evaluation with the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Evaluated>,
    /// The evaluation of the next value, which does not fit, or of the least one if nothing fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Evaluated>,
    /// What bounds the answer besides memory, or why there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The values that were tried where they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// Whether a question has an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Even the high estimate fits.
    Proven,
    /// The likely estimate fits, the high one does not.
    Likely,
    /// Nothing fits.
    Nothing,
    /// The question makes no sense here.
    NotApplicable,
}

/// One changed workload and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evaluated {
    /// The value that was tried.
    pub value: String,
    /// Needed per GPU.
    pub need: Interval,
    /// Of what the engine may plan with.
    pub usable_bytes: Bytes,
    /// On this GPU class.
    pub gpu_class: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why the engine would refuse, where it would.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
}

/// One of few possible values.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// What came of it.
    #[serde(flatten)]
    pub evaluated: Evaluated,
    /// What to set.
    pub changes: Vec<Change>,
    /// GPUs of the replica.
    pub gpus: u64,
    /// Likely bytes per GPU that it frees; negative if it takes more.
    pub frees_bytes: i64,
    /// Largest context that then surely fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_context: Option<u64>,
    /// Most sequences (serving) or largest micro-batch (training) that then surely fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<u64>,
}
