//! Declarations to workloads: model references are looked up, names become facts, defaults are stated.

use std::sync::Arc;

use super::stored;
use crate::decide::Verdict;
use crate::estimate::model::{Model, Quantization, hf_config};
use crate::estimate::workload::{ModelFacts, Shape, Sharding, Task};
use crate::estimate::{Bytes, Device, Workload};
use crate::facts::lookup::{Found, Models};
use crate::spec::QUANTIZATIONS;
use crate::spec::declaration::{Declaration, ModelReference, Origin};

/// Why there is no workload, with the verdict that follows.
pub(super) struct Problem {
    pub(super) verdict: Verdict,
    pub(super) message: String,
    /// Stable code, where there is one.
    pub(super) reason: Option<&'static str>,
}

/// A workload and what was assumed on the way.
pub(super) struct Resolved {
    pub(super) workload: Workload,
    pub(super) notes: Vec<String>,
    /// A profile describes the model.
    pub(super) described: bool,
}

pub(super) fn problem(verdict: Verdict, message: impl Into<String>) -> Problem {
    Problem { verdict, message: message.into(), reason: None }
}

/// A device of no particular kind, for estimates that are held against nothing: an 80 GB card.
pub(super) fn imaginary_device() -> Device {
    Device { product: String::new(), visible: Bytes::from_mib(81_559), compute_capability: None }
}

/// Resolves a declaration.
pub(super) fn workload(declaration: &Declaration, models: Models<'_>) -> Result<Resolved, Problem> {
    let mut notes = Vec::new();
    let Found { mut model, quantization: of_profile, profile, exact } = model(declaration, models, &mut notes)?;
    stored::apply(declaration, &mut model, &mut notes)?;
    let quantization = quantization(declaration, &model)?;
    let quantization = quantization.or(of_profile.filter(|_| declaration.quantization.is_none()));
    notes.extend(profile.as_ref().map(|profile| format!("what is known of the model comes from {profile}")));
    let task = declaration.task.unwrap_or_else(|| {
        let training = declaration.origins.keys().any(|field| field.starts_with("training."));
        if training { Task::Training } else { Task::Inference }
    });
    if task == Task::Inference && !declaration.engine_named {
        notes.push("no serving engine is named: one that allocates the whole batch up front is assumed".to_owned());
    }
    let mut workload = Workload {
        task,
        model,
        parallelism: declaration.parallelism,
        dtype: declaration.dtype,
        quantization,
        kv_cache_dtype: declaration.kv_cache_dtype,
        context_length: declaration.context_length,
        batch_size: declaration.batch_size,
        engine: declaration.engine.clone(),
        training: declaration.training.clone(),
        method: declaration.method,
    };
    spread_over_gpus(declaration, &mut workload, &mut notes);
    // A fork or a tune of a known model may have longer positions than that.
    workload.engine.allow_long_context |= !exact;
    Ok(Resolved { workload, notes, described: profile.is_some() })
}

fn model(declaration: &Declaration, models: Models<'_>, notes: &mut Vec<String>) -> Result<Found, Problem> {
    let found = match &declaration.model {
        None => {
            // Of a program that is not known here nothing is read: it may well name its model.
            let known = declaration.engine_named || declaration.task.is_some();
            let why = if known { "no model is named" } else { "the command is not one whose model can be read here" };
            let add = "add the annotation `vramguard.io/model: ORG/NAME`, or `parameters` with a shape";
            Err(format!("{why}; {add}"))
        }
        Some(ModelReference::Name(name)) => models.by_name(name),
        Some(ModelReference::Profile(name)) => models.by_profile(name),
        Some(ModelReference::Loaded(model)) => Ok(plain(ModelFacts::Known(Arc::clone(model)))),
        Some(ModelReference::Config(config)) => hf_config::read("config", config)
            .map(|model| plain(ModelFacts::Known(Arc::new(model))))
            .map_err(|error| error.to_string()),
        Some(ModelReference::Shape { parameters, layers, hidden_size, heads, head_dim }) => {
            Ok(plain(shape(*parameters, [*layers, *hidden_size, *heads, *head_dim])))
        }
    };
    match (found, &declaration.fallback) {
        (Ok(found), _) => Ok(found),
        (Err(why), Some(ModelReference::Shape { parameters, layers, hidden_size, heads, head_dim })) => {
            notes.push(format!("{why}: the `parameters` and the shape that are given stand in"));
            Ok(plain(shape(*parameters, [*layers, *hidden_size, *heads, *head_dim])))
        }
        (Err(why), _) => Err(problem(Verdict::UnknownModel, why)),
    }
}

fn plain(model: ModelFacts) -> Found {
    let exact = matches!(model, ModelFacts::Known(_));
    Found { model, quantization: None, profile: None, exact }
}

fn shape(parameters: f64, [layers, hidden_size, heads, head_dim]: [Option<u64>; 4]) -> ModelFacts {
    ModelFacts::Shape(Shape { parameters, layers, hidden_size, heads, head_dim })
}

