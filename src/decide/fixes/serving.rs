//! What a server could do with less of.

use super::{Proposal, Search, Strategy, remedies};
use crate::decide::knobs::Knobs;
use crate::decide::solve::search::largest;
use crate::decide::solve::{change, tensor_degrees, text};
use crate::estimate::Workload;
use crate::estimate::dtype::DType;
use crate::estimate::model::Quantization;
use crate::estimate::workload::ModelFacts;

/// In the order in which they are tried: least invasive first.
pub(super) const STRATEGIES: &[Strategy] = &[
    |search| remedies::proposals(search),
    |search| search.shorter_context().into_iter().collect(),
    |search| search.fewer_sequences().into_iter().collect(),
    |search| search.more_tensor_ranks(),
    |search| search.narrow_cache(),
    |search| search.quantized_weights(),
];

/// Contexts up to this are multiples of [`FINE`], longer ones of [`COARSE`], tokens.
const LONG: u64 = 4096;
const FINE: u64 = 256;
const COARSE: u64 = 1024;
/// A server for less is no fix, in multiples of [`FINE`].
const SHORTEST: u64 = 2;

/// The contexts that are worth suggesting, by number: 256, 512, ... 4096, 5120, 6144, ...
const fn rung(number: u64) -> u64 {
    let fine = LONG / FINE;
    if number <= fine { number * FINE } else { LONG.saturating_add(number.saturating_sub(fine).saturating_mul(COARSE)) }
}

/// How many of them are below a context.
const fn rungs_below(tokens: u64) -> u64 {
    let below = tokens.saturating_sub(1);
    if below <= LONG { below / FINE } else { LONG / FINE + (below - LONG) / COARSE }
}

impl Search<'_> {
    fn knobs(&self) -> &'static Knobs {
        Knobs::of(self.workload.engine.name)
    }

    /// The largest round context that fits.
    fn shorter_context(&self) -> Option<Proposal> {
        let stated = self.workload.context_length;
        let model_maximum = match &self.workload.model {
            ModelFacts::Known(model) => model.max_position_embeddings,
            ModelFacts::Shape(_) => None,
        };
        let shorter = |tokens| Workload { context_length: Some(tokens), ..self.workload.clone() };
        let most = rungs_below(stated.or(model_maximum)?);
        let best = largest(most, |number| self.fits_largest(&shorter(rung(number))))?;
        (best >= SHORTEST).then(|| Proposal {
            strategy: "context",
            workload: shorter(rung(best)),
            gpus: self.gpus,
            changes: vec![change("contextLength", text(stated), rung(best))],
            cost: "shorter requests only".to_owned(),
        })
    }

    /// The most sequences that fit.
    fn fewer_sequences(&self) -> Option<Proposal> {
        let now = self.workload.batch_size?;
        if self.workload.engine.name.queues() && !self.strictness.require_wanted {
            return None;
        }
        let fewer = |n| self.knobs().with_fewer(self.workload, now, n);
        let best = largest(now.saturating_sub(1), |n| self.fits_largest(&fewer(n)))?;
        let mut changes = vec![change("batchSize", now, best)];
        let workload = fewer(best);
        if workload.context_length != self.workload.context_length {
            changes.push(change("contextLength", text(self.workload.context_length), text(workload.context_length)));
        }
        let cost = "fewer requests at once".to_owned();
        Some(Proposal { strategy: "sequences", workload, gpus: self.gpus, changes, cost })
    }

    fn more_tensor_ranks(&self) -> Vec<Proposal> {
        if !self.knobs().tensor {
            return Vec::new();
        }
        let now = self.workload.parallelism.tensor;
        let pipeline = self.workload.parallelism.pipeline;
        tensor_degrees(self.workload, now.saturating_add(1))
            .map(|degree| {
                let mut workload = self.workload.clone();
                workload.parallelism.tensor = degree;
                let gpus = degree.saturating_mul(pipeline);
                let mut changes = vec![change("parallelism.tensor", now, degree)];
                if gpus != self.gpus {
                    changes.push(change("gpus", self.gpus, gpus));
                }
                Proposal { strategy: "gpus", workload, gpus, changes, cost: "more GPUs".to_owned() }
            })
            .collect()
    }

    fn narrow_cache(&self) -> Vec<Proposal> {
        let now = self.workload.kv_cache_dtype;
        let narrower = self.knobs().caches.iter().filter(|dtype| now.is_none_or(|now| dtype.bits() < now.bits()));
        narrower
            .map(|dtype| Proposal {
                strategy: "kv-cache-dtype",
                workload: Workload { kv_cache_dtype: Some(*dtype), ..self.workload.clone() },
                gpus: self.gpus,
                changes: vec![change("kvCacheDtype", now.map_or("auto", DType::name), dtype.name())],
                cost: "slightly less exact attention".to_owned(),
            })
            .collect()
    }

    /// Quantized weights, where neither the checkpoint nor the engine has them yet.
    fn quantized_weights(&self) -> Vec<Proposal> {
        let ModelFacts::Known(model) = &self.workload.model else { return Vec::new() };
        if self.workload.quantization.is_some() || model.quantization.is_some() {
            return Vec::new();
        }
        let knobs = self.knobs();
        let named = knobs.quantizations.iter().enumerate();
        named
            .filter_map(|(position, name)| {
                let quantization = Quantization::from_name(name)?;
                let cost = if position < knobs.at_load {
                    "quantized weights".to_owned()
                } else {
                    format!("a checkpoint quantized with {name}")
                };
                Some(Proposal {
                    strategy: "quantization",
                    workload: Workload { quantization: Some(quantization), ..self.workload.clone() },
                    gpus: self.gpus,
                    changes: vec![change("quantization", "none", name)],
                    cost,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_round_and_below_what_was_asked() {
        let below = |tokens: u64| (1..=rungs_below(tokens)).map(rung).collect::<Vec<_>>();
        assert_eq!(below(1024), [256, 512, 768]);
        assert_eq!(below(6000).last(), Some(&5120));
        assert_eq!(below(131_072).last(), Some(&130_048));
        assert_eq!(below(4097).last(), Some(&4096));
        assert!(below(0).is_empty() && below(256).is_empty());
        assert!(below(131_072).windows(2).all(|pair| pair[0] < pair[1]));
    }
}
