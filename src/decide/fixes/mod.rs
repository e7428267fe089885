//! The search for changes after which a workload fits. Every suggestion has been evaluated by the same engine.

mod hardware;
mod remedies;
mod serving;
mod training;

use super::fit::{self, Strictness};
use super::inventory::{Candidate, Candidates, Crowding};
use super::report::{Change, Fix};
use super::solve::Shelf;
use super::verdict::Verdict;
use crate::estimate::Workload;
use crate::estimate::workload::Task;

/// Suggestions at most.
const MOST: usize = 3;
/// Suggestions of one strategy at most.
const MOST_OF_A_KIND: usize = 1;

/// A changed workload with what was changed.
struct Proposal {
    strategy: &'static str,
    workload: Workload,
    /// GPUs of one pod that it needs.
    gpus: u64,
    changes: Vec<Change>,
    cost: String,
}

/// Proposals of one strategy, best first, made when it is their turn.
type Strategy = fn(&Search<'_>) -> Vec<Proposal>;

/// What the workload is now: the starting point of the search.
pub struct Search<'a> {
    /// The workload that does not fit.
    pub workload: &'a Workload,
    /// GPUs that the pod requests.
    pub gpus: u64,
    /// Where it could land, and where it cannot for now.
    pub candidates: &'a Candidates,
    /// Which need counts.
    pub strictness: Strictness,
    /// Hardware that could be had.
    pub shelf: &'a Shelf,
}

impl Search<'_> {
    /// Up to three proven changes, least invasive first.
    #[must_use]
    pub fn run(&self) -> Vec<Fix> {
        let mut fixes: Vec<Fix> = self.steer().into_iter().collect();
        let strategies = match self.workload.task {
            Task::Inference => serving::STRATEGIES,
            Task::Training => training::STRATEGIES,
        };
        for strategy in strategies {
            if fixes.len() >= MOST {
                break;
            }
            for fix in strategy(self).iter().filter_map(|proposal| self.prove(proposal)) {
                if fixes.iter().filter(|other| other.strategy == fix.strategy).count() >= MOST_OF_A_KIND {
                    break;
                }
                fixes.push(fix);
            }
        }
        if fixes.len() < MOST && !fixes.iter().any(|fix| fix.strategy == hardware::STEER) {
            fixes.extend(self.larger());
        }
        fixes.truncate(MOST);
        fixes
    }

    /// Evaluates a proposal on the eligible classes; the smallest class on which it fits is named.
    fn prove(&self, proposal: &Proposal) -> Option<Fix> {
        sorted_by_memory(self.roomy(proposal.gpus)).into_iter().find_map(|candidate| {
            let crowding = Crowding::of(&candidate.class, candidate.gpus_per_node, proposal.gpus);
            let candidate = Candidate { crowding, ..candidate.clone() };
            let fit = fit::fit(&proposal.workload, &candidate, self.strictness).ok()?;
            (fit.verdict == Verdict::Fits).then(|| Fix {
                strategy: proposal.strategy.to_owned(),
                changes: proposal.changes.iter().filter(|change| change.from != change.to).cloned().collect(),
                required: self.strictness.need(&fit.estimate),
                gpu_class: candidate.class.name(),
                cost: proposal.cost.clone(),
            })
        })
    }

    /// Eligible classes with so many GPUs in a node, largest first.
    fn roomy(&self, gpus: u64) -> impl Iterator<Item = &Candidate> {
        self.candidates.eligible.iter().filter(move |candidate| candidate.gpus_per_node >= gpus)
    }

    /// Whether a changed workload with the same GPUs fits the largest eligible class: what a search for a number asks.
    fn fits_largest(&self, workload: &Workload) -> bool {
        self.roomy(self.gpus).next().is_some_and(|candidate| {
            fit::fit(workload, candidate, self.strictness).is_ok_and(|fit| fit.verdict == Verdict::Fits)
        })
    }
}

fn sorted_by_memory<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<&'a Candidate> {
    let mut sorted: Vec<&Candidate> = candidates.collect();
    sorted.sort_by_key(|candidate| candidate.class.device.visible);
    sorted
}

#[cfg(test)]
mod tests;
