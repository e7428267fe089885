//! Questions with few answers: formats of cache and weights, checkpointing, sharding.

use super::degrees::{chosen, freed, replica};
use super::{Level, Outcome, Question, Solver, change, text, unanswered};
use crate::decide::report::{Alternative, Change, Solution};
use crate::estimate::Workload;
use crate::estimate::dtype::DType;
use crate::estimate::model::Quantization;
use crate::estimate::workload::{Checkpointing, ModelFacts, Sharding, Task};

/// Data-parallel degrees up to this are tried.
const MOST_RANKS: u64 = 64;

/// A named value of a setting.
struct Choice {
    name: String,
    workload: Workload,
    changes: Vec<Change>,
}

impl Solver<'_> {
    pub(super) fn cache_formats(&self) -> Solution {
        let formats = self.knobs().caches;
        if formats.is_empty() {
            let note = format!("{} keeps its cache in the model's format", self.workload.engine.name.name());
            return unanswered(Question::KvCacheDtype, Outcome::NotApplicable, note);
        }
        let now = self.workload.kv_cache_dtype;
        let others = formats.iter().filter(|format| now.is_none_or(|now| format.bits() < now.bits()));
        let changed = others.map(|format| Choice {
            name: format.name().to_owned(),
            workload: Workload { kv_cache_dtype: Some(*format), ..self.workload.clone() },
            changes: vec![change("kvCacheDtype", now.map_or("auto", DType::name), format.name())],
        });
        self.choose(Question::KvCacheDtype, self.unchanged(now.map_or("auto", DType::name)), changed)
    }

    pub(super) fn quantizations(&self) -> Solution {
        let stored = match &self.workload.model {
            ModelFacts::Known(model) => model.quantization.as_ref(),
            ModelFacts::Shape(_) => None,
        };
        if let Some(now) = self.workload.quantization.as_ref().or(stored) {
            let note = format!("the weights are quantized already ({})", now.name);
            return unanswered(Question::Quantization, Outcome::NotApplicable, note);
        }
        let knobs = self.knobs();
        let named = knobs.quantizations.iter().filter_map(|name| Some((*name, Quantization::from_name(name)?)));
        let changed = named.map(|(name, quantization)| Choice {
            name: name.to_owned(),
            workload: Workload { quantization: Some(quantization), ..self.workload.clone() },
            changes: vec![change("quantization", "none", name)],
        });
        let mut solution = self.choose(Question::Quantization, self.unchanged("none"), changed);
        let own: Vec<&str> = knobs.quantizations.iter().skip(knobs.at_load).copied().collect();
        if solution.note.is_empty() && !own.is_empty() {
            solution.note = format!("{} needs a checkpoint in that format", own.join(" or "));
        }
        solution
    }

    pub(super) fn checkpointing(&self) -> Solution {
        let now = self.workload.training.checkpointing;
        let all = [Checkpointing::None, Checkpointing::Selective, Checkpointing::Full];
        let mut choices = all.into_iter().map(|mode| {
            let mut workload = self.workload.clone();
            workload.training.checkpointing = Some(mode);
            let changes = vec![change("training.checkpointing", text(now.map(Checkpointing::name)), mode.name())];
            Choice { name: mode.name().to_owned(), workload, changes }
        });
        let Some(first) = choices.next() else {
            return unanswered(Question::Checkpointing, Outcome::NotApplicable, "");
        };
        self.choose(Question::Checkpointing, first, choices)
    }

    /// Each way of sharding over the fewest ranks with which it fits.
    pub(super) fn sharding(&self) -> Solution {
        let now = self.workload.training.sharding.unwrap_or(Sharding::None);
        let ways: &[Sharding] = match now {
            Sharding::Fsdp | Sharding::Hsdp | Sharding::Megatron => &[now],
            _ => &[Sharding::Zero1, Sharding::Zero2, Sharding::Zero3],
        };
        let choices = ways.iter().map(|way| self.fewest_ranks(now, *way));
        let mut solution = self.choose(Question::Sharding, self.unchanged(&self.sharded_name(now)), choices);
        // Fewer GPUs first, then the way with less traffic, which stands first already.
        let fewest = solution
            .alternatives
            .iter()
            .filter(|tried| super::outcome(&tried.evaluated) == Outcome::Proven)
            .min_by_key(|tried| tried.gpus)
            .cloned();
        if let Some(best) = fewest {
            solution.value = Some(best.evaluated.value.clone());
            solution.changes = best.changes;
            solution.proof = Some(best.evaluated);
        }
        solution
    }

    fn sharded_name(&self, way: Sharding) -> String {
        over(way, self.workload.parallelism.data)
    }

    fn fewest_ranks(&self, now: Sharding, way: Sharding) -> Choice {
        let declared = self.workload.parallelism.data;
        let with = |data: u64| {
            let mut workload = self.workload.clone();
            workload.parallelism.data = data;
            workload.training.sharding = Some(way);
            workload
        };
        let degrees =
            std::iter::successors(Some(declared.max(2)), |n| n.checked_mul(2)).take_while(|n| *n <= MOST_RANKS);
        let fewest = |level| degrees.clone().find(|data| self.fits(&with(*data), self.strictness, level));
        let fitting = fewest(Level::Surely).or_else(|| fewest(Level::Likely));
        let data = fitting.or_else(|| degrees.clone().last()).unwrap_or(declared);
        let changes =
            vec![change("training.sharding", now.name(), way.name()), change("parallelism.data", declared, data)];
        Choice { name: over(way, data), workload: with(data), changes }
    }

    fn unchanged(&self, name: &str) -> Choice {
        Choice { name: name.to_owned(), workload: self.workload.clone(), changes: Vec::new() }
    }

    /// Evaluates choices, least invasive first, with what each makes possible.
    fn choose(&self, question: Question, first: Choice, others: impl Iterator<Item = Choice>) -> Solution {
        let base = self.evaluate(String::new(), self.workload, self.strictness).ok();
        let serves = self.workload.task == Task::Inference;
        let mut problem = String::new();
        let mut tried = Vec::new();
        for mut choice in std::iter::once(first).chain(others) {
            choice.changes.retain(|change| change.from != change.to);
            match self.evaluate(choice.name, &choice.workload, self.strictness) {
                Ok(evaluated) => tried.push(Alternative {
                    frees_bytes: freed(base.as_ref(), &evaluated),
                    evaluated,
                    changes: choice.changes,
                    gpus: replica(&choice.workload),
                    max_context: serves.then(|| self.most_context(&choice.workload)).flatten(),
                    max_batch: self.most_batch(&choice.workload),
                }),
                Err(reason) => problem = reason,
            }
        }
        let mut solution = chosen(question, tried);
        if solution.alternatives.is_empty() {
            solution.note = problem;
        }
        solution
    }
}

/// `zero3 over 4 ranks`.
fn over(way: Sharding, data: u64) -> String {
    if data > 1 { format!("{} over {data} ranks", way.name()) } else { way.name().to_owned() }
}
