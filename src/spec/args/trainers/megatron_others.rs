//! What Megatron-LM builds beside decoders of equal layers: pairs of encoder and decoder (T5), and hybrids whose layers a
//! pattern lists. As configs of the same shapes.

use serde_json::{Map, Value, json};

use super::megatron_model::{common, vocabulary};
use crate::spec::args::table::{Effect, Flag, Reader, flag};

/// Flags of these models.
pub(super) const OTHERS: &[Flag] = &[
    flag(&["--encoder-num-layers"], Effect::Keep),
    flag(&["--decoder-num-layers"], Effect::Keep),
    flag(&["--vocab-extra-ids"], Effect::Keep),
    flag(&["--hybrid-override-pattern", "--hybrid-layer-pattern"], Effect::Keep),
    flag(&["--mamba-num-heads"], Effect::Keep),
    flag(&["--mamba-head-dim"], Effect::Keep),
    flag(&["--mamba-state-dim"], Effect::Keep),
    flag(&["--mamba-num-groups"], Effect::Keep),
];

const PATTERN: &str = "--hybrid-override-pattern";

/// Whether the flags describe one of these; a tower for images beside a decoder has no decoder layers of its own.
pub(super) fn are_meant(reader: &Reader<'_>) -> bool {
    reader.kept.contains_key("--decoder-num-layers") || reader.kept.contains_key(PATTERN)
}

/// The config of one of these.
pub(super) fn config(reader: &Reader<'_>) -> Result<Value, &'static str> {
    if reader.kept.contains_key(PATTERN) { hybrid(reader) } else { pair(reader) }
}

/// T5: biases and learned positions, which are small, are left out.
fn pair(reader: &Reader<'_>) -> Result<Value, &'static str> {
    let need = |name: &str| reader.number(name).filter(|n| *n > 0).ok_or("the model's shape cannot be read");
    let (hidden, heads) = (need("--hidden-size")?, need("--num-attention-heads")?);
    Ok(json!({
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": hidden,
        "num_layers": need("--encoder-num-layers")?,
        "num_decoder_layers": need("--decoder-num-layers")?,
        "num_heads": heads,
        "d_kv": reader.number("--kv-channels").unwrap_or(hidden / heads),
        "d_ff": reader.number("--ffn-hidden-size").unwrap_or(hidden.saturating_mul(4)),
        "feed_forward_proj": "relu",
        "tie_word_embeddings": true,
        "vocab_size": vocabulary(reader)?,
    }))
}

/// A hybrid in the words of Nemotron-H's config. What follows a `/` predicts further tokens; `|` divides stages.
fn hybrid(reader: &Reader<'_>) -> Result<Value, &'static str> {
    let pattern = reader.text(PATTERN).and_then(|text| text.split('/').next()).unwrap_or_default().replace('|', "");
    let layers = pattern.chars().count() as u64;
    if layers == 0 {
        return Err("the pattern of layers cannot be read");
    }
    let mut config: Map<String, Value> = common(reader, layers)?;
    let hidden = reader.number("--hidden-size").unwrap_or(0);
    let heads = reader.number("--num-attention-heads").unwrap_or(1).max(1);
    let width = reader.number("--mamba-head-dim").unwrap_or(64).max(1);
    let groups = reader.number("--num-query-groups").filter(|_| reader.on("--group-query-attention"));
    for (key, value) in [
        ("model_type", Value::from("nemotron_h")),
        ("architectures", json!(["NemotronHForCausalLM"])),
        ("hybrid_override_pattern", pattern.into()),
        ("num_key_value_heads", groups.unwrap_or(heads).into()),
        ("head_dim", reader.number("--kv-channels").unwrap_or(hidden / heads).into()),
        ("mamba_num_heads", reader.number("--mamba-num-heads").unwrap_or(hidden.saturating_mul(2) / width).into()),
        ("mamba_head_dim", width.into()),
        ("ssm_state_size", reader.number("--mamba-state-dim").unwrap_or(128).into()),
        ("n_groups", reader.number("--mamba-num-groups").unwrap_or(8).into()),
    ] {
        config.insert(key.to_owned(), value);
    }
    if let Some(experts) = config.remove("num_experts") {
        config.insert("n_routed_experts".to_owned(), experts);
        let shared = reader.number("--moe-shared-expert-intermediate-size").unwrap_or(0);
        config.insert("moe_shared_expert_intermediate_size".to_owned(), shared.into());
    }
    Ok(Value::Object(config))
}
