//! Known bytes of a checkpoint against those that follow from the model's shape, by class of tensor.

use super::loaded::stored;
use crate::estimate::model::{Model, TensorKind};

/// Bytes of a checkpoint's tensors that a server loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointBytes {
    /// All of them.
    pub total: u64,
    /// By class, where the tensors' names and sizes are known.
    pub classes: Option<Classes<u64>>,
}

/// One value for every class of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes<T> {
    /// The decoder's layers.
    pub layers: T,
    /// The token embedding.
    pub embedding: T,
    /// The output head.
    pub head: T,
    /// Norms, towers and everything else.
    pub rest: T,
}

impl<T> Classes<T> {
    /// The value of tensors outside the layers.
    pub(in crate::estimate) const fn outer(&self, kind: TensorKind) -> &T {
        match kind {
            TensorKind::Embedding => &self.embedding,
            TensorKind::Head => &self.head,
            _ => &self.rest,
        }
    }

    pub(super) const fn outer_mut(&mut self, kind: TensorKind) -> &mut T {
        match kind {
            TensorKind::Embedding => &mut self.embedding,
            TensorKind::Head => &mut self.head,
            _ => &mut self.rest,
        }
    }
}

/// Factors that turn derived bytes into known ones; 1 where nothing is known.
pub(in crate::estimate) type Correction = Classes<f64>;

/// How far a class may lie from its derived size: beyond that, tensors were put into another class.
const SAME_CLASS: std::ops::RangeInclusive<f64> = 0.5..=2.0;

impl Correction {
    const NONE: Self = Self { layers: 1.0, embedding: 1.0, head: 1.0, rest: 1.0 };

    const fn all(factor: f64) -> Self {
        Self { layers: factor, embedding: factor, head: factor, rest: factor }
    }

    /// The factors of a model.
    pub(in crate::estimate) fn of(model: &Model) -> Self {
        let Some(known) = model.checkpoint_bytes else { return Self::NONE };
        let derived = classes(model);
        let all = derived.layers + derived.embedding + derived.head + derived.rest;
        if all <= 0.0 {
            return Self::NONE;
        }
        let overall = Self::all(known.total as f64 / all);
        let Some(found) = known.classes else { return overall };
        let pairs = [
            (found.layers, derived.layers),
            (found.embedding, derived.embedding),
            (found.head, derived.head),
            (found.rest, derived.rest),
        ];
        let factors = pairs.map(|(found, derived)| match (found, derived > 0.0) {
            (0, false) => Some(1.0),
            (found, true) => Some(found as f64 / derived).filter(|factor| SAME_CLASS.contains(factor)),
            _ => None,
        });
        match factors {
            [Some(layers), Some(embedding), Some(head), Some(rest)] => Self { layers, embedding, head, rest },
            _ => overall,
        }
    }
}

/// Derived bytes of each class, in the format that the checkpoint has.
fn classes(model: &Model) -> Classes<f64> {
    let storage = stored(model);
    let mut out = Classes::default();
    for group in &model.layers {
        out.layers += group.count as f64 * group.tensors.iter().map(|tensor| storage.tensor(tensor)).sum::<f64>();
    }
    for tensor in &model.outer {
        *out.outer_mut(tensor.kind) += storage.tensor(tensor);
    }
    out
}
