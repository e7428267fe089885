//! Engine types to the machine interface's views.

use crate::decide::fit::Fit;
use crate::decide::report::{CapacityView, EngineView, EstimateView, WorkloadView};
use crate::estimate::dtype::DType;
use crate::estimate::workload::{ModelFacts, Task, Version};
use crate::estimate::{Estimate, Workload};
use crate::spec::declaration::{Declaration, ModelReference};

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
