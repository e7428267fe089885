//! The model that Megatron-LM builds from `--num-layers`, `--hidden-size` and the like, as a config.

use serde_json::{Map, Value, json};

use super::megatron_others;
use crate::spec::args::table::{Effect, Flag, Reader, flag};

/// Flags about the model's shape.
pub(super) const SHAPE: &[Flag] = &[
    flag(&["--num-layers"], Effect::Keep),
    flag(&["--hidden-size"], Effect::Keep),
    flag(&["--num-attention-heads"], Effect::Keep),
    flag(&["--ffn-hidden-size"], Effect::Keep),
    flag(&["--group-query-attention"], Effect::KeepBool),
    flag(&["--num-query-groups"], Effect::Keep),
    flag(&["--kv-channels"], Effect::Keep),
    flag(&["--swiglu"], Effect::KeepBool),
    flag(&["--disable-bias-linear"], Effect::KeepBool),
    flag(&["--qk-layernorm"], Effect::KeepBool),
    flag(&["--untie-embeddings-and-output-weights"], Effect::KeepBool),
    flag(&["--position-embedding-type"], Effect::Keep),
    flag(&["--use-rotary-position-embeddings"], Effect::KeepBool),
    flag(&["--max-position-embeddings"], Effect::Keep),
    flag(&["--vocab-size", "--padded-vocab-size"], Effect::Keep),
    flag(&["--make-vocab-size-divisible-by"], Effect::Keep),
    flag(&["--tokenizer-type"], Effect::Keep),
    flag(&["--tokenizer-model"], Effect::Skip),
    flag(&["--num-experts"], Effect::Keep),
    flag(&["--moe-router-topk"], Effect::Keep),
    flag(&["--moe-ffn-hidden-size"], Effect::Keep),
    flag(&["--moe-shared-expert-intermediate-size"], Effect::Keep),
    flag(&["--moe-layer-freq"], Effect::Keep),
    flag(&["--multi-latent-attention"], Effect::KeepBool),
    flag(&["--q-lora-rank"], Effect::Keep),
    flag(&["--kv-lora-rank"], Effect::Keep),
    flag(&["--qk-head-dim"], Effect::Keep),
    flag(&["--qk-pos-emb-head-dim"], Effect::Keep),
    flag(&["--v-head-dim"], Effect::Keep),
    flag(&["--mtp-num-layers"], Effect::Keep),
    flag(&["--img-h"], Effect::Keep),
    flag(&["--perform-rl-step"], Effect::KeepBool),
];

/// Tokenizers whose size their type tells.
const VOCABULARIES: &[(&str, u64)] = &[
    ("GPT2BPETokenizer", 50_257),
    ("Llama2Tokenizer", 32_000),
    ("BertWordPieceLowerCase", 30_522),
    ("BertWordPieceCase", 28_996),
];

/// What no decoder has that is described here.
const FOREIGN: &[&str] = &["--img-h", "--perform-rl-step"];

/// Longest list of layers.
const MAX_LAYERS: u64 = 10_000;

/// Sets the model's config, where nothing names the model.
pub(super) fn shape(reader: &mut Reader<'_>) {
    let named = ["model", "config", "profile", "parameters"].iter().any(|path| !reader.draft.is_free(path));
    let other = megatron_others::are_meant(reader);
    if named || !(other || reader.kept.contains_key("--num-layers")) {
        return;
    }
    let config = if FOREIGN.iter().any(|name| reader.kept.contains_key(name)) {
        Err("the architecture is not one that its flags describe")
    } else if other {
        megatron_others::config(reader)
    } else if reader.on("--multi-latent-attention") {
        latent(reader)
    } else {
        plain(reader)
    };
    match config {
        Ok(config) => reader.usually("config", config),
        Err(why) => reader.unknown("model", why),
    }
}

