//! Reads a Hugging Face `config.json`, also with the language model nested (`text_config`), into a [`Model`].
//!
//! What an architecture stores is a row of [`families`]; the few shapes that a row cannot say have a reader each.
//! An unknown `model_type` is read as a Llama only if it describes itself as one (a `*ForCausalLM` architecture, SiLU, RMS
//! norms) and every one of its keys is either one that the Llama reader uses or one that is known not to change sizes;
//! anything else is an error that names the key (`neutral.rs`).

mod attention;
mod compressed;
mod decoder;
mod encoder;
mod error;
mod families;
mod family;
mod feed;
mod gemma4;
mod keys;
mod latent;
mod mamba;
mod moe;
mod nas;
mod neutral;
mod parts;
mod pattern;
mod recurrent;
mod seq2seq;
mod tower;

use serde_json::{Map, Value};

use super::{LayerGroup, Model, Tensor, quantization};
use crate::estimate::dtype::DType;
pub use error::ConfigError;
use families::LLAMA;
use family::{Family, Only};
use keys::Keys;
pub(super) use parts::merge;

/// What a reader makes of a config.
struct Parts {
    layers: Vec<LayerGroup>,
    outer: Vec<Tensor>,
    mtp: Vec<LayerGroup>,
}

/// A reader of an architecture that no row can describe.
type Reader = fn(&Build<'_>) -> Result<Parts, ConfigError>;

/// What readers read from.
struct Build<'a> {
    family: &'a Family,
    keys: &'a Keys<'a>,
    hidden: u64,
    vocab: u64,
    tied: bool,
}

/// Where the language model may lie in the config.
const NESTED: [&str; 4] = ["text_config", "llm_config", "language_config", "thinker_config"];

/// Reads a config. `name` is only shown.
///
/// # Errors
/// When a key that sizes depend on is missing, impossible or not understood.
pub fn read(name: &str, config: &Value) -> Result<Model, ConfigError> {
    let Value::Object(root) = config else {
        return Err(ConfigError::NotAnObject { found: keys::shorten(config) });
    };
    let (text, prefix) = language_model(root);
    let (top, keys) = (Keys::new(root, ""), Keys::new(text, prefix));
    let model_type = keys.text("model_type")?.or(top.text("model_type")?);
    let known = model_type.and_then(families::find);
    let family = known.unwrap_or(&LLAMA);
    let shown: String = model_type.unwrap_or("(none)").chars().take(64).collect();
    let tied = match keys.value("tie_word_embeddings") {
        Some(_) => keys.flag("tie_word_embeddings", family.tied)?,
        None => top.flag("tie_word_embeddings", family.tied)?,
    };
    let vocab = match (keys.size_if("vocab_size")?, family.vocab) {
        (None, None) => return Err(keys.missing("vocab_size", "the embedding has that many rows")),
        (given, default) => given.or(default).unwrap_or_default(),
    };
    let build = Build { family, keys: &keys, hidden: keys.size("hidden_size")?, vocab, tied };
    check_only(&build, &shown)?;
    let mut parts = match family.plan {
        pattern::Plan::Own(reader) => reader(&build)?,
        _ => decoder::read(&build)?,
    };
    parts.outer.extend(tower::read(root, &top, build.hidden)?);
    let context = context(&keys, family)?;
    let softcap = keys.real("final_logit_softcapping")?.is_some();
    let dtype = dtype(&keys, &top)?;
    neutral::check(&keys, &shown, known.is_some() && model_type.is_some())?;
    Ok(Model {
        name: name.chars().take(200).collect(),
        model_type: shown,
        hidden_size: build.hidden,
        vocab_size: vocab,
        tied_embeddings: tied,
        max_position_embeddings: context,
        dtype,
        quantization: quantization::config::read(root, text)?,
        layers: parts.layers,
        outer: parts.outer,
        mtp: parts.mtp,
        rotary_rows: rotary_rows(&keys)?,
        logit_softcap: softcap,
        checkpoint_bytes: None,
        measured: None,
    })
}

