//! The smallest device that would do: whole GPUs and MIG slices of the catalogue.

use super::degrees::{chosen, freed, replica};
use super::{Outcome, Question, Solver, change, evaluated, unanswered};
use crate::decide::fit;
use crate::decide::inventory::Candidate;
use crate::decide::report::{Alternative, Change, Solution};

/// Alternatives listed at most.
const MOST: usize = 6;

/// Hardware that could be had, whether or not a cluster has it.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Whole devices.
    pub devices: Vec<Candidate>,
    /// MIG slices.
    pub slices: Vec<Slice>,
}

/// A MIG slice.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Product that is sliced.
    pub parent: String,
    /// Profile, e.g. `3g.40gb`.
    pub profile: String,
    /// The slice as a device.
    pub candidate: Candidate,
}

impl Solver<'_> {
    pub(super) fn devices(&self) -> Solution {
        let mut devices: Vec<(String, &Candidate)> = self
            .shelf
            .devices
            .iter()
            .map(|candidate| (short(&candidate.class.device.product).to_owned(), candidate))
            .collect();
        devices.sort_by_key(|(_, candidate)| candidate.class.device.visible);
        self.on_shelf(Question::Gpu, &devices, |candidate| {
            vec![change("nodeSelector nvidia.com/gpu.product", "", &candidate.class.device.product)]
        })
    }

    pub(super) fn slices(&self) -> Solution {
        if replica(self.workload) > 1 {
            let note = "MIG slices do not talk to each other: the replica must run on one GPU";
            return unanswered(Question::Mig, Outcome::NotApplicable, note);
        }
        let parents: Vec<&str> =
            self.candidates.eligible.iter().map(|candidate| candidate.class.device.product.as_str()).collect();
        let wanted = |slice: &&Slice| parents.is_empty() || parents.contains(&slice.parent.as_str());
        let mut slices: Vec<(String, &Candidate)> = self
            .shelf
            .slices
            .iter()
            .filter(wanted)
            .map(|slice| (format!("{} of {}", slice.profile, short(&slice.parent)), &slice.candidate))
            .collect();
        if slices.is_empty() {
            let note = format!("no MIG profiles of {} are known", parents.join(", "));
            return unanswered(Question::Mig, Outcome::NotApplicable, note);
        }
        // Of slices with the same memory the one with less compute stands first by its name.
        slices
            .sort_by(|(a, x), (b, y)| (x.class.device.visible, a.as_str()).cmp(&(y.class.device.visible, b.as_str())));
        self.on_shelf(Question::Mig, &slices, |candidate| {
            vec![change("resources.limits", "", format!("{}: 1", candidate.class.resource))]
        })
    }

    /// The first of a shelf in ascending order of memory on which it fits, with the ones that follow.
    fn on_shelf(
        &self,
        question: Question,
        ascending: &[(String, &Candidate)],
        changes: impl Fn(&Candidate) -> Vec<Change>,
    ) -> Solution {
        let base = self.evaluate(String::new(), self.workload, self.strictness).ok();
        let mut good: Vec<Alternative> = Vec::new();
        let mut largest = None;
        let mut problem = String::new();
        for (name, candidate) in ascending {
            let fit = match fit::fit(self.workload, candidate, self.strictness) {
                Ok(fit) => fit,
                Err(error) => {
                    problem = error.to_string();
                    continue;
                }
            };
            let evaluated = evaluated(name.clone(), &fit, self.strictness);
            if super::outcome(&evaluated) == Outcome::Nothing {
                largest = Some(evaluated);
                continue;
            }
            good.push(Alternative {
                changes: changes(candidate),
                gpus: replica(self.workload),
                frees_bytes: freed(base.as_ref(), &evaluated),
                evaluated,
                max_context: None,
                max_batch: None,
            });
        }
        if good.is_empty() {
            let mut nothing = unanswered(question, Outcome::Nothing, problem);
            nothing.beyond = largest;
            return nothing;
        }
        // One of each size is enough.
        let gib = |tried: &Alternative| tried.evaluated.usable_bytes.gib().round() as u64;
        good.dedup_by_key(|tried| (gib(tried), tried.evaluated.verdict));
        let proven = good.iter().position(|tried| super::outcome(&tried.evaluated) == Outcome::Proven).unwrap_or(0);
        // What comes just before the answer likely fits, what comes after is larger than needed.
        let kept: Vec<Alternative> = good.into_iter().skip(proven.saturating_sub(MOST / 2)).take(MOST).collect();
        let mut solution = chosen(question, kept);
        solution.beyond = largest
            .filter(|tried| solution.proof.as_ref().is_some_and(|proof| tried.usable_bytes < proof.usable_bytes));
        solution
    }
}

fn short(product: &str) -> &str {
    product.strip_prefix("NVIDIA-").unwrap_or(product)
}