/// Rows of the embedding: padded to what the tensor-parallel ranks divide.
pub(super) fn vocabulary(reader: &Reader<'_>) -> Result<u64, &'static str> {
    let by_type =
        || VOCABULARIES.iter().find(|(name, _)| reader.text("--tokenizer-type") == Some(*name)).map(|(_, n)| *n);
    let usual = || reader.text("--tokenizer-type").is_none().then_some(50_257);
    let rows = reader.number("--vocab-size").or_else(by_type).or_else(usual);
    let rows = rows.ok_or("the tokenizer's vocabulary is not told: add --vocab-size")?;
    let rows = rows.saturating_add(reader.number("--vocab-extra-ids").unwrap_or(0));
    let divisor = reader.number("--make-vocab-size-divisible-by").unwrap_or(128);
    let divisor = divisor.checked_mul(reader.draft.out.parallelism.tensor).filter(|divisor| *divisor > 0);
    divisor.and_then(|divisor| rows.checked_next_multiple_of(divisor)).ok_or("the vocabulary cannot be read")
}

/// What decoders of any kind share.
pub(super) fn common(reader: &Reader<'_>, layers: u64) -> Result<Map<String, Value>, &'static str> {
    let need = |name: &str| reader.number(name).filter(|n| *n > 0).ok_or("the model's shape cannot be read");
    let (hidden, heads) = (need("--hidden-size")?, need("--num-attention-heads")?);
    let gated = reader.on("--swiglu");
    // Four times the width, or two thirds of that with a gate, in multiples of 64.
    let usual = if gated { hidden.saturating_mul(8) / 3 / 64 * 64 } else { hidden.saturating_mul(4) };
    let wide = reader.number("--ffn-hidden-size").unwrap_or(usual);
    let mut config = json!({
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": wide,
        "vocab_size": vocabulary(reader)?,
        "tie_word_embeddings": !reader.on("--untie-embeddings-and-output-weights"),
        "torch_dtype": "bfloat16",
    });
    let mut put = |key: &str, value: Option<Value>| {
        if let (Some(map), Some(value)) = (config.as_object_mut(), value) {
            map.insert(key.to_owned(), value);
        }
    };
    put("max_position_embeddings", reader.number("--max-position-embeddings").map(Value::from));
    put("num_nextn_predict_layers", reader.number("--mtp-num-layers").map(Value::from));
    if let Some(experts) = reader.number("--num-experts") {
        put("num_experts_per_tok", Some(reader.number("--moe-router-topk").unwrap_or(2).into()));
        put("moe_intermediate_size", Some(reader.number("--moe-ffn-hidden-size").unwrap_or(wide).into()));
        put("num_experts", Some(experts.into()));
    }
    match config {
        Value::Object(map) => Ok(map),
        _ => Err("the model's shape cannot be read"),
    }
}

fn layers(reader: &Reader<'_>) -> Result<u64, &'static str> {
    reader.number("--num-layers").filter(|layers| *layers > 0).ok_or("the model's shape cannot be read")
}

fn plain(reader: &Reader<'_>) -> Result<Value, &'static str> {
    let mut config = common(reader, layers(reader)?)?;
    let positions = reader.text("--position-embedding-type").unwrap_or("learned_absolute");
    let rope = positions != "learned_absolute" || reader.on("--use-rotary-position-embeddings");
    let kind = match (reader.on("--swiglu"), rope) {
        (true, true) => "megatron-gated-rope",
        (true, false) => "megatron-gated",
        (false, true) => "megatron-rope",
        (false, false) => "megatron",
    };
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    put("model_type", Some(kind.into()));
    put("add_bias_linear", Some((!reader.on("--disable-bias-linear")).into()));
    put("qk_layernorm", Some(reader.on("--qk-layernorm").into()));
    put("head_dim", reader.number("--kv-channels").map(Value::from));
    let groups = reader.number("--num-query-groups").filter(|_| reader.on("--group-query-attention"));
    put("num_key_value_heads", groups.map(Value::from));
    put("shared_expert_intermediate_size", reader.number("--moe-shared-expert-intermediate-size").map(Value::from));
    put("moe_layer_freq", pattern(reader)?);
    put("first_k_dense_replace", Some(0.into()));
    if reader.number("--mtp-num-layers").is_some_and(|layers| layers > 0) {
        return Err("layers that predict further tokens are not described here");
    }
    Ok(Value::Object(config))
}

/// Latent attention is described as in DeepSeek's config.
fn latent(reader: &Reader<'_>) -> Result<Value, &'static str> {
    let mut config = common(reader, layers(reader)?)?;
    let number = |name: &str, usual: u64| Value::from(reader.number(name).unwrap_or(usual));
    let heads = number("--num-attention-heads", 1);
    let routed = reader.number("--moe-ffn-hidden-size").unwrap_or(1).max(1);
    let shared = reader.number("--moe-shared-expert-intermediate-size").unwrap_or(0) / routed;
    let layers = reader.number("--num-layers").unwrap_or(0);
    let dense = if reader.kept.contains_key("--num-experts") { leading(reader)? } else { layers };
    for (key, value) in [
        ("model_type", Value::from("deepseek_v3")),
        ("architectures", json!(["DeepseekV3ForCausalLM"])),
        ("num_key_value_heads", heads),
        ("q_lora_rank", reader.number("--q-lora-rank").map_or(Value::Null, Value::from)),
        ("kv_lora_rank", number("--kv-lora-rank", 512)),
        ("qk_nope_head_dim", number("--qk-head-dim", 128)),
        ("qk_rope_head_dim", number("--qk-pos-emb-head-dim", 64)),
        ("v_head_dim", number("--v-head-dim", 128)),
        ("first_k_dense_replace", Value::from(dense)),
    ] {
        config.insert(key.to_owned(), value);
    }
    if let Some(experts) = config.remove("num_experts") {
        config.insert("n_routed_experts".to_owned(), experts);
        config.insert("n_shared_experts".to_owned(), Value::from(shared));
    }
    Ok(Value::Object(config))
}

/// `--moe-layer-freq`: every n-th layer, or a list as Python writes it: `([0]*3+[1]*11)`, `[0,1,1]`.
fn frequencies(text: &str) -> Option<Vec<u64>> {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '\'')).collect();
    let mut list = Vec::new();
    for part in text.split('+') {
        let (items, times) = part.split_once('*').unwrap_or((part, "1"));
        let items: Vec<u64> =
            items.strip_prefix('[')?.strip_suffix(']')?.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let times: u64 = times.parse().ok().filter(|times| *times <= MAX_LAYERS)?;
        for _ in 0..times {
            list.extend(&items);
        }
        if list.len() as u64 > MAX_LAYERS {
            return None;
        }
    }
    Some(list)
}

fn pattern(reader: &Reader<'_>) -> Result<Option<Value>, &'static str> {
    let Some(text) = reader.text("--moe-layer-freq") else { return Ok(None) };
    if let Ok(each) = text.parse::<u64>() {
        return Ok(Some(each.into()));
    }
    frequencies(text).map(|list| Some(list.into())).ok_or("--moe-layer-freq cannot be read")
}

/// Dense layers before the first mixture, where all after it are mixtures.
fn leading(reader: &Reader<'_>) -> Result<u64, &'static str> {
    const WRONG: &str = "--moe-layer-freq is of a kind that is not described here";
    let Some(text) = reader.text("--moe-layer-freq").filter(|text| *text != "1") else { return Ok(0) };
    let list = frequencies(text).ok_or(WRONG)?;
    let dense = list.iter().take_while(|layer| **layer == 0).count();
    if list.iter().skip(dense).all(|layer| *layer == 1) { Ok(dense as u64) } else { Err(WRONG) }
}
