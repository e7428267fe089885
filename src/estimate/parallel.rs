//! How a replica is split: pipeline stages with their layers, and what tensor parallelism must divide.

use super::model::{Attention, LayerGroup, Mlp, Model};
use super::workload::Parallelism;
use super::{EstimateError, Refusal};

/// The largest degree of any kind of parallelism that is believed; larger numbers are typing errors.
pub const MAX_DEGREE: u64 = 1 << 16;

/// Layers that one pipeline stage holds: `(layers, group)` in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage<'a> {
    /// 0-based index.
    pub index: u64,
    /// Number of stages.
    pub of: u64,
    /// Layer groups with how many of their layers are here.
    pub layers: Vec<(u64, &'a LayerGroup)>,
}

impl Stage<'_> {
    /// Holds the token embedding.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Holds the final norm and the output head.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.index + 1 == self.of
    }

    /// Layers in this stage.
    #[must_use]
    pub fn layer_count(&self) -> u64 {
        self.layers.iter().map(|(count, _)| count).sum()
    }

    /// `pipeline stage 2 of 4`; empty when there is only one.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.of > 1 { format!("pipeline stage {} of {}", self.index + 1, self.of) } else { String::new() }
    }
}

/// Divides the layers over `of` stages: as evenly as possible, what remains goes to the stages before the last
/// (vLLM's rule), unless the partition is given.
///
/// # Errors
/// When there are more stages than layers, or a given partition does not add up.
pub fn stages<'a>(model: &'a Model, of: u64, partition: Option<&[u64]>) -> Result<Vec<Stage<'a>>, EstimateError> {
    let total = model.layer_count();
    let of = of.max(1);
    if of > total.max(1) {
        let message =
            format!("pipeline parallelism {of} exceeds the model's {total} layers: use at most {total} stages");
        return Err(EstimateError::Undivided(Refusal { code: "STAGES_EXCEED_LAYERS", message }));
    }
    let sizes = match partition {
        Some(given) if given.len() as u64 == of && given.iter().sum::<u64>() == total => given.to_vec(),
        Some(given) => {
            return Err(EstimateError::Parallelism(format!(
                "the layer partition {given:?} must name {of} stages that add up to {total} layers"
            )));
        }
        None => even_partition(total, of),
    };
    let mut remaining: Vec<(u64, &LayerGroup)> = model.layers.iter().map(|group| (group.count, group)).collect();
    remaining.reverse();
    Ok(sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| Stage { index: i as u64, of, layers: take(&mut remaining, size) })
        .collect())
}

/// vLLM 0.7 and later: the remainder is given to stages counted back from the one before the last.
fn even_partition(total: u64, of: u64) -> Vec<u64> {
    let mut sizes = vec![total / of; of as usize];
    let remainder = (total % of) as usize;
    let last_but_one = sizes.len().saturating_sub(1);
    for size in sizes.iter_mut().take(last_but_one.max(1)).rev().take(remainder) {
        *size += 1;
    }
    sizes
}

fn take<'a>(remaining: &mut Vec<(u64, &'a LayerGroup)>, mut size: u64) -> Vec<(u64, &'a LayerGroup)> {
    let mut taken = Vec::new();
    while size > 0 {
        let Some((count, group)) = remaining.pop() else { break };
        let now = count.min(size);
        taken.push((now, group));
        size -= now;
        if count > now {
            remaining.push((count - now, group));
        }
    }
    taken
}

/// Checks that every degree is sensible and that tensor parallelism divides heads, key/value heads and inner widths.
///
/// # Errors
/// [`EstimateError::Undivided`] naming what is not divided and the degrees that would be.
pub fn check(model: &Model, parallelism: &Parallelism) -> Result<(), EstimateError> {
    let degrees = [
        ("tensor", parallelism.tensor),
        ("pipeline", parallelism.pipeline),
        ("data", parallelism.data),
        ("expert", parallelism.expert),
        ("context", parallelism.context),
    ];
    for (name, degree) in degrees {
        if degree == 0 || degree > MAX_DEGREE {
            return Err(EstimateError::Parallelism(format!(
                "{name} parallelism must be 1 to {MAX_DEGREE}, not {degree}"
            )));
        }
    }
    let tensor = parallelism.tensor;
    if tensor == 1 {
        return Ok(());
    }
    for group in &model.layers {
        if let Some((heads, kv_heads)) = softmax_heads(&group.attention) {
            if heads % tensor != 0 {
                return Err(undivided(tensor, heads, Undivided::HEADS));
            }
            if kv_heads % tensor != 0 && !tensor.is_multiple_of(kv_heads) {
                return Err(undivided(tensor, kv_heads, Undivided::KV_HEADS));
            }
        }
        if let Mlp::Dense { intermediate, .. } = group.mlp
            && intermediate % tensor != 0
        {
            return Err(undivided(tensor, intermediate, Undivided::WIDTH));
        }
    }
    Ok(())
}

/// Query and key/value heads of softmax attention.
const fn softmax_heads(attention: &Attention) -> Option<(u64, u64)> {
    match attention {
        Attention::Full(heads)
        | Attention::Sliding { heads, .. }
        | Attention::Chunked { heads, .. }
        | Attention::Cross(heads)
        | Attention::SharedKv(heads)
        | Attention::Encoder(heads) => Some((heads.heads, heads.kv_heads)),
        Attention::Latent { heads, .. } => Some((*heads, 1)),
        Attention::Linear(_) | Attention::Mamba(_) | Attention::None => None,
    }
}

/// What tensor parallelism must divide, with the reason code.
#[derive(Clone, Copy)]
struct Undivided {
    what: &'static str,
    code: &'static str,
}

impl Undivided {
    const HEADS: Self = Self { what: "attention heads", code: "HEADS_NOT_DIVIDED" };
    const KV_HEADS: Self = Self { what: "key/value heads", code: "KV_HEADS_NOT_DIVIDED" };
    const WIDTH: Self = Self { what: "the feed-forward width", code: "WIDTH_NOT_DIVIDED" };
}

fn undivided(tensor: u64, count: u64, by: Undivided) -> EstimateError {
    let possible: Vec<String> =
        (1..=64.min(count)).filter(|d| count.is_multiple_of(*d)).map(|d| d.to_string()).collect();
    let message = format!(
        "tensor parallelism {tensor} does not divide {} ({count}): use one of {}",
        by.what,
        possible.join(", ")
    );
    EstimateError::Undivided(Refusal { code: by.code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_goes_to_the_stages_before_the_last() {
        assert_eq!(even_partition(32, 4), [8, 8, 8, 8]);
        assert_eq!(even_partition(61, 3), [20, 21, 20]);
        assert_eq!(even_partition(62, 3), [21, 21, 20]);
        assert_eq!(even_partition(7, 1), [7]);
    }
}