/// A quantization that was asked for by name. The checkpoint's own wins where both are of one kind, since it knows its
/// group size and which modules it leaves out.
fn quantization(declaration: &Declaration, model: &ModelFacts) -> Result<Option<Quantization>, Problem> {
    let Some(name) = declaration.quantization.as_deref() else { return Ok(None) };
    let stored = match model {
        ModelFacts::Known(model) => model.quantization.as_ref(),
        ModelFacts::Shape(_) => None,
    };
    let sized = matches!(model, ModelFacts::Known(model) if model.checkpoint_bytes.is_some());
    if name == "none" || stored.is_some_and(|stored| same_kind(stored, name)) {
        return Ok(None);
    }
    let found = Quantization::from_name(name);
    if found.is_none() && QUANTIZATIONS.contains(&name) {
        // The name of a container of formats: the checkpoint's own bytes say enough.
        return if sized {
            Ok(None)
        } else {
            Err(problem(
                Verdict::UnknownWorkload,
                format!(
                    "quantization `{name}` does not say how many bits the checkpoint has, and its config is not known: \
                     add `vramguard.io/checkpoint-bytes` or the format (`fp8`, `int4`, ...) as `vramguard.io/quantization`"
                ),
            ))
        };
    }
    found.map(Some).ok_or_else(|| {
        problem(Verdict::InvalidSpec, format!("quantization: `{name}` is not known; known are awq, gptq, fp8, nvfp4, mxfp4, int8, nf4, none and GGUF types such as q4_k_m"))
    })
}

/// `gptq_marlin` reads a gptq checkpoint, `compressed-tensors` whatever that format holds.
fn same_kind(stored: &Quantization, asked: &str) -> bool {
    const CONTAINERS: [&str; 5] = ["compressed-tensors", "modelopt", "modelopt_fp4", "fbgemm_fp8", "auto"];
    let asked = asked.strip_suffix("_marlin").unwrap_or(asked);
    CONTAINERS.contains(&asked) || stored.name == asked || stored.name.starts_with(asked)
}

/// GPUs that were requested without saying how they are used: servers spread the layers over them, trainers the data.
fn spread_over_gpus(declaration: &Declaration, workload: &mut Workload, notes: &mut Vec<String>) {
    let of_pod = declaration.gpus.as_ref().map_or(1, |request| request.count);
    let gpus = match workload.task {
        Task::Training => of_pod.saturating_mul(declaration.replica_pods.unwrap_or(1)),
        Task::Inference => of_pod,
    };
    let split = &mut workload.parallelism;
    let said = declaration.origins.keys().any(|field| field.starts_with("parallelism"));
    if gpus <= 1 || gpus > crate::estimate::parallel::MAX_DEGREE {
        return;
    }
    match workload.task {
        Task::Training if split.data == 1 && !declaration.origins.contains_key("parallelism.data") => {
            let model_ranks = split.tensor.saturating_mul(split.pipeline).saturating_mul(split.context).max(1);
            split.data = (gpus / model_ranks).max(1);
            if split.data > 1 && !matches!(workload.training.sharding, None | Some(Sharding::None | Sharding::Ddp)) {
                let whose = if gpus > of_pod { "job" } else { "pod" };
                notes.push(format!(
                    "states are assumed to be sharded over the {whose}'s {} data-parallel GPUs",
                    split.data
                ));
            }
        }
        Task::Inference if !declaration.engine_named && !said => {
            let layers = match &workload.model {
                ModelFacts::Known(model) => model.layer_count(),
                ModelFacts::Shape(_) => u64::MAX,
            };
            split.pipeline = gpus.min(layers.max(1));
            notes.push(format!("layers are assumed to be spread over the {gpus} GPUs, as `device_map=auto` does"));
        }
        _ => {}
    }
}

/// Parallelism against the pod's GPUs: tensor parallelism leaves a pod only where something ties pods together.
pub(super) fn check_gpus(declaration: &Declaration, workload: &Workload) -> Result<(), Problem> {
    let Some(request) = &declaration.gpus else { return Ok(()) };
    let tensor = workload.parallelism.tensor;
    let by_engine = declaration.origins.get("parallelism.tensor").is_some_and(|origin| *origin != Origin::Inferred);
    if by_engine && tensor > request.count && workload.task == Task::Inference && !declaration.spans_pods {
        let reason = Some("GPUS_BELOW_TENSOR_PARALLEL");
        let problem = problem(
            Verdict::ParallelismMismatch,
            format!(
                "tensor parallelism {tensor} needs {tensor} GPUs in the pod, container \"{}\" requests {} {}: request {tensor}, or set it to {}",
                declaration.container, request.count, request.resource, request.count
            ),
        );
        return Err(Problem { reason, ..problem });
    }
    Ok(())
}

/// An annotation and an argument that name models of different sizes contradict each other; an alias, a fork or a
/// quantized copy does not. Where one is not known, the annotation is believed and the difference is said.
pub(super) fn check_model(
    declaration: &Declaration,
    workload: &Workload,
    models: Models<'_>,
) -> Result<Option<String>, Problem> {
    const SAME_WITHIN: f64 = 0.1;
    let (Some(argued), Some(ModelReference::Name(named))) = (&declaration.argument_model, &declaration.model) else {
        return Ok(None);
    };
    let Ok(other) = models.by_name(argued) else {
        return Ok(Some(format!("the annotation's model {named} is believed, the argument names {argued}")));
    };
    let (ours, theirs) = (size(&workload.model), size(&other.model));
    if (ours - theirs).abs() <= SAME_WITHIN * ours.max(theirs) {
        return Ok(None);
    }
    let billions = |n: f64| format!("{:.1} billion parameters", n / 1e9);
    Err(problem(
        Verdict::SpecConflict,
        format!(
            "the annotation says the model is {named} ({}), the argument says {argued} ({}): make them agree",
            billions(ours),
            billions(theirs)
        ),
    ))
}

fn size(model: &ModelFacts) -> f64 {
    match model {
        ModelFacts::Known(model) => model.parameters() as f64,
        ModelFacts::Shape(shape) => shape.parameters,
    }
}

/// Parameters, where the model is known.
pub(super) fn parameters(model: &Model) -> u64 {
    model.parameters()
}
