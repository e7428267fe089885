//! Engine types to the machine interface's views, and fixes into the words of the source.

use crate::decide::fit::Fit;
use crate::decide::report::{CapacityView, Change, EngineView, EstimateView, Fix, WorkloadView};
use crate::estimate::dtype::DType;
use crate::estimate::workload::{EngineName, ModelFacts, Task, Version};
use crate::estimate::{Estimate, Workload};
use crate::spec::declaration::{Declaration, ModelReference, Origin};

use super::resolve;

/// What runs, as it was understood.
pub(super) fn workload(declaration: &Declaration, workload: &Workload) -> WorkloadView {
    let model = match &workload.model {
        ModelFacts::Known(model) => Some(model.as_ref()),
        ModelFacts::Shape(_) => None,
    };
    let name = match &declaration.model {
        Some(ModelReference::Name(name) | ModelReference::Profile(name)) => name.clone(),
        Some(ModelReference::Loaded(model)) => model.name.clone(),
        Some(ModelReference::Config(_)) => model.map_or_else(String::new, |model| model.model_type.clone()),
        Some(ModelReference::Shape { parameters, .. }) => format!("{:.2}B parameters", parameters / 1e9),
        None => String::new(),
    };
    let parameters = match &workload.model {
        ModelFacts::Known(model) => Some(resolve::parameters(model)),
        ModelFacts::Shape(shape) => {
            (shape.parameters.is_finite() && shape.parameters >= 0.0).then_some(shape.parameters as u64)
        }
    };
    let quantization = workload.quantization.as_ref().or_else(|| model.and_then(|model| model.quantization.as_ref()));
    WorkloadView {
        task: workload.task,
        model: name,
        parameters,
        engine: engine(workload),
        parallelism: workload.parallelism,
        dtype: workload.dtype.or_else(|| model.map(|model| model.dtype)).map(|dtype| dtype.name().to_owned()),
        quantization: quantization.map(|quantization| quantization.name.clone()),
        kv_cache_dtype: workload.kv_cache_dtype.map(DType::name).map(str::to_owned),
        context_length: workload.context_length.or_else(|| model.and_then(|model| model.max_position_embeddings)),
        batch_size: workload.batch_size,
    }
}

fn engine(workload: &Workload) -> EngineView {
    match workload.task {
        Task::Training => EngineView {
            name: workload.training.trainer.clone().unwrap_or_else(|| "generic".to_owned()),
            version: None,
        },
        Task::Inference => EngineView {
            name: workload.engine.name.name().to_owned(),
            version: workload.engine.version.map(|Version([major, minor, patch])| format!("{major}.{minor}.{patch}")),
        },
    }
}

/// The estimate's figures.
pub(super) fn estimate(estimate: &Estimate) -> EstimateView {
    EstimateView {
        per_gpu: estimate.per_gpu,
        gpus: estimate.gpus,
        worst_rank: estimate.worst_rank.clone(),
        terms: estimate.terms.clone(),
        serving: estimate.serving.clone(),
        training: estimate.training.clone(),
        refusals: estimate.refusals.clone(),
    }
}

/// The class that it was held against.
pub(super) fn capacity(fit: &Fit) -> CapacityView {
    CapacityView {
        gpu_class: fit.candidate.class.name(),
        visible_bytes: fit.candidate.class.device.visible,
        usable_bytes: fit.estimate.usable,
        nodes: fit.candidate.nodes,
    }
}

/// Flags of vLLM by annotation field.
const VLLM_FLAGS: &[(&str, &str)] = &[
    ("contextLength", "--max-model-len"),
    ("batchSize", "--max-num-seqs"),
    ("kvCacheDtype", "--kv-cache-dtype"),
    ("quantization", "--quantization"),
    ("dtype", "--dtype"),
    ("engine.maxNumSeqs", "--max-num-seqs"),
    ("engine.maxNumBatchedTokens", "--max-num-batched-tokens"),
    ("parallelism.tensor", "--tensor-parallel-size"),
    ("parallelism.pipeline", "--pipeline-parallel-size"),
    ("engine.memoryFraction", "--gpu-memory-utilization"),
];

/// Says each change the way the user would make it: the engine's flag, unless an annotation said it, and the resource
/// that was requested.
pub(super) fn in_source_words(mut fixes: Vec<Fix>, workload: &Workload, declaration: &Declaration) -> Vec<Fix> {
    for change in fixes.iter_mut().flat_map(|fix| fix.changes.iter_mut()) {
        change.path = path(change, workload, declaration);
    }
    fixes
}

fn path(change: &Change, workload: &Workload, declaration: &Declaration) -> String {
    if change.path == "gpus" {
        return declaration.gpus.as_ref().map_or("nvidia.com/gpu", |request| request.resource.as_str()).to_owned();
    }
    let annotated = declaration.origins.get(change.path.as_str()) == Some(&Origin::Annotation);
    let flags =
        if workload.engine.name == EngineName::Vllm && workload.task == Task::Inference { VLLM_FLAGS } else { &[] };
    let flag = flags.iter().find(|(field, _)| *field == change.path).map(|(_, flag)| *flag);
    match flag {
        Some(flag) if !annotated => flag.to_owned(),
        _ => change.path.clone(),
    }
}
