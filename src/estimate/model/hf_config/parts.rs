//! Makers of tensors.

use crate::estimate::model::{Attention, LayerGroup, Mlp, Split, Tensor, TensorKind};

/// A linear layer of `rows` outputs and `cols` inputs.
pub(super) const fn matrix(module: &'static str, rows: u64, cols: u64, split: Split) -> Tensor {
    Tensor { module, rows, cols, copies: 1, kind: TensorKind::Linear, split }
}

/// A vector.
pub(super) const fn vector(module: &'static str, rows: u64, split: Split) -> Tensor {
    Tensor { module, rows, cols: 1, copies: 1, kind: TensorKind::Vector, split }
}

/// A linear layer with its bias, if it has one.
pub(super) fn linear(
    into: &mut Vec<Tensor>,
    module: &'static str,
    (rows, cols): (u64, u64),
    split: Split,
    bias: Option<Split>,
) {
    into.push(matrix(module, rows, cols, split));
    if let Some(split) = bias {
        into.push(vector(module, rows, split));
    }
}

/// Norms of `width`: `vectors` of them.
pub(super) fn norms(into: &mut Vec<Tensor>, width: u64, vectors: u64) {
    if vectors > 0 {
        into.push(Tensor { copies: vectors, ..vector("norm", width, Split::Replicated) });
    }
}

/// One layer.
pub(super) const fn layer(attention: Attention, mlp: Mlp, norms: u64, tensors: Vec<Tensor>) -> LayerGroup {
    LayerGroup { count: 1, attention, mlp, norms, tensors }
}

/// Merges equal neighbours.
pub(in crate::estimate::model) fn merge(layers: impl IntoIterator<Item = LayerGroup>) -> Vec<LayerGroup> {
    let mut merged: Vec<LayerGroup> = Vec::new();
    for layer in layers {
        match merged.last_mut() {
            Some(last) if same(last, &layer) => last.count = last.count.saturating_add(layer.count),
            _ => merged.push(layer),
        }
    }
    merged
}

fn same(a: &LayerGroup, b: &LayerGroup) -> bool {
    a.attention == b.attention && a.mlp == b.mlp && a.norms == b.norms && a.tensors == b.tensors
}