/// The object that describes the language model, with the prefix of its keys in messages.
fn language_model(root: &Map<String, Value>) -> (&Map<String, Value>, &'static str) {
    for name in NESTED {
        if let Some(Value::Object(nested)) = root.get(name) {
            return match (name, nested.get("text_config")) {
                ("thinker_config", Some(Value::Object(text))) => (text, "thinker_config.text_config."),
                ("text_config", _) => (nested, "text_config."),
                ("llm_config", _) => (nested, "llm_config."),
                ("language_config", _) => (nested, "language_config."),
                _ => (nested, "thinker_config."),
            };
        }
    }
    (root, "")
}

/// Keys of which only one value is understood.
fn check_only(build: &Build<'_>, model_type: &str) -> Result<(), ConfigError> {
    for (key, only) in build.family.only {
        let Some(value) = build.keys.value(key) else { continue };
        let understood = match only {
            Only::Bool(flag) => value.as_bool() == Some(*flag),
            Only::Number(number) => value.as_u64() == Some(*number),
            Only::Word(word) => value.as_str() == Some(word),
        };
        if !understood {
            let key = format!("{key} = {}", keys::shorten(value));
            return Err(ConfigError::UnknownKey { key, model_type: model_type.to_owned() });
        }
    }
    Ok(())
}

/// The context that the model was made for, rope scaling applied as vLLM does.
fn context(keys: &Keys<'_>, family: &Family) -> Result<Option<u64>, ConfigError> {
    let Some(tokens) = keys.tokens("max_position_embeddings")? else { return Ok(None) };
    if family.context_scaled {
        return Ok(Some(tokens));
    }
    let Some(scaling) = keys.object("rope_scaling").or(keys.object("rope_parameters")) else { return Ok(Some(tokens)) };
    let scaling = Keys::new(scaling, "rope_scaling.");
    let kind = scaling.text("rope_type")?.or(scaling.text("type")?).unwrap_or("default");
    let factor = scaling.real("factor")?.unwrap_or(1.0);
    let from = match kind {
        "yarn" => scaling.tokens("original_max_position_embeddings")?.unwrap_or(tokens),
        "linear" | "dynamic" => tokens,
        _ => return Ok(Some(tokens)),
    };
    Ok(Some((from as f64 * factor.max(1.0)) as u64))
}

/// Rows of the rotary tables: linear scaling lengthens the table whether or not the context is meant to be as long, a
/// model whose local layers rotate by a base of their own keeps a second one.
fn rotary_rows(keys: &Keys<'_>) -> Result<u64, ConfigError> {
    let Some(tokens) = keys.tokens("max_position_embeddings")? else { return Ok(0) };
    let local = if keys.real("rope_local_base_freq")?.is_some() || keys.text("model_type")? == Some("gemma3_text") {
        tokens
    } else {
        0
    };
    let Some(scaling) = keys.object("rope_scaling").or(keys.object("rope_parameters")) else {
        return Ok(tokens.saturating_add(local));
    };
    let scaling = Keys::new(scaling, "rope_scaling.");
    let kind = scaling.text("rope_type")?.or(scaling.text("type")?).unwrap_or("default");
    let factor = if kind == "linear" { scaling.real("factor")?.unwrap_or(1.0).max(1.0) } else { 1.0 };
    Ok(((tokens as f64 * factor) as u64).saturating_add(local))
}

/// Format of unquantized tensors: the text model's, else the whole model's, else bf16.
fn dtype(keys: &Keys<'_>, top: &Keys<'_>) -> Result<DType, ConfigError> {
    let Some(name) = keys.text("torch_dtype")?.or(top.text("torch_dtype")?) else { return Ok(DType::Bf16) };
    match name.parse() {
        Ok(dtype) => Ok(dtype),
        Err(_) if name == "auto" => Ok(DType::Bf16),
        Err(_) => Err(keys.invalid("torch_dtype", "float32, float16 and bfloat16 are usual")),
    }
}

#[cfg(test)]
mod tests;
