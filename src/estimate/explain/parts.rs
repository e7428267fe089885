//! Dividing a term among its parts without losing a byte.

use super::Node;
use crate::estimate::{Bytes, Interval, Provenance, TermName};

/// A part before its bytes are known: its weight among the parts, in any unit.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) weight: u64,
    pub(super) formula: String,
    pub(super) parts: Vec<Part>,
}

/// Nodes of the parts; their bounds sum to the bounds of the whole.
pub(super) fn divide(whole: Interval, provenance: Provenance, parts: Vec<Part>) -> Vec<Node> {
    let weights: Vec<u64> = parts.iter().map(|part| part.weight).collect();
    let [low, likely, high] = [whole.low, whole.likely, whole.high].map(|bytes| shares(bytes, &weights));
    parts
        .into_iter()
        .zip(low.into_iter().zip(likely).zip(high))
        .map(|(part, ((low, likely), high))| {
            let bytes = Interval { low, likely, high };
            let children = divide(bytes, provenance, part.parts);
            Node { name: part.name, bytes, formula: part.formula, provenance, children }
        })
        .collect()
}

/// `bytes` in proportion to the weights: differences of the rounded running total, so that nothing is left over.
fn shares(bytes: Bytes, weights: &[u64]) -> Vec<Bytes> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let mut running = 0_u128;
    let mut given = 0_u64;
    weights
        .iter()
        .map(|weight| {
            running += u128::from(*weight);
            let upto = u128::from(bytes.0).saturating_mul(running).checked_div(total).unwrap_or(0);
            // The last part ends where the whole does, also where the product is beyond 128 bits.
            let upto = if running == total { bytes.0 } else { u64::try_from(upto).unwrap_or(bytes.0).min(bytes.0) };
            let share = Bytes(upto.saturating_sub(given));
            given = given.max(upto);
            share
        })
        .collect()
}

/// What a term is called in output, as in JSON.
pub(super) const fn name(term: TermName) -> &'static str {
    match term {
        TermName::Weights => "weights",
        TermName::KvCache => "kv_cache",
        TermName::State => "state",
        TermName::Activations => "activations",
        TermName::Logits => "logits",
        TermName::Gradients => "gradients",
        TermName::Optimizer => "optimizer",
        TermName::Transient => "transient",
        TermName::Adapters => "adapters",
        TermName::Comm => "comm",
        TermName::Runtime => "runtime",
        TermName::CudaGraphs => "cuda_graphs",
        TermName::Fragmentation => "fragmentation",
        TermName::Measured => "measured",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_lost_or_made() {
        for bytes in [0, 1, 7, 1000, u64::MAX] {
            for weights in [vec![1], vec![1, 1, 1], vec![0, 5, 0], vec![3, u64::MAX, 9]] {
                let shares = shares(Bytes(bytes), &weights);
                assert_eq!(shares.iter().copied().sum::<Bytes>(), Bytes(bytes), "{weights:?}");
            }
        }
        assert_eq!(shares(Bytes(10), &[4, 6]), [Bytes(4), Bytes(6)]);
    }
}
