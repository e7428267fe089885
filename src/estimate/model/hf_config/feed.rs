//! Dense feed-forward blocks.

use crate::estimate::model::{Mlp, Split, Tensor};

use super::Build;
use super::error::ConfigError;
use super::family::Width;
use super::keys::Keys;
use super::parts::linear;

/// Channel mixing of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// A dense block of the family's width.
    Dense,
    /// A mixture.
    Moe,
    /// None.
    None,
}

/// Width of dense blocks.
pub(super) fn width(build: &Build<'_>) -> Result<u64, ConfigError> {
    let keys = build.keys;
    let key = build.family.moe.map_or("intermediate_size", |moe| moe.dense_width);
    match build.family.width {
        Width::Key => keys.size(key),
        Width::Half => {
            let both = keys.size(key)?;
            if both.is_multiple_of(2) { Ok(both / 2) } else { Err(keys.invalid(key, "an even number is needed")) }
        }
        Width::FourTimes => keys.size_or(key, 4 * build.hidden),
        Width::Adjusted => adjusted(keys, keys.size(key)?),
        Width::Expansion => expansion(keys, build.hidden),
    }
}

fn adjusted(keys: &Keys<'_>, width: u64) -> Result<u64, ConfigError> {
    if !keys.flag("block_auto_adjust_ff_dim", true)? {
        return Ok(width);
    }
    let multiplier = keys.real("block_ffn_dim_multiplier")?.unwrap_or(1.0).max(0.0);
    let width = ((2 * width / 3) as f64 * multiplier) as u64;
    Ok(width.next_multiple_of(keys.size_or("block_multiple_of", 256)?))
}

fn expansion(keys: &Keys<'_>, hidden: u64) -> Result<u64, ConfigError> {
    let ratio = keys.real("expansion_ratio")?.unwrap_or(4.0);
    let width = ratio * hidden as f64;
    if width >= 1.0 { Ok(width as u64) } else { Err(keys.invalid("expansion_ratio", "a positive number is needed")) }
}

/// A dense block of the given width, gated as the family is.
pub(super) fn dense(build: &Build<'_>, intermediate: u64) -> Result<(Mlp, Vec<Tensor>), ConfigError> {
    let bias = build.family.mlp_bias.get(build.keys)?;
    let gated = build.family.gated;
    let mut tensors = Vec::with_capacity(6);
    matrices(&mut tensors, build, intermediate, gated, bias);
    Ok((Mlp::Dense { intermediate, gated }, tensors))
}

/// Gate (if gated), up and down.
pub(super) fn matrices(into: &mut Vec<Tensor>, build: &Build<'_>, intermediate: u64, gated: bool, bias: bool) {
    let [gate, up, down] = build.family.names.mlp;
    let inner = bias.then_some(Split::Tensor);
    if gated {
        linear(into, gate, (intermediate, build.hidden), Split::Tensor, inner);
    }
    linear(into, up, (intermediate, build.hidden), Split::Tensor, inner);
    linear(into, down, (build.hidden, intermediate), Split::Tensor, bias.then_some(Split::Replicated));
}
