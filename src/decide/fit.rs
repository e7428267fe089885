//! Holds an estimate against what the workload can land on.

use super::inventory::{Candidate, Candidates, GpuClass, Platform};
use super::verdict::Verdict;
use crate::estimate::{self, Device, Estimate, EstimateError, Interval, Workload};

mod uncalibrated;

/// The outcome on one GPU class.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Where.
    pub candidate: Candidate,
    /// What it needs there.
    pub estimate: Estimate,
    /// Whether that fits.
    pub verdict: Verdict,
}

/// The outcome over all classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The verdict on the best class, or why there is none.
    pub verdict: Verdict,
    /// The class on which it fits best.
    pub best: Option<Fit>,
    /// Eligible classes on which it surely does not fit although it does on the best.
    pub misfits: Vec<Fit>,
}

/// What decides between classes and how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strictness {
    /// The declared concurrency must fit at once.
    pub require_wanted: bool,
}

impl Strictness {
    /// The need that counts.
    #[must_use]
    pub fn need(self, estimate: &Estimate) -> Interval {
        if self.require_wanted { estimate.per_gpu.wanted } else { estimate.per_gpu.required }
    }
}

/// Evaluates the workload on every eligible class; the best outcome is the verdict.
///
/// # Errors
/// As [`estimate::estimate`].
pub fn assess(
    workload: &Workload,
    candidates: &Candidates,
    strictness: Strictness,
) -> Result<Assessment, EstimateError> {
    let mut fits = candidates
        .eligible
        .iter()
        .map(|candidate| fit(workload, candidate, strictness))
        .collect::<Result<Vec<Fit>, _>>()?;
    // Best verdict first, then the most room.
    fits.sort_by_key(|fit| (rank(fit.verdict), std::cmp::Reverse(room(fit, strictness))));
    let mut fits = fits.into_iter();
    let present = fits.next();
    let verdict = match &present {
        Some(best) if best.verdict == Verdict::TooBig && !candidates.unknown.is_empty() => Verdict::UnknownCapacity,
        Some(best) => best.verdict,
        None if candidates.unknown.is_empty() => Verdict::NoEligibleGpu,
        None => Verdict::UnknownCapacity,
    };
    if matches!(verdict, Verdict::TooBig | Verdict::EngineRefuses | Verdict::NoEligibleGpu)
        && let Some((verdict, best)) = after_scale_up(workload, candidates, strictness)?
    {
        return Ok(Assessment { verdict, best: best.or(present), misfits: Vec::new() });
    }
    let best = present;
    let good = matches!(verdict, Verdict::Fits | Verdict::Tight);
    let misfits = fits.filter(|fit| good && matches!(fit.verdict, Verdict::TooBig | Verdict::EngineRefuses)).collect();
    Ok(Assessment { verdict, best, misfits })
}

/// What an autoscaler could do for a workload that fits nowhere now; `None` where it could do nothing.
fn after_scale_up(
    workload: &Workload,
    candidates: &Candidates,
    strictness: Strictness,
) -> Result<Option<(Verdict, Option<Fit>)>, EstimateError> {
    let mut fits = candidates
        .possible
        .iter()
        .map(|candidate| fit(workload, candidate, strictness))
        .collect::<Result<Vec<Fit>, _>>()?;
    fits.retain(|fit| matches!(fit.verdict, Verdict::Fits | Verdict::Tight));
    // The smallest that fits: it is what a scheduler would rather buy.
    fits.sort_by_key(|fit| (rank(fit.verdict), fit.candidate.class.device.visible));
    Ok(match fits.into_iter().next() {
        Some(fit) => Some((Verdict::FitsAfterScaleUp, Some(fit))),
        None if candidates.possible_unknown.is_empty() => None,
        None => Some((Verdict::UnknownCapacity, None)),
    })
}

/// Evaluates the workload on one class.
///
/// # Errors
/// As [`estimate::estimate`].
pub fn fit(workload: &Workload, candidate: &Candidate, strictness: Strictness) -> Result<Fit, EstimateError> {
    let class = &candidate.class;
    let mut estimate = estimate::estimate(workload, &class.device)?;
    if let Some(device) = crowded(candidate, estimate.gpus) {
        estimate = estimate::estimate(workload, &device)?;
    }
    if class.platform == Platform::Other {
        uncalibrated::widen(&mut estimate);
    }
    let need = strictness.need(&estimate);
    let verdict = if need.low > estimate.usable {
        Verdict::TooBig
    } else if !estimate.refusals.is_empty() {
        Verdict::EngineRefuses
    } else if need.high <= estimate.usable && within_share(class, &estimate, need) {
        Verdict::Fits
    } else {
        Verdict::Tight
    };
    Ok(Fit { candidate: candidate.clone(), estimate, verdict })
}

/// The device as each rank has it where ranks share one: asking for more replicas gives no more memory.
fn crowded(candidate: &Candidate, gpus: u64) -> Option<Device> {
    let crowding = candidate.crowding?;
    let ranks = gpus.min(crowding.asked);
    let device = &candidate.class.device;
    (ranks > crowding.devices)
        .then(|| Device { visible: device.visible.scale(crowding.devices as f64 / ranks as f64), ..device.clone() })
}

/// Whether the workload keeps to what it can count on of the device.
fn within_share(class: &GpuClass, estimate: &Estimate, need: Interval) -> bool {
    let visible = class.device.visible;
    if class.assured >= visible {
        return true;
    }
    let share = class.assured.as_f64() / visible.as_f64();
    // What an engine reserves beyond its need, neighbours lose.
    let reserved = !class.has_neighbours() || estimate.per_gpu.reserved.likely <= class.assured;
    need.high <= estimate.usable.scale(share) && reserved
}

const fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fits => 0,
        Verdict::Tight => 1,
        Verdict::EngineRefuses => 2,
        _ => 3,
    }
}

/// Usable memory less the likely need, as a signed number of bytes.
fn room(fit: &Fit, strictness: Strictness) -> i128 {
    i128::from(fit.estimate.usable.0) - i128::from(strictness.need(&fit.estimate).likely.0)
}
