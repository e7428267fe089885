//! The unchanged workload on other hardware: a class that it cannot land on for now, or one that nobody has yet.

use super::{Search, sorted_by_memory};
use crate::decide::fit;
use crate::decide::inventory::{Candidate, Sharing};
use crate::decide::report::{Change, Fix};
use crate::decide::solve::change;
use crate::decide::verdict::Verdict;

/// Strategy: another class of the cluster.
pub(super) const STEER: &str = "steer";

impl Search<'_> {
    /// A class of the cluster that it cannot land on for now.
    pub(super) fn steer(&self) -> Option<Fix> {
        let excluded = self.candidates.excluded.iter().map(|(candidate, _)| candidate);
        let roomy = sorted_by_memory(excluded.filter(|candidate| candidate.gpus_per_node >= self.gpus));
        roomy
            .into_iter()
            .find_map(|candidate| self.on(candidate, STEER, self.selecting(candidate), "needs a node of this class"))
    }

    /// The smallest class of the catalogue that is larger than all eligible ones: whole devices for whole devices,
    /// slices of the same product for MIG slices.
    pub(super) fn larger(&self) -> Option<Fix> {
        let largest = self.candidates.eligible.first()?;
        let larger: Vec<&Candidate> = if largest.class.sharing == Sharing::Mig {
            let product = largest.class.device.product.as_str();
            let slices = self.shelf.slices.iter().filter(|slice| product.starts_with(slice.parent.as_str()));
            slices.map(|slice| &slice.candidate).collect()
        } else {
            self.shelf.devices.iter().collect()
        };
        let above = |candidate: &&Candidate| {
            candidate.class.device.visible > largest.class.device.visible && candidate.gpus_per_node >= self.gpus
        };
        let ascending = sorted_by_memory(larger.into_iter().filter(above));
        // Need hardly depends on the class: a search by halves, whose result is evaluated like any other.
        let first = ascending.partition_point(|candidate| !self.fits_on(candidate));
        let candidate = ascending.get(first)?;
        let change = change("GPU class", &largest.class.device.product, &candidate.class.device.product);
        self.on(candidate, "gpu-class", change, "no known node has this class")
    }

    fn fits_on(&self, candidate: &Candidate) -> bool {
        fit::fit(self.workload, candidate, self.strictness).is_ok_and(|fit| fit.verdict == Verdict::Fits)
    }

    fn on(&self, candidate: &Candidate, strategy: &str, change: Change, cost: &str) -> Option<Fix> {
        let fit = fit::fit(self.workload, candidate, self.strictness).ok()?;
        (fit.verdict == Verdict::Fits).then(|| Fix {
            strategy: strategy.to_owned(),
            changes: vec![change],
            required: self.strictness.need(&fit.estimate),
            gpu_class: candidate.class.name(),
            cost: cost.to_owned(),
        })
    }

    /// How a pod asks for the class: by another resource where it has one, by its product otherwise.
    fn selecting(&self, candidate: &Candidate) -> Change {
        let resource = &candidate.class.resource;
        match self.candidates.eligible.first().map(|eligible| &eligible.class.resource) {
            Some(now) if now != resource => {
                let limit = |resource: &str| format!("{resource}: {}", self.gpus);
                change("resources.limits", limit(now), limit(resource))
            }
            _ => change("nodeSelector nvidia.com/gpu.product", "", &candidate.class.device.product),
        }
    }
}
