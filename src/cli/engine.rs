//! The seam between flags and the one evaluation path.

use std::sync::Arc;

use super::error::{Failure, code};
use crate::decide::inventory::{Candidate, CapacitySource, GpuClass};
use crate::decide::policy::PolicyInput;
use crate::decide::report::{Change, Report, Solution, Source};
use crate::decide::solve::Question;
use crate::decide::{Candidates, Policy, Verdict};
use crate::estimate::Device;
use crate::evaluate::{self, Environment, evaluate_declaration};
use crate::facts;
use crate::facts::catalog::Catalog;
use crate::facts::lookup::ModelSource;
use crate::facts::profile::Profiles;
use crate::spec::declaration::Declaration;

/// GPUs of a usual node, where only a product was given.
const GPUS_PER_NODE: u64 = 8;

/// Fields of annotations and the flags that say the same.
const FLAGS: [(&str, &str); 13] = [
    ("batchSize", "--batch-size"),
    ("contextLength", "--context-length"),
    ("kvCacheDtype", "--kv-cache-dtype"),
    ("quantization", "--quantization"),
    ("parallelism.tensor", "--tensor-parallel"),
    ("parallelism.pipeline", "--pipeline-parallel"),
    ("parallelism.data", "--data-parallel"),
    ("engine.memoryFraction", "--memory-fraction"),
    ("training.checkpointing", "--checkpointing"),
    ("training.gradientAccumulation", "--gradient-accumulation"),
    ("training.loss", "--loss"),
    ("training.optimizer", "--optimizer"),
    ("training.sharding", "--sharding"),
];

/// A device of the catalogue by any of its names.
pub(super) fn device(name: &str) -> Result<Device, Failure> {
    facts::gpus::device(name).ok_or_else(|| {
        let failure = Failure::new(code::UNKNOWN_GPU, format!("unknown GPU `{name}`"));
        let near = facts::gpus::suggest(name);
        match near.as_slice() {
            [] => failure.hint("`vramguard gpus` lists what is known"),
            near => failure.hint(format!("did you mean {}? `vramguard gpus` lists what is known", near.join(", "))),
        }
    })
}

/// Product names without the vendor.
pub(super) fn short_product(product: &str) -> &str {
    product.strip_prefix("NVIDIA-").unwrap_or(product)
}

/// One workload against where it may run, or against nothing.
pub(super) fn estimate(
    declaration: &Declaration,
    candidates: Option<&Candidates>,
    models: Option<&dyn ModelSource>,
) -> Report {
    let source = Source { kind: "Estimate".to_owned(), ..Source::default() };
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: models,
        inventory: None,
        policy: &Policy::default(),
        config_maps: None,
    };
    let asked = PolicyInput::default();
    let mut report = evaluate_declaration(declaration, &source, &asked, candidates, &environment);
    for fix in &mut report.fixes {
        in_flags(&mut fix.changes);
    }
    report
}

/// Answers to questions about one workload.
pub(super) fn solve(
    declaration: &Declaration,
    questions: &[Question],
    candidates: Option<&Candidates>,
    models: Option<&dyn ModelSource>,
) -> Vec<Solution> {
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: models,
        inventory: None,
        policy: &Policy::default(),
        config_maps: None,
    };
    let nowhere = Candidates::default();
    let candidates = candidates.unwrap_or(&nowhere);
    let mut solutions = evaluate::solve(declaration, questions, candidates, &environment);
    for solution in &mut solutions {
        in_flags(&mut solution.changes);
        for alternative in &mut solution.alternatives {
            in_flags(&mut alternative.changes);
        }
    }
    solutions
}

/// Says changes in the flags of `estimate`; an engine's own flags stay. No resource is requested here.
fn in_flags(changes: &mut Vec<Change>) {
    changes.retain(|change| !change.path.contains('/') || change.path.starts_with("nodeSelector"));
    for change in changes {
        if let Some((_, flag)) = FLAGS.iter().find(|(field, _)| *field == change.path) {
            change.path = (*flag).to_owned();
        }
    }
}

/// A node full of one product.
pub(super) fn given(name: &str, declaration: &Declaration) -> Result<Candidates, Failure> {
    let device = device(name)?;
    // Only NVIDIA's devices have a compute capability.
    let resource = if device.compute_capability.is_some() { "nvidia.com/gpu" } else { "gpu" };
    let class = GpuClass::whole(device, resource, CapacitySource::Given);
    let gpus_per_node = GPUS_PER_NODE.max(declaration.parallelism.tensor);
    let candidate = Candidate { class: Arc::new(class), gpus_per_node, nodes: 1, crowding: None };
    Ok(Candidates { eligible: vec![candidate], ..Candidates::default() })
}

/// The error for a workload of which nothing can be estimated.
pub(super) fn refused(report: &Report) -> Failure {
    let code = report.verdict.code();
    let message =
        report.message.strip_prefix(code).map_or(report.message.as_str(), |rest| rest.trim_start_matches(": "));
    let failure = Failure::new(code, message);
    match (report.notes.first(), report.verdict) {
        (Some(note), _) => failure.hint(note),
        (None, Verdict::UnknownModel) => {
            failure.hint("`vramguard models` lists the catalogue; --config-json reads any other model's config.json")
        }
        _ => failure,
    }
}
