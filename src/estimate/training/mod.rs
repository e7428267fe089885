//! The trainers' own memory rules, composed of terms.
//!
//! The peak of a step is the largest of its phases, not the sum of everything that ever exists: [`phases`] computes
//! each on the worst rank. What was not declared is bounded by running the same rules with the cheapest and the
//! dearest plausible settings ([`plan`]); the declared part is equal in all of them.

pub(in crate::estimate) mod assumed;
mod lora;
#[cfg(test)]
mod models;
mod phases;
mod plan;
mod policy;
#[cfg(test)]
mod props;
mod ranks;
mod report;
#[cfg(test)]
mod tests;
pub(in crate::estimate) mod trainers;
mod validate;

use std::sync::Arc;

use super::model::Model;
use super::workload::ModelFacts;
use super::{Bytes, Device, Estimate, EstimateError, Interval, TermName, Workload};
use phases::{Footprint, Load, Phase};
use plan::{Plan, Scenario};

/// Estimates a training workload whose architecture is known.
///
/// # Errors
/// As [`super::estimate`]; for a model of which only the shape is known, [`EstimateError::Missing`].
pub fn estimate(workload: &Workload, device: &Device) -> Result<Estimate, EstimateError> {
    let model = known(workload)?;
    validate::validate(workload, model)?;
    let plan = |scenario| Plan::resolve(workload, model, scenario);
    let (least, low) = (plan(Scenario::Least)?, plan(Scenario::Low)?);
    let (likely, high) = (plan(Scenario::Likely)?, plan(Scenario::High)?);
    let peaks = report::Peaks {
        least: worst(&least, model),
        low: worst(&low, model),
        likely: worst(&likely, model),
        high: worst(&high, model),
    };
    Ok(report::estimate(workload, device, &peaks))
}

/// One rank in one phase of a step, for charts of memory over a step.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseView {
    /// `loss`, `backward-start`, `backward-end` or `step`, in the order of a step.
    pub name: &'static str,
    /// Pipeline stage of the rank, from 0.
    pub stage: u64,
    /// What the allocator hands out by term, bytes; terms of no bytes are left out.
    pub terms: Vec<(TermName, Interval)>,
}

impl PhaseView {
    /// The sum of the terms' likely values.
    #[must_use]
    pub fn likely(&self) -> Bytes {
        self.terms.iter().map(|(_, bytes)| bytes.likely).sum()
    }
}

/// The phases of a step on the first and the last pipeline stage (one stage without a pipeline): the largest likely
/// value is the peak that [`estimate`] reports.
///
/// # Errors
/// As [`estimate`].
pub fn phases(workload: &Workload) -> Result<Vec<PhaseView>, EstimateError> {
    let model = known(workload)?;
    validate::validate(workload, model)?;
    let low = Plan::resolve(workload, model, Scenario::Least)?;
    let likely = Plan::resolve(workload, model, Scenario::Likely)?;
    let high = Plan::resolve(workload, model, Scenario::High)?;
    let mut stages = vec![0, likely.pipeline.saturating_sub(1)];
    stages.dedup();
    let mut views = Vec::new();
    for stage in stages {
        let [low, likely, high] = [&low, &likely, &high].map(|plan| Footprint::of(plan, model, stage));
        views.extend(Phase::ALL.iter().map(|&phase| PhaseView {
            name: phase.label(),
            stage,
            terms: report::phase_terms(&low.load(phase), &likely.load(phase), &high.load(phase)),
        }));
    }
    Ok(views)
}

/// Peak of one pipeline stage, for trainers that log a rank other than the worst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StagePeak {
    /// Stage, from 0.
    pub stage: u64,
    /// Peak of what the allocator hands out: cheapest, usual and dearest settings.
    pub allocated: Interval,
}

/// The peaks of the first and the last pipeline stage (one entry without a pipeline).
///
/// # Errors
/// As [`estimate`].
pub fn stage_peaks(workload: &Workload) -> Result<Vec<StagePeak>, EstimateError> {
    let model = known(workload)?;
    validate::validate(workload, model)?;
    let [low, likely, high] =
        [Scenario::Low, Scenario::Likely, Scenario::High].map(|scenario| Plan::resolve(workload, model, scenario));
    let (low, likely, high) = (low?, likely?, high?);
    let at = |plan: &Plan, stage| Bytes::from_f64(Footprint::of(plan, model, stage).peak().1.total());
    let mut stages = vec![0, likely.pipeline.saturating_sub(1)];
    stages.dedup();
    let peak =
        |stage| StagePeak { stage, allocated: Interval::new(at(&low, stage), at(&likely, stage), at(&high, stage)) };
    Ok(stages.into_iter().map(peak).collect())
}

fn known(workload: &Workload) -> Result<&Arc<Model>, EstimateError> {
    match &workload.model {
        ModelFacts::Known(model) => Ok(model),
        ModelFacts::Shape(_) => Err(EstimateError::Missing {
            field: "model",
            hint: "the architecture is needed: name the model or give its config".to_owned(),
        }),
    }
}

/// The rank with the largest peak.
fn worst<'a>(plan: &'a Plan, model: &'a Model) -> Peak<'a> {
    let last = plan.pipeline.saturating_sub(1);
    let at = |stage: u64| {
        let footprint = Footprint::of(plan, model, stage);
        let (phase, load) = footprint.peak();
        Peak { footprint, phase, load }
    };
    let mut best = at(0);
    // The second stage has as many layers as the first and no embedding; only the ends can be worst.
    if last > 0 {
        let end = at(last);
        if end.load.total() > best.load.total() {
            best = end;
        }
    }
    best
}

/// The worst rank of one scenario at its peak.
struct Peak<'a> {
    footprint: Footprint<'a>,
    phase: Phase,
    load: Load,
}
