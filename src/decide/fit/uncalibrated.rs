//! Devices on which the engines' rules were never measured: wider intervals, and only arithmetic can refuse.

use crate::estimate::{Estimate, Interval, TermName};

/// Added to the high bound: how far other runtimes' buffers and libraries may exceed CUDA's.
const MARGIN: f64 = 0.25;

/// Terms that follow from the model and the settings alone, whatever runs them.
const ARITHMETIC: [TermName; 5] =
    [TermName::Weights, TermName::KvCache, TermName::State, TermName::Gradients, TermName::Optimizer];

/// Makes the needs hold on any vendor's device. The engine's reasons to refuse are CUDA's, and are left out.
pub(super) fn widen(estimate: &mut Estimate) {
    let sure = estimate
        .terms
        .iter()
        .filter(|term| ARITHMETIC.contains(&term.name))
        .fold(crate::estimate::Bytes::ZERO, |sum, term| sum + term.bytes.low);
    let wide = |need: Interval| Interval::new(need.low.min(sure), need.likely, need.high.scale(1.0 + MARGIN));
    estimate.per_gpu.required = wide(estimate.per_gpu.required);
    estimate.per_gpu.wanted = wide(estimate.per_gpu.wanted);
    let refusals = std::mem::take(&mut estimate.refusals);
    estimate.notes.extend(refusals.into_iter().map(|refusal| format!("on an NVIDIA GPU: {}", refusal.message)));
    estimate.notes.push("engines were measured on NVIDIA GPUs; elsewhere only weights and cache are sure".to_owned());
}
