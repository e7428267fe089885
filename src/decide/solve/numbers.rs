//! The largest number that fits: context, concurrent sequences, micro-batch.

use super::search::largest;
use super::{Level, Question, Solver, change, outcome, text, unanswered};
use crate::decide::fit::Strictness;
use crate::decide::knobs::Sequences;
use crate::decide::report::{Change, Outcome, Solution};
use crate::estimate::Workload;
use crate::estimate::workload::ModelFacts;

/// Contexts are multiples of this, tokens.
const TOKENS: u64 = 128;
/// Where nothing else ends a search for a context, tokens.
const MOST_TOKENS: u64 = 1 << 24;
/// Where nothing else ends a search for a batch.
const MOST_SEQUENCES: u64 = 1 << 16;

/// A number of the workload that can be turned up until it no longer fits.
struct Dial<'a> {
    question: Question,
    /// Answers are multiples of this, or `most`.
    step: u64,
    most: u64,
    /// What it means that even `most` fits.
    end: &'a str,
    strictness: Strictness,
    turn: &'a dyn Fn(u64) -> Workload,
    changes: &'a dyn Fn(u64) -> Vec<Change>,
}

impl Dial<'_> {
    fn value(&self, rung: u64) -> u64 {
        rung.saturating_mul(self.step).min(self.most)
    }

    fn largest(&self, solver: &Solver<'_>, level: Level) -> Option<u64> {
        let fits = |rung| solver.fits(&(self.turn)(self.value(rung)), self.strictness, level);
        largest(self.most.div_ceil(self.step), fits).map(|rung| self.value(rung))
    }

    fn next(&self, value: u64) -> Option<u64> {
        (value < self.most).then(|| self.value(value / self.step + 1))
    }
}

impl Solver<'_> {
    /// The longest context that the model was made for, and what it means to reach it.
    fn longest(&self) -> (u64, &'static str) {
        let own = match &self.workload.model {
            ModelFacts::Known(model) => model.max_position_embeddings,
            ModelFacts::Shape(_) => None,
        };
        own.map_or((MOST_TOKENS, "no longer context was tried"), |own| (own.max(1), "the model's own maximum"))
    }

    pub(super) fn context(&self, question: Question) -> Solution {
        let (most, end) = self.longest();
        let now = text(self.workload.context_length);
        self.turned(&Dial {
            question,
            step: TOKENS,
            most,
            end,
            strictness: self.strictness,
            turn: &|tokens| Workload { context_length: Some(tokens), ..self.workload.clone() },
            changes: &|tokens| vec![change("contextLength", &now, tokens)],
        })
    }

    pub(super) fn concurrency(&self) -> Solution {
        let knobs = self.knobs();
        let now = self.workload.batch_size.or(self.workload.engine.max_num_seqs);
        self.turned(&Dial {
            question: Question::Concurrency,
            step: 1,
            most: MOST_SEQUENCES,
            end: "no more sequences were tried",
            strictness: Strictness { require_wanted: true },
            turn: &|n| knobs.with_sequences(self.workload, n),
            changes: &|n| {
                let mut changes = vec![change("batchSize", text(now), n)];
                if let (Sequences::SharedContext, Some(tokens)) = (knobs.sequences, self.workload.context_length) {
                    changes.insert(0, change("contextLength", tokens, tokens.saturating_mul(n)));
                }
                changes
            },
        })
    }

    pub(super) fn micro_batch(&self) -> Solution {
        self.turned(&Dial {
            question: Question::MicroBatch,
            step: 1,
            most: MOST_SEQUENCES,
            end: "no larger micro-batch was tried",
            strictness: self.strictness,
            turn: &|n| Workload { batch_size: Some(n), ..self.workload.clone() },
            changes: &|n| vec![change("batchSize", text(self.workload.batch_size), n)],
        })
    }

    /// The largest context that surely fits another workload; for tables of alternatives.
    pub(super) fn most_context(&self, workload: &Workload) -> Option<u64> {
        let (most, _) = self.longest();
        let fits = |rung: u64| {
            let tokens = rung.saturating_mul(TOKENS).min(most);
            let longer = Workload { context_length: Some(tokens), ..workload.clone() };
            self.fits(&longer, self.strictness, Level::Surely)
        };
        largest(most.div_ceil(TOKENS), fits).map(|rung| rung.saturating_mul(TOKENS).min(most))
    }

    /// The most sequences (serving) or the largest micro-batch (training) that surely fit another workload.
    pub(super) fn most_batch(&self, workload: &Workload) -> Option<u64> {
        let serves = workload.task == crate::estimate::workload::Task::Inference;
        let strictness = Strictness { require_wanted: serves || self.strictness.require_wanted };
        largest(MOST_SEQUENCES, |n| {
            let more = if serves {
                self.knobs().with_sequences(workload, n)
            } else {
                Workload { batch_size: Some(n), ..workload.clone() }
            };
            self.fits(&more, strictness, Level::Surely)
        })
    }

    fn turned(&self, dial: &Dial<'_>) -> Solution {
        let [surely, likely, perhaps] =
            [Level::Surely, Level::Likely, Level::Perhaps].map(|level| dial.largest(self, level));
        let evaluate = |n: u64| self.evaluate(n.to_string(), &(dial.turn)(n), dial.strictness);
        let Some(value) = surely.or(likely) else {
            return match evaluate(dial.value(1)) {
                Ok(floor) => {
                    let doubtful = perhaps.map_or_else(String::new, |n| format!("{n} might: the low estimate fits"));
                    let mut nothing = unanswered(dial.question, Outcome::Nothing, doubtful);
                    nothing.at_most = perhaps;
                    nothing.beyond = Some(floor);
                    nothing
                }
                Err(reason) => unanswered(dial.question, Outcome::Nothing, reason),
            };
        };
        let proof = match evaluate(value) {
            Ok(proof) => proof,
            Err(reason) => return unanswered(dial.question, Outcome::Nothing, reason),
        };
        let next = dial.next(value);
        let mut solution = unanswered(dial.question, outcome(&proof), if next.is_none() { dial.end } else { "" });
        solution.value = Some(value.to_string());
        solution.likely = likely;
        solution.at_most = perhaps;
        solution.changes = (dial.changes)(value);
        solution.changes.retain(|change| change.from != change.to);
        solution.proof = Some(proof);
        solution.beyond = next.and_then(|next| evaluate(next).ok());
        solution
    }
}
