//! Inverse answers: the largest context that fits, the smallest GPU that would do. Every answer is an evaluation of the
//! changed workload by the same engine, never a formula turned around.

mod choices;
mod degrees;
mod devices;
mod numbers;
mod question;
pub(crate) mod search;

use super::fit::{self, Fit, Strictness};
use super::inventory::{Candidate, Candidates};
use super::knobs::Knobs;
use super::report::{Change, Evaluated, Outcome, Solution};
use super::verdict::Verdict;
use crate::estimate::Workload;

pub(crate) use degrees::tensor_degrees;
pub use devices::{Shelf, Slice};
pub use question::Question;

/// What is asked about: a workload and where it may run.
pub struct Solver<'a> {
    /// The workload as declared.
    pub workload: &'a Workload,
    /// Where it may land; nothing where no capacity was given.
    pub candidates: &'a Candidates,
    /// Which need counts.
    pub strictness: Strictness,
    /// Hardware that could be had.
    pub shelf: &'a Shelf,
}

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Even the high estimate fits.
    Surely,
    /// The likely estimate fits.
    Likely,
    /// The low estimate fits: it would not be refused.
    Perhaps,
}

impl Level {
    fn holds(self, fit: &Fit, strictness: Strictness) -> bool {
        match self {
            Self::Surely => fit.verdict == Verdict::Fits,
            Self::Likely => {
                matches!(fit.verdict, Verdict::Fits | Verdict::Tight)
                    && strictness.need(&fit.estimate).likely <= fit.estimate.usable
            }
            Self::Perhaps => matches!(fit.verdict, Verdict::Fits | Verdict::Tight),
        }
    }
}

impl Solver<'_> {
    /// The answer to a question.
    #[must_use]
    pub fn solve(&self, question: Question) -> Solution {
        match question {
            Question::Context | Question::SequenceLength => self.context(question),
            Question::Concurrency => self.concurrency(),
            Question::MicroBatch => self.micro_batch(),
            Question::TensorParallel => self.tensor_parallel(),
            Question::PipelineParallel => self.pipeline_parallel(),
            Question::KvCacheDtype => self.cache_formats(),
            Question::Quantization => self.quantizations(),
            Question::Checkpointing => self.checkpointing(),
            Question::Sharding => self.sharding(),
            Question::Gpu => self.devices(),
            Question::Mig => self.slices(),
        }
    }

    fn knobs(&self) -> &'static Knobs {
        Knobs::of(self.workload.engine.name)
    }

    /// Classes with enough GPUs in a node for the tensor-parallel ranks.
    fn roomy(&self, workload: &Workload) -> impl Iterator<Item = &Candidate> {
        let tensor = workload.parallelism.tensor;
        self.candidates.eligible.iter().filter(move |candidate| candidate.gpus_per_node >= tensor)
    }

    /// Whether the workload fits somewhere.
    fn fits(&self, workload: &Workload, strictness: Strictness, level: Level) -> bool {
        self.roomy(workload)
            .any(|candidate| fit::fit(workload, candidate, strictness).is_ok_and(|fit| level.holds(&fit, strictness)))
    }

    /// The evaluation where it fits best, or why there is none.
    fn evaluate(&self, value: String, workload: &Workload, strictness: Strictness) -> Result<Evaluated, String> {
        let candidates = Candidates { eligible: self.roomy(workload).cloned().collect(), ..Candidates::default() };
        let assessment = fit::assess(workload, &candidates, strictness).map_err(|error| error.to_string())?;
        let tensor = workload.parallelism.tensor;
        let best = assessment.best.ok_or_else(|| format!("no node has the {tensor} GPUs of one replica"))?;
        Ok(evaluated(value, &best, strictness))
    }
}

/// The figures of a fit.
fn evaluated(value: String, fit: &Fit, strictness: Strictness) -> Evaluated {
    let refusals: Vec<&str> = fit.estimate.refusals.iter().map(|refusal| refusal.message.as_str()).collect();
    Evaluated {
        value,
        need: strictness.need(&fit.estimate),
        usable_bytes: fit.estimate.usable,
        gpu_class: fit.candidate.class.name(),
        verdict: fit.verdict,
        refusal: refusals.join("; "),
    }
}

/// How sure an evaluation is.
fn outcome(evaluated: &Evaluated) -> Outcome {
    match evaluated.verdict {
        Verdict::Fits => Outcome::Proven,
        Verdict::Tight if evaluated.need.likely <= evaluated.usable_bytes => Outcome::Likely,
        _ => Outcome::Nothing,
    }
}

/// An answer without anything in it yet.
fn unanswered(question: Question, outcome: Outcome, note: impl Into<String>) -> Solution {
    Solution {
        question,
        outcome,
        value: None,
        likely: None,
        at_most: None,
        changes: Vec::new(),
        proof: None,
        beyond: None,
        note: note.into(),
        alternatives: Vec::new(),
    }
}

/// One changed setting.
#[expect(clippy::needless_pass_by_value, reason = "numbers and names are passed as they are")]
pub(crate) fn change(path: &str, from: impl ToString, to: impl ToString) -> Change {
    Change { path: path.to_owned(), from: from.to_string(), to: to.to_string() }
}

/// The text of a setting that may be unset.
pub(crate) fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests;
