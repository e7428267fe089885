//! Nemotron-NAS (`DeciLM`): `block_configs` say for every layer whether it has attention, with how many heads per
//! key/value head, and how wide its feed-forward block is.

use serde_json::Value;

use crate::estimate::model::{Attention, Heads, LayerGroup, Mlp, Split};

use super::error::ConfigError;
use super::keys::Keys;
use super::parts::{layer, matrix, merge, norms};
use super::{Build, Parts, attention, decoder, feed};

/// Widths are rounded up to a multiple of this.
const WIDTH_MULTIPLE: u64 = 256;

pub(super) fn read(build: &Build<'_>) -> Result<Parts, ConfigError> {
    let keys = build.keys;
    let layers = keys.layers("num_hidden_layers")?;
    let blocks = keys.per_layer("block_configs", layers)?;
    let blocks = blocks.ok_or_else(|| keys.missing("block_configs", "it says what each layer has"))?;
    let read: Result<Vec<LayerGroup>, ConfigError> = blocks.iter().map(|block| one(build, block)).collect();
    Ok(Parts { layers: merge(read?), outer: decoder::outer(build)?, mtp: Vec::new() })
}

fn one(build: &Build<'_>, block: &Value) -> Result<LayerGroup, ConfigError> {
    let part = |name: &str| {
        let part = block.get(name).and_then(Value::as_object);
        part.ok_or_else(|| build.keys.missing(&format!("block_configs.{name}"), "every layer needs it"))
    };
    let (attention, ffn) = (part("attention")?, part("ffn")?);
    let (attention, ffn) = (Keys::new(attention, "block_configs.attention."), Keys::new(ffn, "block_configs.ffn."));
    let hidden = build.hidden;
    let mut tensors = Vec::with_capacity(8);
    let mut count = 0;
    let mix = if attention.flag("no_op", false)? {
        Attention::None
    } else if attention.flag("replace_with_linear", false)? {
        count += 1;
        tensors.push(matrix("linear_attn", hidden, hidden, Split::Tensor));
        Attention::None
    } else {
        count += 1;
        let heads = heads(build, &attention)?;
        tensors.extend(attention::tensors(build, &heads)?);
        match attention.tokens("window_length")? {
            Some(window) => Attention::Sliding { heads, window },
            None => Attention::Full(heads),
        }
    };
    let mlp = if ffn.flag("no_op", false)? {
        Mlp::None
    } else if ffn.flag("replace_with_linear", false)? {
        count += 1;
        tensors.push(matrix("linear_mlp", hidden, hidden, Split::Tensor));
        Mlp::None
    } else {
        count += 1;
        let (mlp, matrices) = feed::dense(build, width(build, &ffn)?)?;
        tensors.extend(matrices);
        mlp
    };
    norms(&mut tensors, hidden, count);
    Ok(layer(mix, mlp, count, tensors))
}

fn heads(build: &Build<'_>, attention: &Keys<'_>) -> Result<Heads, ConfigError> {
    let all = attention::heads(build)?;
    let group = attention.size("n_heads_in_group")?;
    if !all.heads.is_multiple_of(group) {
        return Err(attention.invalid("n_heads_in_group", format!("it must divide the {} heads", all.heads)));
    }
    Ok(Heads { kv_heads: all.heads / group, ..all })
}

/// `ffn_mult` times two thirds of the hidden size, rounded up; newer configs say `intermediate_size`.
fn width(build: &Build<'_>, ffn: &Keys<'_>) -> Result<u64, ConfigError> {
    if let Some(width) = ffn.size_if("intermediate_size")? {
        return Ok(width);
    }
    let multiple = ffn.real("ffn_mult")?.filter(|multiple| *multiple > 0.0 && *multiple < 1e6);
    let multiple = multiple.ok_or_else(|| ffn.missing("ffn_mult", "the width of the block follows from it"))?;
    Ok(((2.0 * multiple * build.hidden as f64 / 3.0) as u64).next_multiple_of(WIDTH_MULTIPLE))
}
