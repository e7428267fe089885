//! The smallest degree of parallelism that divides the model and fits.

use super::{Question, Solver, change, outcome, unanswered};
use crate::decide::report::{Alternative, Evaluated, Outcome, Solution};
use crate::estimate::Workload;
use crate::estimate::model::quantization::Scales;
use crate::estimate::model::{Mlp, Model};
use crate::estimate::parallel;
use crate::estimate::workload::{ModelFacts, Parallelism, Task};

/// Degrees up to this are tried.
const MOST_RANKS: u64 = 16;
/// Engines pad the vocabulary to a multiple of this before they divide it.
const VOCABULARY_PADDING: u64 = 64;

/// Tensor-parallel degrees from `least` on that the engine would accept for the model: they divide heads and widths,
/// the padded vocabulary, the experts' width, and leave whole groups of a quantization.
pub(crate) fn tensor_degrees(workload: &Workload, least: u64) -> impl Iterator<Item = u64> {
    (least.max(1)..=MOST_RANKS).filter(|degree| match &workload.model {
        ModelFacts::Known(model) => divides(workload, model, *degree),
        ModelFacts::Shape(_) => degree.is_power_of_two(),
    })
}

fn divides(workload: &Workload, model: &Model, degree: u64) -> bool {
    let parallelism = Parallelism { tensor: degree, ..workload.parallelism };
    let vocabulary = model.vocab_size.checked_next_multiple_of(VOCABULARY_PADDING).unwrap_or(model.vocab_size);
    let quantization = workload.quantization.as_ref().or(model.quantization.as_ref());
    let group = match quantization.map(|quantization| quantization.scales) {
        Some(Scales::PerGroup { group, .. }) => group,
        Some(Scales::PerBlock { rows, .. }) => rows,
        _ => 1,
    };
    let whole = |width: u64| {
        width.is_multiple_of(degree)
            && (degree == 1 || !width.is_multiple_of(group) || (width / degree).is_multiple_of(group))
    };
    parallel::check(model, &parallelism).is_ok()
        && vocabulary.is_multiple_of(degree)
        && model.layers.iter().all(|layer| match layer.mlp {
            Mlp::Dense { intermediate, .. } => whole(intermediate),
            Mlp::Moe { intermediate, .. } => workload.parallelism.expert > 1 || whole(intermediate),
            Mlp::None => true,
        })
}

impl Solver<'_> {
    pub(super) fn tensor_parallel(&self) -> Solution {
        if self.workload.task == Task::Inference && !self.knobs().tensor {
            let note = format!("{} spreads layers over GPUs, it divides no matrices", self.workload.engine.name.name());
            return unanswered(Question::TensorParallel, Outcome::NotApplicable, note);
        }
        let degrees: Vec<u64> = tensor_degrees(self.workload, 1).collect();
        self.smallest(Question::TensorParallel, "parallelism.tensor", self.workload.parallelism.tensor, &degrees, |n| {
            Parallelism { tensor: n, ..self.workload.parallelism }
        })
    }

    pub(super) fn pipeline_parallel(&self) -> Solution {
        let layers = match &self.workload.model {
            ModelFacts::Known(model) => model.layer_count(),
            ModelFacts::Shape(shape) => shape.layers.unwrap_or(MOST_RANKS),
        };
        let degrees: Vec<u64> = (1..=layers.min(MOST_RANKS)).collect();
        let now = self.workload.parallelism.pipeline;
        self.smallest(Question::PipelineParallel, "parallelism.pipeline", now, &degrees, |n| Parallelism {
            pipeline: n,
            ..self.workload.parallelism
        })
    }

    /// The first degree that fits; all up to it, and one more, are listed.
    fn smallest(
        &self,
        question: Question,
        path: &str,
        now: u64,
        degrees: &[u64],
        split: impl Fn(u64) -> Parallelism,
    ) -> Solution {
        let base = self.evaluate(String::new(), self.workload, self.strictness).ok();
        let mut tried: Vec<Alternative> = Vec::new();
        let mut problem = String::new();
        for &degree in degrees {
            let workload = Workload { parallelism: split(degree), ..self.workload.clone() };
            match self.evaluate(degree.to_string(), &workload, self.strictness) {
                Ok(evaluated) => {
                    let mut changes = vec![change(path, now, degree)];
                    changes.retain(|change| change.from != change.to);
                    tried.push(Alternative {
                        frees_bytes: freed(base.as_ref(), &evaluated),
                        evaluated,
                        changes,
                        gpus: replica(&workload),
                        max_context: None,
                        max_batch: None,
                    });
                }
                Err(reason) => problem = reason,
            }
            let proven = |tried: &Alternative| outcome(&tried.evaluated) == Outcome::Proven;
            if tried.iter().rev().skip(1).any(proven) {
                break;
            }
        }
        let mut solution = chosen(question, tried);
        if let Some(answer) =
            solution.alternatives.iter().position(|tried| solution.value.as_ref() == Some(&tried.evaluated.value))
        {
            solution.alternatives.truncate(answer.saturating_add(2));
        }
        if solution.note.is_empty() && solution.outcome == Outcome::Nothing {
            solution.note = if problem.is_empty() { "no degree divides the model".to_owned() } else { problem };
        }
        solution
    }
}

/// The first alternative that fits is the answer, or the first that likely does.
pub(super) fn chosen(question: Question, tried: Vec<Alternative>) -> Solution {
    let first = |wanted: Outcome| tried.iter().find(|tried| outcome(&tried.evaluated) == wanted);
    let mut solution = unanswered(question, Outcome::Nothing, "");
    if let Some(answer) = first(Outcome::Proven).or_else(|| first(Outcome::Likely)) {
        solution.outcome = outcome(&answer.evaluated);
        solution.value = Some(answer.evaluated.value.clone());
        solution.changes.clone_from(&answer.changes);
        solution.proof = Some(answer.evaluated.clone());
    } else {
        // The floor: what comes closest.
        let closest = tried.iter().map(|tried| &tried.evaluated).min_by_key(|evaluated| evaluated.need.low);
        solution.beyond = closest.cloned();
    }
    solution.alternatives = tried;
    solution
}

/// Likely bytes per GPU that a change frees.
pub(super) fn freed(base: Option<&Evaluated>, changed: &Evaluated) -> i64 {
    let Some(base) = base else { return 0 };
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(base.need.likely.0).saturating_sub(signed(changed.need.likely.0))
}

/// GPUs of the whole replica.
pub(super) fn replica(workload: &Workload) -> u64 {
    let split = &workload.parallelism;
    [split.tensor, split.pipeline, split.data, split.context].iter().fold(1, |n, degree| n.saturating_mul(*degree))
}
